/* SPDX-License-Identifier: Apache-2.0
 * L7  agent.c - the guest thread: its life, its descriptors, its loop.
 *
 *   start (any thread) --> own stack, all signals blocked --> own descriptor table and directory
 *        ^                                                         |
 *        |                                                         v
 *   stop (any thread)  <------------- poll: socket, wake-up, timer, threshold, children
 *
 * (1) The thread unshares its descriptor table and file-system view first of all and closes what it
 *     copied. A service that closes every descriptor, changes root or counts its descriptors neither
 *     harms nor sees it, no pipe is held open by it, no lock is lost by its closing, and the snapshot
 *     children that are cloned from it inherit four descriptors. Containers refuse unshare(2) (Docker's
 *     default does); the table alone is then had by close_range(2). Where that is refused as well the
 *     agent lives on the service's table, where any of its numbers may be another file at any time: it has
 *     as few as it can and looks at each before it uses it.
 * (2) Its stack is our own memory, which holds its thread-local storage too: never a root.
 * (3) It holds the guard for ever, so nothing that it does is recorded.
 * (4) Other threads wake it with a signal that only its own descriptor ever sees (blocked, read
 *     through signalfd), since no descriptor of its table can be written from another table. On the
 *     service's table there is no such descriptor, for what is read from it may be the service's: the agent
 *     looks for itself, some times a second.
 * (5) Signals 32 and 33 stay open: libc's setuid() waits for every thread's answer to them. */
#include "agent.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/poll.h>
#include <sys/stat.h>

#include "agent_private.h"
#include "arena.h"
#include "clock.h"
#include "config.h"
#include "guard.h"
#include "jemalloc.h"
#include "kernel.h"
#include "process.h"
#include "rights.h"
#include "snapshot.h"
#include "stop_filter.h"
#include "stream.h"

#define STACK_BYTES (256ul << 10)
#define WAKE_SIGNAL SIGURG		/* ignored by default: harmless wherever it might end up */
#define STOP_WAIT_NS (12 * NS_PER_S)	/* a snapshot that began is finished first */
#define REQUEST_WAIT_NS (30 * NS_PER_S)
#define EXIT_WAIT_NS (600 * NS_PER_S)	/* at exit the snapshot must be whole before the process goes */
#define OPEN_WAIT_NS (500 * NS_PER_MS)
#define CHILD_POLL_MS 100
#define RSS_POLL_MS 1000
#define SHARED_POLL_MS 100		/* without a descriptor to be woken by */
#define ALONE_POLL_MS 1000		/* how long a process whose threads have all ended may outlive them */
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#define LIBC_SIGNALS (3ull << 31)	/* 32 and 33 */

enum { MIRROR_FREE, MIRROR_TAKEN, MIRROR_ASKED, MIRROR_DONE, MIRROR_FAILED };
enum { AGENT_NONE, AGENT_STARTING, AGENT_RUNNING };

/* Which file a descriptor was when it was opened. */
struct identity {
	uint64_t device, inode;
};

static struct {
	uint32_t state;			/* futex */
	uint32_t opened;		/* futex; 1 = it has found its way to /proc and to the folder */
	uint32_t stop_wanted;
	uint32_t tid;
	uint32_t request;		/* snapshot wanted by another thread: trigger + 1, 0 = none */
	uint32_t served;		/* futex; requests served so far */
	void *stack;			/* kept for the next life */
	bool private, own_view;		/* (1): the table is its own, the root and the current folder are */
	struct identity proc, folder, listener;	/* of the descriptors */
	int proc_fd, folder_fd, signal_fd, listen_fd;
	uint32_t mirror;		/* futex, MIRROR_* */
	struct rights rights;		/* of whoever asked */
	uint64_t due_ns;		/* next snapshot of the timer */
	bool late;			/* recording began after the process had run without */
	uint64_t capture_birth;
	char environment[8192];
	size_t environment_bytes;
} agent = { .proc_fd = -1, .folder_fd = -1, .signal_fd = -1, .listen_fd = -1 };

int ld__agent_proc_fd(void)
{
	return agent.proc_fd;
}

int ld__agent_folder_fd(void)
{
	return agent.folder_fd;
}

bool ld__agent_has_own_view(void)
{
	return agent.own_view;
}

/* ---- settings that only tests need ---- */

static void read_environment(void)
{
	int fd = kernel_openat(agent.proc_fd, "thread-self/environ", O_RDONLY, 0);
	size_t kept = 0, at = 0;
	char *text = agent.environment;

	if (fd < 0)
		return;
	/* Keep what begins with LEAKDIFF_, whatever the size of the rest. */
	for (;;) {
		long n = kernel_read(fd, text + at, sizeof(agent.environment) - 1 - at);
		size_t end = n > 0 ? at + (size_t)n : at, start = kept;

		for (size_t i = kept; i < end; i++) {
			if (text[i])
				continue;
			if (text_starts(text + start, "LEAKDIFF_")) {
				memmove(text + kept, text + start, i + 1 - start);
				kept += i + 1 - start;
			}
			start = i + 1;
		}
		memmove(text + kept, text + start, end - start);
		at = kept + (end - start);
		if (n <= 0 || at >= sizeof(agent.environment) - 1)
			break;
	}
	agent.environment_bytes = kept;
	kernel_close(fd);
}

const char *ld__agent_setting(const char *name)
{
	size_t length = text_length(name);

	for (size_t at = 0; at < agent.environment_bytes;
	     at += text_length(agent.environment + at) + 1)
		if (text_starts(agent.environment + at, name) &&
		    agent.environment[at + length] == '=')
			return agent.environment + at + length + 1;
	return NULL;
}

/* ---- messages ---- */

/* The service's standard error as it is now. */
static int borrow_stderr(void)
{
	long pidfd, fd = -ENOSYS;

	pidfd = ld__stop_filter_is_deadly(agent.proc_fd) ? -EPERM : ld__sys2(SYS_pidfd_open, ld__sys_getpid(), 0);
	if (pidfd >= 0) {
		fd = ld__sys3(SYS_pidfd_getfd, pidfd, 2, 0);
		kernel_close((int)pidfd);
	}
	if (fd < 0)			/* before Linux 5.6, or behind a filter; works for files, pipes and terminals */
		fd = kernel_openat(agent.proc_fd, "self/fd/2",
				   O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK, 0);
	return (int)fd;
}

static char word[512];			/* what a thread of the service is to say for us, NUL-terminated */
static uint32_t word_left;

/* A socket that cannot be borrowed: the service's next event says it. One sentence at a time. */
static void leave_word(const char *sentence)
{
	if (__atomic_load_n(&word_left, __ATOMIC_ACQUIRE))
		return;
	ld__text_format(word, sizeof(word), 0, "%s", sentence);
	__atomic_store_n(&word_left, 1, __ATOMIC_RELEASE);
	ld__process_agent_wanted();
}

void ld__agent_pass_word(void)
{
	if (__atomic_load_n(&word_left, __ATOMIC_ACQUIRE) == 1) {
		ld__say("%s", word);
		__atomic_store_n(&word_left, 0, __ATOMIC_RELEASE);
	}
}

void ld__agent_say(const char *format, ...)
{
	static char line[1024];
	va_list args;
	size_t used, prefix;
	int fd = agent.private ? borrow_stderr() : 2;

	used = prefix = ld__text_format(line, sizeof(line) - 1, 0, "libleakdiff: ");
	va_start(args, format);
	used = ld__text_vformat(line, sizeof(line) - 1, used, format, args);
	va_end(args);
	if (fd < 0) {
		leave_word(line + prefix);
		return;
	}
	line[used++] = '\n';
	kernel_write(fd, line, used);
	if (agent.private)
		kernel_close(fd);
}

/* ---- capture, as snapshots tell it ---- */

bool ld__agent_saw_everything(void)
{
	return !agent.late && ld__config()->start_on && !ld__capture_stale();
}

uint64_t ld__agent_capture_birth(void)
{
	struct stream_clock first;

	if (agent.capture_birth)
		return agent.capture_birth;
	ld__clock_first(&first);
	return first.birth;
}

bool ld__agent_records(void)
{
	return ld__jemalloc_used() ? ld__jemalloc_is_active() : ld__capture_on();
}

const char *ld__agent_capture_state(void)
{
	return ld__agent_records() ? "on" : ld__capture_stale() || ld__jemalloc_used() ? "stopped" : "off";
}

bool ld__agent_has_something(void)
{
	return ld__capture_on() || ld__capture_stale() || ld__jemalloc_used();
}

void ld__agent_capture_set(bool on)
{
	if (on && !ld__agent_records()) {
		agent.late = true;
		agent.capture_birth = ld__clock_now();
	}
	if (ld__jemalloc_used())
		ld__jemalloc_set_active(on);
	else
		ld__capture_set(on);
}

/* ---- the thread ---- */

/* (1) */
static void unshare_files(void)
{
	agent.own_view = agent.private = ld__sys1(SYS_unshare, CLONE_FILES | CLONE_FS) == 0;
	if (agent.private)
		kernel_close_from(0);
	else
		agent.private = ld__sys3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0;
	if (agent.own_view)
		ld__sys1(SYS_umask, 0077);
	for (int fd = 0; agent.private && fd < 3; fd++)
		kernel_openat(AT_FDCWD, "/dev/null", O_RDWR, 0);
}

static bool identify(int fd, struct identity *ret_identity)
{
	struct stat now;

	if (fd < 0 || ld__sys2(SYS_fstat, fd, &now) < 0)
		return false;
	*ret_identity = (struct identity){ now.st_dev, now.st_ino };
	return true;
}

/* On a shared table the service may have closed our descriptors and opened its own in their place. */
static bool still_ours(int fd, const struct identity *then)
{
	struct identity now;

	return identify(fd, &now) && now.device == then->device && now.inode == then->inode;
}

static void open_proc(void)
{
	agent.proc_fd = kernel_openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);
	identify(agent.proc_fd, &agent.proc);
}

static void open_folder(void)
{
	if (!ld__config()->folder[0])
		return;
	agent.folder_fd = kernel_openat(AT_FDCWD, ld__config()->folder, O_RDONLY | O_DIRECTORY, 0);
	identify(agent.folder_fd, &agent.folder);
}

static void open_listener(void)
{
	agent.listen_fd = ld__control_listen(agent.folder_fd);
	identify(agent.listen_fd, &agent.listener);
}

static void open_files(void)
{
	uint64_t wake = 1ull << (WAKE_SIGNAL - 1);

	open_proc();
	open_folder();
	__atomic_store_n(&agent.opened, 1, __ATOMIC_RELEASE);
	kernel_futex(&agent.opened, 129 /* FUTEX_WAKE | FUTEX_PRIVATE_FLAG */, 1, NULL);
	if (agent.private)
		agent.signal_fd = (int)ld__sys4(SYS_signalfd4, -1, &wake, 8, O_CLOEXEC | O_NONBLOCK);
	open_listener();
}

static void check_files(void)
{
	if (agent.private)
		return;
	if (!still_ours(agent.proc_fd, &agent.proc))
		open_proc();
	if (!still_ours(agent.folder_fd, &agent.folder))
		open_folder();
	if (!still_ours(agent.listen_fd, &agent.listener))
		open_listener();
}

static void close_files(void)
{
	ld__control_unlink(agent.folder_fd);
	if (agent.private) {
		kernel_close_from(0);
	} else {
		check_files();
		kernel_close(agent.listen_fd);
		kernel_close(agent.folder_fd);
		kernel_close(agent.proc_fd);
	}
	agent.proc_fd = agent.folder_fd = agent.signal_fd = agent.listen_fd = -1;
}

/* Snapshot on the library's own account; messages for a person go to the service's standard error. */
static void snapshot_unasked(enum snapshot_trigger trigger)
{
	struct snapshot_request request = {
		.trigger = trigger, .fd = -1, .max_pause_ns = ld__config()->max_pause_ns,
	};
	struct snapshot_result result;

	if (!ld__agent_has_something())
		return;			/* dormant: there is nothing to see */
	if (ld__snapshot_take(&request, &result) < 0)
		ld__agent_say("no snapshot: %s", result.error);
	else if (ld__config()->log > 0)
		ld__agent_say("snapshot %u: the service stood still for %lu us", result.number,
			      (unsigned long)(result.pause_ns / 1000));
}

static void serve_request(void)
{
	uint32_t request = __atomic_load_n(&agent.request, __ATOMIC_ACQUIRE);

	if (!request)
		return;
	snapshot_unasked((enum snapshot_trigger)(request - 1));
	if (request - 1 == SNAPSHOT_EXIT)
		ld__snapshot_reap(EXIT_WAIT_NS);
	__atomic_store_n(&agent.request, 0, __ATOMIC_RELEASE);
	__atomic_add_fetch(&agent.served, 1, __ATOMIC_RELEASE);
	kernel_futex(&agent.served, 129 /* FUTEX_WAKE | FUTEX_PRIVATE_FLAG */, 1 << 30, NULL);
}

static void serve_mirror(void)
{
	if (__atomic_load_n(&agent.mirror, __ATOMIC_ACQUIRE) != MIRROR_ASKED)
		return;
	__atomic_store_n(&agent.mirror,
			 ld__rights_take(&agent.rights) ? MIRROR_DONE : MIRROR_FAILED,
			 __ATOMIC_RELEASE);
	kernel_futex(&agent.mirror, 129, 1, NULL);
}

static void serve_triggers(void)
{
	uint64_t now = kernel_now_ns();

	serve_request();
	if (agent.due_ns && now >= agent.due_ns) {
		snapshot_unasked(SNAPSHOT_TIMER);
		while (agent.due_ns <= kernel_now_ns())
			agent.due_ns += ld__config()->every_ns;
	}
	if (ld__trigger_rss_reached())
		snapshot_unasked(SNAPSHOT_RSS);
}

static int poll_timeout(void)
{
	uint64_t now = kernel_now_ns(), ms = UINT64_MAX;

	if (ld__snapshot_child_pid())
		ms = CHILD_POLL_MS;
	if (ld__trigger_rss_wanted() && ms > RSS_POLL_MS)
		ms = RSS_POLL_MS;
	if (!agent.private && ms > SHARED_POLL_MS)
		ms = SHARED_POLL_MS;	/* (4) */
	if (agent.due_ns) {
		uint64_t left = agent.due_ns > now ? (agent.due_ns - now) / NS_PER_MS + 1 : 0;

		if (left < ms)
			ms = left;
	}
	return ms > ALONE_POLL_MS ? ALONE_POLL_MS : (int)ms;
}

/* Have all threads of the service ended, the main one by pthread_exit()? Then the process lives for our
 * sake alone, and ends with us as it would have ended with the last of them. */
static bool left_alone(void)
{
	char text[4096];
	const char *state, *threads;

	ld__kernel_slurp(agent.proc_fd, "self/status", text, sizeof(text));
	state = ld__text_value(text, "State:");
	threads = ld__text_value(text, "Threads:");
	return state && *state == 'Z' && threads && ld__text_decimal(&threads) == 2;
}

static void loop(void)
{
	bool filter_known = false;

	while (!__atomic_load_n(&agent.stop_wanted, __ATOMIC_ACQUIRE)) {
		struct pollfd fds[2];
		char signals[128];
		long r;

		check_files();
		fds[0] = (struct pollfd) { .fd = agent.signal_fd, .events = POLLIN };
		fds[1] = (struct pollfd) { .fd = agent.listen_fd, .events = POLLIN };
		ld__clock_keep();	/* only while this wait, a second at most, is all that we do */
		r = ld__sys3(SYS_poll, fds, 2, poll_timeout());
		ld__clock_drop();
		if (r > 0 && fds[0].revents & POLLIN)
			kernel_read(agent.signal_fd, signals, sizeof(signals));
		if (r == 0 && left_alone())
			break;
		if (r == 0 && !filter_known) {	/* asked while the process is small */
			ld__stop_filter_is_deadly(agent.proc_fd);
			filter_known = true;
		}
		check_files();		/* poll(2) may have looked at another file than it began with */
		serve_mirror();
		ld__snapshot_reap(0);
		if (__atomic_load_n(&agent.stop_wanted, __ATOMIC_ACQUIRE))
			break;
		if (r > 0 && fds[1].revents & POLLIN)
			ld__control_serve(agent.listen_fd);
		serve_triggers();
	}
	serve_request();		/* whoever asked must not wait for ever */
}

static void set_state(uint32_t state)
{
	__atomic_store_n(&agent.state, state, __ATOMIC_RELEASE);
	kernel_futex(&agent.state, 129, 1 << 30, NULL);
}

static void wake(void)
{
	if (agent.tid)
		kernel_tgkill((int)ld__sys_getpid(), (int)agent.tid, WAKE_SIGNAL);
}

/* LEAKDIFF_SIGNAL: runs in whatever thread of the service the kernel chooses, so it only leaves word. */
static void on_signal(int sig)
{
	uint32_t none = 0;

	(void)sig;
	__atomic_compare_exchange_n(&agent.request, &none, SNAPSHOT_SIGNAL + 1, false,
				    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	wake();
}

/* Only where the service does not handle it: its own handler, earlier or later, always wins. */
static void catch_signal(void)
{
	struct kernel_sigaction action = { .handler = (void *)on_signal,
					   .flags = SA_RESTART | SA_ONSTACK };
	struct kernel_sigaction now;
	int sig = ld__config()->signal;

	if (!sig || ld__kernel_sigaction(sig, NULL, &now) < 0 || now.handler == action.handler)
		return;
	if (now.handler != (void *)SIG_DFL && now.handler != (void *)SIG_IGN) {
		ld__agent_say("LEAKDIFF_SIGNAL=%d: the program handles this signal itself, so it "
			      "takes no snapshot",
			      sig);
		return;
	}
	if (ld__kernel_sigaction(sig, &action, NULL) < 0)
		ld__agent_say("LEAKDIFF_SIGNAL=%d: this signal cannot be caught", sig);
}

static void *agent_main(void *unused)
{
	(void)unused;
	ld__guard_own_thread();
	unshare_files();
	ld__sys5(SYS_prctl, PR_SET_NAME, "leakdiff", 0, 0, 0);
	agent.tid = ld__sys_gettid();
	open_files();
	read_environment();
	if (ld__config()->every_ns)
		agent.due_ns = kernel_now_ns() + ld__config()->every_ns;
	catch_signal();
	set_state(AGENT_RUNNING);
	loop();
	close_files();
	set_state(AGENT_NONE);
	return NULL;
}

/* Has the thread `tid` of this process really gone, so that its stack may be used again? */
static bool is_gone(uint32_t tid)
{
	return !tid || kernel_tgkill((int)ld__sys_getpid(), (int)tid, 0) == -ESRCH;
}

/* The caller may change root or rights as its next act: what the agent needs of the world as it is now
 * it must have by then. It holds no lock and asks for none. */
static void await_opened(void)
{
	uint64_t deadline = kernel_now_ns() + OPEN_WAIT_NS;

	while (!__atomic_load_n(&agent.opened, __ATOMIC_ACQUIRE) && kernel_now_ns() < deadline) {
		struct timespec tick = { 0, 10 * NS_PER_MS };

		kernel_futex(&agent.opened, 128 /* FUTEX_WAIT | FUTEX_PRIVATE_FLAG */, 0, &tick);
	}
}

static int start_thread(void)
{
	uint64_t all = ~LIBC_SIGNALS, old = 0;
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	for (int i = 0; i < 1000 && !is_gone(agent.tid); i++)
		ld__sys_sleep_ns(NS_PER_MS);
	if (agent.stack && !is_gone(agent.tid))
		agent.stack = NULL;	/* it clings to life: let it keep its stack */
	if (!agent.stack) {
		agent.stack = ld__arena_map(STACK_BYTES);
		if (!agent.stack)
			return -ENOMEM;
		ld__sys3(SYS_mprotect, agent.stack, PAGE_BYTES, PROT_NONE);
	}
	agent.tid = 0;
	agent.stop_wanted = 0;
	agent.opened = 0;
	r = pthread_attr_init(&attributes);
	if (r)
		return -r;
	pthread_attr_setstack(&attributes, (char *)agent.stack + PAGE_BYTES,
			      STACK_BYTES - PAGE_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	kernel_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attributes, agent_main, NULL);
	kernel_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	if (!r)
		await_opened();
	return -r;
}

int ld__agent_start(void)
{
	uint32_t none = AGENT_NONE;
	int r;

	if (!__atomic_compare_exchange_n(&agent.state, &none, AGENT_STARTING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return 0;
	ld__guard_enter();
	r = start_thread();
	ld__guard_leave();
	if (r < 0) {
		static bool said;

		set_state(AGENT_NONE);
		if (!said)
			ld__say("the agent thread could not be started (error %d): no snapshots "
				"can be taken",
				-r);
		said = true;
	}
	return r;
}

/* Wait until the state is `state`. Returns whether it came. */
static bool await_state(uint32_t state, uint64_t wait_ns)
{
	uint64_t deadline = kernel_now_ns() + wait_ns;

	for (;;) {
		uint32_t now = __atomic_load_n(&agent.state, __ATOMIC_ACQUIRE);
		struct timespec tick = { 0, 50 * NS_PER_MS };

		if (now == state)
			return true;
		if (kernel_now_ns() >= deadline)
			return false;
		kernel_futex(&agent.state, 128 /* FUTEX_WAIT | FUTEX_PRIVATE_FLAG */, now, &tick);
	}
}

void ld__agent_stop(void)
{
	uint32_t state = __atomic_load_n(&agent.state, __ATOMIC_ACQUIRE);

	if (state == AGENT_NONE || ld__sys_gettid() == agent.tid)
		return;
	ld__guard_enter();
	if (await_state(AGENT_RUNNING, NS_PER_S)) {
		__atomic_store_n(&agent.stop_wanted, 1, __ATOMIC_RELEASE);
		wake();
		await_state(AGENT_NONE, STOP_WAIT_NS);
		for (int i = 0; i < 1000 && !is_gone(agent.tid); i++)
			ld__sys_sleep_ns(20000);	/* a program that counts its threads must not see it */
	}
	ld__guard_leave();
}

bool ld__agent_mirror_rights(void)
{
	uint64_t deadline = kernel_now_ns() + STOP_WAIT_NS;
	uint32_t mirror = MIRROR_FREE;

	if (__atomic_load_n(&agent.state, __ATOMIC_ACQUIRE) == AGENT_NONE ||
	    ld__sys_gettid() == agent.tid || !await_state(AGENT_RUNNING, NS_PER_S))
		return false;
	while (!__atomic_compare_exchange_n(&agent.mirror, &mirror, MIRROR_TAKEN, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		if (kernel_now_ns() >= deadline)
			return false;
		mirror = MIRROR_FREE;
		ld__sys_sleep_ns(100000);
	}
	if (!ld__rights_read(&agent.rights)) {
		__atomic_store_n(&agent.mirror, MIRROR_FREE, __ATOMIC_RELEASE);
		ld__agent_stop();
		return true;
	}
	__atomic_store_n(&agent.mirror, MIRROR_ASKED, __ATOMIC_RELEASE);
	wake();
	while ((mirror = __atomic_load_n(&agent.mirror, __ATOMIC_ACQUIRE)) == MIRROR_ASKED &&
	       kernel_now_ns() < deadline) {
		struct timespec tick = { 0, 10 * NS_PER_MS };

		kernel_futex(&agent.mirror, 128, MIRROR_ASKED, &tick);
	}
	__atomic_store_n(&agent.mirror, MIRROR_FREE, __ATOMIC_RELEASE);
	if (mirror == MIRROR_DONE)
		return false;
	ld__agent_stop();
	return true;
}

void ld__agent_after_fork_child(void)
{
	ld__clock_drop();
	agent.state = AGENT_NONE;
	agent.tid = 0;
	agent.request = 0;
	agent.mirror = MIRROR_FREE;
	agent.due_ns = 0;
	agent.proc_fd = agent.folder_fd = agent.signal_fd = agent.listen_fd = -1;
	ld__snapshot_after_fork_child();
	ld__trigger_after_fork_child();
}

void ld__agent_snapshot_and_wait(int trigger)
{
	uint64_t deadline =
		kernel_now_ns() + (trigger == SNAPSHOT_EXIT ? EXIT_WAIT_NS : REQUEST_WAIT_NS);
	uint32_t none = 0, served;

	if (ld__sys_gettid() == agent.tid)
		return;
	ld__guard_enter();
	if (ld__agent_start() < 0 || !await_state(AGENT_RUNNING, 5 * NS_PER_S))
		goto out;
	served = __atomic_load_n(&agent.served, __ATOMIC_ACQUIRE);
	if (!__atomic_compare_exchange_n(&agent.request, &none, (uint32_t)trigger + 1, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
	    trigger != SNAPSHOT_EXIT)
		goto out;		/* another thread asked just now: one snapshot serves both */
	wake();
	while (__atomic_load_n(&agent.served, __ATOMIC_ACQUIRE) == served &&
	       kernel_now_ns() < deadline) {
		struct timespec tick = { 0, 50 * NS_PER_MS };

		kernel_futex(&agent.served, 128, served, &tick);
	}
out:
	ld__guard_leave();
}
