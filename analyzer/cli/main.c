/* SPDX-License-Identifier: Apache-2.0
 * L2  main.c - `leakdiff`: which command is meant, and the end of every one of them.
 *
 * A first word that is no command but an existing file means `diff`. Low memory, closed pipes and
 * full disks end in one sentence and exit status 2 (a closed pipe: quietly). Whoever is interrupted leaves
 * no unfinished file. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/temporary.h"

static const struct cmd *const commands[] = {
#define X(name) &cmd_##name,
#include "commands.inc"
#undef X
};

static const struct cmd *find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static void print_help(FILE *out)
{
	fputs("leakdiff: what grew in a Linux service, who allocated it, and who still holds it\n"
	      "  LD_PRELOAD=libleakdiff.so ./service     (or: leakdiff run -- ./service)\n"
	      "  leakdiff snap PID                       now, and again later\n"
	      "  leakdiff SNAP1 SNAP2 [--png F]          the answer\n\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n`leakdiff COMMAND --help` and leakdiff-COMMAND(1) say more.\n"
	      "Exit status: 0 nothing grew, 1 growth found, 2 trouble, 64 wrong usage.\n", out);
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
	int words = cmd_parse(cmd, argc, argv);

	if (words < 0)
		return -1 - words;
	return cmd->run(words, argv);
}

static void end_by_signal(int number)
{
	temporary_clear();
	signal(number, SIG_DFL);
	raise(number);
}

static void catch_signals(void)
{
	struct sigaction end = { .sa_handler = end_by_signal }, before;
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)	/* else nohup */
			sigaction(numbers[i], &end, NULL);
	signal(SIGPIPE, SIG_IGN);	/* a closed pipe is seen by cmd_finish(), not by dying half-way */
	signal(SIGXFSZ, SIG_IGN);	/* a file that may not grow is a sentence, not a death */
}

/* A file must not get the number of a standard one that was closed, or an answer is written into it. What stands
 * there instead cannot be read or written either, and a program that is run does not get it. */
static void hold_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", (fd ? O_RDONLY : O_WRONLY) | O_CLOEXEC);	/* the lowest that is free: fd */
}

int main(int argc, char **argv)
{
	const struct cmd *cmd;
	int status;

	hold_standard_files();
	catch_signals();
	if (argc < 2) {
		print_help(stderr);
		return CMD_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		if (argc > 2 && (cmd = find(argv[2]))) {
			char *words[] = { argv[2], "--help", NULL };

			return cmd_finish(run(cmd, 2, words));
		}
		if (argc > 2) {
			cmd_trouble("there is no command '%s'; leakdiff --help lists all", argv[2]);
			return cmd_finish(CMD_USAGE);
		}
		print_help(stdout);
		return cmd_finish(CMD_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		puts("leakdiff " LEAKDIFF_VERSION);
		return cmd_finish(CMD_OK);
	}

	cmd = find(argv[1]);
	if (cmd) {
		status = run(cmd, argc - 1, argv + 1);
	} else if (argv[1][0] == '-' || access(argv[1], F_OK) == 0) {
		argv[0] = (char *)cmd_diff.name;	/* options may stand before the files */
		status = run(&cmd_diff, argc, argv);
	} else if (strchr(argv[1], '/') || strstr(argv[1], ".snap")) {
		status = cmd_trouble("%s: there is no such file", argv[1]);
	} else {
		fprintf(stderr, "leakdiff: '%s' is neither a command nor a file; see leakdiff --help\n", argv[1]);
		status = CMD_USAGE;
	}
	return cmd_finish(status);
}
