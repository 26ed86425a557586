/* SPDX-License-Identifier: Apache-2.0
 * L1  chunks.h - columns of nodes and references as compressed blobs, and back.
 *
 *   columns -> difference to a prediction -> varint -> zstd frame with checksum
 *
 * The predictions are chosen so that what a heap usually looks like becomes runs of zeros: the next
 * block starts where glibc would put it, a type is the one of its allocation stack, values of one
 * source grow by the same step. Knows nothing of files or SQLite. Decoding treats a blob as hostile:
 * it fills exactly `count` elements with ids below the given limits or refuses. */
#ifndef LEAKDIFF_CHUNKS_H
#define LEAKDIFF_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_NODES 65536u
#define CHUNK_EDGES 65536u

/* Node columns, indexed by node id. */
struct chunk_nodes {
	uint64_t *addr, *bytes, *birth;
	uint32_t *stack;		/* index or UINT32_MAX */
	uint32_t *type;			/* index */
	uint32_t *thread;
	uint32_t *extra;		/* NULL = all 0 */
	uint32_t *weight;		/* NULL = all 1 */
	uint8_t *flags;			/* enum heap_node_flags */
	uint8_t *kind;			/* enum stream_node_kind; decoding: NULL = not wanted */
	const uint32_t *stack_type;	/* type of each stack: the prediction for `type` */
	uint32_t stack_count, type_count;
};

/* References of one chunk. `source` and `start` describe runs: references start[i] .. start[i+1]-1
 * come from source[i]; sources ascend strictly. */
struct chunk_edges {
	uint32_t source_count, edge_count;
	uint32_t source[CHUNK_EDGES];
	uint32_t start[CHUNK_EDGES + 1];
	uint32_t target[CHUNK_EDGES];
	uint8_t label[CHUNK_EDGES];	/* enum stream_label << 1 | interior */
	uint64_t value[CHUNK_EDGES];
	uint64_t offset[CHUNK_EDGES];	/* into the target; 0 unless interior */
};

struct chunk_coder;			/* zstd contexts and buffers; one thread each */

/* Returns NULL when memory is short. */
struct chunk_coder *chunk_coder_new(void);
struct chunk_coder *chunk_coder_free(struct chunk_coder *coder);

/* Encode nodes first .. first + count - 1 (count <= CHUNK_NODES). *ret_blob is valid until the coder
 * is used again. Returns 0 or -ENOMEM. */
int chunk_encode_nodes(struct chunk_coder *coder, const struct chunk_nodes *nodes, uint32_t first,
		       uint32_t count, const void **ret_blob, size_t *ret_bytes)
	__attribute__((warn_unused_result));

/* Decode into rows first .. of the columns. `extra` and `weight` must be there if the blob has them:
 * *ret_columns says with CHUNK_HAS_* which columns it carries when they are NULL (then -ENODATA).
 * Returns 0, -EBADMSG, -ENOMEM or -ENODATA. */
#define CHUNK_HAS_EXTRA 1u
#define CHUNK_HAS_WEIGHT 2u
int chunk_decode_nodes(struct chunk_coder *coder, const void *blob, size_t bytes,
		       const struct chunk_nodes *nodes, uint32_t first, uint32_t count,
		       unsigned *ret_columns) __attribute__((warn_unused_result));

/* Encode as two blobs: what a graph needs, and the labels. Both valid until the coder is used again. */
int chunk_encode_edges(struct chunk_coder *coder, const struct chunk_edges *edges,
		       const void **ret_targets, size_t *ret_targets_bytes, const void **ret_labels,
		       size_t *ret_labels_bytes) __attribute__((warn_unused_result));

/* Decode sources and targets: `edges` must hold `count` references with sources below source_limit
 * and targets below target_limit. Returns 0, -EBADMSG or -ENOMEM. */
int chunk_decode_targets(struct chunk_coder *coder, const void *blob, size_t bytes, uint32_t count,
			 uint32_t source_limit, uint32_t target_limit, struct chunk_edges *edges)
	__attribute__((warn_unused_result));

/* Decode the labels of references whose targets are decoded already; names are below string_limit. */
int chunk_decode_labels(struct chunk_coder *coder, const void *blob, size_t bytes,
			uint32_t string_limit, struct chunk_edges *edges)
	__attribute__((warn_unused_result));

#endif
