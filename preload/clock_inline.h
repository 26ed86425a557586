/* SPDX-License-Identifier: Apache-2.0
 * L1  clock_inline.h - the birth clock for the hot path; see clock.h for what it promises. */
#ifndef LEAKDIFF_CLOCK_INLINE_H
#define LEAKDIFF_CLOCK_INLINE_H

#include <stdint.h>

#include "guard.h"

extern LD_HIDDEN uint64_t ld__clock_counter;
#if defined(__x86_64__)
extern LD_HIDDEN uint32_t ld__clock_tsc;	/* 1 = use the TSC */
#endif
extern LD_HIDDEN uint32_t ld__clock_shared;	/* 1 = more than one thread has read it for events */

static inline uint64_t ld__clock_read(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(ld__clock_tsc, 1)) {
		/* lfence: RDTSC may otherwise run ahead of the load that gave us the block. The
		 * stores after it need no fence: they become visible only when it has retired.
		 * While one thread makes all events its ring alone keeps their order, and 8 ns are
		 * saved. A second thread sets the word before its first event, and loads are not
		 * reordered: who has got a block of its has seen the word, too. */
		if (__builtin_expect(__atomic_load_n(&ld__clock_shared, __ATOMIC_RELAXED), 1))
			__builtin_ia32_lfence();
		return __builtin_ia32_rdtsc();
	}
#endif
	return __atomic_add_fetch(&ld__clock_counter, 1, __ATOMIC_ACQ_REL);
}

/* The same for an event whose time nobody asks for, only its order: a free. While one thread makes all
 * events that is "after my last one, `last`", for which no clock is read (11 ns in a virtual machine, and
 * what is loaded meanwhile waits). */
static inline uint64_t ld__clock_order(uint64_t last)
{
#if defined(__x86_64__)
	if (__builtin_expect(ld__clock_tsc & !__atomic_load_n(&ld__clock_shared, __ATOMIC_RELAXED), 1))
		return last + 1;
#else
	(void)last;
#endif
	return ld__clock_read();
}

#endif
