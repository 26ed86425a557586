/* SPDX-License-Identifier: Apache-2.0
 * L5  objects.h - Python objects among the nodes of a snapshot.
 *
 *   object in an interpreter arena      a node of its own; the arena is its container (NODE_ARENA)
 *   object in a block of malloc         one node: the block's birth and stack, the object's type and size
 *   block that is an object's buffer    folded into the object (NODE_OWNED): never scanned
 *   object in a module's data           no node; its references are the interpreter's own
 *
 * Snapshot child only, after ld__python_with_gil() made the fork. */
#ifndef LEAKDIFF_OBJECTS_H
#define LEAKDIFF_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "edges.h"
#include "nodes.h"
#include "rtti.h"
#include "stop.h"
#include "writer.h"

struct objects;

/* Enumerate. NULL when there is no memory or Python cannot be walked. */
struct objects *ld__objects_new(void);

/* For ld__nodes_new(): a node_objects, context is the struct objects. */
void ld__objects_list(void (*visit)(uint64_t addr, uint64_t own_bytes, void *data), void *data, void *objects);
uint32_t ld__objects_count(const struct objects *objects);

/* The nodes are made, the memory is not classified yet: find the arenas of Python's own allocator. */
void ld__objects_find_arenas(struct objects *objects, struct nodes *nodes);

/* Find the blocks that are buffers, name the types. */
void ld__objects_join(struct objects *objects, struct nodes *nodes, struct rtti *rtti);

/* References of a node that is an object, into edges (begun by the caller). */
void ld__objects_give(struct objects *objects, uint32_t node, struct edges *edges, struct writer *writer);

/* Does a word of native memory that points into object node `target` refer to it? Only if it is the
 * object's address and the object has references that no other object explains. */
bool ld__objects_held(uint64_t word);

/* The block of an object in an arena that holds its contents (a list's items): the node whose birth and
 * stack say when and where it came to be; STREAM_NONE = there is none. */
uint32_t ld__objects_origin(struct objects *objects, uint32_t node);

struct object_facts {
	uint64_t bytes;			/* sys.getsizeof */
	uint32_t unexplained;		/* references that nothing explains */
	uint32_t type;			/* index in TYPES */
};
/* Once for each node that is an object: they are counted here. */
void ld__objects_describe(struct objects *objects, uint32_t node, struct object_facts *ret_facts);

/* Write the roots (ROOTS is open); returns how many. Then their references (ROOT_EDGES is open), root ids
 * from `first`. */
uint32_t ld__objects_write_roots(struct objects *objects, struct writer *writer, const struct stop *stop);
void ld__objects_give_roots(struct objects *objects, uint32_t first, struct edges *edges,
			    struct writer *writer);

/* Write PYTHREADS and PYTRACES. */
void ld__objects_write_traces(struct objects *objects, struct writer *writer, const struct stop *stop);

/* Write PYCACHES. */
void ld__objects_write_caches(struct objects *objects, struct writer *writer);

/* META pairs (META is open): what is known when the objects are found, and when all are described. */
void ld__objects_write_meta(struct objects *objects, struct writer *writer);
void ld__objects_write_sums(struct objects *objects, struct writer *writer);

#endif
