/* SPDX-License-Identifier: Apache-2.0
 * test_python_small.c - the table of small Python objects. */
#include "preload/python_small.h"

#include "preload/stream.h"
#include "test.h"

#define HIGHEST ((UINT64_C(1) << 48) - PYTHON_SMALL_UNIT)

static struct live_block seen[64];
static uint32_t seen_count;

static void note(const struct live_block *block, void *data)
{
	(void)data;
	if (seen_count < 64)
		seen[seen_count] = *block;
	seen_count++;
}

static uint32_t visit(void)
{
	seen_count = 0;
	ld__python_small_visit(note, NULL);
	return seen_count;
}

TEST(what_was_put_is_visited_as_it_was_put)
{
	ld__python_small_clear();
	EXPECT(ld__python_small_put(0x7f0000001230, 512, 77, 0xfffffffe, (1u << 22) - 1));
	EXPECT_U64_EQ(visit(), 1);
	EXPECT_U64_EQ(seen[0].addr, 0x7f0000001230);
	EXPECT_U64_EQ(seen[0].bytes, 512);
	EXPECT_U64_EQ(seen[0].birth, 77);
	EXPECT_U64_EQ(seen[0].stack, 0xfffffffe);
	EXPECT_U64_EQ(seen[0].tid, (1u << 22) - 1);
	EXPECT_U64_EQ(seen[0].kind, STREAM_NODE_PYTHON);
}

TEST(what_was_taken_is_gone_and_says_its_birth)
{
	ld__python_small_clear();
	EXPECT(ld__python_small_put(0x10000, 32, 5, 1, 1));
	EXPECT(ld__python_small_put(0x10020, 32, 6, 1, 1));
	EXPECT_U64_EQ(ld__python_small_take(0x10000), 5);
	EXPECT_U64_EQ(ld__python_small_take(0x10000), 0);
	EXPECT_U64_EQ(ld__python_small_take(0x10010), 0);
	EXPECT_U64_EQ(visit(), 1);
	EXPECT_U64_EQ(seen[0].birth, 6);
}

TEST(what_is_put_back_is_as_it_was)
{
	ld__python_small_clear();
	EXPECT(ld__python_small_put(0x20000, 48, 9, 3, 4));
	ld__python_small_put_back(0x20000, ld__python_small_take(0x20000));
	EXPECT_U64_EQ(visit(), 1);
	EXPECT_U64_EQ(seen[0].bytes, 48);
	EXPECT_U64_EQ(seen[0].birth, 9);
	EXPECT_U64_EQ(seen[0].stack, 3);
}

TEST(blocks_far_apart_are_visited_in_the_order_of_their_addresses)
{
	static const uint64_t addrs[] = {
		0x10, 0xfffff0, 0x1000000, 0xffffffff0, 0x1000000000, 0x7fffffffffe0, HIGHEST,
	};
	uint32_t count = sizeof(addrs) / sizeof(*addrs);

	ld__python_small_clear();
	for (uint32_t i = count; i-- > 0;)
		EXPECT(ld__python_small_put(addrs[i], 16, i + 1, 0, 1));
	EXPECT_U64_EQ(visit(), count);
	for (uint32_t i = 0; i < count; i++) {
		EXPECT_U64_EQ(seen[i].addr, addrs[i]);
		EXPECT_U64_EQ(seen[i].birth, i + 1);
	}
	ld__python_small_clear();
	EXPECT_U64_EQ(visit(), 0);
	EXPECT_U64_EQ(ld__python_small_take(0x10), 0);
}

TEST(an_address_that_no_user_has_is_refused)
{
	EXPECT(!ld__python_small_put(UINT64_C(1) << 48, 16, 1, 0, 1));
	EXPECT(!ld__python_small_put(UINT64_MAX - 15, 16, 1, 0, 1));
	EXPECT_U64_EQ(ld__python_small_take(UINT64_C(1) << 48), 0);
}

TEST_MAIN()
