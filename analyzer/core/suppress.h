/* SPDX-License-Identifier: Apache-2.0
 * L3  suppress.h - suppressions in LeakSanitizer's syntax: which allocation stacks nobody wants to hear of.
 *
 *   # what a library keeps on purpose
 *   leak:libfontconfig
 *   leak:^cache_warm$
 *
 * (1) One `leak:PATTERN` a line. Spaces around it, empty lines and lines that begin with # do not count;
 *     anything else is refused, with its line.
 * (2) A pattern is looked for in the function, the file and the module of every frame of a stack: anywhere
 *     in the name, from its beginning with ^, to its end with $; * stands for any characters. It is matched
 *     letter by letter as LeakSanitizer does, so that one file serves both. */
#ifndef LEAKDIFF_SUPPRESS_H
#define LEAKDIFF_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"

struct suppression {
	char *pattern;			/* without "leak:" */
	uint64_t count, bytes;		/* what it suppressed; for whoever suppresses to add up */
};

struct suppressions {
	char *path;			/* of the file, for print */
	struct suppression *list;	/* in the order of the file */
	size_t count;
	const struct heap *heap;	/* whose stacks were looked at, and what was found for each */
	uint32_t *of_stack;
};

/* Read a file. Returns 0 with *ret_suppressions (suppress_free()), or a negative errno with one sentence in
 * *ret_error (the caller's): -EINVAL for a line that is none. */
int suppress_load(const char *path, struct suppressions **ret_suppressions, char **ret_error)
	__attribute__((warn_unused_result));
struct suppressions *suppress_free(struct suppressions *suppressions);

/* Does the pattern match this name? Never an empty one. */
bool suppress_matches(const char *pattern, const char *name);

/* The first pattern that matches a frame of the stack: an index, HEAP_NONE for none. What was found is
 * remembered for one heap. Returns 0 or -ENOMEM. */
int suppress_stack(struct suppressions *suppressions, const struct heap *heap, uint32_t stack, uint32_t *ret_index)
	__attribute__((warn_unused_result));

#endif
