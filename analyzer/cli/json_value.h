/* SPDX-License-Identifier: Apache-2.0
 * L0  json_value.h - values as every answer writes them. Each is NULL when memory is short; the caller owns it. */
#ifndef LEAKDIFF_CLI_JSON_VALUE_H
#define LEAKDIFF_CLI_JSON_VALUE_H

#include <jansson.h>
#include <stdint.h>

/* A name from memory, escaped, so that it is valid UTF-8 without control characters; NULL gives null. */
json_t *json_value_name(const char *name);

/* The same where "" means that it is not known: null. */
json_t *json_value_known(const char *name);

json_t *json_value_address(uint64_t addr);

/* Nanoseconds since 1970 as RFC 3339; null for 0 and before. */
json_t *json_value_time(int64_t ns);

#endif
