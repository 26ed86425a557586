/* SPDX-License-Identifier: Apache-2.0
 * L3  neighbours.h - what `refs` and `backrefs` have in common: all but the direction. */
#ifndef LEAKDIFF_CLI_NEIGHBOURS_H
#define LEAKDIFF_CLI_NEIGHBOURS_H

#include "cli/draw.h"
#include "cli/query.h"
#include "core/pattern.h"

struct neighbours {
	struct chain_query query;
	uint64_t depth, width;
	bool json;
	struct draw_files files;
};

#define NEIGHBOURS_DEFAULT { .query = { .size = UINT64_MAX }, .depth = 3, .width = 10 }

#define NEIGHBOURS_OPTIONS(o)                                                                       \
	QUERY_OPTIONS((o).query),                                                                   \
	{ "depth", 0, CMD_NUMBER, "N", "steps from the object (3)", &(o).depth },                   \
	{ "width", 0, CMD_NUMBER, "N", "neighbours shown of one object (10)", &(o).width },         \
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &(o).json },                          \
	DRAW_OPTIONS((o).files)

int neighbours_show(const struct cmd *cmd, const struct neighbours *options,
		    enum pattern_direction direction, int argc, char **argv);

#endif
