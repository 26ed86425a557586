/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_leaks.c - `leakdiff leaks SNAP`: what no root reaches. */
#include <stdint.h>
#include <stdio.h>

#include "cli/accepted.h"
#include "cli/cmd.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/report.h"
#include "core/leaks.h"

#define LEAKS_OF_A_SCREEN 10
#define LEAKS_SHARE 5u			/* of the progress bar */

static struct {
	const char *type, *suppressions;
	uint64_t top;
	bool json, quiet, unused;
} options = { .top = UINT64_MAX };

static int run(int argc, char **argv)
{
	struct acceptance acceptance = { 0 };
	struct leak_list *leaks = NULL;
	struct loaded loaded;
	int status, r;

	if (argc != 1)
		return cmd_usage(&cmd_leaks, "leaks takes one snapshot");
	if (options.json || options.quiet)
		cmd_bar_off();
	cmd_bar_expect(LEAKS_SHARE);
	status = accepted_load(&acceptance, options.suppressions, NULL);
	if (status)
		return status;
	status = load_series(argv, 1, &loaded);
	if (status) {
		accepted_done(&acceptance);
		return status;
	}
	if (heap_is_profile(series_last(loaded.series)->heap)) {
		loaded_done(&loaded);
		accepted_done(&acceptance);
		return cmd_trouble("%s is made of a heap profile, which holds no references: whether anything is "
				   "unreachable cannot be known", argv[0]);
	}
	cmd_bar_step("looking for leaks", LEAKS_SHARE);
	r = leak_list_make(loaded.series, options.type, acceptance.suppressions, &leaks);
	cmd_bar_end();
	if (r == 0 && options.json)
		r = json_write_leaks(loaded.series, leaks, acceptance.suppressions,
				     options.top == UINT64_MAX ? SIZE_MAX : options.top);
	else if (r == 0)
		r = report_leaks(stdout, loaded.series, leaks,
				 options.top == UINT64_MAX ? LEAKS_OF_A_SCREEN : options.top);
	if (r == 0 && !options.json)
		accepted_say_suppressed(stdout, acceptance.suppressions, options.unused);
	status = r < 0 ? load_trouble(r) : leaks->count ? CMD_GREW : CMD_SAME;
	leak_list_free(leaks);
	loaded_done(&loaded);
	accepted_done(&acceptance);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "type", 0, CMD_STRING, "GLOB", "only blocks of types that match", &options.type },
	{ "suppressions", 0, CMD_STRING, "FILE", "leave out what LeakSanitizer's suppressions match", &options.suppressions },
	{ "unused", 0, CMD_FLAG, NULL, "list suppressions that matched nothing", &options.unused },
	{ "top", 0, CMD_NUMBER, "N", "show N entries (text: 10, JSON: all)", &options.top },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &options.json },
	{ "quiet", 0, CMD_FLAG, NULL, "no progress bar", &options.quiet },
	{ 0 },
};

const struct cmd cmd_leaks = {
	.name = "leaks",
	.synopsis = "leaks SNAP [--type GLOB] [--top N] [--json]",
	.summary = "blocks that nothing refers to, direct and indirect, with stacks",
	.detail = "Direct: nothing unreachable refers to the block either. Indirect: it hangs from another one.\n"
		  "Cyclic garbage that waits for Python's collector is named apart, as no leak.\n"
		  "A suppression leaves out what it matches and what hangs from that, as LeakSanitizer does.\n"
		  "Exit status: 0 none; 1 some; 2 trouble.",
	.options = cmd_options,
	.run = run,
};
