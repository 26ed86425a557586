/* SPDX-License-Identifier: Apache-2.0
 * L1  export.h - live memory by allocation stack, in the formats of other viewers.
 *
 * (1) Made of the rows of diff_make() by site, so every total is that of `top` and `diff`, to the byte.
 * (2) A sample is one row: a stack, and a size where all its blocks have one. Samples of one stack are
 *     adjacent; a format that knows no sizes adds them up.
 * (3) With one snapshot a sample has its live bytes and blocks; with two also what is new (born after the
 *     first, alive in the last) and the growth, which may be negative. */
#ifndef LEAKDIFF_CLI_EXPORT_H
#define LEAKDIFF_CLI_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/diff.h"

enum export_value {			/* the first two are all that one snapshot has */
	EXPORT_BYTES, EXPORT_COUNT, EXPORT_NEW_BYTES, EXPORT_NEW_COUNT, EXPORT_GROWTH_BYTES, EXPORT_GROWTH_COUNT,
	EXPORT_VALUES
};

struct export_frame {			/* strings borrowed from the heaps, raw */
	const char *function, *file, *module;
	uint32_t line;
	bool inlined;			/* expanded into the next outer frame */
};

struct export_stack { uint32_t first, count; };	/* in export.stack_frames, innermost first */

struct export_sample {
	uint32_t stack;			/* index in stacks; ascending */
	bool exact;			/* all its blocks are `size` bytes */
	uint64_t size;
	int64_t values[EXPORT_VALUES];
};

struct export {
	const struct heap_meta *meta;	/* of the last snapshot */
	double interval_s;		/* < 0 = unknown, or one snapshot */
	size_t value_count;		/* 2 or EXPORT_VALUES */
	struct export_frame *frames;	/* each once */
	uint32_t frame_count;
	uint32_t *stack_frames;
	size_t stack_frame_count;
	struct export_stack *stacks;
	uint32_t stack_count;
	struct export_sample *samples;
	size_t sample_count;
};

/* Of a diff by site with nothing hidden. Returns 0 with *ret_export (export_free()), or -ENOMEM. */
int export_make(const struct series *series, const struct diff *diff, struct export **ret_export)
	__attribute__((warn_unused_result));
struct export *export_free(struct export *export);

/* The words of --value: "bytes", "count", "new-bytes", ... */
const char *export_value_name(enum export_value value);
int export_parse_value(const char *word, enum export_value *ret_value) __attribute__((warn_unused_result));

/* What a stack's samples from *sample on add up to; *sample moves to the next stack's first one. */
int64_t export_add_up(const struct export *export, enum export_value value, size_t *sample);

/* The formats; each writes to `out` and returns 0 or -ENOMEM (whether writing worked is the stream's to say).
 * Stacks whose value is 0 are not in collapsed and speedscope. */
int export_write_pprof(FILE *out, const struct export *export) __attribute__((warn_unused_result));
int export_write_collapsed(FILE *out, const struct export *export, enum export_value value)
	__attribute__((warn_unused_result));
int export_write_speedscope(FILE *out, const struct export *export) __attribute__((warn_unused_result));

#endif
