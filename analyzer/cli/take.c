/* SPDX-License-Identifier: Apache-2.0
 * L2  take.c - take one snapshot of a process and write its file.
 *
 *   we ----- request and the write end of a pipe -----> agent (stops, forks, lets go on)
 *   we <---- pause, name, folder --------------------- agent
 *   we <==== stream ================================== walking child
 *   ingest -> <folder>/<name>.<pid>.<n>.snap */
#include "cli/take.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
#define INGEST_NICE 10

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

bool take_is_folder(const char *path)
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
static int choose_place(const struct target *target, const char *output, const char *result, struct place *ret_place,
			char **ret_error)
{
	struct place place = { .folder_fd = -1 };
	char *name = target_value(result, "name"), *file = NULL;
	const char *folder = output ? output : target->shown_folder;

	if (name)
		make_safe(name);
	if (output && !take_is_folder(output)) {
		place.path = strdup(output);
		place.shown = strdup(output);
		goto done;
	}
	if (!folder) {
		free(name);
		*ret_error = text_format("process %d has no folder for snapshots; say where with -o FILE",
					 (int)target->pid);
		return -ENOENT;
	}
	place.is_theirs = !output;
	place.folder_fd = output ? open(output, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				 : fcntl(target->folder_fd, F_DUPFD_CLOEXEC, 0);
	if (place.folder_fd < 0) {
		int error = errno;

		free(name);
		*ret_error = text_format("%s cannot be opened: %s", folder, strerror(error));
		return -error;
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
		return -ENOMEM;
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

static int write_snapshot(const struct target *target, const struct take_options *how, const char *result,
			  int stream_fd, struct taken *ret_taken, char **ret_error)
{
	struct ingest_options options = {
		.root = target->module_root,
		.progress = show_progress,
		.wrappers = how->wrappers.items,
		.wrapper_count = how->wrappers.count,
		.owner_uid = -1,
		.owner_gid = -1,
	};
	struct ingest_result written;
	struct place place = { .folder_fd = -1 };
	char *error = NULL, *meta;
	struct stat made;
	int r = choose_place(target, how->output, result, &place, ret_error);

	if (r < 0)
		return r;
	meta = text_format("host_pid=%d\n", (int)target->pid);
	options.capture_meta = meta;
	if (place.is_theirs && geteuid() == 0) {
		options.owner_uid = (int)target->uid;
		options.owner_gid = (int)target->gid;
	}
	/* its second of work would take turns from the service's threads where all processors are busy */
	if (getpriority(PRIO_PROCESS, 0) < INGEST_NICE)
		(void)setpriority(PRIO_PROCESS, 0, INGEST_NICE);
	r = ingest_run(stream_fd, place.path, &options, &written, &error);
	cmd_progress(NULL, 0, 0);
	if (r < 0) {
		*ret_error = readable(error, &place);
	} else {
		*ret_taken = (struct taken){
			.path = place.shown, .pause_ns = target_number(result, "pause_ns"), .blocks = written.blocks,
			.bytes = written.bytes, .file_bytes = written.file_bytes, .consistent = written.consistent,
		};
		if (stat(place.path, &made) == 0) {
			ret_taken->device = (uint64_t)made.st_dev;
			ret_taken->inode = (uint64_t)made.st_ino;
		}
		place.shown = NULL;
		free(error);
	}
	free(meta);
	place_done(&place);
	return r < 0 ? r : 0;
}

int take_snapshot(const struct target *target, const struct take_options *options, struct taken *ret_taken,
		  char **ret_error)
{
	struct control_request request = {
		.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .command = CONTROL_SNAP,
		.max_pause_ns = options->max_pause_ns, .timeout_ns = options->timeout_ns,
	};
	char *result = NULL;
	struct timespec start;
	int ends[2], r;

	*ret_error = NULL;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		r = -errno;
		*ret_error = text_format("no pipe can be made: %s", strerror(-r));
		return r;
	}
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);	/* fewer switches; a smaller one does as well */
	clock_gettime(CLOCK_MONOTONIC, &start);
	cmd_progress("asking", 0, 0);
	r = target_ask(target, &request, ends[1], options->timeout_ns ? options->timeout_ns : DEFAULT_WAIT_NS,
		       &result, ret_error);
	cmd_progress(NULL, 0, 0);
	close(ends[1]);
	if (r >= 0)
		r = write_snapshot(target, options, result, ends[0], ret_taken, ret_error);
	if (r >= 0)
		ret_taken->seconds = seconds_since(&start);
	close(ends[0]);
	free(result);
	if (r < 0 && !*ret_error)
		*ret_error = strdup("there is not enough memory");
	return r < 0 ? r : 0;
}

void taken_done(struct taken *taken)
{
	free(taken->path);
	taken->path = NULL;
}
