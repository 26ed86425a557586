/* SPDX-License-Identifier: Apache-2.0
 * L1  config.c - the environment, read once into one frozen struct, and the one way to say something.
 *
 * (1) A setting that cannot be understood costs one line and leaves the default; the service starts.
 * (2) The folder is ours alone: a folder that is a symlink, somebody else's or writable by others is
 *     refused, since the socket and the snapshots in it would be theirs to replace.
 * (3) A line is written only where standard error still is what it was at the start, or something
 *     that a line cannot hurt: a service may have put a client's socket on descriptor 2. */
#include "preload/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/arena.h"
#include "preload/sys.h"

#define DEPTH_DEFAULT 64u
#define DEPTH_MAX 128u
#define RING_DEFAULT 4096u
#define RING_LEAST 256u
#define RING_MOST 1048576u

static struct config config = {
	.folder = "",
	.mode = CONFIG_FULL,
	.start_on = true,
	.depth = DEPTH_DEFAULT,
	.ring_events = RING_DEFAULT,
	.python = CONFIG_PYTHON_AUTO,
	.wrappers = "",
};
static const char *folder_wanted;
static char wrappers_wanted[1024];	/* a copy: services write over their environment */
static dev_t stderr_device;
static ino_t stderr_inode;
static bool stderr_known;

const struct config *ld__config(void)
{
	return &config;
}

void ld__config_set_mode(enum config_mode mode)
{
	config.mode = mode;
}

/* ---- saying something ---- */

struct line {
	char text[512];
	size_t length;
};

static void line_add(struct line *line, const char *text, size_t length)
{
	size_t room = sizeof(line->text) - 1 - line->length;

	if (length > room)
		length = room;
	memcpy(line->text + line->length, text, length);
	line->length += length;
}

static void line_add_number(struct line *line, uint64_t value, unsigned int base)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	line_add(line, digits + at, sizeof(digits) - at);
}

static bool stderr_is_safe(void)
{
	struct stat st;
	long flags;

	if (!stderr_known)
		return true;
	if (fstat(STDERR_FILENO, &st) < 0)
		return false;
	if (st.st_dev == stderr_device && st.st_ino == stderr_inode)
		return true;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		return true;
	flags = ld__sys2(SYS_fcntl, STDERR_FILENO, F_GETFL);
	return S_ISREG(st.st_mode) && flags >= 0 && (flags & O_APPEND);
}

void ld__say(const char *format, ...)
{
	struct line line = { .length = 0 };
	int saved_errno = errno;
	va_list args;

	va_start(args, format);
	line_add(&line, "libleakdiff: ", 13);
	for (const char *p = format; *p; p++) {
		const char *plain = p;
		bool wide = false;

		while (*p && *p != '%')
			p++;
		line_add(&line, plain, (size_t)(p - plain));
		if (!*p)
			break;
		p++;
		if (*p == 'l') {
			wide = true;
			p++;
		}
		switch (*p) {
		case 's': {
			const char *s = va_arg(args, const char *);

			line_add(&line, s ? s : "(null)", strlen(s ? s : "(null)"));
			break;
		}
		case 'd': {
			int64_t d = wide ? va_arg(args, long) : va_arg(args, int);

			if (d < 0)
				line_add(&line, "-", 1);
			line_add_number(&line, d < 0 ? -(uint64_t)d : (uint64_t)d, 10);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t u = wide ? va_arg(args, unsigned long) : va_arg(args, unsigned int);

			line_add_number(&line, u, *p == 'x' ? 16 : 10);
			break;
		}
		default:
			line_add(&line, p, 1);
		}
	}
	va_end(args);
	line.text[line.length++] = '\n';	/* line_add() keeps one byte for it */
	if (stderr_is_safe())
		ld__sys3(SYS_write, STDERR_FILENO, line.text, line.length);
	errno = saved_errno;
}

/* ---- parsing ---- */

static bool parse_number(const char *text, uint64_t *ret_number, const char **ret_end)
{
	uint64_t n = 0;
	const char *p = text;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (n > (UINT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	*ret_number = n;
	*ret_end = p;
	return true;
}

static bool parse_between(const char *text, uint64_t low, uint64_t high, uint64_t *ret_number)
{
	const char *end;
	uint64_t n;

	if (!parse_number(text, &n, &end) || *end || n < low || n > high)
		return false;
	*ret_number = n;
	return true;
}

static bool parse_scaled(const char *text, const char *const names[], const uint64_t scales[],
			 uint64_t *ret_value)
{
	const char *end;
	uint64_t n;

	if (!parse_number(text, &n, &end))
		return false;
	for (unsigned int i = 0; names[i]; i++) {
		if (strcasecmp(end, names[i]))
			continue;
		if (n > UINT64_MAX / scales[i])
			return false;
		*ret_value = n * scales[i];
		return true;
	}
	return false;
}

static bool parse_duration(const char *text, uint64_t *ret_ns)
{
	static const char *const names[] = { "", "s", "ms", "us", "m", "min", "h", "d", NULL };
	static const uint64_t scales[] = { 1000000000ull, 1000000000ull, 1000000ull, 1000ull,
					   60000000000ull, 60000000000ull, 3600000000000ull,
					   86400000000000ull };

	return parse_scaled(text, names, scales, ret_ns);
}

static bool parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char *const names[] = { "", "B", "k", "KB", "KiB", "M", "MB", "MiB", "G", "GB",
					     "GiB", "T", "TB", "TiB", NULL };
	static const uint64_t scales[] = { 1, 1, 1ull << 10, 1ull << 10, 1ull << 10, 1ull << 20,
					   1ull << 20, 1ull << 20, 1ull << 30, 1ull << 30, 1ull << 30,
					   1ull << 40, 1ull << 40, 1ull << 40 };

	return parse_scaled(text, names, scales, ret_bytes);
}

static bool parse_word(const char *text, const char *const words[], int *ret_index)
{
	for (int i = 0; words[i]; i++) {
		if (!strcmp(text, words[i])) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

static bool parse_flag(const char *text, bool *ret_flag)
{
	static const char *const words[] = { "0", "1", NULL };
	int i;

	if (!parse_word(text, words, &i))
		return false;
	*ret_flag = i;
	return true;
}

static bool parse_dir(const char *text)
{
	folder_wanted = text;
	return *text != 0;
}

static bool parse_mode(const char *text)
{
	static const char *const words[] = { "full", "lite", "sample", NULL };
	int i;

	if (!parse_word(text, words, &i))
		return false;
	config.mode = (enum config_mode)i;
	return true;
}

static bool parse_start(const char *text)
{
	static const char *const words[] = { "off", "on", NULL };
	int i;

	if (!parse_word(text, words, &i))
		return false;
	config.start_on = i;
	return true;
}

/* In parts per million; four decimals are all that means anything. */
static bool parse_budget(const char *text)
{
	const char *end;
	uint64_t whole, part = 0, unit = 10000;

	if (!parse_number(text, &whole, &end) || whole > 100)
		return false;
	if (*end == '.') {
		for (end++; *end >= '0' && *end <= '9'; end++) {
			unit /= 10;
			part += (uint64_t)(*end - '0') * unit;
		}
	}
	if (strcmp(end, "%") || whole * 10000 + part < 1 || whole * 10000 + part > 1000000)
		return false;
	config.budget_ppm = (uint32_t)(whole * 10000 + part);
	return true;
}

static bool parse_every(const char *text)
{
	return parse_duration(text, &config.every_ns);
}

static bool parse_at_rss(const char *text)
{
	const char *end;
	uint64_t n;

	if (parse_number(text, &n, &end) && !strcmp(end, "%")) {
		if (n < 1 || n > 100)
			return false;
		config.at_rss_percent = (uint32_t)n;
		return true;
	}
	return parse_size(text, &config.at_rss_bytes);
}

static bool parse_at_exit(const char *text)
{
	return parse_flag(text, &config.at_exit);
}

static bool parse_depth(const char *text)
{
	uint64_t n;

	if (!parse_between(text, 1, DEPTH_MAX, &n))
		return false;
	config.depth = (uint32_t)n;
	return true;
}

static bool parse_ring(const char *text)
{
	uint64_t n, events = RING_LEAST;

	if (!parse_between(text, RING_LEAST, RING_MOST, &n))
		return false;
	while (events < n)
		events *= 2;
	config.ring_events = (uint32_t)events;
	return true;
}

static bool parse_python(const char *text)
{
	static const char *const words[] = { "auto", "off", "objects", "stacks", NULL };
	int i;

	if (!parse_word(text, words, &i))
		return false;
	config.python = (enum config_python)i;
	return true;
}

static bool parse_values(const char *text)
{
	return parse_flag(text, &config.values);
}

static bool parse_signal(const char *text)
{
	uint64_t n;

	/* 32 and 33 belong to libc; 9 and 19 cannot be caught */
	if (!parse_between(text, 1, 64, &n) || n == 9 || n == 19 || n == 32 || n == 33)
		return false;
	config.signal = (int)n;
	return true;
}

static bool parse_log(const char *text)
{
	uint64_t n;

	if (!parse_between(text, 0, 2, &n))
		return false;
	config.log = (int)n;
	return true;
}

static bool parse_max_pause(const char *text)
{
	return parse_duration(text, &config.max_pause_ns);
}

static bool parse_wrappers(const char *text)
{
	size_t length = strlen(text);

	if (length >= sizeof(wrappers_wanted))
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ')
			return false;
	memcpy(wrappers_wanted, text, length + 1);
	config.wrappers = wrappers_wanted;
	return true;
}

static bool parse_nothing(const char *text)
{
	(void)text;
	return true;
}

struct option {
	const char *name, *takes;
	bool (*parse)(const char *text);
};

static const struct option options[] = {
#define X(name_, parse_, takes_, does_) { #name_, takes_, parse_ },
#include "preload/options.inc"
#undef X
};

static void read_variable(const char *variable)
{
	const char *value = strchr(variable, '='), *name = variable + strlen("LEAKDIFF_");
	size_t length;

	if (!value)
		return;
	length = (size_t)(value - name);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const struct option *o = &options[i];

		if (strncmp(o->name, name, length) || o->name[length])
			continue;
		if (value[1] && !o->parse(value + 1))	/* an empty value means: not set */
			ld__say("LEAKDIFF_%s takes %s, not \"%s\"; the default holds", o->name,
				o->takes, value + 1);
		return;
	}
	{
		char text[64];

		length = length < sizeof(text) - 1 ? length : sizeof(text) - 1;
		memcpy(text, name, length);
		text[length] = 0;
		ld__say("LEAKDIFF_%s is no setting of this version; it is ignored", text);
	}
}

/* ---- the folder ---- */

/* Create `path` or take it as it is. Returns NULL when it can be used, else what is wrong. */
static const char *use_folder(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return errno == ENOENT ? "its parent folder does not exist" :
		       errno == EACCES ? "it may not be created" :
		       errno == EROFS ? "the file system is read-only" :
		       errno == ENOSPC ? "the disk is full" : "it cannot be created";
	if (lstat(path, &st) < 0)
		return "it cannot be read";
	if (S_ISLNK(st.st_mode))
		return "it is a symbolic link";
	if (!S_ISDIR(st.st_mode))
		return "it is no folder";
	if (st.st_uid != geteuid())
		return "it is owned by somebody else";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to it";
	return NULL;
}

static bool join(char *ret_path, size_t size, const char *folder, const char *name)
{
	size_t a = strlen(folder), b = strlen(name);

	if (a + 1 + b + 1 > size)
		return false;
	memcpy(ret_path, folder, a);
	ret_path[a] = '/';
	memcpy(ret_path + a + 1, name, b + 1);
	return true;
}

static void choose_folder(void)
{
	static char path[PATH_MAX];
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *wrong;
	struct line name = { .length = 0 };
	struct stat st;

	if (folder_wanted) {
		char here[PATH_MAX];

		if (*folder_wanted != '/') {
			if (!getcwd(here, sizeof(here)) || !join(path, sizeof(path), here, folder_wanted))
				goto fail;
		} else if (strlen(folder_wanted) < sizeof(path)) {
			strcpy(path, folder_wanted);
		} else {
			goto fail;
		}
		for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
			path[n - 1] = 0;
		wrong = use_folder(path);
		if (!wrong) {
			config.folder = path;
			return;
		}
		ld__say("LEAKDIFF_DIR takes the path of a folder that is yours, and %s: %s; the default "
			"holds", path, wrong);
	}
	if (runtime && *runtime == '/' && !stat(runtime, &st) && st.st_uid == geteuid() &&
	    join(path, sizeof(path), runtime, "leakdiff") && !use_folder(path)) {
		config.folder = path;
		return;
	}
	line_add(&name, "/tmp/leakdiff-", 14);
	line_add_number(&name, geteuid(), 10);
	name.text[name.length] = 0;
	strcpy(path, name.text);
	wrong = use_folder(path);
	if (!wrong) {
		config.folder = path;
		return;
	}
	ld__say("%s cannot be used, %s: set LEAKDIFF_DIR to a folder that is yours", path, wrong);
fail:
	config.folder = "";
}

const char *ld__config_mode_name(void)
{
	static const char *const names[] = { [CONFIG_FULL] = "full", [CONFIG_LITE] = "lite", [CONFIG_SAMPLE] = "sample" };

	return names[config.mode];
}

void ld__config_read(void)
{
	int saved_errno = errno;
	struct stat st;

	if (!fstat(STDERR_FILENO, &st)) {
		stderr_device = st.st_dev;
		stderr_inode = st.st_ino;
	}
	stderr_known = true;
	for (char **variable = environ; variable && *variable; variable++) {
		if (!strncmp(*variable, "LEAKDIFF_", strlen("LEAKDIFF_")))
			read_variable(*variable);
	}
	choose_folder();
	errno = saved_errno;
}
