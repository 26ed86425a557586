/* SPDX-License-Identifier: Apache-2.0
 * L7  record.h - from "a hook was called" to "an event is in the ring".
 *
 * A hook runs in three parts:
 *
 *   how = ld__hook_enter(g)      ENTER_FORWARD  only call the real function
 *   ... the real function ...    ENTER_RECORD   record, with the whole stack
 *   ld__record_...(g, how, ...)  ENTER_NESTED   this is a signal handler's call that interrupted a
 *   ld__hook_leave(g, how)                      hook of this thread: record, with its caller alone
 *
 * An allocation is recorded after the real call, a free before it, realloc as both halves: so the
 * events of one address have one true order, whichever threads make them (see drain.c). */
#ifndef LEAKDIFF_RECORD_H
#define LEAKDIFF_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/budget.h"
#include "preload/guard.h"
#include "preload/python_frames.h"
#include "preload/ring.h"
#include "preload/step.h"

enum enter { ENTER_FORWARD, ENTER_RECORD, ENTER_NESTED };

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef LEAKDIFF_VERIFY
#define VERIFIED 1			/* every stack is walked twice and compared */
#else
#define VERIFIED 0
#endif

/* The slow parts of ld__hook_enter(). */
enum enter ld__record_wake(struct guard *g, uint64_t sp);
enum enter ld__record_nested(struct guard *g, uint64_t sp);

static inline uint64_t ld__stack_pointer(void)
{
	uint64_t sp;
#if defined(__x86_64__)
	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
#elif defined(__aarch64__)
	__asm__ volatile("mov %0, sp" : "=r"(sp));
#else
	sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
#endif
	return sp;
}

/* What a hook that is at work has in guard.state. The stack pointer is a multiple of 8. */
#if defined(__x86_64__)
#define LD_STATE(phase) ({ uint64_t state_; __asm__ volatile("lea %c1(%%rsp), %0" : "=r"(state_) : "i"(phase)); state_; })
#else
#define LD_STATE(phase) (ld__stack_pointer() | (phase))
#endif

/* Is there nothing to do but to call the real function? */
static inline bool ld__hook_is_off(void)
{
	return *ld__switch == SWITCH_OFF;
}

static inline enum enter ld__hook_enter(struct guard *g)
{
	uint64_t sp = ld__stack_pointer();

	if (UNLIKELY(g->state))
		return ld__record_nested(g, sp);
	if (UNLIKELY(*ld__switch != SWITCH_ON))
		return ld__hook_is_off() ? ENTER_FORWARD : ld__record_wake(g, sp);
	g->state = sp;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return ENTER_RECORD;
}

static inline void ld__hook_leave(struct guard *g, enum enter how)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (how == ENTER_RECORD)
		g->state = 0;
}

/* Where a hook was called: its frame, with the saved frame pointer at [0], the return address at [1].
 * It must still stand when the event is recorded: a hook may not end in a jump to what takes it. */
#define WHERE __builtin_frame_address(0)

/* An allocation that succeeded. kind: enum stream_node_kind. */
void ld__record_alloc_slow(struct guard *g, enum enter how, uint32_t kind, const void *block, size_t bytes,
			   const void *frame);

/* Of a block whose stack is not sampled there is little to do. */
static inline void ld__record_alloc(struct guard *g, enum enter how, uint32_t kind, const void *block,
				    size_t bytes, const void *frame)
{
	uint32_t lg = __atomic_load_n(&ld__sample_lg, __ATOMIC_RELAXED);
	struct ring *ring = g->ring;

	if (lg && LIKELY(how == ENTER_RECORD && !ld__budget_on && ring && g->sample_lg == lg && !(bytes >> lg) &&
			 bytes < g->sample_bytes && ld__ring_has_room(ring, 1 + RING_SLACK))) {
		g->sample_bytes -= bytes;
		ld__ring_push(g, ring, kind, (uint64_t)(uintptr_t)block, bytes, 0);
	} else {
		ld__record_alloc_slow(g, how, kind, block, bytes, frame);
	}
}

/* A block that is about to be given up. */
void ld__record_free_slow(struct guard *g, enum enter how, const void *block);

static inline void ld__record_free(struct guard *g, enum enter how, const void *block)
{
	struct ring *ring = g->ring;

	if (LIKELY(how == ENTER_RECORD && ring && ld__ring_has_room(ring, 1 + RING_SLACK)))
		ld__ring_push(g, ring, EVENT_FREE, (uint64_t)(uintptr_t)block, 0, 0);
	else
		ld__record_free_slow(g, how, block);
}

/* Where libc or jemalloc is the allocator, which call no hook from inside, a hook need not say that it is at work
 * while the real function runs, and there is nothing to do after a free. So all that such a short hook must know it asks
 * once, after the real malloc: a signal handler may have done anything meanwhile. */
static inline bool ld__hook_works(const struct guard *g)
{
	return LIKELY(*ld__switch == SWITCH_ON && !g->state);
}

extern LD_HIDDEN uint32_t ld__record_depth;

/* The two exits of a short hook. They return the block, so that it has nothing to keep for itself, and saves no register
 * for their sake. */
void *ld__record_late(struct guard *g, uint32_t kind, void *block, size_t bytes, const void *frame);
void *ld__record_other_stack(struct guard *g, uint32_t kind, void *block, size_t bytes, const void *frame);

/* Returns false when there is no room, or the clock to be read. No hook of the thread is at work then, either way. */
static inline __attribute__((always_inline)) bool ld__record_quick_push(struct guard *g, struct ring *ring, uint32_t kind,
									const void *block, size_t bytes, uint32_t stack)
{
	bool room;

	g->state = LD_STATE(PHASE_PUSH);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	room = LIKELY(ring->head < ring->quick_limit);
	if (room)
		ld__ring_write(ring, kind, (uint64_t)(uintptr_t)block, bytes, stack, false);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = 0;
	return room;
}

/* With a stack: mode full. Returns the block. */
static inline __attribute__((always_inline)) void *ld__record_quick_alloc(struct guard *g, uint32_t kind, void *block, size_t bytes,
									  const void *frame)
{
	struct ring *ring = g->quick;
	const struct recall_record *again;

	/* a signal handler may have forked: then this is the child, whose switch is wiped */
	if (UNLIKELY(!ring || !ld__hook_works(g)))
		return ld__record_late(g, kind, block, bytes, frame);
	g->state = LD_STATE(PHASE_RECORD);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	again = ld__step_again(&ring->last_stack, frame, atomic_load_explicit(&ld__step_unloads, memory_order_acquire));
	if (UNLIKELY(VERIFIED || !again))
		return ld__record_other_stack(g, kind, block, bytes, frame);
	if (UNLIKELY(!ld__record_quick_push(g, ring, kind, block, bytes, again->stack)))
		return ld__record_late(g, kind, block, bytes, frame);
	return block;
}

/* Mode lite, where few blocks have one. Returns the block. */
static inline __attribute__((always_inline)) void *ld__record_quick_sample(struct guard *g, uint32_t kind, void *block, size_t bytes,
									   const void *frame)
{
	uint32_t lg = __atomic_load_n(&ld__sample_lg, __ATOMIC_RELAXED);
	struct ring *ring = g->quick;

	if (UNLIKELY(!ring || !ld__hook_works(g) || g->sample_lg != lg || bytes >> lg || bytes >= g->sample_bytes))
		return ld__record_late(g, kind, block, bytes, frame);
	g->sample_bytes -= bytes;
	if (UNLIKELY(!ld__record_quick_push(g, ring, kind, block, bytes, 0))) {
		g->sample_bytes += bytes;
		return ld__record_late(g, kind, block, bytes, frame);
	}
	return block;
}

/* Returns false when the hook is none of the short ones, or as above. */
static inline __attribute__((always_inline)) bool ld__record_quick_free(struct guard *g, const void *block)
{
	struct ring *ring = g->quick;

	return LIKELY(ring && ld__hook_works(g) && ld__record_quick_push(g, ring, EVENT_FREE, block, 0, 0));
}

/* Both halves of realloc. bytes is what was asked for, block what came (NULL: failed, or freed when
 * bytes is 0). A nested one that fails loses the old block. */
void ld__record_realloc_begin(struct guard *g, enum enter how, const void *old);
void ld__record_realloc_end(struct guard *g, enum enter how, const void *old, const void *block,
			    size_t bytes, const void *frame);

/* Mappings: any event of EVENT_UNMAP, EVENT_REMAP_BEGIN, EVENT_REMAP_FAIL (no stack) ... */
void ld__record_range(struct guard *g, enum enter how, uint32_t kind, const void *start, size_t bytes);
/* ... and those that carry one: STREAM_NODE_MAPPING, EVENT_REMAP_END. */
void ld__record_mapping(struct guard *g, enum enter how, uint32_t kind, const void *start, size_t bytes,
			const void *frame);

/* Make sure that the thread has a ring, for the fields that are not events. NULL when it cannot. */
struct ring *ld__record_ring(struct guard *g);

/* The stack above a frame for a caller that records nothing itself: jemalloc's profiler, inside the real malloc
 * of a hook that only forwarded. Returns its id; 0 inside of code of ours, or without memory. */
uint32_t ld__record_stack(struct guard *g, const void *frame);

/* Mode lite: bytes to the next sampled stack, drawn for the interval 2^lg. And: let the next block of this
 * thread be sampled, as what was drawn for that interval. */
uint64_t ld__record_next_sample(struct guard *g, uint32_t lg);
static inline void ld__record_sample_next(struct guard *g, uint32_t lg)
{
	g->sample_bytes = 1;
	g->sample_lg = lg;
}

/* Between enter and leave: the Python stack of the calling thread, which holds the interpreter's lock.
 * 0 = there is none. Sets g->tid. */
uint32_t ld__record_python_stack(struct guard *g, enum enter how);

/* Depth of stacks, from the settings. Until then: 64 frames. */
void ld__record_configure(uint32_t depth);

/* Every stack is handed to `trim`, which returns it without its innermost frames: what the allocator puts
 * between the program and a hook that it calls itself. Once, before the first event of that kind. */
void ld__record_set_trim(uint32_t (*trim)(uint32_t stack));

/* Is the allocator libc, which calls no hook of ours from inside? Then a nested call is a signal
 * handler's. */
void ld__record_set_plain_allocator(bool plain);

#endif
