/* SPDX-License-Identifier: Apache-2.0
 * L5  leaks.c - what no root reaches, grouped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/leaks.h"
#include "core/names.h"
#include "core/weigh.h"

struct entry_key {
	uint32_t type, stack;
	uint64_t size;
	uint32_t direct, cycle;
};

static int compare_entries(const void *a, const void *b)
{
	const struct leak_entry *x = a, *y = b;
	bool x_first = x->direct || x->cycle, y_first = y->direct || y->cycle;

	if (x_first != y_first)
		return x_first ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return strcmp(x->type, y->type);
}

static const char *judge_snapshot(const struct heap *heap, struct leak_list *list)
{
	bool whole = heap->meta.consistent && heap->meta.lost_events == 0;

	if (heap_may_hide(heap, list->direct_blocks)) {
		list->confidence = "possible";
		return "a conservative scan found no reference, but some memory was not read (see the notes), and references "
		       "may be there. Hidden pointers (compressed, XORed, tagged in high bits, or held by the kernel, a device "
		       "or another process) would look the same";
	}
	list->confidence = whole ? "certain" : "likely";
	return whole ? "a conservative scan of globals, stacks, thread-local storage, registers and all reachable "
		       "memory found no reference. Hidden pointers (compressed, XORed, tagged in high bits, or held "
		       "by the kernel, a device or another process) would look the same" :
		       "a conservative scan found no reference, but the snapshot is not complete (see its notes). "
		       "Hidden pointers (compressed, XORed, tagged in high bits, or held by the kernel, a device or "
		       "another process) would look the same";
}

struct table {				/* entries being made */
	struct intern keys;
	struct leak_entry **entries;	/* of the list */
	size_t *count, room;
};

static int add_node(struct table *table, const struct series_heap *h, uint32_t v, const struct entry_key *key,
		    bool python)
{
	struct leak_entry *entry;
	int64_t number;
	int is_new;

	number = intern_number(&table->keys, intern_pair(key->size ^ (uint64_t)key->type << 32,
							 (uint64_t)key->stack << 2 | key->direct << 1 | key->cycle), &is_new);
	if (number < 0)
		return (int)number;
	if (is_new) {
		const struct heap_type *type = &h->heap->types[key->type];
		struct text shown = { 0 };

		if (*table->count == table->room) {
			size_t wider = table->room ? table->room * 2 : 64;
			struct leak_entry *grown = realloc(*table->entries, wider * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			*table->entries = grown;
			table->room = wider;
		}
		names_type(&shown, type->name, type->source, true, key->size);
		entry = &(*table->entries)[*table->count];
		*entry = (struct leak_entry){ .type = text_take(&shown), .size = key->size, .direct = key->direct,
					      .cycle = key->cycle, .python = python, .stack = key->stack };
		if (!entry->type)
			return -ENOMEM;
		++*table->count;
	}
	entry = &(*table->entries)[number];
	entry->count += weigh_count(h->heap, v);
	entry->bytes += series_bytes(h, v);
	if (h->heap->birth[v] && (!entry->oldest_birth || h->heap->birth[v] < entry->oldest_birth))
		entry->oldest_birth = h->heap->birth[v];
	return 0;
}

/* What of the unreachable is marked, or hangs from what is, in place: it gets the mark of that. */
static int spread(const struct heap *heap, const struct reach_leaks *leaks, const struct reach *reach, uint32_t *mark)
{
	uint32_t *queue = malloc(((size_t)leaks->count + 1) * sizeof(*queue)), head = 0, tail = 0;

	if (!queue)
		return -ENOMEM;
	for (uint32_t i = 0; i < leaks->count; i++)
		if (mark[leaks->node[i]])
			queue[tail++] = leaks->node[i];
	while (head < tail) {
		uint32_t v = queue[head++];

		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
			uint32_t to = heap->edge_to[e];

			if (!reach_edge_counts(reach, v, to) || mark[to])
				continue;
			mark[to] = mark[v];
			queue[tail++] = to;
		}
	}
	free(queue);
	return 0;
}

/* What is unreachable and Python's, or hangs from what is: 1 in the map. NULL = no memory. */
static uint32_t *find_python(const struct heap *heap, const struct reach_leaks *leaks, const struct reach *reach)
{
	uint32_t *python = calloc((size_t)heap->nodes + 1, sizeof(*python));

	for (uint32_t i = 0; python && i < leaks->count; i++)
		python[leaks->node[i]] = heap->types[heap->type[leaks->node[i]]].source == HEAP_TYPE_PYTHON;
	if (python && spread(heap, leaks, reach, python) < 0) {
		free(python);
		return NULL;
	}
	return python;
}

/* What is suppressed: in the map, the pattern's index + 1. */
static int find_suppressed(const struct heap *heap, const struct reach_leaks *leaks, const struct reach *reach,
			   struct suppressions *suppressions, uint32_t **ret_map)
{
	uint32_t *map = calloc((size_t)heap->nodes + 1, sizeof(*map)), index;
	int r = map ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < leaks->count && r == 0; i++) {
		r = suppress_stack(suppressions, heap, heap->stack[leaks->node[i]], &index);
		if (r == 0 && index != HEAP_NONE)
			map[leaks->node[i]] = index + 1;
	}
	if (r == 0)
		r = spread(heap, leaks, reach, map);
	if (r < 0) {
		free(map);
		return r;
	}
	*ret_map = map;
	return 0;
}

static void count_suppressed(struct leak_list *list, struct suppression *by, uint64_t count, uint64_t bytes)
{
	by->count += count;
	by->bytes += bytes;
	list->suppressed_blocks += count;
	list->suppressed_bytes += bytes;
}

int leak_list_make(const struct series *series, const char *pattern, struct suppressions *suppressions,
		   struct leak_list **ret_list)
{
	const struct series_heap *h = series_last(series);
	const struct heap *heap = h->heap;
	struct reach_leaks *leaks = NULL;
	struct leak_list *list;
	struct table lost, waiting;
	uint32_t *python = NULL, *suppressed = NULL;
	int r;

	list = calloc(1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	lost = (struct table){ .entries = &list->entries, .count = &list->count };
	waiting = (struct table){ .entries = &list->garbage, .count = &list->garbage_count };
	list->python_reason = "Python's objects count no reference but their own, and the collector is off "
			      "(gc.disable()): nobody will free them";
	r = reach_find_leaks(heap, h->reach, &leaks);
	if (r == 0) {
		python = find_python(heap, leaks, h->reach);
		r = python ? 0 : -ENOMEM;
	}
	if (r == 0 && suppressions)
		r = find_suppressed(heap, leaks, h->reach, suppressions, &suppressed);
	for (uint32_t i = 0; r == 0 && i < leaks->count; i++) {
		uint32_t v = leaks->node[i];
		const struct heap_type *type = &heap->types[heap->type[v]];
		struct entry_key key = { .type = heap->type[v], .stack = heap->stack[v], .size = heap->bytes[v],
					 .direct = leaks->kind[i] == REACH_DIRECT,
					 .cycle = leaks->kind[i] == REACH_CYCLE };

		if (!weigh_is_counted(heap, v))
			continue;
		if (pattern && !names_type_matches(pattern, type->name, type->source, heap->bytes[v]))
			continue;
		if (suppressed && suppressed[v]) {
			count_suppressed(list, &suppressions->list[suppressed[v] - 1], weigh_count(heap, v),
					 series_bytes(h, v));
			continue;
		}
		if (python[v] && heap->meta.gc_enabled != 0) {
			r = add_node(&waiting, h, v, &key, true);
			list->garbage_blocks += weigh_count(heap, v);
			list->garbage_bytes += series_bytes(h, v);
			continue;
		}
		r = add_node(&lost, h, v, &key, python[v]);
		list->blocks += weigh_count(heap, v);
		list->bytes += series_bytes(h, v);
		if (key.direct || key.cycle) {
			list->direct_blocks += weigh_count(heap, v);
			list->direct_bytes += series_bytes(h, v);
		}
	}
	if (r == 0) {
		list->reason = strdup(judge_snapshot(heap, list));
		r = list->reason ? 0 : -ENOMEM;
	}
	intern_done(&lost.keys);
	intern_done(&waiting.keys);
	free(python);
	free(suppressed);
	reach_leaks_free(leaks);
	if (r < 0) {
		leak_list_free(list);
		return r;
	}
	if (list->count)
		qsort(list->entries, list->count, sizeof(*list->entries), compare_entries);
	if (list->garbage_count)
		qsort(list->garbage, list->garbage_count, sizeof(*list->garbage), compare_entries);
	*ret_list = list;
	return 0;
}

struct leak_list *leak_list_free(struct leak_list *list)
{
	if (!list)
		return NULL;
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i].type);
	for (size_t i = 0; i < list->garbage_count; i++)
		free(list->garbage[i].type);
	free(list->entries);
	free(list->garbage);
	free(list->reason);
	free(list);
	return NULL;
}
