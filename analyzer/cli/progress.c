/* SPDX-License-Identifier: Apache-2.0
 * L1  progress.c - what a person sees who waits: one line on stderr, gone when the work is done.
 *
 *   comparing  [==============>              ]  47 %  6 s
 *
 * (1) Only on a terminal, and never when cmd_bar_off() was called (--json, --quiet).
 * (2) The bar comes after a second: most work is shorter. A thread of its own draws it, so that it
 *     also moves while a long step is under way; it touches nothing but the state below.
 * (3) A share is a hundredth of the time of an ordinary diff, as measured once; the bar promises no more. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/text.h"

#define DELAY_MS 1000
#define EVERY_MS 200
#define BAR_COLUMNS 30u
#define WHAT_BYTES 64

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool off, runs, stop, drawn;
	struct timespec begun;
	unsigned expected, done, share;	/* share: of the step in work */
	char what[WHAT_BYTES];
} bar = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* With the lock held. */
static void draw(void)
{
	char line[256], filled[BAR_COLUMNS + 1];
	unsigned percent = bar.expected ? bar.done * 100 / bar.expected : 0, columns = terminal_columns();
	unsigned arrow = percent * BAR_COLUMNS / 100;
	struct timespec now;
	int length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned i = 0; i < BAR_COLUMNS; i++)
		filled[i] = i < arrow ? '=' : i == arrow ? '>' : ' ';
	filled[BAR_COLUMNS] = 0;
	/* a line that is broken cannot be taken away again */
	if (columns > strlen(bar.what) + BAR_COLUMNS + 18)
		length = snprintf(line, sizeof(line), "\r\033[K%s  [%s] %3u %%  %lld s", bar.what, filled, percent,
				  (long long)(now.tv_sec - bar.begun.tv_sec));
	else
		length = snprintf(line, sizeof(line), "\r\033[K%3u %%", percent);
	bar.drawn = write(STDERR_FILENO, line, (size_t)length) > 0 || bar.drawn;
}

static struct timespec later(unsigned ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000l;
	if (at.tv_nsec >= 1000000000l) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000l;
	}
	return at;
}

static void *draw_now_and_then(void *unused)
{
	struct timespec at = later(DELAY_MS);

	pthread_mutex_lock(&bar.lock);
	while (!bar.stop)
		if (pthread_cond_timedwait(&bar.wake, &bar.lock, &at) == ETIMEDOUT && !bar.stop) {
			draw();
			at = later(EVERY_MS);
		}
	pthread_mutex_unlock(&bar.lock);
	return unused;
}

void cmd_bar_off(void)
{
	cmd_bar_end();
	bar.off = true;
}

static void start(void)
{
	pthread_condattr_t attributes;

	if (bar.off || bar.runs || !isatty(STDERR_FILENO) || pthread_condattr_init(&attributes) != 0)
		return;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	clock_gettime(CLOCK_MONOTONIC, &bar.begun);
	bar.stop = bar.drawn = false;
	bar.done = bar.share = 0;
	bar.what[0] = 0;
	if (pthread_cond_init(&bar.wake, &attributes) == 0) {
		bar.runs = pthread_create(&bar.thread, NULL, draw_now_and_then, NULL) == 0;
		if (!bar.runs)		/* then without a bar */
			pthread_cond_destroy(&bar.wake);
	}
	pthread_condattr_destroy(&attributes);
}

void cmd_bar_expect(unsigned shares)
{
	if (!bar.runs)
		bar.expected = 0;
	start();
	pthread_mutex_lock(&bar.lock);
	bar.expected += shares;
	pthread_mutex_unlock(&bar.lock);
}

void cmd_bar_step(const char *what, unsigned share)
{
	char *shown = bar.runs && what ? text_escape(what) : NULL;

	pthread_mutex_lock(&bar.lock);
	bar.done += bar.share;
	bar.share = share;
	if (bar.done > bar.expected)
		bar.done = bar.expected;
	if (shown)
		snprintf(bar.what, sizeof(bar.what), "%s", strlen(shown) < sizeof(bar.what) ? shown : "working");
	pthread_mutex_unlock(&bar.lock);
	free(shown);
	if (!what && bar.done == bar.expected)
		cmd_bar_end();
}

void cmd_bar_end(void)
{
	if (!bar.runs)
		return;
	pthread_mutex_lock(&bar.lock);
	bar.stop = true;
	pthread_cond_signal(&bar.wake);
	pthread_mutex_unlock(&bar.lock);
	pthread_join(bar.thread, NULL);
	pthread_cond_destroy(&bar.wake);
	bar.runs = false;
	if (bar.drawn) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
}

static bool progress_shown;

void cmd_progress(const char *what, uint64_t done, uint64_t total)
{
	char *shown;

	if (bar.off || !isatty(STDERR_FILENO))
		return;
	if (!what) {
		if (progress_shown)
			fputs("\r\033[K", stderr);
		progress_shown = false;
		return;
	}
	shown = text_escape(what);		/* a process under the library may have written it */
	if (!shown)
		return;
	if (total)
		fprintf(stderr, "\r\033[K%s %3d %%", shown, (int)(done >= total ? 100 : done * 100 / total));
	else
		fprintf(stderr, "\r\033[K%s", shown);
	free(shown);
	fflush(stderr);
	progress_shown = true;
}
