/* SPDX-License-Identifier: Apache-2.0
 * L1  draw.h - the options --png, --svg and --dot, which several commands share. */
#ifndef LEAKDIFF_CLI_DRAW_H
#define LEAKDIFF_CLI_DRAW_H

#include <stdbool.h>

struct picture;

struct draw_files {
	const char *png, *svg, *dot;
};

#define DRAW_OPTIONS(files)                                                                         \
	{ "png", 0, CMD_STRING, "FILE", "draw the picture as PNG", &(files).png },                  \
	{ "svg", 0, CMD_STRING, "FILE", "draw the picture as SVG", &(files).svg },                  \
	{ "dot", 0, CMD_STRING, "FILE", "write the picture's graph for dot(1)", &(files).dot }

static inline bool draw_is_asked(const struct draw_files *files)
{
	return files->png || files->svg || files->dot;
}

/* Draw into every file that was asked for; says what failed by itself. Returns 0 or CMD_TROUBLE. */
int draw_picture(const struct picture *picture, const struct draw_files *files)
	__attribute__((warn_unused_result));

#endif
