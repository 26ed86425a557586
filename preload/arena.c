/* SPDX-License-Identifier: Apache-2.0
 * L1  arena.c - memory of our own: mmap only, never the service's allocator.
 *
 *   ranges[]   start, end | start, end | 0 | ...      every mapping that is ours
 *   slab       used | block | block | ...             permanent small blocks, bumped
 *
 * (1) Everything here is lock-free, so a fork finds it whole at any instruction.
 * (2) A range is published by its start, written last; it is withdrawn by its start, cleared first.
 *     A reader that loses the race sees a range too few, never a wrong one.
 * (3) Mappings carry the name "leakdiff" where the kernel can (5.17), which also keeps them from
 *     being merged with a neighbour of the service's.
 * Never frees a small block: what is allocated here lives as long as the process. */
#include "preload/arena.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "preload/sys.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define PAGE 4096u
#define RANGES_MAX 16384u
#define SLAB_BYTES (256u * 1024u)

struct range {
	_Atomic uint64_t start, end;
};

struct slab {
	_Atomic uint64_t used;
	uint64_t bytes;
};

static struct range ranges[RANGES_MAX];
static _Atomic uint32_t range_count;	/* slots ever used */
static _Atomic uint64_t ranges_refused;
static _Atomic uint64_t mapped_bytes;
static struct slab *_Atomic current_slab;
static _Atomic uint32_t no_names;	/* the kernel does not know names of mappings */

static size_t round_to_page(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

void ld__arena_own(void *start, size_t bytes)
{
	uint64_t address = (uint64_t)(uintptr_t)start, free_slot;
	uint32_t i, count;

	atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
	count = atomic_load_explicit(&range_count, memory_order_acquire);
	for (i = 0; i < count; i++) {
		/* 1 marks a slot that is being filled: no mapping starts there */
		free_slot = 0;
		if (!atomic_load_explicit(&ranges[i].start, memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&ranges[i].start, &free_slot, 1))
			goto fill;
	}
	i = atomic_fetch_add(&range_count, 1);
	if (i >= RANGES_MAX) {
		atomic_store(&range_count, RANGES_MAX);
		atomic_fetch_add(&ranges_refused, 1);
		return;
	}
fill:
	atomic_store_explicit(&ranges[i].end, address + round_to_page(bytes), memory_order_relaxed);
	atomic_store_explicit(&ranges[i].start, address, memory_order_release);
}

void ld__arena_disown(void *start, size_t bytes)
{
	uint64_t address = (uint64_t)(uintptr_t)start;
	uint32_t count = atomic_load_explicit(&range_count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < RANGES_MAX; i++) {
		uint64_t expected = address;

		if (atomic_load_explicit(&ranges[i].start, memory_order_relaxed) == address &&
		    atomic_compare_exchange_strong(&ranges[i].start, &expected, 0)) {
			atomic_fetch_sub_explicit(&mapped_bytes, bytes, memory_order_relaxed);
			return;
		}
	}
}

void *ld__arena_map(size_t bytes)
{
	long ret;

	bytes = round_to_page(bytes);
	ret = ld__sys6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ld__sys_failed(ret))
		return NULL;
	if (!atomic_load_explicit(&no_names, memory_order_relaxed) &&
	    ld__sys5(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, ret, bytes, "leakdiff") < 0)
		atomic_store(&no_names, 1);
	ld__arena_own((void *)ret, bytes);
	return (void *)ret;
}

void ld__arena_stop_naming(void)
{
	atomic_store(&no_names, 1);
}

void ld__arena_unmap(void *start, size_t bytes)
{
	if (!start)
		return;
	bytes = round_to_page(bytes);
	ld__arena_disown(start, bytes);		/* first: the address may be someone else's at once */
	ld__sys2(SYS_munmap, start, bytes);
}

void *ld__arena_alloc(size_t bytes)
{
	struct slab *slab, *fresh;
	uint64_t at;

	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > SLAB_BYTES / 4)
		return ld__arena_map(bytes);
	for (;;) {
		slab = atomic_load_explicit(&current_slab, memory_order_acquire);
		if (slab) {
			at = atomic_fetch_add_explicit(&slab->used, bytes, memory_order_relaxed);
			if (at + bytes <= slab->bytes)
				return (char *)slab + at;
		}
		fresh = ld__arena_map(SLAB_BYTES);
		if (!fresh)
			return NULL;
		atomic_init(&fresh->used, 64);
		fresh->bytes = SLAB_BYTES;
		if (!atomic_compare_exchange_strong(&current_slab, &slab, fresh))
			ld__arena_unmap(fresh, SLAB_BYTES);	/* another thread was first: use its slab */
	}
}

char *ld__arena_strdup(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = ld__arena_alloc(bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void ld__arena_visit(void (*visit)(uint64_t start, uint64_t end, void *data), void *data)
{
	uint32_t count = atomic_load_explicit(&range_count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < RANGES_MAX; i++) {
		uint64_t start = atomic_load_explicit(&ranges[i].start, memory_order_acquire);
		uint64_t end = atomic_load_explicit(&ranges[i].end, memory_order_relaxed);

		if (start > 1 && end > start)
			visit(start, end, data);
	}
}

int ld__arena_is_own(uint64_t addr)
{
	uint32_t count = atomic_load_explicit(&range_count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < RANGES_MAX; i++) {
		uint64_t start = atomic_load_explicit(&ranges[i].start, memory_order_acquire);

		if (start > 1 && addr >= start &&
		    addr < atomic_load_explicit(&ranges[i].end, memory_order_relaxed))
			return 1;
	}
	return 0;
}

uint64_t ld__arena_bytes(void)
{
	return atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
}
