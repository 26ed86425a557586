/* SPDX-License-Identifier: Apache-2.0
 * L3  trigger.c - a snapshot before the OOM killer comes: the threshold on resident memory.
 *
 * LEAKDIFF_AT_RSS is a size, or a percentage of the smallest memory limit of the control groups that
 * the process is in, else of the machine's memory. It fires when it is crossed, and again each time
 * memory has grown by another tenth; falling well below the threshold arms it anew. */
#include <sys/sysinfo.h>

#include "agent_private.h"
#include "config.h"
#include "kernel.h"
#include "snapshot_private.h"

#define LOOK_NS NS_PER_S

static uint64_t threshold;		/* 0 = not computed yet */
static uint64_t armed_at;		/* fires at this size */
static uint64_t last_look_ns;

/* A number at the start of a small file; UINT64_MAX when there is none ("max"). */
static uint64_t read_number(const char *path)
{
	char text[64];
	const char *at = text;
	int fd = kernel_openat(AT_FDCWD, path, O_RDONLY, 0);
	long n;

	if (fd < 0)
		return UINT64_MAX;
	n = kernel_read(fd, text, sizeof(text) - 1);
	kernel_close(fd);
	if (n <= 0 || text[0] < '0' || text[0] > '9')
		return UINT64_MAX;
	text[n] = 0;
	return ld__text_decimal(&at);
}

/* The smallest limit of a group and the groups around it. group is cut down to "" meanwhile. */
static uint64_t smallest_limit(const char *mount, char *group, const char *file)
{
	uint64_t smallest = UINT64_MAX;
	size_t length = text_length(group);

	for (;;) {
		char path[4400];
		uint64_t limit;

		ld__text_format(path, sizeof(path), 0, "%s%s/%s", mount, group, file);
		limit = read_number(path);
		if (limit < smallest)
			smallest = limit;
		if (!length)
			return smallest;
		while (length && group[length] != '/')
			length--;
		group[length] = 0;
	}
}

/* Limits of the control groups in /proc/self/cgroup: "0::/group" is version 2, "4:memory:/group" version 1. */
static uint64_t cgroup_limit(void)
{
	static char text[16384];
	uint64_t smallest = UINT64_MAX;
	int fd = kernel_openat(ld__agent_proc_fd(), "thread-self/cgroup", O_RDONLY, 0);
	long n = fd < 0 ? fd : kernel_read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		kernel_close(fd);
	text[n > 0 ? n : 0] = 0;
	for (char *line = text; *line;) {
		char *end = line, *group;
		uint64_t limit = UINT64_MAX;
		bool memory = false;

		while (*end && *end != '\n')
			end++;
		n = *end;
		*end = 0;
		group = line;
		for (int colons = 0; *group && colons < 2; group++) {
			colons += *group == ':';
			memory |= colons == 1 && text_starts(group + 1, "memory");
		}
		if (text_starts(line, "0::"))
			limit = smallest_limit("/sys/fs/cgroup", group, "memory.max");
		else if (memory)
			limit = smallest_limit("/sys/fs/cgroup/memory", group,
					       "memory.limit_in_bytes");
		if (limit < smallest)
			smallest = limit;
		line = n ? end + 1 : end;
	}
	return smallest;
}

static uint64_t compute_threshold(void)
{
	const struct config *config = ld__config();
	struct sysinfo machine;
	uint64_t limit, memory;

	if (config->at_rss_bytes)
		return config->at_rss_bytes;
	if (ld__sys1(SYS_sysinfo, &machine) < 0)
		return UINT64_MAX;
	memory = (uint64_t)machine.totalram * machine.mem_unit;
	limit = cgroup_limit();
	if (limit > memory)
		limit = memory;
	return limit / 100 * config->at_rss_percent;
}

bool ld__trigger_rss_wanted(void)
{
	return ld__config()->at_rss_bytes || ld__config()->at_rss_percent;
}

bool ld__trigger_rss_reached(void)
{
	uint64_t now = kernel_now_ns(), shared, resident;

	if (!ld__trigger_rss_wanted() || now - last_look_ns < LOOK_NS)
		return false;
	last_look_ns = now;
	if (!threshold)
		armed_at = threshold = compute_threshold();
	resident = ld__snapshot_statm(ld__agent_proc_fd(), &shared);
	if (resident >= armed_at) {
		armed_at = resident + resident / 10;
		return true;
	}
	if (resident < threshold - threshold / 10)
		armed_at = threshold;
	return false;
}

void ld__trigger_after_fork_child(void)
{
	threshold = 0;			/* the child may be put into another group */
	last_look_ns = 0;
}
