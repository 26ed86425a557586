/* SPDX-License-Identifier: Apache-2.0
 * L3  python_small.h - small objects of an interpreter's own pools that are recorded one by one.
 *
 * Writers hold the interpreter's lock: one at a time for any address. Readers: the snapshot child. */
#ifndef LEAKDIFF_PYTHON_SMALL_H
#define LEAKDIFF_PYTHON_SMALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "live.h"

#define PYTHON_SMALL_MAX 1023u		/* bytes of a block */
#define PYTHON_SMALL_UNIT 16u		/* a block begins at a multiple */
#define PYTHON_SMALL_CHUNK_BITS 24u	/* addresses of a chunk */
#define PYTHON_SMALL_TABLE_BITS 12u	/* chunks of a table; as many tables reach 48 bits */
#define PYTHON_SMALL_PAGE_BITS 12u

struct python_small {
	_Atomic uint64_t birth;		/* 0 = no block begins here; written last */
	_Atomic uint64_t rest;		/* stack | tid << 32 | bytes << 54: a tid has 22 bits at most */
};

/* The units do not begin at a page: a processor takes a load for one of what was just stored when the two
 * addresses have the same place in their pages, and waits. */
struct python_small_chunk {
	_Atomic uint8_t pages[1u << (PYTHON_SMALL_CHUNK_BITS - PYTHON_SMALL_PAGE_BITS)];	/* 1 = ever used */
	_Alignas(64) char skew[1984];
	struct python_small units[(1u << PYTHON_SMALL_CHUNK_BITS) / PYTHON_SMALL_UNIT];
};

struct python_small_table {
	struct python_small_chunk *_Atomic chunks[1u << PYTHON_SMALL_TABLE_BITS];
};

extern struct python_small_table *_Atomic ld__python_small_tables[1u << PYTHON_SMALL_TABLE_BITS]
	__attribute__((visibility("hidden")));

static inline struct python_small_chunk *ld__python_small_chunk(uint64_t addr)
{
	uint64_t chunk = addr >> PYTHON_SMALL_CHUNK_BITS, mask = (1u << PYTHON_SMALL_TABLE_BITS) - 1;
	struct python_small_table *table;

	if (__builtin_expect(chunk >> PYTHON_SMALL_TABLE_BITS > mask, 0))
		return NULL;
	table = atomic_load_explicit(&ld__python_small_tables[chunk >> PYTHON_SMALL_TABLE_BITS],
				     memory_order_acquire);
	return table ? atomic_load_explicit(&table->chunks[chunk & mask], memory_order_acquire) : NULL;
}

/* The chunk of an address, made when it is not there. NULL when memory is refused or the address is
 * none of a user's. */
struct python_small_chunk *ld__python_small_make(uint64_t addr);

static inline struct python_small *ld__python_small_unit(struct python_small_chunk *chunk, uint64_t addr)
{
	return &chunk->units[(addr & ((1u << PYTHON_SMALL_CHUNK_BITS) - 1)) / PYTHON_SMALL_UNIT];
}

/* Enter a block, or enter it anew with what it has become. birth: not 0. Returns false when there is no
 * room: it is not recorded. */
static inline bool ld__python_small_put(uint64_t addr, uint32_t bytes, uint64_t birth, uint32_t stack,
					uint32_t tid)
{
	struct python_small_chunk *chunk = ld__python_small_chunk(addr);
	struct python_small *unit;

	if (__builtin_expect(!chunk, 0)) {
		chunk = ld__python_small_make(addr);
		if (!chunk)
			return false;
	}
	unit = ld__python_small_unit(chunk, addr);
	atomic_store_explicit(&unit->rest, stack | (uint64_t)tid << 32 | (uint64_t)bytes << 54,
			      memory_order_relaxed);
	atomic_store_explicit(&unit->birth, birth, memory_order_release);
	atomic_store_explicit(&chunk->pages[(addr & ((1u << PYTHON_SMALL_CHUNK_BITS) - 1)) >> PYTHON_SMALL_PAGE_BITS],
			      1, memory_order_relaxed);
	return true;
}

/* Take a block out. Returns its birth, 0 when it was not there. */
static inline uint64_t ld__python_small_take(uint64_t addr)
{
	struct python_small_chunk *chunk = ld__python_small_chunk(addr);
	struct python_small *unit;
	uint64_t birth;

	if (__builtin_expect(!chunk, 0))
		return 0;
	unit = ld__python_small_unit(chunk, addr);
	birth = atomic_load_explicit(&unit->birth, memory_order_relaxed);
	if (birth)
		atomic_store_explicit(&unit->birth, 0, memory_order_relaxed);
	return birth;
}

/* It was not given up after all: the block is as it was. */
static inline void ld__python_small_put_back(uint64_t addr, uint64_t birth)
{
	struct python_small_chunk *chunk = ld__python_small_chunk(addr);

	if (chunk)
		atomic_store_explicit(&ld__python_small_unit(chunk, addr)->birth, birth, memory_order_relaxed);
}

/* The block that begins at an address. Returns whether there is one. */
bool ld__python_small_find(uint64_t addr, struct live_block *ret_block);

/* Visit all blocks in the order of their addresses. The snapshot child, and tests. */
void ld__python_small_visit(void (*visit)(const struct live_block *block, void *data), void *data);

/* Forget all of them: recording starts anew. */
void ld__python_small_clear(void);

#endif
