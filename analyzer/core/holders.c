/* SPDX-License-Identifier: Apache-2.0
 * L7  holders.c - see holders.h.
 *
 * One pass down the dominator tree finds the gate of every node, one pass over the references finds who refers to
 * shared gates from outside. Only when something is shared at all. */
#include "core/holders.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/intern.h"
#include "core/large.h"
#include "core/weigh.h"

#define NO_CLUSTER 0xff			/* GROWTH_MAX_CLUSTERS is less */

_Static_assert(GROWTH_MAX_CLUSTERS < NO_CLUSTER, "a cluster's number fits into a byte");

struct share {				/* what one gate carries of one cluster */
	uint32_t cluster;
	uint64_t count, bytes;
};

struct search {
	const struct growth *growth;
	const struct heap *heap;
	const struct reach *reach;
	struct holders *holders;
	uint8_t *cluster_of;		/* by node: the cluster in which it counts */
	uint32_t *gate_of;		/* by node: gate, or the root that dominates it; HEAP_NONE = none */
	uint32_t *share_at;		/* by gate: its entry in shares + 1, 0 = it carries nothing; few do, most pages stay unused */
	struct share *shares;
	uint32_t share_count, share_room;
	struct intern seen;		/* (gate, root) pairs that are counted */
	struct meeting { uint32_t gate, root; } *meetings;	/* the same */
	uint32_t meeting_count, meeting_room;
	bool linked[NO_CLUSTER];	/* by cluster: its gates refer to each other */
};

static bool is_python_name(const struct heap *heap, uint32_t v)
{
	const struct heap_type *type = &heap->types[heap->type[v]];

	return type->source == HEAP_TYPE_PYTHON && (!strcmp(type->name, "module") || !strcmp(type->name, "type"));
}

static int add_share(struct search *s, uint32_t gate, uint32_t cluster, uint64_t count, uint64_t bytes)
{
	struct share *share;

	if (s->share_at[gate] == 0) {
		if (s->share_count == s->share_room) {
			uint32_t wider = s->share_room ? s->share_room * 2 : 64;
			struct share *grown = realloc(s->shares, (size_t)wider * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			s->shares = grown;
			s->share_room = wider;
		}
		s->share_at[gate] = s->share_count + 1;
		s->shares[s->share_count++] = (struct share){ .cluster = cluster };
	}
	share = &s->shares[s->share_at[gate] - 1];
	if (share->cluster != cluster)		/* rare: the first cluster speaks for the gate */
		return 0;
	share->count += count;
	share->bytes += bytes;
	s->holders[cluster].shared_count += count;
	s->holders[cluster].shared_bytes += bytes;
	return 0;
}

/* Down the tree: the gate of each node, and what shared gates carry. */
static int find_gates(struct search *s)
{
	const struct dominators *tree = s->growth->tree;
	const struct heap *heap = s->heap;
	int r = 0;

	for (uint32_t i = 0; i < tree->count && r == 0; i++) {
		uint32_t id = tree->order[i], up = tree->idom[id];

		if (id >= heap->nodes)
			continue;
		if (up >= heap->nodes && up < heap->nodes + heap->roots)
			s->gate_of[id] = up;
		else if (up == tree->top)
			s->gate_of[id] = id;
		else
			s->gate_of[id] = up < heap->nodes ? s->gate_of[up] : HEAP_NONE;
		uint32_t gate = s->gate_of[id], cluster = s->cluster_of[id];

		if (cluster != NO_CLUSTER && gate < heap->nodes && !is_python_name(heap, gate))
			r = add_share(s, gate, cluster, weigh_count(heap, id), s->growth->bytes[id]);
	}
	return r;
}

static int add_meeting(struct search *s, uint32_t gate, uint32_t root)
{
	if (s->meeting_count == s->meeting_room) {
		uint32_t wider = s->meeting_room ? s->meeting_room * 2 : 64;
		struct meeting *grown = realloc(s->meetings, (size_t)wider * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->meetings = grown;
		s->meeting_room = wider;
	}
	s->meetings[s->meeting_count++] = (struct meeting){ gate, root };
	return 0;
}

static void add_holder(struct holders *h, uint32_t root, const struct share *share)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->list[i].root == root) {
			h->list[i].count += share->count;
			h->list[i].bytes += share->bytes;
			return;
		}
	if (h->count == HOLDERS_SHOWN)
		h->more++;
	else
		h->list[h->count++] = (struct holder){ root, share->count, share->bytes };
}

/* Who refers to a shared gate from outside of it? */
static int meet_reference(struct search *s, uint32_t from, uint32_t gate)
{
	const struct share *share = &s->shares[s->share_at[gate] - 1];
	uint32_t root;
	int is_new;

	if (from >= s->heap->nodes) {
		root = from - s->heap->nodes;
	} else {
		uint32_t other = s->gate_of[from];

		if (other == gate)
			return 0;
		if (other < s->heap->nodes && s->share_at[other] != 0 &&
		    s->shares[s->share_at[other] - 1].cluster == share->cluster) {
			s->linked[share->cluster] = true;	/* a list: who holds one holds those behind it */
			return 0;
		}
		root = other != HEAP_NONE && other >= s->heap->nodes ? other - s->heap->nodes :
		       reach_root_of(s->heap, s->reach, from);
	}
	if (root == HEAP_NONE)
		return 0;
	if (intern_number(&s->seen, intern_pair(gate, root), &is_new) < 0)
		return -ENOMEM;
	if (!is_new)
		return 0;
	add_holder(&s->holders[share->cluster], root, share);
	return add_meeting(s, gate, root);
}

static int find_referrers(struct search *s)
{
	const struct heap *heap = s->heap;
	int r = 0;

	for (uint32_t v = 0; v < heap->nodes + heap->roots && r == 0; v++) {
		if (s->reach->region[v] == REACH_NONE)
			continue;
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1] && r == 0; e++) {
			uint32_t to = heap->edge_to[e];

			if (s->share_at[to] != 0 && to != v && reach_edge_counts(s->reach, v, to))
				r = meet_reference(s, v, to);
		}
	}
	return r;
}

/* In a cluster whose gates refer to each other: all that one holder leads to. */
static void follow_links(struct search *s, uint32_t cluster, struct holder *holder, uint32_t *queue, uint8_t *seen)
{
	const struct heap *heap = s->heap;
	uint32_t from = 0, to = 0;

	memset(seen, 0, heap->nodes);
	for (uint32_t i = 0; i < s->meeting_count; i++)
		if (s->meetings[i].root == holder->root && !seen[s->meetings[i].gate] &&
		    s->shares[s->share_at[s->meetings[i].gate] - 1].cluster == cluster) {
			seen[s->meetings[i].gate] = 1;
			queue[to++] = s->meetings[i].gate;
		}
	holder->count = holder->bytes = 0;
	while (from < to) {
		uint32_t v = queue[from++];

		if (s->share_at[v] != 0) {
			holder->count += s->shares[s->share_at[v] - 1].count;
			holder->bytes += s->shares[s->share_at[v] - 1].bytes;
		}
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
			uint32_t w = heap->edge_to[e], gate = s->gate_of[w];

			if (seen[w] || !reach_edge_counts(s->reach, v, w) || gate >= heap->nodes ||
			    s->share_at[gate] == 0 || s->shares[s->share_at[gate] - 1].cluster != cluster)
				continue;
			seen[w] = 1;
			queue[to++] = w;
		}
	}
}

static int follow_all_links(struct search *s)
{
	uint32_t *queue = NULL;
	uint8_t *seen = NULL;
	int r = 0;

	for (uint32_t c = 0; c < s->growth->cluster_count && r == 0; c++) {
		if (!s->linked[c])
			continue;
		if (!queue) {
			queue = large_array(s->heap->nodes, sizeof(*queue));
			seen = malloc((size_t)s->heap->nodes + 1);
			r = queue && seen ? 0 : -ENOMEM;
		}
		for (uint32_t i = 0; i < s->holders[c].count && r == 0; i++)
			follow_links(s, c, &s->holders[c].list[i], queue, seen);
	}
	large_free(queue);
	free(seen);
	return r;
}

static int compare_holders(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

/* The strongest kind of root speaks (2). */
static void keep_telling(struct search *s, struct holders *h)
{
	unsigned best = ~0u;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		unsigned tier = reach_root_tier(&s->heap->root[h->list[i].root]);

		best = tier < best ? tier : best;
	}
	for (uint32_t i = 0; i < h->count; i++) {
		const struct heap_root *root = &s->heap->root[h->list[i].root];

		if (best == 0 && reach_root_tier(root) && (root->kind == HEAP_ROOT_PY_C || root->kind == HEAP_ROOT_GLOBAL))
			continue;
		h->list[kept++] = h->list[i];
	}
	h->count = kept;
	qsort(h->list, h->count, sizeof(h->list[0]), compare_holders);
}

int holders_find(const struct growth *growth, struct holders **ret_holders)
{
	const struct series_heap *last = series_last(growth->series);
	struct search s = { .growth = growth, .heap = last->heap, .reach = last->reach };
	size_t n = (size_t)s.heap->nodes + 1;
	int r = -ENOMEM;

	s.holders = calloc((size_t)growth->cluster_count + 1, sizeof(*s.holders));
	s.cluster_of = large_array(n, 1);
	s.gate_of = large_array(n, sizeof(*s.gate_of));
	s.share_at = calloc(n, sizeof(*s.share_at));
	if (!s.holders || !s.cluster_of || !s.gate_of || !s.share_at)
		goto out;
	memset(s.cluster_of, NO_CLUSTER, n);
	for (uint32_t c = 0; c < growth->cluster_count; c++)
		for (uint32_t i = 0; i < growth->clusters[c].node_count && !growth->clusters[c].unreachable; i++)
			if (growth->clusters[c].counts[i])
				s.cluster_of[growth->clusters[c].node[i]] = (uint8_t)c;
	r = find_gates(&s);
	if (r == 0 && s.share_count)
		r = find_referrers(&s);
	for (uint32_t c = 0; c < growth->cluster_count; c++)
		keep_telling(&s, &s.holders[c]);
	if (r == 0)
		r = follow_all_links(&s);
out:
	intern_done(&s.seen);
	large_free(s.cluster_of);
	large_free(s.gate_of);
	free(s.share_at);
	free(s.shares);
	free(s.meetings);
	if (r < 0) {
		free(s.holders);
		return r;
	}
	*ret_holders = s.holders;
	return 0;
}
