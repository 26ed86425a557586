/* SPDX-License-Identifier: Apache-2.0
 * L2  live.c - the live table: 64 hash tables of blocks, and a sorted list of mappings.
 *
 *   hash(addr) -> shard -> bucket, 128 bytes, two cache lines
 *
 *   | tag tag tag tag tag | passed | - - | entry | entry | entry | entry | entry |     entry: 24 bytes
 *
 * An event is one look at one bucket, whose lines the drain asks for some events before (see
 * ld__live_prefetch()). What then costs time is a branch that the processor guesses wrongly, so there is
 * none that depends on where in a bucket an entry lies: five tags are compared at once.
 *
 * (1) An entry lies in the bucket of its hash, or, as long as those are full, in one after it. Each
 *     bucket counts in `passed` the entries that went past it, so a search ends at one that none has
 *     passed. Counting stops for good at PASSED_MAX: such a bucket is always passed.
 * (2) tag 0 is a free place. Taking an entry out clears its tag and moves nothing.
 * (3) A shard is at most 7/10 full; it grows and shrinks alone, so no event pays for all blocks.
 * (4) 26 bits of an entry are the size. Larger blocks are few: their sizes are in a list.
 * (5) Private memory, no locks, no pointers into it from outside: a fork freezes it. */
#include "preload/live.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/arena.h"
#include "preload/stream.h"
#include "preload/sys.h"

#define SHARDS 64u
#define HUGE (2u << 20)
#define BUCKETS_LEAST 32u		/* one page */
#define PLACES 5u			/* of a bucket */
#define PASSED_MAX 255u
#define MAPS_FIRST 1024u
#define LARGE_FIRST 256u

#define ADDR_BITS 48u
#define STACK_BITS 24u
#define TID_BITS 22u			/* the kernel's PID_MAX_LIMIT */
#define SAMPLE_BITS 4u
#define SIZE_HIGH_BITS 10u		/* above the 16 beside the address */
#define LARGE_BYTES ((1u << (16 + SIZE_HIGH_BITS)) - 1)	/* and above: see `large` */
#define KIND_BITS 3u			/* enum stream_node_kind */
#define KIND_SHIFT (STACK_BITS + TID_BITS + SIZE_HIGH_BITS)
#define SAMPLE_SHIFT (KIND_SHIFT + KIND_BITS)
#define IN_REALLOC (1ull << 63)		/* in entry.what: see ld__live_realloc_begin() */

struct entry {
	uint64_t where;			/* addr << 16 | low bits of the size */
	uint64_t birth;
	uint64_t what;			/* stack | tid << 24 | high bits of the size << 46 | kind << 56 | sample << 59 */
};

struct bucket {
	union {
		uint64_t word;
		uint8_t tags[8];	/* [0..4] of the entries, [5] passed */
	};
	struct entry entries[PLACES];
};

struct shard {
	struct bucket *buckets;
	uint32_t mask;
	uint32_t used;			/* entries */
};

/* Where an entry is, or could be. */
struct place {
	struct bucket *bucket;
	uint32_t index;
};

_Static_assert(sizeof(struct bucket) == 128, "layout");
_Static_assert(SAMPLE_BITS + SAMPLE_SHIFT == 63, "layout");
_Static_assert(STREAM_NODE_PYTHON < 1u << KIND_BITS, "layout");

static struct shard shards[SHARDS];
static struct { uint64_t addr, bytes; } *large;	/* blocks of LARGE_BYTES and more, in no order */
static uint64_t large_count, large_room;
static struct live_block *maps;		/* ascending, without overlap */
static uint64_t map_count, map_room;

static _Atomic uint64_t live_blocks, live_bytes, live_mappings, live_mapped_bytes;
static _Atomic uint64_t anomalies, refused;

static inline uint64_t hash_of(uint64_t addr)
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

static inline struct shard *shard_of(uint64_t hash)
{
	return &shards[hash & (SHARDS - 1)];
}

static inline uint32_t home_of(const struct shard *s, uint64_t hash)
{
	return (uint32_t)(hash >> 6) & s->mask;
}

static inline uint64_t tag_of(uint64_t hash)
{
	uint64_t tag = hash >> 56;

	return tag + !tag;
}

/* The highest bit of each of the five tags that is 0. The lowest such bit is right; above it one may
 * stand where the tag is 1. */
static inline uint64_t zero_tags(uint64_t word)
{
	return (word - 0x0101010101ull) & ~word & 0x8080808080ull;
}

static inline uint32_t index_of(uint64_t bits)
{
	return (uint32_t)__builtin_ctzll(bits) / 8;
}

/* ---- entries ---- */

static inline uint64_t entry_addr(const struct entry *e)
{
	return e->where >> 16;
}

static uint64_t *large_find(uint64_t addr)
{
	for (uint64_t i = 0; i < large_count; i++) {
		if (large[i].addr == addr)
			return &large[i].bytes;
	}
	return NULL;
}

static inline uint64_t entry_bytes(const struct entry *e)
{
	uint64_t bytes = (e->where & 0xffff) |
			 (e->what >> (STACK_BITS + TID_BITS) & ((1u << SIZE_HIGH_BITS) - 1)) << 16;

	return __builtin_expect(bytes == LARGE_BYTES, 0) ? *large_find(entry_addr(e)) : bytes;
}

static void entry_read(const struct entry *e, struct live_block *ret_block)
{
	ret_block->addr = entry_addr(e);
	ret_block->bytes = entry_bytes(e);
	ret_block->birth = e->birth;
	ret_block->stack = (uint32_t)e->what & ((1u << STACK_BITS) - 1);
	ret_block->tid = (uint32_t)(e->what >> STACK_BITS) & ((1u << TID_BITS) - 1);
	ret_block->kind = (uint32_t)(e->what >> KIND_SHIFT) & ((1u << KIND_BITS) - 1);
	ret_block->sample = (uint32_t)(e->what >> SAMPLE_SHIFT) & ((1u << SAMPLE_BITS) - 1);
}

static inline struct entry entry_of(const struct live_block *block)
{
	uint64_t bytes = block->bytes < LARGE_BYTES ? block->bytes : LARGE_BYTES;

	return (struct entry){
		.where = block->addr << 16 | (bytes & 0xffff),
		.birth = block->birth,
		.what = block->stack | (uint64_t)block->tid << STACK_BITS |
			bytes >> 16 << (STACK_BITS + TID_BITS) | (uint64_t)block->kind << KIND_SHIFT |
			(uint64_t)block->sample << SAMPLE_SHIFT,
	};
}

static int large_add(const struct live_block *block)
{
	uint64_t room = large_room ? large_room * 2 : LARGE_FIRST;

	if (large_count == large_room) {
		void *fresh = ld__arena_map(room * sizeof(*large));

		if (!fresh)
			return -ENOMEM;
		if (large) {
			memcpy(fresh, large, large_count * sizeof(*large));
			ld__arena_unmap(large, large_room * sizeof(*large));
		}
		large = fresh;
		large_room = room;
	}
	large[large_count].addr = block->addr;
	large[large_count++].bytes = block->bytes;
	return 0;
}

static void large_remove(uint64_t addr)
{
	uint64_t *bytes = large_find(addr);

	if (bytes) {
		uint64_t i = (uint64_t)((char *)bytes - (char *)large) / sizeof(*large);

		large[i] = large[--large_count];
	}
}

/* ---- shards ---- */

static inline bool shard_find(const struct shard *s, uint64_t hash, uint64_t addr,
			      struct place *ret_place)
{
	uint64_t pattern = tag_of(hash) * 0x0101010101ull, bits;
	uint32_t at = home_of(s, hash);
	struct bucket *b;

	if (!s->buckets)
		return false;
	for (uint32_t n = 0; n <= s->mask; n++, at = (at + 1) & s->mask) {
		b = &s->buckets[at];
		for (bits = zero_tags(b->word ^ pattern); bits; bits &= bits - 1) {
			ret_place->bucket = b;
			ret_place->index = index_of(bits);
			if (b->tags[ret_place->index] && entry_addr(&b->entries[ret_place->index]) == addr)
				return true;
		}
		if (__builtin_expect(!b->tags[PLACES], 1))
			return false;
	}
	return false;
}

/* A free place; there is one. */
static inline struct place shard_take_place(struct shard *s, uint64_t hash)
{
	uint32_t at = home_of(s, hash);
	struct place place;
	uint64_t bits;

	for (;; at = (at + 1) & s->mask) {
		place.bucket = &s->buckets[at];
		bits = zero_tags(place.bucket->word);
		if (__builtin_expect(bits != 0, 1))
			break;
		if (place.bucket->tags[PLACES] < PASSED_MAX)
			place.bucket->tags[PLACES]++;
	}
	place.index = index_of(bits);
	place.bucket->tags[place.index] = (uint8_t)tag_of(hash);
	s->used++;
	return place;
}

static uint64_t shard_bytes(const struct shard *s)
{
	return s->buckets ? ((uint64_t)s->mask + 1) * sizeof(*s->buckets) : 0;
}

static __attribute__((noinline)) int shard_resize(struct shard *s, uint32_t buckets)
{
	struct shard fresh = { .mask = buckets - 1 };
	uint64_t bytes = buckets * sizeof(*fresh.buckets);

	fresh.buckets = ld__arena_map(bytes);
	if (!fresh.buckets)
		return -ENOMEM;
	/* every look is another page: large ones spare the address translation, and the fork of a
	 * snapshot copies fewer entries. Hashing touches them all, so none is wasted. */
	if (bytes >= HUGE)
		ld__sys3(SYS_madvise, fresh.buckets, bytes, MADV_HUGEPAGE);
	for (uint32_t i = 0; s->buckets && i <= s->mask; i++) {
		const struct bucket *old = &s->buckets[i];

		for (uint32_t p = 0; p < PLACES; p++) {
			struct place place;

			if (!old->tags[p])
				continue;
			place = shard_take_place(&fresh, hash_of(entry_addr(&old->entries[p])));
			place.bucket->entries[place.index] = old->entries[p];
		}
	}
	ld__arena_unmap(s->buckets, shard_bytes(s));
	*s = fresh;
	return 0;
}

/* Make sure that one more entry fits. A table that cannot grow is filled to its last place. */
static inline int shard_make_room(struct shard *s)
{
	uint64_t places = s->buckets ? ((uint64_t)s->mask + 1) * PLACES : 0;
	int r;

	if (__builtin_expect(s->used < places / 10 * 7, 1))
		return 0;
	r = shard_resize(s, places ? (s->mask + 1) * 2 : BUCKETS_LEAST);
	return s->used < places ? 0 : r;
}

static void shard_remove(struct shard *s, uint64_t hash, struct place place)
{
	uint32_t at = home_of(s, hash), end = (uint32_t)(place.bucket - s->buckets);

	for (; __builtin_expect(at != end, 0); at = (at + 1) & s->mask) {
		if (s->buckets[at].tags[PLACES] < PASSED_MAX)
			s->buckets[at].tags[PLACES]--;
	}
	place.bucket->tags[place.index] = 0;
	s->used--;
	if (__builtin_expect(s->used < s->mask / 4, 0) && s->mask >= BUCKETS_LEAST)
		(void)!shard_resize(s, (s->mask + 1) / 4 < BUCKETS_LEAST ? BUCKETS_LEAST : (s->mask + 1) / 4);
}

int ld__live_init(void)
{
	return shards[0].buckets ? 0 : shard_resize(&shards[0], BUCKETS_LEAST);
}

/* ---- blocks ---- */

static inline bool find(uint64_t addr, struct shard **ret_shard, uint64_t *ret_hash,
			struct place *ret_place)
{
	*ret_hash = hash_of(addr);
	*ret_shard = shard_of(*ret_hash);
	return shard_find(*ret_shard, *ret_hash, addr, ret_place);
}

static inline struct entry *entry_at(struct place place)
{
	return &place.bucket->entries[place.index];
}

/* The entry is no longer one: take it out of the sums. */
static inline void forget_entry(const struct entry *e)
{
	uint64_t bytes = entry_bytes(e);

	add(&live_blocks, -1ull);
	add(&live_bytes, -bytes);
	if (__builtin_expect(bytes >= LARGE_BYTES, 0))
		large_remove(entry_addr(e));
}

static inline int enter(const struct live_block *block)
{
	uint64_t hash;
	struct shard *s;
	struct place place;
	int r;

	if (__builtin_expect(block->addr >> ADDR_BITS || block->stack >> STACK_BITS, 0))
		return -ERANGE;
	if (__builtin_expect(find(block->addr, &s, &hash, &place), 0)) {
		if (!(entry_at(place)->what & IN_REALLOC))
			add(&anomalies, 1);
		forget_entry(entry_at(place));
	} else {
		r = shard_make_room(s);
		if (r < 0)
			return r;
		place = shard_take_place(s, hash);
	}
	if (__builtin_expect(block->bytes >= LARGE_BYTES, 0)) {
		r = large_add(block);
		if (r < 0) {
			shard_remove(s, hash, place);
			return r;
		}
	}
	*entry_at(place) = entry_of(block);
	add(&live_blocks, 1);
	add(&live_bytes, block->bytes);
	return 0;
}

int ld__live_insert(const struct live_block *block)
{
	int r = enter(block);

	if (__builtin_expect(r < 0, 0))
		add(&refused, 1);
	return r;
}

static inline void take_out(struct shard *s, uint64_t hash, struct place place)
{
	forget_entry(entry_at(place));
	shard_remove(s, hash, place);
}

bool ld__live_remove(uint64_t addr, struct live_block *ret_block)
{
	struct shard *s;
	struct place place;
	uint64_t hash;

	if (__builtin_expect(!find(addr, &s, &hash, &place), 0))
		return false;
	if (ret_block)
		entry_read(entry_at(place), ret_block);
	take_out(s, hash, place);
	return true;
}

static inline struct entry *look_up(uint64_t addr, struct live_block *ret_block)
{
	struct shard *s;
	struct place place;
	uint64_t hash;

	if (!find(addr, &s, &hash, &place))
		return NULL;
	entry_read(entry_at(place), ret_block);
	return entry_at(place);
}

bool ld__live_find(uint64_t addr, struct live_block *ret_block)
{
	return look_up(addr, ret_block) != NULL;
}

bool ld__live_realloc_begin(uint64_t addr, struct live_block *ret_block)
{
	struct entry *entry = look_up(addr, ret_block);

	if (entry)
		entry->what |= IN_REALLOC;
	return entry != NULL;
}

void ld__live_realloc_end(uint64_t addr, uint64_t birth)
{
	struct shard *s;
	struct place place;
	uint64_t hash;

	if (find(addr, &s, &hash, &place) && entry_at(place)->birth == birth &&
	    (entry_at(place)->what & IN_REALLOC))
		take_out(s, hash, place);
}

void ld__live_realloc_fail(uint64_t addr, uint64_t birth)
{
	struct shard *s;
	struct place place;
	uint64_t hash;

	if (find(addr, &s, &hash, &place) && entry_at(place)->birth == birth)
		entry_at(place)->what &= ~IN_REALLOC;
}

void ld__live_prefetch(uint64_t addr)
{
	uint64_t hash = hash_of(addr);
	const struct shard *s = shard_of(hash);
	const char *bucket = (const char *)&s->buckets[home_of(s, hash)];

	/* no test for a shard without buckets: an address that is not mapped is not fetched */
	__builtin_prefetch(bucket, 1);
	__builtin_prefetch(bucket + 64, 1);
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

	for (uint32_t s = 0; s < SHARDS; s++) {
		for (uint32_t i = 0; shards[s].buckets && i <= shards[s].mask; i++) {
			const struct bucket *b = &shards[s].buckets[i];

			for (uint32_t p = 0; p < PLACES; p++) {
				if (!b->tags[p])
					continue;
				entry_read(&b->entries[p], &block);
				visit(&block, data);
				count++;
			}
		}
	}
	for (uint64_t i = 0; i < map_count; i++, count++)
		visit(&maps[i], data);
	return count;
}

bool ld__live_find_mapping(uint64_t addr, struct live_block *ret_mapping)
{
	uint64_t at = map_above(addr);

	if (at == map_count || maps[at].addr != addr)
		return false;
	*ret_mapping = maps[at];
	return true;
}

void ld__live_clear(void)
{
	for (uint32_t s = 0; s < SHARDS; s++)
		ld__arena_unmap(shards[s].buckets, shard_bytes(&shards[s]));
	ld__live_abandon();
}

void ld__live_abandon(void)
{
	memset(shards, 0, sizeof(shards));
	large_count = 0;
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
