/* SPDX-License-Identifier: Apache-2.0
 * L7  chain_set.c - objects asked for, each with the chain that holds it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/chain_set.h"
#include "core/names.h"
#include "core/weigh.h"

static bool site_matches(const struct heap *heap, uint32_t stack, const char *pattern)
{
	bool matches = false;

	if (stack >= heap->stack_count)
		return false;
	for (uint32_t i = 0; i < heap->stacks[stack].frame_count && !matches; i++) {
		struct text text = { 0 };

		names_frame(&text, &heap->frames[heap->stacks[stack].frames[i]]);
		matches = text.length && text_glob(pattern, text.data);
		text_done(&text);
	}
	return matches;
}

/* Remembers answers by stack, since sites are matched frame by frame: 0 unknown, 1 yes, -1 no. */
struct matcher {
	const struct heap *heap;
	const struct chain_query *query;
	int8_t *stack_answer;
	bool exact_type;		/* some type is called exactly like the pattern: only that is meant */
};

static bool matches(struct matcher *m, uint32_t v)
{
	const struct heap *heap = m->heap;
	const struct chain_query *query = m->query;
	const struct heap_type *type = &heap->types[heap->type[v]];

	if (query->addr) {
		/* The first byte of an empty block is its own, too. */
		if (query->addr < heap->addr[v] ||
		    query->addr - heap->addr[v] >= (heap->bytes[v] ? heap->bytes[v] : 1))
			return false;
	} else if (!weigh_is_counted(heap, v)) {
		return false;
	}
	if (query->size != UINT64_MAX && heap->bytes[v] != query->size)
		return false;
	if (query->site) {
		uint32_t stack = heap->stack[v] < heap->stack_count ? heap->stack[v] : heap->stack_count;

		if (!m->stack_answer[stack])
			m->stack_answer[stack] = site_matches(heap, stack, query->site) ? 1 : -1;
		if (m->stack_answer[stack] < 0)
			return false;
	}
	if (!query->type)
		return true;
	return m->exact_type ? names_type_equals(query->type, type->name, type->source, heap->bytes[v]) :
	       names_type_matches(query->type, type->name, type->source, heap->bytes[v]);
}

int64_t chain_query_run(const struct heap *heap, const struct chain_query *query, uint32_t **ret_nodes)
{
	struct matcher m = { .heap = heap, .query = query };
	uint32_t *nodes = malloc(((size_t)heap->nodes + 1) * sizeof(*nodes)), count = 0;

	m.stack_answer = calloc((size_t)heap->stack_count + 1, 1);
	if (!nodes || !m.stack_answer) {
		free(nodes);
		free(m.stack_answer);
		return -ENOMEM;
	}
	for (uint32_t v = 0; v < heap->nodes && query->type && !m.exact_type; v++) {
		const struct heap_type *type = &heap->types[heap->type[v]];

		m.exact_type = names_type_equals(query->type, type->name, type->source, heap->bytes[v]);
	}
	for (uint32_t v = 0; v < heap->nodes; v++)
		if (matches(&m, v))
			nodes[count++] = v;
	free(m.stack_answer);
	/* Of nested nodes the innermost is the one that an address means; it comes last. */
	if (query->addr && count > 1) {
		nodes[0] = nodes[count - 1];
		count = 1;
	}
	*ret_nodes = nodes;
	return count;
}

/* From a head of the unreachable part to a node: breadth first over what is unreachable. */
static int64_t lost_path(const struct heap *heap, const struct reach *reach, const struct reach_leaks *leaks,
			 uint32_t *parent, uint32_t node, uint32_t **ret_path)
{
	uint32_t length = 0, *path;

	if (parent[heap->nodes] == HEAP_NONE) {	/* not flooded yet: once for all that are asked for */
		uint32_t *queue = malloc(((size_t)leaks->count + 1) * sizeof(*queue)), from = 0, to = 0;

		if (!queue)
			return -ENOMEM;
		parent[heap->nodes] = 0;
		for (uint32_t h = 0; h < leaks->head_count; h++) {
			parent[leaks->head[h]] = leaks->head[h];
			queue[to++] = leaks->head[h];
		}
		while (from < to) {
			uint32_t v = queue[from++];

			for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
				uint32_t w = heap->edge_to[e];

				if (reach_edge_counts(reach, v, w) && parent[w] == HEAP_NONE) {
					parent[w] = v;
					queue[to++] = w;
				}
			}
		}
		free(queue);
	}
	for (uint32_t v = node;; v = parent[v]) {
		length++;
		if (parent[v] == v)
			break;
	}
	path = malloc((size_t)length * sizeof(*path));
	if (!path)
		return -ENOMEM;
	for (uint32_t v = node, i = length; i > 0; v = parent[v])
		path[--i] = v;
	*ret_path = path;
	return length;
}

int chain_set_make(const struct series *series, const uint32_t *nodes, size_t count, size_t limit,
		   struct chain_set **ret_set)
{
	const struct series_heap *h = series_last(series);
	const struct heap *heap = h->heap;
	struct chain_set *set = calloc(1, sizeof(*set));
	struct reach_leaks *leaks = NULL;
	struct labels *labels = labels_new(heap);
	uint32_t *parent = NULL;
	int r = -ENOMEM;

	if (!set || !labels)
		goto fail;
	set->heap = heap;
	set->matched = count;
	for (size_t i = 0; i < count; i++) {
		set->matched_bytes += series_bytes(h, nodes[i]);
		set->unreachable += h->reach->region[nodes[i]] == REACH_NONE;
	}
	if (count > limit)
		count = limit;
	set->entries = calloc(count + 1, sizeof(*set->entries));
	if (!set->entries)
		goto fail;
	if (set->unreachable) {
		parent = malloc(((size_t)heap->nodes + 1) * sizeof(*parent));
		if (!parent)
			goto fail;
		memset(parent, 0xff, ((size_t)heap->nodes + 1) * sizeof(*parent));
		r = reach_find_leaks(heap, h->reach, &leaks);
		if (r < 0)
			goto fail;
	}
	r = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct chain_entry *entry = &set->entries[set->count++];
		bool lost = h->reach->region[nodes[i]] == REACH_NONE;
		uint32_t *path = NULL;
		int64_t length;

		entry->node = nodes[i];
		entry->root = HEAP_NONE;
		entry->type = chain_type_of(heap, nodes[i]);
		length = !entry->type ? -ENOMEM :
			 lost ? lost_path(heap, h->reach, leaks, parent, nodes[i], &path) :
				chain_path(heap, h->reach, nodes[i], &path);
		if (length < 0) {
			r = (int)length;
			break;
		}
		entry->unreachable = lost;
		if (path[0] >= heap->nodes)
			entry->root = path[0] - heap->nodes;
		r = chain_make(labels, heap, path, (uint32_t)length, &entry->chain);
		free(path);
		if (r == 0 && entry->chain.count)
			entry->chain.steps[entry->chain.count - 1].role = CHAIN_GREW;
	}
	if (r < 0)
		goto fail;
	free(parent);
	labels_free(labels);
	reach_leaks_free(leaks);
	*ret_set = set;
	return 0;
fail:
	free(parent);
	labels_free(labels);
	reach_leaks_free(leaks);
	chain_set_free(set);
	return r;
}

struct chain_set *chain_set_free(struct chain_set *set)
{
	if (!set)
		return NULL;
	for (size_t i = 0; i < set->count; i++) {
		free(set->entries[i].type);
		chain_done(&set->entries[i].chain);
	}
	free(set->entries);
	free(set);
	return NULL;
}
