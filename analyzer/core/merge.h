/* SPDX-License-Identifier: Apache-2.0
 * L7  merge.h - clusters of growth that have one cause become one.
 *
 * A table for each thread, a shard of a cache for each slot of an array: the same code put the same things
 * into several places of the same kind. One cause is: what grew is alike and has one allocation stack, and the
 * points are of one type, and
 *   - their roots are called alike and differ by thread alone, or
 *   - one and the same variable holds them.
 * The heaviest point stands for all; the others are counted in cluster.place. */
#ifndef LEAKDIFF_MERGE_H
#define LEAKDIFF_MERGE_H

#include "core/growth.h"

/* Returns 0 or -ENOMEM. */
int merge_clusters(struct growth *growth) __attribute__((warn_unused_result));

#endif
