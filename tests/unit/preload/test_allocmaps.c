/* SPDX-License-Identifier: Apache-2.0
 * test_allocmaps.c - ranges of the allocator, and of our own memory. */
#include "preload/allocmaps.h"

#include <sys/mman.h>

#include "preload/arena.h"
#include "test.h"

#define PAGES 256u
#define BASE 0x10000000ull

static uint8_t expected[PAGES], seen[PAGES];
static uint64_t overlaps;

static void mark(uint64_t start, uint64_t end, void *data)
{
	(void)data;
	for (uint64_t at = start; at < end; at += 4096)
		overlaps += seen[(at - BASE) / 4096]++;
}

TEST(allocator_ranges_join_split_and_vanish_like_pages)
{
	uint64_t seed = 4711;

	for (int step = 0; step < 20000; step++) {
		uint64_t first, count;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		first = (seed >> 33) % PAGES;
		count = 1 + (seed >> 50) % 16;
		if (first + count > PAGES)
			count = PAGES - first;
		if (seed >> 63) {
			ld__allocator_maps_add(BASE + first * 4096, count * 4096);
			memset(expected + first, 1, count);
		} else {
			ld__allocator_maps_remove(BASE + first * 4096, count * 4096);
			memset(expected + first, 0, count);
		}
		if (step % 100)
			continue;
		memset(seen, 0, sizeof(seen));
		ld__allocator_maps_visit(mark, NULL);
		ASSERT(!memcmp(seen, expected, sizeof(seen)));
	}
	EXPECT_U64_EQ(overlaps, 0);
	EXPECT_U64_EQ(ld__allocator_maps_refused(), 0);
}

static void look_for(uint64_t start, uint64_t end, void *data)
{
	uint64_t *address = data;

	if (*address >= start && *address < end)
		*address = 0;
}

TEST(own_memory_is_known_until_it_is_given_back)
{
	uint64_t before = ld__arena_bytes(), address;
	char *p = ld__arena_map(10000), *small;

	ASSERT_NOT_NULL(p);
	EXPECT_U64_EQ(ld__arena_bytes() - before, 12288);
	EXPECT_INT_EQ(p[0] + p[9999], 0);
	EXPECT(ld__arena_is_own((uint64_t)(uintptr_t)p + 12287));
	address = (uint64_t)(uintptr_t)p;
	ld__arena_visit(look_for, &address);
	EXPECT_U64_EQ(address, 0);
	ld__arena_unmap(p, 10000);
	EXPECT(!ld__arena_is_own((uint64_t)(uintptr_t)p));
	EXPECT_U64_EQ(ld__arena_bytes(), before);

	small = ld__arena_strdup("text");
	EXPECT_STR_EQ(small, "text");
	EXPECT_U64_EQ((uint64_t)(uintptr_t)small % 16, 0);
	EXPECT(ld__arena_is_own((uint64_t)(uintptr_t)small));
	for (int i = 0; i < 100000; i++)
		ASSERT_NOT_NULL(ld__arena_alloc(1 + (size_t)i % 200));
}

TEST_MAIN()
