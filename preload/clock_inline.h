/* SPDX-License-Identifier: Apache-2.0
 * L1  clock_inline.h - the birth clock for the hot path; see clock.h for what it promises. */
#ifndef LEAKDIFF_CLOCK_INLINE_H
#define LEAKDIFF_CLOCK_INLINE_H

#include <stdint.h>

#include "guard.h"
#include "sys.h"

extern LD_HIDDEN uint64_t ld__clock_counter;
#if defined(__x86_64__)
extern LD_HIDDEN uint32_t ld__clock_tsc;	/* 1 = use the TSC */
#endif

/* The floor, see ld__clock_keep() in clock.h, with a bit above it: not one thread alone makes events, or it is not the TSC.
 * So while one does, a hook knows with one comparison that its next clock will do. */
extern LD_HIDDEN uint64_t ld__clock_floor;
#define CLOCK_SHARED (1ull << 63)
#define CLOCK_NO_FLOOR (CLOCK_SHARED - 1)	/* nobody keeps it */

#define CLOCK_READ_EVERY 256u		/* events of a ring */

static inline uint64_t ld__clock_floor_word(void)
{
	return __atomic_load_n(&ld__clock_floor, __ATOMIC_RELAXED);
}

static inline int ld__clock_alone(void)
{
	return !(ld__clock_floor_word() & CLOCK_SHARED);
}

/* Is it the TSC, which goes on without being read? */
static inline int ld__clock_runs(void)
{
#if defined(__x86_64__)
	return ld__clock_tsc != 0;
#else
	return 0;
#endif
}

/* A moment for ld__clock_since_ns() in clock.h, never 0. Orders nothing. */
static inline uint64_t ld__clock_mark(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(ld__clock_tsc, 1))
		return __builtin_ia32_rdtsc() | 1;
#endif
	return ld__sys_clock_ns(CLOCK_MONOTONIC) | 1;
}

static inline uint64_t ld__clock_read(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(ld__clock_tsc, 1)) {
		/* lfence: RDTSC may otherwise run ahead of the load that gave us the block. The
		 * stores after it need no fence: they become visible only when it has retired.
		 * While one thread makes all events its ring alone keeps their order. A second thread
		 * sets the bit before its first event, and loads are not reordered: who has got a
		 * block of its has seen the word, too. */
		if (!ld__clock_alone())
			__builtin_ia32_lfence();
		return __builtin_ia32_rdtsc();
	}
#endif
	return __atomic_add_fetch(&ld__clock_counter, 1, __ATOMIC_ACQ_REL);
}

/* The clock of a ring's next event: `least`, one above its last one's, or more. is_own: no other ring's event need lie below it,
 * since no other has one of this address after this ring's last. Then no clock need be read: RDTSC waits, fenced or
 * not, until the loads before it are done, so that those of a program no longer wait together.
 *
 * Of a free nobody asks for the time, only for the order: it comes after the ring's last. */
static inline uint64_t ld__clock_order(uint64_t least, int is_own)
{
	uint64_t clock;

	if (__builtin_expect(is_own, 1))
		return least;
	clock = ld__clock_read();
	return __builtin_expect(clock < least, 0) ? least : clock;
}

/* The birth of an allocation is a time as well. While the floor is kept, the clock is read once in 256 events (or
 * when a wait has ended: `is_due`); the others follow it, and never lie below the floor. So a birth is early by what
 * 256 events take, or by the time between two visits of the keeper, but never before a time that anyone had been
 * told. */
static inline uint64_t ld__clock_birth(uint64_t least, int is_own, int is_due)
{
	uint64_t floor = ld__clock_floor_word() & ~CLOCK_SHARED, clock;

	if (__builtin_expect(is_own && !is_due, 1)) {
		if (__builtin_expect(least >= floor, 1))
			return least;
		if (floor != CLOCK_NO_FLOOR)
			return floor;
	}
	clock = ld__clock_read();
	return __builtin_expect(clock < least, 0) ? least : clock;
}

#endif
