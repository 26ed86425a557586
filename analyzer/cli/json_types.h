/* SPDX-License-Identifier: Apache-2.0
 * L1  json_types.h - the answers of `leakdiff type --json` and `leakdiff why --json`. */
#ifndef LEAKDIFF_CLI_JSON_TYPES_H
#define LEAKDIFF_CLI_JSON_TYPES_H

struct heap;
struct type_view;
struct why;

/* Each writes one object to stdout and returns 0 or -ENOMEM. */
int json_write_type(const struct heap *heap, const struct type_view *view) __attribute__((warn_unused_result));
int json_write_why(const struct heap *heap, const struct why *why) __attribute__((warn_unused_result));

#endif
