/* SPDX-License-Identifier: Apache-2.0
 * L1  recover.c - what processes left behind in their folder. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/recover.h"
#include "core/heap.h"
#include "core/ingest.h"
#include "core/store.h"
#include "core/text.h"
#include "preload/protocol.h"

#define PID_MAX (1u << 22)
#define HZ_LEAST 1e8			/* a TSC slower or faster than these is none */
#define HZ_MOST 1e11
#define SPAN_NS 1000000			/* shorter than this its rate is a guess */

/* ---- names ---- */

static bool ends_with(const char *name, const char *suffix)
{
	size_t a = strlen(name), b = strlen(suffix);

	return a > b && !strcmp(name + a - b, suffix);
}

/* The number in front of name[*end], which moves to its first digit. 0 = there is none. */
static uint64_t number_before(const char *name, size_t *end)
{
	size_t start = *end;
	uint64_t number = 0;

	while (start && isdigit((unsigned char)name[start - 1]) && *end - start < 9)
		start--;
	for (size_t i = start; i < *end; i++)
		number = number * 10 + (uint64_t)(name[i] - '0');
	*end = start;
	return number;
}

/* "NAME.PID.N" with `length` letters. Returns the pid, 0 = it is none. */
static uint32_t parse_stem(const char *name, size_t length, uint64_t *ret_number)
{
	uint64_t pid;

	*ret_number = number_before(name, &length);
	if (!*ret_number || !length || name[length - 1] != '.')
		return 0;
	length--;
	pid = number_before(name, &length);
	return pid <= PID_MAX && length > 1 && name[length - 1] == '.' ? (uint32_t)pid : 0;
}

/* Whose file is it, and what? 0 = nobody's. */
static uint32_t parse_name(const char *name, struct recover_file *file)
{
	const char *tail = NULL;
	size_t end;

	if (isdigit((unsigned char)name[0])) {
		bool ring = ends_with(name, CONTROL_RING_SUFFIX);
		uint64_t pid;

		if (!ring && !ends_with(name, CONTROL_SOCKET_SUFFIX))
			return 0;
		end = strlen(name) - strlen(ring ? CONTROL_RING_SUFFIX : CONTROL_SOCKET_SUFFIX);
		pid = number_before(name, &end);
		file->kind = ring ? RECOVER_RING : RECOVER_LEFTOVER;
		return end == 0 && pid <= PID_MAX ? (uint32_t)pid : 0;
	}
	if (name[0] == '.') {
		if (!ends_with(name, ".tmp"))
			return 0;
		file->kind = RECOVER_LEFTOVER;
		tail = strstr(name, ".snap");
		if (!tail)
			tail = strstr(name, ".stream");
		return tail ? parse_stem(name + 1, (size_t)(tail - name) - 1, &file->number) : 0;
	}
	file->kind = ends_with(name, ".snap") ? RECOVER_SNAPSHOT : RECOVER_STREAM;
	if (file->kind == RECOVER_STREAM && !ends_with(name, ".stream"))
		return 0;
	return parse_stem(name, (size_t)(strrchr(name, '.') - name), &file->number);
}

/* ---- collecting ---- */

static int add_file(struct recovery *recovery, uint32_t pid, const struct recover_file *file, const char *name)
{
	struct recover_process *process = NULL, *grown;
	struct recover_file *files;

	for (size_t i = 0; i < recovery->count; i++)
		if (recovery->processes[i].pid == pid)
			process = &recovery->processes[i];
	if (!process) {
		grown = reallocarray(recovery->processes, recovery->count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		recovery->processes = grown;
		process = &grown[recovery->count++];
		*process = (struct recover_process){ .pid = pid, .ring_fd = -1 };
	}
	files = reallocarray(process->files, process->count + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	process->files = files;
	files[process->count] = *file;
	files[process->count].name = strdup(name);
	return files[process->count++].name ? 0 : -ENOMEM;
}

static int compare_files(const void *a, const void *b)
{
	const struct recover_file *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int compare_processes(const void *a, const void *b)
{
	uint32_t x = ((const struct recover_process *)a)->pid, y = ((const struct recover_process *)b)->pid;

	return (x > y) - (x < y);
}

static bool left_by_a_crash(const struct recover_process *process)
{
	for (size_t i = 0; i < process->count; i++)
		if (process->files[i].kind != RECOVER_SNAPSHOT)
			return true;
	return false;
}

static struct recover_process *process_done(struct recover_process *process)
{
	for (size_t i = 0; i < process->count; i++) {
		free(process->files[i].name);
		free(process->files[i].made);
		free(process->files[i].error);
	}
	free(process->files);
	free(process->snapshot_path);
	rings_free(process->rings);
	if (process->ring_fd >= 0)
		close(process->ring_fd);
	return NULL;
}

static int collect(struct recovery *recovery, int folder_fd, uint32_t pid)
{
	int fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0), r = 0;
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t kept = 0;

	if (!folder) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(folder))) {
		struct recover_file file = { 0 };
		uint32_t whose = parse_name(entry->d_name, &file);

		if (whose && (!pid || whose == pid))
			r = add_file(recovery, whose, &file, entry->d_name);
	}
	closedir(folder);
	for (size_t i = 0; r == 0 && i < recovery->count; i++) {
		struct recover_process *process = &recovery->processes[i];

		if (!pid && !left_by_a_crash(process)) {
			process_done(process);
			continue;
		}
		qsort(process->files, process->count, sizeof(*process->files), compare_files);
		recovery->processes[kept++] = *process;
	}
	if (r == 0) {
		recovery->count = kept;
		qsort(recovery->processes, kept, sizeof(*recovery->processes), compare_processes);
	}
	return r;
}

/* ---- is it still there? ---- */

static bool maps_file(const char *pid, const char *name, uint64_t inode)
{
	char path[64], *line = NULL;
	size_t capacity = 0;
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%.16s/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	while (!found && getline(&line, &capacity, maps) > 0) {
		char *at = strrchr(line, '/');
		unsigned long there = 0;

		if (!at || strncmp(at + 1, name, strlen(name)) != 0)
			continue;
		found = sscanf(line, "%*s %*s %*s %*s %lu", &there) == 1 && there == inode;
	}
	free(line);
	fclose(maps);
	return found;
}

/* In a container a process has another number for us, so all are asked. */
static bool is_mapped(const char *name, uint64_t inode)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (folder && !found && (entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0]))
			found = maps_file(entry->d_name, name, inode);
	if (folder)
		closedir(folder);
	return found;
}

static int open_ring(struct recovery *recovery, int folder_fd, struct recover_process *process, struct recover_file *file)
{
	char *path = recover_path(recovery, file);
	struct stat st;
	int r = path ? 0 : -ENOMEM;

	if (r == 0)
		process->ring_fd = openat(folder_fd, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (r == 0 && process->ring_fd < 0) {
		file->error = text_format("%s cannot be opened: %s", path, strerror(errno));
	} else if (r == 0 && fstat(process->ring_fd, &st) == 0) {
		process->running = is_mapped(file->name, st.st_ino);
		if (!process->running && rings_open(process->ring_fd, path, &process->rings, &file->error) < 0)
			process->rings = NULL;
	}
	free(path);
	return r;
}

/* ---- snapshots ---- */

/* The newest one that can be read. */
static int find_snapshot(struct recovery *recovery, struct recover_process *process)
{
	for (size_t i = process->count; i-- > 0 && !process->snapshot_path;) {
		struct recover_file *file = &process->files[i];
		struct store *store = NULL;
		struct heap *heap = NULL;
		char *path;

		if (file->kind != RECOVER_SNAPSHOT)
			continue;
		path = recover_path(recovery, file);
		if (!path)
			return -ENOMEM;
		free(file->error);
		file->error = NULL;
		if (store_open(path, &store, &file->error) == 0 && store_load_facts(store, &heap, &file->error) == 0) {
			process->snapshot_path = path;
			process->snapshot_blocks = heap->meta.blocks;
			process->snapshot_bytes = heap->meta.bytes;
			process->snapshot_ns = heap->meta.taken_ns;
			path = NULL;
		}
		heap_free(heap);
		store_free(store);
		free(path);
	}
	return 0;
}

/* "X.stream" -> "DIR/X.snap" */
static char *snapshot_of(const struct recovery *recovery, const struct recover_file *stream)
{
	return text_format("%s/%.*s.snap", recovery->folder, (int)(strlen(stream->name) - strlen(".stream")), stream->name);
}

static int find_made(struct recovery *recovery, struct recover_process *process)
{
	for (size_t i = 0; i < process->count; i++) {
		struct recover_file *file = &process->files[i];

		if (file->kind != RECOVER_STREAM)
			continue;
		file->made = snapshot_of(recovery, file);
		if (!file->made)
			return -ENOMEM;
		if (access(file->made, F_OK) < 0) {
			free(file->made);
			file->made = NULL;
		}
	}
	return 0;
}

int recovery_make(const char *folder, uint32_t pid, struct recovery **ret_recovery)
{
	struct recovery *recovery = calloc(1, sizeof(*recovery));
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = fd < 0 ? -errno : 0;

	if (recovery && r == 0)
		recovery->folder = strdup(folder);
	if (r == 0)
		r = recovery && recovery->folder ? collect(recovery, fd, pid) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < recovery->count; i++) {
		struct recover_process *process = &recovery->processes[i];

		for (size_t k = 0; k < process->count && r == 0; k++)
			if (process->files[k].kind == RECOVER_RING)
				r = open_ring(recovery, fd, process, &process->files[k]);
		if (r == 0)
			r = find_made(recovery, process);
		if (r == 0)
			r = find_snapshot(recovery, process);
	}
	if (fd >= 0)
		close(fd);
	if (r < 0) {
		recovery_free(recovery);
		return r;
	}
	*ret_recovery = recovery;
	return 0;
}

struct recovery *recovery_free(struct recovery *recovery)
{
	if (!recovery)
		return NULL;
	for (size_t i = 0; i < recovery->count; i++)
		process_done(&recovery->processes[i]);
	free(recovery->processes);
	free(recovery->folder);
	free(recovery);
	return NULL;
}

/* Returns 0, or a negative errno with the sentence in file->error. */
static int ingest_stream(struct recovery *recovery, struct recover_file *file,
			 void (*progress)(const char *what, uint64_t done, uint64_t total, void *data))
{
	struct ingest_options options = { .progress = progress, .owner_uid = -1, .owner_gid = -1 };
	char *path = recover_path(recovery, file), *target = snapshot_of(recovery, file);
	struct ingest_result result;
	struct stat st;
	int fd = -1, r = -ENOMEM;

	if (path && target) {
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		r = fd < 0 || fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
		if (r < 0)
			file->error = text_format("%s cannot be read: %s", path, strerror(-r));
	}
	if (r == 0 && geteuid() == 0) {		/* what is in a user's folder is the user's */
		options.owner_uid = (int)st.st_uid;
		options.owner_gid = (int)st.st_gid;
	}
	if (r == 0)
		r = ingest_run(fd, target, &options, &result, &file->error);
	if (r == 0) {
		file->made = target;
		target = NULL;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	free(target);
	return r < 0 && !file->error ? -ENOMEM : 0;
}

int recovery_ingest(struct recovery *recovery, void (*progress)(const char *what, uint64_t done, uint64_t total, void *data))
{
	int r = 0;

	for (size_t i = 0; i < recovery->count && r == 0; i++) {
		struct recover_process *process = &recovery->processes[i];
		size_t made = process->count;

		for (size_t k = 0; k < process->count && r == 0; k++) {
			struct recover_file *file = &process->files[k];

			if (file->kind != RECOVER_STREAM || file->made || process->running)
				continue;
			r = ingest_stream(recovery, file, progress);
			if (file->made)
				made = k;
		}
		if (r == 0 && made < process->count) {
			const struct recover_file snapshot = { .kind = RECOVER_SNAPSHOT, .number = process->files[made].number };

			r = add_file(recovery, process->pid, &snapshot, strrchr(process->files[made].made, '/') + 1);
			process = &recovery->processes[i];
			qsort(process->files, process->count, sizeof(*process->files), compare_files);
			free(process->snapshot_path);
			process->snapshot_path = NULL;
			if (r == 0)
				r = find_snapshot(recovery, process);
		}
	}
	return r;
}

bool recover_is_removable(const struct recover_process *process, const struct recover_file *file)
{
	return !process->running && file->kind != RECOVER_SNAPSHOT && (file->kind != RECOVER_STREAM || file->made);
}

char *recover_path(const struct recovery *recovery, const struct recover_file *file)
{
	return text_format("%s/%s", recovery->folder, file->name);
}

double recover_tick_s(const struct rings_facts *facts)
{
#if defined(__x86_64__)
	struct timespec t;
	uint64_t now = __builtin_ia32_rdtsc();
	int64_t real;
	double hz;

	clock_gettime(CLOCK_REALTIME, &t);
	real = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	if (!facts->clock_is_time || facts->start_realtime_ns <= 0 || facts->start_realtime_ns > real - SPAN_NS ||
	    facts->start_clock > facts->last_clock || facts->last_clock > now)
		return 0;
	hz = (double)(now - facts->start_clock) / ((double)(real - facts->start_realtime_ns) * 1e-9);
	return hz >= HZ_LEAST && hz <= HZ_MOST ? 1 / hz : 0;
#else
	(void)facts;
	return 0;
#endif
}
