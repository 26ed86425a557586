/* SPDX-License-Identifier: Apache-2.0
 * L1  screen.c - a terminal's whole screen. */
#include "cli/screen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define OPEN  "\033[?1049h\033[?25l"	/* the other screen, no cursor */
#define CLOSE "\033[?25h\033[?1049l"
#define SMALL_COLUMNS 40
#define SMALL_ROWS 10

static struct {
	bool is_open;
	struct termios before;
	int errors, real_errors;	/* where stderr goes meanwhile; what it was */
} screen = { .errors = -1, .real_errors = -1 };

int screen_open(void)
{
	const char *term = getenv("TERM");
	struct termios quiet;
	size_t columns, rows;

	screen_size(&columns, &rows);
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !term || !*term || !strcmp(term, "dumb") ||
	    columns < SMALL_COLUMNS || rows < SMALL_ROWS)
		return -ENOTTY;
	if (tcgetattr(STDIN_FILENO, &screen.before) < 0)
		return -errno;
	screen.errors = memfd_create("stderr", MFD_CLOEXEC);
	screen.real_errors = dup(STDERR_FILENO);
	if (screen.errors < 0 || screen.real_errors < 0 || dup2(screen.errors, STDERR_FILENO) < 0)
		return -EIO;
	quiet = screen.before;
	quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	quiet.c_cc[VMIN] = 0;
	quiet.c_cc[VTIME] = 0;
	quiet.c_cc[VSUSP] = _POSIX_VDISABLE;	/* a stopped command would leave its screen behind */
	tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
	fputs(OPEN, stdout);
	fflush(stdout);
	screen.is_open = true;
	return 0;
}

void screen_restore(void)
{
	ssize_t written;

	if (!screen.is_open)
		return;
	screen.is_open = false;
	written = write(STDOUT_FILENO, CLOSE, sizeof(CLOSE) - 1);
	(void)written;
	tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
	dup2(screen.real_errors, STDERR_FILENO);
}

void screen_close(void)
{
	fflush(stdout);
	screen_restore();
	if (screen.errors >= 0)
		close(screen.errors);
	if (screen.real_errors >= 0)
		close(screen.real_errors);
	screen.errors = screen.real_errors = -1;
}

void screen_size(size_t *ret_columns, size_t *ret_rows)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		size = (struct winsize){ 0 };
	*ret_columns = size.ws_col;
	*ret_rows = size.ws_row;
}

char *screen_take_errors(void)
{
	off_t length = screen.errors >= 0 ? lseek(screen.errors, 0, SEEK_END) : 0;
	char *text = length > 0 ? malloc((size_t)length + 1) : NULL;
	ssize_t got = text ? pread(screen.errors, text, (size_t)length, 0) : 0;

	if (length > 0 && ftruncate(screen.errors, 0) == 0)
		lseek(screen.errors, 0, SEEK_SET);
	if (!text)
		return NULL;
	text[got > 0 ? got : 0] = 0;
	return text;
}

/* One line of at most `columns`; escape sequences of colours take no room. */
static void put_line(const char *line, size_t length, size_t columns)
{
	size_t column = 0;

	for (size_t i = 0; i < length; i++) {
		bool starts = ((unsigned char)line[i] & 0xc0) != 0x80;

		if (line[i] == '\033') {
			size_t end = i + strcspn(line + i, "m");

			while (i < end && i + 1 < length)
				putchar(line[i++]);
			putchar(line[i]);
			continue;
		}
		if (starts && ++column == columns && length - i > 1) {
			fputs("\u2026", stdout);
			break;
		}
		putchar(line[i]);
	}
	fputs("\033[0m\033[K", stdout);
}

void screen_draw(const char *lines, const char *bottom)
{
	size_t columns, rows, total = 0, room;
	const char *line = lines;

	screen_size(&columns, &rows);
	if (columns < 2 || rows < 3)
		return;
	for (const char *c = lines; *c; c++)
		total += *c == '\n';
	room = rows - 1;
	fputs("\033[H", stdout);
	for (size_t i = 0; i < room; i++) {
		size_t length = strcspn(line, "\n");

		if (total > room && i + 1 == room) {
			printf("  (%zu more lines: a larger window shows them)\033[K\r\n", total - i);
			break;
		}
		put_line(line, length, columns);
		fputs("\r\n", stdout);
		line += length;
		line += *line == '\n';
	}
	put_line(bottom, strlen(bottom), columns);	/* a line feed here would move all of it up */
	fflush(stdout);
}
