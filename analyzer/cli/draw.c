/* SPDX-License-Identifier: Apache-2.0
 * L1  draw.c - pictures into the files that were asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/draw.h"
#include "viz.h"

static int draw_one(const struct picture *picture, enum viz_format format, const char *path)
{
	char *error = NULL;
	int r;

	if (!path)
		return 0;
	fflush(stdout);			/* the picture may go there too */
	r = viz_render(picture, format, path, &error);
	if (r < 0)
		cmd_trouble("%s", error ? error : strerror(-r));
	free(error);
	return r < 0 ? CMD_TROUBLE : 0;
}

int draw_picture(const struct picture *picture, const struct draw_files *files)
{
	int status = draw_one(picture, VIZ_PNG, files->png);

	if (!status)
		status = draw_one(picture, VIZ_SVG, files->svg);
	return status ? status : draw_one(picture, VIZ_DOT, files->dot);
}
