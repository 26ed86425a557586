/* SPDX-License-Identifier: Apache-2.0
 * L0  text.h - growing text, human sizes and durations, escaping of names that came from memory. */
#ifndef LEAKDIFF_TEXT_H
#define LEAKDIFF_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing string. Zero-initialised is empty and valid. After a failed allocation it is `broken`:
 * further appends do nothing, text_take() returns NULL, so callers check once, at the end. */
struct text {
	char *data;			/* NUL-terminated, or NULL while empty */
	size_t length, capacity;
	bool broken;
};

void text_append(struct text *text, const char *string);
void text_append_bytes(struct text *text, const char *bytes, size_t count);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Append a name from memory: control characters, invalid UTF-8, bidirectional overrides and DEL become \xNN. */
void text_append_escaped(struct text *text, const char *name);
/* Hand the string over (caller frees, never NULL unless broken) and reset *text. */
char *text_take(struct text *text);
void text_done(struct text *text);

/* One-line helpers; NULL when memory is short. The caller frees. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_escape(const char *name);

/* "0 B", "512 B", "1.5 MiB", "-20 KiB", "12 GiB": at most three significant digits before the unit,
 * exact when it is a whole number of units. Signed. buffer of TEXT_SIZE bytes; returns buffer. */
#define TEXT_SIZE 24
char *text_size(int64_t bytes, char buffer[TEXT_SIZE]);
/* Digits grouped by three for people: "1 234 567"; beyond 17 digits ungrouped. Returns buffer. */
char *text_count(int64_t count, char buffer[TEXT_SIZE]);

/* What makes a noun of many: "s", and nothing after 1. */
static inline const char *text_s(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* Parse "1500k", "2G", "10MiB", "1.5 MiB", "4096" (k, M, G, T are powers of 1024). 0 or -EINVAL. */
int text_parse_size(const char *string, uint64_t *ret_bytes) __attribute__((warn_unused_result));
/* Parse "90s", "5m", "1h", "250ms", "2" (seconds). 0 or -EINVAL. */
int text_parse_duration(const char *string, uint64_t *ret_ns) __attribute__((warn_unused_result));

/* Shell-style glob: *, ?, [..]; a pattern without any matches as a substring. */
bool text_glob(const char *pattern, const char *string);

#endif
