/* SPDX-License-Identifier: Apache-2.0
 * L2  weigh.c - bytes of every node, each byte once.
 *
 * Nodes come by ascending address with an enclosing node before what it encloses, so one sweep with
 * the innermost open enclosure is enough. What encloses nothing weighs its own bytes and is not stored.
 * A Python object encloses nothing: its size counts buffers that lie elsewhere, not its neighbours. */
#include <errno.h>
#include <stdlib.h>

#include "core/weigh.h"

static uint64_t end_of(const struct heap *heap, uint32_t node)
{
	uint64_t end = heap->addr[node] + heap->bytes[node];

	return end < heap->addr[node] ? UINT64_MAX : end;	/* a damaged size must not wrap */
}

static int add_enclosing(struct weights *w, uint32_t *room, uint32_t node, uint64_t bytes)
{
	if (w->enclosing_count == *room) {
		uint32_t wider = *room ? *room * 2 : 16;
		struct enclosing *grown = reallocarray(w->enclosing, wider, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->enclosing = grown;
		*room = wider;
	}
	w->enclosing[w->enclosing_count++] = (struct enclosing){ bytes, node };
	w->encloses[node / 64] |= 1ull << node % 64;
	return 0;
}

/* `open` is the stack of enclosures around the node in work, as indices of w->enclosing. */
static int weigh(struct weights *w, uint32_t **open)
{
	const struct heap *heap = w->heap;
	uint32_t depth = 0, room = 0, open_room = 0;

	for (uint32_t v = 0; v < heap->nodes; v++) {
		while (depth > 0 && end_of(heap, w->enclosing[(*open)[depth - 1]].node) <= heap->addr[v])
			depth--;
		if (depth > 0) {
			uint64_t *around = &w->enclosing[(*open)[depth - 1]].bytes;

			*around -= *around < heap->bytes[v] ? *around : heap->bytes[v];
		}
		/* Only what the next node lies in needs to be remembered: nearly always nothing. */
		if (v + 1 == heap->nodes || heap->addr[v + 1] >= end_of(heap, v) ||
		    heap->types[heap->type[v]].source == HEAP_TYPE_PYTHON)
			continue;
		if (depth == open_room) {
			uint32_t wider = open_room ? open_room * 2 : 16;
			uint32_t *grown = reallocarray(*open, wider, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			*open = grown;
			open_room = wider;
		}
		(*open)[depth++] = w->enclosing_count;
		if (add_enclosing(w, &room, v, heap->bytes[v]) < 0)
			return -ENOMEM;
	}
	return 0;
}

int weigh_nodes(const struct heap *heap, struct weights **ret_weights)
{
	struct weights *weights = calloc(1, sizeof(*weights));
	uint32_t *open = NULL;
	int r = -ENOMEM;

	if (!weights)
		return -ENOMEM;
	weights->heap = heap;
	weights->encloses = calloc((size_t)heap->nodes / 64 + 1, sizeof(*weights->encloses));
	if (weights->encloses)
		r = weigh(weights, &open);
	free(open);
	if (r < 0) {
		weights_free(weights);
		return r;
	}
	*ret_weights = weights;
	return 0;
}

struct weights *weights_free(struct weights *weights)
{
	if (weights) {
		free(weights->encloses);
		free(weights->enclosing);
		free(weights);
	}
	return NULL;
}

uint64_t weigh_rest(const struct weights *weights, uint32_t node)
{
	uint32_t low = 0, high = weights->enclosing_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (weights->enclosing[middle].node < node)
			low = middle + 1;
		else
			high = middle;
	}
	return weights->enclosing[low].bytes;
}
