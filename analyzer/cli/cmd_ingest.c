/* SPDX-License-Identifier: Apache-2.0
 * L2  cmd_ingest.c - `leakdiff ingest STREAM -o SNAP`: raw capture stream to snapshot file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/ingest.h"
#include "core/text.h"

static const char *output, *root;
static struct cmd_list wrappers;

static const struct cmd_option options[] = {
	{ "output", 'o', CMD_STRING, "FILE", "the snapshot to write; an older one there is replaced at the end", &output },
	{ "root", 0, CMD_STRING, "DIR", "where the service's files are, for one in a container: /proc/PID/root", &root },
	{ "wrapper", 0, CMD_LIST, "NAME", "a function that only hands on what it allocates: its callers are the sites", &wrappers },
	{ 0 },
};

static void progress(const char *what, uint64_t done, uint64_t total, void *data)
{
	(void)data;
	cmd_progress(what, done, total);
}

static int run(int argc, char **argv)
{
	struct ingest_options ingest = { .root = root, .progress = progress, .source = argc == 1 ? argv[0] : NULL, .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char *error = NULL, blocks[TEXT_SIZE], bytes[TEXT_SIZE], file[TEXT_SIZE];
	int fd = STDIN_FILENO, r, status;

	if (argc != 1)
		return cmd_usage(&cmd_ingest,
				 "ingest takes one capture stream, or - for standard input");
	if (!output)
		return cmd_usage(&cmd_ingest, "ingest needs -o FILE");
	if (strcmp(argv[0], "-")) {
		fd = open(argv[0], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return cmd_trouble("cannot open %s: %s", argv[0], strerror(errno));
	} else if (isatty(STDIN_FILENO)) {
		return cmd_usage(&cmd_ingest, "standard input is a terminal, not a capture stream");
	}
	ingest.wrappers = wrappers.items;
	ingest.wrapper_count = wrappers.count;
	r = ingest_run(fd, output, &ingest, &result, &error);
	cmd_progress(NULL, 0, 0);
	if (fd != STDIN_FILENO)
		close(fd);
	if (r < 0) {
		status = cmd_trouble("%s: %s", strcmp(argv[0], "-") ? argv[0] : "standard input",
				     error ? error : strerror(-r));
		free(error);
		return status;
	}
	printf("%s\n", output);
	fprintf(stderr, "%s blocks, %s, %llu references; file %s%s\n",
		text_count((int64_t)result.blocks, blocks), text_size((int64_t)result.bytes, bytes),
		(unsigned long long)result.edges, text_size((int64_t)result.file_bytes, file),
		result.consistent ? "" : "; not every thread stood still");
	return CMD_OK;
}

const struct cmd cmd_ingest = {
	.name = "ingest",
	.synopsis = "ingest STREAM|- -o FILE [--root DIR]",
	.summary = "make a snapshot file of a raw capture stream",
	.detail = "A stream is what the library writes when it finds no leakdiff to hand it to. Ingest reads it\n"
		  "(- is standard input), finds names for its addresses in the service's binaries, and writes FILE\n"
		  "whole or not at all. Run it where those binaries are. A heap profile of jemalloc (heap_v2) or\n"
		  "gperftools becomes a snapshot without references.",
	.options = options,
	.run = run,
};
