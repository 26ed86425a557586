/* SPDX-License-Identifier: Apache-2.0
 * L3  code.h - code addresses of one capture, as frames: each location is looked up once.
 *
 * A location is (file, address in the file): the same code of a library that was unloaded and loaded
 * elsewhere is one location, so stacks over both are equal. Its frames are the function and what was
 * inlined into it, innermost first. Frame and location ids grow from 0. */
#ifndef LEAKDIFF_CODE_H
#define LEAKDIFF_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash_index.h"
#include "core/stream.h"
#include "core/strings.h"
#include "core/symbols.h"

enum code_role {			/* of a location; decides what stacks leave out */
	CODE_PLAIN = 0,
	CODE_SELF = 1,			/* the shim: never shown */
	CODE_ALLOCATOR = 2,		/* malloc and its kind, operator new: not shown at the innermost end */
	CODE_LIBRARY = 4,		/* C and C++ run time: shown, but names no allocation site */
};

struct code_frame {			/* strings are interned: equal text, equal pointer */
	const char *function, *file, *module, *language;
	uint32_t line;
	bool inlined;
	bool library;			/* names no allocation site */
	bool wrapper;			/* because it is called so, or a person says so */
};

struct code_location { uint32_t first, count; unsigned role; };	/* positions in code.frame_ids */

struct code {
	const struct stream *stream;
	struct strings *strings;
	struct symbols *symbols;

	const char *const *wrappers;	/* functions that a person calls wrappers of the allocator; set after code_init() */
	size_t wrapper_count;

	struct code_module { int file; const char *name; } *modules;	/* as stream->modules */
	uint32_t *by_place;		/* module indices, sorted by generation and start */
	uint32_t *mapped;		/* those still mapped at the snapshot, sorted by start */
	uint32_t mapped_count;

	struct code_frame *frames;	/* each once */
	uint32_t frame_count;
	struct code_location *locations;
	uint32_t location_count;
	uint32_t *frame_ids;		/* of all locations */
	uint32_t frame_id_count;

	uint64_t frame_capacity, location_capacity, frame_id_capacity;
	struct code_key { uint64_t addr; uint32_t place; } *location_keys;	/* as locations */
	uint64_t location_key_capacity;
	struct hash_index location_index, frame_index;
};

/* root  see symbols_new().
 * pid   of the process while it lives, as this process sees it: its /proc still has files that were
 *       deleted or replaced. 0 = unknown.
 * Returns 0 or -ENOMEM; code_done() after either. */
int code_init(struct code *code, const struct stream *stream, const char *root, uint64_t pid)
	__attribute__((warn_unused_result));
void code_done(struct code *code);

/* Location of a code address. is_return: it is a return address, the call lies before it.
 * Returns 0 or -ENOMEM. */
int code_locate(struct code *code, uint64_t pc, uint16_t generation, bool is_return,
		uint32_t *ret_location) __attribute__((warn_unused_result));

/* Location of a Python code position (index in stream->pyframes). */
int code_locate_python(struct code *code, uint32_t pyframe, uint32_t *ret_location)
	__attribute__((warn_unused_result));

/* Index of the module that is mapped at an address at the time of the snapshot, or STREAM_NONE. */
uint32_t code_module_at(const struct code *code, uint64_t addr);

/* Base name of a path. */
const char *code_base_name(const char *path);

#endif
