/* SPDX-License-Identifier: Apache-2.0
 * L2  live.h - the live table: every block and program-made mapping that is allocated now.
 *
 * Writers hold the drain lock; nothing here locks by itself. */
#ifndef LEAKDIFF_LIVE_H
#define LEAKDIFF_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ring_file.h"

/* One live block. Identity is (addr, birth): birth is the birth clock's value when it was allocated
 * (see clock.h) and is kept by realloc, whether the block moved or not. */
struct live_block {
	uint64_t addr;
	uint64_t bytes;			/* requested */
	uint64_t birth;
	uint32_t stack;			/* stack id; 0 = none recorded */
	uint32_t tid : 24;		/* of the allocating thread */
	uint32_t kind : 4;		/* enum stream_node_kind */
	uint32_t sample : 4;		/* how its stack was sampled, see budget.h; 0 = for certain */
};

static inline struct live_block ld__live_block_of(const struct event *e, uint64_t birth)
{
	struct live_block block = { .addr = e->addr, .bytes = e->bytes, .birth = birth };
	uint64_t last = e->stack | (uint64_t)(e->tid | (e->kind & 0xfu) << 24 | (e->sample & 0xfu) << 28) << 32;

	/* stack to sample in one store: whoever read bit-fields that were stored one by one would wait until all
	 * stores before them, which are into the table, have left the processor */
	memcpy((char *)&block + sizeof(block) - sizeof(last), &last, sizeof(last));
	return block;
}

/* The hash by which the table finds a block: 45 bits that mean something, other ones for each addr >> 3. An odd
 * factor, and the upper half is added to the lower one. */
#define LIVE_ADDR_BITS 48u
#define LIVE_ALIGN_BITS 3u
#define LIVE_HASH_BITS (LIVE_ADDR_BITS - LIVE_ALIGN_BITS)

static inline uint64_t ld__live_hash(uint64_t addr)
{
	uint64_t h = (addr >> LIVE_ALIGN_BITS) * 0x9e3779b97f4a7c15ull;

	return h ^ h << (64 - LIVE_HASH_BITS) >> (64 - LIVE_HASH_BITS + LIVE_HASH_BITS / 2);
}

/* Visit all live blocks in no particular order. For the snapshot child (which owns a frozen copy)
 * and for tests under the drain lock. Never allocates. Returns the number visited. */
uint64_t ld__live_visit(void (*visit)(const struct live_block *block, void *data), void *data);

/* The block, or the mapping, that begins at an address. Returns whether there is one. */
bool ld__live_find(uint64_t addr, struct live_block *ret_block);
bool ld__live_find_mapping(uint64_t addr, struct live_block *ret_mapping);

/* Number of live blocks and their requested bytes, mappings not included. They are counted when they are
 * asked for, under the drain lock like everything else: ld__drain_totals() is for whoever does not hold it. */
void ld__live_totals(uint64_t *ret_blocks, uint64_t *ret_bytes);

/* The same of one part of the table, 0 to LIVE_PARTS - 1. */
#define LIVE_PARTS 64u
void ld__live_part_totals(uint32_t part, uint64_t *ret_blocks, uint64_t *ret_bytes);

/* Number of live mappings and their bytes. Approximate while threads run. */
void ld__live_mapping_totals(uint64_t *ret_mappings, uint64_t *ret_bytes);

/* Get memory for the first block of all. Idempotent. Returns 0 or -ENOMEM. */
int ld__live_init(void);

/* Enter a block. One that is live at the same address is replaced and counted as an anomaly: its
 * free was never seen. Returns 0, -ENOMEM (or no room for more: there can be a thousand million) or
 * -ERANGE (an address of more than 48 bits): the block is not entered then, and counted as refused. */
int ld__live_insert(const struct live_block *block);

/* Take a block out. Returns whether it was there; ret_block may be NULL. */
bool ld__live_remove(uint64_t addr, struct live_block *ret_block);

/* Enter and take out what allocations and frees tell of, in their order: events[order[0]], events[order[1]] ...,
 * whose addresses have the hashes hashes[order[0]] ... An allocation's clock is its block's birth; a block that is freed
 * and not there was allocated before capture began. order goes on for LIVE_AHEAD: what is there is used for nothing but
 * prefetching. */
#define LIVE_AHEAD 16u			/* events between asking for a block's bucket and using it */
void ld__live_apply(const struct event *events, const uint64_t *hashes, const uint16_t *order, uint32_t count);

/* The same from event number `at` of a ring on, as far as before `end`, while clocks are at most `limit` (the first one's
 * is) and the events are allocations and frees. Returns the number of the first one that was left. *asked: up to which
 * number events have been asked for by earlier calls. Slots past `end` are looked at, and used for nothing but that. */
uint64_t ld__live_apply_ring(const struct event *events, uint32_t mask, uint64_t at, uint64_t end, uint64_t limit,
			     uint64_t *asked);

/* Say that one of the others will be called for this address soon: it is nothing but faster then. */
void ld__live_prefetch(uint64_t addr);

/* The same for find, which reads more than the others, when prefetch has been called some time ago. */
void ld__live_prefetch_record(uint64_t addr);

/* A realloc in progress: the old block stays, since the real function may be copying out of it for a
 * long time and what it holds must not look lost, but whoever gets its address meanwhile replaces it
 * and that is no anomaly. begin tells the block, end takes it out if it is still the same one, fail
 * makes it an ordinary block again. */
bool ld__live_realloc_begin(uint64_t addr, struct live_block *ret_block);
void ld__live_realloc_end(uint64_t addr, uint64_t birth);
void ld__live_realloc_fail(uint64_t addr, uint64_t birth);

/* Mappings are ranges: entering one replaces what it covers, taking a range out may split. remove
 * tells the first part that was there, which a moved mapping inherits its birth from. */
int ld__live_map(const struct live_block *mapping);
bool ld__live_unmap(uint64_t addr, uint64_t bytes, struct live_block *ret_first);

/* Forget everything: recording starts anew. */
void ld__live_clear(void);

/* Forget everything without touching it: it may be in the middle of a change. Fork child only. */
void ld__live_abandon(void);

/* Blocks whose free was never seen, and blocks refused for want of memory. */
uint64_t ld__live_anomalies(void);
uint64_t ld__live_refused(void);

#endif
