/* SPDX-License-Identifier: Apache-2.0
 * L0  cmd.h - what a command is.
 *
 * To add a command: a line in commands.inc, a file cmd_NAME.c with `const struct cmd cmd_NAME`, a man
 * page docs/leakdiff-NAME.1 whose SYNOPSIS and OPTIONS agree with the tables (tests/policy checks it). */
#ifndef LEAKDIFF_CMD_H
#define LEAKDIFF_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cmd_exit { CMD_SAME = 0, CMD_OK = 0, CMD_GREW = 1, CMD_TROUBLE = 2, CMD_USAGE = 64 };

enum cmd_option_kind {
	CMD_FLAG,			/* bool *value */
	CMD_STRING,			/* const char **value */
	CMD_SIZE,			/* uint64_t *value, "10MiB" */
	CMD_DURATION,			/* uint64_t *value in ns, "90s" */
	CMD_NUMBER,			/* uint64_t *value */
	CMD_ADDRESS,			/* uint64_t *value, hex with or without 0x */
	CMD_LIST,			/* struct cmd_list *value: may be given several times */
};

struct cmd_list { const char **items; size_t count; };

struct cmd_option {
	const char *name;		/* long name without dashes */
	char letter;			/* 0 = none */
	enum cmd_option_kind kind;
	const char *argument;		/* "FILE", or NULL for a flag */
	const char *help;		/* one line */
	void *value;
};

struct cmd {
	const char *name;
	const char *synopsis;		/* after "leakdiff ": "snap PID [-o FILE]" */
	const char *summary;		/* one line for the command list */
	const char *detail;		/* some lines for --help, or NULL */
	const struct cmd_option *options;	/* ends with name == NULL */
	int (*run)(int argc, char **argv);	/* the words that are left after the options, argv[0] first of them */
	bool stop_at_word;		/* options end at the first word (run -- CMD) */
};

#define X(name) extern const struct cmd cmd_##name;
#include "commands.inc"
#undef X

/* Parse argv[1..] by the command's table; prints help or a usage error itself.
 * Returns the number of words left (moved to argv[0..]), or -1 - status when the program should end
 * with status now. */
int cmd_parse(const struct cmd *cmd, int argc, char **argv);

/* "leakdiff: " + sentence + newline on stderr, escaped; returns CMD_TROUBLE. */
int cmd_trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "leakdiff: " + sentence + how to get help; returns CMD_USAGE. */
int cmd_usage(const struct cmd *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flush stdout and turn a write error (full disk) into CMD_TROUBLE; EPIPE is no error. */
int cmd_finish(int status);

/* A progress line on stderr, only on a terminal; NULL clears it. */
void cmd_progress(const char *what, uint64_t done, uint64_t total);

/* A bar for work in steps that may take longer than a second; see progress.c. First all that is expected
 * is said, in shares, then each step as it begins, its share among what was expected. A step NULL ends the
 * last one, and the bar when all shares are done. Off: for --json and --quiet. One thread. */
void cmd_bar_off(void);
void cmd_bar_expect(unsigned shares);
void cmd_bar_step(const char *what, unsigned share);
void cmd_bar_end(void);

/* May colour be used on stdout (terminal, NO_COLOR unset)? */
bool cmd_colour(void);

#endif
