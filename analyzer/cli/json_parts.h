/* SPDX-License-Identifier: Apache-2.0
 * L1  json_parts.h - parts of answers that other answers hold, as values; NULL = no memory, the caller owns. */
#ifndef LEAKDIFF_CLI_JSON_PARTS_H
#define LEAKDIFF_CLI_JSON_PARTS_H

#include <jansson.h>
#include <stddef.h>

struct acceptance;
struct diff;
struct heap;
struct series;
struct suspects;

/* The whole answer of a diff, see json_write_diff(). */
json_t *json_make_diff(const struct series *series, const struct diff *diff, const struct suspects *suspects,
		       const struct acceptance *acceptance, size_t limit);

/* An entry of "snapshots". */
json_t *json_make_snapshot(const struct heap *heap);

#endif
