/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_stacks.c - the stacks that live nodes have, each once, as people read them.
 *
 *   raw tree (stream) -> marked nodes -> canonical tree -> without shim and allocator -> frames
 *
 * (1) The stream's tree holds every stack that was ever recorded; only those on the way from a live
 *     node to the root are looked at, so symbols of dead stacks cost nothing.
 * (2) Two raw nodes are one canonical node if their locations and parents are: code that moved
 *     (dlclose, dlopen) makes no new stacks.
 * (3) A stack ends where the program called the allocator. Frames of the shim are left out wherever
 *     they are (thread start), those of the allocator only at the innermost end.
 * (4) Stacks are numbered by use, so that common ones have short codes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/ingest_parts.h"

#define FRAMES_MAX 1024u		/* of one stack, inline frames included */
#define FRAMES_TOTAL_MAX (1ull << 26)	/* of all stacks: a hostile tree could ask for the square of its size */

struct node { uint32_t parent, location, flags; };	/* canonical; id 0 is the root */

struct tree {
	struct node *nodes;
	uint32_t count;
	uint32_t *index;		/* hash table of canonical ids */
	uint64_t slots;
	uint32_t *of_raw;		/* canonical id of each marked raw id */
	uint32_t *begin;		/* nearest ancestor (or self) outside shim and allocator; 0 = none */
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

/* Mark raw ids that a live node's stack passes through. Parents have smaller ids. */
static uint8_t *mark_used(const struct stream *stream)
{
	uint8_t *used = calloc(stream->stack_count + 1ull, 1);

	if (!used)
		return NULL;
	for (uint32_t i = 0; i < stream->node_count; i++)
		used[stream->node_stack[i]] = 1;
	for (uint32_t id = stream->stack_count; id > 0; id--)
		if (used[id])
			used[stream->stacks[id - 1].parent] = 1;
	return used;
}

static int find_canonical(struct tree *tree, const struct node *node, uint32_t *ret_id)
{
	uint64_t at = mix(mix(node->parent, node->location), node->flags);

	for (;; at++) {
		uint32_t *slot = &tree->index[at & (tree->slots - 1)];

		if (!*slot) {
			tree->nodes[tree->count] = *node;
			*slot = tree->count++;
		}
		if (tree->nodes[*slot].parent == node->parent &&
		    tree->nodes[*slot].location == node->location &&
		    tree->nodes[*slot].flags == node->flags) {
			*ret_id = *slot;
			return 0;
		}
	}
}

static int make_tree(struct tree *tree, struct code *code, const uint8_t *used)
{
	const struct stream *stream = code->stream;
	uint64_t marked = 0;

	for (uint32_t id = 1; id <= stream->stack_count; id++)
		marked += used[id];
	tree->slots = 64;
	while (tree->slots < marked * 2)
		tree->slots *= 2;
	tree->index = calloc(tree->slots, sizeof(*tree->index));
	tree->nodes = reallocarray(NULL, marked + 1, sizeof(*tree->nodes));
	tree->of_raw = calloc(stream->stack_count + 1ull, sizeof(*tree->of_raw));
	if (!tree->index || !tree->nodes || !tree->of_raw)
		return -ENOMEM;
	tree->nodes[0] = (struct node){ 0, UINT32_MAX, 0 };
	tree->count = 1;
	for (uint32_t id = 1; id <= stream->stack_count; id++) {
		const struct stream_stack *raw = &stream->stacks[id - 1];
		struct node node = { .parent = tree->of_raw[raw->parent],
				     .flags = raw->flags & STREAM_STACK_TRUNCATED };
		int r;

		if (!used[id])
			continue;
		r = raw->flags & STREAM_STACK_PYTHON ?
			code_locate_python(code, (uint32_t)raw->pc, &node.location) :
			code_locate(code, raw->pc, raw->generation, true, &node.location);
		if (r >= 0)
			r = find_canonical(tree, &node, &tree->of_raw[id]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where each stack begins for people: outside the shim and the allocator. Parents have smaller ids. */
static int find_begins(struct tree *tree, const struct code *code)
{
	tree->begin = calloc(tree->count, sizeof(*tree->begin));
	if (!tree->begin)
		return -ENOMEM;
	for (uint32_t id = 1; id < tree->count; id++) {
		unsigned role = code->locations[tree->nodes[id].location].role;

		tree->begin[id] = role & (CODE_SELF | CODE_ALLOCATOR) ?
					  tree->begin[tree->nodes[id].parent] :
					  id;
	}
	return 0;
}

/* Write the frames of one stack at frame_ids + total; returns how many. What is deeper than anyone
 * reads is cut, and counted as one. */
static uint32_t expand(struct ingest_stacks *stacks, const struct tree *tree,
		       const struct code *code, uint32_t id, bool *ret_truncated)
{
	uint32_t *to = stacks->frame_ids + stacks->frame_id_count;
	uint32_t count = 0;

	*ret_truncated = false;
	for (uint32_t steps = 0; id; id = tree->nodes[id].parent, steps++) {
		const struct node *node = &tree->nodes[id];
		const struct code_location *location = &code->locations[node->location];

		if (node->flags & STREAM_STACK_TRUNCATED)
			*ret_truncated = true;
		if (count + location->count > FRAMES_MAX || steps > FRAMES_MAX) {
			*ret_truncated = true;
			stacks->cut_stacks++;
			break;
		}
		if (location->role & CODE_SELF)
			continue;
		memcpy(to + count, code->frame_ids + location->first,
		       location->count * sizeof(*to));
		count += location->count;
	}
	return count;
}

/* Make the stack of each canonical node that has uses; of_canonical maps back. */
static int make_stacks(struct ingest_stacks *stacks, const struct tree *tree, struct code *code,
		       struct types *types, uint32_t *of_canonical, const uint64_t *uses)
{
	uint64_t capacity = 0;
	int r;

	for (uint32_t id = 1; id < tree->count; id++) {
		struct ingest_stack *stack;
		const char *name;

		if (!uses[id])
			continue;
		if (stacks->frame_id_count + FRAMES_MAX > capacity) {
			uint64_t wanted = capacity ? capacity * 2 : 64 * FRAMES_MAX;
			uint32_t *bigger = reallocarray(stacks->frame_ids, wanted, sizeof(*bigger));

			if (!bigger)
				return -ENOMEM;
			stacks->frame_ids = bigger;
			capacity = wanted;
		}
		of_canonical[id] = stacks->count;
		stack = &stacks->stacks[stacks->count++];
		*stack = (struct ingest_stack){ .first = (uint32_t)stacks->frame_id_count, .uses = uses[id] };
		if (stacks->frame_id_count < FRAMES_TOTAL_MAX)
			stack->count = expand(stacks, tree, code, id, &stack->truncated);
		else
			stacks->cut_stacks++;
		name = types_site_name(code, stacks->frame_ids + stack->first, stack->count);
		r = stack->count ? types_add(types, name, HEAP_TYPE_SITE, &stack->type) : 0;
		if (r < 0)
			return r;
		stacks->frame_id_count += stack->count;
	}
	return 0;
}

static int compare_uses(const void *pa, const void *pb, void *data)
{
	const struct ingest_stack *stacks = data;
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	if (stacks[a].uses != stacks[b].uses)
		return stacks[a].uses > stacks[b].uses ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* Renumber by use and map raw ids to the new numbers. */
static int number_stacks(struct ingest_stacks *stacks, const struct tree *tree,
			 const struct stream *stream, const uint8_t *used,
			 const uint32_t *of_canonical)
{
	uint32_t *order = reallocarray(NULL, stacks->count + 1ull, sizeof(*order));
	uint32_t *rank = reallocarray(NULL, stacks->count + 1ull, sizeof(*rank));
	struct ingest_stack *sorted = reallocarray(NULL, stacks->count + 1ull, sizeof(*sorted));

	if (!order || !rank || !sorted) {
		free(order);
		free(rank);
		free(sorted);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < stacks->count; i++)
		order[i] = i;
	qsort_r(order, stacks->count, sizeof(*order), compare_uses, stacks->stacks);
	for (uint32_t i = 0; i < stacks->count; i++) {
		sorted[i] = stacks->stacks[order[i]];
		rank[order[i]] = i;
	}
	stacks->of_raw[0] = UINT32_MAX;
	for (uint32_t id = 1; id <= stream->stack_count; id++) {
		uint32_t begin = used[id] ? tree->begin[tree->of_raw[id]] : 0;

		stacks->of_raw[id] = begin && of_canonical[begin] != UINT32_MAX ?
					     rank[of_canonical[begin]] :
					     UINT32_MAX;
	}
	free(stacks->stacks);
	stacks->stacks = sorted;
	free(order);
	free(rank);
	return 0;
}

int ingest_stacks_make(struct ingest_stacks *stacks, struct code *code, struct types *types)
{
	const struct stream *stream = code->stream;
	struct tree tree = { 0 };
	uint32_t *of_canonical = NULL;
	uint64_t *uses = NULL;
	uint8_t *used;
	int r = -ENOMEM;

	memset(stacks, 0, sizeof(*stacks));
	stacks->of_raw = reallocarray(NULL, stream->stack_count + 1ull, sizeof(*stacks->of_raw));
	used = mark_used(stream);
	if (!used || !stacks->of_raw)
		goto done;
	r = make_tree(&tree, code, used);
	if (r >= 0)
		r = find_begins(&tree, code);
	if (r < 0)
		goto done;
	r = -ENOMEM;
	uses = calloc(tree.count, sizeof(*uses));
	of_canonical = malloc(tree.count * sizeof(*of_canonical));
	stacks->stacks = reallocarray(NULL, tree.count, sizeof(*stacks->stacks));
	if (!uses || !of_canonical || !stacks->stacks)
		goto done;
	memset(of_canonical, 0xff, tree.count * sizeof(*of_canonical));
	for (uint32_t i = 0; i < stream->node_count; i++)
		uses[tree.of_raw[stream->node_stack[i]]]++;
	/* what reaches its beginning through allocator frames counts there; parents come later in this walk */
	for (uint32_t id = tree.count; id-- > 1;) {
		uint32_t begin = tree.begin[id];

		if (begin != id) {
			uses[begin] += uses[id];
			uses[id] = 0;
		}
	}
	r = make_stacks(stacks, &tree, code, types, of_canonical, uses);
	if (r >= 0)
		r = number_stacks(stacks, &tree, stream, used, of_canonical);
done:
	free(used);
	free(uses);
	free(of_canonical);
	free(tree.nodes);
	free(tree.index);
	free(tree.of_raw);
	free(tree.begin);
	return r;
}

void ingest_stacks_done(struct ingest_stacks *stacks)
{
	free(stacks->stacks);
	free(stacks->of_raw);
	free(stacks->frame_ids);
	memset(stacks, 0, sizeof(*stacks));
}
