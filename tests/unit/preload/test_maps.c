/* SPDX-License-Identifier: Apache-2.0
 * test_maps.c - the process's own mappings and pages, by each way that a kernel offers. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/maps.h"
#include "test.h"

#define PAGES 20000u		/* enough for more runs than one call of the kernel reports */
#define PAGE 4096u

static int open_proc(void)
{
	return open("/proc", O_PATH | O_DIRECTORY);
}

static struct spans collect(const char *at, size_t bytes, bool shared, bool pagemap)
{
	static struct span items[3][PAGES];
	static int turn;
	struct spans spans = { .items = items[turn++ % 3], .capacity = PAGES };
	int fd = pagemap ? open("/proc/self/pagemap", O_RDONLY) : -1;

	EXPECT(ld__spans_add(&spans, fd, (uint64_t)(uintptr_t)at, (uint64_t)(uintptr_t)at + bytes, shared) >= 0);
	if (fd >= 0)
		close(fd);
	return spans;
}

static bool equal(const struct spans *a, const struct spans *b)
{
	return a->count == b->count && !memcmp(a->items, b->items, a->count * sizeof(*a->items));
}

TEST(every_mapping_is_read_with_its_numbers)
{
	char *at = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *guard = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int proc = open_proc();
	const struct map_entry *entry;
	struct maps maps;
	bool stack = false;

	memset(at, 1, 16 * PAGE);
	madvise(at + 32 * PAGE, 16 * PAGE, MADV_DONTFORK);
	ASSERT_INT_EQ(ld__maps_new(&maps, 200, 20000), 0);
	ASSERT_INT_EQ(ld__maps_read(&maps, proc, true), 0);
	for (uint32_t i = 1; i < maps.count; i++)
		EXPECT(maps.entries[i - 1].end <= maps.entries[i].start);
	entry = ld__maps_find(&maps, (uint64_t)(uintptr_t)at);
	ASSERT_NOT_NULL(entry);
	EXPECT_INT_EQ(entry->prot, PROT_READ | PROT_WRITE);
	EXPECT(entry->rss_bytes >= 16 * PAGE && entry->rss_bytes != MAP_NUMBER_UNKNOWN);
	EXPECT(!(entry->flags & MAP_DONTFORK));
	entry = ld__maps_find(&maps, (uint64_t)(uintptr_t)at + 40 * PAGE);
	ASSERT_NOT_NULL(entry);
	EXPECT(entry->flags & MAP_DONTFORK);
	entry = ld__maps_find(&maps, (uint64_t)(uintptr_t)guard);
	ASSERT_NOT_NULL(entry);
	EXPECT_INT_EQ(entry->prot, 0);
	for (uint32_t i = 0; i < maps.count; i++)
		stack |= !strcmp(maps.names + maps.entries[i].name, "[stack]");
	EXPECT(stack);
	EXPECT(ld__maps_find(&maps, 8) == NULL);
	ld__maps_free(&maps);
	close(proc);
}

TEST(a_table_that_is_too_small_says_what_is_missing)
{
	struct maps maps;
	int proc = open_proc();

	ASSERT_INT_EQ(ld__maps_new(&maps, 0, 0), 0);
	maps.capacity = 3;
	EXPECT_INT_EQ(ld__maps_read(&maps, proc, false), -7 /* E2BIG */);
	EXPECT_INT_EQ(maps.count, 3);
	EXPECT(maps.refused > 3);
	maps.capacity = 1024;
	ld__maps_free(&maps);
	close(proc);
}

TEST(pages_that_were_touched_are_found_whatever_the_kernel)
{
	char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct spans by_scan, by_pagemap, by_mincore;
	uint64_t seed = 5, touched = 0, found = 0;

	madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (uint32_t i = 0; i < PAGES; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		if (seed >> 62)
			continue;
		at[i * PAGE] = 1;
		touched++;
	}
	by_scan = collect(at, PAGES * PAGE, false, true);
	ld__spans_old_kernel = true;
	by_pagemap = collect(at, PAGES * PAGE, false, true);
	ld__spans_old_kernel = false;
	by_mincore = collect(at, PAGES * PAGE, false, false);
	for (uint64_t i = 0; i < by_scan.count; i++)
		found += (by_scan.items[i].end - by_scan.items[i].start) / PAGE;
	EXPECT_U64_EQ(found, touched);
	EXPECT(equal(&by_scan, &by_pagemap));
	EXPECT(equal(&by_scan, &by_mincore));
	munmap(at, PAGES * PAGE);
}

TEST(a_private_file_mapping_counts_only_pages_that_were_written)
{
	int fd = memfd_create("file", 0);
	char *at;
	struct spans spans;
	char sum = 0;

	ASSERT_INT_EQ(ftruncate(fd, 16 * PAGE), 0);
	at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	for (int i = 0; i < 16; i++)
		sum = (char)(sum + *(volatile char *)(at + i * PAGE));
	at[5 * PAGE] = sum;
	for (int old = 0; old < 2; old++) {
		ld__spans_old_kernel = old;
		spans = collect(at, 16 * PAGE, false, true);
		EXPECT_U64_EQ(spans.count, 1);
		EXPECT_U64_EQ(spans.items[0].start, (uint64_t)(uintptr_t)at + 5 * PAGE);
		EXPECT_U64_EQ(spans.items[0].end, (uint64_t)(uintptr_t)at + 6 * PAGE);
	}
	ld__spans_old_kernel = false;
	munmap(at, 16 * PAGE);
	close(fd);
}

TEST(a_full_table_of_spans_counts_what_it_leaves_out)
{
	char *at = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct span items[4];
	struct spans spans = { .items = items, .capacity = 4 };
	int fd = open("/proc/self/pagemap", O_RDONLY);

	madvise(at, 64 * PAGE, MADV_NOHUGEPAGE);
	for (int i = 0; i < 20; i += 2)
		at[i * PAGE] = 1;
	EXPECT_INT_EQ(ld__spans_add(&spans, fd, (uint64_t)(uintptr_t)at, (uint64_t)(uintptr_t)at + 64 * PAGE, false), 10 * PAGE);
	EXPECT_U64_EQ(spans.count, 4);
	EXPECT_U64_EQ(spans.refused_pages, 6);
	close(fd);
}

TEST_MAIN()
