/* SPDX-License-Identifier: Apache-2.0
 * L2  live.c - the live table: 64 hash tables of blocks, and a sorted list of mappings.
 *
 *   addr -> shard, tag -> bucket, one cache line                        the shard's records, 24 bytes each
 *
 *   | high high ... (8) | low low ... (8) |     low: passed, tag, number -> |  |  |##|  |##|##|  |
 *                                                                               hand ^   ## dead
 *
 * What an event costs is the cache lines that it touches. A block that comes writes one line of the index,
 * which the drain asks for some events before (see ld__live_prefetch()), and the next dead record, which
 * lies beside the one that was written last. A block that goes writes one line of the index and one bit.
 *
 * (1) The tag is all of the address: ld__live_hash() is a bijection, the shard is chosen by 6 bits of it, the other
 *     39 lie in a bucket, 32 in `high` and 7 in `low`. So no record is read to find one, nor to rehash.
 *     The lowest three bits, which all but no address has, choose among eight sets of shards.
 * (2) A block lies in the bucket of its hash, or, as long as those are full, in one after it. Each bucket
 *     counts the blocks that went past it, so a search ends at one that none has passed. Counting stops for
 *     good at PASSED_MAX: such a bucket is always passed.
 * (3) A set bit in `dead` is a record without a block. The hand goes round over them and takes a word of them
 *     with it, so that a block which comes need not look at `dead`. A record keeps its number until the shard
 *     shrinks, and blocks that come together lie together.
 * (4) A shard grows and shrinks alone, so no event pays for all blocks. Records are never copied to grow: a
 *     page of memory that is fresh from the kernel costs more than all else that is done for its blocks.
 * (5) How many bytes are live is summed up when it is asked for: a free does not look at the size.
 * (6) A record's last word is an event's last word. 26 bits between its fields and beside the address are the
 *     size; larger blocks are few: their sizes are in a list.
 * (7) Private memory, no locks, no pointers into it from outside: a fork freezes it. */
#include "preload/live.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/arena.h"
#include "preload/live_index.h"
#include "preload/stream.h"
#include "preload/sys.h"

#define SHARDS_LOG 6u
#define SHARDS (1u << SHARDS_LOG)
#define SETS 8u				/* of shards: see (1) */
#define HUGE (2u << 20)
#define PAGE 4096u
#ifndef LIVE_ROOM_MAX			/* records of a shard; a test asks for fewer */
#define LIVE_ROOM_MAX (NO_RECORD & ~63u)
#endif
#define BUCKETS_FIRST 16u		/* these and the first chunk of records fill one page */
#define ROOM_FIRST 128u
#define CHUNKS 18u			/* of 128, 128, 256, 512, ... records */
#define USED_OF_BUCKET 5u		/* at most, on the average: few are full, and no other one need be looked at */
#define DEAD_OF_BUCKET 16u		/* bits of `dead` that lie after the index, for each of its buckets */
#define MAPS_FIRST 1024u
#define LARGE_FIRST 256u

#define ALIGN_BITS LIVE_ALIGN_BITS
#define HASH_BITS LIVE_HASH_BITS
#define STACK_BITS 24u
#define TID_BITS 22u			/* the kernel's PID_MAX_LIMIT */
#define SAMPLE_BITS 4u
#define SIZE_HIGH_BITS 10u		/* above the 16 beside the address */
#define LARGE_BYTES ((1u << (16 + SIZE_HIGH_BITS)) - 1)	/* and above: see `large` */
#define KIND_BITS 3u			/* enum stream_node_kind */

/* In entry.what everything that an event tells lies where the event has it, so that its last word is taken over as
 * it is; what an event has no use for are the high bits of the size, 4 and 4 and 2. */
#define SAMPLE_SHIFT STACK_BITS
#define SIZE_SHIFT (SAMPLE_SHIFT + SAMPLE_BITS)
#define KIND_SHIFT 32u
#define SIZE_MIDDLE_SHIFT (KIND_SHIFT + KIND_BITS)
#define IN_REALLOC (1ull << 39)		/* see ld__live_realloc_begin() */
#define TID_SHIFT 40u
#define SIZE_TOP_SHIFT (TID_SHIFT + TID_BITS)

struct entry {
	uint64_t where;			/* addr << 16 | low bits of the size */
	uint64_t birth;
	uint64_t what;
};

struct shard {
	_Alignas(64) struct bucket *index;	/* NULL: it has no memory yet */
	uint64_t *dead;			/* one bit a record; after the index, or in first_dead */
	struct entry *at_hand;		/* records of the word of `dead` that the hand is at ... */
	uint64_t in_hand;		/* ... and those bits of it that the hand has: they are 0 in `dead` */
	uint32_t mask;			/* buckets - 1 */
	uint32_t used, most, least;	/* blocks; with more or fewer than these it grows or shrinks */
	uint32_t room;			/* records, a multiple of 64 */
	uint32_t hand;			/* word of `dead` */
};

_Static_assert(SHARDS == LIVE_PARTS, "layout");
_Static_assert(sizeof(struct shard) == 64, "layout");
_Static_assert(HASH_BITS - SHARDS_LOG == 32 + TAG_LOW_BITS && TAG_LOW_BITS + NUMBER_BITS == 31, "layout");
_Static_assert(BUCKETS_FIRST * sizeof(struct bucket) + ROOM_FIRST * sizeof(struct entry) == PAGE, "layout");
_Static_assert(LIVE_ROOM_MAX <= ROOM_FIRST << (CHUNKS - 1) && LIVE_ROOM_MAX < NO_RECORD, "layout");
_Static_assert(SIZE_SHIFT + 4 == KIND_SHIFT && SIZE_MIDDLE_SHIFT + 4 == 39 && SIZE_TOP_SHIFT + 2 == 64, "layout");
_Static_assert(STREAM_NODE_PYTHON < 1u << KIND_BITS, "layout");

static struct shard shards[SHARDS * SETS];
static struct entry *chunks_of[SHARDS * SETS][CHUNKS];
static uint64_t first_dead[SHARDS * SETS][ROOM_FIRST / 64];
static uint32_t shard_count = SHARDS;	/* or all, when there was an address that is no multiple of 8 */
static char *first_pages;		/* one for each shard of the first set */
static struct { uint64_t addr, bytes; } *large;	/* blocks of LARGE_BYTES and more, in no order, and some that are gone */
static uint64_t large_count, large_room;
static struct live_block *maps;		/* ascending, without overlap */
static uint64_t map_count, map_room;

static _Atomic uint64_t live_mappings, live_mapped_bytes;
static _Atomic uint64_t anomalies, refused;

/* Has it none of the bits that are rarely set: a number of more than 48 bits, or no multiple of 8? */
static inline bool is_ordinary(uint64_t addr)
{
	return __builtin_expect(!((addr >> ALIGN_BITS | addr << (64 - ALIGN_BITS)) >> HASH_BITS), 1);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	/* one writer at a time (the drain lock), readers anywhere: no locked instruction needed */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline struct shard *shard_of(uint64_t addr, uint64_t hash)
{
	return &shards[(hash & (SHARDS - 1)) | (addr & (SETS - 1)) << SHARDS_LOG];
}

static inline uint64_t tag_of(uint64_t hash)
{
	return hash >> SHARDS_LOG;
}

static inline uint32_t home_of(const struct shard *s, uint64_t tag)
{
	return (uint32_t)tag & s->mask;
}

/* ---- records ---- */

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

static inline uint64_t entry_low_bytes(const struct entry *e)
{
	uint64_t what = e->what, high = (what >> SIZE_SHIFT & 0xf) | (what >> SIZE_MIDDLE_SHIFT & 0xf) << 4 | what >> SIZE_TOP_SHIFT << 8;

	return (e->where & 0xffff) | high << 16;
}

static inline uint64_t entry_bytes(const struct entry *e)
{
	uint64_t bytes = entry_low_bytes(e);

	return __builtin_expect(bytes == LARGE_BYTES, 0) ? *large_find(entry_addr(e)) : bytes;
}

static void entry_read(const struct entry *e, struct live_block *ret_block)
{
	ret_block->addr = entry_addr(e);
	ret_block->bytes = entry_bytes(e);
	ret_block->birth = e->birth;
	ret_block->stack = (uint32_t)e->what & ((1u << STACK_BITS) - 1);
	ret_block->tid = (uint32_t)(e->what >> TID_SHIFT) & ((1u << TID_BITS) - 1);
	ret_block->kind = (uint32_t)(e->what >> KIND_SHIFT) & ((1u << KIND_BITS) - 1);
	ret_block->sample = (uint32_t)(e->what >> SAMPLE_SHIFT) & ((1u << SAMPLE_BITS) - 1);
}

static inline struct entry entry_of(const struct live_block *block)
{
	uint64_t bytes = block->bytes < LARGE_BYTES ? block->bytes : LARGE_BYTES, high = bytes >> 16;

	return (struct entry){
		.where = block->addr << 16 | (bytes & 0xffff),
		.birth = block->birth,
		.what = block->stack | (uint64_t)block->sample << SAMPLE_SHIFT | (high & 0xf) << SIZE_SHIFT |
			(uint64_t)block->kind << KIND_SHIFT | (high >> 4 & 0xf) << SIZE_MIDDLE_SHIFT |
			(uint64_t)block->tid << TID_SHIFT | high >> 8 << SIZE_TOP_SHIFT,
	};
}

/* ---- shards ---- */

static __attribute__((noinline)) bool find_further(const struct shard *s, uint64_t tag, struct place *ret_place)
{
	uint32_t at = home_of(s, tag);

	for (uint32_t n = 0; n < s->mask && is_passed(&s->index[at]); n++) {
		at = (at + 1) & s->mask;
		if (bucket_find(&s->index[at], tag, ret_place))
			return true;
	}
	return false;
}

static inline bool shard_find(const struct shard *s, uint64_t tag, struct place *ret_place)
{
	struct bucket *b;

	if (__builtin_expect(!s->index, 0))
		return false;
	b = &s->index[home_of(s, tag)];
	if (bucket_find(b, tag, ret_place))
		return true;
	return is_passed(b) && find_further(s, tag, ret_place);
}

/* Enter the tag of a record; there is a free place for it. */
static inline void shard_enter(struct shard *s, uint64_t tag, uint32_t record)
{
	uint32_t at = home_of(s, tag), bits;

	while (__builtin_expect(!(bits = free_places(&s->index[at])), 0)) {
		uint32_t passed = passed_of(&s->index[at]);

		if (passed < PASSED_MAX)
			set_passed(&s->index[at], passed + 1);
		at = (at + 1) & s->mask;
	}
	bucket_set(&s->index[at], (uint32_t)__builtin_ctz(bits), tag, record);
}

/* ---- records of a shard ---- */

static inline uint32_t chunk_of(uint32_t record)
{
	return 25u - (uint32_t)__builtin_clz(record | ROOM_FIRST / 2);
}

static uint64_t bytes_of_chunk(uint32_t chunk)
{
	return (chunk ? (uint64_t)(ROOM_FIRST / 2) << chunk : ROOM_FIRST) * sizeof(struct entry);
}

static inline uint32_t number_of(const struct shard *s)
{
	return (uint32_t)(s - shards);
}

static inline struct entry *record_at(const struct shard *s, uint32_t record)
{
	uint32_t chunk = chunk_of(record);

	return &chunks_of[number_of(s)][chunk][record - (chunk ? ROOM_FIRST / 2 << chunk : 0)];
}

/* One bit for each block among 64 records. */
static inline uint64_t live_records(const struct shard *s, uint32_t word)
{
	return ~(s->dead[word] | (word == s->hand ? s->in_hand : 0));
}

static void empty_hand(struct shard *s)
{
	s->dead[s->hand] |= s->in_hand;
	s->in_hand = 0;
}

/* The hand is empty. */
static void move_hand(struct shard *s, uint32_t hand)
{
	s->hand = hand;
	s->at_hand = record_at(s, hand * 64);
	s->in_hand = s->dead[hand];
	s->dead[hand] = 0;
}

static __attribute__((noinline)) void turn_hand(struct shard *s)
{
	uint32_t hand = s->hand;

	while (!s->dead[hand])
		hand = (hand + 1) * 64 == s->room ? 0 : hand + 1;
	move_hand(s, hand);
}

/* The next dead record; there is one. */
static inline struct entry *shard_take_record(struct shard *s, uint32_t *ret_record)
{
	uint64_t bits, rest;
	uint32_t bit;

	if (__builtin_expect(!s->in_hand, 0))
		turn_hand(s);
	bits = s->in_hand;
	s->in_hand = rest = bits & (bits - 1);
	s->used++;
	/* the other shards have their turns before the next one is written: time to get its last line */
	__builtin_prefetch(&s->at_hand[__builtin_ctzll(rest | 1ull << 63)].what, 1);
	bit = (uint32_t)__builtin_ctzll(bits);
	*ret_record = s->hand * 64 + bit;
	return &s->at_hand[bit];
}

/* ---- growing and shrinking ---- */

static bool is_on_first_pages(const void *memory)
{
	return first_pages && (uint64_t)((const char *)memory - first_pages) < SHARDS * PAGE;
}

static void *map(uint64_t bytes)
{
	void *memory = ld__arena_map(bytes);

	/* every look is another page: large ones spare the address translation, and the fork of a
	 * snapshot copies fewer entries. Hashing and the hand touch them all, so little is wasted. */
	if (memory && bytes >= HUGE)
		ld__sys3(SYS_madvise, memory, bytes, MADV_HUGEPAGE);
	return memory;
}

static uint64_t bytes_of_index(uint32_t buckets)
{
	return buckets * (sizeof(struct bucket) + DEAD_OF_BUCKET / 8);
}

/* How many records the memory of `dead` is enough for. */
static uint32_t dead_room(const struct shard *s)
{
	return s->dead == first_dead[number_of(s)] ? ROOM_FIRST : (s->mask + 1) * DEAD_OF_BUCKET;
}

static void free_index(const struct shard *s)
{
	if (s->dead != first_dead[number_of(s)])
		ld__arena_unmap(s->index, bytes_of_index(s->mask + 1));
}

static void set_limits(struct shard *s)
{
	uint32_t most = (s->mask + 1) * USED_OF_BUCKET;

	s->most = s->room / 5 * 4 < most ? s->room / 5 * 4 : most;
	s->least = s->room == ROOM_FIRST ? 0 : s->room / 8;
}

static int shard_begin(struct shard *s)
{
	uint32_t number = number_of(s);
	char *page = number < SHARDS && first_pages ? first_pages + number * PAGE : ld__arena_map(PAGE);

	if (!page)
		return -ENOMEM;
	if (number >= SHARDS)
		shard_count = SHARDS * SETS;
	s->index = (struct bucket *)(void *)page;
	s->mask = BUCKETS_FIRST - 1;
	chunks_of[number][0] = (struct entry *)(void *)(s->index + BUCKETS_FIRST);
	s->dead = first_dead[number];
	memset(s->dead, 0xff, ROOM_FIRST / 8);
	s->room = ROOM_FIRST;
	move_hand(s, 0);
	set_limits(s);
	return 0;
}

/* Another index of that many buckets, empty, with `dead` after it. */
static int new_index(struct shard *s, uint32_t buckets)
{
	void *memory = map(bytes_of_index(buckets));

	if (!memory)
		return -ENOMEM;
	s->index = memory;
	s->mask = buckets - 1;
	s->dead = (uint64_t *)(void *)(s->index + buckets);
	return 0;
}

static int grow_index(struct shard *s)
{
	struct shard old = *s;
	int r = new_index(s, (old.mask + 1) * 2);

	if (r < 0)
		return r;
	memcpy(s->dead, old.dead, s->room / 8);
	for (uint32_t i = 0; i <= old.mask; i++) {
		const struct bucket *b = &old.index[i];

		for (uint32_t bits = ~free_places(b) & ((1u << PLACES) - 1); bits; bits &= bits - 1) {
			uint32_t slot = (uint32_t)__builtin_ctz(bits), low = b->low[slot] & ~PASSED;

			shard_enter(s, (uint64_t)b->high[slot] << TAG_LOW_BITS | low >> NUMBER_BITS,
				    (low & NO_RECORD) - 1);
		}
	}
	if (old.dead != first_dead[number_of(s)])
		ld__arena_unmap(old.index, bytes_of_index(old.mask + 1));
	return 0;
}

static uint32_t power_of_two(uint32_t least)
{
	return 1u << (32 - __builtin_clz(least - 1));
}

/* By an eighth to a quarter, or a word, within one chunk: pages that the hand has not come to are no memory yet. */
static int grow_room(struct shard *s)
{
	uint32_t step = (1u << (31 - __builtin_clz(s->room))) / 4, room, chunk = chunk_of(s->room);
	struct entry **memory = &chunks_of[number_of(s)][chunk];
	int r;

	room = s->room + (step < 64 ? 64 : step);
	if (room > LIVE_ROOM_MAX)
		room = LIVE_ROOM_MAX;
	if (room == s->room)
		return -ENOMEM;
	if (room > dead_room(s)) {
		r = grow_index(s);
		if (r < 0)
			return r;
	}
	if (!*memory)
		*memory = map(bytes_of_chunk(chunk));
	if (!*memory)
		return -ENOMEM;
	memset(s->dead + s->room / 64, 0xff, (room - s->room) / 8);
	empty_hand(s);
	move_hand(s, s->room / 64);
	s->room = room;
	return 0;
}

/* A shard that cannot grow is filled to its last record. */
static int shard_grow(struct shard *s)
{
	int r = 0;

	if (!s->index)
		return shard_begin(s);
	if (s->used >= s->room / 5 * 4)
		r = grow_room(s);
	if (s->used >= (s->mask + 1) * USED_OF_BUCKET)
		(void)!grow_index(s);
	set_limits(s);
	if (s->used < s->room && s->used < (s->mask + 1) * PLACES)
		return 0;
	return r < 0 ? r : -ENOMEM;
}

/* The blocks slide down over the dead ones and get new numbers. */
static __attribute__((noinline)) void shard_shrink(struct shard *s)
{
	struct entry **chunks = chunks_of[number_of(s)];
	struct shard old;
	uint32_t room = s->used < ROOM_FIRST / 2 ? ROOM_FIRST : power_of_two(s->used * 2), to = 0;

	empty_hand(s);
	old = *s;
	if (room == ROOM_FIRST) {
		s->index = (struct bucket *)(void *)chunks[0] - BUCKETS_FIRST;
		s->mask = BUCKETS_FIRST - 1;
		s->dead = first_dead[number_of(s)];
		memset(s->index, 0, BUCKETS_FIRST * sizeof(*s->index));
	} else if (new_index(s, room / PLACES) < 0) {
		return;
	}
	for (uint32_t w = 0; w < old.room / 64; w++) {
		for (uint64_t bits = ~old.dead[w]; bits; bits &= bits - 1) {
			const struct entry *e = record_at(s, w * 64 + (uint32_t)__builtin_ctzll(bits));

			shard_enter(s, tag_of(ld__live_hash(entry_addr(e))), to);
			*record_at(s, to++) = *e;
		}
	}
	ld__arena_unmap(old.index, bytes_of_index(old.mask + 1));
	for (uint32_t chunk = chunk_of(room - 1) + 1; chunk < CHUNKS; chunk++) {
		ld__arena_unmap(chunks[chunk], bytes_of_chunk(chunk));
		chunks[chunk] = NULL;
	}
	memset(s->dead, 0, room / 8);
	for (uint32_t i = to; i < room; i++)
		s->dead[i / 64] |= 1ull << i % 64;
	s->room = room;
	move_hand(s, to / 64);
	set_limits(s);
}

/* ---- taking out ---- */

static inline void shard_lose_record(struct shard *s, uint32_t record)
{
	s->dead[record / 64] |= 1ull << record % 64;
	if (__builtin_expect(--s->used < s->least, 0))
		shard_shrink(s);
}

static void shard_remove(struct shard *s, uint64_t tag, struct place place)
{
	uint32_t at = home_of(s, tag), end = (uint32_t)(place.bucket - s->index);

	for (; __builtin_expect(at != end, 0); at = (at + 1) & s->mask) {
		uint32_t passed = passed_of(&s->index[at]);

		if (passed < PASSED_MAX)
			set_passed(&s->index[at], passed - 1);
	}
	bucket_clear(place.bucket, place.slot);
	shard_lose_record(s, place.record);
}

int ld__live_init(void)
{
	if (!first_pages)
		first_pages = ld__arena_map(SHARDS * PAGE);
	return first_pages ? 0 : -ENOMEM;
}

/* ---- blocks ---- */

static inline bool find(uint64_t addr, struct shard **ret_shard, uint64_t *ret_tag, struct place *ret_place)
{
	uint64_t hash = ld__live_hash(addr);

	*ret_shard = shard_of(addr, hash);
	*ret_tag = tag_of(hash);
	return __builtin_expect(!(addr >> LIVE_ADDR_BITS), 1) && shard_find(*ret_shard, *ret_tag, ret_place);
}

static struct entry *look_up(uint64_t addr)
{
	struct shard *s;
	struct place place;
	uint64_t tag;

	return find(addr, &s, &tag, &place) ? record_at(s, place.record) : NULL;
}

/* Sizes stay when their blocks go, which so need not look at their records; those are dropped here. */
static void large_sweep(void)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < large_count; i++) {
		const struct entry *e = look_up(large[i].addr);

		if (e && entry_low_bytes(e) == LARGE_BYTES)
			large[kept++] = large[i];
	}
	large_count = kept;
}

static int large_grow(void)
{
	uint64_t room = large_room ? large_room * 2 : LARGE_FIRST, old_bytes = large_room * sizeof(*large);
	void *fresh = ld__arena_map(room * sizeof(*large)), *old = large;

	if (!fresh)
		return -ENOMEM;
	if (old)
		memcpy(fresh, old, large_count * sizeof(*large));
	large = fresh;
	large_room = room;
	if (old)			/* after the pointer: a child that was forked in between goes on with it */
		ld__arena_unmap(old, old_bytes);
	return 0;
}

static __attribute__((noinline)) int large_set(const struct live_block *block)
{
	uint64_t *bytes = large_find(block->addr);
	int r;

	if (bytes) {
		*bytes = block->bytes;
		return 0;
	}
	if (large_count == large_room) {
		large_sweep();
		r = large_count > large_room / 2 || !large_room ? large_grow() : 0;
		if (r < 0 && large_count == large_room)
			return r;
	}
	large[large_count].addr = block->addr;
	large[large_count++].bytes = block->bytes;
	return 0;
}

/* Another block has the address of one that is live. */
static __attribute__((noinline)) int replace(struct shard *s, uint64_t tag, struct place place,
					     const struct live_block *block)
{
	struct entry *e = record_at(s, place.record);
	int r;

	if (!(e->what & IN_REALLOC))
		add(&anomalies, 1);
	r = block->bytes >= LARGE_BYTES ? large_set(block) : 0;
	if (r < 0)
		shard_remove(s, tag, place);
	else
		*e = entry_of(block);
	return r;
}

static int enter(const struct live_block *block)
{
	uint64_t tag;
	struct shard *s;
	struct place place;
	struct entry *e;
	uint32_t record;
	int r;

	if (block->addr >> LIVE_ADDR_BITS || block->stack >> STACK_BITS)
		return -ERANGE;
	if (find(block->addr, &s, &tag, &place))
		return replace(s, tag, place, block);
	if (s->used >= s->most) {
		r = shard_grow(s);
		if (r < 0)
			return r;
	}
	if (block->bytes >= LARGE_BYTES) {
		r = large_set(block);
		if (r < 0)
			return r;
	}
	e = shard_take_record(s, &record);
	shard_enter(s, tag, record);
	*e = entry_of(block);
	return 0;
}

static __attribute__((noinline)) int insert_anyhow(const struct live_block *block)
{
	int r = enter(block);

	if (r < 0)
		add(&refused, 1);
	return r;
}

/* An ordinary block's record, which the caller fills in. NULL when there is more to do than to take the next
 * one: that is for insert_anyhow(), so that this needs no stack of its own. */
static inline __attribute__((always_inline)) struct entry *enter_quickly(uint64_t addr, uint64_t hash)
{
	uint64_t tag = tag_of(hash);
	struct shard *s = &shards[hash & (SHARDS - 1)];
	struct bucket *b;
	struct entry *e;
	uint32_t bits, record;

	if (__builtin_expect(!is_ordinary(addr) || s->used >= s->most, 0))
		return NULL;
	b = &s->index[home_of(s, tag)];
	bits = empty_places(b);
	if (__builtin_expect(places_of(b, (uint32_t)(tag >> TAG_LOW_BITS)) || is_passed(b) || !bits, 0))
		return NULL;
	e = shard_take_record(s, &record);
	bucket_set(b, (uint32_t)__builtin_ctz(bits), tag, record);
	return e;
}

int ld__live_insert(const struct live_block *block)
{
	bool is_usual = !(block->stack >> STACK_BITS) && block->bytes < LARGE_BYTES;
	struct entry *e = is_usual ? enter_quickly(block->addr, ld__live_hash(block->addr)) : NULL;

	if (__builtin_expect(!e, 0))
		return insert_anyhow(block);
	*e = entry_of(block);
	return 0;
}

static __attribute__((noinline)) void insert_event_anyhow(const struct event *event)
{
	struct live_block block = ld__live_block_of(event, event->clock);

	insert_anyhow(&block);
}

static inline __attribute__((always_inline)) void insert_event(const struct event *event, uint64_t hash)
{
	struct entry *e = event->bytes < 1u << 16 ? enter_quickly(event->addr, hash) : NULL;

	if (__builtin_expect(!e, 0)) {
		insert_event_anyhow(event);
		return;
	}
	e->where = event->addr << 16 | event->bytes;
	e->birth = event->clock;
	memcpy(&e->what, (const char *)event + sizeof(*event) - sizeof(e->what), sizeof(e->what));
}

bool ld__live_remove(uint64_t addr, struct live_block *ret_block)
{
	struct shard *s;
	struct place place;
	uint64_t tag;

	if (!find(addr, &s, &tag, &place))
		return false;
	if (ret_block)
		entry_read(record_at(s, place.record), ret_block);
	shard_remove(s, tag, place);
	return true;
}

/* A block of whose address nothing is known is left to the other one: it was allocated before capture began. */
static inline __attribute__((always_inline)) void remove_quickly(uint64_t addr, uint64_t hash)
{
	uint64_t tag = tag_of(hash);
	struct shard *s = &shards[hash & (SHARDS - 1)];
	struct bucket *b = &s->index[home_of(s, tag)];
	uint32_t bits = 0, slot, record = NO_RECORD;

	if (__builtin_expect(is_ordinary(addr) && s->index, 1))
		bits = places_of(b, (uint32_t)(tag >> TAG_LOW_BITS));
	slot = (uint32_t)__builtin_ctz(bits | 1u << PLACES);
	if (__builtin_expect(bits != 0, 1))
		record = bucket_record(b, slot, tag);
	if (__builtin_expect(record >= NO_RECORD, 0)) {
		ld__live_remove(addr, NULL);
		return;
	}
	bucket_clear(b, slot);
	shard_lose_record(s, record);
}

bool ld__live_find(uint64_t addr, struct live_block *ret_block)
{
	const struct entry *e = look_up(addr);

	if (e)
		entry_read(e, ret_block);
	return e != NULL;
}

bool ld__live_realloc_begin(uint64_t addr, struct live_block *ret_block)
{
	struct entry *e = look_up(addr);

	if (e) {
		entry_read(e, ret_block);
		e->what |= IN_REALLOC;
	}
	return e != NULL;
}

void ld__live_realloc_end(uint64_t addr, uint64_t birth)
{
	struct shard *s;
	struct place place;
	const struct entry *e;
	uint64_t tag;

	if (!find(addr, &s, &tag, &place))
		return;
	e = record_at(s, place.record);
	if (e->birth == birth && (e->what & IN_REALLOC))
		shard_remove(s, tag, place);
}

void ld__live_realloc_fail(uint64_t addr, uint64_t birth)
{
	struct entry *e = look_up(addr);

	if (e && e->birth == birth)
		e->what &= ~IN_REALLOC;
}

/* What to ask for, as one hash. No test for a shard without memory: an address that is not mapped is not fetched. */
static inline const void *bucket_of(uint64_t hash)
{
	const struct shard *s = &shards[hash & (SHARDS - 1)];

	return &s->index[home_of(s, tag_of(hash))];
}

void ld__live_prefetch(uint64_t addr)
{
	__builtin_prefetch(bucket_of(ld__live_hash(addr)), 1);
}

void ld__live_prefetch_record(uint64_t addr)
{
	const struct entry *e = look_up(addr);

	if (e)
		__builtin_prefetch(e);
}

/* ---- events ---- */

void ld__live_apply(const struct event *events, const uint64_t *hashes, const uint16_t *order, uint32_t count)
{
	for (uint32_t i = 0; i < count && i < LIVE_AHEAD; i++)
		__builtin_prefetch(bucket_of(hashes[order[i]]), 1);
	for (uint32_t i = 0; i < count; i++) {
		const struct event *e = &events[order[i]];

		__builtin_prefetch(bucket_of(hashes[order[i + LIVE_AHEAD]]), 1);
		if (e->kind == EVENT_FREE)
			remove_quickly(e->addr, hashes[order[i]]);
		else
			insert_event(e, hashes[order[i]]);
	}
}

uint64_t ld__live_apply_ring(const struct event *events, uint32_t mask, uint64_t at, uint64_t end, uint64_t limit,
			     uint64_t *asked)
{
	for (uint64_t i = *asked > at ? *asked : at; i < at + LIVE_AHEAD && i < end; i++)
		__builtin_prefetch(bucket_of(ld__live_hash(events[i & mask].addr)), 1);
	do {
		const struct event *e = &events[at & mask];
		uint64_t hash = ld__live_hash(e->addr);

		__builtin_prefetch(bucket_of(ld__live_hash(events[(at + LIVE_AHEAD) & mask].addr)), 1);
		if (e->kind == EVENT_FREE)
			remove_quickly(e->addr, hash);
		else if (__builtin_expect(e->kind < STREAM_NODE_MAPPING, 1))
			insert_event(e, hash);
		else
			break;
	} while (++at < end && events[at & mask].clock <= limit);
	*asked = at + LIVE_AHEAD < end ? at + LIVE_AHEAD : end;
	return at;
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
	uint64_t room = map_room ? map_room * 2 : MAPS_FIRST, old_bytes = map_room * sizeof(*maps);
	struct live_block *fresh, *old = maps;

	if (map_count < map_room)
		return 0;
	fresh = ld__arena_map(room * sizeof(*fresh));
	if (!fresh) {
		add(&refused, 1);
		return -ENOMEM;
	}
	if (old)
		memcpy(fresh, old, map_count * sizeof(*maps));
	maps = fresh;
	map_room = room;
	if (old)			/* after the pointer, as above */
		ld__arena_unmap(old, old_bytes);
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

	for (const struct shard *s = shards; s < shards + shard_count; s++) {
		for (uint32_t w = 0; w < s->room / 64; w++) {
			for (uint64_t bits = live_records(s, w); bits; bits &= bits - 1) {
				entry_read(record_at(s, w * 64 + (uint32_t)__builtin_ctzll(bits)), &block);
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
	struct entry **chunks;

	for (struct shard *s = shards; s < shards + shard_count; s++) {
		if (!s->index)
			continue;
		free_index(s);
		chunks = chunks_of[number_of(s)];
		if (!is_on_first_pages(chunks[0]))
			ld__arena_unmap((struct bucket *)(void *)chunks[0] - BUCKETS_FIRST, PAGE);
		for (uint32_t chunk = 1; chunk < CHUNKS; chunk++)
			ld__arena_unmap(chunks[chunk], bytes_of_chunk(chunk));
	}
	ld__arena_unmap(first_pages, SHARDS * PAGE);
	ld__live_abandon();
}

void ld__live_abandon(void)
{
	memset(shards, 0, shard_count * sizeof(*shards));
	memset(chunks_of, 0, shard_count * sizeof(*chunks_of));
	shard_count = SHARDS;
	first_pages = NULL;
	large_count = 0;
	map_count = 0;
	atomic_store(&live_mappings, 0);
	atomic_store(&live_mapped_bytes, 0);
}

void ld__live_part_totals(uint32_t part, uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	*ret_blocks = *ret_bytes = 0;
	for (const struct shard *s = &shards[part]; s < shards + shard_count; s += LIVE_PARTS) {
		*ret_blocks += s->used;
		for (uint32_t w = 0; w < s->room / 64; w++) {
			for (uint64_t bits = live_records(s, w); bits; bits &= bits - 1)
				*ret_bytes += entry_bytes(record_at(s, w * 64 + (uint32_t)__builtin_ctzll(bits)));
		}
	}
}

void ld__live_totals(uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	uint64_t blocks, bytes;

	*ret_blocks = *ret_bytes = 0;
	for (uint32_t i = 0; i < LIVE_PARTS; i++) {
		ld__live_part_totals(i, &blocks, &bytes);
		*ret_blocks += blocks;
		*ret_bytes += bytes;
	}
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
