/* SPDX-License-Identifier: Apache-2.0
 * test_drain.c - rings of several threads merge into one true history. */
#include "preload/drain.h"

#include <pthread.h>
#include <stdatomic.h>

#include "preload/clock.h"
#include "preload/live.h"
#include "preload/ring.h"
#include "preload/stream.h"
#include "test.h"

#define THREADS 4
#define HANDOVERS 300000u
#define BLOCKS 64u

/* Four rings without threads behind them, filled by hand: the order of publishing and the order of
 * the clock are then ours to choose. */
static struct ring *ring[THREADS];

static void *get_ring(void *data)
{
	*(struct ring **)data = ld__ring_acquire();
	return NULL;
}

/* The threads are gone, so each would be given the same ring: they live at the same time. */
static pthread_barrier_t together;

static void *get_own_ring(void *data)
{
	get_ring(data);
	pthread_barrier_wait(&together);
	return NULL;
}

static void set_up(void)
{
	pthread_t threads[THREADS];

	if (ring[0])
		return;
	ld__clock_init();
	ld__live_init();
	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, get_own_ring, &ring[i]);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void put(int r, uint64_t clock, uint32_t kind, uint64_t addr, uint64_t bytes)
{
	struct event *e = &ld__ring_events(ring[r])[ring[r]->head & ring[r]->event_mask];

	*e = (struct event){ .clock = clock, .addr = addr, .bytes = bytes, .stack = 3, .kind = kind & 0xff,
			     .tid = 100 + (unsigned int)r };
	ring[r]->head++;
}

static struct live_block last;

static void keep(const struct live_block *b, void *data)
{
	(void)data;
	last = *b;
}

static uint64_t live_now(void)
{
	return ld__live_visit(keep, NULL);
}

TEST(events_of_one_address_apply_in_clock_order_whatever_ring_they_are_in)
{
	uint64_t before;

	set_up();
	before = ld__live_anomalies();
	put(3, 10, STREAM_NODE_MALLOC, 0x1000, 1);
	put(0, 20, EVENT_FREE, 0x1000, 0);
	put(2, 30, STREAM_NODE_MALLOC, 0x1000, 2);
	put(1, 40, EVENT_FREE, 0x1000, 0);
	put(0, 50, STREAM_NODE_CALLOC, 0x1000, 3);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.birth, 50);
	EXPECT_U64_EQ(last.bytes, 3);
	EXPECT_INT_EQ(last.tid, 100);
	EXPECT_INT_EQ(last.kind, STREAM_NODE_CALLOC);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	ld__live_clear();
}

TEST(event_later_than_the_horizon_waits_unless_everything_is_stopped)
{
	set_up();
	put(0, ld__clock_now() + (1ull << 40), STREAM_NODE_MALLOC, 0x2000, 1);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 0);
	ld__drain_stopped();
	EXPECT_U64_EQ(live_now(), 1);
	ld__live_clear();
}

TEST(block_given_back_by_the_next_event_cancels_only_within_the_horizon)
{
	uint64_t now, before, events;

	set_up();
	before = ld__live_anomalies();
	events = ld__drain_events();
	now = ld__clock_now();
	put(0, now, STREAM_NODE_MALLOC, 0x7000, 1);
	put(0, now + 1, EVENT_FREE, 0x7000, 0);
	put(0, now + 2, STREAM_NODE_MALLOC, 0x7000, 2);
	put(1, now + 3, EVENT_FREE, 0x7000, 0);		/* by another thread */
	put(0, now + 4, STREAM_NODE_MALLOC, 0x7000, 3);
	put(0, now + (1ull << 40), EVENT_FREE, 0x7000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.bytes, 3);
	EXPECT_U64_EQ(ld__drain_events(), events + 5);
	ld__drain_stopped();
	EXPECT_U64_EQ(live_now(), 0);
	EXPECT_U64_EQ(ld__drain_events(), events + 6);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	ld__live_clear();
}

TEST(realloc_keeps_the_birth_and_takes_size_and_thread_of_the_call)
{
	set_up();
	put(0, 100, STREAM_NODE_MALLOC, 0x3000, 10);
	put(1, 110, EVENT_REALLOC_BEGIN, 0x3000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);		/* in progress: the old block is still there */
	put(2, 120, STREAM_NODE_MALLOC, 0x3000, 77);	/* its address is given to another thread */
	put(1, 130, EVENT_REALLOC_END, 0x4000, 20);
	put(2, 140, EVENT_FREE, 0x3000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.addr, 0x4000);
	EXPECT_U64_EQ(last.birth, 100);
	EXPECT_U64_EQ(last.bytes, 20);
	EXPECT_INT_EQ(last.tid, 101);
	ld__live_clear();
}

TEST(failed_realloc_restores_the_block_as_it_was)
{
	set_up();
	put(0, 200, STREAM_NODE_MALLOC, 0x5000, 10);
	put(1, 210, EVENT_REALLOC_BEGIN, 0x5000, 0);
	put(1, 220, EVENT_REALLOC_FAIL, 0x5000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.birth, 200);
	EXPECT_U64_EQ(last.bytes, 10);
	EXPECT_INT_EQ(last.tid, 100);
	put(1, 230, EVENT_REALLOC_BEGIN, 0x5000, 0);
	put(1, 240, EVENT_REALLOC_END, 0, 0);	/* realloc(p, 0) gave it back */
	ld__drain();
	EXPECT_U64_EQ(live_now(), 0);
}

TEST(moved_mapping_keeps_its_birth_and_a_failed_move_changes_nothing)
{
	set_up();
	put(0, 300, STREAM_NODE_MAPPING, 0x10000, 0x4000);
	put(0, 310, EVENT_REMAP_BEGIN, 0x10000, 0x4000);
	put(0, 320, EVENT_REMAP_FAIL, 0x10000, 0x4000);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.bytes, 0x4000);
	put(0, 330, EVENT_REMAP_BEGIN, 0x10000, 0x4000);
	put(0, 340, EVENT_REMAP_END, 0x80000, 0x8000);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_U64_EQ(last.addr, 0x80000);
	EXPECT_U64_EQ(last.bytes, 0x8000);
	EXPECT_U64_EQ(last.birth, 300);
	put(1, 350, EVENT_UNMAP, 0x80000, 0x8000);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 0);
}

/* Real threads, the real clock: blocks are handed from thread to thread through a mailbox, so almost
 * every free is another thread's. Addresses are reused at once, as allocators do. */
static _Atomic uint64_t mailbox[BLOCKS];
static _Atomic uint64_t free_addresses[BLOCKS];

static void *hand_over(void *data)
{
	struct guard *g = &ld__guard;
	struct ring *mine;
	uint64_t x = 0x9e3779b97f4a7c15ull * ((uint64_t)(uintptr_t)data + 1);

	ld__guard_enter();
	mine = ld__ring_acquire();
	for (uint32_t i = 0; i < HANDOVERS; i++) {
		uint64_t slot, addr, old;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (!ld__ring_has_room(mine, 4) && !ld__drain_make_room(mine, 4))
			return NULL;
		slot = x % BLOCKS;
		addr = atomic_exchange(&free_addresses[slot], 0);	/* the real malloc */
		if (addr)
			ld__ring_push(g, mine, STREAM_NODE_MALLOC, addr, 32, 1);
		old = atomic_exchange(&mailbox[(x >> 20) % BLOCKS], addr);
		if (old) {
			ld__ring_push(g, mine, EVENT_FREE, old, 0, 0);
			while (!atomic_compare_exchange_strong(&free_addresses[x % BLOCKS],
							       &(uint64_t){ 0 }, old))
				x++;					/* the real free */
		}
	}
	ld__guard_leave();
	return NULL;
}

TEST(threads_that_free_each_others_blocks_leave_exactly_what_is_live)
{
	pthread_t threads[THREADS];
	uint64_t expected = 0, before, lost;

	set_up();
	before = ld__live_anomalies();
	lost = ld__drain_lost();
	for (uint64_t i = 0; i < BLOCKS / 2; i++)
		free_addresses[i] = 0x100000 + i * 64;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, hand_over, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ld__drain();
	for (uint64_t i = 0; i < BLOCKS; i++)
		expected += mailbox[i] != 0;
	EXPECT_U64_EQ(live_now(), expected);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	EXPECT_U64_EQ(ld__drain_lost(), lost);
	EXPECT(ld__drain_events() > HANDOVERS);
}

TEST_MAIN()
