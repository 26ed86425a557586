/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_off.c - leakdiff off PID: stop recording in a process. */
#include "cli/cmd.h"
#include "cli/switch.h"
#include "preload/protocol.h"

static int run(int argc, char **argv)
{
	return switch_recording(&cmd_off, CONTROL_OFF, argc, argv);
}

static const struct cmd_option options[] = { { .name = NULL } };

const struct cmd cmd_off = {
	.name = "off",
	.synopsis = "off PID",
	.summary = "stop recording in a process",
	.detail = "Nothing is freed or forgotten, but the table goes stale: snapshots that are "
		  "taken later say so.",
	.options = options,
	.run = run,
};
