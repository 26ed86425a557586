/* SPDX-License-Identifier: Apache-2.0
 * test_live_limits.c - the live table where its buckets overflow and its records end.
 *
 * It is compiled in here with fewer records to a shard, and its hash chooses the addresses. */
#define LIVE_ROOM_MAX 640u
#include "preload/live.c"

#include "test.h"

#define CROWD 400u			/* blocks for one bucket: the count of those that passed it ends at 255 */

static uint64_t addrs[LIVE_ROOM_MAX + 100];

/* The next multiple of 8 from *at on whose hash has these lowest bits. */
static uint64_t next_addr(uint64_t *at, uint64_t bits, uint64_t mask)
{
	while ((ld__live_hash(*at) & mask) != bits)
		*at += 8;
	*at += 8;
	return *at - 8;
}

static int insert(uint64_t addr, uint64_t birth)
{
	struct live_block block = { .addr = addr, .bytes = 100, .birth = birth, .kind = STREAM_NODE_MALLOC };

	return ld__live_insert(&block);
}

static bool is_live(uint64_t addr, uint64_t birth)
{
	struct live_block block;

	return ld__live_find(addr, &block) && block.addr == addr && block.birth == birth;
}

TEST(hash_gives_other_bits_for_each_address)
{
	uint64_t h, addr, undo = 1;

	for (int i = 0; i < 6; i++)		/* the factor's inverse, by Newton */
		undo *= 2 - 0x9e3779b97f4a7c15ull * undo;
	for (uint64_t i = 0; i < 100000; i++) {
		addr = (i * 0x9e3779b97f4a7c15ull >> (64 - LIVE_ADDR_BITS)) & ~7ull;
		h = ld__live_hash(addr) & ((1ull << HASH_BITS) - 1);
		h ^= h >> 22;			/* the upper half was left as it was, so this gives the lower one back, */
		h ^= h >> 44;			/* but for the one bit that was moved twice */
		ASSERT_U64_EQ((h * undo & ((1ull << HASH_BITS) - 1)) << ALIGN_BITS, addr);
	}
}

TEST(blocks_of_one_bucket_are_found_among_their_neighbours)
{
	uint64_t at = 0x100000;

	for (uint64_t i = 0; i < CROWD; i++) {
		addrs[i] = next_addr(&at, 7, (1u << 15) - 1);	/* one bucket, however large the index gets */
		ASSERT_INT_EQ(insert(addrs[i], i + 1), 0);
		ASSERT(!ld__live_remove(addrs[i] + 8, NULL));
	}
	for (uint64_t i = 0; i < CROWD; i++)
		ASSERT(is_live(addrs[i], i + 1));
	for (uint64_t i = 0; i < CROWD; i += 2)
		ASSERT(ld__live_remove(addrs[i], NULL));
	for (uint64_t i = 0; i < CROWD; i++)
		ASSERT(is_live(addrs[i], i + 1) == (i % 2 != 0));
	for (uint64_t i = 0; i < CROWD; i++)
		ASSERT_INT_EQ(insert(addrs[i], 1000 + i), 0);	/* every other one is an anomaly */
	EXPECT_U64_EQ(ld__live_anomalies(), CROWD / 2);
	for (uint64_t i = 0; i < CROWD; i++)
		ASSERT(is_live(addrs[i], 1000 + i) && ld__live_remove(addrs[i], NULL));
	ld__live_clear();
}

TEST(bucket_that_few_passed_is_as_before_when_they_are_gone)
{
	uint64_t at = 0x100000, before;

	for (uint64_t i = 0; i < 30; i++) {
		addrs[i] = next_addr(&at, 7, (1u << 15) - 1);
		ASSERT_INT_EQ(insert(addrs[i], 1), 0);
	}
	EXPECT_INT_EQ((int)passed_of(&shards[7].index[0]), 30 - (int)PLACES);
	before = ld__live_anomalies();		/* a place in the bucket is free again, and the block is still behind it */
	ASSERT(ld__live_remove(addrs[0], NULL));
	ASSERT_INT_EQ(insert(addrs[29], 2), 0);
	EXPECT_U64_EQ(ld__live_anomalies(), before + 1);
	ASSERT_INT_EQ(insert(addrs[0], 1), 0);
	for (uint64_t i = 30; i-- > 0;)
		ASSERT(ld__live_remove(addrs[i], NULL));
	for (uint64_t b = 0; b <= shards[7].mask; b++)
		ASSERT(!is_passed(&shards[7].index[b]) && free_places(&shards[7].index[b]) == 0xff);
	ld__live_clear();
}

TEST(block_beyond_the_last_record_is_refused_and_counted_and_the_others_stay)
{
	uint64_t at = 0x100000, before = ld__live_refused(), count = 0, blocks, bytes;

	for (uint64_t i = 0; i < LIVE_ROOM_MAX + 100; i++) {
		int r = insert(addrs[i] = next_addr(&at, 9, SHARDS - 1), i + 1);

		ASSERT_INT_EQ(r, i < LIVE_ROOM_MAX ? 0 : -ENOMEM);
		count += r == 0;
	}
	EXPECT_U64_EQ(count, LIVE_ROOM_MAX);
	EXPECT_U64_EQ(ld__live_refused(), before + 100);
	for (uint64_t i = 0; i < LIVE_ROOM_MAX; i++)
		ASSERT(is_live(addrs[i], i + 1));
	ASSERT(ld__live_remove(addrs[77], NULL));
	ASSERT_INT_EQ(insert(addrs[LIVE_ROOM_MAX], 5), 0);
	ASSERT_INT_EQ(insert(addrs[77], 6), -ENOMEM);
	ld__live_totals(&blocks, &bytes);
	EXPECT_U64_EQ(blocks, LIVE_ROOM_MAX);
	EXPECT_U64_EQ(bytes, LIVE_ROOM_MAX * 100);
	ld__live_clear();
}

TEST(sizes_of_large_blocks_that_are_gone_do_not_gather)
{
	struct live_block block = { .bytes = 1ull << 30, .kind = STREAM_NODE_MALLOC }, found;

	for (uint64_t i = 1; i <= 4000; i++) {
		block.addr = i << 20;
		block.bytes++;
		ASSERT_INT_EQ(ld__live_insert(&block), 0);
		if (i > 10)
			ASSERT(ld__live_remove((i - 10) << 20, NULL));
	}
	EXPECT(large_room <= 2 * LARGE_FIRST);
	ASSERT(ld__live_find(4000ull << 20, &found));
	EXPECT_U64_EQ(found.bytes, (1ull << 30) + 4000);
	ld__live_clear();
}

TEST_MAIN()
