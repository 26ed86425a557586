/* SPDX-License-Identifier: Apache-2.0
 * L6  scan.h - every aligned word of roots and nodes: does it point into a node? */
#ifndef LEAKDIFF_SCAN_H
#define LEAKDIFF_SCAN_H

#include <stdint.h>

#include "edges.h"
#include "nodes.h"
#include "objects.h"
#include "regions.h"
#include "rtti.h"

struct scan {
	struct nodes *nodes;
	struct regions *regions;
	struct rtti *rtti;
	struct objects *objects;	/* NULL without Python */
	struct edges *edges;		/* of the pass that runs */
	struct writer *writer;
	uint64_t words, skipped_words;
	uint64_t edge_count, root_edge_count;
	bool cut_short;			/* the time limit came before the end */

	/* the source at hand */
	uint64_t label_base;		/* labels are addresses less this */
	uint32_t self;			/* node that is scanned; references to itself do not count */
	bool exact;			/* only pointers to a node's first byte */
	bool native_only;		/* only native blocks: between the objects of an arena */
};

/* Write EDGES; fills nodes->type and the regions' live_bytes. Returns 0 or a negative errno. */
int ld__scan_nodes(struct scan *scan, struct writer *writer);

/* Write ROOT_EDGES. */
int ld__scan_roots(struct scan *scan, struct writer *writer);

#endif
