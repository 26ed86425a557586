/* SPDX-License-Identifier: Apache-2.0
 * L0  rss.h - resident memory of one snapshot or two, for print and for JSON. */
#ifndef LEAKDIFF_CLI_RSS_H
#define LEAKDIFF_CLI_RSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arenas.h"
#include "core/heap.h"

#define RSS_SNAPSHOTS 2

struct rss_mappings {
	uint64_t others_bytes;		/* what of the total is other processes' share of common pages */
	uint64_t swap_bytes;
	uint64_t unknown;		/* mappings whose resident size could not be read */
};

struct rss {
	struct heap *heaps[RSS_SNAPSHOTS];	/* meta and account only */
	struct rss_mappings mappings[RSS_SNAPSHOTS];
	size_t count;
	struct arenas_report arenas;	/* of the last one */
	char **notes;			/* what is uncertain, one sentence each */
	size_t note_count;
	bool broken;			/* a note could not be made: no memory */
};

#endif
