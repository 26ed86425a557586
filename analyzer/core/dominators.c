/* SPDX-License-Identifier: Apache-2.0
 * L3  dominators.c - the dominator tree by semi-NCA (Georgiadis and Tarjan).
 *
 *   1. Depth-first numbering from `top`. From here on ids are preorder numbers: a parent is smaller
 *      than its children, so most memory accesses of the main loop are near each other. References
 *      that became tree edges are told by `parent`; only the others are stored, reversed.
 *   2. These others, by counting.
 *   3. Semidominators from the last number to the first, with path compression over the part of the
 *      tree that is already done. No buckets: that is what semi-NCA saves over Lengauer and Tarjan.
 *   4. Dominators from the first number to the last: the nearest common ancestor of the parent and
 *      the semidominator is found by walking up the dominators that are already known.
 *   5. Intervals, and back from numbers to ids.
 *
 * Arrays are used again as soon as what they hold is no longer asked for; each step says of which.
 * Every walk keeps its own stack: linked lists make trees that are millions deep. What bounds the time
 * is memory that is not in the cache, so steps 1, 2 and 5 ask for it some elements ahead. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dominators.h"
#include "core/large.h"

#define AHEAD 8u			/* elements whose memory is asked for in advance */

struct link {				/* of a number in the forest of step 3 */
	uint32_t ancestor;
	uint32_t label;			/* smallest semidominator on the compressed path, itself included */
};

struct work {
	const struct heap *heap;
	const uint8_t *region;
	uint32_t top, lost, count;
	uint32_t *top_to;		/* what top refers to: roots, lost, blocks of the dynamic linker */
	uint32_t top_count;
	const uint32_t *lost_to;
	uint32_t lost_count;
	uint32_t *number;		/* id -> preorder number */
	uint32_t *order;		/* preorder number -> id */
	uint32_t *parent;		/* the arrays from here on are by preorder number; becomes the dominator */
	uint32_t *pred_start;		/* into pred, count + 1 long; becomes the semidominator */
	uint32_t *pred;			/* numbers that refer to it, its parent left out */
	struct link *forest;
};

struct targets {
	const uint32_t *at;
	uint32_t count;
	uint8_t region;			/* only targets whose region is not smaller count */
};

static inline struct targets targets_of(const struct work *w, uint32_t id)
{
	if (id < w->top)
		return (struct targets){ w->heap->edge_to + w->heap->edge_start[id],
					 (uint32_t)(w->heap->edge_start[id + 1] - w->heap->edge_start[id]), w->region[id] };
	return id == w->top ? (struct targets){ w->top_to, w->top_count, 0 } :
	       (struct targets){ w->lost_to, w->lost_count, 0 };
}

static inline bool target_counts(const struct work *w, struct targets t, uint32_t to)
{
	/* most sources are held by something strong, and then every edge counts */
	return t.region == REACH_HELD || to >= w->top || w->region[to] >= t.region;
}

static void fetch_targets(const struct work *w, struct targets t)
{
	for (uint32_t i = 0; i < t.count && i < AHEAD; i++) {
		__builtin_prefetch(&w->number[t.at[i]]);
		if (t.at[i] < w->top) {
			__builtin_prefetch(&w->heap->edge_start[t.at[i]]);
			__builtin_prefetch(&w->region[t.at[i]]);
		}
	}
}

/* Step 1. forest[v].ancestor is the position in the targets of each number on the path to the root. The
 * references that are no tree edges are counted in pred_start. */
static void number_nodes(struct work *w)
{
	struct link *position = w->forest;
	uint32_t next = 1, v = 0;
	struct targets t = targets_of(w, w->top);

	memset(w->number, 0xff, (size_t)w->count * sizeof(*w->number));
	memset(w->pred_start, 0, ((size_t)w->count + 1) * sizeof(*w->pred_start));
	w->number[w->top] = 0;
	w->order[0] = w->top;
	w->parent[0] = 0;
	position[0].ancestor = 0;
	for (;;) {
		uint32_t i = position[v].ancestor, to = HEAP_NONE;

		for (; i < t.count; i++) {
			uint32_t known;

			if (i + AHEAD < t.count)
				__builtin_prefetch(&w->number[t.at[i + AHEAD]]);
			if (!target_counts(w, t, t.at[i]))
				continue;
			known = w->number[t.at[i]];
			if (known == HEAP_NONE) {
				to = t.at[i++];
				break;
			}
			if (w->parent[known] != v)
				w->pred_start[known]++;
		}
		position[v].ancestor = i;
		if (to != HEAP_NONE) {
			if (i < t.count && t.at[i] < w->top)	/* whoever stands next */
				__builtin_prefetch(w->heap->edge_to + w->heap->edge_start[t.at[i]]);
			w->number[to] = next;
			w->order[next] = to;
			w->parent[next] = v;
			position[next].ancestor = 0;
			v = next++;
			t = targets_of(w, to);
			fetch_targets(w, t);
		} else if (v) {
			v = w->parent[v];
			t = targets_of(w, w->order[v]);
		} else {
			return;
		}
	}
}

/* Step 2. */
static int reverse_edges(struct work *w)
{
	uint64_t total = 0;

	for (uint32_t v = 0; v < w->count; v++) {
		uint32_t length = w->pred_start[v];

		w->pred_start[v] = (uint32_t)total;
		total += length;
	}
	w->pred_start[w->count] = (uint32_t)total;
	w->pred = large_array(total, sizeof(*w->pred));
	if (!w->pred)
		return -ENOMEM;

	/* Sources in preorder, so each list comes out ascending; pred_start is moved up by the filling
	 * and moved back by one place after it. */
	for (uint32_t v = 0; v < w->count; v++) {
		struct targets t = targets_of(w, w->order[v]);

		if (v + 3 * AHEAD < w->count && w->order[v + 3 * AHEAD] < w->top)
			__builtin_prefetch(&w->heap->edge_start[w->order[v + 3 * AHEAD]]);
		if (v + 2 * AHEAD < w->count)
			__builtin_prefetch(targets_of(w, w->order[v + 2 * AHEAD]).at);
		if (v + AHEAD < w->count) {
			struct targets later = targets_of(w, w->order[v + AHEAD]);

			for (uint32_t i = 0; i < later.count && i < 4; i++)
				__builtin_prefetch(&w->number[later.at[i]]);
		}
		for (uint32_t i = 0; i < t.count; i++) {
			uint32_t to;

			if (i + AHEAD < t.count)
				__builtin_prefetch(&w->number[t.at[i + AHEAD]]);
			if (!target_counts(w, t, t.at[i]))
				continue;
			to = w->number[t.at[i]];
			if (w->parent[to] != v)
				w->pred[w->pred_start[to]++] = v;
		}
	}
	memmove(w->pred_start + 1, w->pred_start, (size_t)w->count * sizeof(*w->pred_start));
	w->pred_start[0] = 0;
	return 0;
}

/* The smallest semidominator on the forest path above v, where numbers >= `linked` hang in the forest.
 * Compresses the path; `path` is a stack to walk it. */
static inline uint32_t evaluate(struct link *forest, uint32_t *path, uint32_t v, uint32_t linked)
{
	uint32_t depth = 0;
	struct link above;

	while (forest[v].ancestor >= linked) {
		path[depth++] = v;
		v = forest[v].ancestor;
	}
	above = forest[v];
	while (depth > 0) {
		struct link *link = &forest[path[--depth]];

		if (link->label < above.label)
			above.label = link->label;
		*link = above;
	}
	return above.label;
}

/* Steps 3 and 4. The path is in `number`, which nobody asks any more; a semidominator takes the place
 * of the start of its predecessors, which have been seen then. */
static void find_dominators(struct work *w)
{
	uint32_t end = w->pred_start[w->count], *semi = w->pred_start;

	for (uint32_t v = 0; v < w->count; v++)
		w->forest[v] = (struct link){ w->parent[v], v };
	for (uint32_t v = w->count - 1; v > 0; v--) {
		uint32_t start = w->pred_start[v], best = w->parent[v];

		for (uint32_t e = start > 2 * AHEAD ? start - 2 * AHEAD : 0, n = end - start; n && e < start; e++, n--)
			__builtin_prefetch(&w->forest[w->pred[e]]);
		for (uint32_t e = start; e < end; e++) {
			uint32_t from = w->pred[e];

			if (from > v)
				from = evaluate(w->forest, w->number, from, v + 1);
			if (from < best)
				best = from;
		}
		end = start;
		w->forest[v].label = best;
		semi[v] = best;
	}
	for (uint32_t v = 1; v < w->count; v++) {
		uint32_t d = w->parent[v];

		while (d > semi[v])
			d = w->parent[d];
		w->parent[v] = d;
	}
}

/* Step 5. The forest is two arrays now, the semidominators a third; what is read by number is written by id into
 * the array that was read for the last time just before. */
static void make_tree(struct work *w, struct dominators *tree)
{
	uint32_t *next = (uint32_t *)w->forest, *last = next + w->count, *first = w->pred_start;

	for (uint32_t v = 0; v < w->count; v++)
		last[v] = 1;
	for (uint32_t v = w->count - 1; v > 0; v--)
		last[w->parent[v]] += last[v];
	/* Each takes the next free interval of its dominator's, as long as it holds nodes. */
	first[0] = 0;
	next[0] = 1;
	for (uint32_t v = 1; v < w->count; v++) {
		first[v] = next[w->parent[v]];
		next[w->parent[v]] += last[v];
		next[v] = first[v] + 1;
		last[v] += first[v];
	}
	tree->idom = w->number;
	for (uint32_t v = 0; v < w->count; v++) {
		if (v + 2 * AHEAD < w->count)
			__builtin_prefetch(&tree->idom[w->order[v + 2 * AHEAD]], 1);
		tree->idom[w->order[v]] = w->order[w->parent[v]];
	}
	tree->first = w->parent;
	tree->order = next;
	for (uint32_t v = 0; v < w->count; v++) {
		if (v + 2 * AHEAD < w->count) {
			__builtin_prefetch(&tree->first[w->order[v + 2 * AHEAD]], 1);
			__builtin_prefetch(&tree->order[first[v + 2 * AHEAD]], 1);
		}
		tree->first[w->order[v]] = first[v];
		tree->order[first[v]] = w->order[v];
	}
	tree->last = w->pred_start;
	for (uint32_t v = 0; v < w->count; v++) {
		if (v + 2 * AHEAD < w->count)
			__builtin_prefetch(&tree->last[w->order[v + 2 * AHEAD]], 1);
		tree->last[w->order[v]] = last[v];
	}
	w->number = w->parent = w->pred_start = NULL;
	w->forest = NULL;
	large_shorten(tree->order, w->count, sizeof(uint32_t));
}

static int list_top(struct work *w, const struct reach *reach)
{
	w->top_count = w->heap->roots + 1 + reach->loader_count;
	w->top_to = malloc((size_t)w->top_count * sizeof(*w->top_to));
	if (!w->top_to)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->heap->roots; i++)
		w->top_to[i] = w->heap->nodes + i;
	w->top_to[w->heap->roots] = w->lost;
	for (uint32_t i = 0; i < reach->loader_count; i++)
		w->top_to[w->heap->roots + 1 + i] = reach->loader[i];
	return 0;
}

int dominators_compute(const struct heap *heap, const struct reach *reach,
		       const struct reach_leaks *leaks, struct dominators **ret_tree)
{
	struct work w = { .heap = heap, .region = reach->region, .lost_to = leaks->head, .lost_count = leaks->head_count };
	struct dominators *tree;
	int r = -ENOMEM;

	if ((uint64_t)heap->nodes + heap->roots + 2 >= HEAP_NONE ||
	    heap->edges + heap->roots + leaks->head_count + reach->loader_count >= HEAP_NONE)
		return -EOVERFLOW;
	w.top = heap->nodes + heap->roots;
	w.lost = w.top + 1;
	w.count = w.top + 2;

	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	tree->count = w.count;
	tree->top = w.top;
	tree->lost = w.lost;
	w.number = large_array(w.count, sizeof(uint32_t));
	w.order = large_array(w.count, sizeof(uint32_t));
	w.parent = large_array(w.count, sizeof(uint32_t));
	w.pred_start = large_array(w.count + 1ull, sizeof(uint32_t));
	w.forest = large_array(w.count, sizeof(*w.forest));
	if (!w.number || !w.order || !w.parent || !w.pred_start || !w.forest || list_top(&w, reach) < 0)
		goto fail;

	number_nodes(&w);
	r = reverse_edges(&w);
	if (r < 0)
		goto fail;
	find_dominators(&w);
	large_free(w.pred);
	w.pred = NULL;
	make_tree(&w, tree);
	*ret_tree = tree;
	tree = NULL;
fail:
	dominators_free(tree);
	free(w.top_to);
	large_free(w.number);
	large_free(w.order);
	large_free(w.parent);
	large_free(w.pred_start);
	large_free(w.pred);
	large_free(w.forest);
	return r;
}

struct dominators *dominators_free(struct dominators *tree)
{
	if (tree) {
		large_free(tree->idom);
		large_free(tree->order);
		large_free(tree->first);
		large_free(tree->last);
		free(tree);
	}
	return NULL;
}

void dominators_retain(const struct dominators *tree, uint64_t *sums)
{
	for (uint32_t i = tree->count - 1; i > 0; i--) {
		uint32_t id = tree->order[i];

		if (i > 2 * AHEAD) {
			__builtin_prefetch(&sums[tree->order[i - 2 * AHEAD]]);
			__builtin_prefetch(&tree->idom[tree->order[i - 2 * AHEAD]]);
		}
		sums[tree->idom[id]] += sums[id];
	}
}
