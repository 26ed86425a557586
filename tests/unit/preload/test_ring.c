/* SPDX-License-Identifier: Apache-2.0
 * test_ring.c - rings: order, room, owners, the file. */
#include "preload/ring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/clock.h"
#include "preload/drain.h"
#include "preload/live.h"
#include "test.h"

static char folder[64];

static void set_up(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	ld__clock_init();
	ld__live_init();
	strcpy(folder, "/tmp/leakdiff-test-XXXXXX");
	if (!mkdtemp(folder) || ld__ring_open(folder, 256) < 0)
		exit(2);
	ld__ring_acquire();
}

TEST(clock_grows_strictly_within_a_ring)
{
	struct ring *ring;
	uint64_t last = 0;

	set_up();
	ring = ld__guard.ring;
	for (int i = 0; i < 200; i++)
		ld__ring_push(&ld__guard, ring, EVENT_FREE, 1, 0, 0);
	for (uint64_t at = ring->tail; at < ring->head; at++) {
		const struct event *e = &ld__ring_events(ring)[at & ring->event_mask];

		EXPECT(e->clock > last);
		EXPECT_INT_EQ(e->kind, EVENT_FREE);
		EXPECT_INT_EQ(e->tid, (int)gettid());
		last = e->clock;
	}
	ld__drain();
}

/* ---- several threads ---- */

enum { HANDS = 3, ADDRESSES = 48, EVENTS_A_ROUND = 200, ROUNDS = 60 };

static struct { atomic_flag held; uint64_t addr, events; } passed[ADDRESSES];
static pthread_barrier_t round_begins, round_ends;
static struct ring *rings[HANDS];
static uint64_t reads_spared;

/* Take an address, record its next event, let it go: as blocks go from thread to thread, their events one after
 * the other. */
static void *pass_on(void *data)
{
	uint64_t random = 88172645463325252u + (uintptr_t)data * 7919;
	struct ring *ring = rings[(uintptr_t)data] = ld__ring_acquire();

	for (uint32_t round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&round_begins);
		for (uint32_t done = 0; done < EVENTS_A_ROUND;) {
			uint32_t i;

			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			i = (uint32_t)(random >> 32) % ADDRESSES;
			if (atomic_flag_test_and_set(&passed[i].held))
				continue;
			/* some keep a block for a while */
			for (uint32_t more = 1 + (random >> 20) % 4; more > 0 && done < EVENTS_A_ROUND; more--, done++) {
				uint64_t before = ring->clock_base + ring->head;

				ld__ring_push(&ld__guard, ring, more % 2 ? EVENT_FREE : STREAM_NODE_MALLOC,
					      passed[i].addr, ++passed[i].events, 0);
				__atomic_add_fetch(&reads_spared, ring->clock_base + ring->head == before + 1, __ATOMIC_RELAXED);
			}
			atomic_flag_clear(&passed[i].held);
		}
		pthread_barrier_wait(&round_ends);
	}
	return NULL;
}

static const struct event *first_of_all(uint64_t *at)
{
	const struct event *first = NULL;
	uint32_t of = 0;

	for (uint32_t i = 0; i < HANDS; i++) {
		const struct event *e = &ld__ring_events(rings[i])[at[i] & rings[i]->event_mask];

		if (at[i] < rings[i]->head && (!first || e->clock < first->clock)) {
			first = e;
			of = i;
		}
	}
	at[of] += first != NULL;
	return first;
}

TEST(events_of_one_address_are_in_order_whichever_threads_make_them_and_few_read_the_clock)
{
	uint64_t seen[ADDRESSES] = { 0 }, wrong = 0, count = 0;
	pthread_t threads[HANDS];

	set_up();
	for (uint32_t i = 0; i < ADDRESSES; i++)	/* beside each other, far apart, and of one cell with those */
		passed[i].addr = 0x7f0000000000 + (i % 16) * 16 + (uint64_t)(i / 16 == 1) * (16u << RING_CELL_BITS) * 11 +
				 (uint64_t)(i / 16 == 2) * 0x1234560;
	pthread_barrier_init(&round_begins, NULL, HANDS + 1);
	pthread_barrier_init(&round_ends, NULL, HANDS + 1);
	ld__clock_keep();
	for (uintptr_t i = 0; i < HANDS; i++)
		pthread_create(&threads[i], NULL, pass_on, (void *)i);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint64_t at[HANDS];

		pthread_barrier_wait(&round_begins);
		pthread_barrier_wait(&round_ends);
		for (uint32_t i = 0; i < HANDS; i++)
			at[i] = rings[i]->tail;
		for (const struct event *e; (e = first_of_all(at)); count++) {
			for (uint32_t i = 0; i < ADDRESSES; i++) {
				if (passed[i].addr == e->addr)
					wrong += e->bytes != ++seen[i];
			}
		}
		ld__drain();
	}
	for (uint32_t i = 0; i < HANDS; i++)
		pthread_join(threads[i], NULL);
	ld__clock_drop();
	printf("%" PRIu64 " events, %" PRIu64 " without reading the clock\n", count, reads_spared);
	EXPECT_U64_EQ(count, HANDS * EVENTS_A_ROUND * ROUNDS);
	EXPECT_U64_EQ(wrong, 0);
	if (ld__clock_is_time())
		EXPECT(reads_spared > count / 3);
}

TEST(one_event_in_256_reads_the_clock_and_the_short_hooks_stop_before_it)
{
	struct ring *ring;
	uint32_t read = 0;

	set_up();
	if (!ld__clock_is_time())
		return;			/* a counter is read for each event */
	ring = ld__guard.ring;
	ld__clock_share(false);
	ld__clock_keep();
	for (uint32_t i = 0; i < 1024; i++) {
		uint64_t base = ring->clock_base;
		bool due = ring->head >= ring->clock_due;

		if (!ld__ring_has_room(ring, 1 + RING_SLACK))
			ASSERT(ld__drain_make_room(ring, 1 + RING_SLACK));
		EXPECT(!due || ring->head >= ring->quick_limit);
		EXPECT(ring->quick_limit + RING_SLACK <= ring->limit);
		ld__ring_push(&ld__guard, ring, i / 300 % 2 ? STREAM_NODE_MALLOC : EVENT_FREE, 16 * i + 16, 1, 0);
		EXPECT_INT_EQ(ring->clock_base != base, due);
		read += due;
	}
	EXPECT(read >= 4 && read <= 5);
	ld__ring_set_clock_due(ring, 0);
	EXPECT_U64_EQ(ring->quick_limit, 0);
	ld__ring_push(&ld__guard, ring, EVENT_FREE, 1, 0, 0);
	EXPECT(ring->quick_limit >= ring->head);
	ld__clock_drop();
	ld__drain();
}

TEST(full_ring_has_no_room_until_it_is_drained)
{
	struct ring *ring;

	set_up();
	ring = ld__guard.ring;
	for (int i = 0; i < 256; i++) {
		ASSERT(ld__ring_has_room(ring, 1));
		ld__ring_push(&ld__guard, ring, EVENT_FREE, 1, 0, 0);
	}
	EXPECT(!ld__ring_has_room(ring, 1));
	EXPECT(ld__drain_make_room(ring, 100));
	EXPECT(ld__ring_has_room(ring, 100));
	EXPECT(ring->head - ring->tail >= 64);	/* the youngest wait for their turn */
	ld__drain();
	EXPECT(ld__ring_has_room(ring, 256));
}

static void *push_one(void *data)
{
	*(uint32_t *)data = (uint32_t)gettid();
	if (ld__ring_acquire())
		ld__ring_push(&ld__guard, ld__guard.ring, EVENT_FREE, 1, 0, 0);
	return NULL;
}

TEST(rings_of_dead_threads_are_taken_over_with_their_events)
{
	uint64_t before;
	uint32_t tid;

	set_up();
	ld__drain();
	before = ld__drain_events();
	for (int i = 0; i < 2000; i++) {
		pthread_t thread;

		ASSERT_INT_EQ(pthread_create(&thread, NULL, push_one, &tid), 0);
		pthread_join(thread, NULL);
	}
	ld__drain();
	EXPECT_U64_EQ(ld__drain_events() - before, 2000);
	EXPECT(ld__ring_count() <= 4);
}

TEST(ring_of_a_thread_is_found_by_its_tid)
{
	set_up();
	EXPECT(ld__ring_of_tid((uint32_t)gettid()) == ld__guard.ring);
	EXPECT(ld__ring_of_tid(0xfffffff0u) == NULL);
}

TEST(file_describes_itself_and_has_its_blocks)
{
	struct ring_file header;
	struct stat st;
	FILE *f;

	set_up();
	ASSERT_INT_EQ(stat(ld__ring_path(), &st), 0);
	EXPECT_INT_EQ(st.st_mode & 0777, 0600);
	EXPECT(st.st_blocks * 512 >= st.st_size);
	f = fopen(ld__ring_path(), "r");
	ASSERT_NOT_NULL(f);
	EXPECT_INT_EQ(fread(&header, sizeof(header), 1, f), 1);
	fclose(f);
	EXPECT(!memcmp(header.magic, RING_MAGIC, 8));
	EXPECT_U64_EQ(header.version, RING_VERSION);
	EXPECT_U64_EQ(header.pid, (uint64_t)getpid());
	EXPECT_U64_EQ(header.event_count, 256);
	EXPECT_U64_EQ(header.header_bytes + (uint64_t)header.ring_count * header.ring_bytes,
		      (uint64_t)st.st_size);
	ld__ring_unlink();
	EXPECT_INT_EQ(stat(ld__ring_path()[0] ? ld__ring_path() : "/nonexistent", &st), -1);
	EXPECT_INT_EQ(rmdir(folder), 0);
}

TEST_MAIN()
