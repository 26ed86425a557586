/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks_new.c - operator new and delete, where they do not go through malloc.
 *
 * libstdc++ and libc++ build them on malloc and free, which are hooked already: then the operator
 * jumps straight on, without a frame of its own. jemalloc, tcmalloc and mimalloc bring operators that
 * enter the allocator directly: these are recorded here. The rule that tells them apart: does the
 * next definition lie in the object that provides malloc, and is that not libc? A program's own
 * operator new on top of malloc is thereby left alone, too.
 *
 * All operators of one direction have their arguments in registers and the same result, so one
 * shape serves for them all: (bytes or block, alignment or size, nothrow). The functions that record
 * are reached by a jump, so that their frame address and return address are the operator's.
 *
 * Exceptions pass through (operator new throws bad_alloc, a new-handler what it likes), and a
 * new-handler allocates and frees. So the guard is not held around the real operator: there is nothing
 * to release, and libgcc_s need not be loaded into programs that have none.
 *
 * recorded after the real operator new, before the real operator delete */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/hooks.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/stream.h"

typedef void *new_function(size_t bytes, size_t b, const void *c);
typedef void delete_function(void *block, size_t b, const void *c);

/* X(name, how to do without it). m is size_t on the machines that we know. */
#define NEW_OPERATORS(X)                                                                            \
	X(_Znwm, plain_new)                                                                         \
	X(_Znam, plain_new)                                                                         \
	X(_ZnwmRKSt9nothrow_t, plain_new)                                                           \
	X(_ZnamRKSt9nothrow_t, plain_new)                                                           \
	X(_ZnwmSt11align_val_t, aligned_new)                                                        \
	X(_ZnamSt11align_val_t, aligned_new)                                                        \
	X(_ZnwmSt11align_val_tRKSt9nothrow_t, aligned_new)                                          \
	X(_ZnamSt11align_val_tRKSt9nothrow_t, aligned_new)
#define DELETE_OPERATORS(X)                                                                         \
	X(_ZdlPv, plain_delete)                                                                     \
	X(_ZdaPv, plain_delete)                                                                     \
	X(_ZdlPvm, plain_delete)                                                                    \
	X(_ZdaPvm, plain_delete)                                                                    \
	X(_ZdlPvRKSt9nothrow_t, plain_delete)                                                       \
	X(_ZdaPvRKSt9nothrow_t, plain_delete)                                                       \
	X(_ZdlPvSt11align_val_t, plain_delete)                                                      \
	X(_ZdaPvSt11align_val_t, plain_delete)                                                      \
	X(_ZdlPvmSt11align_val_t, plain_delete)                                                     \
	X(_ZdaPvmSt11align_val_t, plain_delete)                                                     \
	X(_ZdlPvSt11align_val_tRKSt9nothrow_t, plain_delete)                                        \
	X(_ZdaPvSt11align_val_tRKSt9nothrow_t, plain_delete)

/* Next definitions; with bit 0 set it is one that must be recorded. */
#define X(name, without) static _Atomic uintptr_t next_##name;
NEW_OPERATORS(X)
DELETE_OPERATORS(X)
#undef X

/* No C++ library can be found that defines the operator: do what it would do but throw. */
static void *plain_new(size_t bytes, size_t b, const void *c)
{
	(void)b, (void)c;
	return malloc(bytes ? bytes : 1);
}

static void *aligned_new(size_t bytes, size_t align, const void *c)
{
	(void)c;
	return memalign(align, bytes ? bytes : 1);
}

static void plain_delete(void *block, size_t b, const void *c)
{
	(void)b, (void)c;
	free(block);
}

static uintptr_t resolve(_Atomic uintptr_t *next, const char *name, void *caller, void *without)
{
	void *found;
	uintptr_t value;

	ld__guard_enter();
	ld__real_resolve();
	found = ld__real_find(name, caller);
	value = (uintptr_t)found;
	if (!found)
		value = (uintptr_t)without;
	else if (ld__real_same_object(found, (void *)(uintptr_t)ld__real.malloc) &&
		 !ld__real_same_object(found, (void *)(uintptr_t)ld__real.fork))
		value |= 1;
	ld__guard_leave();
	atomic_store_explicit(next, value, memory_order_release);
	return value;
}

void ld__operators_resolve(void)
{
	/* Only what is in the global scope already; a library that comes later is found when it calls. */
#define X(name, without)                                                                            \
	if (ld__real_next(#name))                                                                   \
		resolve(&next_##name, #name, NULL, (void *)(uintptr_t)without);
	NEW_OPERATORS(X)
	DELETE_OPERATORS(X)
#undef X
}

/* In a fork child that has not found out the ring is its parent's, and not here. */
static struct ring *ring_here(const struct guard *g)
{
	return ld__switch_is_wiped() ? NULL : g->ring;
}

static uint64_t events_so_far(const struct guard *g)
{
	struct ring *ring = ring_here(g);

	return ring ? ring->head : 0;
}

/* jemalloc's operators for aligned types call aligned_alloc by name: that has been recorded. */
static bool is_recorded(const struct guard *g, uint64_t events_before, const void *block)
{
	struct ring *ring = ring_here(g);
	const struct event *last;

	if (!ring || ring->head == events_before)
		return false;
	last = &ld__ring_events(ring)[(ring->head - 1) & ring->event_mask];
	return last->addr == (uint64_t)(uintptr_t)block && last->kind < EVENT_FREE;
}

static __attribute__((noinline)) void *record_new(size_t bytes, size_t b, const void *c, uintptr_t next)
{
	struct guard *g = &ld__guard;
	uint64_t events_before = events_so_far(g);
	void *block = ((new_function *)(next & ~(uintptr_t)1))(bytes, b, c);
	enum enter how;

	if (!block || UNLIKELY(is_recorded(g, events_before, block)))
		return block;
	how = ld__hook_enter(g);
	if (LIKELY(how != ENTER_FORWARD)) {
		ld__record_alloc(g, how, STREAM_NODE_NEW, block, bytes, WHERE);
		ld__hook_leave(g, how);
	}
	return block;
}

static __attribute__((noinline)) void record_delete(void *block, size_t b, const void *c, uintptr_t next)
{
	struct guard *g = &ld__guard;
	enum enter how;

	if (UNLIKELY(!block || ld__pool_has(block)))
		return;
	how = ld__hook_enter(g);
	if (LIKELY(how != ENTER_FORWARD)) {
		ld__record_free(g, how, block);
		ld__hook_leave(g, how);
	}
	((delete_function *)(next & ~(uintptr_t)1))(block, b, c);
}

static LD_IN_HOOK void *call_new(uintptr_t next, size_t bytes, size_t b, const void *c)
{
	return LIKELY(!(next & 1)) ? ((new_function *)next)(bytes, b, c) : record_new(bytes, b, c, next);
}

static LD_IN_HOOK void call_delete(uintptr_t next, void *block, size_t b, const void *c)
{
	if (LIKELY(!(next & 1)))
		((delete_function *)next)(block, b, c);
	else
		record_delete(block, b, c, next);
}

/* The first call of each looks up the next one, in a function of its own: the others save no register. */
#define X(name, without)										\
	static __attribute__((noinline, cold)) void *first_##name(size_t bytes, size_t b, const void *c, void *caller) \
	{												\
		return call_new(resolve(&next_##name, #name, caller, (void *)(uintptr_t)without), bytes, b, c); \
	}												\
	void *name(size_t bytes, size_t b, const void *c);						\
	LD_EXPORT void *name(size_t bytes, size_t b, const void *c)					\
	{												\
		uintptr_t next = atomic_load_explicit(&next_##name, memory_order_acquire);		\
													\
		return LIKELY(next) ? call_new(next, bytes, b, c) : first_##name(bytes, b, c, __builtin_return_address(0)); \
	}
NEW_OPERATORS(X)
#undef X

#define X(name, without)										\
	static __attribute__((noinline, cold)) void first_##name(void *block, size_t b, const void *c, void *caller) \
	{												\
		call_delete(resolve(&next_##name, #name, caller, (void *)(uintptr_t)without), block, b, c); \
	}												\
	void name(void *block, size_t b, const void *c);						\
	LD_EXPORT void name(void *block, size_t b, const void *c)					\
	{												\
		uintptr_t next = atomic_load_explicit(&next_##name, memory_order_acquire);		\
													\
		if (LIKELY(next))									\
			call_delete(next, block, b, c);						\
		else										\
			first_##name(block, b, c, __builtin_return_address(0));			\
	}
DELETE_OPERATORS(X)
#undef X
