/* SPDX-License-Identifier: Apache-2.0
 * L3  cgroup.c - what the control groups of the process say about memory.
 *
 *   /proc/thread-self/cgroup     "0::/group" is version 2, "4:memory:/group" version 1
 *   /sys/fs/cgroup/group/memory.{current,max,stat}        version 2
 *   /sys/fs/cgroup/memory/group/memory.{usage_in_bytes,limit_in_bytes,stat}
 *
 * In a container the group's own root is mounted there, so the path in /proc may name a folder that
 * does not exist; the files of the root are then the group's. */
#include "cgroup.h"

#include "kernel.h"

#define MOUNT_2 "/sys/fs/cgroup"
#define MOUNT_1 "/sys/fs/cgroup/memory"

static char text[16384];		/* agent only: there is one reader */

/* A number at the start of a small file; unknown when there is none ("max"). */
static uint64_t read_number(const char *mount, const char *group, const char *file)
{
	char path[4400], number[64];
	const char *at = number;

	ld__text_format(path, sizeof(path), 0, "%s%s/%s", mount, group, file);
	ld__kernel_slurp(AT_FDCWD, path, number, sizeof(number));
	return number[0] >= '0' && number[0] <= '9' ? ld__text_decimal(&at) : CGROUP_UNKNOWN;
}

/* The smallest limit of a group and the groups around it. group is cut down to "" meanwhile. */
static uint64_t smallest_limit(const char *mount, char *group, const char *file)
{
	uint64_t smallest = CGROUP_UNKNOWN;
	size_t length = text_length(group);

	for (;;) {
		uint64_t limit = read_number(mount, group, file);

		if (limit < smallest)
			smallest = limit;
		if (!length)
			return smallest;
		while (length && group[length] != '/')
			length--;
		group[length] = 0;
	}
}

/* Calls visit with each group that has to do with memory. group may be changed. */
static void visit_groups(int proc_fd, void (*visit)(const char *mount, char *group, int version, void *data), void *data)
{
	ld__kernel_slurp(proc_fd, "thread-self/cgroup", text, sizeof(text));
	for (char *line = text; *line;) {
		char *end = line, *group;
		bool memory = false, more;

		while (*end && *end != '\n')
			end++;
		more = *end;
		*end = 0;
		group = line;
		for (int colons = 0; *group && colons < 2; group++) {
			colons += *group == ':';
			memory |= colons == 1 && text_starts(group + 1, "memory");
		}
		if (text_starts(line, "0::"))
			visit(MOUNT_2, group, 2, data);
		else if (memory)
			visit(MOUNT_1, group, 1, data);
		line = more ? end + 1 : end;
	}
}

static void take_limit(const char *mount, char *group, int version, void *data)
{
	uint64_t *smallest = data;
	uint64_t limit = smallest_limit(mount, group, version == 2 ? "memory.max" : "memory.limit_in_bytes");

	if (limit < *smallest)
		*smallest = limit;
}

uint64_t ld__cgroup_limit(int proc_fd)
{
	uint64_t smallest = CGROUP_UNKNOWN;

	visit_groups(proc_fd, take_limit, &smallest);
	return smallest;
}

static void read_stat(const char *mount, const char *group, struct cgroup_memory *ret)
{
	static const struct { const char *key; size_t offset; } keys[] = {
		{ "anon ", __builtin_offsetof(struct cgroup_memory, anon_bytes) },
		{ "file ", __builtin_offsetof(struct cgroup_memory, file_bytes) },
		{ "kernel ", __builtin_offsetof(struct cgroup_memory, kernel_bytes) },
		{ "total_rss ", __builtin_offsetof(struct cgroup_memory, anon_bytes) },
		{ "total_cache ", __builtin_offsetof(struct cgroup_memory, file_bytes) },
	};
	char path[4400], stat[8192];

	ld__text_format(path, sizeof(path), 0, "%s%s/memory.stat", mount, group);
	ld__kernel_slurp(AT_FDCWD, path, stat, sizeof(stat));
	for (const char *line = stat; *line;) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			const char *at = line + text_length(keys[i].key);

			if (text_starts(line, keys[i].key))
				*(uint64_t *)(void *)((char *)ret + keys[i].offset) = ld__text_decimal(&at);
		}
		while (*line && *line++ != '\n')
			;
	}
}

static void take_memory(const char *mount, char *group, int version, void *data)
{
	struct cgroup_memory *ret = data;
	const char *current = version == 2 ? "memory.current" : "memory.usage_in_bytes";

	if (ret->current_bytes == CGROUP_UNKNOWN)
		ret->current_bytes = read_number(mount, group, current);
	if (ret->current_bytes == CGROUP_UNKNOWN) {
		group += text_length(group);	/* a container's own root */
		ret->current_bytes = read_number(mount, group, current);
	}
	if (ret->current_bytes != CGROUP_UNKNOWN && ret->anon_bytes == CGROUP_UNKNOWN)
		read_stat(mount, group, ret);
	take_limit(mount, group, version, &ret->max_bytes);
	if (ret->max_bytes >= 1ull << 62)
		ret->max_bytes = CGROUP_UNKNOWN;	/* version 1 says "no limit" with a large number */
}

void ld__cgroup_read(int proc_fd, struct cgroup_memory *ret)
{
	*ret = (struct cgroup_memory){ CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN };
	visit_groups(proc_fd, take_memory, ret);
}
