/* SPDX-License-Identifier: Apache-2.0
 * L1  target.h - a process that runs under the library: find it, ask it.
 *
 * Every function that fails leaves one clear sentence in *ret_error (owned by the caller). */
#ifndef LEAKDIFF_TARGET_H
#define LEAKDIFF_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "preload/protocol.h"

struct target {
	pid_t pid;			/* as the caller sees it */
	pid_t inner_pid;		/* as the process sees itself */
	pid_t thread;			/* a thread of it that lives: the main one may have ended */
	uid_t uid;			/* effective, as the caller sees them */
	gid_t gid;
	char *folder;			/* as the process names it; NULL = it has none */
	int folder_fd;			/* the same folder, or negative */
	char *shown_folder;		/* a path that leads the caller there */
	char *module_root;		/* prefix of its module paths for the caller, or NULL */
};

/* Find process `pid` and its folder. Returns 0 or a negative errno:
 *   -ESRCH   no such process, or it ended
 *   -ENOENT  it runs without the library
 *   -EACCES  another user's */
int target_open(pid_t pid, struct target *ret_target, char **ret_error)
	__attribute__((warn_unused_result));
void target_done(struct target *target);

/* Send one request and wait for its result.
 *
 * passed_fd   given along, or -1
 * ret_result  "key=value\n"... , owned by the caller
 * Returns 0 or a negative errno: -ETIMEDOUT, -ECONNREFUSED, -ESRCH, -EREMOTEIO (the library's own words). */
int target_ask(const struct target *target, const struct control_request *request, int passed_fd,
	       uint64_t wait_ns, char **ret_result, char **ret_error)
	__attribute__((warn_unused_result));

/* Is it stopped by a signal or a debugger, so that nobody in it can answer? */
bool target_is_stopped(const struct target *target);

/* Value of a key in a result: copied, NULL when it is not there. */
char *target_value(const char *result, const char *key);
uint64_t target_number(const char *result, const char *key);

/* "4711" -> pid. Returns 0 or -EINVAL. */
int target_parse_pid(const char *word, pid_t *ret_pid) __attribute__((warn_unused_result));

/* Descendants of `pid` that exist now, parents first. Returns their number (*ret_pids is the caller's)
 * or -ENOMEM. */
int target_descendants(pid_t pid, pid_t **ret_pids) __attribute__((warn_unused_result));

#endif
