/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_snap.c - leakdiff snap PID: take a snapshot and say where it is. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/take.h"
#include "cli/target.h"
#include "core/text.h"

static struct take_options how;
static bool children;

static void tell(const struct taken *taken)
{
	char blocks[TEXT_SIZE], bytes[TEXT_SIZE], file[TEXT_SIZE];

	puts(taken->path);
	fflush(stdout);
	fprintf(stderr, "pause %.2f ms, %s blocks, %s live, %s written, %.2f s%s\n", (double)taken->pause_ns / 1e6,
		text_count((int64_t)taken->blocks, blocks), text_size((int64_t)taken->bytes, bytes),
		text_size((int64_t)taken->file_bytes, file), taken->seconds,
		taken->consistent ? "" : "; NOT consistent: some threads ran on");
}

static int snap_target(const struct target *target)
{
	struct taken taken;
	char *error = NULL;

	if (how.output && children && !take_is_folder(how.output))
		return cmd_usage(&cmd_snap, "with --children, -o takes a folder");
	if (take_snapshot(target, &how, &taken, &error) < 0) {
		cmd_trouble("%s", error ? error : "there is not enough memory");
		free(error);
		return CMD_TROUBLE;
	}
	tell(&taken);
	taken_done(&taken);
	return CMD_OK;
}

/* quiet: a process that cannot be snapped is passed over (a descendant without the library). */
static int snap_pid(pid_t pid, bool quiet)
{
	struct target target;
	char *error = NULL;
	int status;

	if (target_open(pid, &target, &error) < 0) {
		status = quiet ? CMD_OK : cmd_trouble("%s", error);
		free(error);
		return status;
	}
	status = snap_target(&target);
	target_done(&target);
	return status;
}

static int run(int argc, char **argv)
{
	pid_t pid, *pids = NULL;
	int status, count;

	if (argc != 1)
		return cmd_usage(&cmd_snap, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(&cmd_snap, "'%s' is not a process id", argv[0]);
	status = snap_pid(pid, false);
	if (!children || status == CMD_USAGE)
		return status;
	count = target_descendants(pid, &pids);
	for (int i = 0; i < count; i++) {
		int one = snap_pid(pids[i], true);

		if (one)
			status = one;
	}
	free(pids);
	return status;
}

static const struct cmd_option options[] = {
	{ "output", 'o', CMD_STRING, "FILE", "write there (a folder: choose a name in it)",
	  &how.output },
	{ "children", 0, CMD_FLAG, NULL, "also all its descendants that run under the library",
	  &children },
	{ "max-pause", 0, CMD_DURATION, "TIME",
	  "refuse if the service would stand still for longer", &how.max_pause_ns },
	{ "timeout", 0, CMD_DURATION, "TIME", "give up when the process does not answer (30s)",
	  &how.timeout_ns },
	{ "wrapper", 0, CMD_LIST, "NAME", "a function that only hands on what it allocates: its callers are the sites",
	  &how.wrappers },
	{ .name = NULL },
};

const struct cmd cmd_snap = {
	.name = "snap",
	.synopsis = "snap PID [-o FILE] [--children]",
	.summary = "take a snapshot of a running process",
	.detail =
		"Prints the path of the snapshot, DIR/NAME.PID.N.snap in the folder of the process "
		"unless -o says\n"
		"otherwise. The pause of the service, blocks, bytes and time go to standard error.",
	.options = options,
	.run = run,
};
