/* SPDX-License-Identifier: Apache-2.0
 * L7  trend.h - how much of what grew there was at each snapshot, and what that looks like.
 *
 * A cluster is followed through the snapshots by what it is called: its kind of object (type, and size where
 * all have one) below roots of the same kind, name and module; and thread, unless it was merged from several.
 * So it is found again in snapshots of other processes too: after a restart, or in another worker.
 *
 *   stable       what there was hardly changed
 *   saw-tooth    it fell as well as rose, and the low points do not rise
 *   warming up   the last steps are small beside the largest one: growth is ending
 *   growing      anything else that has more at the end
 *
 * Steps are compared as rates: bytes a second, or for each unit of what was counted (requests), where the user
 * said how many there were at each snapshot. Two snapshots have one step and no trend. */
#ifndef LEAKDIFF_TREND_H
#define LEAKDIFF_TREND_H

#include <stdbool.h>
#include <stdint.h>

#include "core/growth.h"

enum trend_word { TREND_UNKNOWN = 0, TREND_STABLE, TREND_SAW_TOOTH, TREND_WARMING, TREND_GROWING };

struct trend {
	enum trend_word word;
	bool steady;			/* growing, and each step about as fast as the others */
	bool by_type;			/* the holder was not found again: all objects of the kind are meant */
	uint64_t *count, *bytes;	/* per snapshot */
	uint64_t *born;			/* of those in the last: born before the first, then in each interval; NULL = unknown */
};

struct trends {
	struct trend *list;		/* by cluster */
	uint32_t count;
	size_t heaps;
};

/* Fewer than three snapshots, or paths that were forgotten, make trends without numbers.
 * Returns 0 with *ret_trends (trends_free()), or -ENOMEM. */
int trends_make(const struct growth *growth, struct trends **ret_trends) __attribute__((warn_unused_result));
struct trends *trends_free(struct trends *trends);

/* What a row of numbers looks like; at[k]: where on the axis the k-th was taken (seconds, requests). */
enum trend_word trend_of(const uint64_t *values, const double *at, size_t count, bool *ret_steady);

/* "growing", "warming up", "saw-tooth", "stable"; NULL for unknown. */
const char *trend_name(enum trend_word word);

/* Where on the axis each snapshot lies: what the user counted, else seconds since the first; `count` long. */
void trend_axis(const struct series *series, double *ret_at);

#endif
