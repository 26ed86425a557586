/* SPDX-License-Identifier: Apache-2.0
 * L2  weigh.h - what each node counts for, so that no byte is counted twice.
 *
 * (1) A folded or hidden node counts nothing: its bytes belong to its owner, or to nobody.
 * (2) A mapping counts its bytes minus those of the nodes inside it.
 * (3) A sampled block counts for all the blocks that it stands for. */
#ifndef LEAKDIFF_WEIGH_H
#define LEAKDIFF_WEIGH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"

static inline bool weigh_is_counted(const struct heap *heap, uint32_t node)
{
	return !(heap->flags[node] & (HEAP_FOLDED | HEAP_HIDDEN));
}

static inline uint64_t weigh_count(const struct heap *heap, uint32_t node)
{
	return !weigh_is_counted(heap, node) ? 0 : heap->weight ? heap->weight[node] : 1;
}

/* What the nodes of one heap weigh: nearly all of them their own bytes, those that enclose others less. */
struct weights {
	const struct heap *heap;
	uint64_t *encloses;		/* one bit a node */
	struct enclosing { uint64_t bytes; uint32_t node; } *enclosing;	/* by node, what is left of each */
	uint32_t enclosing_count;
};

/* Weigh every node by the rules above. Returns 0 with *ret_weights (weights_free()), or -ENOMEM. */
int weigh_nodes(const struct heap *heap, struct weights **ret_weights) __attribute__((warn_unused_result));
struct weights *weights_free(struct weights *weights);

/* What is left of a node that encloses others. */
uint64_t weigh_rest(const struct weights *weights, uint32_t node);

static inline uint64_t weigh_bytes(const struct weights *weights, uint32_t node)
{
	const struct heap *heap = weights->heap;
	uint64_t bytes;

	if (!weigh_is_counted(heap, node))
		return 0;
	bytes = weights->encloses[node / 64] >> node % 64 & 1 ? weigh_rest(weights, node) : heap->bytes[node];
	return heap->weight ? bytes * heap->weight[node] : bytes;
}

#endif
