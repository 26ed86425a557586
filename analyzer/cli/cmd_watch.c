/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_watch.c - leakdiff watch PID: snapshots at intervals, growth and verdicts as they arrive.
 *
 * Full screen on a terminal, blocks of lines elsewhere, one JSON object a line with --json. Ends after
 * --count rounds, when the process ends, by q, or by SIGINT, SIGTERM, SIGHUP: then what is being taken is
 * finished first. A second signal ends at once. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/json_watch.h"
#include "cli/screen.h"
#include "cli/target.h"
#include "cli/watch.h"
#include "core/temporary.h"
#include "core/text.h"

#define EVERY_LEAST_NS 100000000u
#define NS 1000000000u
#define KEEP_LEAST 2
#define ROWS_OF_A_SCREEN 8
#define HISTORY_OF_A_SCREEN 8

static struct {
	uint64_t every_ns, count, keep, top, max_pause_ns, timeout_ns;
	const char *output;
	bool json, plain;
} options = { .every_ns = 60ull * NS, .keep = 5, .top = UINT64_MAX };

static volatile sig_atomic_t signal_met, resized;

static void on_end(int number)
{
	if (signal_met) {
		screen_restore();
		temporary_clear();
		signal(number, SIG_DFL);
		raise(number);
	}
	signal_met = number;
}

static void on_resize(int number)
{
	(void)number;
	resized = 1;
}

static void catch_signals(void)
{
	/* Restarted: a read in the middle of a snapshot goes on; poll() returns all the same. */
	struct sigaction end = { .sa_handler = on_end, .sa_flags = SA_RESTART };
	struct sigaction resize = { .sa_handler = on_resize, .sa_flags = SA_RESTART };
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)	/* nohup */
			sigaction(numbers[i], &end, NULL);
	sigaction(SIGWINCH, &resize, NULL);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS + (uint64_t)now.tv_nsec;
}

/* ---- the screen ----------------------------------------------------------------------------- */

struct face {
	struct watch watch;
	bool full;			/* screen */
	int process;			/* pidfd, or -1 */
	uint64_t next_ns, late;		/* of the next round; rounds that took longer than the interval */
	const char *doing;		/* or NULL while waiting */
};

static char *errors;			/* what came on stderr while the screen was ours */

static void keep_errors(void)
{
	char *more = screen_take_errors();

	if (more) {
		free(errors);
		errors = more;
	}
}

static void draw(struct face *face)
{
	const struct watch *w = &face->watch;
	size_t columns, rows, length = 0, history;
	uint64_t now = now_ns();
	char *lines = NULL, bottom[256], wait[64];
	FILE *out;

	if (!face->full)
		return;
	keep_errors();
	screen_size(&columns, &rows);
	history = rows > 40 ? rows - 32 : HISTORY_OF_A_SCREEN;
	out = open_memstream(&lines, &length);
	if (!out)
		return;
	fprintf(out, "%sleakdiff watch  %s (pid %d)%s  every %" PRIu64 ".%" PRIu64 " s, %" PRIu64 " snapshots",
		cmd_colour() ? "\033[1m" : "", w->name ? w->name : "process", (int)w->pid, cmd_colour() ? "\033[0m" : "",
		options.every_ns / NS, options.every_ns % NS / 100000000, w->taken);
	if (w->refused)
		fprintf(out, ", %" PRIu64 " could not be taken", w->refused);
	fputs("\n\n", out);
	if (w->history_count) {
		watch_print_history(w, out, history);
		putc('\n', out);
	}
	if (w->comparison)
		fputs(w->comparison, out);
	else if (w->history_count)
		fputs("  growth is shown from the second snapshot on\n", out);
	if (w->said || errors)
		putc('\n', out);
	if (w->said)
		fputs(w->said, out);
	if (errors)
		fputs(errors, out);
	fclose(out);
	if (face->doing)
		snprintf(wait, sizeof(wait), "%s", signal_met ? "ends when this snapshot is done" : face->doing);
	else
		snprintf(wait, sizeof(wait), "next in %" PRIu64 " s", now < face->next_ns ? (face->next_ns - now) / NS : 0);
	snprintf(bottom, sizeof(bottom), "%s  %zu files kept, %" PRIu64 " deleted%s  [q] ends  [space] takes one now", wait,
		 w->kept_count, w->deleted, face->late ? "  (some took longer than the interval)" : "");
	screen_draw(lines ? lines : "", bottom);
	free(lines);
}

/* ---- waiting -------------------------------------------------------------------------------- */

enum wake { WAKE_TIME, WAKE_NOW, WAKE_ENDED, WAKE_QUIT };

static enum wake read_keys(void)
{
	char keys[32];
	ssize_t got = read(STDIN_FILENO, keys, sizeof(keys));

	for (ssize_t i = 0; i < got; i++) {
		if (keys[i] == 'q' || keys[i] == 'Q')
			return WAKE_QUIT;
		if (keys[i] == ' ')
			return WAKE_NOW;
	}
	return WAKE_TIME;
}

/* Until the next round is due, or something happens. */
static enum wake wait_for_next(struct face *face)
{
	struct pollfd waits[] = { { .fd = face->process, .events = POLLIN },
				  { .fd = face->full ? STDIN_FILENO : -1, .events = POLLIN } };
	uint64_t now;

	while ((now = now_ns()) < face->next_ns) {
		uint64_t left_ms = (face->next_ns - now) / 1000000 + 1;
		enum wake key;

		if (signal_met)
			return WAKE_QUIT;
		resized = 0;
		draw(face);
		waits[0].revents = waits[1].revents = 0;
		if (poll(waits, 2, left_ms < 1000 ? (int)left_ms : 1000) < 0 && errno != EINTR)
			return WAKE_QUIT;
		if (waits[0].revents || (face->process < 0 && kill(face->watch.pid, 0) < 0 && errno == ESRCH))
			return WAKE_ENDED;
		if (waits[1].revents & (POLLHUP | POLLERR | POLLNVAL))
			return WAKE_QUIT;	/* the terminal has gone */
		key = waits[1].revents ? read_keys() : WAKE_TIME;
		if (key != WAKE_TIME)
			return key;
	}
	return signal_met ? WAKE_QUIT : WAKE_TIME;
}

static void say_round(struct face *face, enum watch_result result)
{
	struct watch *w = &face->watch;

	if (face->full) {
		draw(face);
	} else if (!w->json) {
		if (result == WATCH_TAKEN)
			watch_print_round(w, stdout);
		else if (w->said)
			fputs(w->said, stdout);
		putchar('\n');
		fflush(stdout);
	}
}

/* Rounds until an end; returns why. */
static const char *go_round(struct face *face)
{
	uint64_t start = now_ns(), begun, rounds = 0;

	for (;;) {
		enum watch_result result;
		enum wake wake;

		begun = now_ns();
		face->doing = "taking a snapshot and comparing ...";
		draw(face);
		result = watch_run_round(&face->watch);
		face->doing = NULL;
		say_round(face, result);
		if (result == WATCH_ENDED)
			return "the process has ended";
		if (signal_met)
			return "interrupted";
		if (ferror(stdout))
			return "nobody reads any more";
		if (++rounds == options.count)
			return "all rounds are done";
		face->late += now_ns() - begun > options.every_ns;
		face->next_ns = start + ((now_ns() - start) / options.every_ns + 1) * options.every_ns;
		wake = wait_for_next(face);
		if (wake == WAKE_QUIT)
			return signal_met ? "interrupted" : "asked to";
		if (wake == WAKE_ENDED)
			return "the process has ended";
	}
}

static int watch(pid_t pid)
{
	struct face face = {
		.watch = {
			.pid = pid, .keep = options.keep, .json = options.json,
			.rows = options.top != UINT64_MAX ? options.top : options.json ? SIZE_MAX : ROWS_OF_A_SCREEN,
			.take = { .output = options.output, .max_pause_ns = options.max_pause_ns,
				  .timeout_ns = options.timeout_ns },
		},
	};
	struct target target;
	char *error = NULL;
	const char *reason;
	int status;

	if (target_open(pid, &target, &error) < 0) {	/* what will never do is said at once */
		status = cmd_trouble("%s", error ? error : "there is not enough memory");
		free(error);
		return status;
	}
	target_done(&target);
	face.process = (int)syscall(SYS_pidfd_open, pid, 0);
	cmd_bar_off();
	catch_signals();
	face.full = !options.json && !options.plain && screen_open() == 0;
	reason = go_round(&face);
	if (face.full) {
		keep_errors();
		screen_close();
		watch_print_history(&face.watch, stdout, HISTORY_OF_A_SCREEN);
		putchar('\n');
		watch_print_round(&face.watch, stdout);
		if (errors)
			fputs(errors, stderr);
	}
	if (options.json) {
		json_watch_end(&face.watch, reason);
	} else {
		printf("%s: ", reason);
		watch_print_end(&face.watch, stdout);
	}
	status = face.watch.taken ? CMD_OK : CMD_TROUBLE;
	if (!face.watch.taken && !options.json)
		fputs("leakdiff: no snapshot could be taken\n", stderr);
	if (face.process >= 0)
		close(face.process);
	free(errors);
	watch_done(&face.watch);
	return cmd_finish(status);
}

static int run(int argc, char **argv)
{
	pid_t pid;

	if (argc != 1)
		return cmd_usage(&cmd_watch, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(&cmd_watch, "'%s' is not a process id", argv[0]);
	if (options.every_ns < EVERY_LEAST_NS)
		return cmd_usage(&cmd_watch, "--every takes 100ms or more");
	if (options.keep < KEEP_LEAST)
		return cmd_usage(&cmd_watch, "--keep takes 2 or more: the first and the last snapshot stay");
	if (options.output && !take_is_folder(options.output))
		return cmd_usage(&cmd_watch, "-o takes a folder that is there, not %s", options.output);
	return watch(pid);
}

static const struct cmd_option cmd_options[] = {
	{ "every", 0, CMD_DURATION, "TIME", "time from one snapshot to the next (60s)", &options.every_ns },
	{ "count", 0, CMD_NUMBER, "N", "end after N rounds", &options.count },
	{ "keep", 0, CMD_NUMBER, "N", "files that stay: first, last, and some between (5)", &options.keep },
	{ "output", 'o', CMD_STRING, "DIR", "write the snapshots into this folder", &options.output },
	{ "top", 0, CMD_NUMBER, "N", "show N rows of growth (text: 8, JSON: all)", &options.top },
	{ "max-pause", 0, CMD_DURATION, "TIME", "take none for which the service would stand still for longer", &options.max_pause_ns },
	{ "timeout", 0, CMD_DURATION, "TIME", "wait so long for an answer (30s)", &options.timeout_ns },
	{ "plain", 0, CMD_FLAG, NULL, "append blocks of lines, also on a terminal", &options.plain },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object a line", &options.json },
	{ 0 },
};

const struct cmd cmd_watch = {
	.name = "watch",
	.synopsis = "watch PID [--every 60s] [--count N] [--keep N] [-o DIR] [--json]",
	.summary = "take snapshots at intervals; growth and verdicts as they arrive",
	.detail = "Each snapshot is compared with those that are kept: the first, the last, and a few between. Others\n"
		  "that this run made are deleted, and that is said. Ends when the process ends, by Ctrl-C or q.\n"
		  "Exit status: 0, or 2 when no snapshot could be taken.",
	.options = cmd_options,
	.run = run,
};
