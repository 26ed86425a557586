/* SPDX-License-Identifier: Apache-2.0
 * L3  neighbours.c - the neighbourhood of objects, as a tree of text, JSON and a picture. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/json.h"
#include "cli/neighbours.h"
#include "cli/report.h"

int neighbours_show(const struct cmd *cmd, const struct neighbours *options,
		    enum pattern_direction direction, int argc, char **argv)
{
	struct picture *picture = NULL;
	struct loaded loaded;
	uint32_t *nodes;
	size_t count;
	int status, r;

	if (!options->width)
		return cmd_usage(cmd, "--width must be at least 1");
	status = query_load(cmd, &options->query, argc, argv, &loaded, &nodes, &count);
	if (status)
		return status;
	r = pattern_of_neighbours(loaded.series, nodes, count, direction,
				  options->depth > 1000 ? 1000 : (unsigned)options->depth,
				  options->width > 1000 ? 1000 : (unsigned)options->width, &picture);
	if (r == 0)
		status = draw_picture(picture, &options->files);
	if (r == 0)
		r = options->json ? json_write_picture(picture) :
		    report_picture(stdout, picture, direction == PATTERN_BACKREFS);
	if (r < 0)
		status = load_trouble(r);
	picture_free(picture);
	free(nodes);
	loaded_done(&loaded);
	return cmd_finish(status);
}
