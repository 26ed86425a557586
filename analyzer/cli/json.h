/* SPDX-License-Identifier: Apache-2.0
 * L1  json.h - the answers as JSON, exactly as docs promise them to scripts.
 *
 * json.c is the only user of jansson. Every name that came from memory is escaped and valid UTF-8;
 * every key is always present; nothing is cut that the caller did not cut. Each function writes one
 * object and a newline to stdout and returns 0 or -ENOMEM, -EIO. */
#ifndef LEAKDIFF_CLI_JSON_H
#define LEAKDIFF_CLI_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct acceptance;
struct ages;
struct chain_set;
struct diff;
struct leak_list;
struct picture;
struct rss;
struct series;
struct suppressions;
struct suspects;

/* limit: rows of growth to write, SIZE_MAX for all. ages: of the rows, or NULL. */
int json_write_diff(const struct series *series, const struct diff *diff, const struct suspects *suspects,
		    const struct acceptance *acceptance, size_t limit) __attribute__((warn_unused_result));
int json_write_top(const struct series *series, const struct diff *diff, const struct ages *ages, size_t limit)
	__attribute__((warn_unused_result));
/* Rows of growth alone, as in the diff. */
int json_write_growth(const struct series *series, const struct diff *diff) __attribute__((warn_unused_result));
int json_write_leaks(const struct series *series, const struct leak_list *leaks,
		     const struct suppressions *suppressions, size_t limit)
	__attribute__((warn_unused_result));
int json_write_chains(const struct chain_set *set) __attribute__((warn_unused_result));

/* The account of resident memory; growth is null for one snapshot. */
int json_write_rss(const struct rss *rss) __attribute__((warn_unused_result));

/* One name as a JSON string, quotes and all, into text that somebody else writes. Returns 0 or -ENOMEM. */
int json_write_text(FILE *out, const char *text) __attribute__((warn_unused_result));

/* A neighbourhood: nodes, edges by index, what is left out. */
int json_write_picture(const struct picture *picture) __attribute__((warn_unused_result));

#endif
