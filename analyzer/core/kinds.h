/* SPDX-License-Identifier: Apache-2.0
 * L3  kinds.h - which objects are alike: what a person would call by one name.
 *
 * A known type is one kind. Where the type is only an allocation site, one function may make several
 * things on one line: there a kind is the blocks with one stack, and those of one size whatever their
 * stack (the same thing made on another way). */
#ifndef LEAKDIFF_KINDS_H
#define LEAKDIFF_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/intern.h"

struct kinds {				/* zero-initialised is empty */
	uint32_t count;
	struct intern by_stack, by_size;/* (type, stack) and (type, size) -> entry in of_stack, of_size */
	uint32_t *of_stack, *of_size;	/* kind of each entry */
	uint32_t stack_room, size_room;
};

static inline bool kinds_type_is_known(const struct heap *heap, uint32_t node)
{
	return heap->types[heap->type[node]].source > HEAP_TYPE_SITE;
}

/* Are two nodes of one heap alike? Roots are like nothing. */
static inline bool kinds_are_alike(const struct heap *heap, uint32_t a, uint32_t b)
{
	return a < heap->nodes && b < heap->nodes && heap->type[a] == heap->type[b] &&
	       (heap->bytes[a] == heap->bytes[b] || heap->stack[a] == heap->stack[b] ||
		kinds_type_is_known(heap, a));
}

/* The number of a node's kind, 0 .. count - 1; a new one where nothing like it was met. -ENOMEM. */
int64_t kinds_number(struct kinds *kinds, const struct heap *heap, uint32_t node);

/* The number of the kind that a node would be of, or -ENOENT. */
int64_t kinds_find(const struct kinds *kinds, const struct heap *heap, uint32_t node);

void kinds_done(struct kinds *kinds);

#endif
