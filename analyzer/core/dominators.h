/* SPDX-License-Identifier: Apache-2.0
 * L3  dominators.h - who alone holds what: the dominator tree and retained bytes.
 *
 * The tree spans all graph nodes and two virtual ones:
 *
 *   top (id nodes + roots)            holds every root node, what several roots hold together, and
 *                                     what the dynamic linker holds
 *   lost (id nodes + roots + 1)       below top; holds the heads of the unreachable part
 *
 * (1) The graph is that of reach.h, edges filtered by reach_edge_counts().
 * (2) idom[top] is top itself; every other node's dominator comes before it in `order`.
 * (3) `order` is a preorder of the tree: what a node holds is the interval first .. last - 1 of it, the
 *     node itself at order[first]. So d dominates v when first[d] <= first[v] < last[d].
 * (4) Retained bytes of a node are the weights of its subtree: one sweep, any weight. */
#ifndef LEAKDIFF_DOMINATORS_H
#define LEAKDIFF_DOMINATORS_H

#include <stdint.h>

#include "core/heap.h"
#include "core/reach.h"

struct dominators {
	uint32_t count;			/* nodes + roots + 2 */
	uint32_t top, lost;		/* ids of the virtual nodes */
	/* all `count` long; idom, first and last by id */
	uint32_t *idom;
	uint32_t *order;		/* all ids, dominators before what they dominate */
	uint32_t *first, *last;		/* places in order, see (3) */
};

/* Compute the tree by semi-NCA. leaks: the heads hang below `lost`; everything unreachable is
 * reached from some head. Peak memory about 24 bytes a node and 4 for each reference beyond the first
 * to a node; 16 bytes a node stay: no other arrays are made for the tree. Returns 0 with *ret_tree (dominators_free()), -EOVERFLOW when ids do
 * not fit, or -ENOMEM. */
int dominators_compute(const struct heap *heap, const struct reach *reach,
		       const struct reach_leaks *leaks, struct dominators **ret_tree)
	__attribute__((warn_unused_result));
struct dominators *dominators_free(struct dominators *tree);

/* Sum weights over subtrees, in place: `sums`, tree->count long, holds the weight of each id and gets
 * that of all that the id dominates, itself included. */
void dominators_retain(const struct dominators *tree, uint64_t *sums);

#endif
