/* SPDX-License-Identifier: Apache-2.0
 * L0  thresholds.h - every number that decides what is called a leak, each with its reason.
 *
 * They are measured on the last snapshot against the first. A share is of 1. */
#ifndef LEAKDIFF_THRESHOLDS_H
#define LEAKDIFF_THRESHOLDS_H

/* Rows of the growth table (diff.h). */
#define ROW_SIZES 16			/* up to so many sizes that repeat, each has its row ... */
#define ROW_SHARE 0.05			/* ... of more, those with this share of their type: else nobody can read it */

/* Where growth accumulates (growth.h). */
#define GROWTH_DROP 0.7			/* MAT's "big drop": less than this kept by the heaviest child ends the walk */
					/* a node whose own bytes are 1 - GROWTH_DROP of its growth is an item */
#define GROWTH_COVER 0.8		/* MAT's coverage: what the first three suspects should explain, or words say what is left */
#define SUSPECT_SHARE 0.1		/* MAT's report: a suspect below this share of growth that is not among the first three has one line */
#define SUSPECTS_FIRST 3
#define GROWTH_BRANCH_SHARE 0.1		/* a child that keeps this much and is unlike the others is a place of its own */
#define GROWTH_COMPANION_SHARE 0.1	/* items lighter than this beside the main ones are their companions */
#define GROWTH_MANY_CHILDREN 4		/* a new node with fewer grown children is one object with its parts */
#define GROWTH_MIN_BYTES 1024		/* below this nobody looks for a holder: the table still shows it */
#define GROWTH_MIN_SHARE 0.001		/* of all growth, likewise */
#define GROWTH_MAX_PATH_WALKS 16	/* items that nothing dominates: each walk passes over the whole heap */
#define GROWTH_MAX_CLUSTERS 64		/* beyond this a person does not read on; the rest is counted */

/* What is noise: a service at work always has a few buffers more or less. */
#define NOISE_BYTES (64 * 1024)		/* less than this ... */
#define NOISE_SHARE 0.01		/* ... and less than this share of live memory is at most "possible" */
#define NOISE_COUNT 16			/* fewer small blocks than this show no trend at all: not a suspect */
#define FEW_COUNT 3			/* fewer blocks than this show no trend, however large */
#define FEW_BYTES (1024 * 1024)		/* ... unless they are this large ... */
#define FEW_SHARE 0.1			/* ... and this share of live memory */

/* Replaced one for one: what the holder lost in the interval counts against what it gained. */
#define REPLACED_SHARE 0.1		/* net growth below this share of the new bytes is turnover */
#define SINGLE_BYTES 4096		/* one block that was resized by less than a page shows nothing */

/* Work in progress: blocks that nearly all were born just before the last snapshot. */
#define YOUNG_SHARE 0.9			/* of the blocks ... */
#define YOUNG_INTERVAL 0.05		/* ... within this last part of the interval ... */
#define YOUNG_SECONDS 0.5		/* ... and this time: longer than most requests ... */
#define YOUNG_COUNT 64			/* ... and no more of them than requests run at a time */

/* Growth that is ending: births by quarters of the interval. A quiet tail alone is no evidence, for
 * the load may have ended; other blocks born in the last quarter show that it did not. */
#define WARMING_QUARTER 0.1		/* births in the last quarter against the first */
#define WARMING_COUNT 16		/* blocks needed to see a profile */
#define WARMING_OTHERS 16		/* blocks of others born in the last quarter */
#define WARMING_STEP 0.25		/* three and more snapshots: last step against the largest */

/* Three and more snapshots: what the row of numbers looks like (trend.h). */
#define TREND_SHORT 0.25		/* of the longest step: a shorter one shows chance */
#define TREND_STABLE_SHARE 0.05		/* highest and lowest are so near: nothing happened */
#define TREND_FALLS 0.25		/* falls of this share of the rises are a saw-tooth ... */
#define TREND_LOWS 0.25			/* ... unless its low points rise by this share of its height */

/* One snapshot: the ages of what lives, by quarters of the recorded time (ages.h). */
#define AGES_COUNT 16			/* fewer show nothing */
#define AGES_ONE_QUARTER 0.9		/* so much of it in one quarter is a burst */
#define AGES_EVERY_QUARTER 0.1		/* so much in each of them is a steady gain */

/* Resident memory that live memory does not explain. */
#define ALLOCATOR_BYTES (1024 * 1024)
#define ALLOCATOR_SHARE 0.1		/* of the resident memory of the first snapshot */
#define ALLOCATOR_BLOCK_BYTES 32	/* what an allocator adds to a block: header, rounding, its own records ... */
#define ALLOCATOR_ROUNDING 0.25		/* ... and size classes that lie so far apart */

#endif
