/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_status.c - leakdiff status PID: what the library in a process is doing. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/json_status.h"
#include "cli/target.h"
#include "core/text.h"

#define WAIT_NS 10000000000u

static bool as_json;

static void print_line(const char *label, char *value)
{
	char *escaped = text_escape(value ? value : "");

	printf("%-14s %s\n", label, escaped ? escaped : "");
	free(escaped);
	free(value);
}

/* Mode lite: how many stacks there are, and what was asked for. */
static void print_sampling(const char *result)
{
	uint64_t interval = target_number(result, "interval_bytes"), budget = target_number(result, "budget_ppm");
	uint64_t spent = target_number(result, "budget_spent_ppm");
	char size[TEXT_SIZE];

	if (interval)
		printf("%-14s of one block in %s\n", "stacks", text_size((int64_t)interval, size));
	if (budget && spent)
		printf("%-14s %.4g%% of the processor time, recording takes %.2g%%%s\n", "budget", (double)budget / 1e4,
		       (double)spent / 1e4, spent > 2 * budget ? " (each block is recorded, whatever the budget)" : "");
	else if (budget)
		printf("%-14s %.4g%% of the processor time, nothing measured yet\n", "budget", (double)budget / 1e4);
}

static int print_text(const struct target *target, const char *result)
{
	char size[TEXT_SIZE], count[TEXT_SIZE];

	printf("%-14s %d\n", "process", (int)target->pid);
	print_line("name", target_value(result, "name"));
	print_line("recording", target_value(result, "state"));
	print_line("mode", target_value(result, "mode"));
	print_sampling(result);
	printf("%-14s %s, %s\n", "live blocks",
	       text_count((int64_t)target_number(result, "blocks"), count),
	       text_size((int64_t)target_number(result, "bytes"), size));
	printf("%-14s %s, %s\n", "mappings",
	       text_count((int64_t)target_number(result, "mappings"), count),
	       text_size((int64_t)target_number(result, "mapped_bytes"), size));
	printf("%-14s %s\n", "lost events",
	       text_count((int64_t)target_number(result, "lost_events"), count));
	printf("%-14s %s\n", "own memory",
	       text_size((int64_t)target_number(result, "own_bytes"), size));
	printf("%-14s about %.1f ms\n", "a snapshot's pause",
	       (double)target_number(result, "predicted_pause_ns") / 1e6);
	print_line("folder", target_value(result, "folder"));
	return CMD_OK;
}

static int run(int argc, char **argv)
{
	struct control_request request = { .magic = CONTROL_MAGIC,
					   .version = CONTROL_VERSION,
					   .command = CONTROL_STATUS };
	struct target target;
	char *result = NULL, *error = NULL;
	pid_t pid;
	int status;

	if (argc != 1)
		return cmd_usage(&cmd_status, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(&cmd_status, "'%s' is not a process id", argv[0]);
	if (target_open(pid, &target, &error) < 0) {
		status = cmd_trouble("%s", error);
		free(error);
		return status;
	}
	if (target_ask(&target, &request, -1, WAIT_NS, &result, &error) < 0)
		status = cmd_trouble("%s", error);
	else
		status = !as_json ? print_text(&target, result)
			 : json_write_status((int)target.pid, result) < 0
				 ? cmd_trouble("the answer could not be written")
				 : CMD_OK;
	free(result);
	free(error);
	target_done(&target);
	return status;
}

static const struct cmd_option options[] = {
	{ "json", 0, CMD_FLAG, NULL, "print one JSON object", &as_json },
	{ .name = NULL },
};

const struct cmd cmd_status = {
	.name = "status",
	.synopsis = "status PID [--json]",
	.summary = "what the library in a process records",
	.options = options,
	.run = run,
};
