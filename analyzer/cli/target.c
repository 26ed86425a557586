/* SPDX-License-Identifier: Apache-2.0
 * L2  target.c - finding the process and its folder; see target.h.
 *
 *   /proc/PID/status   is it there, whose is it, what is its number in its own pid namespace
 *   /proc/PID/maps     libleakdiff.so: it is under the library; <folder>/<number>.ring: the folder
 *   /proc/PID/root     the way there, if the process sees other mounts than we do
 *
 * A folder in another user's hands is opened with RESOLVE_IN_ROOT: a symbolic link in a container
 * must not lead a snapshot that root asked for to a place outside it. */
#include "cli/target.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/text.h"

#define LIBRARY_NAME "libleakdiff.so"
#define PF_EXITING 0x4u
#define PF_KTHREAD 0x200000u
#define BEGIN_TRIES 25
#define BEGIN_US 20000
#define STOPPED_LOOKS 50	/* a second: what stops it may be over at once */

static int fail(char **ret_error, int error, char *sentence)
{
	*ret_error = sentence;
	return sentence ? error : -ENOMEM;
}

int target_parse_pid(const char *word, pid_t *ret_pid)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(word, &end, 10);
	if (errno || end == word || *end || pid <= 0 || pid > INT32_MAX)
		return -EINVAL;
	*ret_pid = (pid_t)pid;
	return 0;
}

/* State letter of a process and its PF_ flags (linux/sched.h), which the kernel gives out in the ninth field
 * of its stat file (proc_pid_stat(5)); 0 when it is gone. */
static char read_state(pid_t pid, unsigned *ret_flags)
{
	char path[64], text[512], *at, state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %u", &state, ret_flags) != 2)
		return 0;
	return state;
}

/* State letter of a process, 0 when it is gone. One that is on its way out counts as a zombie: it has given
 * up its memory already, or does so at any moment. */
static char process_state(pid_t pid)
{
	unsigned flags;
	char state = read_state(pid, &flags);

	return state && flags & PF_EXITING ? 'Z' : state;
}

static bool is_kernel_thread(pid_t pid)
{
	unsigned flags;

	return read_state(pid, &flags) && flags & PF_KTHREAD;
}

/* A thread of the process that has not ended, 0 = none. */
static pid_t living_thread(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	pid_t found = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	folder = opendir(path);
	while (folder && !found && (entry = readdir(folder))) {
		pid_t tid;
		char state;

		if (target_parse_pid(entry->d_name, &tid) < 0)
			continue;
		state = process_state(tid);	/* /proc/TID exists, though it is not listed */
		if (state && state != 'Z' && state != 'X')
			found = tid;
	}
	if (folder)
		closedir(folder);
	return found;
}

/* A number from /proc/PID/status, 0 when it cannot be had. */
static pid_t status_number(pid_t pid, const char *format)
{
	char path[64], line[256];
	FILE *file;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		if (sscanf(line, format, &found) != 1)
			found = 0;
	if (file)
		fclose(file);
	return found;
}

/* Its own child traces it: a snapshot is being taken, which takes its time where there is much to copy. */
static bool is_in_snapshot(const struct target *target)
{
	pid_t tracer = status_number(target->thread, "TracerPid: %d");

	return tracer && status_number(tracer, "PPid: %d") == target->pid;
}

bool target_is_stopped(const struct target *target)
{
	for (int look = 0; look < STOPPED_LOOKS; look++) {
		char state = process_state(target->thread);

		if ((state != 'T' && state != 't') || (state == 't' && is_in_snapshot(target)))
			return false;
		usleep(BEGIN_US);
	}
	return true;
}

static int read_status(struct target *target)
{
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)target->pid);
	file = fopen(path, "re");
	if (!file)
		return -ESRCH;
	target->inner_pid = target->pid;
	while (fgets(line, sizeof(line), file)) {
		unsigned real, effective;
		char *last;

		if (sscanf(line, "Uid: %u %u", &real, &effective) == 2)
			target->uid = effective;
		else if (sscanf(line, "Gid: %u %u", &real, &effective) == 2)
			target->gid = effective;
		else if (!strncmp(line, "NSpid:", 6) && (last = strrchr(line, '\t')))
			target->inner_pid = (pid_t)strtol(last, NULL, 10);
	}
	fclose(file);
	return 0;
}

/* Has its program an interpreter (a dynamic linker that would honour LD_PRELOAD)? */
static bool is_static(pid_t pid)
{
	char path[64];
	Elf64_Ehdr head;
	Elf64_Phdr part;
	bool found = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_phentsize != sizeof(part)) {
		close(fd);
		return false;
	}
	for (unsigned i = 0; i < head.e_phnum && !found; i++)
		found = pread(fd, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part))) ==
				sizeof(part) &&
			part.p_type == PT_INTERP;
	close(fd);
	return !found;
}

struct found {
	bool library;
	char *library_path, *ring_path;
	uint64_t ring_inode;
	bool anything;
};

static void take_path(char **kept, const char *path)
{
	if (!*kept)
		*kept = strdup(path);
}

/* Is path "<folder>/<pid>.ring"? */
static bool is_ring(const char *path, pid_t inner_pid)
{
	const char *base = strrchr(path, '/');
	char name[32];

	snprintf(name, sizeof(name), "%d" CONTROL_RING_SUFFIX, (int)inner_pid);
	return base && !strcmp(base + 1, name);
}

static int read_maps(const struct target *target, struct found *ret_found)
{
	char path[64], *line = NULL;
	size_t capacity = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)target->thread);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	errno = 0;
	while (getline(&line, &capacity, file) > 0) {
		char *name = strchr(line, '/'), *end;
		unsigned long inode = 0;

		ret_found->anything = true;
		if (!name)
			continue;
		name[strcspn(name, "\n")] = 0;
		end = strstr(name, " (deleted)");
		if (end)
			*end = 0;
		if (strstr(name, "/" LIBRARY_NAME)) {
			ret_found->library = true;
			take_path(&ret_found->library_path, name);
		} else if (is_ring(name, target->inner_pid)) {
			sscanf(line, "%*s %*s %*s %*s %lu", &inode);
			ret_found->ring_inode = inode;
			take_path(&ret_found->ring_path, name);
		}
	}
	free(line);
	fclose(file);
	return !ret_found->anything && errno ? -errno : 0;
}

/* Open `path` below the process's own root. */
static int open_in_root(pid_t pid, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT };
	char root[64];
	int root_fd, fd;

	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	if (fd < 0)
		fd = -errno;
	close(root_fd);
	return fd;
}

static bool has_ring(int folder_fd, const struct target *target, uint64_t inode)
{
	char name[32];
	struct stat now;

	snprintf(name, sizeof(name), "%d" CONTROL_RING_SUFFIX, (int)target->inner_pid);
	return fstatat(folder_fd, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)now.st_ino == inode;
}

static bool same_mounts(pid_t pid)
{
	char path[64];
	struct stat own, other;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	return stat("/proc/self/ns/mnt", &own) < 0 || stat(path, &other) < 0 ||
	       own.st_ino == other.st_ino;
}

/* Where the process's root is for us; "" when that is our own. */
static char *root_path(pid_t pid)
{
	char link[64], text[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/root", (int)pid);
	if (!same_mounts(pid))
		return strdup(link);
	n = readlink(link, text, sizeof(text) - 1);
	if (n <= 1)
		return strdup("");
	text[n] = 0;
	return strdup(text);
}

/* The same folder by our eyes: by its own path, or below the process's root; the ring file decides. */
static int open_folder(struct target *target, const struct found *found)
{
	char *folder = strdup(found->ring_path), *root = root_path(target->thread), *slash;
	int fd = -ENOMEM;

	if (!folder || !root)
		goto done;
	slash = strrchr(folder, '/');
	if (slash)
		*slash = 0;
	target->folder = folder;
	folder = NULL;
	if (same_mounts(target->thread)) {
		fd = open(target->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && has_ring(fd, target, found->ring_inode)) {
			target->shown_folder = strdup(target->folder);
			goto done;
		}
		if (fd >= 0)
			close(fd);
	}
	fd = open_in_root(target->thread, target->folder);
	if (fd >= 0)
		target->shown_folder =
			text_format("/proc/%d/root%s", (int)target->thread, target->folder);
done:
	/* A process that was started inside another root names its modules as that root does. */
	if (root && *root &&
	    (!same_mounts(target->thread) ||
	     (found->library_path && !strncmp(found->library_path, root, strlen(root)))))
		target->module_root = text_format("/proc/%d/root", (int)target->thread);
	free(folder);
	free(root);
	target->folder_fd = fd;
	return fd;
}

static int refuse_state(const struct target *target, char state, char **ret_error)
{
	int pid = (int)target->pid;

	if (state == 'Z' || state == 'X')
		return fail(ret_error, -ESRCH,
			    text_format("process %d has ended already; its parent has not waited "
					"for it yet",
					pid));
	if ((state == 'T' || state == 't') && target_is_stopped(target))
		return fail(ret_error, -EAGAIN,
			    text_format("process %d is stopped (by a signal or a debugger) and "
					"cannot answer; continue it with kill -CONT %d",
					pid, pid));
	return 0;
}

static int refuse_maps(const struct target *target, int r, char **ret_error)
{
	int pid = (int)target->pid;

	if (r == -EACCES || r == -EPERM)
		return fail(
			ret_error, -EACCES,
			target->uid == geteuid()
				? text_format(
					  target->uid
						  ? "process %d may not be looked at (it changed "
						    "its user or is protected); ask as root"
						  : "process %d may not be looked at: the kernel "
						    "protects it even from root",
					  pid)
				: text_format("process %d belongs to another user (uid %u); ask as "
					      "that user or as root",
					      pid, (unsigned)target->uid));
	return fail(ret_error, -ESRCH, text_format("process %d ended meanwhile", pid));
}

int target_open(pid_t pid, struct target *ret_target, char **ret_error)
{
	struct target target = { .pid = pid, .folder_fd = -1 };
	struct found found = { 0 };
	char state = process_state(pid);
	int r;

	if (!state || read_status(&target) < 0)
		return fail(ret_error, -ESRCH, text_format("there is no process %d", (int)pid));
	target.thread = state == 'Z' || state == 'X' ? living_thread(pid) : pid;
	if (!target.thread)
		return refuse_state(&target, state, ret_error);
	r = read_maps(&target, &found);
	if (r == 0 && !found.anything && !is_kernel_thread(pid)) {
		target.thread = living_thread(pid);	/* this one ended while we looked */
		r = target.thread ? read_maps(&target, &found) : -ESRCH;
		if (r == 0 && !found.anything)
			r = -ESRCH;
	}
	for (int i = 0; r == 0 && found.library && !found.ring_path && i < BEGIN_TRIES; i++) {
		usleep(BEGIN_US);	/* it has just begun: the rings come soon, if at all */
		r = read_maps(&target, &found);
	}
	if (r < 0) {
		r = refuse_maps(&target, r, ret_error);
		goto done;
	}
	if (!found.library) {
		if (!found.anything)
			r = fail(
				ret_error, -ENOENT,
				text_format("process %d has no memory of its own (a kernel thread)",
					    (int)pid));
		else if (is_static(target.thread))
			r = fail(ret_error, -ENOENT,
				 text_format("process %d is statically linked: the library cannot "
					     "be loaded into it",
					     (int)pid));
		else
			r = fail(ret_error, -ENOENT,
				 text_format("process %d runs without libleakdiff.so; start it "
					     "with: leakdiff run -- COMMAND",
					     (int)pid));
		goto done;
	}
	r = refuse_state(&target, process_state(target.thread), ret_error);
	if (r < 0)
		goto done;
	if (found.ring_path)
		open_folder(&target, &found);
	*ret_target = target;
	target = (struct target) { .folder_fd = -1 };
	r = 0;
done:
	free(found.library_path);
	free(found.ring_path);
	target_done(&target);
	return r;
}

void target_done(struct target *target)
{
	if (target->folder_fd >= 0)
		close(target->folder_fd);
	free(target->folder);
	free(target->shown_folder);
	free(target->module_root);
	*target = (struct target) { .folder_fd = -1 };
}

char *target_value(const char *result, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = result; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (!strncmp(line, key, length) && line[length] == '=')
			return strndup(line + length + 1, (size_t)(end - line) - length - 1);
		line = *end ? end + 1 : end;
	}
	return NULL;
}

uint64_t target_number(const char *result, const char *key)
{
	char *text = target_value(result, key);
	uint64_t number = text ? strtoull(text, NULL, 10) : 0;

	free(text);
	return number;
}

/* ---- descendants ---- */

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *at;
	pid_t parent = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	at = strrchr(text, ')');
	if (at)
		sscanf(at + 1, " %*c %d", &parent);
	return parent;
}

struct process { pid_t pid, parent; };

static int list_processes(struct process **ret_list)
{
	DIR *folder = opendir("/proc");
	struct process *list = NULL;
	struct dirent *entry;
	int count = 0, capacity = 0;

	if (!folder)
		return 0;
	while ((entry = readdir(folder))) {
		pid_t pid;

		if (target_parse_pid(entry->d_name, &pid) < 0)
			continue;
		if (count == capacity) {
			struct process *grown = realloc(
				list, sizeof(*list) * (size_t)(capacity = capacity * 2 + 64));

			if (!grown) {
				free(list);
				closedir(folder);
				return -ENOMEM;
			}
			list = grown;
		}
		list[count++] = (struct process) { pid, parent_of(pid) };
	}
	closedir(folder);
	*ret_list = list;
	return count;
}

int target_descendants(pid_t pid, pid_t **ret_pids)
{
	struct process *list = NULL;
	int count = list_processes(&list), found = 0;
	pid_t *pids;

	if (count < 0)
		return count;
	pids = calloc((size_t)count + 1, sizeof(*pids));
	if (!pids) {
		free(list);
		return -ENOMEM;
	}
	for (int done = -1; done < found; done++) {	/* breadth first: children of what was found so far */
		pid_t parent = done < 0 ? pid : pids[done];

		for (int i = 0; i < count; i++)
			if (list[i].parent == parent && list[i].pid != pid)
				pids[found++] = list[i].pid;
	}
	free(list);
	*ret_pids = pids;
	return found;
}
