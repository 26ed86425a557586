/* SPDX-License-Identifier: Apache-2.0
 * L0  symbols_fetch.c - debug information from a debuginfod server, for whoever asked for it.
 *
 * debuginfod-find does the work: servers, time limits and its own cache are what the user has set for all
 * tools. What it brings is read like any other debug file: by the reader, if the build-id is right. */
#include "core/symbols_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Start the program with its answer in a pipe. Returns its pid, or -1. */
static pid_t start(char *id, int *ret_fd)
{
	char *const argv[] = { "debuginfod-find", "debuginfo", id, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	if (posix_spawn_file_actions_init(&actions) == 0) {
		if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) ||
		    posix_spawn_file_actions_adddup2(&actions, pair[1], 1) ||
		    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) ||
		    posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ))
			pid = -1;
		posix_spawn_file_actions_destroy(&actions);
	}
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	*ret_fd = pair[0];
	return pid;
}

char *symbols_fetch(const uint8_t *build_id, uint32_t build_id_bytes)
{
	const char *servers = getenv("DEBUGINFOD_URLS");
	char id[2 * 32 + 1] = "", path[4096];
	size_t used = 0;
	int fd, status;
	pid_t pid;

	if (!servers || !*servers || build_id_bytes < 2 || build_id_bytes > 32)
		return NULL;
	for (uint32_t i = 0; i < build_id_bytes; i++)
		snprintf(id + 2 * i, 3, "%02x", build_id[i]);
	pid = start(id, &fd);
	if (pid < 0)
		return NULL;
	while (used < sizeof(path) - 1) {
		ssize_t n = read(fd, path + used, sizeof(path) - 1 - used);

		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return NULL;
	path[used] = 0;
	path[strcspn(path, "\n")] = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && *path == '/' ? strdup(path) : NULL;
}
