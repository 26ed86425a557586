/* SPDX-License-Identifier: Apache-2.0
 * L7  holders.h - who else holds what grew: shared and dominated.
 *
 *   g_list --> entry <-- g_index       neither dominates the entry: dropping g_list alone frees nothing
 *
 * For each node of a cluster the gate is its outermost dominator that is not a root. A gate that some root
 * dominates goes when that root lets go; any other is shared, and whoever refers to it from outside is a holder.
 *
 * (1) References count by reach.h's one predicate: what a variable holds anyway is not shared by a stack slot.
 * (2) The interpreter's own state reaches everything of Python's: it counts only where nobody else does, and so
 *     a module or a class, which every import refers to, is never a gate.
 * (3) At most HOLDERS_SHOWN holders of one cluster are kept, the heaviest; the others are counted. */
#ifndef LEAKDIFF_HOLDERS_H
#define LEAKDIFF_HOLDERS_H

#include <stdint.h>

#include "core/growth.h"

#define HOLDERS_SHOWN 8

struct holder {
	uint32_t root;			/* index in the last heap's roots */
	uint64_t count, bytes;		/* of what grew: how much it holds, alone or with others */
};

struct holders {			/* of one cluster */
	struct holder list[HOLDERS_SHOWN];
	uint32_t count, more;
	uint64_t shared_bytes;		/* grown bytes that no single root dominates */
	uint64_t shared_count;
};

/* Returns 0 with *ret_holders, one entry a cluster (free()), or -ENOMEM. */
int holders_find(const struct growth *growth, struct holders **ret_holders) __attribute__((warn_unused_result));

#endif
