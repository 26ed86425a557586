/* SPDX-License-Identifier: Apache-2.0
 * L7  shapes.h - ways to leak that are known, in words. */
#ifndef LEAKDIFF_SHAPES_H
#define LEAKDIFF_SHAPES_H

#include <stdint.h>

#include "core/chains.h"

/* What the chain of a suspect is known as: a sentence for a person, owned by the caller.
 *
 * root       index of the holder, HEAP_NONE = none
 * retained   bytes that each graph node alone holds, or NULL
 * ret_shape  NULL when the chain looks like nothing in particular
 * Returns 0 or -ENOMEM, -EBADMSG. */
int shape_find(const struct heap *heap, uint32_t root, const struct chain *chain, const uint64_t *retained,
	       char **ret_shape)
	__attribute__((warn_unused_result));

#endif
