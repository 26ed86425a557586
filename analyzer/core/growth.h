/* SPDX-License-Identifier: Apache-2.0
 * L6  growth.h - what grew, node by node, and where it accumulates.
 *
 * Growth is a weight on the nodes of the last snapshot: all bytes of a new block, the bytes that a
 * resized one gained. The dominator tree under that weight is walked from the top:
 *
 *      g_server 31 MiB        each step to the child that keeps most of the growth, until no child
 *        table 31 MiB         keeps GROWTH_DROP of it: there growth fans out into many. That node
 *          entry 1 MiB  x 30  is the accumulation point; its children are the items; what grew in
 *            body 1 MiB       and below them is one cluster.
 *
 * (1) A grown node is in exactly one cluster or in the counted rest.
 * (2) A list, a tree or a ring is an item that hangs from an item of its kind: the point is the
 *     holder of its head, never one of its own elements.
 * (3) A resized block is its own accumulation point. A new block that is growth itself is an item.
 * (4) Small companions (the entry beside the body) belong to the items that hold them.
 * (5) Where several roots share the items, no node dominates them; then the point is found in the
 *     same way in the tree of shortest paths.
 * (6) Unreachable growth clusters below the type of its heads; such a cluster has no point.
 * (7) What grew is the kind of object with most bytes, together with its peers: kinds that other
 *     parents of the same kind refer to (the bodies of PUT and of POST, each in an entry of its own).
 *     Whatever else is in the cluster are companions. */
#ifndef LEAKDIFF_GROWTH_H
#define LEAKDIFF_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/dominators.h"
#include "core/series.h"
#include "core/thresholds.h"

struct cluster {
	bool unreachable;
	bool resized;			/* the point itself grew (realloc) */
	bool cycle;			/* unreachable, and the heads are in cycles */
	uint32_t point;			/* graph node id of the accumulation point; HEAP_NONE = none */
	uint32_t *place;		/* further points of the same cause, see merge.h */
	uint32_t place_count, place_room;
	uint32_t children;		/* items that carry growth */
	uint32_t *item;			/* the items, or the heads of unreachable growth */
	uint32_t item_count, item_room;
	uint32_t *node;			/* grown nodes, in no order */
	uint32_t node_count, node_room;
	uint64_t bytes;			/* grown bytes of all of them */
	uint64_t retained_bytes;	/* everything that goes when the items go */
	uint8_t *counts;		/* of each node: is it what grew, or a companion (7)? */
	uint32_t main;			/* a node of the kind with most grown bytes */
	uint64_t main_count, main_bytes;/* blocks and grown bytes of what grew */
};

struct growth {
	const struct series *series;
	uint64_t *bytes;		/* grown bytes of each node of the last heap, 0 = did not grow */
	uint64_t total_bytes;		/* of them all */
	struct reach_leaks *leaks;	/* of the last heap */
	struct dominators *tree;	/* of the last heap */
	uint64_t *retained;		/* all bytes retained, by id of the tree */
	struct cluster *clusters;	/* heaviest first */
	uint32_t cluster_count;
	uint64_t rest_bytes;		/* growth in no cluster: too little in any one place */
	uint32_t rest_clusters;		/* places beyond GROWTH_MAX_CLUSTERS */
};

/* Returns 0 with *ret_growth (growth_free()), or -ENOMEM, -EOVERFLOW. */
int growth_find(const struct series *series, struct growth **ret_growth) __attribute__((warn_unused_result));
struct growth *growth_free(struct growth *growth);

#endif
