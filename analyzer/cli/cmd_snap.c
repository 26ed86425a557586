/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_snap.c - leakdiff snap PID: ask for a snapshot, read the stream, write the file.
 *
 *   we ----- request and the write end of a pipe -----> agent (stops, forks, lets go on)
 *   we <---- pause, name, folder --------------------- agent
 *   we <==== stream ================================== walking child
 *   ingest -> <folder>/<name>.<pid>.<n>.snap */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/target.h"
#include "core/ingest.h"
#include "core/text.h"

#define DEFAULT_WAIT_NS 30000000000u
#define PIPE_BYTES (1 << 20)
#define NUMBER_LAST 1000000

static const char *output;
static bool children;
static uint64_t max_pause_ns, timeout_ns;

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The process says what it is called; nothing that it says may lead out of the folder or hide there. */
static void make_safe(char *name)
{
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_-+", *c) && (*c != '.' || c == name))
			*c = '_';
}

/* "<name>.<pid>.<n>.snap" with the first n from `number` on that is free in the folder. */
static char *free_name(int folder_fd, const char *name, pid_t pid, uint64_t number)
{
	for (uint64_t n = number ? number : 1; n < NUMBER_LAST; n++) {
		char *file = text_format("%s.%d.%llu.snap", name, (int)pid, (unsigned long long)n);
		struct stat st;

		if (!file ||
		    (fstatat(folder_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT))
			return file;
		free(file);
	}
	return NULL;
}

struct place {
	char *path;			/* to write to */
	char *shown;			/* to print */
	int folder_fd;
	bool is_theirs;			/* in the process's own folder: the file becomes its user's */
};

static void place_done(struct place *place)
{
	if (place->folder_fd >= 0)
		close(place->folder_fd);
	free(place->path);
	free(place->shown);
}

/* Where the snapshot goes. In the process's folder the path leads through our descriptor, so that
 * nothing that its user does to the names on the way matters. */
static int choose_place(const struct target *target, const char *result, struct place *ret_place)
{
	struct place place = { .folder_fd = -1 };
	char *name = target_value(result, "name"), *file = NULL;
	const char *folder = output ? output : target->shown_folder;

	if (name)
		make_safe(name);
	if (output && !is_folder(output)) {
		place.path = strdup(output);
		place.shown = strdup(output);
		goto done;
	}
	if (!folder) {
		free(name);
		return cmd_trouble("process %d has no folder for snapshots; say where with -o FILE",
				   (int)target->pid);
	}
	place.is_theirs = !output;
	place.folder_fd = output ? open(output, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				 : fcntl(target->folder_fd, F_DUPFD_CLOEXEC, 0);
	if (place.folder_fd < 0) {
		free(name);
		return cmd_trouble("%s cannot be opened: %s", folder, strerror(errno));
	}
	file = free_name(place.folder_fd, name && *name ? name : "process", target->pid,
			 target_number(result, "number"));
	if (file) {
		place.path = place.is_theirs
				     ? text_format("/proc/self/fd/%d/%s", place.folder_fd, file)
				     : text_format("%s/%s", folder, file);
		place.shown = text_format("%s/%s", folder, file);
	}
done:
	free(name);
	free(file);
	if (!place.path || !place.shown) {
		place_done(&place);
		return cmd_trouble("not enough memory");
	}
	*ret_place = place;
	return 0;
}

static void show_progress(const char *what, uint64_t done, uint64_t total, void *data)
{
	(void)data;
	cmd_progress(what, done, total);
}

/* Messages of ingest name the path that it was given; show the one that a person can use. */
static char *readable(char *error, const struct place *place)
{
	char *at = error ? strstr(error, place->path) : NULL;
	char *text;

	if (!at || !strcmp(place->path, place->shown))
		return error;
	text = text_format("%.*s%s%s", (int)(at - error), error, place->shown,
			   at + strlen(place->path));
	free(error);
	return text;
}

static void tell(const char *result, const struct ingest_result *written, double seconds)
{
	char blocks[TEXT_SIZE], bytes[TEXT_SIZE], file[TEXT_SIZE];

	fprintf(stderr, "pause %.2f ms, %s blocks, %s live, %s written, %.2f s%s\n",
		(double)target_number(result, "pause_ns") / 1e6,
		text_count((int64_t)written->blocks, blocks),
		text_size((int64_t)written->bytes, bytes),
		text_size((int64_t)written->file_bytes, file), seconds,
		written->consistent ? "" : "; NOT consistent: some threads ran on");
}

static int write_snapshot(const struct target *target, const char *result, int stream_fd,
			  const struct timespec *start)
{
	struct ingest_options options = {
		.root = target->module_root,
		.progress = show_progress,
		.owner_uid = -1,
		.owner_gid = -1,
	};
	struct ingest_result written;
	struct place place = { .folder_fd = -1 };
	char *error = NULL, *meta = text_format("host_pid=%d\n", (int)target->pid);
	int status = choose_place(target, result, &place);

	if (status) {
		free(meta);
		return status;
	}
	options.capture_meta = meta;
	if (place.is_theirs && geteuid() == 0) {
		options.owner_uid = (int)target->uid;
		options.owner_gid = (int)target->gid;
	}
	if (ingest_run(stream_fd, place.path, &options, &written, &error) < 0) {
		cmd_progress(NULL, 0, 0);
		error = readable(error, &place);
		status = cmd_trouble("%s", error ? error : "not enough memory");
	} else {
		cmd_progress(NULL, 0, 0);
		puts(place.shown);
		fflush(stdout);
		tell(result, &written, seconds_since(start));
	}
	free(error);
	free(meta);
	place_done(&place);
	return status;
}

static int snap_target(const struct target *target)
{
	struct control_request request = {
		.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .command = CONTROL_SNAP,
		.max_pause_ns = max_pause_ns, .timeout_ns = timeout_ns,
	};
	char *result = NULL, *error = NULL;
	struct timespec start;
	int ends[2], r, status;

	if (output && children && !is_folder(output))
		return cmd_usage(&cmd_snap, "with --children, -o takes a folder");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return cmd_trouble("no pipe can be made: %s", strerror(errno));
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);	/* fewer switches; a smaller one does as well */
	clock_gettime(CLOCK_MONOTONIC, &start);
	cmd_progress("asking", 0, 0);
	r = target_ask(target, &request, ends[1], timeout_ns ? timeout_ns : DEFAULT_WAIT_NS,
		       &result, &error);
	cmd_progress(NULL, 0, 0);
	close(ends[1]);
	status = r < 0 ? cmd_trouble("%s", error) : write_snapshot(target, result, ends[0], &start);
	close(ends[0]);
	free(result);
	free(error);
	return status;
}

/* quiet: a process that cannot be snapped is passed over (a descendant without the library). */
static int snap_pid(pid_t pid, bool quiet)
{
	struct target target;
	char *error = NULL;
	int status;

	if (target_open(pid, &target, &error) < 0) {
		status = quiet ? CMD_OK : cmd_trouble("%s", error);
		free(error);
		return status;
	}
	status = snap_target(&target);
	target_done(&target);
	return status;
}

static int run(int argc, char **argv)
{
	pid_t pid, *pids = NULL;
	int status, count;

	if (argc != 1)
		return cmd_usage(&cmd_snap, "give one process id");
	if (target_parse_pid(argv[0], &pid) < 0)
		return cmd_usage(&cmd_snap, "'%s' is not a process id", argv[0]);
	status = snap_pid(pid, false);
	if (!children || status == CMD_USAGE)
		return status;
	count = target_descendants(pid, &pids);
	for (int i = 0; i < count; i++) {
		int one = snap_pid(pids[i], true);

		if (one)
			status = one;
	}
	free(pids);
	return status;
}

static const struct cmd_option options[] = {
	{ "output", 'o', CMD_STRING, "FILE", "write there (a folder: choose a name in it)",
	  &output },
	{ "children", 0, CMD_FLAG, NULL, "also all its descendants that run under the library",
	  &children },
	{ "max-pause", 0, CMD_DURATION, "TIME",
	  "refuse if the service would stand still for longer", &max_pause_ns },
	{ "timeout", 0, CMD_DURATION, "TIME", "give up when the process does not answer (30s)",
	  &timeout_ns },
	{ .name = NULL },
};

const struct cmd cmd_snap = {
	.name = "snap",
	.synopsis = "snap PID [-o FILE] [--children]",
	.summary = "take a snapshot of a running process",
	.detail =
		"Prints the path of the snapshot, DIR/NAME.PID.N.snap in the folder of the process "
		"unless -o says\n"
		"otherwise. The pause of the service, blocks, bytes and time go to standard error.",
	.options = options,
	.run = run,
};
