/* SPDX-License-Identifier: Apache-2.0
 * test_arenas.c - what the allocator's arenas hold, in sentences, and what would help. */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "core/arenas.h"
#include "preload/stream.h"

#define MIB (1ull << 20)

static struct heap_arena arena(uint32_t kind, uint32_t number)
{
	struct heap_arena a = { .kind = kind, .number = number, .threads = 1, .unread = "" };

	a.dirty_bytes = a.muzzy_bytes = a.retained_bytes = a.decay_ms = HEAP_ARENA_UNKNOWN;
	return a;
}

static struct heap_arena fragmented(uint32_t number, uint64_t free_bytes, uint64_t trim_bytes)
{
	struct heap_arena a = arena(STREAM_ARENA_GLIBC, number);

	a.free_bytes = a.free_resident_bytes = free_bytes;
	a.free_count = free_bytes / 4096;
	a.largest_free_bytes = 65536;
	a.trim_bytes = trim_bytes;
	a.used_bytes = 12 * MIB;
	a.used_count = 6000;
	a.classes[12] = (struct heap_arena_class){ a.free_count, free_bytes, 0, 0 };
	a.classes[11] = (struct heap_arena_class){ 0, 0, a.used_count, a.used_bytes };
	return a;
}

static struct heap heap_with(struct heap_arena *arenas, uint32_t count)
{
	struct heap heap = { .arenas = arenas, .arena_count = count, .account.total_bytes = 100 * MIB };

	for (uint32_t i = 0; i < count; i++) {
		heap.details.allocator_free += arenas[i].free_resident_bytes;
		heap.details.allocator_dirty += arenas[i].dirty_bytes == HEAP_ARENA_UNKNOWN ? 0 : arenas[i].dirty_bytes;
	}
	return heap;
}

TEST(an_arena_is_described_by_its_holes_their_sizes_and_what_pins_them)
{
	struct heap_arena arenas[] = { fragmented(0, 4 * MIB, 0), fragmented(3, 40 * MIB, 0) };
	struct heap heap = heap_with(arenas, 2);
	struct arenas_report report;

	ASSERT(arenas_report_make(&heap, &report) == 0);
	ASSERT(report.line_count == 2);
	EXPECT_STR_EQ(report.lines[0], "arena 3: 40 MiB free in 10 240 holes, largest 64 KiB, most of 4 KiB to 8 KiB, pinned by "
		      "12 MiB in use (6 000 blocks, most of 2 KiB to 4 KiB)");
	EXPECT_CONTAINS(report.lines[1], "main arena: 4 MiB free");
	ASSERT(report.advice_count >= 1);
	EXPECT_CONTAINS(report.advice[0], "44 MiB of the holes share their pages with blocks in use");
	arenas_report_done(&report);
}

TEST(little_that_is_free_is_worth_no_sentence)
{
	struct heap_arena arenas[] = { fragmented(0, MIB, MIB) };
	struct heap heap = heap_with(arenas, 1);	/* 2 % of what is resident are 2 MiB */
	struct arenas_report report;

	ASSERT(arenas_report_make(&heap, &report) == 0);
	EXPECT_INT_EQ(report.line_count, 0);
	EXPECT_INT_EQ(report.advice_count, 0);
	arenas_report_done(&report);
}

TEST(whole_pages_in_many_arenas_suggest_a_trim_and_fewer_arenas)
{
	struct heap_arena arenas[] = { fragmented(0, 4 * MIB, 4 * MIB), fragmented(1, 30 * MIB, 29 * MIB), fragmented(2, 20 * MIB, 20 * MIB) };
	struct heap heap = heap_with(arenas, 3);
	struct arenas_report report;

	ASSERT(arenas_report_make(&heap, &report) == 0);
	ASSERT(report.advice_count == 2);
	EXPECT_CONTAINS(report.advice[0], "malloc_trim(0) would give back about 53 MiB");
	EXPECT_CONTAINS(report.advice[1], "MALLOC_ARENA_MAX=2");
	EXPECT_CONTAINS(report.advice[1], "50 MiB");
	arenas_report_done(&report);
}

TEST(jemallocs_pages_are_counted_once_and_its_decay_is_named)
{
	struct heap_arena arenas[] = { arena(STREAM_ARENA_JEMALLOC, 0), arena(STREAM_ARENA_JEMALLOC_ALL, 0) };
	struct heap heap;
	struct arenas_report report;

	arenas[0].dirty_bytes = arenas[1].dirty_bytes = 30 * MIB;
	arenas[1].decay_ms = 10000;
	heap = heap_with(arenas, 2);
	ASSERT(arenas_report_make(&heap, &report) == 0);
	ASSERT(report.line_count == 1 && report.advice_count == 1);
	EXPECT_STR_EQ(report.lines[0], "jemalloc arena 0: 30 MiB of freed pages that are kept");
	EXPECT_CONTAINS(report.advice[0], "after 10 s");
	EXPECT_CONTAINS(report.advice[0], "30 MiB sooner");
	arenas_report_done(&report);
	arenas[1].decay_ms = HEAP_ARENA_UNKNOWN;
	ASSERT(arenas_report_make(&heap, &report) == 0);
	EXPECT_CONTAINS(report.advice[0], "never");
	arenas_report_done(&report);
}

TEST(an_arena_that_was_not_read_says_why)
{
	struct heap_arena one = arena(STREAM_ARENA_GLIBC, 2);
	struct heap heap = heap_with(&one, 1);
	struct arenas_report report;

	one.unread = "a chunk's header is broken";
	one.resident_bytes = 3 * MIB;
	one.live_bytes = MIB;
	ASSERT(arenas_report_make(&heap, &report) == 0);
	ASSERT(report.line_count == 1);
	EXPECT_STR_EQ(report.lines[0], "arena 2: not read, a chunk's header is broken; 3 MiB resident, 1 MiB of it recorded blocks");
	arenas_report_done(&report);
}

TEST(growth_outside_of_live_memory_is_told_by_its_causes_largest_first)
{
	struct heap_arena before = fragmented(0, MIB, 0), after = fragmented(0, 30 * MIB, 0), large = fragmented(0, 30 * MIB, 30 * MIB);
	struct heap first = heap_with(&before, 1), last = heap_with(&after, 1), kept = heap_with(&large, 1), unknown = { 0 };
	char *text;

	last.account.python_bytes = 5 * MIB;
	text = arenas_explain(&first, &last, false);
	ASSERT_NOT_NULL(text);
	EXPECT_STR_EQ(text, "29 MiB more free in holes between blocks (fragmentation), 5 MiB more free in Python's arenas, each kept by "
		      "what lives in it");
	free(text);
	text = arenas_explain(&first, &last, true);
	ASSERT_NOT_NULL(text);
	EXPECT_CONTAINS(text, "; main arena: 30");
	free(text);
	large.largest_free_bytes = 29 * MIB;
	text = arenas_explain(&first, &kept, true);
	ASSERT_NOT_NULL(text);
	EXPECT_CONTAINS(text, "keep its heap from shrinking");
	EXPECT_CONTAINS(text, "malloc_trim(0)");
	free(text);
	text = arenas_explain(&unknown, &unknown, true);
	ASSERT_NOT_NULL(text);
	EXPECT_STR_EQ(text, "");
	free(text);
}

TEST_MAIN()
