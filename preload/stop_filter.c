/* SPDX-License-Identifier: Apache-2.0
 * L2  stop_filter.c - see stop_filter.h.
 *
 * A filter may refuse a call, which is an answer like any other, or end the process for it: systemd's
 * SystemCallFilter= does so for ptrace and pidfd_getfd. Nothing tells which but the call itself. So a
 * child makes these calls, with arguments that cannot succeed, and what becomes of it is the answer. It is
 * no dumpable process: no core file of the service's memory is to come of the attempt. */
#include "stop_filter.h"

#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "kernel.h"

#define MODE_FILTER 2
#define WAIT_NS NS_PER_S
#define TICK_NS 100000u

/* Of the calling thread: how many filters it has, 0 without one. Before Linux 5.9 always 1. */
static uint64_t count_filters(int proc_fd)
{
	char text[4096];
	const char *mode, *count;

	ld__kernel_slurp(proc_fd, "thread-self/status", text, sizeof(text));
	mode = ld__text_value(text, "Seccomp:");
	count = ld__text_value(text, "Seccomp_filters:");
	if (!mode || ld__text_decimal(&mode) != MODE_FILTER)
		return 0;
	return count ? ld__text_decimal(&count) : 1;
}

_Noreturn static void try_calls(void)
{
	ld__sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	ld__sys3(SYS_pidfd_getfd, -1, -1, 0);
	ld__sys4(SYS_ptrace, PTRACE_SEIZE, 0, 0, 0);
	ld__sys4(SYS_rt_tgsigqueueinfo, -1, -1, 0, 0);
	kernel_exit_group(0);
}

static bool child_survives(void)
{
	uint64_t deadline = kernel_now_ns() + WAIT_NS;
	long pid = ld__sys5(SYS_clone, 0, 0, 0, 0, 0), r;
	int status = 0;

	if (pid == 0)
		try_calls();
	if (pid < 0)
		return false;
	while ((r = ld__sys4(SYS_wait4, pid, &status, __WALL | WNOHANG, 0)) == 0) {
		if (kernel_now_ns() >= deadline)
			ld__sys2(SYS_kill, pid, SIGKILL);
		ld__sys_sleep_ns(TICK_NS);
	}
	return r == pid && WIFEXITED(status);
}

bool ld__stop_filter_is_deadly(int proc_fd)
{
	static uint64_t known_count;
	static bool known;
	uint64_t count = count_filters(proc_fd);

	if (count != known_count) {
		known = count && !child_survives();
		known_count = count;
	}
	return known;
}
