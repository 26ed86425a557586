/* SPDX-License-Identifier: Apache-2.0
 * L4  types.h - what a node is called: RTTI class, Python type, or where it was allocated. */
#ifndef LEAKDIFF_TYPES_H
#define LEAKDIFF_TYPES_H

#include <stdint.h>

#include "core/code.h"
#include "core/heap.h"

struct types {				/* each once; id 0 is "unknown site" */
	struct types_entry {
		const char *name;
		enum heap_type_source source;
		uint32_t layout;	/* of one element; LAYOUT_VOID = unknown */
		uint32_t header;	/* bytes in front of the first element */
	} *entries;
	uint32_t count;
	uint64_t capacity;
	struct hash_index index;
};

/* Returns 0 or -ENOMEM; types_done() after either. */
int types_init(struct types *types, struct strings *strings) __attribute__((warn_unused_result));
void types_done(struct types *types);

/* Id of a type; name is interned (NULL = its interning failed: -ENOMEM). */
int types_add(struct types *types, const char *name, enum heap_type_source source,
	      uint32_t *ret_type) __attribute__((warn_unused_result));

/* The same with how it lies in memory: one name may stand for several types that lie differently. */
int types_add_layout(struct types *types, const struct types_entry *entry, uint32_t *ret_type)
	__attribute__((warn_unused_result));

/* Name of an allocation site, interned: function, file and line of the first frame that is the
 * program's own ("handle_put server.c:120"), else the first one ("strdup libc.so.6"); NULL without
 * frames or memory. frames are ids, innermost first. */
const char *types_site_name(const struct code *code, const uint32_t *frames, uint32_t count);

/* Name of a type met in memory, as a person writes it, interned; NULL when memory is short. */
const char *types_memory_name(struct strings *strings, const char *name, uint32_t source);

#endif
