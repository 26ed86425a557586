/* SPDX-License-Identifier: Apache-2.0
 * L2  budget.h - mode lite: how many bytes one stack stands for, and what recording may cost.
 *
 * The interval is a power of two, so that each sampled block can carry the one that it was sampled with in
 * four bits: un-biasing needs no history of the setting. With a budget it follows the processor time that
 * recording takes of the process's own; without one it stays at its default. */
#ifndef LEAKDIFF_BUDGET_H
#define LEAKDIFF_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "preload/guard.h"

#define SAMPLE_LG_LEAST 13u		/* 8 KiB */
#define SAMPLE_LG_DEFAULT 19u		/* 512 KiB */
#define SAMPLE_LG_MOST 27u		/* 128 MiB */

extern LD_HIDDEN uint32_t ld__sample_lg;	/* log2 of the interval in bytes; 0 = a stack for every block */
extern LD_HIDDEN uint32_t ld__budget_on;	/* 1 = what recording costs is measured */

/* An interval in four bits; 0 = a stack for certain. */
static inline uint32_t ld__sample_code(uint32_t lg)
{
	return lg - (SAMPLE_LG_LEAST - 1);
}

static inline uint32_t ld__sample_lg_of(uint32_t code)
{
	return code ? code + (SAMPLE_LG_LEAST - 1) : 0;
}

/* What recording took, and what the process took altogether, in one stretch of time. */
struct budget_spent {
	uint64_t cpu_ns;		/* of the whole process */
	uint64_t stacks_ns;		/* walking stacks: the part that the interval rules */
	uint64_t rest_ns;		/* writing events, applying them to the live table */
};

/* What the threads have measured since they began, summed over their rings. */
struct budget_counts {
	uint64_t events;		/* recorded */
	uint64_t timed_events, timed_ticks;	/* of them so many were timed, without their stacks */
	uint64_t stack_ticks;		/* every stack is */
};

/* lite: is it that mode? parts_per_million of the process's processor time; 0 = no budget. */
void ld__budget_configure(bool lite, uint32_t parts_per_million);

/* Time for short stretches of one thread, in ticks of whatever clock is cheapest. */
uint64_t ld__budget_ticks(void);

/* Processor time of the calling thread, for longer stretches: a system call. */
uint64_t ld__budget_thread_ns(void);
void ld__budget_add_drain(uint64_t ns);

/* Under the drain lock. Is it time to look at the interval again? And: look, with the sums as they are now. */
bool ld__budget_due(void);
void ld__budget_adjust(const struct budget_counts *counts);

/* The interval that follows from what was spent at this one. */
uint32_t ld__budget_next(uint32_t lg, uint32_t parts_per_million, const struct budget_spent *spent);

/* The budget, and what of the processor time recording took lately, in parts per million; 0 = not known. */
uint32_t ld__budget_of(uint32_t *ret_spent);

/* Fork child: nothing is measured yet. */
void ld__budget_after_fork_child(void);

#endif
