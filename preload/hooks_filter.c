/* SPDX-License-Identifier: Apache-2.0
 * L9  hooks_filter.c - a program that locks itself in with a filter of system calls (seccomp).
 *
 *   prctl(PR_SET_SECCOMP)            OpenSSH, small daemons
 *   syscall(SYS_seccomp)             libseccomp, browsers
 *
 * Such a filter knows the program's calls, not ours, and often ends the process for any other. So it is asked
 * before it is installed. If it would end us, everything of ours ends first, for good: recording, the agent,
 * the files. A filter that was there from the start is another matter: see stop_filter.h. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "arena.h"
#include "filter.h"
#include "guard.h"
#include "hooks.h"
#include "process.h"
#include "real.h"
#include "sys.h"

int prctl(int what, ...);
long syscall(long number, ...);
long ld__hook_seccomp(long number, long operation, long flags, const void *data);

static void look_at(bool strict, const struct sock_fprog *filter)
{
	int saved_errno = errno;

	ld__guard_enter();
	if (!strict && filter && filter->filter && ld__filter_ends_naming(filter))
		ld__arena_stop_naming();
	if (strict || (filter && filter->filter && ld__filter_ends_us(filter)))
		ld__process_lock_in();
	ld__guard_leave();
	errno = saved_errno;
}

LD_EXPORT int prctl(int what, ...)
{
	unsigned long a, b, c, d;
	va_list args;
	long r;

	va_start(args, what);
	a = va_arg(args, unsigned long);
	b = va_arg(args, unsigned long);
	c = va_arg(args, unsigned long);
	d = va_arg(args, unsigned long);
	va_end(args);
	if (what == PR_SET_SECCOMP)
		look_at(a == SECCOMP_MODE_STRICT, (const struct sock_fprog *)b);
	if (ld__real.prctl)
		return ld__real.prctl(what, a, b, c, d);
	r = ld__sys5(SYS_prctl, what, a, b, c, d);
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

/* The one system call that is looked at. */
__attribute__((used)) LD_HIDDEN long ld__hook_seccomp(long number, long operation, long flags, const void *data)
{
	long r;

	if (operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER)
		look_at(operation == SECCOMP_SET_MODE_STRICT, data);
	r = ld__sys3(number, operation, flags, data);
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* syscall(3): libc's, instruction for instruction, behind one comparison. In C it would have a frame, in
 * which a call that returns twice (vfork) could not come back. */
__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	cmp $317, %rdi\n"		/* SYS_seccomp */
	"	je ld__hook_seccomp\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %r10\n"
	"	mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmp $-4095, %rax\n"
	"	jae 1f\n"
	"	ret\n"
	"1:	neg %eax\n"
	"	push %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call __errno_location@PLT\n"
	"	pop %rdx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	mov %edx, (%rax)\n"
	"	mov $-1, %rax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size syscall, . - syscall\n");
_Static_assert(SYS_seccomp == 317, "the number in syscall()");
