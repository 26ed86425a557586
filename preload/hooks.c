/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks.c - the interposed names of libc's allocator.
 *
 * Every hook has the shape of record.h: enter, real call, record, leave. The contract of order stands
 * above each. A pointer from the pool (given out before the real functions were known) never reaches
 * the real allocator; what is freed of it stays lost, at most 128 KiB of .bss.
 *
 * malloc, calloc and free have a short way besides, for a process whose allocator is libc or jemalloc and that
 * keeps no budget: each instruction in them takes room in the processor from the program's next ones, which
 * wait for memory. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "preload/hooks.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/stream.h"

/* Before the real functions are known only the loader and the first constructor run. */
static void *forward_aligned(void *(*const *real)(size_t, size_t), size_t align, size_t bytes)
{
	return *real ? (*real)(align, bytes) : ld__pool_alloc(align, bytes);
}

/* recorded after the real call */
static __attribute__((noinline)) void *malloc_at(size_t bytes, const void *frame)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);
	void *block;

	if (UNLIKELY(how == ENTER_FORWARD))
		return ld__real.malloc ? ld__real.malloc(bytes) : ld__pool_alloc(16, bytes);
	block = ld__real.malloc(bytes);
	if (LIKELY(block))
		ld__record_alloc(g, how, STREAM_NODE_MALLOC, block, bytes, frame);
	ld__hook_leave(g, how);
	return block;
}

/* Modes full and lite. Reached by a jump, so that their frame is that of malloc(). */
static LD_NEAR void *malloc_with_stack(size_t bytes)
{
	void *block = ld__real.malloc(bytes);

	return LD_STANDS(LIKELY(block) ? ld__record_quick_alloc(&ld__guard, STREAM_NODE_MALLOC, block, bytes, WHERE) : NULL);
}

static LD_NEAR void *malloc_sampled(size_t bytes)
{
	void *block = ld__real.malloc(bytes);

	return LD_STANDS(LIKELY(block) ? ld__record_quick_sample(&ld__guard, STREAM_NODE_MALLOC, block, bytes, WHERE) : NULL);
}

static __attribute__((noinline)) void *malloc_slowly(size_t bytes)
{
	return LD_STANDS(malloc_at(bytes, WHERE));
}

static LD_NEAR void *malloc_otherwise(size_t bytes)
{
	if (LIKELY(ld__hook_is_off()) && ld__real.malloc)
		return ld__real.malloc(bytes);
	return malloc_slowly(bytes);
}

/* Which of the three it is holds for the whole process, so a malloc need not find out. */
static LD_HOT void *(*_Atomic malloc_way)(size_t bytes) = malloc_otherwise;

/* A service that is not recorded pays for three loads and two jumps: no frame, no register saved. */
LD_EXPORT LD_NEAR void *malloc(size_t bytes)
{
	return atomic_load_explicit(&malloc_way, memory_order_relaxed)(bytes);
}

void ld__hooks_choose(bool quick, bool samples)
{
	atomic_store(&malloc_way, !quick ? malloc_otherwise : samples ? malloc_sampled : malloc_with_stack);
}

/* recorded before the real call */
static __attribute__((noinline)) void free_and_record(void *block)
{
	struct guard *g = &ld__guard;
	enum enter how;

	how = ld__hook_enter(g);
	if (LIKELY(how != ENTER_FORWARD))
		ld__record_free(g, how, block);
	if (LIKELY(ld__real.free))
		ld__real.free(block);
	if (LIKELY(how != ENTER_FORWARD))
		ld__hook_leave(g, how);
}

/* both short ways end in a jump to the real function */
LD_EXPORT LD_NEAR void free(void *block)
{
	struct guard *g = &ld__guard;

	if (UNLIKELY(!block || ld__pool_has(block)))
		return;
	if (LIKELY(ld__record_quick_free(g, block)))
		ld__real.free(block);
	else if (UNLIKELY(ld__hook_is_off()) && ld__real.free)
		ld__real.free(block);
	else
		free_and_record(block);
}

/* recorded after the real call; the product cannot overflow where that succeeded */
static __attribute__((noinline)) void *calloc_at(size_t count, size_t size, const void *frame)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);
	void *block;

	if (UNLIKELY(how == ENTER_FORWARD)) {
		size_t bytes;

		if (ld__real.calloc)
			return ld__real.calloc(count, size);
		return __builtin_mul_overflow(count, size, &bytes) ? NULL : ld__pool_alloc(16, bytes);
	}
	block = ld__real.calloc(count, size);
	if (LIKELY(block))
		ld__record_alloc(g, how, STREAM_NODE_CALLOC, block, count * size, frame);
	ld__hook_leave(g, how);
	return block;
}

static inline void *record_quickly(uint32_t kind, void *block, size_t bytes, const void *frame)
{
	if (__atomic_load_n(&ld__sample_lg, __ATOMIC_RELAXED))
		return ld__record_quick_sample(&ld__guard, kind, block, bytes, frame);
	return ld__record_quick_alloc(&ld__guard, kind, block, bytes, frame);
}

LD_EXPORT void *calloc(size_t count, size_t size)
{
	void *block;

	if (LIKELY(ld__guard.quick != NULL)) {
		block = ld__real.calloc(count, size);
		if (LIKELY(block))
			block = record_quickly(STREAM_NODE_CALLOC, block, count * size, WHERE);
	} else {
		block = calloc_at(count, size, WHERE);
	}
	return LD_STANDS(block);
}

/* A block of the pool moves out of it; the rest of it is simply left. */
static void *realloc_from_pool(void *old, size_t bytes)
{
	size_t old_bytes = ld__pool_bytes(old);
	void *block = bytes ? malloc(bytes) : NULL;

	if (block)
		memcpy(block, old, old_bytes < bytes ? old_bytes : bytes);
	return block;
}

/* both halves: the old block is given up before the real call, the new one recorded after it */
static LD_IN_HOOK void *realloc_at(void *old, size_t bytes, const void *frame)
{
	struct guard *g = &ld__guard;
	enum enter how;
	void *block;

	if (UNLIKELY(ld__pool_has(old)))
		return realloc_from_pool(old, bytes);
	how = ld__hook_enter(g);
	if (UNLIKELY(how == ENTER_FORWARD)) {
		if (ld__real.realloc)
			return ld__real.realloc(old, bytes);
		return ld__pool_alloc(16, bytes);	/* old is NULL: all others are of the pool */
	}
	if (old) {
		ld__record_realloc_begin(g, how, old);
		block = ld__real.realloc(old, bytes);
		ld__record_realloc_end(g, how, old, block, bytes, frame);
	} else {
		block = ld__real.realloc(NULL, bytes);
		if (block)
			ld__record_alloc(g, how, STREAM_NODE_REALLOC, block, bytes, frame);
	}
	ld__hook_leave(g, how);
	return block;
}

LD_EXPORT void *realloc(void *old, size_t bytes)
{
	return realloc_at(old, bytes, WHERE);
}

/* libc's own calls realloc by name; done here the stack begins at the caller */
LD_EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_at(old, bytes, WHERE);
}

/* recorded after the real call; real is read after entering, since the first call resolves it */
static LD_IN_HOOK void *aligned_at(void *(*const *real)(size_t, size_t), size_t align, size_t bytes,
			       const void *frame)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);
	void *block;

	if (UNLIKELY(how == ENTER_FORWARD))
		return forward_aligned(real, align, bytes);
	block = (*real)(align, bytes);
	if (LIKELY(block))
		ld__record_alloc(g, how, STREAM_NODE_ALIGNED, block, bytes, frame);
	ld__hook_leave(g, how);
	return block;
}

LD_EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
	return aligned_at(&ld__real.aligned_alloc, align, bytes, WHERE);
}

LD_EXPORT void *memalign(size_t align, size_t bytes)
{
	return aligned_at(&ld__real.memalign, align, bytes, WHERE);
}

LD_EXPORT int posix_memalign(void **ret_block, size_t align, size_t bytes)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);
	int r;

	if (UNLIKELY(how == ENTER_FORWARD)) {
		if (ld__real.posix_memalign)
			return ld__real.posix_memalign(ret_block, align, bytes);
		*ret_block = ld__pool_alloc(align, bytes);
		return *ret_block ? 0 : ENOMEM;
	}
	r = ld__real.posix_memalign(ret_block, align, bytes);
	if (LIKELY(!r && *ret_block))
		ld__record_alloc(g, how, STREAM_NODE_ALIGNED, *ret_block, bytes, WHERE);
	ld__hook_leave(g, how);
	return r;
}

static LD_IN_HOOK void *paged_at(void *(*const *real)(size_t), size_t bytes, const void *frame)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);
	void *block;

	if (UNLIKELY(how == ENTER_FORWARD))
		return *real ? (*real)(bytes) : ld__pool_alloc(4096, bytes);
	block = (*real)(bytes);
	if (LIKELY(block))
		ld__record_alloc(g, how, STREAM_NODE_ALIGNED, block, bytes, frame);
	ld__hook_leave(g, how);
	return block;
}

LD_EXPORT void *valloc(size_t bytes)
{
	return paged_at(&ld__real.valloc, bytes, WHERE);
}

LD_EXPORT void *pvalloc(size_t bytes)
{
	return paged_at(&ld__real.pvalloc, bytes, WHERE);
}

/* not an event; here because a block of the pool must not reach the allocator */
LD_EXPORT LD_NEAR size_t malloc_usable_size(void *block)
{
	if (UNLIKELY(ld__pool_has(block)))
		return ld__pool_bytes(block);
	return LIKELY(ld__real.malloc_usable_size) ? ld__real.malloc_usable_size(block) : 0;
}

/* C23: to this allocator the hints are worth nothing, and libc may not have the names yet */
LD_EXPORT void free_sized(void *block, size_t bytes)
{
	(void)bytes;
	free(block);
}

LD_EXPORT void free_aligned_sized(void *block, size_t align, size_t bytes)
{
	(void)align, (void)bytes;
	free(block);
}

void *ld__hook_malloc(size_t bytes) __attribute__((alias("malloc"), LD_HOOK_ATTRIBUTES));
