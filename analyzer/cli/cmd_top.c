/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_top.c - `leakdiff top SNAP`: one snapshot in rows, with retained size and age. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/report.h"
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

/* Retained bytes of a row: of its members that no other member of the row holds, so that nothing is
 * counted twice. One walk over the tree with a stack of open rows would need depth; the nearest
 * dominator of the same row is found from `above`, the last one seen on the way down. */
static int add_retained(const struct series *series, struct diff *diff)
{
	const struct series_heap *h = series_last(series);
	uint32_t *row_of = diff->row_of, nodes = h->heap->nodes;
	struct reach_leaks *leaks = NULL;
	struct dominators *tree = NULL;
	uint32_t *open_until = NULL;
	uint64_t *retained = NULL;
	int r = reach_find_leaks(h->heap, h->reach, &leaks);

	if (r == 0)
		r = dominators_compute(h->heap, h->reach, leaks, &tree);
	if (r < 0)
		goto out;
	retained = malloc((size_t)tree->count * sizeof(*retained));
	open_until = calloc((size_t)diff->made_rows + 1, sizeof(*open_until));
	r = retained && open_until ? 0 : -ENOMEM;
	if (r < 0)
		goto out;
	for (uint32_t id = 0; id < tree->count; id++)
		retained[id] = id < nodes ? series_bytes(h, id) : 0;
	dominators_retain(tree, retained);
	/* In this order a subtree is one interval: while a row is open, its members are inside one. */
	for (uint32_t i = 0; i < tree->count; i++) {
		uint32_t v = tree->order[i];

		if (v >= nodes || row_of[v] == HEAP_NONE || diff->place[row_of[v]] == HEAP_NONE ||
		    i < open_until[row_of[v]])
			continue;
		open_until[row_of[v]] = tree->last[v];
		diff->rows[diff->place[row_of[v]]].retained_bytes += retained[v];
	}
out:
	free(retained);
	free(open_until);
	dominators_free(tree);
	reach_leaks_free(leaks);
	return r;
}

static int run(int argc, char **argv)
{
	struct diff_options rows = { .min_bytes = options.min_bytes, .type = options.type, .keep_nodes = true };
	struct diff *diff = NULL;
	struct loaded loaded;
	int status, r;

	if (argc != 1)
		return cmd_usage(&cmd_top, "top takes one snapshot");
	if (options.by && diff_parse_by(options.by, &rows.by) < 0)
		return cmd_usage(&cmd_top, "--by takes type, site, holder, module or thread, not %s", options.by);
	if (options.sort && diff_parse_sort(options.sort, &rows.sort) < 0)
		return cmd_usage(&cmd_top, "--sort takes bytes, count or name, not %s", options.sort);
	if (options.json || options.quiet)
		cmd_bar_off();
	cmd_bar_expect(ROWS_SHARE + RETAINED_SHARE);
	status = load_series(argv, 1, &loaded);
	if (status)
		return status;
	cmd_bar_step("adding up", ROWS_SHARE);
	r = diff_make(loaded.series, &rows, &diff);
	cmd_bar_step("finding who holds what", RETAINED_SHARE);
	if (r == 0)
		r = add_retained(loaded.series, diff);
	cmd_bar_end();
	if (r == 0 && options.json)
		r = json_write_top(loaded.series, diff, options.top == UINT64_MAX ? SIZE_MAX : options.top);
	else if (r == 0)
		r = report_top(stdout, loaded.series, diff, options.top == UINT64_MAX ? ROWS_OF_A_SCREEN : options.top);
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
	.detail = "Retained is what would go with these blocks: with everything that only they hold.",
	.options = cmd_options,
	.run = run,
};
