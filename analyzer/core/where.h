/* SPDX-License-Identifier: Apache-2.0
 * L3  where.h - below which root, and which of a few places, a node lies on its path of shortest references.
 *
 * Answers are found when they are asked for, and remembered: who asks about few nodes does not pay for all. */
#ifndef LEAKDIFF_WHERE_H
#define LEAKDIFF_WHERE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/reach.h"

#define WHERE_PLACES 128		/* at most */

struct where {
	const struct heap *heap;
	const uint32_t *parent;		/* of reach.h */
	uint32_t *root;			/* by node: index of its root, HEAP_NONE = none, or not known yet */
	uint8_t *near;			/* by node: number of the nearest place at or above it */
	uint32_t place[WHERE_PLACES];	/* nodes */
	uint32_t places;
};

/* Returns 0 (where_done() in any case) or -ENOMEM. */
int where_init(struct where *where, const struct heap *heap, const struct reach *reach) __attribute__((warn_unused_result));
void where_done(struct where *where);

/* Name a node as a place, before the first question. Returns its number, or HEAP_NONE when there are too many. */
uint32_t where_add(struct where *where, uint32_t node);

/* Index of the root that a node's path begins at; HEAP_NONE = it has none. */
uint32_t where_root(struct where *where, uint32_t node);

/* Does the path to a node lead through a place, or end there? */
bool where_is_below(struct where *where, uint32_t node, uint32_t place);

#endif
