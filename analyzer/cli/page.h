/* SPDX-License-Identifier: Apache-2.0
 * L1  page.h - the pieces of an HTML page that stands alone.
 *
 * (1) Nothing is loaded: no script, style, font or picture from elsewhere. The page's own policy forbids it
 *     (Content-Security-Policy), and of scripts it allows the one that page_begin() writes, by its hash.
 * (2) Names from memory go through page_text() or page_printf(), nothing else: control characters are
 *     written as \xNN, and what HTML would obey is escaped, in text and in attributes alike.
 * (3) It can be read without JavaScript. */
#ifndef LEAKDIFF_CLI_PAGE_H
#define LEAKDIFF_CLI_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void page_begin(FILE *out, const char *title);
void page_end(FILE *out);

/* Text that may hold anything. NULL is nothing. */
void page_text(FILE *out, const char *text);

/* Formatted text that may hold anything. */
void page_printf(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A size as a person reads it, "+1.5 MiB" with a sign where asked. */
void page_size(FILE *out, int64_t bytes);
void page_signed_size(FILE *out, int64_t bytes);
void page_count(FILE *out, int64_t count);

/* A cell of a table: right-aligned number, whose exact value a script sorts by. */
void page_size_cell(FILE *out, int64_t bytes);
void page_signed_size_cell(FILE *out, int64_t bytes);
void page_count_cell(FILE *out, int64_t count);

/* An SVG document that Graphviz wrote, inline: without what stands before <svg>, its ids made unique by
 * `number`. */
void page_svg(FILE *out, const char *svg, unsigned number);

#endif
