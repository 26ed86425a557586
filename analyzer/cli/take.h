/* SPDX-License-Identifier: Apache-2.0
 * L1  take.h - take one snapshot of a process and write its file. */
#ifndef LEAKDIFF_CLI_TAKE_H
#define LEAKDIFF_CLI_TAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cmd.h"

struct target;

struct take_options {
	const char *output;		/* a file, or a folder to choose a name in; NULL: the process's folder */
	uint64_t max_pause_ns, timeout_ns;	/* 0 = no limit, 30 s */
	struct cmd_list wrappers;	/* see struct ingest_options */
};

struct taken {
	char *path;			/* for print, and to open it again */
	uint64_t device, inode;		/* of the file as it was made; 0 = could not be looked at */
	uint64_t pause_ns, blocks, bytes, file_bytes;
	double seconds;
	bool consistent;
};

/* Returns 0 with *ret_taken (taken_done()), or a negative errno with one sentence in *ret_error (the
 * caller's): -ESRCH when the process ended. Nothing is left behind then. */
int take_snapshot(const struct target *target, const struct take_options *options, struct taken *ret_taken,
		  char **ret_error) __attribute__((warn_unused_result));
void taken_done(struct taken *taken);

bool take_is_folder(const char *path);

#endif
