/* SPDX-License-Identifier: Apache-2.0
 * L7  trend.h - how much of what grew there was at each snapshot, and what that looks like.
 *
 * A cluster is followed through the snapshots of one process block by block: what lives on is known, and what is
 * gone by its kind (type, and size where all have one) and by where it was: below the accumulation point or its
 * nearest holder that was there. In other processes, after a restart or in another worker, the place is found by
 * the kind, name and module of its root and the labels of the way from there; and thread, unless it was merged
 * from several. Where that finds less than half, all of the kind are followed (by_type).
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
