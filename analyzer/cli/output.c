/* SPDX-License-Identifier: Apache-2.0
 * L1  output.c - a command's answer in a file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/output.h"

static int trouble(const char *path, int error)
{
	return cmd_trouble("cannot write %s: %s", path, strerror(error));
}

int output_begin(const char *path, struct output *ret_output)
{
	struct output output = { .path = path };
	int r = fflush(stdout) ? -errno : temporary_open(path, &output.file);

	if (r < 0)
		return trouble(path, -r);
	if (dup2(output.file.fd, STDOUT_FILENO) < 0) {
		r = -errno;
		if (temporary_finish(&output.file, false) < 0)
			r = -EIO;
		return trouble(path, -r);
	}
	*ret_output = output;
	return 0;
}

int output_write(const char *path, const char *data, size_t length)
{
	struct temporary_file file;
	int error = fflush(stdout) ? errno : 0, r = error ? 0 : temporary_open(path, &file);

	if (error || r < 0)
		return trouble(path, error ? error : -r);
	while (length && !error) {
		ssize_t n = write(file.fd, data, length);

		if (n < 0 && errno != EINTR)
			error = errno;
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
	}
	r = temporary_finish(&file, !error);
	return error || r < 0 ? trouble(path, error ? error : -r) : 0;
}

int output_end(struct output *output, int status)
{
	bool failed = fflush(stdout) != 0 || ferror(stdout);
	int error = failed ? errno : 0, r = temporary_finish(&output->file, !failed && status == CMD_OK);

	if (!failed && r == 0)
		return status;
	clearerr(stdout);		/* it is said here */
	if (r < 0 && !error)
		error = -r;
	return cmd_trouble("cannot write %s: %s", output->path, error ? strerror(error) : "the disk may be full");
}
