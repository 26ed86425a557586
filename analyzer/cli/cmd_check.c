/* SPDX-License-Identifier: Apache-2.0
 * L2  cmd_check.c - `leakdiff check SNAP`: verifies a file and says what it holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/text.h"

static const struct cmd_option options[] = { { 0 } };

static void print(const char *line, void *data)
{
	char *safe = text_escape(line);

	(void)data;
	puts(safe ? safe : line);
	free(safe);
}

static int check(const char *path)
{
	struct store *store;
	char *error = NULL;
	int status;

	if (snapshot_file_open(path, &store, &error) < 0) {
		status = error ? cmd_trouble("%s", error) :
				 cmd_trouble("not enough memory to open %s", path);
		free(error);
		return status;
	}
	status = store_check(store, print, NULL) < 0 ? CMD_TROUBLE : CMD_OK;
	store_free(store);
	return status;
}

static int run(int argc, char **argv)
{
	int status = CMD_OK;

	if (argc < 1)
		return cmd_usage(&cmd_check, "check needs a snapshot file");
	for (int i = 0; i < argc; i++) {
		int one = check(argv[i]);

		status = one > status ? one : status;
	}
	return status;
}

const struct cmd cmd_check = {
	.name = "check",
	.synopsis = "check SNAP...",
	.summary = "verify snapshot files and say what they hold",
	.detail = "Every page, every chunk and every reference between tables is verified. Exit status 0 = whole,\n"
		  "2 = damaged, with a line that says where.",
	.options = options,
	.run = run,
};
