/* SPDX-License-Identifier: Apache-2.0
 * test_rings.c - the event rings that a process left behind. */
#include "core/rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/stream.h"
#include "test.h"

#define SLOTS 8u
#define RING_BYTES (RING_PAGE + SLOTS * (uint32_t)sizeof(struct event))

static struct ring_file file;
static char bytes[RING_PAGE + 2 * RING_BYTES];

static struct event *slot(uint32_t ring, uint64_t n)
{
	return (struct event *)(void *)(bytes + RING_PAGE + ring * RING_BYTES + RING_PAGE + n % SLOTS * sizeof(struct event));
}

/* One ring with `head` events whose addresses are their numbers, one that nobody used. */
static void make(uint64_t head, uint64_t tail)
{
	struct ring_file_ring ring = { .events_at = RING_PAGE, .event_mask = SLOTS - 1, .head = head, .tail = tail };

	memset(bytes, 0, sizeof(bytes));
	file = (struct ring_file){ .magic = RING_MAGIC, .version = RING_VERSION, .header_bytes = RING_PAGE, .pid = 7,
		.ring_count = 2, .ring_bytes = RING_BYTES, .ring_header_bytes = RING_PAGE, .event_count = SLOTS,
		.event_bytes = sizeof(struct event), .start_clock = 50, .start_realtime_ns = 9, .clock_is_time = 1 };
	memcpy(bytes + RING_PAGE, &ring, sizeof(ring));
	for (uint64_t n = 0; n < head; n++)
		*slot(0, n) = (struct event){ .clock = 100 + n, .addr = n, .bytes = 16, .stack = 1, .kind = STREAM_NODE_MALLOC,
					      .tid = 7 };
}

static int open_bytes(size_t size, struct rings **ret_rings, int *ret_fd, char **ret_error)
{
	int fd = memfd_create("rings", MFD_CLOEXEC);

	memcpy(bytes, &file, sizeof(file));
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		exit(2);
	*ret_fd = fd;
	return rings_open(fd, "some.ring", ret_rings, ret_error);
}

static void expect_refused(size_t size, int error, const char *words)
{
	struct rings *rings;
	char *sentence = NULL;
	int fd;

	EXPECT_INT_EQ(open_bytes(size, &rings, &fd, &sentence), error);
	EXPECT_CONTAINS(sentence, words);
	free(sentence);
	close(fd);
}

TEST(a_ring_that_went_round_gives_its_last_events_in_order_without_the_one_that_may_be_overwritten)
{
	struct rings_events events;
	struct rings *rings;
	char *error;
	int fd;

	make(21, 18);
	ASSERT_INT_EQ(open_bytes(sizeof(bytes), &rings, &fd, &error), 0);
	EXPECT_U64_EQ(rings_facts(rings)->recorded, 21);
	EXPECT_U64_EQ(rings_facts(rings)->not_drained, 3);
	EXPECT_U64_EQ(rings_facts(rings)->last_clock, 120);
	ASSERT_INT_EQ(rings_read(rings, 0, SIZE_MAX, &events, &error), 0);
	EXPECT_U64_EQ(events.count, SLOTS - 1);
	for (size_t i = 0; i < events.count; i++)
		EXPECT_U64_EQ(events.events[i].addr, 14 + i);
	rings_events_done(&events);
	ASSERT_INT_EQ(rings_read(rings, 0, 2, &events, &error), 0);
	EXPECT_U64_EQ(events.count, 2);
	EXPECT_U64_EQ(events.events[1].addr, 20);
	rings_events_done(&events);
	ASSERT_INT_EQ(rings_read(rings, 1, SIZE_MAX, &events, &error), 0);
	EXPECT_U64_EQ(events.count, 0);
	rings_events_done(&events);
	rings_free(rings);
	close(fd);
}

TEST(what_is_no_event_is_left_out_and_counted)
{
	struct rings_events events;
	struct rings *rings;
	char *error;
	int fd;

	make(5, 0);
	slot(0, 1)->kind = 31;
	slot(0, 3)->tid = 0;
	ASSERT_INT_EQ(open_bytes(sizeof(bytes), &rings, &fd, &error), 0);
	ASSERT_INT_EQ(rings_read(rings, 0, SIZE_MAX, &events, &error), 0);
	EXPECT_U64_EQ(events.count, 3);
	EXPECT_U64_EQ(events.unreadable, 2);
	EXPECT_U64_EQ(events.events[2].addr, 4);
	rings_events_done(&events);
	rings_free(rings);
	close(fd);
}

TEST(a_file_whose_shape_cannot_be_is_refused_with_a_sentence)
{
	uint64_t *head = (uint64_t *)(void *)(bytes + RING_PAGE + 64);

	make(5, 0);
	expect_refused(0, -EBADMSG, "truncated");
	expect_refused(sizeof(file), -EBADMSG, "truncated");
	expect_refused(sizeof(bytes) - 1, -EBADMSG, "truncated");
	file.version = RING_VERSION + 1;
	expect_refused(sizeof(bytes), -EPROTO, "newer");
	make(5, 0);
	file.magic[0] = 'X';
	expect_refused(sizeof(bytes), -EBADMSG, "no file of event rings");
	make(5, 0);
	file.event_count = 6;
	expect_refused(sizeof(bytes), -EBADMSG, "corrupt");
	make(5, 0);
	file.ring_count = 3;
	expect_refused(sizeof(bytes), -EBADMSG, "truncated");
	make(5, 0);
	*head = SLOTS + 1;
	expect_refused(sizeof(bytes), -EBADMSG, "corrupt");
	make(5, 0);
	*head = UINT64_MAX;
	expect_refused(sizeof(bytes), -EBADMSG, "corrupt");
}

TEST_MAIN()
