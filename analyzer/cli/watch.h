/* SPDX-License-Identifier: Apache-2.0
 * L3  watch.h - a service watched: snapshots in a row, of which only a few stay on disk.
 *
 *   kept:  first .. a few between .. last        the first, the last, and those between whose number is
 *                                                a multiple of the stride, which doubles when there
 *                                                are too many of them
 *
 * (1) Only files that this run made are ever deleted, and only while they are still the same file.
 * (2) A round that brings no snapshot is said, counted, and followed by the next. */
#ifndef LEAKDIFF_CLI_WATCH_H
#define LEAKDIFF_CLI_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cli/take.h"

#define WATCH_HISTORY 48		/* rows of the table of rounds: the first and so many later ones */

struct watch_round {			/* what one snapshot said */
	int64_t taken_ns;		/* CLOCK_REALTIME */
	uint64_t live_bytes, rss_bytes, blocks, pause_ns;
	char verdict[64];		/* of the first suspect; "" = nothing to compare with */
};

struct watch {
	pid_t pid;
	struct take_options take;
	size_t keep;			/* files that stay */
	size_t rows;			/* of growth in text; SIZE_MAX in JSON = all */
	bool json;

	struct kept { struct taken taken; uint64_t number; } *kept;	/* number: from 0 */
	size_t kept_count;
	uint64_t stride;		/* 0 = 1 */
	struct watch_round *history;
	size_t history_count;
	uint64_t forgotten;		/* rounds that are in the history no more */
	uint64_t taken, refused, deleted, deleted_bytes;
	char *name;			/* of the process, for a person; NULL until it is known */
	char *comparison;		/* growth and suspects of the last round, as lines */
	char *said;			/* what the last round deleted, or why there was none; a line each */
};

enum watch_result { WATCH_TAKEN, WATCH_REFUSED, WATCH_ENDED };

/* One round. With json it writes its object to stdout. -ENOMEM is said and is WATCH_REFUSED. */
enum watch_result watch_run_round(struct watch *watch);

/* The table of rounds with at most `rows` of them. */
void watch_print_history(const struct watch *watch, FILE *out, size_t rows);

/* The last round as a block of lines. */
void watch_print_round(const struct watch *watch, FILE *out);

/* Which files stay, and how to compare them. */
void watch_print_end(const struct watch *watch, FILE *out);

void watch_done(struct watch *watch);

#endif
