/* SPDX-License-Identifier: Apache-2.0
 * L4  walk.h - a tree over graph nodes with growth on it, and the walk to where growth fans out.
 *
 * Private to growth.c. The tree is the dominator tree, or the tree of shortest paths where nothing
 * dominates; both are an array of parents. */
#ifndef LEAKDIFF_WALK_H
#define LEAKDIFF_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/thresholds.h"

struct walk {
	const struct heap *heap;
	double drop;			/* GROWTH_DROP, or what the user said */
	const uint32_t *earlier;	/* by node: HEAP_NONE = it is new */
	const uint64_t *bytes;		/* grown bytes of each node itself, `nodes` long, ... */
	const uint8_t *taken;		/* ... and whether a cluster has claimed them */
	const uint32_t *parent;		/* by id; the top's is itself or HEAP_NONE */
	uint32_t count;			/* ids */
	uint64_t *left;			/* growth in the subtree of each id that no cluster has claimed */
	uint32_t *child_start;		/* children that carried growth at the beginning */
	uint32_t *child;
	uint32_t *path;			/* of the last walk, `count` long */
	uint32_t depth;			/* index of the point in path; path[depth + 1] is on the way to the items */
	uint32_t end;			/* index of the last element of path */
	bool resized;			/* the point itself grew */
};

/* Unclaimed grown bytes of a node. */
static inline uint64_t walk_own(const struct walk *walk, uint32_t node)
{
	return walk->taken[node] ? 0 : walk->bytes[node];
}

/* Fill child_start and child from parent and left. Returns 0 or -ENOMEM; walk_done() in either case. */
int walk_init(struct walk *walk) __attribute__((warn_unused_result));
void walk_done(struct walk *walk);

/* Walk from start to the accumulation point of what is left below it.
 * Returns true with path, depth, end and resized set; false: start is itself an element of what grew,
 * its parent is the point. */
bool walk_find_point(struct walk *walk, uint32_t start);

/* Is this child, by itself, an item rather than a place where things accumulate? like_it: how many
 * children of the same parent are of its type. */
bool walk_is_item(const struct walk *walk, uint32_t id, uint32_t like_it);

/* The type at the end of the way along the heaviest children: what mostly grew below a node. */
uint32_t walk_grown_type(const struct walk *walk, uint32_t id);

#endif
