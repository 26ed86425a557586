/* SPDX-License-Identifier: Apache-2.0
 * L1  table.h - text tables: columns as wide as their content, numbers to the right, one screen wide. */
#ifndef LEAKDIFF_CLI_TABLE_H
#define LEAKDIFF_CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct table;

/* headers: one a column. align: one letter a column: 'l' left, 'r' right; the last column may be cut to
 * the width of a terminal. Returns NULL when memory is short. */
struct table *table_new(const char *const *headers, const char *align);

/* Add a row of as many strings as there are columns (borrowed for the call). Strings are for print as
 * they are: names must be escaped before. A failed allocation is remembered until table_print(). */
void table_add(struct table *table, const char *const *cells);

/* Print with `indent` spaces before each line. Returns 0 or -ENOMEM. */
int table_print(const struct table *table, FILE *out, int indent) __attribute__((warn_unused_result));

struct table *table_free(struct table *table);

/* Columns of the terminal on stdout, or of COLUMNS; 0 = no limit (a pipe or a file). */
size_t table_screen_width(void);

/* Columns that a UTF-8 string takes. */
size_t table_text_width(const char *text);

/* Leave this column out where the table is wider than the terminal, if all rows that were added say but what is usual. */
void table_spare(struct table *table, size_t column, const char *usual);

/* Print text at `indent`, broken at spaces to the screen; the first line continues the one that stands, whose next
 * column is `column`. */
void table_wrap(FILE *out, const char *text, size_t indent, size_t column);

#endif
