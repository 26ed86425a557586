/* SPDX-License-Identifier: Apache-2.0
 * L1  options.c - table-driven options, help, and what all commands say in the same way.
 *
 * Options may stand anywhere among the words (`leakdiff a.snap b.snap --png x.png`), as --name VALUE,
 * --name=VALUE, -n VALUE or -nVALUE; `--` ends them. A command with stop_at_word ends them at its
 * first word, because what follows belongs to another program. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/text.h"

static void print_option(const struct cmd_option *option)
{
	char left[64];

	if (option->letter)
		snprintf(left, sizeof(left), "-%c, --%s%s%s", option->letter, option->name,
			 option->argument ? " " : "", option->argument ? option->argument : "");
	else
		snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
			 option->argument ? option->argument : "");
	printf("  %-24s %s\n", left, option->help);
}

static void print_help(const struct cmd *cmd)
{
	printf("usage: leakdiff %s\n\n%s\n", cmd->synopsis, cmd->summary);
	if (cmd->detail)
		printf("\n%s\n", cmd->detail);
	if (cmd->options && cmd->options->name)
		puts("\noptions:");
	for (const struct cmd_option *o = cmd->options; o && o->name; o++)
		print_option(o);
	printf("  %-24s %s\n", "--help", "show this help");
}

static const struct cmd_option *find_long(const struct cmd *cmd, const char *name, size_t length)
{
	for (const struct cmd_option *o = cmd->options; o && o->name; o++)
		if (strlen(o->name) == length && !strncmp(o->name, name, length))
			return o;
	return NULL;
}

static const struct cmd_option *find_letter(const struct cmd *cmd, char letter)
{
	for (const struct cmd_option *o = cmd->options; o && o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

static int store_number(const char *value, int base, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	if (!isxdigit((unsigned char)*value))	/* strtoull() takes a sign, and spaces before it */
		return -EINVAL;
	errno = 0;
	number = strtoull(value, &end, base);
	if (errno || end == value || *end)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

/* Returns 0, or -EINVAL with *ret_takes saying what the option takes. */
static int store_value(const struct cmd_option *option, const char *value, const char **ret_takes)
{
	struct cmd_list *list;
	const char **items;

	switch (option->kind) {
	case CMD_FLAG:
		*(bool *)option->value = true;
		return 0;
	case CMD_STRING:
		*(const char **)option->value = value;
		return 0;
	case CMD_SIZE:
		*ret_takes = "a size such as 10MiB, 1500k or 2G";
		return text_parse_size(value, option->value);
	case CMD_DURATION:
		*ret_takes = "a time such as 90s, 5m or 250ms";
		return text_parse_duration(value, option->value);
	case CMD_NUMBER:
		*ret_takes = "a number";
		return store_number(value, 10, option->value);
	case CMD_ADDRESS:
		*ret_takes = "an address such as 0x7f001234";
		return store_number(value, 16, option->value);
	case CMD_LIST:
		list = option->value;
		items = realloc(list->items, (list->count + 1) * sizeof(*items));
		*ret_takes = "less memory than there is";
		if (!items)
			return -ENOMEM;
		items[list->count++] = value;
		list->items = items;
		return 0;
	}
	return -EINVAL;
}

static int take_option(const struct cmd *cmd, const struct cmd_option *option, const char *value)
{
	const char *takes = "";

	if (store_value(option, value, &takes) < 0)
		return -1 - cmd_usage(cmd, "--%s takes %s, not '%s'", option->name, takes, value);
	return 0;
}

int cmd_parse(const struct cmd *cmd, int argc, char **argv)
{
	int words = 0, r;

	for (int i = 1; i < argc; i++) {
		char *arg = argv[i];
		const struct cmd_option *option;
		const char *value = NULL;

		if (arg[0] != '-' || !arg[1]) {		/* "-" alone is a word: standard input */
			if (cmd->stop_at_word) {
				while (i < argc)
					argv[words++] = argv[i++];
				break;
			}
			argv[words++] = arg;
			continue;
		}
		if (!strcmp(arg, "--")) {
			while (++i < argc)
				argv[words++] = argv[i];
			break;
		}
		if (!strcmp(arg, "--help") || (!strcmp(arg, "-h") && !find_letter(cmd, 'h'))) {
			print_help(cmd);
			return -1 - CMD_OK;
		}
		if (arg[1] == '-') {
			char *equals = strchr(arg, '=');

			option = find_long(cmd, arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2));
			value = equals ? equals + 1 : NULL;
		} else {
			option = find_letter(cmd, arg[1]);
			value = arg[2] ? arg + 2 : NULL;
		}
		if (!option)
			return -1 - cmd_usage(cmd, "unknown option '%s'", arg);
		if (option->kind == CMD_FLAG && value)
			return -1 - cmd_usage(cmd, "--%s takes no value", option->name);
		if (option->kind != CMD_FLAG && !value) {
			if (i + 1 >= argc)
				return -1 - cmd_usage(cmd, "--%s needs a value (%s)", option->name, option->argument);
			value = argv[++i];
		}
		r = take_option(cmd, option, value);
		if (r < 0)
			return r;
	}
	argv[words] = NULL;
	return words;
}

static void complain(const char *format, va_list arguments)
{
	struct text sentence = { 0 }, line = { 0 };
	va_list again;
	char *raw;
	int length;

	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	raw = length < 0 ? NULL : malloc((size_t)length + 1);
	if (raw)
		vsnprintf(raw, (size_t)length + 1, format, arguments);
	text_append(&sentence, raw ? raw : "out of memory");
	free(raw);
	text_append(&line, "leakdiff: ");
	if (sentence.data)
		text_append_escaped(&line, sentence.data);
	if (line.data)
		fprintf(stderr, "%s", line.data);
	text_done(&sentence);
	text_done(&line);
}

int cmd_trouble(const char *format, ...)
{
	va_list arguments;

	cmd_progress(NULL, 0, 0);
	cmd_bar_end();
	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return CMD_TROUBLE;
}

int cmd_usage(const struct cmd *cmd, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fprintf(stderr, "; see leakdiff %s --help\n", cmd->name);
	return CMD_USAGE;
}

/* Has the reader of a pipe gone? errno may be lost by now: the first failed write can be long ago. */
static bool reader_left(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&out, 1, 0) == 1 && out.revents & POLLERR;
}

int cmd_finish(int status)
{
	static bool finished;
	static int final;
	int error = 0;

	if (finished)			/* once by the command, once by main() */
		return final;
	finished = true;
	final = status;
	cmd_bar_end();
	if (fflush(stdout) != 0)
		error = errno;
	if (!error && !ferror(stdout))
		return final;
	/* A reader that went away (| head) has what it wanted; a full disk has not. */
	if (error == EPIPE || reader_left())
		return final;
	final = cmd_trouble("cannot write the answer: %s", error ? strerror(error) : "the disk may be full");
	return final;
}

bool cmd_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}
