/* SPDX-License-Identifier: Apache-2.0
 * L5  labels.c - labels of references, remembered for large sources. */
#include <errno.h>
#include <stdlib.h>

#include "core/labels.h"

#define KEPT 16				/* large sources remembered; the oldest makes room */
#define LARGE 32			/* targets from which on a source is large */
#define LARGEST (1u << 22)		/* and up to which it is remembered: 4 M references are 256 MiB */

struct source {
	uint32_t from;
	uint64_t count, room;
	struct heap_reference *refs;	/* by target, then as read */
};

struct labels {
	const struct heap *heap;
	struct source kept[KEPT];
	unsigned next;			/* of kept, to be replaced */
};

struct labels *labels_new(const struct heap *heap)
{
	struct labels *labels = calloc(1, sizeof(*labels));

	if (labels) {
		labels->heap = heap;
		for (unsigned i = 0; i < KEPT; i++)
			labels->kept[i].from = HEAP_NONE;
	}
	return labels;
}

struct labels *labels_free(struct labels *labels)
{
	for (unsigned i = 0; labels && i < KEPT; i++)
		free(labels->kept[i].refs);
	free(labels);
	return NULL;
}

struct search {
	uint32_t to;
	struct heap_reference best;
	uint64_t slots;
};

static void consider(struct search *search, const struct heap_reference *ref)
{
	if (search->slots++ == 0 || (search->best.interior && !ref->interior))
		search->best = *ref;
}

static int visit_one(const struct heap_reference *ref, void *data)
{
	struct search *search = data;

	if (ref->to == search->to)
		consider(search, ref);
	return 0;
}

static int keep_one(const struct heap_reference *ref, void *data)
{
	struct source *source = data;

	if (source->count == source->room) {
		uint64_t wider = source->room ? source->room * 2 : 256;
		struct heap_reference *grown = realloc(source->refs, wider * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		source->refs = grown;
		source->room = wider;
	}
	source->refs[source->count++] = *ref;
	return 0;
}

static int compare_targets(const void *a, const void *b)
{
	const struct heap_reference *x = a, *y = b;

	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* The remembered references of a large source; read now if they are not. NULL in *ret = out of luck. */
static int keep_source(struct labels *labels, uint32_t from, struct source **ret)
{
	struct source *source;
	int r;

	for (unsigned i = 0; i < KEPT; i++)
		if (labels->kept[i].from == from) {
			*ret = &labels->kept[i];
			return 0;
		}
	source = &labels->kept[labels->next++ % KEPT];
	source->from = HEAP_NONE;
	source->count = 0;
	r = heap_references(labels->heap, from, keep_one, source);
	if (r < 0)
		return r;
	source->from = from;
	if (source->count)
		qsort(source->refs, source->count, sizeof(*source->refs), compare_targets);
	*ret = source;
	return 0;
}

int labels_find(struct labels *labels, uint32_t from, uint32_t to, struct heap_reference *ret_ref,
		uint64_t *ret_slots)
{
	const struct heap *heap = labels->heap;
	uint64_t degree = heap->edge_start[from + 1] - heap->edge_start[from], low = 0, high;
	struct search search = { .to = to };
	struct source *source;
	int r;

	if (degree < LARGE || degree > LARGEST) {
		r = heap_references(heap, from, visit_one, &search);
		if (r < 0)
			return r;
	} else {
		r = keep_source(labels, from, &source);
		if (r < 0)
			return r;
		for (high = source->count; low < high;) {
			uint64_t middle = low + (high - low) / 2;

			if (source->refs[middle].to < to)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < source->count && source->refs[low].to == to; low++)
			consider(&search, &source->refs[low]);
	}
	if (search.slots)
		*ret_ref = search.best;
	*ret_slots = search.slots;
	return 0;
}
