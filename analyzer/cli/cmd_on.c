/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_on.c - leakdiff on PID: wake recording in a process. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/target.h"

#define WAIT_NS 10000000000u

static int run(int argc, char **argv)
{
	struct control_request request = { .magic = CONTROL_MAGIC,
					   .version = CONTROL_VERSION,
					   .command = CONTROL_ON };
	struct target target;
	char *result = NULL, *error = NULL;
	pid_t pid;
	int status = CMD_OK;

	if (argc != 1)
		return cmd_usage(&cmd_on, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(&cmd_on, "'%s' is not a process id", argv[0]);
	if (target_open(pid, &target, &error) < 0) {
		status = cmd_trouble("%s", error);
		free(error);
		return status;
	}
	if (target_ask(&target, &request, -1, WAIT_NS, &result, &error) < 0)
		status = cmd_trouble("%s", error);
	free(result);
	free(error);
	target_done(&target);
	return status;
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
