/* SPDX-License-Identifier: Apache-2.0
 * L2  reach.c - reachability from the roots, and the components of what no root reaches.
 *
 * The flood is one breadth-first search over a queue of node ids that is filled tier by tier. The
 * unreachable rest is condensed into strongly connected components (Tarjan, with an explicit stack:
 * a leaked list may be millions long); a component that nothing else refers to is a source, and its
 * oldest member speaks for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/large.h"
#include "core/reach.h"

enum tier { TIER_GLOBAL, TIER_FRAME, TIER_TLS, TIER_PYTHON, TIER_MAPPING, TIER_STACK, TIER_SLOT, TIER_LIBRARY,
	    TIER_SCRATCH, TIER_REGISTER, TIER_COUNT };

static bool is_c_library(const char *module)
{
	/* The C library's own data (arenas, bins, stdio) points at chunk headers, which lie inside the
	 * preceding block: such references are true words but say nothing about who holds a block. */
	return module && (!strncmp(module, "libc.so", 7) || !strncmp(module, "libc-2.", 7) ||
			  !strncmp(module, "ld-linux", 8) || !strncmp(module, "ld-musl", 7) ||
			  !strncmp(module, "libc.musl", 9));
}

unsigned reach_root_tier(const struct heap_root *root)
{
	switch (root->kind) {
	case HEAP_ROOT_GLOBAL:
		/* CPython's own state reaches everything that a module or a frame holds: less telling */
		if (root->name && !strncmp(root->name, "_PyRuntime", 10))
			return TIER_PYTHON;
		return is_c_library(root->module) ? TIER_LIBRARY : TIER_GLOBAL;
	case HEAP_ROOT_PY_MODULE:
		return TIER_GLOBAL;
	case HEAP_ROOT_PY_FRAME:
		return TIER_FRAME;
	case HEAP_ROOT_TLS:
		return TIER_TLS;
	case HEAP_ROOT_PY_C:
		return TIER_PYTHON;
	case HEAP_ROOT_MAPPING:
		return TIER_MAPPING;
	case HEAP_ROOT_STACK:
		return is_c_library(root->module) ? TIER_SCRATCH :
		       heap_root_is_unnamed_slot(root) ? TIER_SLOT : TIER_STACK;
	case HEAP_ROOT_REGISTER:
		return TIER_REGISTER;
	}
	return TIER_MAPPING;		/* a kind that a newer writer added: it is writable memory at least */
}

static uint8_t region_of(unsigned tier)
{
	return tier < TIER_STACK ? REACH_HELD : (uint8_t)(tier - TIER_STACK + 1);
}

struct flood {
	const struct heap *heap;
	struct reach *reach;
	uint32_t *queue;
	uint32_t head, tail;
	uint8_t region;
	bool *boring;			/* by type: its references are followed last */
	uint32_t *later, later_count;	/* boring nodes that were met in this tier, and are not followed yet */
};

/* A function leads to all variables of its module, a frame to the frame that called it: true, and never the reason
 * why something lives. A way round them is the better one, though it be longer (MemLab's two queues). */
static bool is_boring(const struct heap_type *type)
{
	return type->source == HEAP_TYPE_PYTHON && (!strcmp(type->name, "function") || !strcmp(type->name, "frame") ||
						    !strcmp(type->name, "traceback"));
}

static bool find_boring(struct flood *flood)
{
	const struct heap *heap = flood->heap;
	uint32_t count = 0;
	bool any = false;

	for (uint32_t t = 0; t < heap->type_count; t++)
		any |= is_boring(&heap->types[t]);
	if (!any)
		return true;
	flood->boring = calloc((size_t)heap->type_count + 1, sizeof(*flood->boring));
	if (!flood->boring)
		return false;
	for (uint32_t t = 0; t < heap->type_count; t++)
		flood->boring[t] = is_boring(&heap->types[t]);
	for (uint32_t v = 0; v < heap->nodes; v++)
		count += flood->boring[heap->type[v]];
	flood->later = malloc(((size_t)count + 1) * sizeof(*flood->later));
	return flood->later != NULL;
}

static void expand(struct flood *flood, uint32_t source)
{
	const struct heap *heap = flood->heap;

	for (uint64_t e = heap->edge_start[source]; e < heap->edge_start[source + 1]; e++) {
		uint32_t to = heap->edge_to[e];

		if (flood->reach->region[to] != REACH_NONE)
			continue;
		flood->reach->region[to] = flood->region;
		flood->reach->parent[to] = source;
		flood->queue[flood->tail++] = to;
	}
}

static bool is_loader(const char *module)
{
	return !strncmp(module, "ld-linux", 8) || !strncmp(module, "ld-musl", 7) || !strncmp(module, "ld.so", 5);
}

/* Reach what the dynamic linker allocated and nothing has reached so far (5). */
static int reach_loader_blocks(struct flood *flood)
{
	const struct heap *heap = flood->heap;
	struct reach *reach = flood->reach;
	bool *of_loader = calloc((size_t)heap->stack_count + 1, sizeof(*of_loader));
	uint32_t count = 0;

	if (!of_loader)
		return -ENOMEM;
	for (uint32_t s = 0; s < heap->stack_count; s++)
		of_loader[s] = heap->stacks[s].frame_count &&
			       is_loader(heap->frames[heap->stacks[s].frames[0]].module);
	for (int pass = 0; pass < 2; pass++) {
		count = 0;
		for (uint32_t v = 0; v < heap->nodes; v++) {
			if (reach->region[v] != REACH_NONE || heap->stack[v] >= heap->stack_count ||
			    !of_loader[heap->stack[v]])
				continue;
			if (pass) {
				reach->loader[count] = v;
				reach->region[v] = flood->region;
				flood->queue[flood->tail++] = v;
			}
			count++;
		}
		if (!pass) {
			reach->loader = malloc(((size_t)count + 1) * sizeof(*reach->loader));
			if (!reach->loader) {
				free(of_loader);
				return -ENOMEM;
			}
		}
	}
	reach->loader_count = count;
	free(of_loader);
	return 0;
}

int reach_flood(const struct heap *heap, struct reach **ret_reach)
{
	struct flood flood = { .heap = heap };
	struct reach *reach;
	bool failed = false;

	reach = calloc(1, sizeof(*reach));
	if (!reach)
		return -ENOMEM;
	reach->region = large_array((uint64_t)heap->nodes + heap->roots, 1);
	reach->parent = large_array((uint64_t)heap->nodes + heap->roots, sizeof(*reach->parent));
	flood.queue = large_array(heap->nodes, sizeof(*flood.queue));
	flood.reach = reach;
	if (!reach->region || !reach->parent || !flood.queue || !find_boring(&flood)) {
		large_free(flood.queue);
		free(flood.boring);
		reach_free(reach);
		return -ENOMEM;
	}
	memset(reach->region, REACH_NONE, heap->nodes);
	memset(reach->parent, 0xff, ((size_t)heap->nodes + heap->roots) * sizeof(*reach->parent));
	for (uint32_t i = 0; i < heap->roots; i++)
		reach->region[heap->nodes + i] = region_of(reach_root_tier(&heap->root[i]));

	for (unsigned tier = 0; tier < TIER_COUNT; tier++) {
		flood.region = region_of(tier);
		if (tier == TIER_LIBRARY)	/* what the earlier tiers passed over */
			for (uint32_t i = 0, met = flood.tail; i < met; i++)
				if (heap->flags[flood.queue[i]] & HEAP_HIDDEN)
					expand(&flood, flood.queue[i]);
		/* Roots come by address: the program's variables before those of libraries. Of a
		 * stack's frames the outer ones are last, and they have held what they hold for longest. */
		bool last_first = tier == TIER_STACK || tier == TIER_SLOT || tier == TIER_SCRATCH;
		for (uint32_t i = 0; i < heap->roots; i++) {
			uint32_t root = last_first ? heap->roots - 1 - i : i;

			if (reach_root_tier(&heap->root[root]) == tier)
				expand(&flood, heap->nodes + root);
		}
		if (tier == TIER_LIBRARY)
			failed = reach_loader_blocks(&flood) < 0;
		while (flood.head < flood.tail || (flood.later_count && tier != TIER_GLOBAL)) {
			bool last = flood.head == flood.tail;
			uint32_t node = last ? flood.later[--flood.later_count] : flood.queue[flood.head++];

			if (!last && flood.boring && flood.boring[heap->type[node]])
				flood.later[flood.later_count++] = node;
			else if (tier >= TIER_LIBRARY || !(heap->flags[node] & HEAP_HIDDEN))
				expand(&flood, node);
		}
	}
	free(flood.boring);
	free(flood.later);
	reach->reached = flood.tail;
	reach->order = flood.queue;
	if (failed) {
		reach_free(reach);
		return -ENOMEM;
	}
	*ret_reach = reach;
	return 0;
}

struct reach *reach_free(struct reach *reach)
{
	if (reach) {
		large_free(reach->region);
		large_free(reach->parent);
		large_free(reach->order);
		free(reach->loader);
		free(reach);
	}
	return NULL;
}

uint32_t reach_root_of(const struct heap *heap, const struct reach *reach, uint32_t node)
{
	while (node < heap->nodes)
		node = reach->parent[node];
	return node == HEAP_NONE ? HEAP_NONE : node - heap->nodes;
}

int reach_roots(const struct heap *heap, const struct reach *reach, uint32_t **ret_root)
{
	const uint32_t unknown = HEAP_NONE - 1;
	uint32_t *root = malloc(((size_t)heap->nodes + 1) * sizeof(*root));

	if (!root)
		return -ENOMEM;
	for (uint32_t v = 0; v < heap->nodes; v++)
		root[v] = reach->parent[v] == HEAP_NONE ? HEAP_NONE : unknown;
	for (uint32_t v = 0; v < heap->nodes; v++) {
		uint32_t up = v, answer;

		while (up < heap->nodes && root[up] == unknown)
			up = reach->parent[up];
		answer = up < heap->nodes ? root[up] : up - heap->nodes;
		for (up = v; up < heap->nodes && root[up] == unknown; up = reach->parent[up])
			root[up] = answer;
	}
	*ret_root = root;
	return 0;
}

/* ---- the unreachable part ------------------------------------------------------------------- */

struct tarjan {
	uint32_t *rank;			/* node id -> index in leaks->node; only for unreachable ones */
	uint32_t *index, *low;		/* by rank; index 0 = not visited */
	uint32_t *component;		/* by rank */
	uint32_t *path, *stack;		/* call path and Tarjan's stack */
	uint64_t *edge;			/* next edge to look at, by depth of the call path */
};

/* Number the components of the unreachable part; *ret_count gets how many. */
static void find_components(const struct heap *heap, const struct reach *reach,
			    const struct reach_leaks *leaks, struct tarjan *t, uint32_t *ret_count)
{
	uint32_t next_index = 1, components = 0, stack_top = 0;

	for (uint32_t start = 0; start < leaks->count; start++) {
		uint32_t depth = 0;

		if (t->index[start])
			continue;
		t->path[0] = start;
		t->edge[0] = heap->edge_start[leaks->node[start]];
		t->index[start] = t->low[start] = next_index++;
		t->stack[stack_top++] = start;
		for (;;) {
			uint32_t v = t->path[depth];

			if (t->edge[depth] < heap->edge_start[leaks->node[v] + 1]) {
				uint32_t to = heap->edge_to[t->edge[depth]++];

				if (reach->region[to] != REACH_NONE)
					continue;
				uint32_t w = t->rank[to];
				if (!t->index[w]) {
					t->index[w] = t->low[w] = next_index++;
					t->stack[stack_top++] = w;
					t->path[++depth] = w;
					t->edge[depth] = heap->edge_start[to];
				} else if (t->component[w] == HEAP_NONE && t->index[w] < t->low[v]) {
					t->low[v] = t->index[w];
				}
				continue;
			}
			if (t->low[v] == t->index[v]) {
				uint32_t member;

				do {
					member = t->stack[--stack_top];
					t->component[member] = components;
				} while (member != v);
				components++;
			}
			if (depth == 0)
				break;
			uint32_t caller = t->path[--depth];
			if (t->low[v] < t->low[caller])
				t->low[caller] = t->low[v];
		}
	}
	*ret_count = components;
}

int reach_find_leaks(const struct heap *heap, const struct reach *reach,
		     struct reach_leaks **ret_leaks)
{
	uint32_t *members = NULL, *head_of = NULL, component_count = 0;
	struct tarjan t = { 0 };
	struct reach_leaks *leaks;
	bool *is_source = NULL;
	size_t n;
	int r = -ENOMEM;

	leaks = calloc(1, sizeof(*leaks));
	if (!leaks)
		return -ENOMEM;
	for (uint32_t v = 0; v < heap->nodes; v++)
		leaks->count += reach->region[v] == REACH_NONE;
	n = (size_t)leaks->count + 1;	/* never a request for nothing */
	leaks->node = malloc(n * sizeof(*leaks->node));
	leaks->kind = malloc(n);
	leaks->cycle = malloc(n * sizeof(*leaks->cycle));
	leaks->head = malloc(n * sizeof(*leaks->head));
	t.rank = malloc(((size_t)heap->nodes + 1) * sizeof(*t.rank));
	t.index = calloc(n, sizeof(*t.index));
	t.low = malloc(n * sizeof(*t.low));
	t.component = malloc(n * sizeof(*t.component));
	t.path = malloc(n * sizeof(*t.path));
	t.stack = malloc(n * sizeof(*t.stack));
	t.edge = malloc(n * sizeof(*t.edge));
	if (!leaks->node || !leaks->kind || !leaks->cycle || !leaks->head || !t.rank || !t.index ||
	    !t.low || !t.component || !t.path || !t.stack || !t.edge)
		goto fail;

	for (uint32_t v = 0, i = 0; v < heap->nodes; v++)
		if (reach->region[v] == REACH_NONE) {
			t.rank[v] = i;
			leaks->node[i++] = v;
		}
	memset(t.component, 0xff, n * sizeof(*t.component));
	find_components(heap, reach, leaks, &t, &component_count);

	members = calloc((size_t)component_count + 1, sizeof(*members));
	head_of = malloc(((size_t)component_count + 1) * sizeof(*head_of));
	is_source = malloc((size_t)component_count + 1);
	if (!members || !head_of || !is_source)
		goto fail;
	memset(is_source, true, component_count);
	memset(head_of, 0xff, component_count * sizeof(*head_of));
	for (uint32_t i = 0; i < leaks->count; i++) {
		uint32_t v = leaks->node[i], c = t.component[i];

		members[c]++;
		if (head_of[c] == HEAP_NONE || heap->birth[v] < heap->birth[head_of[c]])
			head_of[c] = v;
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
			uint32_t to = heap->edge_to[e];

			if (reach->region[to] == REACH_NONE && t.component[t.rank[to]] != c)
				is_source[t.component[t.rank[to]]] = false;
		}
	}
	for (uint32_t i = 0; i < leaks->count; i++) {
		uint32_t c = t.component[i];

		leaks->kind[i] = !is_source[c] ? REACH_INDIRECT : members[c] > 1 ? REACH_CYCLE : REACH_DIRECT;
		leaks->cycle[i] = members[c] > 1 ? c : HEAP_NONE;
		if (is_source[c] && head_of[c] == leaks->node[i])
			leaks->head[leaks->head_count++] = leaks->node[i];
	}
	*ret_leaks = leaks;
	leaks = NULL;
	r = 0;
fail:
	reach_leaks_free(leaks);
	free(members);
	free(head_of);
	free(is_source);
	free(t.rank);
	free(t.index);
	free(t.low);
	free(t.component);
	free(t.path);
	free(t.stack);
	free(t.edge);
	return r;
}

struct reach_leaks *reach_leaks_free(struct reach_leaks *leaks)
{
	if (leaks) {
		free(leaks->node);
		free(leaks->kind);
		free(leaks->cycle);
		free(leaks->head);
		free(leaks);
	}
	return NULL;
}
