/* SPDX-License-Identifier: Apache-2.0
 * test_drain.c - rings of several threads merge into one true history. */
#include "preload/drain.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/apply.h"
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

/* What an event of that clock tells beside its block. */
static uint32_t stack_at(uint64_t clock)
{
	return (uint32_t)(clock * 0x9e3779b97f4a7c15ull >> 40);
}

static uint32_t tid_at(int r, uint64_t clock)
{
	return (clock % 2 ? 0x3fff00u : 100u) + (uint32_t)r;
}

static void put(int r, uint64_t clock, uint32_t kind, uint64_t addr, uint64_t bytes)
{
	struct event *e = &ld__ring_events(ring[r])[ring[r]->head & ring[r]->event_mask];

	*e = (struct event){ .clock = clock, .addr = addr, .bytes = bytes, .stack = stack_at(clock), .sample = clock & 0xf,
			     .kind = kind & 0xff, .tid = tid_at(r, clock) };
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

/* Random histories by three rings: what is live must be what a plain list says, whichever events met in one batch, and
 * whether they were gathered or went straight to the table. */
#define ADDRESSES 6000u
#define HISTORY 300000u

static struct { uint64_t birth, bytes, clock; int ring; bool is_busy; } expected[ADDRESSES];

/* One half of a realloc has been told of; the other one comes later, and other rings' events in between. */
static struct { uint32_t from, to; bool is_running, fails; } moving[3];

/* Some lie in the same eight bytes as the one before. */
static uint64_t address(uint32_t i)
{
	if (i % 8 == 1)
		return address(i - 1) + 4;
	return 0x7f0000000000 + (uint64_t)i * 48 + (uint64_t)(i % 7) * 0x100000;
}

static uint32_t differing(void)
{
	uint32_t wrong = 0, live = 0;
	struct live_block b;

	for (uint32_t i = 0; i < ADDRESSES; i++) {
		live += expected[i].birth != 0;
		if (ld__live_find(address(i), &b) != (expected[i].birth != 0))
			wrong++;
		else if (expected[i].birth)
			wrong += b.birth != expected[i].birth || b.bytes != expected[i].bytes ||
				 b.stack != stack_at(expected[i].clock) || b.sample != (expected[i].clock & 0xf) ||
				 b.tid != tid_at(expected[i].ring, expected[i].clock) ||
				 b.kind != (expected[i].clock == b.birth ? STREAM_NODE_MALLOC : STREAM_NODE_REALLOC);
	}
	return wrong + (live_now() != live);
}

static void end_moving(int r, uint64_t clock, uint64_t bytes)
{
	uint32_t from = moving[r].from, to = moving[r].to;
	uint64_t birth = expected[from].birth;

	moving[r].is_running = expected[from].is_busy = expected[to].is_busy = false;
	if (moving[r].fails) {
		put(r, clock, EVENT_REALLOC_FAIL, address(from), 0);
		return;
	}
	expected[from].birth = 0;
	expected[to].birth = birth;
	expected[to].bytes = bytes;
	expected[to].clock = clock;
	expected[to].ring = r;
	put(r, clock, EVENT_REALLOC_END, address(to), bytes);
}

TEST(random_histories_end_as_a_plain_list_says)
{
	uint64_t x = 88172645463325252u, before, clock, first;
	uint32_t reallocs = 0, moved = 0, together_most = 0;

	set_up();
	before = ld__live_anomalies();
	first = clock = 1000;
	for (uint32_t step = 0; step < HISTORY; step++) {
		uint32_t i, to, now = 0;
		int r;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* for a while most of them soon come again, as a real allocator's do, and for a while they do not */
		i = (uint32_t)(x >> 40) % ((x >> 8) % 4 && step / (HISTORY / 6) % 2 == 0 ? 12 : ADDRESSES);
		r = (int)((x >> 16) % 3);
		if (moving[r].is_running && (x >> 50) % 4 == 0) {
			moved += !moving[r].fails && moving[r].to != moving[r].from;
			end_moving(r, ++clock, x % 2000);
		} else if (expected[i].is_busy) {
			continue;
		} else if (!expected[i].birth) {
			expected[i].birth = expected[i].clock = ++clock;
			expected[i].ring = r;
			/* around the sizes above which a record has more to keep */
			expected[i].bytes = x % 50 > 1 ? x % 1000 : (x % 50 ? 1u << 16 : 1u << 26) - 3 + x / 50 % 5;
			put(r, clock, STREAM_NODE_MALLOC, address(i), expected[i].bytes);
		} else if ((x >> 12) % 8 || moving[r].is_running) {
			put(r, ++clock, EVENT_FREE, address(i), 0);
			expected[i].birth = 0;
		} else {
			to = (x >> 20) % 3 ? i : (uint32_t)(x >> 24) % ADDRESSES;
			moving[r].fails = (x >> 5) % 4 == 0 || (to != i && (expected[to].birth || expected[to].is_busy));
			moving[r].from = i;
			moving[r].to = moving[r].fails ? i : to;
			moving[r].is_running = expected[i].is_busy = expected[moving[r].to].is_busy = true;
			put(r, ++clock, EVENT_REALLOC_BEGIN, address(i), 0);
			reallocs++;
		}
		for (int k = 0; k < 3; k++)
			now += moving[k].is_running;
		together_most = now > together_most ? now : together_most;
		if ((x >> 28) % 1500 == 0 || step % 2000 == 0) {
			ld__drain();
			ASSERT_U64_EQ(differing(), 0);
		}
	}
	for (int r = 0; r < 3; r++) {
		if (moving[r].is_running)
			end_moving(r, ++clock, 1);
	}
	ld__drain();
	EXPECT_U64_EQ(differing(), 0);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	EXPECT(reallocs > 1000 && moved > 100 && together_most == 3 && clock > first + HISTORY / 2);
	ld__live_clear();
}

/* Enough blocks for every part of the table to grow several times and to shrink again, within batches. */
#define CROWD 60000u

static uint64_t address_in_crowd(uint32_t i)
{
	return 0x560000000000 + (uint64_t)i * 48;
}

TEST(a_table_that_grows_and_shrinks_within_batches_loses_no_block)
{
	uint32_t wrong = 0, kept = 0;
	struct live_block b;

	set_up();
	for (uint32_t i = 0; i < CROWD; i++) {
		put((int)(i % 3), 1000 + i, STREAM_NODE_MALLOC, address_in_crowd(i), i);
		if (i % 3000 == 2999)
			ld__drain();
	}
	ld__drain();
	EXPECT_U64_EQ(live_now(), CROWD);
	for (uint32_t i = 0; i < CROWD; i++) {
		uint32_t which = (uint32_t)((uint64_t)i * 7919 % CROWD);

		if (which % 1000)
			put((int)(i % 3), 1000 + CROWD + i, EVENT_FREE, address_in_crowd(which), 0);
		else
			kept++;
		if (i % 3000 == 2999)
			ld__drain();
	}
	ld__drain();
	EXPECT_U64_EQ(live_now(), kept);
	for (uint32_t i = 0; i < CROWD; i += 1000)
		wrong += !ld__live_find(address_in_crowd(i), &b) || b.bytes != i || b.birth != 1000 + i;
	EXPECT_U64_EQ(wrong, 0);
	ld__live_clear();
}

TEST(what_a_fork_interrupted_before_it_was_in_the_table_is_forgotten_in_the_child)
{
	set_up();
	ld__apply_abandon();		/* the next events are gathered */
	EXPECT(ld__drain_after_fork_child());
	put(0, 290, EVENT_REALLOC_BEGIN, 0xb000, 0);
	put(0, 300, STREAM_NODE_MALLOC, 0xb000, 1);
	ASSERT(ld__drain_lock(1000000000u));
	ring[0]->tail = ld__apply_events(ring[0], ring[0]->tail, ring[0]->head, 300);
	EXPECT(!ld__drain_after_fork_child());
	ld__drain();
	EXPECT_U64_EQ(live_now(), 0);
	put(0, 310, STREAM_NODE_MALLOC, 0xb000, 1);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);
	EXPECT_INT_EQ(ring[0]->realloc_pending.active, 0);
	ld__live_clear();
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
	ld__live_clear();
}

/* A block whose free nobody saw goes when its address is given out again: were the new block undone with its free,
 * the old one would stay. */
static void come_and_go_over_another(void)
{
	put(0, 400, STREAM_NODE_MALLOC, 0x9000, 1);
	ld__drain();
	put(0, 410, STREAM_NODE_MALLOC, 0x9000, 2);
	put(0, 420, EVENT_FREE, 0x9000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);		/* it was undone, and nothing told of the free */
}

static int in_child_found_by_address(void)
{
	int before = test_failures;

	ld__ring_after_fork_child();
	ring[0] = NULL;
	set_up();
	come_and_go_over_another();
	put(0, 430, STREAM_NODE_MALLOC, 0xa000, 1);
	ld__drain();
	put(0, 440, STREAM_NODE_MALLOC, 0xa000, 2);
	ld__drain();
	EXPECT(ld__live_anomalies() > 0);
	put(0, 450, STREAM_NODE_MALLOC, 0x9000, 3);
	put(0, 460, EVENT_FREE, 0x9000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 1);		/* that at 0xa000 */
	EXPECT_U64_EQ(last.addr, 0xa000);
	return test_failures != before;
}

TEST(nothing_is_undone_once_a_block_came_where_another_lived)
{
	int status = -1;
	pid_t child;

	set_up();
	ld__apply_abandon();		/* the next events are gathered */
	child = fork();		/* it holds for a process until its end */
	if (!child)
		_exit(in_child_found_by_address());
	waitpid(child, &status, 0);
	EXPECT_INT_EQ(status, 0);
}

TEST(nothing_is_undone_once_an_event_was_lost)
{
	set_up();
	ld__apply_abandon();		/* the next events are gathered */
	come_and_go_over_another();
	ld__drain_count_lost(1);
	put(0, 430, STREAM_NODE_MALLOC, 0x9000, 3);
	put(0, 440, EVENT_FREE, 0x9000, 0);
	ld__drain();
	EXPECT_U64_EQ(live_now(), 0);
	ld__live_clear();
}

TEST_MAIN()
