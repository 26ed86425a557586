/* SPDX-License-Identifier: Apache-2.0
 * L1  heap.c - heaps made from arrays, and the one door to what stands behind any heap.
 *
 * A heap from a file is made by store_load(); heap_build() here makes one from a model and a list of
 * references, for tests and synthetic measurements. Both put a struct heap_owner behind heap.owner;
 * heap_free() and heap_references() go through it and know nothing else about the maker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/heap.h"
#include "core/heap_owner.h"
#include "preload/stream.h"

struct built {
	struct heap_owner owner;	/* first: heap.owner points here */
	const struct heap_reference *refs;
	uint64_t *ref_start;		/* nodes + roots + 1 long, into refs */
	uint32_t *edge_start;
	uint32_t *edge_to;
};

static void built_free(struct heap *heap)
{
	struct built *built = heap->owner;

	if (built) {
		free(built->ref_start);
		free(built->edge_start);
		free(built->edge_to);
		free(built);
	}
	free(heap);
}

static void built_drop(struct heap *heap, unsigned parts)
{
	struct built *built = heap->owner;

	if (parts & HEAP_PART_EDGES) {	/* all other columns are borrowed */
		free(built->edge_start);
		free(built->edge_to);
		built->edge_start = built->edge_to = NULL;
	}
}

static int built_references(const struct heap *heap, uint32_t source,
			    int (*visit)(const struct heap_reference *ref, void *data), void *data)
{
	const struct built *built = heap->owner;

	for (uint64_t i = built->ref_start[source]; i < built->ref_start[source + 1]; i++) {
		int r = visit(&built->refs[i], data);

		if (r != 0)
			return r;
	}
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int heap_build(const struct heap *model, const struct heap_reference *refs, size_t ref_count,
	       struct heap **ret_heap)
{
	uint64_t sources = (uint64_t)model->nodes + model->roots, used = 0;
	struct built *built = NULL;
	struct heap *heap;
	size_t next = 0;
	int r = -ENOMEM;

	heap = calloc(1, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	*heap = *model;
	heap->owner = built = calloc(1, sizeof(*built));
	if (!built)
		goto fail;
	built->owner.free = built_free;
	built->owner.references = built_references;
	built->owner.drop = built_drop;
	built->refs = refs;
	built->ref_start = malloc((sources + 1) * sizeof(*built->ref_start));
	built->edge_start = malloc((sources + 1) * sizeof(*built->edge_start));
	built->edge_to = malloc((ref_count + 1) * sizeof(*built->edge_to));
	if (!built->ref_start || !built->edge_start || !built->edge_to)
		goto fail;

	r = ref_count >= HEAP_NONE ? -EOVERFLOW : -EINVAL;
	if (r == -EOVERFLOW)
		goto fail;
	for (uint64_t source = 0; source < sources; source++) {
		uint64_t first = used;

		built->ref_start[source] = next;
		for (; next < ref_count && refs[next].from == source; next++) {
			if (refs[next].to >= model->nodes)
				goto fail;
			if (refs[next].to != source)
				built->edge_to[used++] = refs[next].to;
		}
		/* Sorted and without repeats, as store_load() gives them. */
		qsort(built->edge_to + first, used - first, sizeof(uint32_t), compare_ids);
		uint64_t kept = first;
		for (uint64_t i = first; i < used; i++)
			if (i == first || built->edge_to[i] != built->edge_to[i - 1])
				built->edge_to[kept++] = built->edge_to[i];
		used = kept;
		built->edge_start[source] = (uint32_t)first;
	}
	if (next != ref_count)		/* not sorted by source, or a source that does not exist */
		goto fail;
	built->ref_start[sources] = next;
	built->edge_start[sources] = (uint32_t)used;

	heap->edges = used;
	heap->edge_start = built->edge_start;
	heap->edge_to = built->edge_to;
	*ret_heap = heap;
	return 0;
fail:
	built_free(heap);
	return r;
}

int heap_references(const struct heap *heap, uint32_t source,
		    int (*visit)(const struct heap_reference *ref, void *data), void *data)
{
	const struct heap_owner *owner = heap->owner;

	if (source >= (uint64_t)heap->nodes + heap->roots)
		return -EINVAL;
	return owner->references(heap, source, visit, data);
}

const struct heap_cache *heap_cache_of(const struct heap *heap, uint32_t node)
{
	uint32_t low = 0, high = heap->cache_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (heap->caches[middle].node < node)
			low = middle + 1;
		else
			high = middle;
	}
	return low < heap->cache_count && heap->caches[low].node == node ? &heap->caches[low] : NULL;
}

static bool ends_with(const char *string, const char *end)
{
	size_t length = string ? strlen(string) : 0, suffix = strlen(end);

	return length >= suffix && !strcmp(string + length - suffix, end);
}

bool heap_may_hide(const struct heap *heap, uint64_t things)
{
	uint64_t words = 0;

	for (size_t i = 0; i < heap->meta.note_count; i++) {
		char *unit;
		uint64_t amount = strtoull(heap->meta.notes[i], &unit, 10);

		if (ends_with(heap->meta.notes[i], STREAM_NOT_READ))	/* "5394432 bytes that ...", "17 pages beyond ..." */
			words += !strncmp(unit, " pages", 6) ? amount * 512 : amount / sizeof(uint64_t);
	}
	return words && things <= words;
}

bool heap_root_is_unnamed_slot(const struct heap_root *root)
{
	return root->kind == HEAP_ROOT_STACK && ends_with(root->name, HEAP_UNNAMED_SLOT);
}

void heap_drop(struct heap *heap, unsigned parts)
{
	const struct heap_owner *owner = heap->owner;

	owner->drop(heap, parts);
	if (parts & HEAP_PART_EDGES)
		heap->edge_start = heap->edge_to = NULL;
	if (parts & HEAP_PART_IDENTITY)
		heap->addr = heap->birth = NULL;
	if (parts & HEAP_PART_THREAD)
		heap->thread = NULL;
}

struct heap *heap_free(struct heap *heap)
{
	if (heap) {
		const struct heap_owner *owner = heap->owner;

		owner->free(heap);
	}
	return NULL;
}
