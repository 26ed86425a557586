/* SPDX-License-Identifier: Apache-2.0
 * L0  clock.h - the birth clock: a 64-bit number that grows, read without a system call.
 *
 * On x86-64 with an invariant TSC (CPUID 0x80000007 EDX bit 8) that the kernel has not found unstable
 * it is the TSC, which all cores share; elsewhere it is one shared atomic counter.
 *
 * What it promises, and what drain.c is built on: if something that a thread did after reading the
 * value a was seen by another thread before that one read b, then a < b (a <= b with the TSC, where
 * one tick is shorter than any way between two cores). Hence the fences in clock_inline.h: the TSC
 * must not be read before the loads in front of it have their values. */
#ifndef LEAKDIFF_CLOCK_H
#define LEAKDIFF_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

void ld__clock_init(void);
uint64_t ld__clock_now(void);		/* for the hot path: clock_inline.h */

/* Does more than one thread make events? Said before the second one's first, and in a fork child. */
void ld__clock_share(bool by_threads);

/* Nobody who has been told a time by ld__clock_now() meets an event of a later birth below it, though events need
 * not read the clock: it leaves what it told behind as a floor for them. Whoever calls keep() promises to call it
 * again, or drop(), within a second or so. */
void ld__clock_keep(void);
void ld__clock_drop(void);

/* Is it the TSC (a time), not the counter (an order only)? */
bool ld__clock_is_time(void);

/* Nanoseconds since a moment that ld__clock_mark() gave; 0 when the machine slept and the TSC began anew. */
uint64_t ld__clock_since_ns(uint64_t mark);

/* Sample (birth, real, monotonic) for the stream's CLOCK section. */
struct stream_clock;
void ld__clock_sample(struct stream_clock *ret_sample);
/* The sample that ld__clock_init() took. */
void ld__clock_first(struct stream_clock *ret_sample);

#endif
