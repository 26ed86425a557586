/* SPDX-License-Identifier: Apache-2.0
 * L0  clock.h - the birth clock: a 64-bit number that grows, read without a system call.
 *
 * On x86-64 with an invariant TSC (CPUID 0x80000007 EDX bit 8) it is the TSC, which all cores share;
 * elsewhere it is one shared atomic counter. Two events on one address always get different, rightly
 * ordered values: whoever frees a block or gets it again does so after the other's real call. */
#ifndef LEAKDIFF_CLOCK_H
#define LEAKDIFF_CLOCK_H

#include <stdint.h>

void ld__clock_init(void);
uint64_t ld__clock_now(void);		/* hot path: inline it in clock_inline.h if that pays */

/* Sample (birth, real, monotonic) for the stream's CLOCK section. */
struct stream_clock;
void ld__clock_sample(struct stream_clock *ret_sample);
/* The sample that ld__clock_init() took. */
void ld__clock_first(struct stream_clock *ret_sample);

#endif
