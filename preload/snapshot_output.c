/* SPDX-License-Identifier: Apache-2.0
 * L3  snapshot_output.c - where a stream goes that nobody waits for (timer, threshold, exit).
 *
 *   child --pipe--> leakdiff ingest - -o <folder>/<name>.<pid>.<n>.snap
 *   or, where the program cannot be found:  <folder>/<name>.<pid>.<n>.stream, for a later ingest
 *
 * Ingest is a child of the walking child: the service never sees it. Snapshot child only. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "agent_private.h"
#include "config.h"
#include "kernel.h"
#include "modules.h"
#include "snapshot_private.h"

#define NUMBER_LAST 1000000u

/* "<name>.<pid>.<n>" with the next n of which neither snapshot nor stream exists. */
static void choose_name(const struct snapshot_job *job, char *name, size_t capacity)
{
	for (uint32_t n = job->number; n < NUMBER_LAST; n++) {
		char file[160];
		size_t used = ld__text_format(name, capacity, 0, "%s.%u.%u", job->facts->name,
					      job->facts->pid, n);

		memcpy(file, name, used);
		ld__text_format(file, sizeof(file), used, ".snap");
		if (ld__sys4(SYS_faccessat, job->folder_fd, file, 0, 0) != -ENOENT)
			continue;
		ld__text_format(file, sizeof(file), used, ".stream");
		if (ld__sys4(SYS_faccessat, job->folder_fd, file, 0, 0) == -ENOENT)
			return;
	}
}

static bool is_program(const char *path)
{
	return path[0] && ld__sys4(SYS_faccessat, AT_FDCWD, path, 1 /* X_OK */, 0) == 0;
}

/* The program, by the places where it is installed or built beside the library. */
static bool find_program(char *path, size_t capacity)
{
	static const char *const beside[] = { "leakdiff", "../bin/leakdiff", "../../bin/leakdiff" };
	static const char *const fixed[] = { "/usr/bin/leakdiff", "/usr/local/bin/leakdiff" };
	const char *chosen = ld__agent_setting("LEAKDIFF_INGEST"), *library = "";
	size_t folder;

	if (chosen) {
		ld__text_format(path, capacity, 0, "%s", chosen);
		return is_program(path);
	}
	for (uint32_t i = 0; i < ld__modules_count(); i++)
		if (ld__modules_get(i)->flags & STREAM_MODULE_SELF)
			library = ld__modules_get(i)->path;
	folder = (size_t)(text_base_name(library) - library);
	for (size_t i = 0; folder && folder < capacity && i < sizeof(beside) / sizeof(beside[0]);
	     i++) {
		memcpy(path, library, folder);
		ld__text_format(path, capacity, folder, "%s", beside[i]);
		if (is_program(path))
			return true;
	}
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		ld__text_format(path, capacity, 0, "%s", fixed[i]);
		if (is_program(path))
			return true;
	}
	return false;
}

/* Start `program` reading from a pipe. Its environment is fresh: above all no LD_PRELOAD. */
static int start_ingest(struct snapshot_output *output, const char *program, const char *result)
{
	static char path_variable[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *environment[] = { path_variable, NULL };
	const char *arguments[] = { program, "ingest", "-", "-o", result, NULL };
	int ends[2];
	long pid;

	if (ld__sys2(SYS_pipe2, ends, O_CLOEXEC) < 0)
		return -EMFILE;
	pid = ld__sys5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		struct kernel_sigaction action = { .handler = (void *)SIG_DFL };

		ld__kernel_sigaction(SIGPIPE, &action, NULL);
		ld__sys3(SYS_dup3, ends[0], 0, 0);
		ld__sys3(SYS_execve, program, arguments, environment);
		kernel_exit_group(127);
	}
	kernel_close(ends[0]);
	if (pid < 0) {
		kernel_close(ends[1]);
		return (int)pid;
	}
	output->ingest = (int)pid;
	output->fd = ends[1];
	return ends[1];
}

int ld__snapshot_output_open(struct snapshot_output *output, const struct snapshot_job *job)
{
	char program[4096], result[4400], name[120];

	if (job->folder_fd < 0)
		return -ENOENT;
	choose_name(job, name, sizeof(name));
	if (find_program(program, sizeof(program))) {
		ld__text_format(result, sizeof(result), 0, "%s/%s.snap", ld__config()->folder,
				name);
		if (start_ingest(output, program, result) >= 0)
			return output->fd;
	}
	ld__text_format(output->final, sizeof(output->final), 0, "%s.stream", name);
	ld__text_format(output->temporary, sizeof(output->temporary), 0, ".%s.stream.tmp", name);
	ld__sys3(SYS_unlinkat, job->folder_fd, output->temporary, 0);
	output->fd = kernel_openat(job->folder_fd, output->temporary,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	return output->fd;
}

static int close_file(struct snapshot_output *output, int folder_fd, bool whole)
{
	long r = whole ? ld__sys1(SYS_fsync, output->fd) : -EIO;

	kernel_close(output->fd);
	if (r == 0)
		r = ld__sys4(SYS_renameat, folder_fd, output->temporary, folder_fd, output->final);
	if (r < 0) {
		ld__sys3(SYS_unlinkat, folder_fd, output->temporary, 0);
		return SNAPSHOT_NO_OUTPUT;
	}
	ld__sys1(SYS_fsync, folder_fd);
	return SNAPSHOT_DONE;
}

int ld__snapshot_output_close(struct snapshot_output *output, const struct snapshot_job *job,
			      bool whole)
{
	int status = 0;

	if (!output->ingest)
		return close_file(output, job->folder_fd, whole);
	kernel_close(output->fd);
	if (ld__sys4(SYS_wait4, output->ingest, &status, 0, 0) != output->ingest ||
	    !WIFEXITED(status) || WEXITSTATUS(status))
		return SNAPSHOT_INGEST_FAILED;
	return whole ? SNAPSHOT_DONE : SNAPSHOT_NO_OUTPUT;
}
