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

/* The bytes of every node by the rules above. Returns 0 with *ret_bytes (`nodes` long, the caller
 * frees it), or -ENOMEM. */
int weigh_nodes(const struct heap *heap, uint64_t **ret_bytes) __attribute__((warn_unused_result));

#endif
