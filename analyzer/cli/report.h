/* SPDX-License-Identifier: Apache-2.0
 * L2  report.h - the answers as text for a person at a terminal. */
#ifndef LEAKDIFF_CLI_REPORT_H
#define LEAKDIFF_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/ages.h"
#include "core/chain_set.h"
#include "core/diff.h"
#include "core/leaks.h"
#include "core/picture.h"
#include "core/suspects.h"

/* rows: of the table; the rest is counted. each returns 0 or -ENOMEM. */
int report_diff(FILE *out, const struct series *series, const struct diff *diff,
		const struct suspects *suspects, size_t rows) __attribute__((warn_unused_result));
int report_top(FILE *out, const struct series *series, const struct diff *diff, const struct ages *ages, size_t rows)
	__attribute__((warn_unused_result));
int report_leaks(FILE *out, const struct series *series, const struct leak_list *leaks, size_t rows)
	__attribute__((warn_unused_result));
int report_chains(FILE *out, const struct series *series, const struct chain_set *set)
	__attribute__((warn_unused_result));

/* The first line of a diff: how much grew, in what time, and how much of it is suspected. */
void report_headline(FILE *out, const struct series *series, const struct diff *diff, const struct suspects *suspects);

/* A neighbourhood as a tree from its first node; backwards: against the references. */
int report_picture(FILE *out, const struct picture *picture, bool backwards) __attribute__((warn_unused_result));

/* One chain, one step a line, each line after `indent` spaces. */
void report_chain(FILE *out, const struct chain *chain, size_t indent);

/* "handle_put server.c:120 < handle_conn server.c:88 < main": frames of an allocation stack, wrapped (table_wrap). */
void report_stack(FILE *out, const struct heap *heap, uint32_t stack, size_t indent, size_t column);

/* What a person calls the process: "nginx" of "/usr/sbin/nginx -g daemon off;". */
void report_command(FILE *out, const struct heap_meta *meta);

/* "850 ms", "12.0 s", "4 min 10 s", "3 h 5 min", "2 d 4 h"; "?" below 0. buffer of TEXT_SIZE; returns it. */
char *report_duration(double seconds, char *buffer);

/* What a snapshot itself says about its limits: notes, losses, an unstopped thread. */
void report_limits(FILE *out, const struct series *series);

#endif
