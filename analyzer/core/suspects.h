/* SPDX-License-Identifier: Apache-2.0
 * L8  suspects.h - what grew, judged: verdict, confidence, reason, sites, holder, chain.
 *
 * A suspect is one cluster of growth.h, or the resident memory that live memory does not explain.
 *
 *   unreachable  no root reaches it, and some root did before or it is new
 *   growing      held, and the holder gained more than it lost
 *   warming      held, and growth is ending
 *   stable       grew, but looks like work in progress: all of it was born just now
 *   allocator    resident memory grew and live memory did not
 *
 * The rule of the exit status: a snapshot pair has grown (suspects.grew) when at least one suspect
 * other than a stable one is "likely" or "certain". What is only "possible" is listed, not counted:
 * a person should look, a script should not fail. Thresholds: thresholds.h. */
#ifndef LEAKDIFF_SUSPECTS_H
#define LEAKDIFF_SUSPECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/chains.h"
#include "core/growth.h"
#include "core/holders.h"
#include "core/series.h"
#include "core/trend.h"

enum suspect_verdict {
	SUSPECT_UNREACHABLE = 0, SUSPECT_GROWING, SUSPECT_WARMING, SUSPECT_STABLE, SUSPECT_ALLOCATOR,
};
enum suspect_confidence { SUSPECT_CERTAIN = 0, SUSPECT_LIKELY, SUSPECT_POSSIBLE };

struct suspect_site {
	uint64_t count, bytes;		/* grown blocks from here and their grown bytes */
	uint32_t stack;			/* of the last heap, or HEAP_NONE */
	bool other;			/* of another kind than the suspect's type */
};

struct suspect {
	enum suspect_verdict verdict;
	enum suspect_confidence confidence;
	char *reason;			/* one or two sentences */
	char *type;			/* as shown */
	uint64_t count, bytes;		/* what grew */
	uint64_t type_count, kinds;	/* of `count` those of the type, and how many kinds there are: 1 = all are */
	uint64_t net_bytes;		/* of it, what did not take the place of others; 0 = all of it */
	uint64_t retained_bytes;
	struct suspect_site *sites;	/* of what grew, heaviest first; they sum to count and bytes */
	size_t site_count;
	struct suspect_site *companions;/* of what came with it: the entry beside the body */
	size_t companion_count;
	uint32_t root;			/* index in the last heap's roots; HEAP_NONE = none */
	char *point_type, *point_name;	/* the accumulation point; NULL = none */
	char *point_detail;		/* "lru_cache, unbounded", or NULL */
	uint64_t children;		/* grown items below it */
	struct chain chain;		/* grouped: steps stand for all that grew like them; may be empty */
	struct chain cycle;		/* of an unreachable cycle; empty = none */
	const struct cluster *cluster;	/* NULL for the allocator */
	const struct trend *trend;	/* through all snapshots; NULL = nobody looked */
	const struct holders *holders;	/* who else holds it; NULL = nobody looked */
};

/* What became of the new bytes that are alive: they sum to `grown`. */
struct suspects_cover {
	uint64_t grown;			/* all new blocks, and what resized ones gained */
	uint64_t first;			/* in the first SUSPECTS_FIRST suspects */
	uint64_t others;		/* in the others */
	uint64_t turnover, noise;	/* replaced one for one; too little in one place to show a trend */
	uint64_t thin;			/* in no place that was looked at */
};

struct suspects {
	const struct series *series;
	struct growth *growth;
	struct suspect *list;		/* by confidence, then by bytes */
	size_t count;
	bool grew;			/* the exit status, see above */
	uint64_t turnover_bytes;	/* new bytes whose holder lost as many */
	uint32_t turnover_places;
	uint64_t noise_bytes;		/* growth too small to be a suspect */
	uint32_t noise_places;
	struct trends *trends;		/* by cluster */
	struct holders *holders;	/* by cluster */
	struct suspects_cover cover;
	char **notes;			/* sentences about what was compared and how */
	size_t note_count;
};

/* Judge a series of two or more snapshots. Returns 0 with *ret_suspects (suspects_free()), -ENOMEM, or
 * -EBADMSG when labels cannot be read. */
int suspects_find(const struct series *series, struct suspects **ret_suspects)
	__attribute__((warn_unused_result));
struct suspects *suspects_free(struct suspects *suspects);

/* What one suspect owns, for whoever takes it from the list. */
void suspect_done(struct suspect *suspect);

/* What grew, in words: "30 x Session", "20 x Session and 10 of 2 more kinds". Raw; owned, NULL = no memory. */
char *suspect_what(const struct suspect *suspect);

/* "register", "stack" (a local variable, or a frame of which nothing is known) or "unnamed stack slot" (reach.h) where
 * nothing else holds it, else NULL. */
const char *suspect_weak_root(const struct series *series, const struct suspect *suspect);

const char *suspect_verdict_name(enum suspect_verdict verdict);
const char *suspect_confidence_name(enum suspect_confidence confidence);

#endif
