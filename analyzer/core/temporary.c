/* SPDX-License-Identifier: Apache-2.0
 * L1  temporary.c - see temporary.h.
 *
 * (1) A name stays in its place, whole, from the moment its owner stands there until that is 0 again: a
 *     handler can come at any instant, on any thread, and needs no lock.
 * (2) Names are added when the file has been made: one that another process has under the same name is
 *     never deleted.
 * (3) rename() would put a file where /dev/null is, for root: what is no regular file is written as it is. */
#include "core/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"

#define PLACES 8			/* a command has two at a time */

static struct place {
	_Atomic int owner;		/* process; 0 = free, -1 = being filled */
	char path[PATH_MAX];
} places[PLACES];

void temporary_add(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < PLACES && length < sizeof(places[i].path); i++) {
		int none = 0;

		if (!atomic_compare_exchange_strong(&places[i].owner, &none, -1))
			continue;
		memcpy(places[i].path, path, length + 1);
		atomic_store(&places[i].owner, (int)getpid());
		return;
	}
}

int temporary_create(const char *path, unsigned int mode)
{
	sigset_t all, before;
	int fd, error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	error = errno;
	if (fd >= 0)
		temporary_add(path);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return fd < 0 ? -error : fd;
}

void temporary_drop(const char *path)
{
	int self = (int)getpid();

	for (size_t i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].owner) == self && !strcmp(places[i].path, path))
			atomic_store(&places[i].owner, 0);
}

void temporary_clear(void)
{
	int self = (int)getpid();

	for (size_t i = PLACES; i-- > 0;)
		if (atomic_load(&places[i].owner) == self && unlink(places[i].path) < 0)
			rmdir(places[i].path);
}

/* "/dev/fd/5", "/proc/self/fd/5", and links to such a name: /dev/stdout. */
static bool is_descriptor(const char *path)
{
	const char *slash = strrchr(path, '/');
	char link[64];
	ssize_t n = readlink(path, link, sizeof(link) - 1);

	if (n > 0) {
		link[n] = 0;
		if (!strncmp(link, "/proc/", 6) || !strncmp(link, "/dev/fd/", 8))
			return true;
	}
	return slash && slash - path >= 3 && !strncmp(slash - 3, "/fd/", 4) && slash[1] &&
	       !slash[1 + strspn(slash + 1, "0123456789")] && (!strncmp(path, "/proc/", 6) || !strncmp(path, "/dev/", 5));
}

bool temporary_is_fixed(const char *path)
{
	struct stat there;

	return is_descriptor(path) || (stat(path, &there) == 0 && !S_ISREG(there.st_mode));
}

/* A descriptor shares its place in the file with whoever else writes there, as /dev/stdout does not. */
static int open_fixed(const char *path)
{
	struct stat there, own;
	int fd = -1;

	for (int n = STDOUT_FILENO; n <= STDERR_FILENO && fd < 0 && is_descriptor(path) && stat(path, &there) == 0; n++)
		if (fstat(n, &own) == 0 && own.st_dev == there.st_dev && own.st_ino == there.st_ino)
			fd = fcntl(n, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int temporary_open(const char *path, struct temporary_file *ret_file)
{
	struct temporary_file file = { .fd = -1 };

	if (temporary_is_fixed(path)) {
		file.fd = open_fixed(path);
		if (file.fd < 0)
			return file.fd;
		*ret_file = file;
		return 0;
	}
	file.target = realpath(path, NULL);
	if (!file.target)
		file.target = strdup(path);
	file.name = file.target ? text_format("%s.%ld.tmp", file.target, (long)getpid()) : NULL;
	file.fd = file.name ? temporary_create(file.name, 0666) : -ENOMEM;
	if (file.fd < 0) {
		free(file.name);
		free(file.target);
		return file.fd;
	}
	*ret_file = file;
	return 0;
}

int temporary_finish(struct temporary_file *file, bool is_whole)
{
	int r = 0;

	if (file->name && is_whole && fsync(file->fd) < 0)
		r = -errno;
	if (close(file->fd) < 0 && r == 0)
		r = -errno;
	if (file->name && is_whole && r == 0 && rename(file->name, file->target) < 0)
		r = -errno;
	if (file->name && (!is_whole || r < 0))
		unlink(file->name);
	if (file->name)
		temporary_drop(file->name);
	free(file->name);
	free(file->target);
	*file = (struct temporary_file){ .fd = -1 };
	return r;
}
