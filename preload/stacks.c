/* SPDX-License-Identifier: Apache-2.0
 * L3  stacks.c - stacks -> ids: a tree of (parent, pc) that only grows.
 *
 *   node     the frame as the stream has it, 16 bytes | inner | next[3]
 *            32 bytes, id -> node by chunks that are mapped when they are reached
 *
 *   main ---inner--> parse ---inner--> alloc          the frames called from one frame are a tree of
 *                      |                              their own, of three branches: which one, the
 *                    next[h]                          hash of the frame tells, a digit at each step.
 *                      v                              Those of no parent begin in roots[].
 *                     eval ---next[h']--> print
 *
 * So there is no table that could become full. Most frames are called from a place that calls nothing
 * else: then the look-up is one step, to a node that mostly lies in memory right behind its parent's.
 *
 * (1) A node is complete before a link names it (release; pairs with the acquire load in search()).
 *     A link is written once and nothing ever moves, so a reader needs no lock and no retry.
 * (2) parent < own id: the parent was in the tree before the id was taken.
 * (3) Two threads that insert the same frame at once may make two nodes. Both are right, at most one
 *     of them is named; ids and memory are the only cost.
 * (4) An id is taken when the memory of its node is there. The cap is 16 M nodes (512 MiB). Beyond it
 *     stacks are refused and counted, never wrong. */
#include "preload/stacks.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "preload/arena.h"
#include "preload/modules.h"

#define CHUNK_BITS 15u
#define CHUNK_NODES (1u << CHUNK_BITS)
#define CHUNKS_MAX 512u
#define NODES_MAX (CHUNKS_MAX * CHUNK_NODES - 1u)
#define ROOTS 256u			/* stacks that were cut begin with any frame */
#define BRANCHES 3u

struct node {
	struct stream_stack frame;
	_Atomic uint32_t inner;		/* of the frames called from here, the one that was met first */
	_Atomic uint32_t next[BRANCHES];	/* of the frames called from the parent */
};
_Static_assert(sizeof(struct node) == 32, "two to a cache line");

struct stack_memo {
	uint64_t epoch;
	uint32_t count;
	int truncated;
	void *pcs[STACKS_DEPTH_MAX];	/* outermost first */
	uint32_t ids[STACKS_DEPTH_MAX];
};

static struct node *_Atomic chunks[CHUNKS_MAX];
static _Atomic uint32_t roots[ROOTS];
static _Atomic uint32_t last_id;
static _Atomic uint64_t refused;

static struct node *node_of(uint32_t id)
{
	struct node *chunk = atomic_load_explicit(&chunks[id >> CHUNK_BITS], memory_order_acquire);

	return chunk ? &chunk[id & (CHUNK_NODES - 1)] : NULL;
}

static bool chunk_make(uint32_t id)
{
	struct node *_Atomic *at = &chunks[id >> CHUNK_BITS];
	struct node *chunk = atomic_load_explicit(at, memory_order_acquire), *fresh;

	if (chunk)
		return true;
	fresh = ld__arena_map(CHUNK_NODES * sizeof(*fresh));
	if (!fresh)
		return false;
	if (!atomic_compare_exchange_strong(at, &chunk, fresh))
		ld__arena_unmap(fresh, CHUNK_NODES * sizeof(*fresh));
	return true;
}

/* A node that nothing names yet, 0 when there is no room. */
static uint32_t node_make(const struct stream_stack *frame)
{
	uint32_t last = atomic_load_explicit(&last_id, memory_order_relaxed);

	do {
		if (last == NODES_MAX || !chunk_make(last + 1)) {
			atomic_fetch_add(&refused, 1);
			return 0;
		}
	} while (!atomic_compare_exchange_weak(&last_id, &last, last + 1));
	node_of(last + 1)->frame = *frame;
	return last + 1;
}

static inline bool is(const struct node *node, uint64_t pc, uint16_t generation, uint16_t flags)
{
	return node->frame.pc == pc && node->frame.generation == generation && node->frame.flags == flags;
}

/* Among the frames of one parent. The upper bits are used first. */
static uint64_t hash_of(uint64_t pc, uint16_t generation, uint16_t flags)
{
	uint64_t h = pc ^ ((uint64_t)generation << 48 | (uint64_t)flags << 44);

	h *= 0x9e3779b97f4a7c15ull;
	h ^= h >> 32;
	return h * 0xbf58476d1ce4e5b9ull;
}

static __attribute__((noinline)) uint32_t search(uint32_t parent, uint64_t pc, uint16_t generation,
						 uint16_t flags)
{
	const struct stream_stack frame = {
		.pc = pc, .parent = parent, .generation = generation, .flags = flags,
	};
	uint64_t hash = hash_of(pc, generation, flags);
	_Atomic uint32_t *link = parent ? &node_of(parent)->inner : &roots[hash % ROOTS];
	uint32_t id, fresh = 0;
	struct node *node;

	for (;;) {
		id = atomic_load_explicit(link, memory_order_acquire);
		if (!id) {
			if (!fresh)
				fresh = node_make(&frame);
			if (!fresh || atomic_compare_exchange_strong(link, &id, fresh))
				return fresh;
			/* somebody else's node is there now: (3), or another frame, and ours comes behind it */
		}
		node = node_of(id);
		if (is(node, pc, generation, flags))
			return id;
		/* a digit of the hash as a fraction; when all are used up, it is always the first branch */
		link = &node->next[(unsigned __int128)hash * BRANCHES >> 64];
		hash *= BRANCHES;
	}
}

static inline uint32_t intern_frame(uint32_t parent, uint64_t pc, uint16_t flags)
{
	uint16_t generation = flags & STREAM_STACK_PYTHON ? 0 : ld__modules_generation(pc);
	uint32_t id;

	if (parent) {
		id = atomic_load_explicit(&node_of(parent)->inner, memory_order_acquire);
		if (id && is(node_of(id), pc, generation, flags))
			return id;
	}
	return search(parent, pc, generation, flags);
}

uint32_t ld__stacks_child(uint32_t parent, uint64_t pc, int truncated)
{
	return intern_frame(parent, pc, truncated && !parent ? STREAM_STACK_TRUNCATED : 0);
}

uint32_t ld__stacks_child_python(uint32_t parent, uint32_t place, int truncated)
{
	return intern_frame(parent, place,
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
		id = intern_frame(id, (uint64_t)(uintptr_t)pcs[i],
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

		id = intern_frame(id, (uint64_t)(uintptr_t)pc, truncated && !known ? STREAM_STACK_TRUNCATED : 0);
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
	const struct node *node = node_of(id);
	static const struct stream_stack none;

	*ret_node = node ? node->frame : none;
}

uint64_t ld__stacks_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}
