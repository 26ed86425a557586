/* SPDX-License-Identifier: Apache-2.0
 * L4  verify.h - is the fast way right? Counters for the log, and with LEAKDIFF_VERIFY every stack. */
#ifndef LEAKDIFF_VERIFY_H
#define LEAKDIFF_VERIFY_H

#include <stdint.h>

struct step;

/* Compare the stack that the last capture of `step` found with libunwind's. buffer: room for depth +
 * UNWIND_EXTRA addresses. Differences are counted, the first few are printed with both stacks. */
void ld__verify_stack(const struct step *step, void **buffer, uint32_t depth, void *caller);

/* Say how stacks were taken since the start: by rules, handed over and why, compared, different. */
void ld__verify_log(void);

#endif
