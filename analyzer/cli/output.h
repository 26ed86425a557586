/* SPDX-License-Identifier: Apache-2.0
 * L1  output.h - a command's answer in a file instead of on standard output. */
#ifndef LEAKDIFF_CLI_OUTPUT_H
#define LEAKDIFF_CLI_OUTPUT_H

#include <stddef.h>

#include "core/temporary.h"

struct output {
	const char *path;
	struct temporary_file file;
};

/* From here on what is printed goes to a file: beside `path` until output_end() puts it there, or into
 * it where there is nothing to keep (/dev/stdout, a pipe). Says what is wrong by itself.
 * Returns 0 or CMD_TROUBLE. */
int output_begin(const char *path, struct output *ret_output) __attribute__((warn_unused_result));

/* The same for bytes that are ready: a whole file, or none. Returns 0 or CMD_TROUBLE. */
int output_write(const char *path, const char *data, size_t length) __attribute__((warn_unused_result));

/* Put the file in its place if status is CMD_OK, else take it away. Returns status, or CMD_TROUBLE when it
 * could not be written. */
int output_end(struct output *output, int status) __attribute__((warn_unused_result));

#endif
