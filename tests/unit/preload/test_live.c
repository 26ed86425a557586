/* SPDX-License-Identifier: Apache-2.0
 * test_live.c - the live table against plain references: an array of blocks, a map of pages. */
#include "preload/live.h"

#include <errno.h>

#include "preload/arena.h"
#include "preload/stream.h"
#include "test.h"

#define ADDRESSES 50000u
#define STEPS 2000000u
#define PAGES 512u
#define MAP_BASE 0x7f0000000000ull

static uint64_t seed = 88172645463325252ull;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct live_block block_at(uint64_t addr, uint64_t bytes, uint64_t birth)
{
	return (struct live_block){ .addr = addr, .bytes = bytes, .birth = birth, .stack = 7, .tid = 9,
				    .kind = STREAM_NODE_MALLOC };
}

static uint64_t births[ADDRESSES], sizes[ADDRESSES];	/* 0 = not live */
static uint64_t wrong;

/* Most as malloc gives them, some where only a mapping could be, some that are no multiple of 8 or 16. */
static uint64_t addr_of(uint64_t i)
{
	uint64_t addr = 0x10000 + i * 16;

	if (i % 5 == 1)
		addr += 0x7f0000000000ull + (i << 20);
	if (i % 7 == 2)
		addr += i % 16;
	return i % 11 == 3 ? addr | 0xff0000000000ull : addr;
}

static struct live_block numbered_block(uint64_t i, uint64_t bytes, uint64_t birth)
{
	struct live_block block = block_at(addr_of(i), bytes, birth);

	block.stack = (uint32_t)i;
	return block;
}

static void compare(const struct live_block *b, void *data)
{
	uint64_t *found = data, i = b->stack;

	if (i >= ADDRESSES || b->addr != addr_of(i) || births[i] != b->birth || sizes[i] != b->bytes ||
	    b->tid != 9 || b->kind != STREAM_NODE_MALLOC)
		wrong++;
	(*found)++;
}

TEST(live_table_equals_a_reference_after_two_million_random_steps)
{
	uint64_t live = 0, bytes = 0, found = 0, blocks, total, part_blocks, part_bytes;

	ASSERT_INT_EQ(ld__live_init(), 0);
	for (uint64_t step = 1; step <= STEPS; step++) {
		/* waves: the table must grow and shrink on the way */
		uint64_t i = random_number() % ADDRESSES, addr = addr_of(i), what = random_number() % 64;
		bool grow = (step / 200000) % 2 ? what < 2 : what >= 8;
		struct live_block b, out;

		ld__live_prefetch(addr_of((i + 1) % ADDRESSES));
		if (births[i] && what == 7) {
			ASSERT(ld__live_realloc_begin(addr, &out));
			ASSERT_U64_EQ(out.birth, births[i]);
			if (step % 3) {
				ld__live_realloc_end(addr, births[i]);
				ASSERT(!ld__live_find(addr, &out));
				b = numbered_block(i, ++sizes[i], births[i]);
				bytes++;
				ASSERT_INT_EQ(ld__live_insert(&b), 0);
			} else {
				ld__live_realloc_fail(addr, births[i]);
			}
		} else if (births[i] && !grow) {
			ASSERT(ld__live_remove(addr, step % 2 ? &out : NULL));
			ASSERT(step % 2 == 0 || (out.birth == births[i] && out.bytes == sizes[i]));
			bytes -= sizes[i];
			live--;
			births[i] = sizes[i] = 0;
		} else if (births[i]) {
			ld__live_prefetch_record(addr);
			ASSERT(ld__live_find(addr, &out) && out.birth == births[i] && out.bytes == sizes[i]);
		} else if (grow) {
			b = numbered_block(i, random_number() % 5000, step);
			ASSERT_INT_EQ(ld__live_insert(&b), 0);
			births[i] = step;
			sizes[i] = b.bytes;
			bytes += b.bytes;
			live++;
		} else {
			ASSERT(!ld__live_remove(addr, NULL));
		}
	}
	EXPECT_U64_EQ(ld__live_visit(compare, &found), live);
	EXPECT_U64_EQ(found, live);
	EXPECT_U64_EQ(wrong, 0);
	ld__live_totals(&blocks, &total);
	EXPECT_U64_EQ(blocks, live);
	EXPECT_U64_EQ(total, bytes);
	for (uint32_t part = 0; part < LIVE_PARTS; part++) {
		ld__live_part_totals(part, &part_blocks, &part_bytes);
		blocks -= part_blocks;
		total -= part_bytes;
	}
	EXPECT(!blocks && !total);
	EXPECT_U64_EQ(ld__live_anomalies(), 0);
	ld__live_clear();
	EXPECT_U64_EQ(ld__live_visit(compare, &found), 0);
}

TEST(table_gives_memory_back_when_most_blocks_are_gone_and_keeps_the_others)
{
	uint64_t full, nothing = ld__arena_bytes(), found = 0, stay = 0;

	memset(births, 0, sizeof(births));
	for (uint64_t round = 1; round <= 2; round++) {
		for (uint64_t i = 0; i < ADDRESSES; i++) {
			struct live_block b = numbered_block(i, i, round * ADDRESSES + i);

			if (births[i] || addr_of(i) % 8)	/* those are few, in shards of their own */
				continue;
			ASSERT_INT_EQ(ld__live_insert(&b), 0);
			births[i] = b.birth;
			sizes[i] = i;
		}
		full = ld__arena_bytes();
		for (uint64_t i = 0; i < ADDRESSES; i++) {
			if (i % 100 && births[i]) {
				ASSERT(ld__live_remove(addr_of(i), NULL));
				births[i] = 0;
			}
			stay += births[i] != 0;
		}
		EXPECT(ld__arena_bytes() - nothing < (full - nothing) / 3);
		EXPECT_U64_EQ(ld__live_visit(compare, &found), stay);
		stay = 0;
	}
	EXPECT_U64_EQ(wrong, 0);
	ld__live_clear();
	EXPECT_U64_EQ(ld__arena_bytes(), nothing);
}

static uint64_t birth_of_visit;

static void remember_birth(const struct live_block *b, void *data)
{
	(void)data;
	birth_of_visit = b->birth;
}

TEST(table_that_was_cleared_or_abandoned_holds_addresses_of_every_alignment_again)
{
	uint64_t nothing = ld__arena_bytes(), found;

	wrong = 0;
	for (int round = 0; round < 3; round++) {
		memset(births, 0, sizeof(births));
		for (uint64_t i = 0; i < ADDRESSES; i += 3) {
			struct live_block b = numbered_block(i, i, 1 + i);

			ASSERT_INT_EQ(ld__live_insert(&b), 0);
			births[i] = 1 + i;
			sizes[i] = i;
		}
		found = 0;
		EXPECT_U64_EQ(ld__live_visit(compare, &found), (ADDRESSES + 2) / 3);
		EXPECT_U64_EQ(wrong, 0);
		if (round == 1) {
			nothing = ld__arena_bytes();	/* the old memory is left where it is */
			ld__live_abandon();
		} else {
			ld__live_clear();
			EXPECT_U64_EQ(ld__arena_bytes(), nothing);
		}
		EXPECT_U64_EQ(ld__live_visit(compare, &found), 0);
	}
}

TEST(parts_for_addresses_of_odd_alignment_grow_again_after_a_clear)
{
	uint64_t blocks, bytes;

	for (uint64_t round = 1; round <= 2; round++) {
		for (uint64_t i = 1; i <= 30000; i++) {
			struct live_block b = block_at(0x70000000 + i * 8 + 1, round, i);

			ASSERT_INT_EQ(ld__live_insert(&b), 0);
		}
		ld__live_totals(&blocks, &bytes);
		EXPECT_U64_EQ(blocks, 30000);
		EXPECT_U64_EQ(bytes, round * 30000);
		ld__live_clear();
	}
}

TEST(block_at_a_live_address_replaces_it_and_is_counted)
{
	struct live_block first = block_at(0x5000, 10, 1), second = block_at(0x5000, 20, 2);
	uint64_t before = ld__live_anomalies(), blocks, bytes;

	ld__live_insert(&first);
	ld__live_insert(&second);
	EXPECT_U64_EQ(ld__live_anomalies(), before + 1);
	EXPECT_U64_EQ(ld__live_visit(remember_birth, NULL), 1);
	EXPECT_U64_EQ(birth_of_visit, 2);
	ld__live_totals(&blocks, &bytes);
	EXPECT_U64_EQ(blocks, 1);
	EXPECT_U64_EQ(bytes, 20);
	ld__live_clear();
}

TEST(block_in_realloc_stays_until_its_end_and_may_be_replaced_without_anomaly)
{
	struct live_block old = block_at(0x6000, 10, 1), thief = block_at(0x6000, 30, 5), told;
	uint64_t before = ld__live_anomalies();

	ld__live_insert(&old);
	ASSERT(ld__live_realloc_begin(0x6000, &told));
	EXPECT_U64_EQ(told.birth, 1);
	EXPECT_INT_EQ(told.kind, STREAM_NODE_MALLOC);
	EXPECT_U64_EQ(ld__live_visit(remember_birth, NULL), 1);
	ld__live_insert(&thief);		/* another thread got the address meanwhile */
	ld__live_realloc_end(0x6000, told.birth);
	EXPECT_U64_EQ(ld__live_visit(remember_birth, NULL), 1);
	EXPECT_U64_EQ(birth_of_visit, 5);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	ld__live_clear();
}

TEST(realloc_of_a_block_that_is_gone_leaves_the_one_that_has_its_address)
{
	struct live_block old = block_at(0x6000, 10, 1), thief = block_at(0x6000, 30, 5), told;
	uint64_t before = ld__live_anomalies();

	ld__live_insert(&old);
	ASSERT(ld__live_realloc_begin(0x6000, &told));
	ld__live_insert(&thief);
	ASSERT(ld__live_realloc_begin(0x6000, &told));
	ld__live_realloc_fail(0x6000, 1);		/* the first one's: the second's goes on */
	ld__live_realloc_end(0x6000, 1);
	ASSERT(ld__live_find(0x6000, &told));
	ld__live_insert(&old);
	EXPECT_U64_EQ(ld__live_anomalies(), before);
	ld__live_clear();
}

TEST(failed_realloc_leaves_an_ordinary_block)
{
	struct live_block old = block_at(0x6000, 10, 1), told;
	uint64_t before = ld__live_anomalies();

	ld__live_insert(&old);
	ASSERT(ld__live_realloc_begin(0x6000, &told));
	ld__live_realloc_fail(0x6000, told.birth);
	ld__live_realloc_end(0x6000, told.birth);	/* not in realloc any more: nothing happens */
	EXPECT_U64_EQ(ld__live_visit(remember_birth, NULL), 1);
	ld__live_insert(&old);
	EXPECT_U64_EQ(ld__live_anomalies(), before + 1);
	ld__live_clear();
}

static uint64_t wrong_sizes;

static void check_size(const struct live_block *b, void *data)
{
	(void)data;
	wrong_sizes += b->bytes != b->birth << 20 || b->stack != 0xffffff || b->tid != 0x3ffffe ||
		       b->kind != STREAM_NODE_PYTHON;
}

TEST(sizes_of_any_length_come_back_as_they_were)
{
	uint64_t blocks, bytes, sum = 0, before = ld__live_anomalies();
	struct live_block b = { .stack = 0xffffff, .tid = 0x3ffffe, .kind = STREAM_NODE_PYTHON, .sample = 15 }, out;

	/* 1 MiB to 2 GiB, every one entered twice: the second takes the place of the first */
	for (uint64_t i = 1; i <= 2048; i++) {
		b.addr = i << 32;
		b.bytes = b.birth = 1;
		ASSERT_INT_EQ(ld__live_insert(&b), 0);
		b.bytes = i << 20;
		b.birth = i;
		ASSERT_INT_EQ(ld__live_insert(&b), 0);
		sum += b.bytes;
	}
	EXPECT_U64_EQ(ld__live_anomalies(), before + 2048);
	ld__live_totals(&blocks, &bytes);
	EXPECT_U64_EQ(blocks, 2048);
	EXPECT_U64_EQ(bytes, sum);
	EXPECT_U64_EQ(ld__live_visit(check_size, NULL), 2048);
	EXPECT_U64_EQ(wrong_sizes, 0);
	for (uint64_t i = 1; i <= 2048; i++) {
		ASSERT(ld__live_remove(i << 32, &out));
		ASSERT_U64_EQ(out.bytes, i << 20);
		ASSERT(out.stack == b.stack && out.tid == b.tid && out.kind == b.kind && out.sample == b.sample);
	}
	ld__live_totals(&blocks, &bytes);
	EXPECT_U64_EQ(blocks, 0);
	EXPECT_U64_EQ(bytes, 0);
	ld__live_clear();
}

TEST(address_of_more_than_48_bits_is_refused_and_counted)
{
	struct live_block b = block_at(1ull << 48, 10, 1);
	uint64_t before = ld__live_refused();

	EXPECT_INT_EQ(ld__live_insert(&b), -ERANGE);
	b.addr |= 4;
	EXPECT_INT_EQ(ld__live_insert(&b), -ERANGE);
	EXPECT_U64_EQ(ld__live_refused(), before + 2);
	EXPECT(!ld__live_remove(b.addr, NULL));
	EXPECT(!ld__live_remove(0, NULL));
}

static uint64_t pages[PAGES];		/* birth of the mapping that covers the page, 0 = none */
static uint64_t seen[PAGES];

static void mark_pages(const struct live_block *m, void *data)
{
	(void)data;
	for (uint64_t at = m->addr; at < m->addr + m->bytes; at += 4096) {
		uint64_t page = (at - MAP_BASE) / 4096;

		if (page >= PAGES || seen[page])
			wrong++;
		else
			seen[page] = m->birth;
	}
}

TEST(mappings_split_shrink_and_are_replaced_like_pages)
{
	uint64_t covered = 0, mappings, bytes;

	for (uint64_t step = 1; step <= 20000; step++) {
		uint64_t first = random_number() % PAGES, count = 1 + random_number() % 40;
		struct live_block m = { .birth = step, .kind = STREAM_NODE_MAPPING };

		if (first + count > PAGES)
			count = PAGES - first;
		m.addr = MAP_BASE + first * 4096;
		m.bytes = count * 4096;
		if (random_number() % 2) {
			ASSERT_INT_EQ(ld__live_map(&m), 0);
			for (uint64_t p = first; p < first + count; p++)
				pages[p] = step;
		} else {
			bool expected = false;

			for (uint64_t p = first; p < first + count; p++) {
				expected |= pages[p] != 0;
				pages[p] = 0;
			}
			ASSERT_INT_EQ(ld__live_unmap(m.addr, m.bytes, NULL), expected);
		}
		if (step % 500)
			continue;
		memset(seen, 0, sizeof(seen));
		ld__live_visit(mark_pages, NULL);
		ASSERT(!memcmp(seen, pages, sizeof(pages)));
	}
	EXPECT_U64_EQ(wrong, 0);
	for (uint64_t p = 0; p < PAGES; p++)
		covered += pages[p] != 0;
	ld__live_mapping_totals(&mappings, &bytes);
	EXPECT_U64_EQ(bytes, covered * 4096);
	ld__live_clear();
}

TEST_MAIN()
