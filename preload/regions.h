/* SPDX-License-Identifier: Apache-2.0
 * L5  regions.h - what each piece of the address space is: root, node memory or neither. */
#ifndef LEAKDIFF_REGIONS_H
#define LEAKDIFF_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "maps.h"
#include "nodes.h"
#include "stop.h"
#include "stream.h"

/* A piece of a mapping: mappings are cut where owners change (the kernel merges neighbours). */
struct region {
	uint64_t start, end, offset;
	uint64_t rss_bytes, pss_bytes, swap_bytes;
	uint64_t live_bytes;		/* bytes of live nodes in resident pages */
	uint32_t map;			/* index in the child's maps, STREAM_NONE = not copied by the fork */
	uint32_t module;		/* index in the library's module list, or STREAM_NONE */
	uint32_t name;			/* offset in the names of `maps` or `smaps` (from_smaps) */
	uint8_t prot, shared, kind, from_smaps;	/* kind: enum stream_map_kind */
};

struct region_root {
	uint64_t start, end;		/* REGISTER: the thread's saved registers in our memory */
	uint32_t kind;			/* enum stream_root_kind */
	uint32_t module, thread;	/* thread: index in THREADS as written, or STREAM_NONE */
	uint32_t region;		/* MAPPING: index of its region */
	bool exact;			/* only pointers to a block's first byte count, see regions.c */
	bool gaps;			/* only what lies between live blocks */
};

/* Ranges that a root must not read although they lie in its memory: ascending, disjoint. */
struct region_hole {
	uint64_t start, end;
};

struct region_thread {
	uint64_t stack_start, stack_end;	/* of the mapping or block that holds the stack pointer */
	uint64_t tls_start, tls_end;		/* 0 = unknown */
};

struct regions {
	struct region *items;
	uint32_t count, capacity;
	struct region_root *roots;
	uint32_t root_count, root_capacity;
	struct region_hole *holes;
	uint32_t hole_count;
	struct region_thread *threads;	/* parallel to the stop's table */
	struct spans spans;		/* pages that hold anything, of all regions that are scanned */
	uint64_t refused;		/* regions and roots beyond the capacity */
	uint64_t unforked_bytes;	/* memory that the service keeps out of forks */
};

struct region_input {
	const struct maps *maps, *smaps;
	struct nodes *nodes;		/* NODE_STACK is set where a thread runs on one */
	const struct stop *stop;
	int pagemap_fd;
	bool unrecorded;		/* there are blocks that the live table does not know */
};

/* Classify everything. Snapshot child only. Returns 0 or -ENOMEM. */
int ld__regions_new(struct regions *regions, const struct region_input *input);

#endif
