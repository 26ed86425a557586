/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_diff.c - `leakdiff SNAP1 SNAP2 ...`: what grew, who allocated it, who still holds it. */
#include <stdint.h>
#include <stdio.h>

#include "cli/accepted.h"
#include "cli/cmd.h"
#include "cli/draw.h"
#include "cli/estimates.h"
#include "cli/json.h"
#include "cli/limits.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "core/diff.h"
#include "core/pattern.h"
#include "core/suspects.h"

#define ROWS_OF_A_SCREEN 10
#define ROWS_SHARE 8u			/* of the progress bar */

static struct {
	const char *by, *sort, *type;
	uint64_t top, min_bytes;
	const char *suppressions, *baseline, *write_baseline;
	uint64_t fail_above;
	bool json, quiet, unused;
	struct limits_options limits;
	struct draw_files files;
} options = { .top = UINT64_MAX, .fail_above = UINT64_MAX };

static int say_estimates(const struct series *series, size_t rows)
{
	struct estimates estimates;
	int r = estimates_read(series, &estimates);

	if (r == 0)
		r = estimates_print(stdout, &estimates, rows);
	estimates_done(&estimates);
	return r;
}

/* The answer of a person or of a script. */
static int say(const struct loaded *loaded, enum diff_by by, const struct diff *diff, const struct suspects *suspects,
	       const struct acceptance *acceptance)
{
	int r;

	if (options.json)
		return json_write_diff(loaded->series, diff, suspects, acceptance,
				       options.top == UINT64_MAX ? SIZE_MAX : options.top);
	size_t rows = options.top == UINT64_MAX ? ROWS_OF_A_SCREEN : options.top;

	r = report_diff(stdout, loaded->series, diff, suspects, rows);
	if (r == 0 && by == DIFF_BY_SITE)
		r = say_estimates(loaded->series, rows);
	accepted_say(stdout, acceptance, options.unused, options.fail_above != UINT64_MAX);
	return r;
}

static int answer(const struct loaded *loaded, const struct diff_options *rows, struct acceptance *acceptance)
{
	struct suspects *suspects = NULL;
	struct picture *picture = NULL;
	struct diff *diff = NULL;
	struct rows table;
	int status = 0, r, made;

	cmd_bar_step("adding up", ROWS_SHARE);
	rows_begin(&table, loaded->series, rows, true);
	r = suspects_find(loaded->series, &suspects);
	made = rows_end(&table, &diff);
	if (r == 0)
		r = made;
	if (r == 0)
		r = accept_apply(acceptance, suspects);
	cmd_bar_end();
	/* The picture first: when it cannot be written, no half answer stands on the terminal. */
	if (r == 0 && draw_is_asked(&options.files)) {
		r = pattern_of_suspects(suspects, &picture);
		if (r == 0)
			status = draw_picture(picture, &options.files);
	}
	if (r == 0)
		r = say(loaded, rows->by, diff, suspects, acceptance);
	if (r < 0)
		status = load_trouble(r);
	else if (!status)
		status = suspects->grew ? CMD_GREW : CMD_SAME;
	if (r == 0 && status != CMD_TROUBLE && options.write_baseline) {
		r = accepted_write(options.write_baseline, acceptance, suspects);
		status = r ? r : CMD_OK;	/* all that grew is accepted now */
	}
	picture_free(picture);
	suspects_free(suspects);
	diff_free(diff);
	return status;
}

static int run(int argc, char **argv)
{
	struct diff_options rows = { .min_bytes = options.min_bytes, .type = options.type };
	struct acceptance acceptance = { .fail_above = options.fail_above == UINT64_MAX ? 0 : options.fail_above };
	struct loaded loaded;
	int status;

	if (argc < 2)
		return cmd_usage(&cmd_diff, "a diff needs two snapshots or more");
	if (options.by && diff_parse_by(options.by, &rows.by) < 0)
		return cmd_usage(&cmd_diff, "--by takes type, site, holder, module or thread, not %s", options.by);
	if (options.sort && diff_parse_sort(options.sort, &rows.sort) < 0)
		return cmd_usage(&cmd_diff, "--sort takes growth, bytes, count, new or name, not %s", options.sort);
	if (options.json || options.quiet)
		cmd_bar_off();
	cmd_bar_expect(ROWS_SHARE + SERIES_STEPS_SHARES);
	status = accepted_load(&acceptance, options.suppressions, options.baseline);
	if (status)
		return status;
	/* Only the rows know of threads, and of holders in earlier snapshots; with three there are trends as well. */
	status = load_series_for(argv, (size_t)argc, &(struct load_plan){ .threads = rows.by == DIFF_BY_THREAD,
				 .paths = rows.by == DIFF_BY_HOLDER || argc > 2 }, &loaded);
	if (status == 0) {
		status = limits_set(&cmd_diff, &options.limits, loaded.series);
		if (status == 0)
			status = answer(&loaded, &rows, &acceptance);
		loaded_done(&loaded);
	}
	accepted_done(&acceptance);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "by", 0, CMD_STRING, "WHAT", "group by type, site, holder, module or thread", &options.by },
	{ "sort", 0, CMD_STRING, "HOW", "by growth, bytes, count, new or name", &options.sort },
	{ "top", 0, CMD_NUMBER, "N", "show N rows (text: 10, JSON: all)", &options.top },
	{ "min-bytes", 0, CMD_SIZE, "SIZE", "hide rows that changed by less", &options.min_bytes },
	{ "type", 0, CMD_STRING, "GLOB", "only rows of types that match", &options.type },
	{ "suppressions", 0, CMD_STRING, "FILE", "leave out suspects by LeakSanitizer's suppressions", &options.suppressions },
	{ "baseline", 0, CMD_STRING, "FILE", "accept the growth that this file allows", &options.baseline },
	{ "write-baseline", 0, CMD_STRING, "FILE", "accept from now on what grew here; exit status 0", &options.write_baseline },
	{ "fail-above", 0, CMD_SIZE, "SIZE", "exit status 1 only if more than this grew and is not accepted", &options.fail_above },
	{ "unused", 0, CMD_FLAG, NULL, "list suppressions and entries that met nothing", &options.unused },
	LIMITS_OPTIONS(options.limits),
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &options.json },
	{ "quiet", 0, CMD_FLAG, NULL, "no progress bar", &options.quiet },
	DRAW_OPTIONS(options.files),
	{ 0 },
};

const struct cmd cmd_diff = {
	.name = "diff",
	.synopsis = "[diff] SNAP1 SNAP2 [SNAP3 ...] [--by WHAT] [--json] [--png FILE]",
	.summary = "what grew between snapshots, who allocated it and who holds it",
	.detail = "Snapshots are given oldest first. With three or more each suspect is followed\n"
		  "through all of them: growing, warming up, saw-tooth or stable; also across restarts and workers.\n"
		  "Exit status: 0 nothing grew that counts; 1 a suspect that is not accepted is likely or certain,\n"
		  "and with --fail-above more than that grew; 2 trouble.",
	.options = cmd_options,
	.run = run,
};
