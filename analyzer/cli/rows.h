/* SPDX-License-Identifier: Apache-2.0
 * L1  rows.h - the table of a comparison, made beside what follows.
 *
 *   rows_begin(&rows, series, &options, true);  ... who holds what ...;  r = rows_end(&rows, &diff);
 *
 * The table and the dominators ask different things of a series and change neither. */
#ifndef LEAKDIFF_CLI_ROWS_H
#define LEAKDIFF_CLI_ROWS_H

#include <stdbool.h>

#include "core/diff.h"
#include "core/task.h"

#define ROWS_WORTH_A_THREAD 100000u	/* nodes */

struct rows {
	struct task task;
	const struct series *series;
	const struct diff_options *options;
	struct diff *diff;
};

static inline int rows_make(void *data)
{
	struct rows *rows = data;

	return diff_make(rows->series, rows->options, &rows->diff);
}

/* Both are borrowed until rows_end(). Without `beside` the table is ready when this returns. */
static inline void rows_begin(struct rows *rows, const struct series *series, const struct diff_options *options, bool beside)
{
	rows->series = series;
	rows->options = options;
	rows->diff = NULL;
	task_start(&rows->task, rows_make, rows, beside && series_last(series)->heap->nodes >= ROWS_WORTH_A_THREAD);
}

/* Returns what diff_make() returned; *ret_diff is NULL after a failure. */
static inline int rows_end(struct rows *rows, struct diff **ret_diff)
{
	int r = task_finish(&rows->task);

	*ret_diff = rows->diff;
	return r;
}

#endif
