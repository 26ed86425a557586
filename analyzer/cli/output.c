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
#include "core/text.h"

int output_begin(const char *path, struct output *ret_output)
{
	struct output output = { .path = path };
	struct stat old;
	bool in_place = stat(path, &old) == 0 && !S_ISREG(old.st_mode);
	int fd;

	if (!in_place) {
		output.temporary = text_format("%s.%ld.tmp", path, (long)getpid());
		if (!output.temporary)
			return cmd_trouble("there is not enough memory");
	}
	fd = in_place ? open(path, O_WRONLY | O_CLOEXEC) :
			open(output.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		free(output.temporary);
		return cmd_trouble("cannot write %s: %s", path, strerror(error));
	}
	close(fd);
	*ret_output = output;
	return 0;
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
	if (output->temporary && (failed || status != CMD_OK))
		unlink(output->temporary);
	free(output->temporary);
	output->temporary = NULL;
	if (!failed)
		return status;
	clearerr(stdout);		/* it is said here */
	return cmd_trouble("cannot write %s: %s", output->path, error ? strerror(error) : "the disk may be full");
}
