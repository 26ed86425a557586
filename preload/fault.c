/* SPDX-License-Identifier: Apache-2.0
 * L2  fault.c - see fault.h.
 *
 * The child is a copy of the service with the service's handlers: none of them may run here. The
 * guard's handler runs on a stack of its own, since a fault may come from a traceback that has
 * walked off the agent's small stack. */
#include "fault.h"

#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include "kernel.h"

#define SIGNALS 64
#define GRACE_S 60

volatile bool ld__fault_expired;
volatile uint64_t ld__fault_addr, ld__fault_pc;
volatile int ld__fault_signal;
uint32_t ld__fault_count;
sigjmp_buf ld__fault_jump;
volatile bool ld__fault_guarded;
static volatile bool jump_on_expiry;

static _Alignas(16) char handler_stack[16u << 10];

static uint64_t pc_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (uint64_t)context->uc_mcontext.gregs[REG_RIP];
#else
	return context->uc_mcontext.pc;
#endif
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (!ld__fault_guarded)
		kernel_exit_group(3);
	ld__fault_guarded = false;
	ld__fault_addr = (uint64_t)(uintptr_t)info->si_addr;
	ld__fault_pc = pc_of(context);
	ld__fault_signal = sig;
	ld__fault_count++;
	siglongjmp(ld__fault_jump, 1);
}

static void on_limit(int sig, siginfo_t *info, void *context)
{
	struct kernel_sigaction action = { .handler = (void *)SIG_DFL };
	struct itimerval grace = { { 0, 0 }, { GRACE_S, 0 } };

	(void)info;
	(void)context;
	ld__fault_expired = true;
	if (ld__fault_guarded && jump_on_expiry) {
		ld__fault_guarded = false;
		ld__fault_addr = ld__fault_pc = 0;
		ld__fault_signal = 0;
		siglongjmp(ld__fault_jump, 1);
	}
	/* Loops look at the flag and end the stream; what does not come back is killed. */
	ld__kernel_sigaction(sig, &action, NULL);
	ld__sys3(SYS_setitimer, ITIMER_REAL, &grace, 0);
}

void ld__fault_limit(uint64_t limit_ns, bool on_expiry_jump)
{
	struct kernel_sigaction action = {
		.handler = (void *)on_limit, .flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	struct itimerval limit = {
		{ 0, 0 },
		{ (time_t)(limit_ns / NS_PER_S), (suseconds_t)(limit_ns % NS_PER_S / 1000) },
	};

	jump_on_expiry = on_expiry_jump;
	ld__fault_expired = false;
	ld__kernel_sigaction(SIGALRM, &action, NULL);
	ld__sys3(SYS_setitimer, ITIMER_REAL, &limit, 0);
}

void ld__fault_install(uint64_t limit_ns)
{
	struct kernel_sigaction action = { .handler = (void *)SIG_DFL };
	stack_t stack = { .ss_sp = handler_stack, .ss_size = sizeof(handler_stack) };
	uint64_t none = 0;

	for (int sig = 1; sig <= SIGNALS; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			ld__kernel_sigaction(sig, &action, NULL);
	action.handler = (void *)SIG_IGN;
	ld__kernel_sigaction(SIGPIPE, &action, NULL);
	action.handler = (void *)on_fault;
	action.flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	ld__sys2(SYS_sigaltstack, &stack, 0);
	ld__kernel_sigaction(SIGSEGV, &action, NULL);
	ld__kernel_sigaction(SIGBUS, &action, NULL);
	ld__kernel_sigaction(SIGILL, &action, NULL);	/* an extension's traversal may end so, or assert() */
	ld__kernel_sigaction(SIGFPE, &action, NULL);
	ld__kernel_sigaction(SIGABRT, &action, NULL);
	ld__fault_limit(limit_ns, false);
	kernel_sigmask(SIG_SETMASK, &none, NULL);
}
