/* SPDX-License-Identifier: Apache-2.0
 * L1  filter.c - see filter.h.
 *
 * A filter is a program of classic BPF over the number and the arguments of a call. It is run here as the
 * kernel would run it, for calls of ours, before the service gives it to the kernel: afterwards it would be
 * too late to ask. Nothing but the program is read, no instruction outside of it, and as jumps go forwards
 * only it comes to an end. */
#include "filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "sys.h"

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000u
#endif
#ifndef SECCOMP_RET_ACTION_FULL
#define SECCOMP_RET_ACTION_FULL 0xffff0000u
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define STEPS_MOST 4096u		/* the kernel's own limit of a program */

static const uint64_t no_fd = UINT64_MAX;

static uint32_t calculate(uint32_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_DIV: return b ? a / b : 0;
	case BPF_MOD: return b ? a % b : 0;
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_LSH: return b < 32 ? a << b : 0;
	case BPF_RSH: return b < 32 ? a >> b : 0;
	default: return -a;		/* BPF_NEG */
	}
}

static bool holds(uint32_t condition, uint32_t a, uint32_t b)
{
	switch (condition) {
	case BPF_JEQ: return a == b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	default: return a & b;		/* BPF_JSET */
	}
}

static uint32_t run(const struct sock_fprog *filter, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = { 0 };

	for (uint32_t at = 0, steps = 0; at < filter->len && steps < STEPS_MOST; at++, steps++) {
		const struct sock_filter *i = &filter->filter[at];
		uint32_t source = BPF_SRC(i->code) == BPF_X ? x : i->k, *to = BPF_CLASS(i->code) == BPF_LDX ? &x : &a;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (BPF_MODE(i->code) == BPF_IMM)
				*to = i->k;
			else if (BPF_MODE(i->code) == BPF_LEN)
				*to = sizeof(*data);
			else if (BPF_MODE(i->code) == BPF_MEM)
				*to = memory[i->k % BPF_MEMWORDS];
			else if (BPF_MODE(i->code) == BPF_ABS && i->k <= sizeof(*data) - sizeof(a))
				memcpy(to, (const char *)data + i->k, sizeof(*to));
			else
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_ST:
			memory[i->k % BPF_MEMWORDS] = a;
			break;
		case BPF_STX:
			memory[i->k % BPF_MEMWORDS] = x;
			break;
		case BPF_ALU:
			a = calculate(BPF_OP(i->code), a, source);
			break;
		case BPF_JMP:
			at += BPF_OP(i->code) == BPF_JA ? i->k : holds(BPF_OP(i->code), a, source) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		default:			/* BPF_MISC */
			*(BPF_MISCOP(i->code) == BPF_TAX ? &x : &a) = BPF_MISCOP(i->code) == BPF_TAX ? a : x;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

uint32_t ld__filter_answer(const struct sock_fprog *filter, uint32_t number, const uint64_t args[6])
{
	struct seccomp_data data = { .nr = (int)number, .arch = AUDIT_ARCH_X86_64 };

	memcpy(data.args, args, sizeof(data.args));
	return run(filter, &data);
}

/* A trap is as bad: the handler would run in the middle of a hook, and where signals are blocked there is
 * none. */
static bool ends(const struct sock_fprog *filter, uint32_t number, const uint64_t args[6])
{
	uint32_t action = ld__filter_answer(filter, number, args) & SECCOMP_RET_ACTION_FULL;

	return action == SECCOMP_RET_KILL_PROCESS || action == SECCOMP_RET_KILL_THREAD || action == SECCOMP_RET_TRAP;
}

/* Calls that may come at any event, or in the agent, or at the end of the process. Those that only the
 * snapshot's child makes are its own affair, and for those that only a snapshot needs see stop_filter.c. */
static const struct call { uint32_t number; uint64_t args[6]; } calls[] = {
	{ SYS_mmap, { 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, no_fd, 0 } },
	{ SYS_munmap, { 65536, 65536 } },
	{ SYS_madvise, { 65536, 2 << 20, MADV_HUGEPAGE } },
	{ SYS_madvise, { 65536, 65536, MADV_DONTFORK } },
	{ SYS_rt_sigprocmask, { 2, 65536, 65536, 8 } },
	{ SYS_futex, { 65536, 128 } },
	{ SYS_futex, { 65536, 129, 1 } },
	{ SYS_gettid, { 0 } },
	{ SYS_getpid, { 0 } },
	{ SYS_sched_yield, { 0 } },
	{ SYS_sigaltstack, { 0, 65536 } },
	{ SYS_tgkill, { 2, 3, 0 } },
	{ SYS_prlimit64, { 0, 3, 0, 65536 } },
	{ SYS_openat, { (uint64_t)AT_FDCWD, 65536, O_RDONLY | O_CLOEXEC } },
	{ SYS_openat, { (uint64_t)AT_FDCWD, 65536, O_RDWR | O_CLOEXEC | O_NOFOLLOW } },
	{ SYS_read, { 9, 65536, 1024 } },
	{ SYS_close, { 9 } },
	{ SYS_fallocate, { 9, 0, 0, 65536 } },
	{ SYS_clock_gettime, { 1, 65536 } },
	{ SYS_nanosleep, { 65536, 0 } },
	{ SYS_unlinkat, { (uint64_t)AT_FDCWD, 65536, 0 } },
	{ SYS_poll, { 65536, 2, 1000 } },
	{ SYS_accept4, { 9, 0, 0, O_CLOEXEC } },
	{ SYS_recvmsg, { 9, 65536, 64 } },
	{ SYS_sendto, { 9, 65536, 64, 0x4000, 0, 0 } },
	{ SYS_getsockopt, { 9, 1, 17, 65536, 65536 } },
	{ SYS_getdents64, { 9, 65536, 4096 } },
	{ SYS_clone, { 0 } },
	{ SYS_wait4, { 9, 65536, 0x40000001, 0 } },
};

bool ld__filter_ends_us(const struct sock_fprog *filter)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (ends(filter, calls[i].number, calls[i].args))
			return true;
	return false;
}

bool ld__filter_ends_naming(const struct sock_fprog *filter)
{
	static const uint64_t args[6] = { PR_SET_VMA, 0, 65536, 65536, 65536 };

	return ends(filter, SYS_prctl, args);
}
