/* SPDX-License-Identifier: Apache-2.0
 * L2  account.h - where resident memory is, and how much of its growth live memory explains. */
#ifndef LEAKDIFF_ACCOUNT_H
#define LEAKDIFF_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"

struct account_part {
	const char *key;		/* of the JSON: "live_bytes" */
	const char *label;		/* for a person: "live blocks and mappings" */
	size_t offset;			/* in struct heap_account */
};

/* All parts in the order in which a person reads them; ends with key == NULL. The total is not one. */
extern const struct account_part account_parts[];

struct account_detail {
	size_t part;			/* offset of the part in struct heap_account */
	const char *label;		/* for a person */
	size_t offset;			/* in struct heap_details */
};

/* What parts are made of, those of one part together; ends with label == NULL. */
extern const struct account_detail account_details[];

static inline uint64_t account_detail_value(const struct heap_details *details, const struct account_detail *detail)
{
	return *(const uint64_t *)((const char *)details + detail->offset);
}

static inline uint64_t account_value(const struct heap_account *account, const struct account_part *part)
{
	return *(const uint64_t *)((const char *)account + part->offset);
}

/* Growth of resident memory that no live block or mapping, stack, file or leakdiff itself explains;
 * 0 when it is below the thresholds (ALLOCATOR_BYTES, ALLOCATOR_SHARE) or not known. */
uint64_t account_unexplained(const struct heap *first, const struct heap *last);

#endif
