/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks_threads.c - CPython counts the service's threads, not ours.
 *
 *   os.fork() -> fork(2) -> fopen("/proc/self/stat") -> field 20 > 1: DeprecationWarning      (3.12 and later)
 *
 * The agent is not worth a warning, since it holds no lock of the service; and it cannot step aside: it may
 * wait at this moment for the GIL, which whoever forks holds. So the interpreter, and nobody else, reads a copy
 * of that file in which our threads are not counted. They are known by their name.
 *
 * Never in the way: whatever fails, the real file is opened. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "preload/hooks.h"
#include "preload/kernel.h"
#include "preload/process.h"
#include "preload/python.h"
#include "preload/real.h"

#define COUNTED "/proc/self/stat"
#define FIELD_THREADS 20		/* of proc_pid_stat(5) */
#define FIELD_AFTER_NAME 3
#define OWN_NAME "leakdiff\n"		/* as agent.c names its thread, and whoever it starts inherits */
#define STAT_BYTES 1024

static long read_file(int folder, const char *path, char *text, size_t bytes)
{
	int fd = kernel_openat(folder, path, O_RDONLY, 0);
	long got;

	if (fd < 0)
		return fd;
	got = kernel_read(fd, text, bytes - 1);
	kernel_close(fd);
	if (got >= 0)
		text[got] = '\0';
	return got;
}

static uint64_t count_own(void)
{
	struct { uint64_t inode; int64_t offset; uint16_t bytes; uint8_t type; char name[]; } *entry;
	char entries[2048] __attribute__((aligned(8)));
	int fd = kernel_openat(AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY, 0);
	uint64_t count = 0;
	long got;

	if (fd < 0)
		return 0;
	while ((got = ld__sys3(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		for (long at = 0; at < got; at += entry->bytes) {
			char path[64], name[32];

			entry = (void *)(entries + at);
			if (entry->name[0] < '0' || entry->name[0] > '9')
				continue;
			ld__text_format(path, sizeof(path), 0, "%s/comm", entry->name);
			if (read_file(fd, path, name, sizeof(name)) > 0 && text_same(name, OWN_NAME))
				count++;
		}
	}
	kernel_close(fd);
	return count;
}

/* Take `own` from the number of threads. Returns the new length, 0 when it is not to be found. */
static size_t count_less(const char *text, uint64_t own, char *ret_text, size_t capacity)
{
	const char *name_end = strrchr(text, ')'), *field, *behind;
	uint64_t threads;
	size_t length;

	if (!name_end)
		return 0;
	field = name_end + 1;
	for (int i = FIELD_AFTER_NAME; i <= FIELD_THREADS; i++) {
		field = strchr(field, ' ');
		if (!field++)
			return 0;
	}
	behind = field;
	threads = ld__text_decimal(&behind);
	if (*behind != ' ' || threads <= own)
		return 0;
	length = (size_t)(field - text);
	memcpy(ret_text, text, length);
	return ld__text_format(ret_text, capacity, length, "%lu%s", (unsigned long)(threads - own), behind);
}

/* A file of the same text but for the number. NULL: nothing of ours is counted, or it cannot be made. */
static FILE *open_copy(const char *mode)
{
	char text[STAT_BYTES], copy[STAT_BYTES];
	uint64_t own = count_own();
	FILE *file = NULL;
	size_t length;
	long fd;

	if (!own || !ld__real.fdopen || read_file(AT_FDCWD, COUNTED, text, sizeof(text)) <= 0)
		return NULL;
	length = count_less(text, own, copy, sizeof(copy));
	if (!length)
		return NULL;
	fd = ld__sys2(SYS_memfd_create, "stat", 0);
	if (fd < 0)
		return NULL;
	if (ld__sys4(SYS_pwrite64, fd, copy, length, 0) == (long)length)
		file = ld__real.fdopen((int)fd, mode);
	if (!file)
		kernel_close((int)fd);
	return file;
}

static bool is_interpreter(const void *caller)
{
	return (ld__python_loaded() || *ld__python_why()) && ld__python_is_own_code(caller);
}

static LD_IN_HOOK FILE *open_file(const char *path, const char *mode, FILE *(*real)(const char *, const char *),
				  const void *caller)
{
	int saved_errno = errno;
	FILE *file;

	if (path && text_same(path, COUNTED) && is_interpreter(caller)) {
		file = open_copy(mode);
		errno = saved_errno;
		if (file)
			return file;
	}
	return real(path, mode);
}

LD_EXPORT FILE *fopen(const char *path, const char *mode)
{
	if (!ld__real.fopen)
		ld__process_wake();
	return open_file(path, mode, ld__real.fopen, __builtin_return_address(0));
}

LD_EXPORT FILE *fopen64(const char *path, const char *mode)
{
	if (!ld__real.fopen64)
		ld__process_wake();
	return open_file(path, mode, ld__real.fopen64, __builtin_return_address(0));
}
