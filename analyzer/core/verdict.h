/* SPDX-License-Identifier: Apache-2.0
 * L8  verdict.h - what a cluster of growth is called, and why. Private to suspects.c.
 *
 * The questions, in this order (held growth):
 *   1. Did the holder lose about as much of this type as it gained?   turnover, no suspect
 *   2. Is it too little to show anything?                             noise, no suspect
 *   3. Was nearly all of it born just now, and is it few?             stable
 *   4. Have births ended while the service went on?                   warming
 *   5. Else:                                                          growing
 * Unreachable growth: had blocks of this kind looked unreachable before and been used since? Then the
 * program hides its pointers; the suspect says so and is only "possible". */
#ifndef LEAKDIFF_VERDICT_H
#define LEAKDIFF_VERDICT_H

#include "core/dominators.h"
#include "core/growth.h"
#include "core/series.h"
#include "core/trend.h"

struct labels;
struct suspect;

enum judge_answer { JUDGE_SUSPECT, JUDGE_TURNOVER, JUDGE_NOISE };

struct judge {
	const struct series *series;
	const struct growth *growth;
	struct trends *trends;		/* until somebody takes them */
	const struct heap *heap;	/* the last */
	const struct reach *reach;	/* of the last */
	struct labels *labels;		/* of the last */
	uint8_t *mark;			/* by node of the last: scratch, zero between uses */
	uint32_t *depth;		/* by node of the last: steps from its root */
	uint64_t live_bytes;		/* counted bytes of the last */
	/* blocks of the first that the last has not, by type number: gone[gone_start[t]] .. */
	uint32_t *gone, *gone_start;
	/* blocks that no root reaches, by type number: in the first, in the last, and those of the first
	 * that were freed or referenced since */
	uint64_t *lost_before, *lost_now, *lost_used;
	uint64_t late_births;		/* grown blocks born in the last quarter */
	/* the first snapshot's dominators, made when first needed */
	const struct dominators *past_tree;
	struct dominators *past_made;	/* the same, where the series has none */
	uint32_t *past_keeper;		/* by id: the nearest dominator, or itself, that is still there: a root,
					 * a block that lives on, or the top */
};

int judge_init(struct judge *judge, const struct series *series, const struct growth *growth)
	__attribute__((warn_unused_result));
void judge_done(struct judge *judge);

/* Fills verdict, confidence, reason, count and bytes of the suspect where the answer is JUDGE_SUSPECT. */
int judge_cluster(struct judge *judge, const struct cluster *cluster, struct suspect *suspect,
		  enum judge_answer *ret_answer) __attribute__((warn_unused_result));

#endif
