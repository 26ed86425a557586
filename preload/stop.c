/* SPDX-License-Identifier: Apache-2.0
 * L5  stop.c - stopping the world from inside, with ptrace from a process that shares our memory.
 *
 *   agent thread                      tracer process (CLONE_VM, exit signal 0)
 *     clone ------------------------>   SEIZE + INTERRUPT every thread but the agent
 *     waits                             waits for the stops, reads registers, mends -EINTR
 *     <------------------- STOPPED      waits
 *     drain, fork
 *     RESUME ----------------------->   DETACH all, pass on the signals that were on their way
 *     <---------------------- DONE      exits
 *
 * (1) A tracer is needed because a thread cannot trace its own thread group. It shares the agent's
 *     thread pointer, so it uses nothing of libc: system calls and plain memory only.
 * (2) Whatever becomes of the tracer, its end releases every thread: the kernel detaches. It ends with the
 *     thread that made it, whether that was killed or another one called exec: nobody else could tell it
 *     to let go, and the end of a traced process is kept from its parent.
 * (3) No system call of the service fails. The kernel restarts most interrupted calls by itself. The
 *     few that return -EINTR to a thread without a signal (epoll_wait, semop, sigtimedwait, receives
 *     with a timeout, inotify and others) get -ERESTARTNOHAND in its place, which makes the kernel
 *     do what it does for poll: restart the call, or fail it with EINTR if a handler really ran.
 *     epoll_wait's timeout is shortened by the time already waited; other relative timeouts that
 *     the kernel forgets begin anew. Writes that were cut short go on: stop_transfer.c.
 * (4) After INTERRUPT a thread executes no instruction of its own before it stops, so one that
 *     sleeps uninterruptibly in the kernel (or waits for its vfork child) counts as stopped.
 * (5) Thread states: a group-stopped thread stays so after the detach; a thread that a debugger
 *     already traces runs on, and the snapshot says so.
 *
 * Where ptrace is refused, stop_signal.c does it. */
#include "stop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "arena.h"
#include "kernel.h"
#include "ring.h"
#include "stop_filter.h"
#include "stop_private.h"

#define TRACER_STACK_BYTES (64u << 10)
#define TICK_NS (4 * NS_PER_MS)	/* how often a wait looks at its limits */
#define HOLD_NS (60 * NS_PER_S)		/* threads are never held longer, whatever the agent does */
#define KERNEL_ERESTARTNOHAND 514
#define WATCH_NS (10 * NS_PER_MS)	/* how often the agent looks whether the tracer still lives */
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum phase {				/* of struct stop.phase; each side waits for the other's */
	PHASE_GO = 1,			/* agent */
	PHASE_RIGHTS,			/* tracer: ptrace is refused, can you do something about it? */
	PHASE_RETRY,			/* agent: done what can be done */
	PHASE_STOPPED,			/* tracer */
	PHASE_RESUME,			/* agent */
	PHASE_DONE,			/* tracer */
};

static void phase_set(struct stop *stop, uint32_t phase)
{
	__atomic_store_n(&stop->phase, phase, __ATOMIC_RELEASE);
	kernel_futex(&stop->phase, 1 /* FUTEX_WAKE, shared: the tracer is another process */, 1 << 30, NULL);
}

/* Wait until the phase is at least `phase`, at most until `deadline_ns`. Returns the phase. */
static uint32_t phase_wait(struct stop *stop, uint32_t phase, uint64_t deadline_ns)
{
	for (;;) {
		uint32_t now = __atomic_load_n(&stop->phase, __ATOMIC_ACQUIRE);
		struct timespec tick = { 0, TICK_NS };

		if (now >= phase || kernel_now_ns() >= deadline_ns)
			return now;
		kernel_futex(&stop->phase, 0 /* FUTEX_WAIT */, now, &tick);
	}
}

void ld__stop_note(struct stop *stop, const char *note, uint32_t number)
{
	stop->notes_used =
		ld__text_format(stop->notes, sizeof(stop->notes), stop->notes_used, note, number);
}

struct stop_thread *ld__stop_find(struct stop *stop, uint32_t tid)
{
	/* they are asked for in the order of the list, nearly always */
	for (uint32_t n = 0, i = stop->hint; n < stop->count; n++, i++) {
		if (i >= stop->count)
			i = 0;
		if (stop->threads[i].tid == tid) {
			stop->hint = i + 1;
			return &stop->threads[i];
		}
	}
	return NULL;
}

/* Visit the thread ids in /proc/self/task. Returns how many there were, or a negative errno. */
int ld__stop_list(struct stop *stop, void (*visit)(struct stop *stop, uint32_t tid))
{
	struct entry {
		uint64_t inode;
		int64_t offset;
		uint16_t bytes;
		uint8_t type;
		char name[];
	};
	int count = 0;

	ld__sys3(SYS_lseek, stop->task_fd, 0, SEEK_SET);
	for (;;) {
		long got = ld__sys3(SYS_getdents64, stop->task_fd, stop->entries,
				    sizeof(stop->entries));

		if (got <= 0)
			return got < 0 ? (int)got : count;
		for (long at = 0; at < got;) {
			const struct entry *entry =
				(const struct entry *)(const void *)(stop->entries + at);
			const char *digits = entry->name;
			uint32_t tid = (uint32_t)ld__text_decimal(&digits);

			if (tid) {
				visit(stop, tid);
				count++;
			}
			at += entry->bytes;
		}
	}
}

/* Read a small file of one thread. Returns bytes read (NUL-terminated) or a negative errno. */
long ld__stop_read(struct stop *stop, uint32_t tid, const char *file, char *buffer, size_t capacity)
{
	char path[48];
	long got;
	int fd;

	ld__text_format(path, sizeof(path), 0, "%u/%s", tid, file);
	fd = kernel_openat(stop->task_fd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	got = kernel_read(fd, buffer, capacity - 1);
	kernel_close(fd);
	buffer[got > 0 ? got : 0] = 0;
	return got;
}

/* State letter of a thread: R S D T t Z X, 0 = gone. */
static char thread_state(struct stop *stop, uint32_t tid)
{
	char text[128];
	char state = 0;

	if (ld__stop_read(stop, tid, "stat", text, sizeof(text)) <= 0)
		return 0;
	for (const char *p = text; *p; p++)	/* the name may hold parentheses: the last one counts */
		if (p[0] == ')' && p[1] == ' ')
			state = p[2];
	return state;
}

/* "nr a b c d e f sp pc" of a thread that sleeps in the kernel. */
bool ld__stop_read_syscall(struct stop *stop, uint32_t tid, struct stop_syscall *ret_call)
{
	char text[256];
	const char *at = text;
	uint64_t values[8];

	if (ld__stop_read(stop, tid, "syscall", text, sizeof(text)) <= 0 || text[0] < '0' ||
	    text[0] > '9')
		return false;
	ret_call->number = (uint32_t)ld__text_decimal(&at);
	for (int i = 0; i < 8; i++) {
		if (at[0] != ' ' || at[1] != '0' || at[2] != 'x')
			return false;
		at += 3;
		values[i] = ld__text_hex(&at);
	}
	ret_call->sp = values[6];
	ret_call->pc = values[7];
	return true;
}

static void read_name(struct stop *stop, struct stop_thread *thread)
{
	char text[32];
	long got = ld__stop_read(stop, thread->tid, "comm", text, sizeof(text));

	for (long i = 0; i < got && i < 15 && text[i] != '\n'; i++)
		thread->name[i] = text[i];
}

struct stop_thread *ld__stop_add(struct stop *stop, uint32_t tid)
{
	struct stop_thread *thread;

	if (stop->count == stop->capacity) {
		stop->refused++;
		return NULL;
	}
	thread = &stop->threads[stop->count];
	memset(thread, 0, sizeof(*thread));
	thread->tid = tid;
	thread->stop = STREAM_STOP_NONE;
	thread->syscall = STREAM_NONE;
	stop->count++;
	return thread;
}

static void list_named(struct stop *stop, uint32_t tid)
{
	struct stop_thread *thread = ld__stop_add(stop, tid);

	if (thread)
		read_name(stop, thread);
}

static void list_count(struct stop *stop, uint32_t tid)
{
	(void)tid;
	stop->capacity++;
}

struct stop *ld__stop_new(int proc_fd)
{
	struct stop *stop = ld__arena_map(sizeof(*stop));
	int r;

	if (!stop)
		return NULL;
	stop->task_fd = kernel_openat(proc_fd, "self/task", O_RDONLY | O_DIRECTORY, 0);
	if (stop->task_fd < 0)
		goto fail;
	stop->self_tid = stop->agent_tid = ld__sys_gettid();
	stop->pid = ld__sys_getpid();
	r = ld__stop_list(stop, list_count);
	if (r <= 0)
		goto fail;
	stop->capacity = stop->capacity * 2 + 256;
	stop->threads = ld__arena_map(stop->capacity * sizeof(*stop->threads));
	if (!stop->threads)
		goto fail;
	ld__stop_list(stop, list_named);
	stop->deadly = ld__stop_filter_is_deadly(proc_fd);
	return stop;
fail:
	ld__stop_free(stop);
	return NULL;
}

void ld__stop_free(struct stop *stop)
{
	if (!stop)
		return;
	ld__stop_resume(stop);
	if (stop->task_fd > 0)
		kernel_close(stop->task_fd);
	if (stop->threads)
		ld__arena_unmap(stop->threads, stop->capacity * sizeof(*stop->threads));
	if (stop->tracer_stack)
		ld__arena_unmap(stop->tracer_stack, TRACER_STACK_BYTES);
	ld__arena_unmap(stop, sizeof(*stop));
}

uint32_t ld__stop_count(const struct stop *stop)
{
	return stop->count;
}

const struct stop_thread *ld__stop_thread(const struct stop *stop, uint32_t index)
{
	const struct stop_thread *thread = &stop->threads[index];

	return thread->error == STOP_GONE ? NULL : thread;
}

const char *ld__stop_notes(const struct stop *stop)
{
	return stop->notes;
}

void ld__stop_times(const struct stop *stop, uint64_t *ret_first_ns, uint64_t *ret_stopped_ns)
{
	*ret_first_ns = stop->first_ns;
	*ret_stopped_ns = stop->stopped_ns;
}

/* ---- the tracer process; see (1) ---- */

/* May an interrupted call be restarted? close(2) has closed even when it says EINTR. */
bool ld__stop_restartable(uint64_t number)
{
	return number != SYS_close && number != SYS_restart_syscall;
}

/* Milliseconds that an epoll_wait of `tid` has left, or -1 when that is not known. */
int64_t ld__stop_epoll_left(uint32_t tid, uint64_t number, uint64_t timeout_ms)
{
	uint64_t waited_ns;
	int64_t asked_ms, waited_ms;

	if ((number != SYS_epoll_wait && number != SYS_epoll_pwait) || (int32_t)timeout_ms <= 0 ||
	    ld__ring_wait_of(tid, &waited_ns, &asked_ms) <= 0 || asked_ms < (int32_t)timeout_ms)
		return -1;
	waited_ms = (int64_t)(waited_ns / NS_PER_MS);
	return waited_ms >= asked_ms ? 0 : asked_ms - waited_ms;
}

static void read_registers(struct stop *stop, struct stop_thread *thread)
{
	struct user_regs_struct r;
	int64_t left;

	if (ld__sys4(SYS_ptrace, PTRACE_GETREGS, thread->tid, 0, &r) < 0)
		return;
	if ((int64_t)r.orig_rax >= 0)
		thread->syscall = (uint32_t)r.orig_rax;
	if ((int64_t)r.orig_rax >= 0 && (int64_t)r.rax == -EINTR &&
	    ld__stop_restartable(r.orig_rax)) {
		r.rax = (unsigned long long)-(int64_t)KERNEL_ERESTARTNOHAND;
		left = ld__stop_epoll_left(thread->tid, r.orig_rax, r.r10);
		if (left >= 0)
			r.r10 = (unsigned long long)left;
		ld__sys4(SYS_ptrace, PTRACE_SETREGS, thread->tid, 0, &r);
	}
	thread->sp = r.rsp;
	thread->thread_pointer = r.fs_base;
	memcpy(thread->registers,
	       (uint64_t[STREAM_REGISTERS]){ r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp,
					     r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15,
					     r.rip, r.eflags },
	       sizeof(thread->registers));
	if (!thread->pass_on && (int64_t)r.orig_rax >= 0 &&
	    ld__stop_finish_transfer(stop, thread->tid, &r))
		ld__sys4(SYS_ptrace, PTRACE_SETREGS, thread->tid, 0, &r);
}

/* SEIZE and INTERRUPT one thread that is not yet known to this pass. */
static void seize(struct stop *stop, uint32_t tid)
{
	struct stop_thread *thread = ld__stop_find(stop, tid);
	long r;

	if (ld__stop_is_ours(stop, tid) || (thread && thread->error != STOP_UNTRIED))
		return;
	if (!thread) {
		thread = ld__stop_add(stop, tid);
		if (!thread)
			return;
		stop->fresh++;
	}
	r = ld__sys4(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0);
	if (r == -EPERM && !stop->rights_asked && thread_state(stop, tid) != 'Z') {
		stop->rights_asked = true;
		phase_set(stop, PHASE_RIGHTS);
		phase_wait(stop, PHASE_RETRY, stop->deadline_ns);
		r = ld__sys4(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0);
	}
	if (r < 0) {
		char state = thread_state(stop, tid);

		thread->error = state == 'Z' || state == 'X' || !state ? STOP_GONE : (int)r;
		return;
	}
	thread->error = STOP_PENDING;
	ld__sys4(SYS_ptrace, PTRACE_INTERRUPT, tid, 0, 0);
}

/* What a thread that does not come has to say for itself. */
static void look_at(struct stop *stop, struct stop_thread *thread, bool give_up)
{
	struct stop_syscall call;
	char state = thread_state(stop, thread->tid);

	if (state == 'D') {
		thread->stop = STREAM_STOP_PTRACE;
		thread->error = 0;
		thread->in_kernel = 1;
		if (ld__stop_read_syscall(stop, thread->tid, &call)) {
			thread->sp = call.sp;
			thread->registers[STREAM_REGISTERS - 2] = call.pc;
			thread->syscall = call.number;
		}
	} else if (!state || state == 'Z' || state == 'X') {
		thread->error = STOP_GONE;
	} else if (give_up) {
		thread->error = -ETIMEDOUT;
	}
}

/* A signal that was about to be delivered must be passed on at the detach; a group stop re-enters by itself. */
static void note_stop(struct stop_thread *thread, int status)
{
	thread->pass_on = status >> 16 == PTRACE_EVENT_STOP ? 0 : (uint16_t)WSTOPSIG(status);
}

/* One by one: the kernel finds the one that is named at once, and any one by looking through them all. */
static void wait_for(struct stop *stop, struct stop_thread *thread)
{
	while (thread->error == STOP_PENDING) {
		bool late = kernel_now_ns() >= stop->deadline_ns;
		int status = 0;
		long tid = ld__sys4(SYS_wait4, thread->tid, &status, late ? __WALL | WNOHANG : __WALL, 0);

		if (tid != (long)thread->tid) {		/* the tick, or it is gone */
			look_at(stop, thread, late || tid == -ECHILD);
			continue;
		}
		if (!WIFSTOPPED(status)) {
			thread->error = STOP_GONE;
			continue;
		}
		thread->error = 0;
		thread->stop = STREAM_STOP_PTRACE;
		note_stop(thread, status);
		read_registers(stop, thread);
	}
}

static void on_tick(int sig)
{
	(void)sig;			/* its only purpose is the EINTR of the tracer's own wait4 */
}

static int tracer_main(struct stop *stop)
{
	struct kernel_sigaction action = { .handler = (void *)on_tick };
	struct itimerval tick = { { 0, TICK_NS / 1000 }, { 0, TICK_NS / 1000 } };
	uint64_t all_but_tick = ~(1ull << (SIGALRM - 1));

	/* Handlers are this process's own copy, and so is its timer. */
	ld__kernel_sigaction(SIGALRM, &action, NULL);
	kernel_sigmask(SIG_SETMASK, &all_but_tick, NULL);
	ld__sys3(SYS_setitimer, ITIMER_REAL, &tick, 0);
	ld__sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);	/* (2) */
	if (kernel_tgkill((int)stop->pid, (int)stop->self_tid, 0) == -ESRCH)
		return 1;		/* it ended before that */

	if (phase_wait(stop, PHASE_GO, stop->deadline_ns) < PHASE_GO)
		return 1;
	stop->first_ns = kernel_now_ns();
	for (uint32_t i = 0; i < stop->count; i++)
		seize(stop, stop->threads[i].tid);
	do {				/* a thread that was not stopped yet may have made another */
		for (uint32_t i = 0; i < stop->count; i++)
			wait_for(stop, &stop->threads[i]);
		stop->fresh = 0;
		ld__stop_list(stop, seize);
	} while (stop->fresh && kernel_now_ns() < stop->deadline_ns);
	stop->stopped_ns = kernel_now_ns();
	phase_set(stop, PHASE_STOPPED);

	phase_wait(stop, PHASE_RESUME, kernel_now_ns() + HOLD_NS);
	for (uint32_t i = 0; i < stop->count; i++) {
		struct stop_thread *thread = &stop->threads[i];
		int status;

		if (thread->stop != STREAM_STOP_PTRACE)
			continue;
		if (thread->in_kernel &&
		    ld__sys4(SYS_wait4, thread->tid, &status, __WALL | WNOHANG, 0) > 0 &&
		    WIFSTOPPED(status))
			note_stop(thread, status);
		ld__sys4(SYS_ptrace, PTRACE_DETACH, thread->tid, 0, thread->pass_on);
	}
	stop->resumed_ns = kernel_now_ns();
	phase_set(stop, PHASE_DONE);
	return 0;			/* (2) */
}

/* ---- the agent's side ---- */

/* clone(2) onto another stack; the child runs function(argument) and ends with its result. */
static long clone_onto(unsigned long flags, void *stack_end, int (*function)(struct stop *),
		       struct stop *argument)
{
	long ret;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	void **top = stack_end;

	*--top = (void *)function;
	*--top = argument;
	__asm__ volatile("syscall\n"
			 "	test %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n" /* end of the stack for unwinders */
			 "	pop %%rdi\n"
			 "	pop %%rax\n"
			 "	call *%%rax\n"
			 "	mov %%eax, %%edi\n"
			 "	mov %[exit], %%eax\n"
			 "	syscall\n"
			 "	hlt\n"
			 "1:\n"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(flags), "S"(top), "d"(0), "r"(r10),
			   "r"(r8), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory");
	return ret;
}

/* The kernel refuses to trace a process that changed its user (not dumpable) or that Yama guards.
 * Both are the process's own to allow; both are put back. */
static void grant_rights(struct stop *stop)
{
	stop->dumpable = (int)ld__sys5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	if (stop->dumpable == 2)	/* fs.suid_dumpable: only the kernel can set that */
		ld__stop_note(stop,
			      "core dumps of process %u, which root could have had, are off from "
			      "now on\n",
			      stop->pid);
	if (stop->dumpable != 1)
		ld__sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	stop->ptracer_set = ld__sys5(SYS_prctl, PR_SET_PTRACER, stop->tracer, 0, 0, 0) == 0;
	stop->rights_granted = true;
}

static void withdraw_rights(struct stop *stop)
{
	if (!stop->rights_granted)
		return;
	if (stop->dumpable != 1)
		ld__sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (stop->ptracer_set)
		ld__sys5(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0);
	stop->rights_granted = false;
}

/* A filter of system calls may have ended it. */
static bool tracer_lives(const struct stop *stop)
{
	siginfo_t info;

	info.si_pid = 0;
	return ld__sys5(SYS_waitid, P_PID, stop->tracer, &info, WEXITED | WNOHANG | WNOWAIT | __WALL, 0) == 0 &&
	       !info.si_pid;
}

/* Wait for the tracer to come to a phase, as long as it lives. */
static uint32_t await_tracer(struct stop *stop, uint32_t phase, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now = kernel_now_ns();
		uint32_t met = phase_wait(stop, phase, now + WATCH_NS < deadline_ns ? now + WATCH_NS : deadline_ns);

		if (met >= phase || kernel_now_ns() >= deadline_ns)
			return met;
		if (!tracer_lives(stop))
			return __atomic_load_n(&stop->phase, __ATOMIC_ACQUIRE);
	}
}

static void end_tracer(struct stop *stop)
{
	uint64_t deadline = kernel_now_ns() + NS_PER_S;

	while (kernel_now_ns() < deadline) {
		long r = ld__sys4(SYS_wait4, stop->tracer, 0, __WALL | WNOHANG, 0);

		if (r == stop->tracer || r == -ECHILD)
			break;
		ld__sys_sleep_ns(20000);
		if (kernel_now_ns() + NS_PER_S / 2 > deadline)
			ld__sys2(SYS_kill, stop->tracer, SIGKILL);
	}
	stop->tracer = 0;
}

static int stop_by_ptrace(struct stop *stop)
{
	long pid;
	uint32_t phase, none = 0, refused = 0;

	stop->tracer_stack = ld__arena_map(TRACER_STACK_BYTES);
	if (!stop->tracer_stack)
		return -ENOMEM;
	for (uint32_t i = 0; i < stop->count; i++)
		stop->threads[i].error = STOP_UNTRIED;
	pid = clone_onto(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
			 (char *)stop->tracer_stack + TRACER_STACK_BYTES, tracer_main, stop);
	if (pid < 0)
		return (int)pid;
	stop->tracer = (int)pid;
	phase_set(stop, PHASE_GO);
	phase = await_tracer(stop, PHASE_RIGHTS, stop->deadline_ns + NS_PER_S);
	if (phase == PHASE_RIGHTS) {
		grant_rights(stop);
		phase_set(stop, PHASE_RETRY);
		phase = await_tracer(stop, PHASE_STOPPED, stop->deadline_ns + NS_PER_S);
		withdraw_rights(stop);
	}
	if (phase < PHASE_STOPPED) {	/* the tracer died or hangs; its end releases all */
		ld__sys2(SYS_kill, stop->tracer, SIGKILL);
		end_tracer(stop);
		return -ETIMEDOUT;
	}
	for (uint32_t i = 0; i < stop->count; i++) {
		struct stop_thread *thread = &stop->threads[i];

		if (ld__stop_is_ours(stop, thread->tid) || thread->error == STOP_GONE)
			continue;
		if (thread->stop == STREAM_STOP_PTRACE)
			continue;
		none++;
		refused += thread->error == -EPERM;
		if (thread->error == -ETIMEDOUT)
			ld__stop_note(stop, "thread %u did not stop in time and ran on\n",
				      thread->tid);
	}
	if (refused && refused == none && none >= stop->count - 1) {
		ld__stop_resume(stop);
		return -EPERM;
	}
	if (refused)
		ld__stop_note(stop, "%u threads are traced by a debugger and ran on\n", refused);
	return (int)(none + stop->refused);
}

uint64_t ld__stop_resume(struct stop *stop)
{
	if (stop->tracer) {
		phase_set(stop, PHASE_RESUME);
		if (await_tracer(stop, PHASE_DONE, kernel_now_ns() + 2 * NS_PER_S) < PHASE_DONE)
			stop->resumed_ns = 0;
		end_tracer(stop);
	} else if (stop->signal_stopped) {
		ld__stop_signal_resume(stop);
	}
	if (!stop->resumed_ns)
		stop->resumed_ns = kernel_now_ns();
	return stop->resumed_ns;
}

static void settle(struct stop *stop)
{
	for (uint32_t i = 0; i < stop->count; i++) {
		struct stop_thread *thread = &stop->threads[i];

		if (thread->error == STOP_UNTRIED)
			thread->error = 0;
		if (ld__stop_is_ours(stop, thread->tid))
			thread->stop = STREAM_STOP_SELF;
	}
}

int ld__stop_threads(struct stop *stop, enum stop_means means, uint64_t timeout_ns)
{
	int r = -EPERM;

	stop->self_tid = ld__sys_gettid();
	stop->deadline_ns = kernel_now_ns() + timeout_ns;
	if (means == STOP_AUTO || means == STOP_BY_PTRACE) {
		r = stop->deadly ? -EPERM : stop_by_ptrace(stop);
		if (r < 0)
			stop->resumed_ns = 0;
		if (r < 0 && means == STOP_AUTO)
			ld__stop_note(stop,
				      "ptrace is refused here (error %u); threads were stopped by "
				      "a signal\n",
				      (uint32_t)-r);
	}
	if (means == STOP_BY_SIGNAL || (means == STOP_AUTO && r < 0)) {
		stop->deadline_ns = kernel_now_ns() + timeout_ns;
		r = ld__stop_signal(stop);
	}
	if (r < 0 || means == STOP_NOT) {
		stop->first_ns = stop->stopped_ns = kernel_now_ns();
		ld__stop_signal_look(stop);
		ld__stop_note(
			stop,
			"the threads could not be stopped: %u ran on while the memory was copied\n",
			stop->count - 1);
		r = (int)stop->count - 1;
	}
	settle(stop);
	return r;
}
