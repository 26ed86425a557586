/* SPDX-License-Identifier: Apache-2.0
 * L3  nodes.h - the live blocks and mappings of the frozen table, sorted, and found by address.
 *
 * Snapshot child only. Node ids are indices in address order, an enclosing node before what it
 * encloses; they are the ids of the stream. */
#ifndef LEAKDIFF_NODES_H
#define LEAKDIFF_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "live.h"

enum node_flags {
	NODE_MAPPING = 1,		/* made by the program's mmap */
	NODE_FOLDED = 2,		/* a mapping that holds blocks: their container, not counted */
	NODE_STACK = 4,			/* a thread runs on it: scanned as a root from its stack pointer */
	NODE_OBJECT = 8,		/* a Python object: its references are exact, it is not scanned */
	NODE_OWNED = 16,		/* a Python object's buffer: its owner says what is in it */
	NODE_ARENA = 32,		/* a mapping that holds Python objects; what lies between them is scanned */
};

struct node_extent {
	uint64_t addr, bytes;
};

/* A Python object that becomes a node, see objects.h. */
struct node_object {
	uint64_t addr;			/* 0 = part of a module's data: no node */
	uint32_t own_bytes;		/* from addr */
	uint32_t type;			/* the caller's business */
	uint32_t node;			/* set by ld__nodes_new() */
};

struct node_mapping {
	uint64_t start, end;
	uint32_t node;
};

struct nodes {
	uint32_t count;
	struct node_extent *extents;	/* ascending */
	uint32_t *source;		/* index in blocks; STREAM_NONE = an object in an arena */
	uint32_t *object;		/* index of the object, STREAM_NONE = none; NULL without Python */
	uint32_t *type;			/* index in TYPES or STREAM_NONE */
	uint8_t *flags;
	struct live_block *blocks;	/* as visited */
	struct node_mapping *mappings;	/* ascending */
	uint32_t mapping_count;
	uint64_t low, high;		/* every node lies in [low, high) */
	uint64_t refused;		/* blocks beyond 2^32 - 2 */
	uint32_t **pages;		/* see nodes.c */
};

/* Read the live table and sort it, and the Python objects, if any, among it. Returns 0 or -ENOMEM. */
int ld__nodes_new(struct nodes *nodes, struct node_object *objects, uint32_t object_count);

/* The innermost node that holds addr, with the offset into it; STREAM_NONE = none.
 * Zero-size blocks are one byte long. */
uint32_t ld__nodes_find(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset);

/* First node whose address is >= addr (count when there is none). */
uint32_t ld__nodes_lower_bound(const struct nodes *nodes, uint64_t addr);

#endif
