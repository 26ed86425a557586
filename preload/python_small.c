/* SPDX-License-Identifier: Apache-2.0
 * L3  python_small.c - small objects of an interpreter's own pools that are recorded one by one.
 *
 *   addr -> table of 64 GiB -> chunk of 16 MiB -> unit of 16 bytes: birth, stack, thread, size
 *
 * Such objects come and go some ten million times a second, all under one lock, the interpreter's. So
 * they need neither a ring, nor an order, nor a hash: each has its place beside its own, and is
 * entered and taken out with a store. What an address costs is 16 bytes for 16, of pages in use.
 *
 * (1) A unit's birth is written last and cleared first: whoever stops the writer at any instruction
 *     meets a whole block or none.
 * (2) Chunks only come, and only by compare and swap; a fork finds them whole.
 * (3) An interpreter's pools lie close together: a chunk that exists is mostly in use, and of it only
 *     the pages that ever were are looked at. */
#include "preload/python_small.h"

#include <stddef.h>

#include "preload/arena.h"
#include "preload/stream.h"

#define TABLES (1u << PYTHON_SMALL_TABLE_BITS)
#define CHUNKS (1u << PYTHON_SMALL_TABLE_BITS)
#define PAGES (1u << (PYTHON_SMALL_CHUNK_BITS - PYTHON_SMALL_PAGE_BITS))
#define PAGE_UNITS ((1u << PYTHON_SMALL_PAGE_BITS) / PYTHON_SMALL_UNIT)

struct python_small_table *_Atomic ld__python_small_tables[TABLES];

static struct python_small_table *make_table(struct python_small_table *_Atomic *at)
{
	struct python_small_table *table = atomic_load(at), *fresh;

	if (table)
		return table;
	fresh = ld__arena_map(sizeof(*fresh));
	if (!fresh || atomic_compare_exchange_strong(at, &table, fresh))
		return fresh;
	ld__arena_unmap(fresh, sizeof(*fresh));
	return table;
}

struct python_small_chunk *ld__python_small_make(uint64_t addr)
{
	uint64_t number = addr >> PYTHON_SMALL_CHUNK_BITS;
	struct python_small_chunk *chunk = NULL, *fresh;
	struct python_small_table *table;

	if (number / CHUNKS >= TABLES)
		return NULL;
	table = make_table(&ld__python_small_tables[number / CHUNKS]);
	fresh = table ? ld__arena_map(sizeof(*fresh)) : NULL;
	if (!fresh || atomic_compare_exchange_strong(&table->chunks[number % CHUNKS], &chunk, fresh))
		return fresh;
	ld__arena_unmap(fresh, sizeof(*fresh));
	return chunk;
}

static void each_chunk(void (*call)(struct python_small_chunk *chunk, uint64_t addr, void *data), void *data)
{
	for (uint64_t t = 0; t < TABLES; t++) {
		struct python_small_table *table = atomic_load(&ld__python_small_tables[t]);

		for (uint64_t c = 0; table && c < CHUNKS; c++) {
			struct python_small_chunk *chunk = atomic_load(&table->chunks[c]);

			if (chunk)
				call(chunk, (t * CHUNKS + c) << PYTHON_SMALL_CHUNK_BITS, data);
		}
	}
}

struct visitor {
	void (*visit)(const struct live_block *block, void *data);
	void *data;
};

static bool read_unit(const struct python_small *unit, uint64_t addr, struct live_block *ret_block)
{
	uint64_t birth = atomic_load_explicit(&unit->birth, memory_order_acquire), rest;

	if (!birth)
		return false;
	rest = atomic_load_explicit(&unit->rest, memory_order_relaxed);
	*ret_block = (struct live_block){
		.addr = addr, .bytes = rest >> 54, .birth = birth, .stack = (uint32_t)rest,
		.tid = rest >> 32 & ((1u << 22) - 1), .kind = STREAM_NODE_PYTHON,
	};
	return true;
}

bool ld__python_small_find(uint64_t addr, struct live_block *ret_block)
{
	struct python_small_chunk *chunk = ld__python_small_chunk(addr);

	return chunk && read_unit(ld__python_small_unit(chunk, addr), addr, ret_block);
}

static void visit_page(const struct python_small *units, uint64_t addr, const struct visitor *visitor)
{
	for (uint32_t i = 0; i < PAGE_UNITS; i++, addr += PYTHON_SMALL_UNIT) {
		struct live_block block;

		if (read_unit(&units[i], addr, &block))
			visitor->visit(&block, visitor->data);
	}
}

static void visit_chunk(struct python_small_chunk *chunk, uint64_t addr, void *data)
{
	for (uint32_t page = 0; page < PAGES; page++)
		if (atomic_load_explicit(&chunk->pages[page], memory_order_relaxed))
			visit_page(&chunk->units[page * PAGE_UNITS],
				   addr + ((uint64_t)page << PYTHON_SMALL_PAGE_BITS), data);
}

void ld__python_small_visit(void (*visit)(const struct live_block *block, void *data), void *data)
{
	struct visitor visitor = { visit, data };

	each_chunk(visit_chunk, &visitor);
}

static void clear_chunk(struct python_small_chunk *chunk, uint64_t addr, void *data)
{
	(void)addr;
	(void)data;
	for (uint32_t page = 0; page < PAGES; page++) {
		if (!atomic_exchange_explicit(&chunk->pages[page], 0, memory_order_relaxed))
			continue;
		for (uint32_t i = 0; i < PAGE_UNITS; i++)
			atomic_store_explicit(&chunk->units[page * PAGE_UNITS + i].birth, 0, memory_order_relaxed);
	}
}

void ld__python_small_clear(void)
{
	each_chunk(clear_chunk, NULL);
}
