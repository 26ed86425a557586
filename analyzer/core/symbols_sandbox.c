/* SPDX-License-Identifier: Apache-2.0
 * L0  symbols_sandbox.c - what the process that reads files of others may still do: read.
 *
 * A refused call fails with EPERM. Opening a file is allowed for reading alone; there is no way to another
 * process, to the network, or to a program. Only numbers of x86-64 are known; elsewhere no filter is set. */
#include "core/symbols_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Memory that the process has already: address sanitizers reserve terabytes. */
static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void limit(int resource, uint64_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return;
	if (now.rlim_max == RLIM_INFINITY || now.rlim_max > most)
		now.rlim_max = most;
	if (now.rlim_cur == RLIM_INFINITY || now.rlim_cur > now.rlim_max)
		now.rlim_cur = now.rlim_max;
	setrlimit(resource, &now);
}

#ifdef __x86_64__
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* a call that opens a file: its flags are argument `n` */
#define READ_ONLY(name, n)                                                                                    \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(args[n]),                                \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0, 1), REFUSE, \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void filter_calls(void)
{
	static struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		REFUSE,
		LOAD(nr),
		ALLOW(recvfrom), ALLOW(sendto), ALLOW(setitimer), ALLOW(clock_gettime),
		ALLOW(read), ALLOW(pread64), ALLOW(readv), ALLOW(preadv), ALLOW(lseek), ALLOW(close),
		ALLOW(fstat), ALLOW(stat), ALLOW(lstat), ALLOW(newfstatat), ALLOW(statx), ALLOW(readlink), ALLOW(readlinkat),
		ALLOW(access), ALLOW(faccessat), ALLOW(getdents64),
		ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk),
		ALLOW(futex), ALLOW(getpid), ALLOW(gettid), ALLOW(getrandom), ALLOW(gettimeofday), ALLOW(sched_yield),
		ALLOW(rt_sigreturn), ALLOW(rt_sigprocmask), ALLOW(rt_sigaction), ALLOW(sigaltstack), ALLOW(tgkill),
		ALLOW(restart_syscall), ALLOW(exit), ALLOW(exit_group),
		READ_ONLY(openat, 2), READ_ONLY(open, 1),
		REFUSE,
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#else
static void filter_calls(void) { }
#endif

void symbols_sandbox_enter(uint64_t bytes)
{
	uint64_t now = address_space();

	prctl(PR_SET_DUMPABLE, 0);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	if (now)
		limit(RLIMIT_AS, now + bytes);
	filter_calls();
}
