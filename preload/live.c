/* SPDX-License-Identifier: Apache-2.0
 * L2  live.c - the live table: a small cache in front of 64 hash tables, and a sorted list of maps.
 *
 *   insert -> recent[hash] --evicted by another block--> shard[hash] (open addressing)
 *   remove <- recent[hash]  ... or, if it is not there, <- shard[hash]
 *
 * Most blocks die young. While a block is in `recent` (8192 blocks, 256 KiB, so in the second-level
 * cache) its free costs no miss in the big table, and it never gets there.
 *
 * (1) A shard is at most 3/4 full; it grows and shrinks alone, so no event pays for all blocks.
 * (2) Linear probing, deletion by shifting back: no tombstones, so a table never rots.
 * (3) A block is in `recent` or in a shard. Both at once means that the older one's free was not
 *     seen: the younger wins, and it is counted when they meet.
 * (4) Private memory, no locks, no pointers into it from outside: a fork freezes it. */
#include "preload/live.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/arena.h"
#include "preload/stream.h"
#include "preload/sys.h"

#define RECENT 8192u
#define SHARDS 64u
#define HUGE (2u << 20)
#define SLOTS_LEAST 128u		/* one page */
#define MAPS_FIRST 1024u
#define IN_REALLOC 0x80u		/* in live_block.kind: see ld__live_realloc_begin() */

struct shard {
	struct live_block *slots;
	uint32_t mask;
	uint32_t used;
};

static struct live_block *recent;
static struct shard shards[SHARDS];
static struct live_block *maps;		/* ascending, without overlap */
static uint64_t map_count, map_room;

static _Atomic uint64_t live_blocks, live_bytes, live_mappings, live_mapped_bytes;
static _Atomic uint64_t anomalies, refused;

static uint64_t hash_of(uint64_t addr)
{
	uint64_t h = (addr >> 3) * 0x9e3779b97f4a7c15ull;

	return h ^ h >> 32;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	/* one writer at a time (the drain lock), readers anywhere: no locked instruction needed */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static struct live_block *recent_of(uint64_t hash)
{
	return &recent[(hash >> 8) & (RECENT - 1)];
}

static struct shard *shard_of(uint64_t hash)
{
	return &shards[hash & (SHARDS - 1)];
}

static uint32_t first_slot(const struct shard *s, uint64_t hash)
{
	return (uint32_t)(hash >> 8) & s->mask;
}

int ld__live_init(void)
{
	if (!recent)
		recent = ld__arena_map(RECENT * sizeof(*recent));
	return recent ? 0 : -ENOMEM;
}

/* ---- shards ---- */

static int shard_resize(struct shard *s, uint32_t slots)
{
	struct live_block *old = s->slots, *fresh = ld__arena_map(slots * sizeof(*fresh));
	uint32_t old_slots = old ? s->mask + 1 : 0;

	if (!fresh)
		return -ENOMEM;
	/* every probe is another page: large ones spare the address translation, and the fork of a
	 * snapshot copies fewer entries. Hashing touches them all, so none is wasted. */
	if (slots * sizeof(*fresh) >= HUGE)
		ld__sys3(SYS_madvise, fresh, slots * sizeof(*fresh), MADV_HUGEPAGE);
	s->slots = fresh;
	s->mask = slots - 1;
	for (uint32_t i = 0; i < old_slots; i++) {
		uint32_t at;

		if (!old[i].addr)
			continue;
		for (at = first_slot(s, hash_of(old[i].addr)); fresh[at].addr; at = (at + 1) & s->mask)
			;
		fresh[at] = old[i];
	}
	ld__arena_unmap(old, old_slots * sizeof(*old));
	return 0;
}

static struct live_block *shard_find(struct shard *s, uint64_t hash, uint64_t addr)
{
	if (!s->slots)
		return NULL;
	for (uint32_t at = first_slot(s, hash); s->slots[at].addr; at = (at + 1) & s->mask) {
		if (s->slots[at].addr == addr)
			return &s->slots[at];
	}
	return NULL;
}

static void forget_block(const struct live_block *block)
{
	add(&live_blocks, -1ull);
	add(&live_bytes, -block->bytes);
}

static int shard_insert(const struct live_block *block, uint64_t hash)
{
	struct shard *s = shard_of(hash);
	struct live_block *there;
	uint32_t at;

	there = shard_find(s, hash, block->addr);
	if (there) {
		if (!(there->kind & IN_REALLOC))
			add(&anomalies, 1);
		forget_block(there);
		*there = *block;
		return 0;
	}
	if (!s->slots || s->used >= (s->mask + 1) / 4 * 3) {
		int r = shard_resize(s, s->slots ? (s->mask + 1) * 2 : SLOTS_LEAST);

		/* a table that cannot grow is filled to its last slot but one: probes end there */
		if (r < 0 && (!s->slots || s->used >= s->mask))
			return r;
	}
	for (at = first_slot(s, hash); s->slots[at].addr; at = (at + 1) & s->mask)
		;
	s->slots[at] = *block;
	s->used++;
	return 0;
}

static void shard_remove(struct shard *s, struct live_block *block)
{
	uint32_t hole = (uint32_t)(block - s->slots), at = hole, home;

	for (;;) {
		at = (at + 1) & s->mask;
		if (!s->slots[at].addr)
			break;
		home = first_slot(s, hash_of(s->slots[at].addr));
		/* move it back unless its home lies behind the hole */
		if (((at - home) & s->mask) >= ((at - hole) & s->mask)) {
			s->slots[hole] = s->slots[at];
			hole = at;
		}
	}
	s->slots[hole].addr = 0;
	s->used--;
	if (s->mask + 1 > SLOTS_LEAST && s->used < (s->mask + 1) / 16)
		shard_resize(s, (s->mask + 1) / 4);	/* refused: it stays roomy */
}

/* ---- blocks ---- */

static struct live_block *find(uint64_t addr, struct shard **ret_shard)
{
	uint64_t hash = hash_of(addr);
	struct live_block *there = recent_of(hash);

	*ret_shard = NULL;
	if (there->addr == addr)
		return there;
	there = shard_find(shard_of(hash), hash, addr);
	if (there)
		*ret_shard = shard_of(hash);
	return there;
}

static void take_out(struct live_block *block, struct shard *shard)
{
	forget_block(block);
	if (shard)
		shard_remove(shard, block);
	else
		block->addr = 0;
}

int ld__live_insert(const struct live_block *block)
{
	uint64_t hash = hash_of(block->addr);
	struct live_block *there = recent_of(hash);
	int r = 0;

	if (there->addr == block->addr) {
		if (!(there->kind & IN_REALLOC))
			add(&anomalies, 1);
		forget_block(there);
	} else if (there->addr) {
		r = shard_insert(there, hash_of(there->addr));
		if (r < 0) {
			forget_block(there);
			add(&refused, 1);
		}
	}
	*there = *block;
	add(&live_blocks, 1);
	add(&live_bytes, block->bytes);
	return r;
}

bool ld__live_remove(uint64_t addr, struct live_block *ret_block)
{
	struct shard *shard;
	struct live_block *block = find(addr, &shard);

	if (!block)
		return false;
	if (ret_block) {
		*ret_block = *block;
		ret_block->kind &= 0x7fu;
	}
	take_out(block, shard);
	return true;
}

bool ld__live_realloc_begin(uint64_t addr, struct live_block *ret_block)
{
	struct shard *shard;
	struct live_block *block = find(addr, &shard);

	if (!block)
		return false;
	*ret_block = *block;
	ret_block->kind &= 0x7fu;
	block->kind |= IN_REALLOC;
	return true;
}

void ld__live_realloc_end(uint64_t addr, uint64_t birth)
{
	struct shard *shard;
	struct live_block *block = find(addr, &shard);

	if (block && block->birth == birth && (block->kind & IN_REALLOC))
		take_out(block, shard);
}

void ld__live_realloc_fail(uint64_t addr, uint64_t birth)
{
	struct shard *shard;
	struct live_block *block = find(addr, &shard);

	if (block && block->birth == birth)
		block->kind &= 0x7fu;
}

/* ---- mappings ---- */

/* First mapping that ends above addr. */
static uint64_t map_above(uint64_t addr)
{
	uint64_t low = 0, high = map_count;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (maps[middle].addr + maps[middle].bytes > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int map_make_room(void)
{
	uint64_t room = map_room ? map_room * 2 : MAPS_FIRST;
	struct live_block *fresh;

	if (map_count < map_room)
		return 0;
	fresh = ld__arena_map(room * sizeof(*fresh));
	if (!fresh) {
		add(&refused, 1);
		return -ENOMEM;
	}
	if (maps) {
		memcpy(fresh, maps, map_count * sizeof(*maps));
		ld__arena_unmap(maps, map_room * sizeof(*maps));
	}
	maps = fresh;
	map_room = room;
	return 0;
}

static int map_insert_at(uint64_t at, const struct live_block *mapping)
{
	int r = map_make_room();

	if (r < 0)
		return r;
	memmove(maps + at + 1, maps + at, (map_count - at) * sizeof(*maps));
	maps[at] = *mapping;
	map_count++;
	add(&live_mappings, 1);
	add(&live_mapped_bytes, mapping->bytes);
	return 0;
}

bool ld__live_unmap(uint64_t addr, uint64_t bytes, struct live_block *ret_first)
{
	uint64_t end = addr + bytes, at = map_above(addr), last;
	bool found = at < map_count && maps[at].addr < end;

	if (found && ret_first)
		*ret_first = maps[at];
	if (at < map_count && maps[at].addr < addr && maps[at].addr + maps[at].bytes > addr) {
		uint64_t old_end = maps[at].addr + maps[at].bytes;
		struct live_block tail = maps[at];

		add(&live_mapped_bytes, -(old_end - addr));
		maps[at].bytes = addr - maps[at].addr;
		at++;
		if (old_end > end) {	/* a hole: the tail is a mapping of its own, of the same birth */
			tail.addr = end;
			tail.bytes = old_end - end;
			map_insert_at(at, &tail);
			return found;
		}
	}
	for (last = at; last < map_count && maps[last].addr + maps[last].bytes <= end; last++) {
		add(&live_mappings, -1ull);
		add(&live_mapped_bytes, -maps[last].bytes);
	}
	if (last < map_count && maps[last].addr < end) {
		uint64_t cut = end - maps[last].addr;

		add(&live_mapped_bytes, -cut);
		maps[last].addr = end;
		maps[last].bytes -= cut;
	}
	if (last > at)
		memmove(maps + at, maps + last, (map_count - last) * sizeof(*maps));
	map_count -= last - at;
	return found;
}

int ld__live_map(const struct live_block *mapping)
{
	ld__live_unmap(mapping->addr, mapping->bytes, NULL);
	return map_insert_at(map_above(mapping->addr), mapping);
}

/* ---- all of it ---- */

uint64_t ld__live_visit(void (*visit)(const struct live_block *block, void *data), void *data)
{
	uint64_t count = 0;
	struct live_block block;

	for (uint32_t i = 0; recent && i < RECENT; i++) {
		if (!recent[i].addr)
			continue;
		block = recent[i];
		block.kind &= 0x7fu;
		visit(&block, data);
		count++;
	}
	for (uint32_t s = 0; s < SHARDS; s++) {
		for (uint32_t i = 0; shards[s].slots && i <= shards[s].mask; i++) {
			block = shards[s].slots[i];
			if (!block.addr || recent_of(hash_of(block.addr))->addr == block.addr)
				continue;
			block.kind &= 0x7fu;
			visit(&block, data);
			count++;
		}
	}
	for (uint64_t i = 0; i < map_count; i++, count++)
		visit(&maps[i], data);
	return count;
}

void ld__live_clear(void)
{
	for (uint32_t s = 0; s < SHARDS; s++)
		ld__arena_unmap(shards[s].slots, (shards[s].mask + 1) * sizeof(*shards[s].slots));
	ld__live_abandon();
}

void ld__live_abandon(void)
{
	if (recent)
		memset(recent, 0, RECENT * sizeof(*recent));
	memset(shards, 0, sizeof(shards));
	map_count = 0;
	atomic_store(&live_blocks, 0);
	atomic_store(&live_bytes, 0);
	atomic_store(&live_mappings, 0);
	atomic_store(&live_mapped_bytes, 0);
}

void ld__live_totals(uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	*ret_blocks = atomic_load_explicit(&live_blocks, memory_order_relaxed);
	*ret_bytes = atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

void ld__live_mapping_totals(uint64_t *ret_mappings, uint64_t *ret_bytes)
{
	*ret_mappings = atomic_load_explicit(&live_mappings, memory_order_relaxed);
	*ret_bytes = atomic_load_explicit(&live_mapped_bytes, memory_order_relaxed);
}

uint64_t ld__live_anomalies(void)
{
	return atomic_load_explicit(&anomalies, memory_order_relaxed);
}

uint64_t ld__live_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}
