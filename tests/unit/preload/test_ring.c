/* SPDX-License-Identifier: Apache-2.0
 * test_ring.c - rings: order, room, owners, the file. */
#include "preload/ring.h"

#include <pthread.h>
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
