/* SPDX-License-Identifier: Apache-2.0
 * L4  series.h - snapshots in a row: which block is which, what is new, what lost its last reference.
 *
 *   heaps[0] .. heaps[count - 1], oldest first; "first" and "last" below are its ends
 *
 * (1) A block is the same in two snapshots of one process when address and birth agree, or when the
 *     birth agrees alone (realloc moved it). Address reuse is never taken for survival.
 * (2) Snapshots of different processes (another pid, or another time of start) have no blocks in common; they are
 *     compared by type and site only (same_process is false), and whoever prints says so.
 * (3) New: born after the first snapshot and alive in the last. A block that an inconsistent first
 *     snapshot merely missed is older than it and is not new; such blocks are counted in `late`. A Python
 *     object that was not there is new, though its memory may be older: interpreters keep some for the next.
 * (4) Types have one number over all snapshots: (source, name). */
#ifndef LEAKDIFF_SERIES_H
#define LEAKDIFF_SERIES_H

#define SERIES_STEPS_SHARES 38u		/* of all steps that suspects_find() tells of */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dominators.h"
#include "core/heap.h"
#include "core/intern.h"
#include "core/reach.h"
#include "core/thresholds.h"
#include "core/weigh.h"

struct series_heap {
	const struct heap *heap;
	struct weights *weights;	/* see series_bytes() */
	uint32_t *type;			/* number in series.types of each local type */
	struct reach *reach;
	struct reach_leaks *leaks;	/* of the first of several, from series_flood() to series_leave() */
	struct dominators *tree;	/* only after series_leave() of the first heap; else NULL */
	uint32_t *later;		/* the same block in the last heap or HEAP_NONE; NULL for the last */
};

struct series_limits {			/* thresholds that a user may set; series_new() sets those of thresholds.h */
	double drop;			/* GROWTH_DROP */
	double cover;			/* GROWTH_COVER */
	double share;			/* SUSPECT_SHARE */
	double *units;			/* what was counted by each snapshot, growing, or NULL; owned by the series ... */
	char *unit;			/* ... as its name is: "requests" */
	uint64_t memory_bytes;		/* what the process may use; 0 = unknown */
};

struct series {
	struct series_limits limits;
	struct series_heap *heaps;
	size_t count, added;
	bool same_process;
	bool reordered;			/* for whoever made it to say: given in another order than that of time */
	const struct heap_type *types;	/* by number; names borrowed from the heaps */
	uint32_t type_count;

	/* by node of the last heap */
	uint32_t *earlier;		/* the same block in the first heap or HEAP_NONE */
	uint64_t late;			/* see (3) */

	struct heap_type *type_array;	/* what `types` points to */

	/* Told by long passes when a step of them begins, with its share of a hundredth of a diff; may be NULL. */
	void (*step)(const char *what, unsigned share);
};

/* Look at `count` >= 1 heaps as one series; they are borrowed and must outlive it.
 * Returns 0 with *ret_series (series_free()), or -ENOMEM. */
int series_make(const struct heap *const *heaps, size_t count, struct series **ret_series)
	__attribute__((warn_unused_result));
struct series *series_free(struct series *series);

/* The same step by step, so that no two heaps need to be in memory with all their columns:
 *
 *   series_new(count), then for each heap, oldest first:
 *   series_add()      weighs it; the last one is matched with those before it
 *   series_flood()    after its references were loaded; after that and the match nobody looks at addresses and
 *                     births (HEAP_PART_IDENTITY) of an earlier one
 *   series_leave()    of all but the last: keeps what later passes ask of its references, which can
 *                     then be dropped (HEAP_PART_EDGES)
 *
 * series_flood() and series_leave() of one heap may run beside series_add() and series_flood() of later ones.
 *
 * Each returns 0 or -ENOMEM, -EOVERFLOW; series_free() in any case. */
int series_new(size_t count, struct series **ret_series) __attribute__((warn_unused_result));
int series_add(struct series *series, const struct heap *heap) __attribute__((warn_unused_result));
int series_flood(struct series *series, size_t index) __attribute__((warn_unused_result));
int series_leave(struct series *series, size_t index) __attribute__((warn_unused_result));

/* Are two snapshots of one process? Looks at what they say about themselves only. */
bool series_is_same_process(const struct heap *a, const struct heap *b);

/* Forget by which references the nodes of all heaps but the last were reached: only rows by holder ask, and trends. */
void series_forget_paths(struct series *series);

static inline const struct series_heap *series_last(const struct series *series)
{
	return &series->heaps[series->count - 1];
}

static inline void series_step(const struct series *series, const char *what, unsigned share)
{
	if (series->step)
		series->step(what, share);
}

/* What a node of one of the heaps counts for, weigh.h. */
static inline uint64_t series_bytes(const struct series_heap *h, uint32_t node)
{
	return weigh_bytes(h->weights, node);
}

/* Is this node of the last heap new? */
bool series_is_new(const struct series *series, uint32_t node);

/* New, and older than the last snapshot but one: it survived a whole interval. Needs three snapshots. */
bool series_is_survivor(const struct series *series, uint32_t node);

/* Bytes by which a block that is in both has grown; 0 when it did not. */
uint64_t series_resized_bytes(const struct series *series, uint32_t node);

/* Had some root reached this node of the last heap in the first one? */
bool series_was_referenced(const struct series *series, uint32_t node);

/* Seconds between birth and the last snapshot, from the times of the two ends; < 0 = unknown. */
double series_age_s(const struct series *series, uint64_t birth);

/* Seconds between the first and the last snapshot; < 0 = unknown. */
double series_interval_s(const struct series *series);

/* A key that is equal for equal allocation stacks of any snapshot. */
struct intern_key series_stack_key(const struct heap *heap, uint32_t stack);

#endif
