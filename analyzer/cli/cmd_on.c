/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_on.c - leakdiff on PID: wake recording in a process. */
#include "cli/cmd.h"
#include "cli/switch.h"
#include "preload/protocol.h"

static int run(int argc, char **argv)
{
	return switch_recording(&cmd_on, CONTROL_ON, argc, argv);
}

static const struct cmd_option options[] = { { .name = NULL } };

const struct cmd cmd_on = {
	.name = "on",
	.synopsis = "on PID",
	.summary = "wake recording in a process",
	.detail = "Recording begins with an empty table: blocks that are alive already stay "
		  "unknown, and every\n"
		  "snapshot says so.",
	.options = options,
	.run = run,
};
