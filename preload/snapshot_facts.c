/* SPDX-License-Identifier: Apache-2.0
 * L3  snapshot_facts.c - what /proc tells about the process, read while it runs. */
#include <string.h>
#include <sys/auxv.h>

#include "kernel.h"
#include "snapshot_private.h"

#define TICKS_PER_S 100u		/* USER_HZ, fixed on every machine that we know */

uint64_t ld__snapshot_statm(int proc_fd, uint64_t *ret_shared_bytes)
{
	char text[128];
	const char *at = text;
	uint64_t resident;

	ld__kernel_slurp(proc_fd, "thread-self/statm", text, sizeof(text));
	ld__text_decimal(&at);
	if (*at == ' ')
		at++;
	resident = ld__text_decimal(&at) * PAGE_BYTES;
	if (*at == ' ')
		at++;
	*ret_shared_bytes = ld__text_decimal(&at) * PAGE_BYTES;
	return resident;
}

uint64_t ld__snapshot_private_bytes(int proc_fd)
{
	static const char *const keys[] = { "Private_Clean:", "Private_Dirty:" };
	char text[2048];
	uint64_t bytes = 0;

	ld__kernel_slurp(proc_fd, "self/smaps_rollup", text, sizeof(text));
	for (const char *line = text; *line;) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			const char *at = line;

			if (!text_starts(line, keys[i]))
				continue;
			at += text_length(keys[i]);
			while (*at == ' ')
				at++;
			bytes += ld__text_decimal(&at) << 10;
		}
		while (*line && *line++ != '\n')
			;
	}
	return bytes;
}

static void read_status(struct snapshot_facts *facts, int proc_fd)
{
	static const struct { const char *key; size_t offset; } keys[] = {
		{ "RssAnon:", __builtin_offsetof(struct snapshot_facts, rss_anon_bytes) },
		{ "RssFile:", __builtin_offsetof(struct snapshot_facts, rss_file_bytes) },
		{ "RssShmem:", __builtin_offsetof(struct snapshot_facts, rss_shmem_bytes) },
		{ "VmPTE:", __builtin_offsetof(struct snapshot_facts, page_table_bytes) },
	};
	char text[4096];

	ld__kernel_slurp(proc_fd, "thread-self/status", text, sizeof(text));
	for (const char *line = text; *line;) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			const char *at = line;

			if (!text_starts(line, keys[i].key))
				continue;
			at += text_length(keys[i].key);
			while (*at == ' ' || *at == '\t')
				at++;
			*(uint64_t *)(void *)((char *)facts + keys[i].offset) = ld__text_decimal(&at) << 10;
		}
		while (*line && *line++ != '\n')
			;
	}
}

/* When the process began, by the clock on the wall: field 22 of stat, in ticks since boot. */
static uint64_t read_start(int proc_fd)
{
	static uint64_t known;		/* the two clocks are never read at once: the same answer each time */
	static uint32_t known_pid;
	char text[1024];
	const char *at = text;
	uint64_t since_boot, now_boot = kernel_clock_ns(CLOCK_BOOTTIME),
			     now = kernel_clock_ns(CLOCK_REALTIME);

	if (known && known_pid == ld__sys_getpid())
		return known;
	if (!ld__kernel_slurp(proc_fd, "self/stat", text, sizeof(text)))
		return 0;
	for (const char *p = text; *p; p++)	/* the name may hold parentheses and blanks */
		if (*p == ')')
			at = p + 1;
	for (int field = 2; field < 22 && *at; at++)
		if (*at == ' ')
			field++;
	since_boot = ld__text_decimal(&at) * (NS_PER_S / TICKS_PER_S);
	known = since_boot < now_boot ? now - (now_boot - since_boot) : now;
	known_pid = ld__sys_getpid();
	return known;
}

static void read_command(struct snapshot_facts *facts, int proc_fd)
{
	size_t used = ld__kernel_slurp(proc_fd, "thread-self/cmdline", facts->command, sizeof(facts->command));

	while (used && !facts->command[used - 1])
		used--;
	for (size_t i = 0; i < used; i++)
		if (!facts->command[i])
			facts->command[i] = ' ';
	facts->command[used] = 0;
}

/* A file name's part from the program's name, as it was called: redis-server, even where that is a
 * link to a program of many names, and the script rather than its interpreter. */
static void make_name(struct snapshot_facts *facts)
{
	const char *called = (const char *)(uintptr_t)getauxval(AT_EXECFN);
	const char *base = text_base_name(called && *called ? called : facts->exe);
	size_t n = 0;

	for (; base[n] && base[n] != ' ' && n < sizeof(facts->name) - 1; n++) {
		char c = base[n];
		bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' ||
			    (c == '.' && n);

		facts->name[n] = safe ? c : '_';
	}
	if (!n)
		memcpy(facts->name, "process", 8);
}

void ld__snapshot_facts_read(struct snapshot_facts *facts, int proc_fd)
{
	char names[6 * 65];		/* struct new_utsname */
	long n;

	facts->pid = ld__sys_getpid();
	facts->ppid = (uint32_t)ld__sys0(SYS_getppid);
	facts->uid = (uint32_t)ld__sys0(SYS_geteuid);
	facts->gid = (uint32_t)ld__sys0(SYS_getegid);
	n = ld__sys4(SYS_readlinkat, proc_fd, "thread-self/exe", facts->exe,
		     sizeof(facts->exe) - 1);
	facts->exe[n > 0 ? n : 0] = 0;
	make_name(facts);
	read_command(facts, proc_fd);
	if (ld__sys1(SYS_uname, names) == 0)
		ld__text_format(facts->host, sizeof(facts->host), 0, "%s", names + 65);
	facts->process_start_ns = read_start(proc_fd);
	read_status(facts, proc_fd);
	ld__cgroup_read(proc_fd, &facts->cgroup);
}
