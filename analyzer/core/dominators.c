/* SPDX-License-Identifier: Apache-2.0
 * L3  dominators.c - the dominator tree by semi-NCA (Georgiadis and Tarjan).
 *
 *   1. Depth-first numbering from `top`. From here on ids are preorder numbers: a parent is smaller
 *      than its children, so most memory accesses of the main loop are near each other.
 *   2. The reverse graph in preorder numbers, by counting.
 *   3. Semidominators from the last number to the first, with path compression over the part of the
 *      tree that is already done. No buckets: that is what semi-NCA saves over Lengauer and Tarjan.
 *   4. Dominators from the first number to the last: the nearest common ancestor of the parent and
 *      the semidominator is found by walking up the dominators that are already known.
 *
 * Every walk keeps its own stack: linked lists make trees that are millions deep. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dominators.h"

struct work {
	const struct heap *heap;
	const struct reach *reach;
	const struct reach_leaks *leaks;
	uint32_t top, lost, count;
	uint32_t *number;		/* id -> preorder number */
	uint32_t *order;		/* preorder number -> id */
	uint32_t *parent;		/* the arrays from here on are by preorder number */
	uint32_t *semi, *label, *idom;
	uint64_t *pred_start;
	uint32_t *pred;
};

/* The successors of any id as one range, [0, length): virtual nodes count upwards, others by CSR. */
static uint64_t successors(const struct work *w, uint32_t id)
{
	if (id == w->top)
		return (uint64_t)w->heap->roots + 1 + w->reach->loader_count;
	if (id == w->lost)
		return w->leaks->head_count;
	return w->heap->edge_start[id + 1] - w->heap->edge_start[id];
}

/* The i-th successor, or HEAP_NONE where the edge does not count. */
static uint32_t successor(const struct work *w, uint32_t id, uint64_t i)
{
	uint32_t to;

	if (id == w->top) {
		if (i < w->heap->roots)
			return w->heap->nodes + (uint32_t)i;
		return i == w->heap->roots ? w->lost : w->reach->loader[i - w->heap->roots - 1];
	}
	if (id == w->lost)
		return w->leaks->head[i];
	to = w->heap->edge_to[w->heap->edge_start[id] + i];
	return reach_edge_counts(w->reach, id, to) ? to : HEAP_NONE;
}

/* Step 1. Uses semi as the path and pred_start as the position in each path element: both are free
 * until later. A node's predecessors are counted on the way, in label. */
static void number_nodes(struct work *w)
{
	uint32_t *path = w->semi, *pred_count = w->label;
	uint64_t *position = w->pred_start;
	uint32_t next = 0, depth = 0;

	memset(w->number, 0xff, (size_t)w->count * sizeof(*w->number));
	memset(pred_count, 0, (size_t)w->count * sizeof(*pred_count));
	w->number[w->top] = next;
	w->order[next] = w->top;
	w->parent[next++] = 0;
	path[0] = w->top;
	position[0] = 0;
	for (;;) {
		uint32_t id = path[depth];

		if (position[depth] == successors(w, id)) {
			if (depth-- == 0)
				break;
			continue;
		}
		uint32_t to = successor(w, id, position[depth]++);
		if (to == HEAP_NONE)
			continue;
		pred_count[to]++;	/* by id here: numbers are not complete yet */
		if (w->number[to] != HEAP_NONE)
			continue;
		w->number[to] = next;
		w->order[next] = to;
		w->parent[next++] = w->number[id];
		path[++depth] = to;
		position[depth] = 0;
	}
}

/* Step 2. */
static int reverse_edges(struct work *w)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		w->pred_start[i] = total;
		total += w->label[w->order[i]];
	}
	w->pred_start[w->count] = total;
	w->pred = malloc((total + 1) * sizeof(*w->pred));
	if (!w->pred)
		return -ENOMEM;

	/* Sources in preorder, so each list comes out ascending; pred_start is moved up by the filling
	 * and moved back by one place after it. */
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t id = w->order[i];
		uint64_t length = successors(w, id);

		for (uint64_t k = 0; k < length; k++) {
			uint32_t to = successor(w, id, k);

			if (to != HEAP_NONE)
				w->pred[w->pred_start[w->number[to]]++] = i;
		}
	}
	memmove(w->pred_start + 1, w->pred_start, (size_t)w->count * sizeof(*w->pred_start));
	w->pred_start[0] = 0;
	return 0;
}

/* The number with the smallest semidominator on the forest path above v, where numbers >= `linked`
 * hang in the forest. Compresses the path; `ancestor` is the forest, path a stack to walk it. */
static uint32_t evaluate(struct work *w, uint32_t *ancestor, uint32_t *path, uint32_t v, uint32_t linked)
{
	uint32_t depth = 0;

	if (v < linked)
		return v;
	while (ancestor[v] >= linked) {
		path[depth++] = v;
		v = ancestor[v];
	}
	while (depth > 0) {
		uint32_t u = path[--depth];

		if (w->semi[w->label[v]] < w->semi[w->label[u]])
			w->label[u] = w->label[v];
		ancestor[u] = ancestor[v];
		v = u;
	}
	return w->label[v];
}

/* Steps 3 and 4. `ancestor` begins as a copy of parent; number and idom are free to be used. */
static void find_dominators(struct work *w)
{
	uint32_t *ancestor = w->number, *path = w->idom;

	for (uint32_t v = 0; v < w->count; v++) {
		w->semi[v] = w->label[v] = v;
		ancestor[v] = w->parent[v];
	}
	for (uint32_t v = w->count - 1; v > 0; v--) {
		uint32_t semi = w->parent[v];

		for (uint64_t e = w->pred_start[v]; e < w->pred_start[v + 1]; e++) {
			uint32_t best = w->semi[evaluate(w, ancestor, path, w->pred[e], v + 1)];

			if (best < semi)
				semi = best;
		}
		w->semi[v] = semi;
	}
	w->idom[0] = 0;
	for (uint32_t v = 1; v < w->count; v++) {
		uint32_t d = w->parent[v];

		while (d > w->semi[v])
			d = w->idom[d];
		w->idom[v] = d;
	}
}

int dominators_compute(const struct heap *heap, const struct reach *reach,
		       const struct reach_leaks *leaks, struct dominators **ret_tree)
{
	struct work w = { .heap = heap, .reach = reach, .leaks = leaks };
	struct dominators *tree;
	size_t n;
	int r = -ENOMEM;

	if ((uint64_t)heap->nodes + heap->roots + 2 >= HEAP_NONE)
		return -EOVERFLOW;
	w.top = heap->nodes + heap->roots;
	w.lost = w.top + 1;
	w.count = w.top + 2;
	n = w.count;

	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	w.number = malloc(n * sizeof(uint32_t));
	w.order = malloc(n * sizeof(uint32_t));
	w.parent = malloc(n * sizeof(uint32_t));
	w.semi = malloc(n * sizeof(uint32_t));
	w.label = malloc(n * sizeof(uint32_t));
	w.idom = malloc(n * sizeof(uint32_t));
	w.pred_start = malloc((n + 1) * sizeof(uint64_t));
	if (!w.number || !w.order || !w.parent || !w.semi || !w.label || !w.idom || !w.pred_start)
		goto fail;

	number_nodes(&w);
	r = reverse_edges(&w);
	if (r < 0)
		goto fail;
	find_dominators(&w);

	/* Back from preorder numbers to ids, in an array that has done its work. */
	for (uint32_t v = 0; v < w.count; v++)
		w.number[w.order[v]] = w.order[w.idom[v]];
	tree->count = w.count;
	tree->top = w.top;
	tree->lost = w.lost;
	tree->idom = w.number;
	tree->order = w.order;
	*ret_tree = tree;
	w.number = w.order = NULL;
	tree = NULL;
	r = 0;
fail:
	free(tree);
	free(w.number);
	free(w.order);
	free(w.parent);
	free(w.semi);
	free(w.label);
	free(w.idom);
	free(w.pred_start);
	free(w.pred);
	return r;
}

struct dominators *dominators_free(struct dominators *tree)
{
	if (tree) {
		free(tree->idom);
		free(tree->order);
		free(tree);
	}
	return NULL;
}

void dominators_retain(const struct dominators *tree, uint32_t nodes, const uint64_t *weight,
		       uint64_t *ret_retained)
{
	memcpy(ret_retained, weight, (size_t)nodes * sizeof(*weight));
	memset(ret_retained + nodes, 0, (size_t)(tree->count - nodes) * sizeof(*weight));
	for (uint32_t i = tree->count - 1; i > 0; i--) {
		uint32_t id = tree->order[i];

		ret_retained[tree->idom[id]] += ret_retained[id];
	}
}

int dominators_number(const struct dominators *tree, struct dominators_span *ret_span)
{
	size_t n = tree->count;
	uint32_t *first = calloc(n, sizeof(*first));
	uint32_t *last = calloc(n, sizeof(*last));

	if (!first || !last) {
		free(first);
		free(last);
		return -ENOMEM;
	}
	/* Sizes of subtrees in `last`, then places: each node takes the next free interval of its
	 * dominator's, whose fill is kept in the dominator's own `last` until all are placed. */
	for (uint32_t i = tree->count - 1; i > 0; i--) {
		uint32_t id = tree->order[i];

		last[tree->idom[id]] += ++last[id];
	}
	last[tree->top] = 1;		/* next free place below top */
	for (uint32_t i = 1; i < tree->count; i++) {
		uint32_t id = tree->order[i], size = last[id];

		first[id] = last[tree->idom[id]];
		last[tree->idom[id]] += size;
		last[id] = first[id] + 1;
	}
	/* Each `last` has grown to the end of its own interval. */
	ret_span->first = first;
	ret_span->last = last;
	return 0;
}

void dominators_span_done(struct dominators_span *span)
{
	free(span->first);
	free(span->last);
	span->first = span->last = NULL;
}
