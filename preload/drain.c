/* SPDX-License-Identifier: Apache-2.0
 * L6  drain.c - rings into the live table, in birth-clock order.
 *
 *   ring 0  ... a c |f          T = clock now; then every head is read
 *   ring 1  ... b d e|          merged: a b c d e  -> live table;   f (> T) waits
 *
 * Why this is right without stopping anyone. Let e and f be events on one address, e first, by two
 * threads. The second thread could act on the address only after the first had published e (an
 * allocation is published before malloc returns, a free before the real free begins). So
 *
 * (1) clock(e) < clock(f): merging by clock applies them in their true order (see clock.h).
 * (2) If f is in this batch, clock(f) <= T, then e was published before T was read, and the heads are
 *     read after T: e is in this batch or an earlier one. A batch never holds an effect without its
 *     cause.
 * (3) An event that was timed before T but not yet published is drained with the next batch, late
 *     against other addresses, but nothing on its own address can have happened since: its thread
 *     is still inside the hook, the block still known to nobody else or not yet given back.
 *
 * So no thread is waited for: one that was descheduled in the middle of a hook holds nobody up.
 *
 * The lock is a futex word, held with all signals blocked, and only kernel calls for memory are made
 * under it: whoever holds it needs no lock of the service to go on. */
#include "preload/drain.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "preload/apply.h"
#include "preload/arena.h"
#include "preload/budget.h"
#include "preload/clock.h"
#include "preload/live.h"
#include "preload/ring.h"
#include "preload/sys.h"

#define SPINS 100u
#define WAIT_SLICE_NS 1000000u		/* of an owner without room, before it looks again */
#define WAIT_SLICES 10000u		/* 10 s: then events are dropped rather than the service hung */
#define CURSORS_FIRST 256u
#define BATCH 8192u			/* events of all rings that one owner applies at a time, about */

enum { FREE = 0, HELD = 1, CONTENDED = 2 };

struct cursor {
	uint64_t clock;			/* of the event at `at` */
	uint64_t at, end;
	struct ring *ring;
};

static _Atomic uint32_t lock_word;
static _Atomic uint32_t lock_owner;	/* tid */
static _Atomic uint64_t lost, drained;

/* under the lock: a binary heap, least clock first */
static struct cursor *heap;
static uint32_t heap_count, heap_room;

/* ---- the lock ---- */

bool ld__drain_lock(uint64_t timeout_ns)
{
	struct timespec slice = { 0, WAIT_SLICE_NS };
	uint64_t waited_ns = 0;
	uint32_t word = FREE;

	for (uint32_t i = 0; i < SPINS; i++) {
		word = FREE;
		if (atomic_compare_exchange_strong(&lock_word, &word, HELD))
			goto held;
	}
	while (atomic_exchange(&lock_word, CONTENDED) != FREE) {
		if (waited_ns >= timeout_ns)
			return false;
		ld__sys4(SYS_futex, &lock_word, FUTEX_WAIT_PRIVATE, CONTENDED, &slice);
		waited_ns += WAIT_SLICE_NS;
	}
held:
	atomic_store_explicit(&lock_owner, ld__sys_gettid(), memory_order_relaxed);
	return true;
}

void ld__drain_unlock(void)
{
	atomic_store_explicit(&lock_owner, 0, memory_order_relaxed);
	if (atomic_exchange(&lock_word, FREE) == CONTENDED)
		ld__sys3(SYS_futex, &lock_word, FUTEX_WAKE_PRIVATE, 1);
}

bool ld__drain_after_fork_child(void)
{
	bool quiet = atomic_load(&lock_word) == FREE;

	if (!quiet)
		ld__apply_abandon();
	atomic_store(&lock_owner, 0);
	atomic_store(&lock_word, FREE);
	return quiet;
}

/* A signal handler that came in while the lock is held could fill the ring and wait for itself, or
 * leave with longjmp and never unlock. */
static void block_signals(uint64_t *ret_old)
{
	uint64_t all = UINT64_MAX;

	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, ret_old, sizeof(all));
}

static void restore_signals(const uint64_t *old)
{
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, old, 0, sizeof(*old));
}

/* ---- merging ---- */

/* Field by field: one load of two fields that were stored one by one waits as in ld__live_block_of(). */
static inline struct cursor cursor_at(uint32_t at)
{
	return (struct cursor){
		.clock = __atomic_load_n(&heap[at].clock, __ATOMIC_RELAXED),
		.at = __atomic_load_n(&heap[at].at, __ATOMIC_RELAXED),
		.end = __atomic_load_n(&heap[at].end, __ATOMIC_RELAXED),
		.ring = heap[at].ring,
	};
}

static void sift_down(uint32_t at)
{
	struct cursor moved = cursor_at(at);

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= heap_count)
			break;
		if (child + 1 < heap_count && heap[child + 1].clock < heap[child].clock)
			child++;
		if (heap[child].clock >= moved.clock)
			break;
		heap[at] = cursor_at(child);
		at = child;
	}
	heap[at] = moved;
}

static bool heap_make_room(uint32_t count)
{
	uint32_t room = heap_room ? heap_room : CURSORS_FIRST, old_room = heap_room;
	struct cursor *fresh, *old = heap;

	if (count <= heap_room)
		return true;
	while (room < count)
		room *= 2;
	fresh = ld__arena_map(room * sizeof(*fresh));
	if (!fresh)
		return false;
	heap = fresh;
	heap_room = room;
	ld__arena_unmap(old, old_room * sizeof(*old));	/* last: a child forked in between goes on with what the pointer says */
	return true;
}

static void collect(uint64_t horizon)
{
	uint32_t rings = ld__ring_count();

	heap_count = 0;
	if (!heap_make_room(rings) && !heap)
		return;			/* no memory: the owner that needs room will come again */
	for (uint32_t i = 0; i < rings && heap_count < heap_room; i++) {
		struct ring *ring = ld__ring_get(i);
		struct cursor c = { .ring = ring };

		if (!ring)
			continue;
		c.at = ring->tail;
		/* pairs with the release store of head in ld__ring_push() */
		c.end = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
		if (c.at == c.end)
			continue;
		c.clock = ld__ring_events(ring)[c.at & ring->event_mask].clock;
		if (c.clock <= horizon)
			heap[heap_count++] = c;
	}
	for (uint32_t i = heap_count / 2; i-- > 0;)
		sift_down(i);
}

/* Apply the events of the least cursor as long as it stays the least. */
static void run(uint64_t horizon)
{
	struct cursor *c = &heap[0];
	uint64_t limit = horizon, at;

	if (heap_count > 1 && heap[1].clock < limit)
		limit = heap[1].clock;
	if (heap_count > 2 && heap[2].clock < limit)
		limit = heap[2].clock;
	at = ld__apply_events(c->ring, c->at, c->end, limit);
	/* the slots have been read: pairs with the acquire load in ld__ring_has_room() */
	__atomic_store_n(&c->ring->tail, at, __ATOMIC_RELEASE);
	atomic_store_explicit(&drained, atomic_load_explicit(&drained, memory_order_relaxed) + at - c->at,
			      memory_order_relaxed);
	c->at = at;
	c->clock = at < c->end ? ld__ring_events(c->ring)[at & c->ring->event_mask].clock : UINT64_MAX;
	if (c->clock > horizon)
		heap[0] = cursor_at(--heap_count);
	if (heap_count)
		sift_down(0);
}

static void drain_to(uint64_t horizon)
{
	collect(horizon);
	while (heap_count)
		run(horizon);
	ld__apply_finish();
}

/* ---- the budget ---- */

static inline uint64_t begin_timing(void)
{
	return __builtin_expect(ld__budget_on, 0) ? ld__budget_thread_ns() : 0;
}

/* Under the lock. */
static void end_timing(uint64_t began_ns)
{
	struct budget_counts counts = { 0 };
	uint32_t rings = ld__ring_count();

	if (__builtin_expect(!began_ns, 1))
		return;
	ld__budget_add_drain(ld__budget_thread_ns() - began_ns);
	if (!ld__budget_due())
		return;
	for (uint32_t i = 0; i < rings; i++) {
		struct ring *ring = ld__ring_get(i);

		if (!ring)
			continue;
		counts.events += __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
		counts.timed_events += __atomic_load_n(&ring->timed_events, __ATOMIC_RELAXED);
		counts.timed_ticks += __atomic_load_n(&ring->timed_ticks, __ATOMIC_RELAXED);
		counts.stack_ticks += __atomic_load_n(&ring->stack_ticks, __ATOMIC_RELAXED);
	}
	ld__budget_adjust(&counts);
}

void ld__drain_locked(void)
{
	drain_to(ld__clock_now());
}

void ld__drain_stopped(void)
{
	drain_to(UINT64_MAX - 1);
}

void ld__drain(void)
{
	uint64_t signals, began_ns = begin_timing();

	block_signals(&signals);
	if (ld__drain_lock(UINT64_MAX)) {
		ld__drain_locked();
		end_timing(began_ns);
		ld__drain_unlock();
	}
	restore_signals(&signals);
}

/* How far the owner of a full ring drains: not everything, which with many threads would make one
 * malloc wait for all their events, but its own oldest ones and whatever is older than they are. Any
 * clock that has been published will do for a horizon; it is as old as the last event below it. */
static uint64_t horizon_of_owner(const struct ring *ring, uint32_t slots)
{
	uint64_t oldest = BATCH / (ld__ring_count() + 1), used = ring->head - ring->tail;

	if (oldest > (ring->event_mask + 1) / 2)
		oldest = (ring->event_mask + 1) / 2;
	if (oldest < slots + RING_SLACK)
		oldest = slots + RING_SLACK;
	if (oldest > used)
		return ld__clock_now();
	return ld__ring_events((struct ring *)ring)[(ring->tail + oldest - 1) & ring->event_mask].clock;
}

bool ld__drain_make_room(struct ring *ring, uint32_t slots)
{
	uint64_t signals, began_ns = begin_timing();
	bool room = false;

	block_signals(&signals);
	/* the fork's prepare phase holds the lock while other handlers still run in this thread */
	if (atomic_load_explicit(&lock_owner, memory_order_relaxed) == ld__sys_gettid()) {
		drain_to(horizon_of_owner(ring, slots));
		room = ld__ring_has_room(ring, slots);
		goto out;
	}
	for (uint32_t i = 0; i < WAIT_SLICES && !room; i++) {
		if (ld__drain_lock(WAIT_SLICE_NS)) {
			/* whoever had the lock has mostly emptied this ring too */
			if (!ld__ring_has_room(ring, slots))
				drain_to(horizon_of_owner(ring, slots));
			end_timing(began_ns);
			ld__drain_unlock();
			room = ld__ring_has_room(ring, slots);
			break;		/* no room yet: there is no memory to drain with */
		}
		room = ld__ring_has_room(ring, slots);
	}
out:
	restore_signals(&signals);
	return room;
}

void ld__drain_totals(uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	uint64_t signals, blocks, bytes;

	*ret_blocks = *ret_bytes = 0;
	block_signals(&signals);
	for (uint32_t i = 0; i < LIVE_PARTS && ld__drain_lock(UINT64_MAX); i++) {
		ld__live_part_totals(i, &blocks, &bytes);
		ld__drain_unlock();
		*ret_blocks += blocks;
		*ret_bytes += bytes;
	}
	restore_signals(&signals);
}

uint64_t ld__drain_lost(void)
{
	return atomic_load(&lost) + ld__live_refused();
}

void ld__drain_count_lost(uint64_t events)
{
	atomic_fetch_add(&lost, events);
	ld__apply_distrust();
}

uint64_t ld__drain_events(void)
{
	return atomic_load_explicit(&drained, memory_order_relaxed);
}
