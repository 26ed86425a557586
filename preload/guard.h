/* SPDX-License-Identifier: Apache-2.0
 * L0  guard.h - per-thread state of the hooks, and the switch that they all look at first.
 *
 *   *ld__switch     SWITCH_ON      record
 *                   SWITCH_OFF     forward only
 *                   SWITCH_WAKE    record, but first start the agent again
 *                   SWITCH_GATE    what it was before, but whoever is held waits first: see gate.h
 *                   SWITCH_NONE    nothing is set up yet: the first call does it. Or, once something was:
 *                                  the kernel wiped the page, this is a fork child, see process.h
 *
 * The word lies alone in a page of .bss with MADV_WIPEONFORK, so that even a raw clone(2) is noticed by the
 * one load that every hook makes anyway.
 *
 * ld__guard is initial-exec thread-local storage: plain data without destructor, reachable with one
 * instruction from the first instruction of a thread to its last, the time after all other
 * thread-local destructors included. */
#ifndef LEAKDIFF_GUARD_H
#define LEAKDIFF_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum switch_state {
	SWITCH_NONE = 0,
	SWITCH_ON,
	SWITCH_OFF,
	SWITCH_WAKE,
	SWITCH_GATE,
};

struct ring;

enum guard_phase {
	PHASE_REAL = 0,			/* in the real function (or in no hook at all) */
	PHASE_RECORD,			/* unwinding, interning: a signal handler's events can be recorded */
	PHASE_PUSH,			/* writing a slot of the ring: they cannot, and are counted */
};

/* guard.state: 0 while no hook of this thread is at work; otherwise a stack pointer in the outermost one, which is a
 * multiple of 8, and the phase that it is in. One word, which a hook sets and clears with one store each. */
#define GUARD_PHASE 7ull
#define GUARD_QUIET 8ull		/* no hook is at work, but code of ours that may call one */

struct guard {
	uint64_t state;
	uint32_t quiet;			/* > 0: code of ours that may call anything; forward, say nothing */
	struct ring *ring;		/* NULL until the first event */
	struct ring *quick;		/* the same where the short hooks will do, see hooks.c; or NULL */
	uint64_t sample_bytes;		/* lite mode: bytes until the next stack ... */
	uint32_t sample_lg;		/* ... drawn for this interval, see budget.h; 0 = not yet */
	uint64_t random;		/* lite mode: state of the generator */
	uint32_t tid;
	uint32_t warm;			/* 1: libunwind has what it keeps for a thread */
};

#define LD_TLS __thread __attribute__((tls_model("initial-exec")))
#define LD_HIDDEN __attribute__((visibility("hidden")))
/* What every hook reads, side by side: between two calls of a service's the caches hold other things. */
#define LD_HOT __attribute__((section("leakdiff_hot")))

extern LD_TLS LD_HIDDEN struct guard ld__guard;
#define SWITCH_BYTES 4096u
extern LD_HIDDEN uint32_t ld__switch[SWITCH_BYTES / sizeof(uint32_t)];
extern LD_HIDDEN bool ld__switch_made;	/* it is set up, or was before it was wiped */

/* The flag first: it is set last, by another thread or by a signal handler. */
static inline bool ld__switch_is_wiped(void)
{
	return __atomic_load_n(&ld__switch_made, __ATOMIC_ACQUIRE) && __atomic_load_n(ld__switch, __ATOMIC_RELAXED) == SWITCH_NONE;
}

/* For code of ours outside the hooks (the agent's work, the constructor): between the two, nothing
 * of this thread is recorded and every hook forwards. They nest. */
static inline void ld__guard_enter(void)
{
	ld__guard.quiet++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* after it: a signal handler's hook in between ends with state 0 */
	if (!ld__guard.state)
		ld__guard.state = GUARD_QUIET;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void ld__guard_leave(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ld__guard.quiet--;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* last: what a signal handler enters and leaves in between clears it, too */
	if (!ld__guard.quiet && ld__guard.state == GUARD_QUIET)
		ld__guard.state = 0;
}

static inline uint32_t ld__guard_phase(const struct guard *g)
{
	return (uint32_t)(g->state & GUARD_PHASE);
}

static inline void ld__guard_set_phase(struct guard *g, uint32_t phase)
{
	g->state = (g->state & ~GUARD_PHASE) | phase;
}

/* Declare the calling thread to be ours for good (the agent, its helpers). */
static inline void ld__guard_own_thread(void)
{
	ld__guard_enter();
}

/* Set in the child that walks the memory, before anything else: there no hook may do more than
 * forward, and the wiped page must not be taken for a fork of the service. */
extern LD_HIDDEN volatile uint32_t ld__in_snapshot_child;

#endif
