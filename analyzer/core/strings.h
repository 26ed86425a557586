/* SPDX-License-Identifier: Apache-2.0
 * L0  strings.h - a set of strings: equal strings have one address, until the set is freed. */
#ifndef LEAKDIFF_STRINGS_H
#define LEAKDIFF_STRINGS_H

#include <stddef.h>

struct strings;

/* Returns NULL when memory is short. */
struct strings *strings_new(void);

/* The one copy of a string. Returns NULL when memory is short, and for NULL. */
const char *strings_intern(struct strings *strings, const char *string);
const char *strings_intern_bytes(struct strings *strings, const char *bytes, size_t count);

/* Accepts NULL, returns NULL. */
struct strings *strings_free(struct strings *strings);

#endif
