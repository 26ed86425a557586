/* SPDX-License-Identifier: Apache-2.0
 * L7  record.c - from "a hook was called" to "an event is in the ring".
 *
 * (1) Room is made before the event's time is read, and RING_SLACK slots more than needed, so that a
 *     signal handler's events in between find room too.
 * (2) The order is: real function, stack, push. While the stack is walked a signal handler may come
 *     and record (phase RECORD); while a slot is written it may not (phase PUSH): its event is
 *     dropped and counted, the only loss that full mode knows.
 * (3) What an allocator does inside of its own call is its own affair: allocations there are not
 *     recorded. Frees are, since a block that we know must not stay on the list for ever.
 * (4) A handler that leaves a hook with siglongjmp() is noticed by the next hook of the thread: it is
 *     called from a frame above, or not far enough below, that of the hook which seems to be at work.
 * Keeps errno; takes no lock but the drain's. */
#include "preload/record.h"

#include <errno.h>
#include <signal.h>

#include "preload/budget.h"
#include "preload/config.h"
#include "preload/drain.h"
#include "preload/modules.h"
#include "preload/process.h"
#include "preload/python_frames.h"
#include "preload/stacks.h"
#include "preload/step.h"
#include "preload/stream.h"
#include "preload/sys.h"
#include "preload/unwind.h"
#include "preload/verify.h"

#define LIBUNWIND_STACK_BYTES 8192u
#define SIGNAL_FRAME_LEAST 1024u	/* x86-64 without extended state: 1.5 KiB; elsewhere more */

/* Timed for the budget: what took longer was interrupted in between. */
#define STACK_TICKS_MOST 1000000u
#define EVENT_TICKS_MOST 20000u
#define TIMED_EVERY 64u

uint32_t ld__record_depth = 64;
static bool plain_allocator;
static uint32_t (*trim)(uint32_t stack);

void ld__record_configure(uint32_t frames)
{
	if (frames == ld__record_depth)
		return;
	__atomic_store_n(&ld__record_depth, frames, __ATOMIC_SEQ_CST);
	ld__step_change_depth();	/* after it: who captures reads the two the other way round */
}

void ld__record_set_trim(uint32_t (*function)(uint32_t stack))
{
	trim = function;
}

void ld__record_set_plain_allocator(bool plain)
{
	plain_allocator = plain;
}

/* ---- entering ---- */

static enum enter start(struct guard *g, uint64_t sp)
{
	g->state = sp;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return ENTER_RECORD;
}

enum enter ld__record_wake(struct guard *g, uint64_t sp)
{
	return ld__process_wake() ? start(g, sp) : ENTER_FORWARD;
}

static bool on_signal_stack(void)
{
	stack_t now = { .ss_flags = SS_DISABLE };

	return ld__sys2(SYS_sigaltstack, 0, &now) == 0 && (now.ss_flags & SS_ONSTACK);
}

/* Did a signal handler leave the hook that seems to be at work with siglongjmp()? Certain if this one
 * was called from a frame at or above that; or from so little below it that the kernel's frame for a
 * handler does not fit in between, unless it is an allocator's call of itself. */
static bool is_abandoned(const struct guard *g, uint64_t sp)
{
	uint64_t at_work = g->state & ~GUARD_PHASE;

	if (sp < at_work && (at_work - sp >= SIGNAL_FRAME_LEAST || (ld__guard_phase(g) == PHASE_REAL && !plain_allocator)))
		return false;
	return !on_signal_stack();
}

enum enter ld__record_nested(struct guard *g, uint64_t sp)
{
	if (g->quiet || !ld__capture_on())
		return ENTER_FORWARD;
	if (is_abandoned(g, sp))
		return start(g, sp);
	if (ld__guard_phase(g) == PHASE_PUSH) {
		ld__drain_count_lost(1);
		return ENTER_FORWARD;
	}
	return ENTER_NESTED;
}

/* ---- room ---- */

/* Once a thread. A handler that left this with siglongjmp() would leave a lock held behind. None in a fork
 * child that has not found out yet that it is one (see process.c): the rings are still its parent's. */
static __attribute__((noinline, cold)) struct ring *acquire(void)
{
	uint64_t all = UINT64_MAX, signals;
	struct ring *ring;

	if (ld__switch_is_wiped())
		return NULL;
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &signals, sizeof(all));
	ld__guard_enter();
	ring = ld__ring_acquire();
	ld__guard_leave();
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &signals, 0, sizeof(signals));
	return ring;
}

static __attribute__((noinline)) struct ring *ready_slow(struct guard *g)
{
	struct ring *ring = g->ring;

	if (!ring)
		ring = acquire();
	if (ring && !ld__ring_has_room(ring, 1 + RING_SLACK) &&
	    !ld__drain_make_room(ring, 1 + RING_SLACK))
		ring = NULL;
	if (!ring)
		ld__drain_count_lost(1);
	return ring;
}

/* The thread's ring with room for an event, NULL when there is none (counted). A nested call takes
 * from the slack: it must not wait, the real allocator's locks may be held below it. */
static inline struct ring *ready(struct guard *g, enum enter how)
{
	struct ring *ring = g->ring;

	if (UNLIKELY(how == ENTER_NESTED)) {
		if (ring && ld__ring_has_room(ring, 2))
			return ring;
		ld__drain_count_lost(1);
		return NULL;
	}
	if (LIKELY(ring && ld__ring_has_room(ring, 1 + RING_SLACK)))
		return ring;
	return ready_slow(g);
}

struct ring *ld__record_ring(struct guard *g)
{
	return g->ring ? g->ring : acquire();
}

/* ---- stacks ---- */

/* Exponentially distributed, so that every byte has the same chance. */
uint64_t ld__record_next_sample(struct guard *g, uint32_t lg)
{
	uint64_t x = g->random ? g->random : ((uint64_t)g->tid * 0x9e3779b97f4a7c15ull + ld__stack_pointer()) | 1;
	uint32_t bits, zeros;
	double m, t, t2, ln_m;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	g->random = x;
	/* -ln(u), u = m * 2^-(zeros + 1) in (0, 1), m in [1, 2): no libm in the service */
	bits = (uint32_t)(x >> 32) | 1u;
	zeros = (uint32_t)__builtin_clz(bits);
	m = (double)bits / (double)(1ull << (31 - zeros));
	t = (m - 1) / (m + 1);
	t2 = t * t;
	ln_m = 2 * t * (1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 / 7)));
	return (uint64_t)(((zeros + 1) * 0.6931471805599453 - ln_m) * (double)(1ull << lg)) + 1;
}

#define NOT_SAMPLED UINT32_MAX

/* Is this block's stack recorded? Then the code of the interval that decided, 0 when its size did. */
static inline uint32_t sampled(struct guard *g, size_t bytes, uint32_t lg)
{
	uint32_t drawn_for = g->sample_lg;

	if (UNLIKELY(bytes >> lg))
		return 0;
	/* The draw has no memory: what is left of one for another interval may be drawn anew. */
	if (UNLIKELY(drawn_for != lg && g->sample_bytes != 1)) {
		g->sample_bytes = ld__record_next_sample(g, lg);
		g->sample_lg = drawn_for = lg;
	}
	if (LIKELY(bytes < g->sample_bytes)) {
		g->sample_bytes -= bytes;
		return NOT_SAMPLED;
	}
	g->sample_bytes = ld__record_next_sample(g, lg);
	g->sample_lg = lg;
	return ld__sample_code(drawn_for);
}

static void *caller_of(const void *frame)
{
	return ((void *const *)frame)[1];
}

/* libunwind's first walk in a thread costs 160 us and 400 KiB, so it waits until it is needed. What it
 * and the loader allocate for that is not the service's. */
static void warm_libunwind(struct guard *g)
{
	if (LIKELY(g->warm))
		return;
	ld__guard_enter();
	g->warm = ld__unwind_warm();
	ld__guard_leave();
}

static __attribute__((noinline)) uint32_t stack_by_libunwind(struct ring *ring, void *caller)
{
	int truncated, count;

	warm_libunwind(&ld__guard);
	count = ld__unwind(ring->pcs, (int)ld__record_depth, caller, &truncated);
	for (int i = 0; i < count; i++) {
		if (UNLIKELY(ld__modules_changed_hands((uint64_t)(uintptr_t)ring->pcs[i]))) {
			count = ld__unwind_slowly(ring->pcs, (int)ld__record_depth, caller, &truncated);
			break;
		}
	}
	return ld__stacks_intern_with(ring->memo, ring->pcs, count, truncated);
}

/* In a thread that runs Python: Python's frames in place of the interpreter's. */
static __attribute__((noinline)) uint32_t with_python(struct ring *ring, uint32_t native)
{
	uint32_t mixed;

	if (!ring->python)
		ring->python = ld__python_memo_new();
	if (!ring->python)
		return native;
	mixed = ld__python_stack(ring->python, native, ld__record_depth);
	return mixed ? mixed : native;
}

/* A signal handler on a stack of 8 KiB, as SIGSTKSZ is: the kernel's frame takes half of it, and
 * libunwind needs up to 5 KiB. Such a stack is one frame. */
static bool is_narrow(const void *frame)
{
	stack_t now = { .ss_flags = SS_DISABLE };

	return ld__sys2(SYS_sigaltstack, 0, &now) == 0 && (now.ss_flags & SS_ONSTACK) &&
	       (uintptr_t)frame - (uintptr_t)now.ss_sp < LIBUNWIND_STACK_BYTES;
}

static uint32_t stack_without_rules(struct ring *ring, const void *frame, int reason)
{
	if (reason == CFI_FOREIGN_STACK && is_narrow(frame))
		return ld__stacks_child(0, (uint64_t)(uintptr_t)caller_of(frame), 1);
	return stack_by_libunwind(ring, caller_of(frame));
}

static inline uint32_t native_stack(struct ring *ring, const void *frame)
{
	uint64_t now = ld__step_now();
	int64_t stack = ring->step ? ld__step_capture(ring->step, frame, now, ld__record_depth) : -1 - CFI_NO_TABLE;

	if (UNLIKELY(stack < 0))
		return stack_without_rules(ring, frame, (int)(-1 - stack));
#ifdef LEAKDIFF_VERIFY
	warm_libunwind(&ld__guard);
	ld__verify_stack(ring->step, ring->pcs, ld__record_depth, caller_of(frame));
#endif
	return (uint32_t)stack;
}

static inline uint32_t whole_stack(struct ring *ring, enum enter how, const void *frame)
{
	uint32_t stack;

	if (UNLIKELY(how == ENTER_NESTED))	/* the buffers are in use below us */
		return ld__stacks_child(0, (uint64_t)(uintptr_t)caller_of(frame), 1);
	stack = native_stack(ring, frame);
	if (UNLIKELY(trim != NULL))
		stack = trim(stack);
	return UNLIKELY(ld__python_frames_on) ? with_python(ring, stack) : stack;
}

static __attribute__((noinline)) uint32_t sampled_stack(struct ring *ring, enum enter how, uint32_t code,
							const void *frame)
{
	uint64_t began = ld__budget_on ? ld__budget_ticks() : 0, took;
	uint32_t stack = whole_stack(ring, how, frame);

	if (began) {
		took = ld__budget_ticks() - began;
		ring->stack_ticks += took < STACK_TICKS_MOST ? took : 0;
	}
	return stack ? stack | code << RING_SAMPLE_SHIFT : 0;
}

static inline uint32_t stack_here(struct guard *g, struct ring *ring, enum enter how, size_t bytes,
				  const void *frame)
{
	uint32_t lg = __atomic_load_n(&ld__sample_lg, __ATOMIC_RELAXED), code;

	if (LIKELY(!lg))
		return whole_stack(ring, how, frame);
	code = sampled(g, bytes, lg);
	return LIKELY(code == NOT_SAMPLED) ? 0 : sampled_stack(ring, how, code, frame);
}

uint32_t ld__record_stack(struct guard *g, const void *frame)
{
	struct ring *ring;
	uint32_t stack = 0;

	if (g->state)
		return 0;
	g->state = ld__stack_pointer() | PHASE_RECORD;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ring = g->ring ? g->ring : acquire();
	if (ring) {
		stack = native_stack(ring, frame);
		if (ld__python_frames_on)
			stack = with_python(ring, stack);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = 0;
	return stack;
}

/* For a block of the interpreter's own pools: what C code stands between is the interpreter's. */
uint32_t ld__record_python_stack(struct guard *g, enum enter how)
{
	struct ring *ring = g->ring;
	uint32_t stack = 0;

	if (UNLIKELY(how == ENTER_NESTED))
		return 0;
	ld__guard_set_phase(g, PHASE_RECORD);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (UNLIKELY(!ring))
		ring = acquire();
	if (UNLIKELY(ring && !ring->python))
		ring->python = ld__python_memo_new();
	if (LIKELY(ring && ring->python))
		stack = ld__python_stack_alone(ring->python, ld__record_depth);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ld__guard_set_phase(g, PHASE_REAL);
	return stack;
}

/* ---- events ---- */

static inline void push_with_stack(struct guard *g, enum enter how, uint32_t kind, const void *start_,
				   size_t bytes, const void *frame)
{
	struct ring *ring;
	uint64_t state = g->state;
	uint32_t stack;

	ld__guard_set_phase(g, PHASE_RECORD);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ring = ready(g, how);
	if (LIKELY(ring)) {
		stack = stack_here(g, ring, how, bytes, frame);
		ld__ring_push(g, ring, kind, (uint64_t)(uintptr_t)start_, bytes, stack);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = state;
}

/* With a budget: the same, and of one event in TIMED_EVERY how long it took without its stack. */
static __attribute__((noinline)) void push_on_budget(struct guard *g, enum enter how, uint32_t kind,
						     const void *start_, size_t bytes, const void *frame)
{
	struct ring *ring = g->ring;
	uint64_t began, stacks, took;

	if (LIKELY(!ring || ring->head % TIMED_EVERY || how == ENTER_NESTED ||
		   !ld__ring_has_room(ring, 1 + RING_SLACK))) {
		push_with_stack(g, how, kind, start_, bytes, frame);
		return;
	}
	stacks = ring->stack_ticks;
	began = ld__budget_ticks();
	push_with_stack(g, how, kind, start_, bytes, frame);
	took = ld__budget_ticks() - began - (ring->stack_ticks - stacks);
	if (took < EVENT_TICKS_MOST) {
		ring->timed_events++;
		ring->timed_ticks += took;
	}
}

static inline void push_plain(struct guard *g, enum enter how, uint32_t kind, const void *start_,
			      size_t bytes)
{
	struct ring *ring;
	uint64_t state = g->state;

	ld__guard_set_phase(g, PHASE_RECORD);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ring = ready(g, how);
	if (LIKELY(ring))
		ld__ring_push(g, ring, kind, (uint64_t)(uintptr_t)start_, bytes, 0);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = state;
}

/* Inside the real call of an allocator that may call itself by name, an allocation is its own. */
static inline bool is_allocators_own(const struct guard *g, enum enter how)
{
	return UNLIKELY(how == ENTER_NESTED) && ld__guard_phase(g) == PHASE_REAL && !plain_allocator;
}

void ld__record_alloc_slow(struct guard *g, enum enter how, uint32_t kind, const void *block, size_t bytes,
			   const void *frame)
{
	if (is_allocators_own(g, how))
		return;
	if (UNLIKELY(ld__budget_on))
		push_on_budget(g, how, kind, block, bytes, frame);
	else
		push_with_stack(g, how, kind, block, bytes, frame);
}

void *ld__record_late(struct guard *g, uint32_t kind, void *block, size_t bytes, const void *frame)
{
	enum enter how = ld__hook_enter(g);

	if (how == ENTER_FORWARD)
		return block;
	ld__record_alloc_slow(g, how, kind, block, bytes, frame);
	ld__hook_leave(g, how);
	return block;
}

/* In PHASE_RECORD. */
void *ld__record_other_stack(struct guard *g, uint32_t kind, void *block, size_t bytes, const void *frame)
{
	struct ring *ring = g->ring;
	int64_t stack;

	if (UNLIKELY(ring && !ld__ring_has_room(ring, 1 + RING_SLACK))) {
		g->state = 0;
		return ld__record_late(g, kind, block, bytes, frame);
	}
	/* a child that a signal handler forked a moment ago, and that could not have a ring */
	if (UNLIKELY(!ring || !ring->step)) {
		ld__drain_count_lost(1);
		g->state = 0;
		return block;
	}
	if (UNLIKELY(ld__python_frames_on || VERIFIED)) {
		stack = whole_stack(ring, ENTER_RECORD, frame);
	} else {
		uint64_t now = ld__step_now();

		stack = ld__step_other(ring->step, frame, now, ld__record_depth);
		if (UNLIKELY(stack < 0))
			stack = stack_without_rules(ring, frame, (int)(-1 - stack));
	}
	ld__ring_push(g, ring, kind, (uint64_t)(uintptr_t)block, bytes, (uint32_t)stack);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = 0;
	return block;
}

void ld__record_free_slow(struct guard *g, enum enter how, const void *block)
{
	push_plain(g, how, EVENT_FREE, block, 0);
}

void ld__record_realloc_begin(struct guard *g, enum enter how, const void *old)
{
	/* nested: the ring may be between the halves of another realloc, so the block ends here */
	push_plain(g, how, how == ENTER_NESTED ? EVENT_FREE : EVENT_REALLOC_BEGIN, old, 0);
}

void ld__record_realloc_end(struct guard *g, enum enter how, const void *old, const void *block,
			    size_t bytes, const void *frame)
{
	if (how == ENTER_NESTED) {
		if (block)
			ld__record_alloc_slow(g, how, STREAM_NODE_REALLOC, block, bytes, frame);
	} else if (block) {
		push_with_stack(g, how, EVENT_REALLOC_END, block, bytes, frame);
	} else {
		push_plain(g, how, bytes ? EVENT_REALLOC_FAIL : EVENT_REALLOC_END, bytes ? old : NULL, 0);
	}
}

void ld__record_range(struct guard *g, enum enter how, uint32_t kind, const void *start_, size_t bytes)
{
	push_plain(g, how, kind, start_, bytes);
}

void ld__record_mapping(struct guard *g, enum enter how, uint32_t kind, const void *start_, size_t bytes,
			const void *frame)
{
	push_with_stack(g, how, kind, start_, bytes, frame);
}
