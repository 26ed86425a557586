/* SPDX-License-Identifier: Apache-2.0
 * L2  json_baseline.h - accepted growth as JSON: the file, and what an answer says of it.
 *
 *   { "leakdiff_baseline": 1,
 *     "accepted": [ { "type": "handle_put server.c", "site": "handle_put < handle_conn < main",
 *                     "bytes": 33554432, "count": 40, "comment": "..." } ] }
 *
 * Of bytes and count each may be missing (then it does not limit), not both; bytes may also be "32MiB". */
#ifndef LEAKDIFF_CLI_JSON_BASELINE_H
#define LEAKDIFF_CLI_JSON_BASELINE_H

#include <jansson.h>
#include <stdio.h>

struct acceptance;
struct baseline;
struct suppressions;

/* Returns 0 with *ret_baseline (baseline_free()), or a negative errno with one sentence in *ret_error. */
int json_read_baseline(const char *path, struct baseline **ret_baseline, char **ret_error)
	__attribute__((warn_unused_result));

/* Write a baseline to `out`, one entry a line in the order of the list. Returns 0 or -ENOMEM. */
int json_write_baseline(FILE *out, const struct baseline *baseline) __attribute__((warn_unused_result));

/* "accepted" and "suppressed", for an answer; NULL = no memory. */
json_t *json_of_baseline(const struct baseline *baseline);
json_t *json_of_suppressions(const struct suppressions *suppressions);

#endif
