/* SPDX-License-Identifier: Apache-2.0
 * L2  reach.h - who is reachable at all: one flood from the roots, and the shape of what it misses.
 *
 * The flood goes tier by tier, strongest roots first, and each tier floods completely before the
 * next one starts:
 *
 *   0 global   variables; Python's modules
 *   1 frame    Python's frames: a method that just runs holds its object, too
 *   2 tls      3 python: the interpreter's own state      4 mapping
 *                                                0 .. 4 are what is held: one region, REACH_HELD
 *   5 stack    frames of the program; outer frames before inner ones
 *   6 slot     words of such frames that none of the function's variables covers
 *   7 library  the C library's own data
 *   8 scratch  frames of the C library: saved registers, arguments
 *   9 register                                   each a region of its own, 5 .. 9 as 1 .. 5
 *
 * (1) A node belongs to the region of the first tier that reaches it; REACH_NONE is the last region.
 * (2) An edge u -> v counts only when region[u] <= region[v] (reach_edge_counts()). This is the one
 *     predicate of the flood, the dominators and the chains: a stack slot or a register that points
 *     at what a variable holds anyway does not share in holding it, and garbage holds nothing.
 *     Without it every stale stack slot would tear a block out of its cache's retained set.
 * (3) The parents form a forest of shortest paths within each tier: chains are read from it. What Python's
 *     functions, frames and tracebacks lead to is met last, in tier 1 at the earliest: shortcuts that hold
 *     everything explain nothing.
 * (4) References out of HEAP_HIDDEN nodes (leakdiff's own) are followed only from tier 7 on.
 * (5) What the dynamic linker allocated for itself is held by the dynamic linker: its own pointers lie
 *     in memory that is read-only once the program runs, which is no root. Such blocks that nothing
 *     else reaches are met in tier 7 without a parent (LeakSanitizer does the same). */
#ifndef LEAKDIFF_REACH_H
#define LEAKDIFF_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"

enum reach_region { REACH_HELD = 0, REACH_NONE = 255 };

struct reach {
	uint8_t *region;		/* enum reach_region of every graph node, nodes + roots long */
	uint32_t *parent;		/* graph node that each node was first met from; HEAP_NONE = not reached, (5), or a root */
	uint32_t *order;		/* the reached nodes, parents before children, `reached` long */
	uint32_t reached;		/* number of nodes that some root reaches */
	uint32_t *loader;		/* the nodes of (5), ascending */
	uint32_t loader_count;
};

/* Flood the heap from its roots. Returns 0 with *ret_reach (reach_free()), or -ENOMEM. */
int reach_flood(const struct heap *heap, struct reach **ret_reach) __attribute__((warn_unused_result));
struct reach *reach_free(struct reach *reach);

static inline bool reach_edge_counts(const struct reach *reach, uint32_t from, uint32_t to)
{
	return reach->region[from] <= reach->region[to];
}

/* Tier of a root, 0 = strongest, see the drawing above. */
unsigned reach_root_tier(const struct heap_root *root);

/* The root (index in heap.root) whose path reach.parent holds for a node; HEAP_NONE = unreachable, or
 * held by the dynamic linker (5). */
uint32_t reach_root_of(const struct heap *heap, const struct reach *reach, uint32_t node);

/* The same for every node at once, linear. Returns 0 with *ret_root (`nodes` long, the caller frees
 * it), or -ENOMEM. */
int reach_roots(const struct heap *heap, const struct reach *reach, uint32_t **ret_root)
	__attribute__((warn_unused_result));

enum reach_leak {
	REACH_DIRECT,			/* nothing that is unreachable refers to it */
	REACH_INDIRECT,			/* hangs from another unreachable node */
	REACH_CYCLE,			/* in a cycle that nothing else refers to */
};

/* The unreachable nodes by how they hang together (LeakSanitizer's direct and indirect leaks, with a
 * head for every cycle). */
struct reach_leaks {
	uint32_t count;			/* unreachable nodes, folded and hidden ones included */
	uint32_t *node;			/* their ids, ascending */
	uint8_t *kind;			/* enum reach_leak of each */
	uint32_t *cycle;		/* number of its cycle (members are equal), or HEAP_NONE */
	uint32_t head_count;		/* one head per source component: its oldest member */
	uint32_t *head;			/* node ids, ascending */
};

/* Returns 0 with *ret_leaks (reach_leaks_free()), or -ENOMEM. Linear in the unreachable part. */
int reach_find_leaks(const struct heap *heap, const struct reach *reach,
		     struct reach_leaks **ret_leaks) __attribute__((warn_unused_result));
struct reach_leaks *reach_leaks_free(struct reach_leaks *leaks);

#endif
