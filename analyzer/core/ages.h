/* SPDX-License-Identifier: Apache-2.0
 * L6  ages.h - one snapshot alone: when what lives was born, and what that looks like.
 *
 *   born by quarters of the recorded time:  100 0 0 0  made at the start     0 0 0 100  just made
 *                                           25 25 25 25  gathered all the time: it may grow without end
 *
 * A cache that is full and replaces its entries looks like the second, or has its oldest in the third: what was
 * gathered at the beginning and never left is the evidence. A second snapshot settles it. */
#ifndef LEAKDIFF_AGES_H
#define LEAKDIFF_AGES_H

#include <stdint.h>

#include "core/diff.h"

enum ages_word { AGES_UNKNOWN = 0, AGES_START, AGES_RECENT, AGES_GATHERED, AGES_MIXED };

struct ages {
	uint64_t count[4];		/* by quarter of the time from the beginning of recording to the snapshot */
	uint64_t unknown;		/* without a birth, or older than recording */
	enum ages_word word;
};

/* One entry a row of a diff of one snapshot with keep_nodes. Returns 0 with *ret_ages (free()), or -ENOMEM. */
int ages_of_rows(const struct series *series, const struct diff *diff, struct ages **ret_ages)
	__attribute__((warn_unused_result));

/* "start", "recent", "gathered", "mixed"; NULL for unknown. */
const char *ages_name(enum ages_word word);

#endif
