/* SPDX-License-Identifier: Apache-2.0
 * L1  load.h - snapshot files named on the command line, as a series. */
#ifndef LEAKDIFF_CLI_LOAD_H
#define LEAKDIFF_CLI_LOAD_H

#include <stddef.h>

#include "core/series.h"

struct loaded {
	struct heap **heaps;
	size_t count;
	struct series *series;
};

/* Load files and make a series of them, oldest first. Where they were named in another order, `paths` is put in
 * that of time and series->reordered is true; two of different processes stay as named. Says what is wrong by itself.
 * Returns 0 with *ret_loaded (loaded_done()), or CMD_TROUBLE. */
int load_series(char **paths, size_t count, struct loaded *ret_loaded) __attribute__((warn_unused_result));

/* The same without what will not be asked for: a comparison of large files needs memory for better things. */
struct load_plan {
	bool threads;			/* which thread allocated each block */
	bool paths;			/* on which way the blocks of earlier snapshots were reached */
};
int load_series_for(char **paths, size_t count, const struct load_plan *plan, struct loaded *ret_loaded)
	__attribute__((warn_unused_result));
void loaded_done(struct loaded *loaded);

/* One sentence for a negative errno from core; returns CMD_TROUBLE. */
int load_trouble(int error);

#endif
