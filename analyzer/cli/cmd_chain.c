/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_chain.c - `leakdiff chain SNAP`: the paths from roots to objects. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/draw.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/query.h"
#include "cli/report.h"
#include "core/pattern.h"

static struct chain_query query = { .size = UINT64_MAX };
static bool all, as_json;
static struct draw_files files;

static int run(int argc, char **argv)
{
	struct picture *picture = NULL;
	struct chain_set *set = NULL;
	struct loaded loaded;
	uint32_t *nodes;
	size_t count;
	int status, r;

	status = query_load(&cmd_chain, &query, argc, argv, &loaded, &nodes, &count);
	if (status)
		return status;
	r = chain_set_make(loaded.series, nodes, count, all ? SIZE_MAX : 1, &set);
	if (r == 0 && draw_is_asked(&files)) {
		r = pattern_of_chains(set, &picture);
		if (r == 0)
			status = draw_picture(picture, &files);
	}
	if (r == 0)
		r = as_json ? json_write_chains(set) : report_chains(stdout, loaded.series, set);
	if (r < 0)
		status = load_trouble(r);
	picture_free(picture);
	chain_set_free(set);
	free(nodes);
	loaded_done(&loaded);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	QUERY_OPTIONS(query),
	{ "all", 0, CMD_FLAG, NULL, "a chain for every object that matches, not for one", &all },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &as_json },
	DRAW_OPTIONS(files),
	{ 0 },
};

const struct cmd cmd_chain = {
	.name = "chain",
	.synopsis = "chain SNAP (--type TYPE|--addr ADDR|--site SITE|--size N) [--all] [--json] [--png FILE]",
	.summary = "the path of references from a root to an object",
	.detail = "Paths through variables are preferred to those through stacks and registers; the shortest is shown.",
	.options = cmd_options,
	.run = run,
};
