/* SPDX-License-Identifier: Apache-2.0
 * L4  nodes.h - the live blocks and mappings of the frozen table, numbered by address, and found by address.
 *
 * Snapshot child only. Node ids are indices in address order, an enclosing node before what it
 * encloses; they are the ids of the stream. */
#ifndef LEAKDIFF_NODES_H
#define LEAKDIFF_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "live.h"
#include "marks.h"

enum node_flags {
	NODE_MAPPING = 1,		/* made by the program's mmap */
	NODE_FOLDED = 2,		/* a mapping that holds blocks: their container, not counted */
	NODE_STACK = 4,			/* a thread runs on it: scanned as a root from its stack pointer */
	NODE_OBJECT = 8,		/* a Python object: its references are exact, it is not scanned */
	NODE_OWNED = 16,		/* a Python object's buffer: its owner says what is in it */
	NODE_ARENA = 32,		/* a mapping that holds Python objects; what lies between them is scanned */
	NODE_INNER = 64,		/* a Python object in an arena: nothing was recorded about it */
	NODE_POOLS = 128,		/* a mapping that is an arena of Python's own allocator */
};

/* Calls `visit` with each Python object that becomes a node: ascending, addr before the object itself where
 * its allocation has a header, own_bytes from addr. */
typedef void node_objects(void (*visit)(uint64_t addr, uint64_t own_bytes, void *data), void *data, void *context);

struct node_mapping {
	uint64_t start, end;
	uint32_t node;
	uint32_t used_bytes;		/* NODE_POOLS: in blocks in use */
};

struct nodes {
	uint32_t count;
	uint64_t *addr;			/* ascending */
	uint32_t *low_bytes;		/* UINT32_MAX: see ld__nodes_bytes() */
	uint8_t *kind;			/* enum stream_node_kind; 0, so never touched, of objects in arenas */
	uint32_t *type;			/* index in TYPES + 1; 0 = not known */
	uint8_t *flags;
	struct node_mapping *mappings;	/* ascending */
	uint32_t mapping_count;
	struct node_large *large;	/* blocks of 4 GiB and more, in no order */
	uint32_t large_count, large_room;
	uint64_t low, high;		/* every node lies in [low, high) */
	uint64_t refused;		/* blocks beyond 2^32 - 2, or at an address that no block can have */
	uint64_t room;
	struct marks marks;		/* where blocks begin: their number is their id */
};

/* Read the live table, and the Python objects, if any, among it. object_count: at least how many `objects`
 * will visit. Returns 0 or -ENOMEM. */
int ld__nodes_new(struct nodes *nodes, node_objects *objects, void *context, uint32_t object_count);

/* What was recorded of a node: birth, stack and all. It is asked of the frozen tables each time, since to keep
 * it here would cost as much as all the rest. All 0 of an object in an arena. */
struct live_block ld__nodes_record(const struct nodes *nodes, uint32_t id);

/* Requested bytes of a node that has 4 GiB or more. */
uint64_t ld__nodes_large(const struct nodes *nodes, uint32_t id);

static inline uint64_t node_bytes(const struct nodes *nodes, uint32_t id)
{
	return nodes->low_bytes[id] != UINT32_MAX ? nodes->low_bytes[id] : ld__nodes_large(nodes, id);
}
static inline uint64_t node_end(const struct nodes *nodes, uint32_t id)
{
	return nodes->addr[id] + node_bytes(nodes, id);
}

/* The innermost node that holds addr, with the offset into it; STREAM_NONE = none.
 * Zero-size blocks are one byte long. */
uint32_t ld__nodes_find(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset);

/* First node whose address is >= addr (count when there is none). */
uint32_t ld__nodes_lower_bound(const struct nodes *nodes, uint64_t addr);

#endif
