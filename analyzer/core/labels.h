/* SPDX-License-Identifier: Apache-2.0
 * L5  labels.h - labels of references, remembered for sources that are asked for again and again.
 *
 * A thousand chains through one table would read the table's references a thousand times. Sources with
 * many references are kept sorted by target; small ones are read again, which costs less. */
#ifndef LEAKDIFF_LABELS_H
#define LEAKDIFF_LABELS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"

struct labels;

/* heap is borrowed. NULL = no memory. Release with labels_free(). */
struct labels *labels_new(const struct heap *heap);
struct labels *labels_free(struct labels *labels);

/* The reference from one graph node to another: the first in the source's order, but rather one that
 * points at the target's start. Strings in it live as long as the heap.
 *
 * ret_slots  how many references lead there; with 0 *ret_ref is untouched.
 * Returns 0, -ENOMEM, or -EBADMSG when the file is damaged. */
int labels_find(struct labels *labels, uint32_t from, uint32_t to, struct heap_reference *ret_ref,
		uint64_t *ret_slots) __attribute__((warn_unused_result));

#endif
