/* SPDX-License-Identifier: Apache-2.0
 * L3  stop_signal.c - stopping the threads with a signal, where ptrace is refused (containers with an
 * old seccomp profile, a debugger's absence of rights).
 *
 * A real-time signal that the service neither handles nor blocks gets a handler that saves the
 * registers and waits on a futex. Weaker than ptrace in three ways, all reported: threads that block
 * the signal are not stopped; calls that the kernel does not restart after a handler (SA_RESTART or
 * not) are restarted here by hand, which works for those that were asleep when we looked; and
 * relative timeouts of such calls begin anew, except those of nanosleep and epoll_wait.
 *
 * The handler stays installed: a late delivery must find it. It returns at once when no stop is on. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "kernel.h"
#include "stop_private.h"

#define SIGNAL_LAST 64
#define SIGNAL_FIRST 34			/* 32 and 33 belong to libc */
#define SLOTS_MAX 4096u
#define NOTES_MAX 4u
#define RETRY_NS (20 * NS_PER_MS)	/* how long blocked signals are taken for a passing state */

struct slot {
	uint32_t arrived;
	uint32_t restarted, failed;	/* interrupted calls that were mended, that were not */
	struct stop_thread *thread;
	struct stop_syscall call;	/* where it slept before the signal */
	bool was_asleep;
};

/* Handlers may arrive late, so what they look at is static. */
static struct slot slots[SLOTS_MAX];
static uint32_t generation;		/* futex; odd while a stop is on */
static uint32_t arrivals;		/* futex */
static int signal_used;

#define SI_OURS (-1)			/* SI_QUEUE */

/* A call that was restarted once (a debugger came or went) sleeps under the number of restart_syscall;
 * libc's instructions still tell which one it was: mov $number, %eax; syscall. */
static uint32_t number_in_code(uint64_t pc)
{
	const volatile unsigned char *code = (const volatile unsigned char *)(uintptr_t)(pc - 7);

	if (code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
		return SYS_restart_syscall;
	return (uint32_t)code[1] | (uint32_t)code[2] << 8 | (uint32_t)code[3] << 16 |
	       (uint32_t)code[4] << 24;
}

static void mend_call(struct slot *slot, ucontext_t *context)
{
	greg_t *r = context->uc_mcontext.gregs;
	int64_t left;

	if (r[REG_RAX] != -EINTR)
		return;
	if (slot->was_asleep && slot->call.number == SYS_restart_syscall &&
	    slot->call.pc == (uint64_t)r[REG_RIP])
		slot->call.number = number_in_code(slot->call.pc);
	if (!slot->was_asleep || slot->call.pc != (uint64_t)r[REG_RIP] ||
	    slot->call.sp != (uint64_t)r[REG_RSP] || !ld__stop_restartable(slot->call.number)) {
		slot->failed = 1;	/* it may also just have returned EINTR by itself */
		return;
	}
	slot->restarted = 1;
	if (slot->call.number == SYS_nanosleep && r[REG_RSI])
		r[REG_RDI] = r[REG_RSI];	/* the kernel left there what remains */
	left = ld__stop_epoll_left(slot->thread->tid, slot->call.number, (uint64_t)r[REG_R10]);
	if (left >= 0)
		r[REG_R10] = left;
	r[REG_RAX] = slot->call.number;
	r[REG_RIP] -= 2;			/* back to the syscall instruction */
}

/* The rest of a write that was cut short, with the thread's own signals open again. */
static void finish_transfer(const struct slot *slot, ucontext_t *context)
{
	greg_t *r = context->uc_mcontext.gregs;
	uint64_t all = ~0ull, own;
	long moved;

	if (!slot->was_asleep || slot->call.pc != (uint64_t)r[REG_RIP] ||
	    slot->call.sp != (uint64_t)r[REG_RSP] ||
	    !ld__stop_is_cut_short(slot->call.number, r[REG_RAX], (uint64_t)r[REG_RDX],
				   (uint64_t)r[REG_R10]))
		return;
	memcpy(&own, &context->uc_sigmask, sizeof(own));
	kernel_sigmask(SIG_SETMASK, &own, NULL);
	moved = ld__sys6(slot->call.number, r[REG_RDI], r[REG_RSI] + r[REG_RAX],
			 r[REG_RDX] - r[REG_RAX], r[REG_R10], r[REG_R8], r[REG_R9]);
	kernel_sigmask(SIG_SETMASK, &all, NULL);
	if (moved > 0)
		r[REG_RAX] += moved;
}

static void on_stop(int sig, siginfo_t *info, void *data)
{
	ucontext_t *context = data;
	const greg_t *r = context->uc_mcontext.gregs;
	struct slot *slot = info->si_value.sival_ptr, asked;
	uint32_t now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
	struct stop_thread *thread;
	uint64_t fs_base = 0;

	(void)sig;
	if (info->si_code != SI_OURS || slot < slots || slot >= slots + SLOTS_MAX || !(now & 1))
		return;
	thread = slot->thread;
	if (thread->tid != ld__sys_gettid())	/* left over from an earlier stop */
		return;
	mend_call(slot, context);
	asked = *slot;
	ld__sys2(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &fs_base);
	thread->thread_pointer = fs_base;
	thread->sp = (uint64_t)r[REG_RSP];
	memcpy(thread->registers,
	       (uint64_t[STREAM_REGISTERS]){
		       (uint64_t)r[REG_RAX], (uint64_t)r[REG_RBX], (uint64_t)r[REG_RCX],
		       (uint64_t)r[REG_RDX], (uint64_t)r[REG_RSI], (uint64_t)r[REG_RDI],
		       (uint64_t)r[REG_RBP], (uint64_t)r[REG_RSP], (uint64_t)r[REG_R8],
		       (uint64_t)r[REG_R9], (uint64_t)r[REG_R10], (uint64_t)r[REG_R11],
		       (uint64_t)r[REG_R12], (uint64_t)r[REG_R13], (uint64_t)r[REG_R14],
		       (uint64_t)r[REG_R15], (uint64_t)r[REG_RIP], (uint64_t)r[REG_EFL] },
	       sizeof(thread->registers));
	__atomic_store_n(&slot->arrived, 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&arrivals, 1, __ATOMIC_RELEASE);
	kernel_futex(&arrivals, 129 /* FUTEX_WAKE | FUTEX_PRIVATE_FLAG */, 1, NULL);
	while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now)
		kernel_futex(&generation, 128 /* FUTEX_WAIT | FUTEX_PRIVATE_FLAG */, now, NULL);
	finish_transfer(&asked, context);	/* the slot may be another's by now */
}

/* A real-time signal that nobody handles, the one of earlier stops first; 0 = none is free. */
static int choose_signal(void)
{
	struct kernel_sigaction action = {
		.handler = (void *)on_stop,
		.flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
		.mask = ~0ull,
	};
	struct kernel_sigaction now;

	if (signal_used && ld__kernel_sigaction(signal_used, NULL, &now) == 0 &&
	    now.handler == (void *)on_stop)
		return signal_used;
	for (int sig = SIGNAL_LAST; sig >= SIGNAL_FIRST; sig--)
		if (ld__kernel_sigaction(sig, NULL, &now) == 0 && now.handler == (void *)SIG_DFL &&
		    ld__kernel_sigaction(sig, &action, NULL) == 0)
			return signal_used = sig;
	return 0;
}

/* Returns 1, 0, or a negative errno when the thread has ended. */
static int blocks_signal(struct stop *stop, uint32_t tid, int sig)
{
	char text[3072];

	if (ld__stop_read(stop, tid, "status", text, sizeof(text)) <= 0)
		return -ESRCH;
	for (const char *p = text; *p; p++)
		if (p[0] == '\n' && text_starts(p + 1, "SigBlk:\t")) {
			p += 9;
			return ld__text_hex(&p) >> (sig - 1) & 1;
		}
	return -ESRCH;			/* a zombie has no signals */
}

static void ask(struct stop *stop, struct stop_thread *thread, uint32_t index)
{
	struct slot *slot = &slots[index];
	siginfo_t info;
	int blocked;

	memset(slot, 0, sizeof(*slot));
	slot->thread = thread;
	slot->was_asleep = ld__stop_read_syscall(stop, thread->tid, &slot->call);
	if (slot->was_asleep)
		thread->syscall = slot->call.number;
	blocked = blocks_signal(stop, thread->tid, signal_used);
	if (blocked) {
		thread->error = blocked < 0 ? STOP_GONE : -EPERM;
		return;
	}
	memset(&info, 0, sizeof(info));
	info.si_code = SI_OURS;
	info.si_signo = signal_used;
	info.si_value.sival_ptr = slot;
	thread->error =
		(int)ld__sys4(SYS_rt_tgsigqueueinfo, stop->pid, thread->tid, signal_used, &info);
	if (thread->error == -ESRCH)
		thread->error = STOP_GONE;
	else if (!thread->error)
		thread->error = STOP_PENDING;
}

static void list_new(struct stop *stop, uint32_t tid)
{
	struct stop_thread *thread;

	if (ld__stop_is_ours(stop, tid) || ld__stop_find(stop, tid))
		return;
	thread = ld__stop_add(stop, tid);
	if (thread)
		thread->error = STOP_UNTRIED;
	stop->fresh++;
}

static uint32_t still_pending(struct stop *stop)
{
	bool late = kernel_now_ns() - stop->first_ns > RETRY_NS;
	uint32_t pending = 0;

	for (uint32_t i = 0; i < stop->count && i < SLOTS_MAX; i++) {
		struct stop_thread *thread = &stop->threads[i];

		if (thread->error != STOP_PENDING)
			continue;
		if (__atomic_load_n(&slots[i].arrived, __ATOMIC_ACQUIRE)) {
			thread->error = 0;
			thread->stop = STREAM_STOP_SIGNAL;
		} else if (kernel_tgkill((int)stop->pid, (int)thread->tid, 0) == -ESRCH) {
			thread->error = STOP_GONE;
		} else if (late && blocks_signal(stop, thread->tid, signal_used) > 0) {
			thread->error = -ESTALE;	/* it may wait for one that is stopped: let it be */
		} else {
			pending++;
		}
	}
	return pending;
}

/* A thread that begins or ends, or that makes another one, blocks all signals for a moment. Returns
 * whether there is one to be asked again. */
static bool retry_blocked(struct stop *stop)
{
	bool any = false;

	if (kernel_now_ns() - stop->first_ns > RETRY_NS)
		return false;
	for (uint32_t i = 0; i < stop->count; i++)
		if (stop->threads[i].error == -EPERM) {
			stop->threads[i].error = STOP_UNTRIED;
			any = true;
		}
	if (any)
		ld__sys_sleep_ns(NS_PER_MS / 2);
	return any;
}

int ld__stop_signal(struct stop *stop)
{
	struct timespec tick = { 0, 1000000 };
	uint32_t none = stop->refused, failed = 0;

	if (!choose_signal())
		return -EBUSY;
	for (uint32_t i = 0; i < stop->count; i++) {
		stop->threads[i].error = STOP_UNTRIED;
		stop->threads[i].stop = STREAM_STOP_NONE;
	}
	__atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
	stop->signal_stopped = true;
	stop->first_ns = kernel_now_ns();
	do {
		for (uint32_t i = 0; i < stop->count && i < SLOTS_MAX; i++)
			if (stop->threads[i].error == STOP_UNTRIED &&
			    !ld__stop_is_ours(stop, stop->threads[i].tid))
				ask(stop, &stop->threads[i], i);
		for (;;) {
			uint32_t seen = __atomic_load_n(&arrivals, __ATOMIC_ACQUIRE);

			if (!still_pending(stop) || kernel_now_ns() >= stop->deadline_ns)
				break;
			kernel_futex(&arrivals, 128, seen, &tick);
		}
		stop->fresh = 0;
		ld__stop_list(stop, list_new);
	} while ((stop->fresh || retry_blocked(stop)) && kernel_now_ns() < stop->deadline_ns);
	stop->stopped_ns = kernel_now_ns();

	for (uint32_t i = 0; i < stop->count; i++) {
		struct stop_thread *thread = &stop->threads[i];

		if (ld__stop_is_ours(stop, thread->tid) || thread->error == STOP_GONE)
			continue;
		failed += i < SLOTS_MAX && slots[i].failed;
		if (thread->stop == STREAM_STOP_SIGNAL)
			continue;
		if (kernel_tgkill((int)stop->pid, (int)thread->tid, 0) == -ESRCH) {
			thread->error = STOP_GONE;
			continue;
		}
		if (thread->error == STOP_PENDING)
			thread->error = -ETIMEDOUT;
		if (none++ - stop->refused < NOTES_MAX)
			ld__stop_note(stop,
				      "thread %u could not be stopped by a signal and ran on\n",
				      thread->tid);
	}
	if (none - stop->refused > NOTES_MAX)
		ld__stop_note(stop, "so did %u other threads\n", none - stop->refused - NOTES_MAX);
	if (failed)
		ld__stop_note(stop, "%u system calls may have been interrupted by the stop\n",
			      failed);
	return (int)none;
}

void ld__stop_signal_resume(struct stop *stop)
{
	__atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
	kernel_futex(&generation, 129, 1 << 30, NULL);
	stop->resumed_ns = kernel_now_ns();
	stop->signal_stopped = false;
}

void ld__stop_signal_look(struct stop *stop)
{
	for (uint32_t i = 0; i < stop->count; i++) {
		struct stop_thread *thread = &stop->threads[i];
		struct stop_syscall call;

		if (ld__stop_is_ours(stop, thread->tid) ||
		    !ld__stop_read_syscall(stop, thread->tid, &call))
			continue;
		thread->sp = call.sp;
		thread->registers[STREAM_REGISTERS - 2] = call.pc;
		thread->syscall = call.number;
	}
}
