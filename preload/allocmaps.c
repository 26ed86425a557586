/* SPDX-License-Identifier: Apache-2.0
 * L1  allocmaps.c - anonymous memory that an allocator mapped for itself.
 *
 *   ranges[]   start, end | start, end | 0 | ...     neighbours are joined
 *
 * (1) Writers hold a spin lock for a few dozen instructions, with all signals blocked: a handler that
 *     maps memory would wait for itself.
 * (2) Readers take no lock: start is written last and cleared first.
 * (3) A full table refuses and counts; the range is then classified by its shape like any other. */
#include "preload/allocmaps.h"

#include <signal.h>
#include <stdatomic.h>

#include "preload/sys.h"

#define RANGES_MAX 8192u

struct range {
	_Atomic uint64_t start, end;
};

static struct range ranges[RANGES_MAX];
static uint32_t range_count;
static _Atomic uint64_t refused;
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void take_lock(uint64_t *ret_signals)
{
	uint64_t all = UINT64_MAX;

	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, ret_signals, sizeof(all));
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		ld__sys0(SYS_sched_yield);
}

static void drop_lock(const uint64_t *signals)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, signals, 0, sizeof(*signals));
}

static uint64_t start_of(const struct range *r)
{
	return atomic_load_explicit(&r->start, memory_order_acquire);
}

static uint64_t end_of(const struct range *r)
{
	return atomic_load_explicit(&r->end, memory_order_relaxed);
}

static void set(struct range *r, uint64_t start, uint64_t end)
{
	atomic_store_explicit(&r->start, 0, memory_order_release);
	atomic_store_explicit(&r->end, end, memory_order_release);
	atomic_store_explicit(&r->start, start, memory_order_release);
}

static void insert(uint64_t start, uint64_t end)
{
	struct range *empty = NULL;

	for (uint32_t i = 0; i < range_count; i++) {
		struct range *r = &ranges[i];

		if (!start_of(r)) {
			empty = empty ? empty : r;
		} else if (end_of(r) == start) {
			atomic_store_explicit(&r->end, end, memory_order_release);
			return;
		} else if (start_of(r) == end) {
			atomic_store_explicit(&r->start, start, memory_order_release);
			return;
		}
	}
	if (!empty && range_count < RANGES_MAX)
		empty = &ranges[range_count++];
	if (empty)
		set(empty, start, end);
	else
		atomic_fetch_add(&refused, 1);
}

static void cut(uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < range_count; i++) {
		struct range *r = &ranges[i];
		uint64_t s = start_of(r), e = end_of(r);

		if (!s || e <= start || s >= end)
			continue;
		if (s < start && e > end) {
			atomic_store_explicit(&r->end, start, memory_order_release);
			insert(end, e);
			return;		/* ranges do not overlap: no other can be touched */
		}
		if (s < start)
			atomic_store_explicit(&r->end, start, memory_order_release);
		else if (e > end)
			atomic_store_explicit(&r->start, end, memory_order_release);
		else
			atomic_store_explicit(&r->start, 0, memory_order_release);
	}
}

void ld__allocator_maps_add(uint64_t start, uint64_t bytes)
{
	uint64_t end = (start + bytes + 4095) & ~4095ull, signals;

	take_lock(&signals);
	cut(start, end);		/* MAP_FIXED over an older range */
	insert(start, end);
	drop_lock(&signals);
}

void ld__allocator_maps_remove(uint64_t start, uint64_t bytes)
{
	uint64_t signals;

	if (!range_count)
		return;
	take_lock(&signals);
	cut(start, (start + bytes + 4095) & ~4095ull);
	drop_lock(&signals);
}

void ld__allocator_maps_visit(void (*visit)(uint64_t start, uint64_t end, void *data), void *data)
{
	for (uint32_t i = 0; i < range_count; i++) {
		uint64_t start = start_of(&ranges[i]), end = end_of(&ranges[i]);

		if (start && end > start)
			visit(start, end, data);
	}
}

uint64_t ld__allocator_maps_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}

void ld__allocator_maps_after_fork_child(void)
{
	atomic_flag_clear(&lock);
}
