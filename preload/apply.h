/* SPDX-License-Identifier: Apache-2.0
 * L5  apply.h - what the events of the rings do to the live table.
 *
 * All of it under the drain lock. */
#ifndef LEAKDIFF_APPLY_H
#define LEAKDIFF_APPLY_H

#include <stdbool.h>
#include <stdint.h>

struct ring;

/* Apply the events of a ring from number `at` on, as far as before `end` and while their clocks are at most `limit`;
 * the first one is applied in any case. Callers go from ring to ring so that the clocks never fall. Returns the
 * number of the first event that was not applied; the slots before it are free. */
uint64_t ld__apply_events(struct ring *ring, uint64_t at, uint64_t end, uint64_t limit);

/* Between two calls of ld__apply_events() the table may not have all that was applied: after this one it has. */
void ld__apply_finish(void);

/* Forget what was applied and is not in the table. Fork child only. */
void ld__apply_abandon(void);

/* Events were lost or never came: see (2) in apply.c. */
void ld__apply_distrust(void);

#endif
