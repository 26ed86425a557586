/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_top.c - `leakdiff top SNAP`: one snapshot in rows, with retained size and age. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/retained.h"
#include "cli/rows.h"
#include "core/ages.h"
#include "core/diff.h"
#include "core/dominators.h"

#define ROWS_OF_A_SCREEN 20
#define ROWS_SHARE 8u			/* of the progress bar */
#define RETAINED_SHARE 25u

static struct {
	const char *by, *sort, *type;
	uint64_t top, min_bytes;
	bool json, quiet;
} options = { .top = UINT64_MAX };

static int run(int argc, char **argv)
{
	struct diff_options rows = { .min_bytes = options.min_bytes, .type = options.type, .keep_nodes = true };
	struct diff *diff = NULL;
	struct ages *ages = NULL;
	struct dominators *tree = NULL;
	struct loaded loaded;
	struct rows table;
	int status, r, made;

	if (argc != 1)
		return cmd_usage(&cmd_top, "top takes one snapshot");
	if (options.by && diff_parse_by(options.by, &rows.by) < 0)
		return cmd_usage(&cmd_top, "--by takes type, site, holder, module or thread, not %s", options.by);
	if (options.sort && diff_parse_sort(options.sort, &rows.sort) < 0)
		return cmd_usage(&cmd_top, "--sort takes bytes, count or name, not %s", options.sort);
	if (options.json || options.quiet)
		cmd_bar_off();
	cmd_bar_expect(ROWS_SHARE + RETAINED_SHARE);
	status = load_series_for(argv, 1, &(struct load_plan){ .threads = rows.by == DIFF_BY_THREAD }, &loaded);
	if (status)
		return status;
	cmd_bar_step("adding up", ROWS_SHARE);
	rows_begin(&table, loaded.series, &rows, true);
	cmd_bar_step("finding who holds what", RETAINED_SHARE);
	r = retained_tree(loaded.series, &tree);
	made = rows_end(&table, &diff);
	if (r == 0)
		r = made;
	if (r == 0)
		r = ages_of_rows(loaded.series, diff, &ages);
	if (r == 0)
		r = retained_add(loaded.series, tree, diff);
	dominators_free(tree);
	cmd_bar_end();
	if (r == 0 && options.json)
		r = json_write_top(loaded.series, diff, ages, options.top == UINT64_MAX ? SIZE_MAX : options.top);
	else if (r == 0)
		r = report_top(stdout, loaded.series, diff, ages, options.top == UINT64_MAX ? ROWS_OF_A_SCREEN : options.top);
	free(ages);
	diff_free(diff);
	loaded_done(&loaded);
	return cmd_finish(r < 0 ? load_trouble(r) : CMD_OK);
}

static const struct cmd_option cmd_options[] = {
	{ "by", 0, CMD_STRING, "WHAT", "group by type, site, holder, module or thread", &options.by },
	{ "sort", 0, CMD_STRING, "HOW", "by bytes, count or name", &options.sort },
	{ "top", 0, CMD_NUMBER, "N", "show N rows (text: 20, JSON: all)", &options.top },
	{ "min-bytes", 0, CMD_SIZE, "SIZE", "hide rows that are smaller", &options.min_bytes },
	{ "type", 0, CMD_STRING, "GLOB", "only rows of types that match", &options.type },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &options.json },
	{ "quiet", 0, CMD_FLAG, NULL, "no progress bar", &options.quiet },
	{ 0 },
};

const struct cmd cmd_top = {
	.name = "top",
	.synopsis = "top SNAP [--by WHAT] [--sort HOW] [--top N] [--json]",
	.summary = "what is live in one snapshot, with retained size and age",
	.detail = "Retained is what would go with these blocks: with everything that only they hold.\n"
		  "Births by quarter of the recorded time: what was gathered at an even rate may grow without end.",
	.options = cmd_options,
	.run = run,
};
