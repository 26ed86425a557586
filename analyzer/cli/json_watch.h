/* SPDX-License-Identifier: Apache-2.0
 * L2  json_watch.h - `leakdiff watch --json`: one object a line, written at once. */
#ifndef LEAKDIFF_CLI_JSON_WATCH_H
#define LEAKDIFF_CLI_JSON_WATCH_H

struct acceptance;
struct diff;
struct series;
struct suspects;
struct watch;

/* "event": "snapshot": the answer of a diff and what this round did; diff and suspects are NULL for the
 * first snapshot. Returns 0 or -ENOMEM. */
int json_watch_round(const struct watch *watch, const struct series *series, const struct diff *diff,
		     const struct suspects *suspects, const struct acceptance *acceptance)
	__attribute__((warn_unused_result));

/* "event": "trouble": a round without a snapshot. */
void json_watch_trouble(const struct watch *watch, const char *sentence);

/* "event": "deleted": a file that is kept no longer; error: why it could not be deleted, or NULL. */
void json_watch_deleted(const struct watch *watch, const char *path, const char *error);

/* "event": "end": why, and which files stay. */
void json_watch_end(const struct watch *watch, const char *reason);

#endif
