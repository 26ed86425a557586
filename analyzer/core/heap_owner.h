/* SPDX-License-Identifier: Apache-2.0
 * L1  heap_owner.h - what stands behind heap.owner: who releases a heap and who answers for its labels.
 *
 * Private to core. heap.c dispatches heap_free() and heap_references() through it, so that a heap
 * read from a file and a heap made by heap_build() look alike to everyone else. Each maker embeds
 * this struct as the first member of its own. */
#ifndef LEAKDIFF_HEAP_OWNER_H
#define LEAKDIFF_HEAP_OWNER_H

#include <stdint.h>

#include "core/heap.h"

struct heap_owner {
	/* Releases everything: columns, strings, the owner and the heap itself. Never called with NULL. */
	void (*free)(struct heap *heap);
	/* Releases what is behind the columns; heap.c sets them to NULL. */
	void (*drop)(struct heap *heap, unsigned parts);
	/* As heap_references(); source is already known to be below nodes + roots. */
	int (*references)(const struct heap *heap, uint32_t source,
			  int (*visit)(const struct heap_reference *ref, void *data), void *data);
};

#endif
