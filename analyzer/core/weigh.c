/* SPDX-License-Identifier: Apache-2.0
 * L2  weigh.c - bytes of every node, each byte once.
 *
 * Nodes come by ascending address with an enclosing node before what it encloses, so one sweep with
 * the innermost open enclosure is enough; `outer` is the stack of enclosures, kept in the ids.
 * A Python object encloses nothing: its size counts buffers that lie elsewhere, not its neighbours. */
#include <errno.h>
#include <stdlib.h>

#include "core/weigh.h"

static uint64_t end_of(const struct heap *heap, uint32_t node)
{
	uint64_t end = heap->addr[node] + heap->bytes[node];

	return end < heap->addr[node] ? UINT64_MAX : end;	/* a damaged size must not wrap */
}

int weigh_nodes(const struct heap *heap, uint64_t **ret_bytes)
{
	uint32_t *outer = NULL, depth = 0, capacity = 0;
	uint64_t *bytes = malloc(((size_t)heap->nodes + 1) * sizeof(*bytes));

	if (!bytes)
		return -ENOMEM;
	for (uint32_t v = 0; v < heap->nodes; v++) {
		bytes[v] = heap->bytes[v];
		while (depth > 0 && end_of(heap, outer[depth - 1]) <= heap->addr[v])
			depth--;
		if (depth > 0) {
			uint32_t around = outer[depth - 1];

			bytes[around] -= bytes[around] < heap->bytes[v] ? bytes[around] : heap->bytes[v];
		}
		if (heap->types[heap->type[v]].source == HEAP_TYPE_PYTHON)
			continue;
		/* Only what the next node lies in needs to be remembered: nearly always nothing. */
		if (v + 1 < heap->nodes && heap->addr[v + 1] < end_of(heap, v)) {
			if (depth == capacity) {
				capacity = capacity ? capacity * 2 : 16;
				uint32_t *grown = realloc(outer, capacity * sizeof(*outer));
				if (!grown) {
					free(outer);
					free(bytes);
					return -ENOMEM;
				}
				outer = grown;
			}
			outer[depth++] = v;
		}
	}
	free(outer);
	for (uint32_t v = 0; v < heap->nodes; v++)
		bytes[v] = !weigh_is_counted(heap, v) ? 0 : heap->weight ? bytes[v] * heap->weight[v] : bytes[v];
	*ret_bytes = bytes;
	return 0;
}
