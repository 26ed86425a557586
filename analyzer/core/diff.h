/* SPDX-License-Identifier: Apache-2.0
 * L5  diff.h - the growth table: live memory of two or more snapshots, in rows.
 *
 * (1) Rows partition live memory: every counted byte of every snapshot is in exactly one row.
 * (2) Grouped by type, a row is one type and one exact size where that size repeats (two blocks of it
 *     in one snapshot) or where the type has only one size; the type's other blocks share a row
 *     without a size. Of a type with more than ROW_SIZES sizes that repeat, only those have rows that
 *     are ROW_SHARE of it: of its blocks, its bytes or its growth. A block that was resized between snapshots is always in the row without a size,
 *     in every snapshot, so it counts +0 there.
 * (3) Sorted by growth in bytes unless asked otherwise; rows that shrank or stayed are listed too.
 *
 * One snapshot alone makes a table as well (`top`): everything in it is old. */
#ifndef LEAKDIFF_DIFF_H
#define LEAKDIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/series.h"

enum diff_by { DIFF_BY_TYPE = 0, DIFF_BY_SITE, DIFF_BY_HOLDER, DIFF_BY_MODULE, DIFF_BY_THREAD };
enum diff_sort { DIFF_SORT_GROWTH = 0, DIFF_SORT_BYTES, DIFF_SORT_COUNT, DIFF_SORT_NEW, DIFF_SORT_NAME };
enum diff_state { DIFF_REFERENCED = 0, DIFF_UNREACHABLE, DIFF_MIXED };

struct diff_row {
	char *type;			/* as shown: "1048576 B from handle_put server.c:120" */
	enum heap_type_source source;
	bool exact;			/* all blocks of the row are `size` bytes */
	uint64_t size;
	uint64_t *count, *bytes;	/* one entry per snapshot */
	uint64_t new_count, new_bytes;	/* born after the first snapshot and alive in the last */
	uint64_t survivor_count, survivor_bytes;	/* of these, older than the last snapshot but one */
	uint64_t oldest_birth, newest_birth;	/* in the last snapshot; 0 = none known */
	uint64_t retained_bytes;	/* for whoever computes it (cmd_top); 0 here */
	enum diff_state state;		/* in the last snapshot that has the row */
	const struct heap *stack_heap;	/* by site: where `stack` is from */
	uint32_t stack;
};

struct diff {
	size_t heap_count;
	struct diff_row *rows;
	size_t row_count;
	uint64_t *count, *bytes;	/* totals per snapshot over all rows, hidden ones included */
	size_t hidden_rows;		/* left out because min_bytes or the type pattern asked for it */
	uint64_t hidden_bytes;		/* their bytes in the last snapshot */
	uint32_t *row_of;		/* keep_nodes: row of each node of the last heap before sorting and */
	uint32_t *place;		/* hiding; place[row_of[v]] is its index in rows, HEAP_NONE = hidden */
	uint32_t made_rows;		/* how many there were before hiding */
	uint64_t *numbers;		/* storage of count and bytes of all rows */
};

struct diff_options {
	enum diff_by by;
	enum diff_sort sort;
	uint64_t min_bytes;		/* hide rows that neither grew nor shrank by this much; one snapshot: that are smaller */
	const char *type;		/* pattern or NULL */
	bool keep_nodes;		/* is diff.row_of wanted? */
};

/* Returns 0 with *ret_diff (diff_free()), or -ENOMEM. */
int diff_make(const struct series *series, const struct diff_options *options, struct diff **ret_diff)
	__attribute__((warn_unused_result));
struct diff *diff_free(struct diff *diff);

/* The words "type", "site", ...; returns -EINVAL for another. */
int diff_parse_by(const char *word, enum diff_by *ret_by) __attribute__((warn_unused_result));
int diff_parse_sort(const char *word, enum diff_sort *ret_sort) __attribute__((warn_unused_result));
const char *diff_state_name(enum diff_state state);

/* Growth of a row from the first to the last snapshot. */
static inline int64_t diff_growth_bytes(const struct diff *diff, const struct diff_row *row)
{
	return (int64_t)(row->bytes[diff->heap_count - 1] - row->bytes[0]);
}

static inline int64_t diff_growth_count(const struct diff *diff, const struct diff_row *row)
{
	return (int64_t)(row->count[diff->heap_count - 1] - row->count[0]);
}

#endif
