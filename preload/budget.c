/* SPDX-License-Identifier: Apache-2.0
 * L3  budget.c - mode lite: the interval between two stacks follows what recording costs.
 *
 *   recording = stacks (each is timed) + events (one in 64 is timed) + drains (each is timed)
 *
 * (1) Only stacks become fewer when the interval grows. So it grows until they fit into what events and
 *     drains leave of the budget, and no further than to a sixteenth of it: where events alone are above the
 *     budget, no interval can keep it, and stacks that cost next to nothing are not given up for that.
 * (2) It shrinks, a step at a time, where twice as many stacks would still leave a third of the budget.
 * (3) A measurement is of at least 20 ms of processor time: less says nothing about a service.
 * (4) A thread that was interrupted while it was timed counts as one that was not timed. */
#include "preload/budget.h"

#include <stdatomic.h>
#include <time.h>

#include "preload/clock.h"
#include "preload/sys.h"

#define PERIOD_NS 50000000ull
#define CPU_LEAST_NS 20000000ull
#define SHARE_LEAST 16u			/* (1): of the budget stays for stacks */
#define STEPS_MOST 4u			/* doublings at a time */

LD_HOT uint32_t ld__sample_lg;
LD_HOT _Alignas(64) uint32_t ld__budget_on;	/* comes first of all: see tests/policy/test_library.py */

static uint32_t budget_ppm;
static _Atomic uint32_t spent_ppm;
static _Atomic uint64_t drain_ns;

/* under the drain lock: as it was when the running stretch began */
static struct {
	uint64_t monotonic_ns, cpu_ns, drain_ns, ticks;
	struct budget_counts counts;
} last;

uint64_t ld__budget_ticks(void)
{
#if defined(__x86_64__)
	if (ld__clock_is_time())
		return __builtin_ia32_rdtsc();
#endif
	return ld__sys_clock_ns(CLOCK_MONOTONIC);
}

uint64_t ld__budget_thread_ns(void)
{
	return ld__sys_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void ld__budget_add_drain(uint64_t ns)
{
	atomic_fetch_add_explicit(&drain_ns, ns, memory_order_relaxed);
}

static void begin_stretch(const struct budget_counts *counts)
{
	last.monotonic_ns = ld__sys_clock_ns(CLOCK_MONOTONIC);
	last.cpu_ns = ld__sys_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	last.ticks = ld__budget_ticks();
	last.drain_ns = atomic_load_explicit(&drain_ns, memory_order_relaxed);
	last.counts = *counts;
}

void ld__budget_configure(bool lite, uint32_t parts_per_million)
{
	static const struct budget_counts none;

	ld__sample_lg = lite ? SAMPLE_LG_DEFAULT : 0;
	budget_ppm = lite ? parts_per_million : 0;
	if (budget_ppm)
		begin_stretch(&none);
	ld__budget_on = budget_ppm != 0;
}

uint32_t ld__budget_of(uint32_t *ret_spent)
{
	*ret_spent = atomic_load_explicit(&spent_ppm, memory_order_relaxed);
	return budget_ppm;
}

void ld__budget_after_fork_child(void)
{
	static const struct budget_counts none;

	if (!ld__budget_on)
		return;
	atomic_store(&spent_ppm, 0);
	begin_stretch(&none);
}

uint32_t ld__budget_next(uint32_t lg, uint32_t parts_per_million, const struct budget_spent *spent)
{
	uint64_t budget_ns = spent->cpu_ns / 1000000 * parts_per_million +
			     spent->cpu_ns % 1000000 * parts_per_million / 1000000;
	uint64_t left_ns = budget_ns > spent->rest_ns ? budget_ns - spent->rest_ns : 0;
	uint64_t stacks_ns = spent->stacks_ns;

	if (left_ns < budget_ns / SHARE_LEAST)
		left_ns = budget_ns / SHARE_LEAST;
	for (uint32_t i = 0; i < STEPS_MOST && stacks_ns > left_ns && lg < SAMPLE_LG_MOST; i++) {
		stacks_ns /= 2;
		lg++;
	}
	if (spent->rest_ns + 3 * spent->stacks_ns < budget_ns && lg > SAMPLE_LG_LEAST)
		lg--;
	return lg;
}

bool ld__budget_due(void)
{
	return ld__sys_clock_ns(CLOCK_MONOTONIC) - last.monotonic_ns >= PERIOD_NS &&
	       ld__sys_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - last.cpu_ns >= CPU_LEAST_NS;
}

/* a * b / c without overflow in between */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	return c ? (uint64_t)((double)a * (double)b / (double)c) : 0;
}

void ld__budget_adjust(const struct budget_counts *counts)
{
	uint64_t wall_ns = ld__sys_clock_ns(CLOCK_MONOTONIC) - last.monotonic_ns, ticks = ld__budget_ticks() - last.ticks;
	uint64_t event_ticks = scale(counts->events - last.counts.events,
				     counts->timed_ticks - last.counts.timed_ticks,
				     counts->timed_events - last.counts.timed_events);
	struct budget_spent spent = {
		.cpu_ns = ld__sys_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - last.cpu_ns,
		.stacks_ns = scale(counts->stack_ticks - last.counts.stack_ticks, wall_ns, ticks),
		.rest_ns = scale(event_ticks, wall_ns, ticks) +
			   atomic_load_explicit(&drain_ns, memory_order_relaxed) - last.drain_ns,
	};

	if (spent.cpu_ns)
		atomic_store_explicit(&spent_ppm,
				      (uint32_t)scale(spent.stacks_ns + spent.rest_ns, 1000000, spent.cpu_ns),
				      memory_order_relaxed);
	__atomic_store_n(&ld__sample_lg, ld__budget_next(ld__sample_lg, budget_ppm, &spent), __ATOMIC_RELAXED);
	begin_stretch(counts);
}
