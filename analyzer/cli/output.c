/* SPDX-License-Identifier: Apache-2.0
 * L1  output.c - a command's answer in a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/output.h"
#include "core/temporary.h"
#include "core/text.h"

/* The descriptor to write to: of a file beside `path`, whose name is in *ret_temporary, or of what `path` is
 * if it is no regular file. Negative errno. */
static int open_beside(const char *path, char **ret_temporary)
{
	struct stat old;
	int fd, error;

	*ret_temporary = NULL;
	if (stat(path, &old) == 0 && !S_ISREG(old.st_mode)) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	*ret_temporary = text_format("%s.%ld.tmp", path, (long)getpid());
	if (!*ret_temporary)
		return -ENOMEM;
	fd = open(*ret_temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd >= 0) {
		temporary_add(*ret_temporary);
		return fd;
	}
	error = errno;
	free(*ret_temporary);
	*ret_temporary = NULL;
	return -error;
}

/* The file that open_beside() made has its real name now, or is not wanted. */
static void temporary_done(char *temporary, bool is_wanted)
{
	if (!temporary)
		return;
	if (!is_wanted)
		unlink(temporary);
	temporary_drop(temporary);
	free(temporary);
}

int output_begin(const char *path, struct output *ret_output)
{
	struct output output = { .path = path };
	int fd = open_beside(path, &output.temporary), error = fd < 0 ? -fd : 0;

	if (fd >= 0 && dup2(fd, STDOUT_FILENO) < 0) {
		error = errno;
		temporary_done(output.temporary, false);
	}
	if (fd >= 0)
		close(fd);
	if (error)
		return cmd_trouble("cannot write %s: %s", path, strerror(error));
	*ret_output = output;
	return 0;
}

int output_write(const char *path, const char *data, size_t length)
{
	char *temporary;
	int fd = open_beside(path, &temporary), error = fd < 0 ? -fd : 0;

	while (length && !error) {
		ssize_t n = write(fd, data, length);

		if (n < 0 && errno != EINTR)
			error = errno;
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
	}
	if (!error && temporary && fsync(fd) < 0)
		error = errno;
	if (fd >= 0 && close(fd) < 0 && !error)
		error = errno;
	if (!error && temporary && rename(temporary, path) < 0)
		error = errno;
	temporary_done(temporary, !error);
	return error ? cmd_trouble("cannot write %s: %s", path, strerror(error)) : 0;
}

int output_end(struct output *output, int status)
{
	bool failed = fflush(stdout) != 0 || ferror(stdout);
	int error = failed ? errno : 0;

	if (!failed && output->temporary && status == CMD_OK &&
	    (fsync(STDOUT_FILENO) < 0 || rename(output->temporary, output->path) < 0)) {
		failed = true;
		error = errno;
	}
	temporary_done(output->temporary, !failed && status == CMD_OK);
	output->temporary = NULL;
	if (!failed)
		return status;
	clearerr(stdout);		/* it is said here */
	return cmd_trouble("cannot write %s: %s", output->path, error ? strerror(error) : "the disk may be full");
}
