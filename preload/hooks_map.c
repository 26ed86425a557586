/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks_map.c - the interposed names of mmap(2) and its kin.
 *
 * Who asks for an anonymous private mapping decides what it is:
 *
 *   the program                          a node of its own, kind mapping
 *   the allocator, inside of malloc      allocator memory (allocmaps.h): neither node nor root
 *   libunwind, inside of our recording   our own memory (arena.h)
 *
 * Files and shared memory are not recorded, but where one is mapped over a recorded range that part
 * of the range is gone. Mapped is recorded after the real call, unmapped before it, moved as both. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "preload/allocmaps.h"
#include "preload/arena.h"
#include "preload/hooks.h"
#include "preload/jemalloc.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/stream.h"
#include "preload/sys.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum party { PARTY_PROGRAM, PARTY_ALLOCATOR, PARTY_OURSELVES };

static enum party party_of(const struct guard *g, const void *frame)
{
	void *caller = ((void *const *)frame)[1];

	/* asked first: what we do quietly may make the allocator map an arena for a new thread */
	if (ld__process_in_allocator((uint64_t)(uintptr_t)caller))
		return PARTY_ALLOCATOR;
	if (g->quiet || ld__guard_phase(g) != PHASE_REAL)
		return PARTY_OURSELVES;
	if (g->state)
		return PARTY_ALLOCATOR;
	return PARTY_PROGRAM;
}

/* Mode sample records no mapping; and a jemalloc inside the program, which maps with its locks held, must not be
 * called by what a fork child's first event starts. */
static inline enum enter enter(struct guard *g)
{
	return ld__jemalloc_used() ? ENTER_FORWARD : ld__hook_enter(g);
}

static void *real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	if (ld__real.mmap)
		return ld__real.mmap(at, bytes, prot, flags, fd, offset);
	/* nothing is resolved yet: the loader or an early constructor */
	at = (void *)ld__sys6(SYS_mmap, at, bytes, prot, flags, fd, offset);
	return ld__sys_failed((long)at) ? MAP_FAILED : at;
}

static LD_IN_HOOK void *mmap_at(void *at, size_t bytes, int prot, int flags, int fd, off_t offset,
			    const void *frame)
{
	struct guard *g = &ld__guard;
	bool anonymous = (flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) == MAP_PRIVATE;
	enum party party = party_of(g, frame);
	enum enter how;
	void *start = real_mmap(at, bytes, prot, flags, fd, offset);

	if (start == MAP_FAILED || (!anonymous && !(flags & MAP_FIXED)))
		return start;
	if (party == PARTY_OURSELVES) {
		if (anonymous)
			ld__arena_own(start, bytes);
		return start;
	}
	if (party == PARTY_ALLOCATOR) {
		if (anonymous)
			ld__allocator_maps_add((uint64_t)(uintptr_t)start, bytes);
		return start;
	}
	how = enter(g);
	if (how == ENTER_FORWARD)
		return start;
	if (anonymous)
		ld__record_mapping(g, how, STREAM_NODE_MAPPING, start, (bytes + 4095) & ~(size_t)4095, frame);
	else
		ld__record_range(g, how, EVENT_UNMAP, start, (bytes + 4095) & ~(size_t)4095);
	ld__hook_leave(g, how);
	return start;
}

LD_EXPORT void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	return mmap_at(at, bytes, prot, flags, fd, offset, WHERE);
}

LD_EXPORT void *mmap64(void *at, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
	return mmap_at(at, bytes, prot, flags, fd, offset, WHERE);
}

LD_EXPORT int munmap(void *start, size_t bytes)
{
	struct guard *g = &ld__guard;
	enum party party = party_of(g, WHERE);
	/* the kernel refuses these: nothing happens, so nothing is recorded */
	bool valid = bytes && !((uintptr_t)start & 4095);
	enum enter how;

	if (valid && party == PARTY_OURSELVES) {
		ld__arena_disown(start, bytes);
	} else if (valid) {
		ld__allocator_maps_remove((uint64_t)(uintptr_t)start, bytes);
		how = party == PARTY_PROGRAM ? enter(g) : ENTER_FORWARD;
		if (how != ENTER_FORWARD) {
			ld__record_range(g, how, EVENT_UNMAP, start, (bytes + 4095) & ~(size_t)4095);
			ld__hook_leave(g, how);
		}
	}
	if (ld__real.munmap)
		return ld__real.munmap(start, bytes);
	return ld__sys2(SYS_munmap, start, bytes) < 0 ? -1 : 0;
}

static void *real_mremap(void *old, size_t old_bytes, size_t bytes, int flags, void *at)
{
	return ld__real.mremap ? ld__real.mremap(old, old_bytes, bytes, flags, at) : MAP_FAILED;
}

LD_EXPORT void *mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...)
{
	struct guard *g = &ld__guard;
	const void *frame = WHERE;
	enum party party = party_of(g, frame);
	enum enter how = ENTER_FORWARD;
	bool moves = old_bytes && !(flags & MREMAP_DONTUNMAP);	/* else the old range stays */
	void *start, *at = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list args;

		va_start(args, flags);
		at = va_arg(args, void *);
		va_end(args);
	}
	old_bytes = (old_bytes + 4095) & ~(size_t)4095;
	if (party == PARTY_PROGRAM && moves)
		how = enter(g);
	if (how != ENTER_FORWARD)
		ld__record_range(g, how, EVENT_REMAP_BEGIN, old, old_bytes);
	start = real_mremap(old, old_bytes, bytes, flags, at);
	if (how != ENTER_FORWARD) {
		if (start == MAP_FAILED)
			ld__record_range(g, how, EVENT_REMAP_FAIL, old, old_bytes);
		else
			ld__record_mapping(g, how, EVENT_REMAP_END, start,
					   (bytes + 4095) & ~(size_t)4095, frame);
		ld__hook_leave(g, how);
	} else if (start != MAP_FAILED && party == PARTY_ALLOCATOR) {
		ld__allocator_maps_remove((uint64_t)(uintptr_t)old, old_bytes);
		ld__allocator_maps_add((uint64_t)(uintptr_t)start, bytes);
	} else if (start != MAP_FAILED && party == PARTY_OURSELVES) {
		ld__arena_disown(old, old_bytes);
		ld__arena_own(start, bytes);
	}
	return start;
}
