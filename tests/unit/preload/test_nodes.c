/* SPDX-License-Identifier: Apache-2.0
 * test_nodes.c - blocks sorted and found by address, against a search through all of them. */
#include "preload/live.h"
#include "preload/nodes.h"
#include "preload/stream.h"
#include "test.h"

#define BLOCKS 40000u
#define MAPPINGS 30u

static struct live_block blocks[BLOCKS], mappings[MAPPINGS];
static struct nodes nodes;
static uint64_t seed = 88172645463325252ull;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Blocks in three far areas, in mappings and beside them, none overlapping, entered in random order. */
static void fill(void)
{
	static const uint64_t areas[] = { 0x555555560000, 0x7f1000000000, 0x7ffff0000000 };
	uint64_t at = areas[0];

	ASSERT_INT_EQ(ld__live_init(), 0);
	for (uint32_t i = 0; i < MAPPINGS; i++) {
		mappings[i] = (struct live_block) { .addr = 0x7f1000000000 + i * 0x100000ull, .bytes = 0x80000, .birth = i + 1,
						    .kind = STREAM_NODE_MAPPING };
		ASSERT_INT_EQ(ld__live_map(&mappings[i]), 0);
	}
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint64_t bytes = random_number() % 16 ? random_number() % 300 : random_number() % 20000;

		if (i % (BLOCKS / 3 + 1) == 0)
			at = areas[i / (BLOCKS / 3 + 1)];
		at += random_number() % 8 * 16;
		blocks[i] = (struct live_block) { .addr = at, .bytes = bytes, .birth = 1000 + i, .kind = STREAM_NODE_MALLOC,
						  .stack = 7 * i, .tid = i + 1, .sample = i % 16 };
		at += (bytes + 31) & ~15ull;
	}
	for (uint32_t i = BLOCKS - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_number() % (i + 1));
		struct live_block swap = blocks[i];

		blocks[i] = blocks[j];
		blocks[j] = swap;
	}
	for (uint32_t i = 0; i < BLOCKS; i++)
		ASSERT_INT_EQ(ld__live_insert(&blocks[i]), 0);
	ASSERT_INT_EQ(ld__nodes_new(&nodes, NULL, NULL, 0), 0);
}

static bool inside(const struct live_block *block, uint64_t addr)
{
	return addr >= block->addr && addr - block->addr < (block->bytes ? block->bytes : 1);
}

static const struct live_block *slow_find(uint64_t addr)
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		if (inside(&blocks[i], addr))
			return &blocks[i];
	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (inside(&mappings[i], addr))
			return &mappings[i];
	return NULL;
}

TEST(nodes_ascend_and_an_enclosing_mapping_comes_first)
{
	uint32_t folded = 0, found = 0;

	fill();
	ASSERT_INT_EQ(nodes.count, BLOCKS + MAPPINGS);
	for (uint32_t i = 1; i < nodes.count; i++) {
		uint64_t a = nodes.addr[i - 1], b = nodes.addr[i];

		if (a > b || (a == b && !(nodes.flags[i - 1] & NODE_MAPPING)))
			EXPECT_U64_EQ(a, b - 1);
	}
	for (uint32_t i = 0; i < nodes.count; i++) {
		found += !!(nodes.flags[i] & NODE_MAPPING);
		folded += !!(nodes.flags[i] & NODE_FOLDED);
	}
	EXPECT_INT_EQ(found, MAPPINGS);
	EXPECT(folded > 0);
	for (uint32_t i = 0; i < MAPPINGS; i++) {
		uint32_t blocks_in = 0, id = ld__nodes_lower_bound(&nodes, mappings[i].addr);

		for (uint32_t b = 0; b < BLOCKS; b++)
			blocks_in += inside(&mappings[i], blocks[b].addr);
		EXPECT_INT_EQ(!!(nodes.flags[id] & NODE_FOLDED), blocks_in > 0);
	}
}

TEST(an_address_finds_the_innermost_node_or_none)
{
	uint64_t wrong = 0, hits = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		const struct live_block *near = &blocks[random_number() % BLOCKS];
		uint64_t addr = near->addr + random_number() % (near->bytes + 40) - 16, offset = 0;
		const struct live_block *expected;
		uint32_t id;

		if (i % 4 == 0)
			addr = mappings[random_number() % MAPPINGS].addr + random_number() % 0x90000;
		expected = slow_find(addr);
		id = ld__nodes_find(&nodes, addr, &offset);
		if (!expected) {
			wrong += id != STREAM_NONE;
			continue;
		}
		hits++;
		wrong += id == STREAM_NONE || nodes.addr[id] != expected->addr || offset != addr - expected->addr;
	}
	EXPECT_U64_EQ(wrong, 0);
	EXPECT(hits > 5000);
}

TEST(addresses_outside_of_everything_find_nothing)
{
	uint64_t offset;

	EXPECT_U64_EQ(ld__nodes_find(&nodes, 0, &offset), STREAM_NONE);
	EXPECT_U64_EQ(ld__nodes_find(&nodes, 8, &offset), STREAM_NONE);
	EXPECT_U64_EQ(ld__nodes_find(&nodes, UINT64_MAX, &offset), STREAM_NONE);
	EXPECT_U64_EQ(ld__nodes_find(&nodes, 0x600000000000, &offset), STREAM_NONE);
}

static uint64_t records_wrong, records_seen;

static void check_record(const struct live_block *block, void *data)
{
	struct live_block got;
	uint32_t id = ld__nodes_lower_bound(&nodes, block->addr);

	(void)data;
	/* a mapping comes before a block that begins where it does */
	if (block->kind != STREAM_NODE_MAPPING && nodes.flags[id] & NODE_MAPPING)
		id++;
	got = ld__nodes_record(&nodes, id);
	records_wrong += got.addr != block->addr || got.birth != block->birth || got.stack != block->stack ||
			 got.tid != block->tid || got.kind != block->kind || got.sample != block->sample;
	records_seen++;
}

TEST(what_was_recorded_of_a_node_is_found_again)
{
	EXPECT_U64_EQ(ld__live_visit(check_record, NULL), BLOCKS + MAPPINGS);
	EXPECT_U64_EQ(records_seen, BLOCKS + MAPPINGS);
	EXPECT_U64_EQ(records_wrong, 0);
}

TEST_MAIN()
