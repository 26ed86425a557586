/* SPDX-License-Identifier: Apache-2.0
 * L1  stream.h - a capture stream, read and checked: the only door to bytes that the service sent.
 *
 * After stream_read() every index, string offset and stack parent in the result is in range, nodes
 * ascend, edges decode to valid ids, and the totals of END agree; later stages need no checks. The
 * layout of the bytes is preload/stream.h. A stream owns all its memory; one thread per stream. */
#ifndef LEAKDIFF_CORE_STREAM_H
#define LEAKDIFF_CORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/stream.h"

struct stream_pair { const char *key, *value; };

/* A run of coded edges: one chunk's payload. */
struct stream_coded {
	uint8_t *bytes;
	uint32_t byte_count;
	uint64_t file_offset;		/* of the payload, for messages */
};

struct stream {
	uint16_t major, minor;
	uint64_t file_bytes;		/* read so far: at the end, the size of the stream */

	struct stream_pair *meta;	/* in file order; a later key overrides an earlier one */
	uint32_t meta_count;
	char *meta_text;		/* what the pairs point into */
	uint32_t meta_bytes;

	char *strings;			/* at least "", always NUL-terminated */
	uint32_t strings_bytes;

	struct stream_module *modules;
	uint32_t module_count;
	struct stream_segment *segments;
	uint32_t segment_count;
	struct stream_map *maps;
	uint32_t map_count;
	struct stream_thread *threads;
	uint32_t thread_count;
	struct stream_frame *tracebacks;
	uint32_t traceback_count;
	struct stream_stack *stacks;	/* stack id - 1 is the index */
	uint32_t stack_count;
	struct stream_pyframe *pyframes;
	uint32_t pyframe_count;
	struct stream_pythread *pythreads;
	uint32_t pythread_count;
	struct stream_pytrace *pytraces;
	uint32_t pytrace_count;
	struct stream_pycache *pycaches;
	uint32_t pycache_count;
	struct stream_arena *arenas;
	uint32_t arena_count;
	struct stream_type_name *types;
	uint32_t type_count;
	struct stream_root *roots;
	uint32_t root_count;
	struct stream_clock *clock;
	uint32_t clock_count;

	/* nodes as columns; `extra`, `weight` and `sample` are NULL when every node has the default (0, 1, 0) */
	uint32_t node_count;
	uint64_t *node_addr, *node_bytes, *node_birth;
	uint32_t *node_stack, *node_type, *node_thread, *node_extra, *node_weight, *node_sample;
	uint16_t *node_kind;

	struct stream_coded *edges, *root_edges;
	uint32_t edge_chunk_count, root_edge_chunk_count;

	char *profile;			/* text of an allocator's own profile, NUL-terminated; NULL = none */
	uint32_t profile_bytes;

	struct stream_end end;

	/* tolerated: a newer minor wrote it */
	uint64_t unknown_chunks, unknown_bytes;
	uint32_t unknown_type;		/* the first one met */
};

/* Read a whole stream from a descriptor, up to its END chunk.
 *
 * fd         borrowed; a pipe or a file, read sequentially. Nothing after END is read, so a writer
 *            that lingers does not hold the reader up.
 * progress   called now and then with the bytes read so far, or NULL.
 * ret_error  on failure one clear sentence, owned by the caller.
 * Returns 0 or -EBADMSG (empty, foreign, truncated, corrupt), -EPROTO (newer major), -ENOMEM, or a
 * negative errno from read(2). */
int stream_read(int fd, void (*progress)(uint64_t bytes, void *data), void *data,
		struct stream **ret_stream, char **ret_error) __attribute__((warn_unused_result));

/* A name by its offset: in range after stream_read(), so never NULL. */
static inline const char *stream_string(const struct stream *stream, uint32_t offset)
{
	return stream->strings + offset;
}

/* Value of a META key, or NULL. */
const char *stream_meta(const struct stream *stream, const char *key);

/* Does this label's value name a string? */
static inline bool stream_label_is_string(unsigned label)
{
	return label == STREAM_LABEL_ATTR || label == STREAM_LABEL_KEY ||
	       label == STREAM_LABEL_LOCAL || label == STREAM_LABEL_CELL ||
	       label == STREAM_LABEL_NAMED;
}

struct stream_edge {
	uint32_t source;		/* node id, or root id */
	uint32_t target;		/* node id */
	uint32_t label;			/* enum stream_label */
	bool interior;
	uint64_t value;
	uint64_t target_offset;		/* 0 unless interior */
};

/* Walks the coded edges of nodes or of roots, sources ascending. Plain data: copy it to remember a
 * position. */
struct stream_cursor {
	const struct stream *stream;
	const struct stream_coded *chunk, *chunk_end;
	const uint8_t *at, *end;
	bool of_roots;
	bool first_source;		/* in this chunk */
	uint64_t left;			/* references of this source still to come */
	uint32_t last_label;
	struct stream_edge edge;	/* the last one returned: base of the next differences */
};

void stream_cursor_start(const struct stream *stream, bool of_roots,
			 struct stream_cursor *ret_cursor);

/* Next edge. Returns 1 with *ret_edge, 0 at the end, or -EBADMSG (cannot happen after stream_read()). */
int stream_cursor_next(struct stream_cursor *cursor, struct stream_edge *ret_edge)
	__attribute__((warn_unused_result));

/* Release; accepts NULL and half-read streams, returns NULL. */
struct stream *stream_free(struct stream *stream);

#endif
