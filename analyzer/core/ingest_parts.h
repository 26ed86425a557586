/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_parts.h - the stages of ingest: stacks, roots, and the chunks that nodes become. */
#ifndef LEAKDIFF_INGEST_PARTS_H
#define LEAKDIFF_INGEST_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/code.h"
#include "core/layout.h"
#include "core/stream.h"
#include "core/types.h"

/* ---- ingest_stacks.c: stacks that live nodes have, each once, as people read them ---- */

struct ingest_stack {
	uint32_t first, count;		/* positions in frame_ids */
	uint32_t type;			/* of the allocation site */
	uint64_t uses;			/* nodes */
	bool truncated;
};

struct ingest_stacks {
	struct ingest_stack *stacks;	/* most used first */
	uint32_t count;
	uint32_t *of_raw;		/* stack of each stream stack id (0 included); UINT32_MAX = none */
	uint32_t *frame_ids;		/* frames of all stacks, innermost first */
	uint64_t frame_id_count;
	uint64_t cut_stacks;		/* stacks with more frames than are kept */
};

/* Returns 0 or -ENOMEM; ingest_stacks_done() after either. */
int ingest_stacks_make(struct ingest_stacks *stacks, struct code *code, struct types *types)
	__attribute__((warn_unused_result));
void ingest_stacks_done(struct ingest_stacks *stacks);

/* ---- ingest_roots.c: root regions split into variables, frames, ... ---- */

struct ingest_root {
	enum stream_root_kind kind;
	const char *name, *module, *thread;	/* interned */
	uint64_t start, end;
	uint32_t layout;		/* of the variable; LAYOUT_VOID = unknown */
	const char *file;		/* interned; where it is declared, NULL = unknown */
	uint32_t line;
};

struct ingest_root_edge {
	uint32_t root, target;
	uint64_t value, target_offset;
	uint8_t label;
	bool interior;
};

struct ingest_frame { uint32_t thread, depth, frame; uint64_t pc, cfa; };

struct ingest_roots {
	struct ingest_root *roots;
	uint32_t count;
	struct ingest_root_edge *edges;	/* by root, then in stream order */
	uint64_t edge_count;
	const char **thread_names;	/* as stream->threads: "main", "NAME (tid N)" */
	struct ingest_frame *tracebacks;	/* by thread, innermost first, inline frames expanded */
	uint32_t traceback_count;
};

/* layouts gets the types of the variables. Returns 0 or -ENOMEM; ingest_roots_done() after either. */
int ingest_roots_make(struct ingest_roots *roots, struct code *code, struct layouts *layouts)
	__attribute__((warn_unused_result));
void ingest_roots_done(struct ingest_roots *roots);

/* ---- ingest_types.c: of which type of C or C++ each node is ---- */

struct ingest_types;

/* Decide. Sizes, stacks and types of nodes are still those of the stream. Returns 0 or -ENOMEM, with NULL. */
int ingest_types_make(const struct stream *stream, struct code *code, struct layouts *layouts, struct types *types,
		      const struct ingest_stacks *stacks, const struct ingest_roots *roots,
		      struct ingest_types **ret_types) __attribute__((warn_unused_result));

/* The type of a node, UINT32_MAX where none was found. */
uint32_t ingest_types_of(const struct ingest_types *decided, uint32_t node);

struct store_writer;

/* Write the tables type_evidence, layouts and layout_members, and say which of the written layouts each is.
 * The numbers in types and roots become those. Returns 0 or -ENOMEM. */
int ingest_types_write(struct ingest_types *decided, struct store_writer *writer, struct layouts *layouts,
		       struct types *types, struct ingest_roots *roots) __attribute__((warn_unused_result));

/* Accepts NULL, returns NULL. */
struct ingest_types *ingest_types_free(struct ingest_types *decided);

/* ---- ingest_chunks.c: nodes and references as chunks, and their census ---- */

struct ingest_census {			/* what the tables meta and sites say of the nodes */
	uint64_t blocks, bytes;		/* live allocator blocks and their requested bytes */
	uint64_t mappings, mapped_bytes;/* anonymous mappings made by the program */
	uint64_t objects, object_bytes;	/* Python objects */
	uint64_t edges;			/* written, of nodes and roots */
};

/* Give every node its type and stack (in the stream's own columns: they become indices of the tables
 * types and stacks), then write node_chunks, edge_chunks, strings and sites. Returns 0 or -ENOMEM;
 * errors of writing stay in the writer. */
int ingest_chunks_write(struct store_writer *writer, struct stream *stream, struct code *code,
			struct types *types, const struct ingest_types *decided, const struct ingest_stacks *stacks,
			const struct ingest_roots *roots,
			void (*progress)(uint64_t done, uint64_t total, void *data),
			void *progress_data, struct ingest_census *ret_census)
	__attribute__((warn_unused_result));

/* ---- ingest_account.c: where resident memory is ---- */

struct heap_account;
struct heap_details;
void ingest_account_make(const struct stream *stream, struct heap_account *ret_account);
/* Where no block is known but their sum is: that much of the allocator's memory, or of what nothing explains,
 * is live. */
void ingest_account_estimate(struct heap_account *account, uint64_t live_bytes);
/* What the parts are made of, by kinds of mappings and by what the allocator's arenas hold. */
void ingest_account_split(const struct stream *stream, const struct heap_account *account,
			  struct heap_details *ret_details);
/* Write the tables account, account_details, arenas and arena_classes. */
void ingest_account_write(struct store_writer *writer, const struct stream *stream,
			  const struct heap_account *account);

#endif
