/* SPDX-License-Identifier: Apache-2.0
 * L2  store_columns.h - the chunks of a snapshot file as columns and CSR references. Private to the store. */
#ifndef LEAKDIFF_STORE_COLUMNS_H
#define LEAKDIFF_STORE_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/chunks.h"
#include "core/store_internal.h"

/* What a row of the table edge_chunks covers. */
struct store_edge_chunk { uint32_t first_source, last_source; int64_t id; uint32_t count; };

struct store_edges {
	uint32_t *start;		/* graph nodes + 1 long, into `to` */
	uint32_t *to;			/* sorted within a source, without references to the source itself */
	uint64_t count;
	struct store_edge_chunk *chunks;	/* in order */
	uint32_t chunk_count;
};

/* Read all nodes, `kinds` too or not. columns->stack_type and the limits are set; the columns are made here and belong to
 * the caller, also after a failure. Returns 0, -ENOMEM, or -EBADMSG with the row that cannot be. */
int store_columns_nodes(struct store_file *file, uint64_t nodes, bool kinds, struct chunk_nodes *columns, uint64_t *ret_row)
	__attribute__((warn_unused_result));

/* Read the targets of all references out of `nodes` + `roots` graph nodes; `total` below UINT32_MAX is what
 * the file claims. edges is zero-initialised; as above. */
int store_columns_edges(struct store_file *file, uint32_t nodes, uint32_t roots, uint64_t total,
			struct store_edges *edges, uint64_t *ret_row) __attribute__((warn_unused_result));

#endif
