/* SPDX-License-Identifier: Apache-2.0
 * L7  merge.c - see merge.h. */
#include "core/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/kinds.h"

static uint32_t root_of(const struct growth *growth, const struct cluster *cluster)
{
	const struct series_heap *last = series_last(growth->series);

	return cluster->point >= last->heap->nodes ? cluster->point - last->heap->nodes :
	       reach_root_of(last->heap, last->reach, cluster->point);
}

static bool points_are_alike(const struct heap *heap, uint32_t a, uint32_t b)
{
	if (a >= heap->nodes || b >= heap->nodes)
		return a >= heap->nodes && b >= heap->nodes;
	return heap->type[a] == heap->type[b];
}

static bool is_one_cause(const struct growth *growth, const struct cluster *a, const struct cluster *b)
{
	const struct heap *heap = series_last(growth->series)->heap;
	uint32_t nodes = heap->nodes, x, y;

	if (a->unreachable || b->unreachable || a->resized || b->resized || !kinds_are_alike(heap, a->main, b->main) ||
	    heap->stack[a->main] != heap->stack[b->main])
		return false;
	if (a->point >= nodes + heap->roots || b->point >= nodes + heap->roots || !points_are_alike(heap, a->point, b->point))
		return false;
	x = root_of(growth, a);
	y = root_of(growth, b);
	if (x == HEAP_NONE || y == HEAP_NONE)
		return false;
	if (x == y)		/* without a stack of its own a thing is known by its type alone: too little */
		return heap->stack[a->main] < heap->stack_count && a->point != b->point &&
		       heap->root[x].kind != HEAP_ROOT_PY_MODULE;
	return heap->root[x].kind == heap->root[y].kind && !strcmp(heap->root[x].name, heap->root[y].name) &&
	       !strcmp(heap->root[x].module, heap->root[y].module) && strcmp(heap->root[x].thread, heap->root[y].thread) != 0;
}

static int append(uint32_t **array, uint32_t *count, uint32_t *room, const uint32_t *more, uint32_t more_count)
{
	uint32_t *grown = realloc(*array, ((size_t)*count + more_count + 1) * sizeof(**array));

	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = *count + more_count + 1;
	if (more_count)
		memcpy(grown + *count, more, (size_t)more_count * sizeof(*more));
	*count += more_count;
	return 0;
}

static int merge(struct cluster *into, struct cluster *from)
{
	uint8_t *counts = realloc(into->counts, (size_t)into->node_count + from->node_count + 1);
	int r;

	if (!counts)
		return -ENOMEM;
	into->counts = counts;
	memcpy(counts + into->node_count, from->counts, from->node_count);
	r = append(&into->node, &into->node_count, &into->node_room, from->node, from->node_count);
	if (r == 0)
		r = append(&into->item, &into->item_count, &into->item_room, from->item, from->item_count);
	if (r == 0)
		r = append(&into->place, &into->place_count, &into->place_room, &from->point, 1);
	if (r < 0)
		return r;
	into->children += from->children;
	into->bytes += from->bytes;
	into->retained_bytes += from->retained_bytes;
	into->main_count += from->main_count;
	into->main_bytes += from->main_bytes;
	free(from->node);
	free(from->item);
	free(from->counts);
	free(from->place);
	return 0;
}

int merge_clusters(struct growth *growth)
{
	for (uint32_t a = 0; a < growth->cluster_count; a++)
		for (uint32_t b = a + 1; b < growth->cluster_count;) {
			if (!is_one_cause(growth, &growth->clusters[a], &growth->clusters[b])) {
				b++;
				continue;
			}
			int r = merge(&growth->clusters[a], &growth->clusters[b]);

			if (r < 0)
				return r;
			growth->cluster_count--;
			memmove(&growth->clusters[b], &growth->clusters[b + 1],
				(growth->cluster_count - b) * sizeof(growth->clusters[0]));
		}
	return 0;
}
