/* SPDX-License-Identifier: Apache-2.0
 * L1  screen.h - a terminal's whole screen, while a command lives on it.
 *
 * The terminal gets back what it showed before, however the command ends: by screen_close(), or by a
 * signal that ends the process (screen_restore(), which may be called in a handler). What anybody writes to
 * stderr meanwhile is kept aside and can be shown. */
#ifndef LEAKDIFF_CLI_SCREEN_H
#define LEAKDIFF_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

/* Returns 0, or a negative errno: stdin or stdout is no terminal that can do it. */
int screen_open(void) __attribute__((warn_unused_result));
void screen_close(void);
void screen_restore(void);

/* Show lines from the top, each cut to the width, and `bottom` in the last one. What does not fit is
 * counted in the line before it. Colours in the text take no room. */
void screen_draw(const char *lines, const char *bottom);

/* The size now: 0 where it is not known. */
void screen_size(size_t *ret_columns, size_t *ret_rows);

/* What was written to stderr since the last call, an owned string, or NULL for nothing. */
char *screen_take_errors(void);

#endif
