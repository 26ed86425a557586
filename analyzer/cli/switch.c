/* SPDX-License-Identifier: Apache-2.0
 * L2  switch.c - what `leakdiff on` and `leakdiff off` have in common. */
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/switch.h"
#include "cli/target.h"

#define WAIT_NS 10000000000u

int switch_recording(const struct cmd *cmd, uint32_t command, int argc, char **argv)
{
	struct control_request request = { .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .command = command };
	struct target target;
	char *result = NULL, *error = NULL;
	pid_t pid;
	int status = CMD_OK;

	if (argc != 1)
		return cmd_usage(cmd, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(cmd, "'%s' is not a process id", argv[0]);
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
