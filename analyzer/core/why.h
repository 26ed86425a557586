/* SPDX-License-Identifier: Apache-2.0
 * L7  why.h - one block: why it has its type, and every root that holds it. */
#ifndef LEAKDIFF_WHY_H
#define LEAKDIFF_WHY_H

#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"

struct store;

struct why_evidence {			/* a row of the table type_evidence */
	char *method, *confidence, *evidence;
	uint64_t agree, disagree, count, bytes;
};

struct why_root {
	uint32_t root;			/* index in the heap's roots */
	uint32_t steps;			/* references from it to the block, on the shortest way */
	char *edge;			/* label of the first of them */
};

struct why {
	uint32_t node;
	struct why_evidence *evidence;	/* for its type at its stack */
	size_t evidence_count;
	struct why_root *roots;		/* nearest first */
	size_t root_count;
};

/* store  the file that heap was loaded from. Returns 0, -ENOMEM, -EBADMSG. */
int why_make(struct store *store, const struct heap *heap, uint32_t node, struct why **ret_why)
	__attribute__((warn_unused_result));
struct why *why_free(struct why *why);

#endif
