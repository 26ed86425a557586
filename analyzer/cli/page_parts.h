/* SPDX-License-Identifier: Apache-2.0
 * L3  page_parts.h - the sections of the page that `leakdiff report` writes.
 *
 * Each writes a whole <section> or nothing when there is nothing to say. What is cut is counted, with the
 * command that shows all; `command` is that of a diff with these files, for print. Each returns 0 or a
 * negative errno. */
#ifndef LEAKDIFF_CLI_PAGE_PARTS_H
#define LEAKDIFF_CLI_PAGE_PARTS_H

#include <stdio.h>

#include "core/diff.h"
#include "core/leaks.h"
#include "core/suspects.h"

#define PAGE_ROWS 200			/* of the table of growth */
#define PAGE_SUSPECTS 30
#define PAGE_PICTURES 8
#define PAGE_LEAKS 50

struct page_facts {
	const struct series *series;
	const struct diff *diff;	/* by type */
	const struct suspects *suspects;/* NULL for one snapshot */
	const struct leak_list *leaks;	/* of one snapshot; or NULL */
	const char *command;
};

int page_suspects(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_leaks(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_growth(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_ages(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_account(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_snapshots(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));
int page_notes(FILE *out, const struct page_facts *facts) __attribute__((warn_unused_result));

/* The course of a number through the snapshots, as a line: two values or more. */
void page_spark(FILE *out, const uint64_t *values, size_t count);

/* An allocation stack, folded: a summary line, then every frame. */
void page_stack(FILE *out, const struct heap *heap, uint32_t stack, uint64_t count, uint64_t bytes);

#endif
