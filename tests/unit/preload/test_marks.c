/* SPDX-License-Identifier: Apache-2.0
 * test_marks.c - a set of addresses that numbers its members, against a sorted array. */
#include <errno.h>
#include <stdlib.h>

#include "preload/marks.h"
#include "test.h"

#define MEMBERS 50000u

static uint64_t members[MEMBERS];
static struct marks marks;
static uint64_t seed = 88172645463325252ull;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Dense and thin stretches in three areas, entered in random order, one of them at an area's very end. */
static void fill(void)
{
	static const uint64_t areas[] = { 0x555555560000, 0x7f10bffff000, 0x7ffff0000008 };
	uint64_t at = areas[0];

	ASSERT_INT_EQ(ld__marks_new(&marks), 0);
	for (uint32_t i = 0; i < MEMBERS; i++) {
		if (i % (MEMBERS / 3 + 1) == 0)
			at = areas[i / (MEMBERS / 3 + 1)];
		members[i] = at;
		at += 8 + (random_number() % 64 ? random_number() % 6 : random_number() % 4096) * 8;
	}
	for (uint32_t i = MEMBERS - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_number() % (i + 1));
		uint64_t swap = members[i];

		members[i] = members[j];
		members[j] = swap;
	}
	for (uint32_t i = 0; i < MEMBERS; i++)
		ASSERT_INT_EQ(ld__marks_add(&marks, members[i]), 1);
	qsort(members, MEMBERS, sizeof(members[0]), compare);
}

TEST(each_member_is_taken_once_and_strange_addresses_are_refused)
{
	fill();
	EXPECT_INT_EQ(ld__marks_add(&marks, members[7]), 0);
	EXPECT_INT_EQ(ld__marks_add(&marks, 1ull << 47), -EINVAL);
	EXPECT_U64_EQ(marks.count, MEMBERS);
	EXPECT(!ld__marks_has(&marks, UINT64_MAX - 7));
	EXPECT(!ld__marks_has(&marks, 0));
}

TEST(members_are_met_in_ascending_order)
{
	uint64_t at = 0;
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < MEMBERS; i++) {
		at = ld__marks_next(&marks, at + 8);
		wrong += at != members[i];
	}
	EXPECT_INT_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__marks_next(&marks, at + 8), 0);
	EXPECT_U64_EQ(ld__marks_next(&marks, members[MEMBERS / 2] - 3), members[MEMBERS / 2]);
}

TEST(numbers_are_places_in_a_sorted_array)
{
	uint32_t wrong = 0;

	ASSERT_INT_EQ(ld__marks_number(&marks, NULL, NULL), MEMBERS);
	for (uint32_t i = 0; i < MEMBERS; i++)
		wrong += ld__marks_number_of(&marks, members[i]) != i || ld__marks_member(&marks, i) != members[i];
	EXPECT_INT_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__marks_member(&marks, MEMBERS), 0);
}

TEST(an_address_between_members_finds_the_one_before_it)
{
	uint32_t wrong = 0;

	for (uint32_t i = 0; i + 1 < MEMBERS; i++) {
		uint64_t gap = members[i + 1] - members[i], addr = members[i] + random_number() % gap;

		if (gap > 1u << 30)		/* the gap between the areas: questions there are not asked */
			addr = members[i] + 8;
		wrong += ld__marks_upto(&marks, addr) != i + 1;
	}
	EXPECT_INT_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__marks_upto(&marks, 0x1000), 0);
}

TEST(members_are_counted_the_same_without_the_processors_help)
{
	uint32_t wrong = 0;

	marks.popcnt = false;
	ASSERT_INT_EQ(ld__marks_number(&marks, NULL, NULL), MEMBERS);
	for (uint32_t i = 0; i < MEMBERS; i++)
		wrong += ld__marks_number_of(&marks, members[i]) != i;
	EXPECT_INT_EQ(wrong, 0);
}

static uint32_t add_one(uint64_t addr, uint32_t number, void *data)
{
	*(uint32_t *)data += 1;
	(void)addr;
	return number + 1;
}

TEST(numbers_leave_room_for_what_comes_before_a_page)
{
	uint32_t pages = 0, last = 0, wrong = 0;
	uint32_t count = ld__marks_number(&marks, add_one, &pages);

	EXPECT(pages > 100);
	EXPECT_INT_EQ(count, MEMBERS + pages);
	for (uint32_t i = 0; i < MEMBERS; i++) {
		uint32_t number = ld__marks_number_of(&marks, members[i]);
		bool new_page = !i || members[i] >> 12 != members[i - 1] >> 12;

		wrong += number != last + new_page;
		last = number + 1;
	}
	EXPECT_INT_EQ(wrong, 0);
	ld__marks_free(&marks);
}

TEST_MAIN()
