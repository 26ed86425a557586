/* SPDX-License-Identifier: Apache-2.0
 * L3  stacks.c - stacks -> ids: a tree of (parent, pc) that only grows.
 *
 *   nodes    id -> struct stream_stack, 65536 to a chunk, mapped when reached
 *   tables   hash -> id; table t has 2^(15+t) slots, takes new nodes until half full, then the next
 *            table does. Nothing ever moves, so a reader needs no lock and no retry.
 *
 * (1) A node is complete before a slot names it (release; pairs with the acquire load in find()).
 * (2) parent < own id: the parent was in the tree before the id was taken.
 * (3) Two threads that insert the same frame at once may make two nodes. Both are right, at most one
 *     of them is named; ids and memory are the only cost.
 * (4) The cap is 16 M nodes (256 MiB). Beyond it stacks are refused and counted, never wrong. */
#include "preload/stacks.h"

#include <stdatomic.h>
#include <stddef.h>

#include "preload/arena.h"
#include "preload/modules.h"

#define CHUNK_BITS 16u
#define CHUNK_NODES (1u << CHUNK_BITS)
#define CHUNKS_MAX 256u
#define NODES_MAX (CHUNKS_MAX * CHUNK_NODES - 1u)
#define FIRST_TABLE_BITS 15u
#define TABLES_MAX 11u			/* 2^15 .. 2^25 slots, together above NODES_MAX * 2 */

struct table {
	_Atomic uint32_t used;
	uint32_t mask;
	_Atomic uint64_t slots[];	/* tag << 32 | id; 0 = empty */
};

struct stack_memo {
	uint64_t epoch;
	uint32_t count;
	int truncated;
	void *pcs[STACKS_DEPTH_MAX];	/* outermost first */
	uint32_t ids[STACKS_DEPTH_MAX];
};

static struct stream_stack *_Atomic chunks[CHUNKS_MAX];
static struct table *_Atomic tables[TABLES_MAX];
static _Atomic uint32_t last_table;
static _Atomic uint32_t last_id;
static _Atomic uint64_t refused;

static struct stream_stack *node_of(uint32_t id)
{
	struct stream_stack *chunk = atomic_load_explicit(&chunks[id >> CHUNK_BITS], memory_order_acquire);

	return chunk ? &chunk[id & (CHUNK_NODES - 1)] : NULL;
}

static struct stream_stack *node_make(uint32_t id)
{
	struct stream_stack *_Atomic *at = &chunks[id >> CHUNK_BITS];
	struct stream_stack *chunk = atomic_load_explicit(at, memory_order_acquire), *fresh;

	if (!chunk) {
		fresh = ld__arena_map(CHUNK_NODES * sizeof(*fresh));
		if (!fresh)
			return NULL;
		if (atomic_compare_exchange_strong(at, &chunk, fresh))
			chunk = fresh;
		else
			ld__arena_unmap(fresh, CHUNK_NODES * sizeof(*fresh));
	}
	return &chunk[id & (CHUNK_NODES - 1)];
}

static struct table *table_make(uint32_t index)
{
	struct table *table = atomic_load_explicit(&tables[index], memory_order_acquire), *fresh;
	uint64_t slots = 1ull << (FIRST_TABLE_BITS + index);
	size_t bytes = sizeof(*fresh) + slots * sizeof(fresh->slots[0]);

	if (table)
		return table;
	fresh = ld__arena_map(bytes);
	if (!fresh)
		return NULL;
	fresh->mask = (uint32_t)(slots - 1);
	if (atomic_compare_exchange_strong(&tables[index], &table, fresh))
		return fresh;
	ld__arena_unmap(fresh, bytes);
	return table;
}

static uint64_t hash_of(const struct stream_stack *key)
{
	uint64_t h = key->pc * 0x9e3779b97f4a7c15ull;

	h ^= ((uint64_t)key->parent << 32 | (uint32_t)key->generation << 16 | key->flags) *
	     0xc2b2ae3d27d4eb4full;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

static int same(const struct stream_stack *a, const struct stream_stack *b)
{
	return a->pc == b->pc && a->parent == b->parent && a->generation == b->generation &&
	       a->flags == b->flags;
}

/* Look for `key` in one table, from `slot` on. Returns its id, or 0 with *slot at the empty slot. */
static uint32_t find(struct table *table, const struct stream_stack *key, uint64_t hash, uint32_t *slot)
{
	for (;; *slot = (*slot + 1) & table->mask) {
		uint64_t word = atomic_load_explicit(&table->slots[*slot], memory_order_acquire);

		if (!word)
			return 0;
		if (word >> 32 == hash >> 32 && same(node_of((uint32_t)word), key))
			return (uint32_t)word;
	}
}

static uint32_t insert(const struct stream_stack *key, uint64_t hash)
{
	uint32_t index = atomic_load(&last_table), slot, id, found;
	struct table *table = table_make(index);
	struct stream_stack *node;
	uint64_t empty;

	if (table && atomic_load_explicit(&table->used, memory_order_relaxed) > table->mask / 2) {
		if (index + 1 < TABLES_MAX) {
			atomic_compare_exchange_strong(&last_table, &index, index + 1);
			table = table_make(atomic_load(&last_table));
		} else {
			table = NULL;
		}
	}
	if (!table)
		goto refuse;
	id = atomic_fetch_add(&last_id, 1) + 1;
	if (id > NODES_MAX) {
		atomic_fetch_sub(&last_id, 1);
		goto refuse;
	}
	node = node_make(id);
	if (!node)
		goto refuse;
	*node = *key;
	slot = (uint32_t)hash & table->mask;
	for (;;) {
		found = find(table, key, hash, &slot);
		if (found)
			return found;
		empty = 0;
		if (atomic_compare_exchange_strong(&table->slots[slot], &empty,
						   (hash & 0xffffffff00000000ull) | id))
			break;
	}
	atomic_fetch_add_explicit(&table->used, 1, memory_order_relaxed);
	return id;
refuse:
	atomic_fetch_add(&refused, 1);
	return 0;
}

static uint32_t intern_frame(uint32_t parent, void *pc, uint16_t flags)
{
	struct stream_stack key = { .pc = (uint64_t)(uintptr_t)pc, .parent = parent, .flags = flags };
	uint64_t hash;
	uint32_t id, slot;

	key.generation = flags & STREAM_STACK_PYTHON ? 0 : ld__modules_generation(key.pc);
	hash = hash_of(&key);
	for (uint32_t t = atomic_load_explicit(&last_table, memory_order_acquire) + 1; t-- > 0;) {
		struct table *table = atomic_load_explicit(&tables[t], memory_order_acquire);

		if (!table)
			continue;
		slot = (uint32_t)hash & table->mask;
		id = find(table, &key, hash, &slot);
		if (id)
			return id;
	}
	return insert(&key, hash);
}

uint32_t ld__stacks_child(uint32_t parent, uint64_t pc, int truncated)
{
	return intern_frame(parent, (void *)(uintptr_t)pc,
			    truncated && !parent ? STREAM_STACK_TRUNCATED : 0);
}

uint32_t ld__stacks_child_python(uint32_t parent, uint32_t place, int truncated)
{
	return intern_frame(parent, (void *)(uintptr_t)place,
			    STREAM_STACK_PYTHON | (truncated && !parent ? STREAM_STACK_TRUNCATED : 0));
}

struct stack_memo *ld__stacks_memo_new(void)
{
	return ld__arena_alloc(sizeof(struct stack_memo));
}

uint32_t ld__stacks_intern(void *const *pcs, int count, int truncated)
{
	uint32_t id = 0;

	for (int i = count - 1; i >= 0; i--) {
		id = intern_frame(id, pcs[i],
				  truncated && i == count - 1 ? STREAM_STACK_TRUNCATED : 0);
		if (!id)
			break;
	}
	return id;
}

uint32_t ld__stacks_intern_with(struct stack_memo *memo, void *const *pcs, int count, int truncated)
{
	uint64_t epoch = ld__modules_epoch();
	uint32_t known = 0, limit, id;

	if (count > STACKS_DEPTH_MAX) {
		count = STACKS_DEPTH_MAX;
		truncated = 1;
	}
	if (count <= 0)
		return 0;
	if (memo->epoch == epoch && memo->truncated == truncated) {
		limit = memo->count < (uint32_t)count ? memo->count : (uint32_t)count;
		while (known < limit && memo->pcs[known] == pcs[(uint32_t)count - 1 - known])
			known++;
	}
	/* Grown one frame at a time, the count last: a signal handler that leaves with longjmp must
	 * not leave an id at another frame's place. */
	memo->count = known;
	memo->epoch = epoch;
	memo->truncated = truncated;
	id = known ? memo->ids[known - 1] : 0;
	for (; known < (uint32_t)count; known++) {
		void *pc = pcs[(uint32_t)count - 1 - known];

		id = intern_frame(id, pc, truncated && !known ? STREAM_STACK_TRUNCATED : 0);
		if (!id)
			return 0;
		memo->pcs[known] = pc;
		memo->ids[known] = id;
		atomic_signal_fence(memory_order_seq_cst);
		memo->count = known + 1;
	}
	return id;
}

uint32_t ld__stacks_count(void)
{
	return atomic_load_explicit(&last_id, memory_order_acquire);
}

void ld__stacks_get(uint32_t id, struct stream_stack *ret_node)
{
	const struct stream_stack *node = node_of(id);
	static const struct stream_stack none;

	*ret_node = node ? *node : none;
}

uint64_t ld__stacks_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}
