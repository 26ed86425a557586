/* SPDX-License-Identifier: Apache-2.0
 * L4  ingest_cells.h - nodes that must be of one type, and the votes of the pointers that lead to them.
 *
 * A cell is all live blocks of one allocation stack, one size and one class (by RTTI). Blocks without a
 * stack have nothing in common: each of them is typed by itself, by the first pointer that knows it. */
#ifndef LEAKDIFF_INGEST_CELLS_H
#define LEAKDIFF_INGEST_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/layout.h"
#include "core/stream.h"

#define CELL_NONE UINT32_MAX		/* no block: a mapping, a Python object, what encloses others */
#define CELL_SINGLE (UINT32_MAX - 1)	/* a block without a stack and a class */

enum cell_method {
	CELL_UNKNOWN = 0, CELL_RTTI, CELL_ATTRIBUTE, CELL_VARIABLE, CELL_FIELD, CELL_RETURN, CELL_NEW, CELL_CONTAINER,
	CELL_POINTERS,
};

struct cell_origin {			/* of a vote: the typed memory that the pointer lies in */
	uint32_t source;		/* layout, or with is_root a root */
	bool is_root;
	uint64_t bytes, offset;		/* of the memory, of the pointer in it */
};

struct cell_vote { uint32_t layout, count; struct cell_origin origin; };

struct cell {
	uint64_t bytes, nodes;		/* of each; how many */
	uint32_t stack;			/* of ingest_stacks; UINT32_MAX = none */
	uint32_t class;			/* of stream types; STREAM_NONE = none */
	uint32_t layout;		/* LAYOUT_VOID = not known */
	uint32_t header;		/* bytes in front of the first element */
	uint32_t location;		/* of the code that says so */
	bool has_tail;			/* one element and something else, though its size divides the block's */
	enum cell_method method;
	uint8_t confidence;		/* 1 possible, 2 likely, 3 certain */
	const char *evidence;		/* interned; NULL = the origin */
	const char *name;		/* interned; of a container's part, or NULL: the layout's */
	struct cell_origin origin;	/* of what made the type, where pointers did */
	uint32_t agree, disagree;	/* typed pointers, at the last pass */
	struct cell_vote votes[2];	/* of this pass: the two layouts most heard of */
};

struct cell_single { uint32_t layout; bool is_array; struct cell_origin origin; };

struct cells {
	struct cell *cells;
	uint64_t room;
	uint32_t count;
	uint32_t *of_node;		/* cell, CELL_NONE or CELL_SINGLE */
	struct cell_single *singles;	/* by node; NULL where no node is one */
};

struct cell_root { uint32_t layout; uint64_t start, end; };

struct cell_root_edge { uint32_t root, target; uint64_t value, target_offset; };

/* Let typed memory say what its pointers lead to, again and again until nobody learns anything more.
 *
 * roots, edges  variables with types, and the references out of them; borrowed.
 * Returns the number of passes, or -ENOMEM. */
int cells_propagate(struct cells *cells, const struct stream *stream, const struct layouts *layouts,
		    const struct cell_root *roots, const struct cell_root_edge *edges, uint64_t edge_count)
	__attribute__((warn_unused_result));

#endif
