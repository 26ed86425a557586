/* SPDX-License-Identifier: Apache-2.0
 * L6  snapshot.c - take a snapshot; the agent's half.
 *
 *   threads run      facts, modules, smaps, room for everything        (milliseconds, no pause)
 *   -- pause ----    lock the drain, stop, drain the rest, clone
 *   threads run      the child walks; we tell whoever asked
 *
 * (1) The drain lock is taken before the stop, so no stopped thread holds it and the child's live
 *     table is quiet.
 * (2) Between stop and resume nothing is called that could wait for a stopped thread: no libc that
 *     locks, no allocation but mmap.
 * (3) The child is made by a raw clone with exit signal 0: no SIGCHLD, invisible to waitpid(-1), no
 *     atfork handlers. Only we can reap it, with __WALL.
 * (4) In a process with Python the pause happens in a thread that holds the GIL.
 * (5) The pause is measured from the first request to stop to the last release. */
#include "snapshot.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "agent_private.h"
#include "allocators.h"
#include "arena.h"
#include "clock.h"
#include "config.h"
#include "drain.h"
#include "guard.h"
#include "jemalloc.h"
#include "kernel.h"
#include "live.h"
#include "modules.h"
#include "python.h"
#include "python_frames.h"
#include "snapshot_private.h"

/* Of python_alloc.c, which records like a hook and so stands above us. */
const char *ld__python_alloc_check(void);

#define DEFAULT_TIMEOUT_NS (10 * NS_PER_S)
#define STOP_TIMEOUT_NS (2 * NS_PER_S)
#define CHILD_LIMIT_NS (600 * NS_PER_S)
#define PREVIOUS_CHILD_NS (2 * NS_PER_S)
#define PAUSE_BASE_NS (2 * NS_PER_MS)
#define PAUSE_PER_GIB_NS (25 * NS_PER_MS)

static int child;			/* pid of the walking child, 0 = none */
static bool child_asked;		/* somebody reads what it writes */
static uint32_t taken;			/* snapshots so far */
static uint32_t map_count_hint = 1024, map_names_hint = 64u << 10;

uint64_t ld__snapshot_predict_ns(void)
{
	uint64_t shared = 0, resident = ld__snapshot_statm(ld__agent_proc_fd(), &shared);
	uint64_t private = resident > shared ? resident - shared : 0;

	return PAUSE_BASE_NS + (private >> 20) * PAUSE_PER_GIB_NS / 1024;
}

int ld__snapshot_child_pid(void)
{
	return child;
}

static void say_child_end(int status)
{
	static const char *const words[] = {
		[SNAPSHOT_NO_OUTPUT] = "the snapshot could not be written (reader gone, disk full "
				       "or folder not writable)",
		[SNAPSHOT_NO_MEMORY] = "there was not enough memory to walk the snapshot",
		[SNAPSHOT_FAULT] = "walking the snapshot failed",
		[SNAPSHOT_NO_PROC] = "/proc could not be read, so there is no snapshot",
		[SNAPSHOT_INGEST_FAILED] = "leakdiff ingest failed, so there is no snapshot",
	};
	unsigned code = WIFEXITED(status) ? (unsigned)WEXITSTATUS(status) : 0;

	if (child_asked && ld__config()->log == 0)
		return;			/* whoever asked sees that the stream is cut, and tells a person */
	if (WIFSIGNALED(status))
		ld__agent_say("the snapshot's process was ended by signal %d", WTERMSIG(status));
	else if (code && code < sizeof(words) / sizeof(words[0]) && words[code])
		ld__agent_say("%s", words[code]);
	else if (code)
		ld__agent_say("the snapshot's process ended with status %d", (int)code);
}

bool ld__snapshot_reap(uint64_t wait_ns)
{
	uint64_t deadline = kernel_now_ns() + wait_ns;
	int status = 0;

	while (child) {
		long r = ld__sys4(SYS_wait4, child, &status, __WALL | WNOHANG, 0);

		if (r == child)
			say_child_end(status);
		if (r == child || r == -ECHILD) {
			child = 0;
			break;
		}
		if (kernel_now_ns() >= deadline)
			return false;
		ld__sys_sleep_ns(2 * NS_PER_MS);
	}
	return true;
}

void ld__snapshot_after_fork_child(void)
{
	child = 0;
	taken = 0;
	ld__python_after_fork_child();
}

static int fail(struct snapshot_result *result, int error, const char *sentence)
{
	ld__text_format(result->error, sizeof(result->error), 0, "%s", sentence);
	return error;
}

/* Read smaps and make room for the child's own reading. */
static int read_maps(struct snapshot_job *job)
{
	for (int attempt = 0; attempt < 4; attempt++) {
		int r = ld__maps_new(&job->smaps, map_count_hint, map_names_hint);

		if (r < 0)
			return r;
		r = ld__maps_read(&job->smaps, job->proc_fd, true);
		map_count_hint = job->smaps.count + job->smaps.refused;
		map_names_hint = job->smaps.names_used;
		if (r == 0)
			return ld__maps_new(&job->maps, map_count_hint, map_names_hint);
		ld__maps_free(&job->smaps);
		if (r != -E2BIG)
			return r;
	}
	return -E2BIG;
}

static struct snapshot_shared *share_page(void)
{
	long r = ld__sys6(SYS_mmap, 0, PAGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (ld__sys_failed(r))
		return NULL;
	ld__arena_own((void *)r, PAGE_BYTES);
	return (struct snapshot_shared *)r;
}

static int prepare(struct snapshot_job *job, struct snapshot_result *result)
{
	int r;

	if (job->proc_fd < 0)
		return fail(result, -ENOENT,
			    "there is no /proc in the root that the process began in; without it there is no snapshot");
	job->facts = ld__arena_map(sizeof(*job->facts));
	job->shared = share_page();
	job->arenas = ld__arena_map(SNAPSHOT_ARENAS * sizeof(*job->arenas));
	if (!job->facts || !job->shared || !job->arenas)
		return fail(result, -ENOMEM, "there is no memory to prepare a snapshot");
	ld__modules_refresh();
	job->arena_count = ld__allocators_ask(job->arenas, SNAPSHOT_ARENAS);
	ld__snapshot_facts_read(job->facts, job->proc_fd);
	job->facts->capture_birth = ld__agent_capture_birth();
	job->facts->capture_state = ld__agent_capture_state();
	job->facts->saw_everything = ld__agent_saw_everything();
	r = read_maps(job);
	if (r < 0) {
		ld__text_format(result->error, sizeof(result->error), 0,
				"/proc/self/smaps cannot be read (error %d); without it there is no snapshot", -r);
		return r;
	}
	job->stop = ld__stop_new(job->proc_fd);
	if (!job->stop)
		return fail(result, -ENOMEM,
			    "the list of threads cannot be read; without it there is no snapshot");
	return 0;
}

static void done(struct snapshot_job *job)
{
	ld__stop_free(job->stop);
	ld__maps_free(&job->smaps);
	ld__maps_free(&job->maps);
	if (job->profile)
		ld__arena_unmap(job->profile, job->profile_room);
	if (job->arenas)
		ld__arena_unmap(job->arenas, SNAPSHOT_ARENAS * sizeof(*job->arenas));
	if (job->facts)
		ld__arena_unmap(job->facts, sizeof(*job->facts));
	if (job->shared)
		ld__arena_unmap(job->shared, PAGE_BYTES);
}

/* Mode sample: jemalloc writes its profile while the threads run; then nobody needs to be stopped. */
static int read_profile(struct snapshot_job *job, struct snapshot_result *result)
{
	const char *why = "";
	long bytes = ld__jemalloc_profile(&job->profile, &job->profile_room, &why);

	if (bytes < 0)
		return fail(result, (int)bytes, why);
	job->profile_bytes = (size_t)bytes;
	job->sample_bytes = ld__jemalloc_sample_bytes();	/* the child may ask jemalloc nothing */
	return 0;
}

/* The pause. Returns the child's pid, or a negative errno. */
static long stop_and_fork(struct snapshot_job *job, enum stop_means means)
{
	uint64_t stopped_ns;
	long pid;
	int r;

	r = ld__stop_threads(job->stop, job->profile ? STOP_NOT : means, STOP_TIMEOUT_NS);
	job->unstopped = r > 0 && !job->profile ? (uint32_t)r : 0;
	ld__stop_times(job->stop, &job->first_ns, &stopped_ns);
	job->stop_ns = stopped_ns - job->first_ns;
	ld__drain_stopped();
	ld__clock_sample(&job->facts->taken);
	job->lost_events = ld__drain_lost();
	job->fork_begin_ns = kernel_now_ns();
	job->drain_ns = job->fork_begin_ns - stopped_ns;
	pid = ld__sys5(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0)
		ld__snapshot_child(job);
	return pid;
}

static enum stop_means chosen_means(void)
{
	const char *text = ld__agent_setting("LEAKDIFF_STOP");

	if (text && text_same(text, "ptrace"))
		return STOP_BY_PTRACE;
	if (text && text_same(text, "signal"))
		return STOP_BY_SIGNAL;
	if (text && text_same(text, "none"))
		return STOP_NOT;
	return STOP_AUTO;
}

static int refuse_long_pause(const struct snapshot_request *request, struct snapshot_result *result)
{
	uint64_t predicted = ld__snapshot_predict_ns();

	if (!request->max_pause_ns || predicted <= request->max_pause_ns)
		return 0;
	ld__text_format(
		result->error, sizeof(result->error), 0,
		"a snapshot would stop the service for about %lu ms, more than the limit of %lu ms",
		(unsigned long)(predicted / NS_PER_MS),
		(unsigned long)(request->max_pause_ns / NS_PER_MS));
	return -E2BIG;
}

/* Everything between the first thread that stops and the last that goes on. */
struct pause {
	struct snapshot_job *job;
	uint64_t timeout_ns, asked_ns;
	uint64_t fork_ns, resumed_ns;
	long pid;
	int error;
};

static void pause_and_fork(void *data)
{
	struct pause *pause = data;
	struct snapshot_job *job = pause->job;

	if (job->python) {
		const char *why = ld__python_alloc_check();

		job->gil_ns = kernel_now_ns() - pause->asked_ns;
		if (why)
			ld__text_format(job->python_note, sizeof(job->python_note), 0, "%s", why);
	}
	if (!ld__drain_lock(pause->timeout_ns)) {
		pause->error = -ETIMEDOUT;
		return;
	}
	job->number = ++taken;
	pause->pid = stop_and_fork(job, chosen_means());
	pause->fork_ns = kernel_now_ns() - job->fork_begin_ns;
	pause->resumed_ns = ld__stop_resume(job->stop);
	ld__drain_unlock();
}

/* With Python in the process, the thread that forks must hold the GIL; it is another one of ours, since
 * waiting for the GIL cannot be given up. Without the GIL the snapshot is native only, and says so. */
static void hold_still(struct pause *pause)
{
	struct snapshot_job *job = pause->job;
	const char *why = NULL;
	uint32_t holder = 0;
	int r = -ENOSYS;

	if (job->profile) {
		pause_and_fork(pause);
		return;
	}
	if (ld__config()->python == CONFIG_PYTHON_AUTO ||
	    ld__config()->python == CONFIG_PYTHON_STACKS)
		ld__python_frames_init();	/* an embedder may have opened it since the start */
	if (ld__config()->python != CONFIG_PYTHON_OFF && ld__python_present(&why)) {
		job->python = true;
		pause->asked_ns = kernel_now_ns();
		r = ld__python_with_gil(pause_and_fork, pause, 0, &holder);
		if (r == 0)
			return;
		job->python = false;
		ld__text_format(job->python_note, sizeof(job->python_note), 0,
				r == -ETIMEDOUT ? "Python's objects are missing: the GIL could not "
						  "be had within 5 s (held by thread %u)"
				: r == -ECANCELED ? "Python's objects are missing: the Python "
						    "interpreter is shutting down"
				: r == -EBUSY ? "Python's objects are missing: an earlier request "
						"still waits for the GIL"
					      : "Python's objects are missing: no thread could be "
						"made to take the GIL",
				holder);
	} else if (why) {
		ld__text_format(job->python_note, sizeof(job->python_note), 0,
				"Python's objects are missing: %s", why);
	}
	pause_and_fork(pause);
}

int ld__snapshot_take(const struct snapshot_request *request, struct snapshot_result *ret_result)
{
	struct snapshot_job job = {
		.request = *request,
		.proc_fd = ld__agent_proc_fd(),
		.folder_fd = ld__agent_folder_fd(),
		.limit_ns = CHILD_LIMIT_NS,
	};
	uint64_t timeout_ns = request->timeout_ns ? request->timeout_ns : DEFAULT_TIMEOUT_NS;
	uint64_t resumed_ns;
	struct pause pause = { 0 };
	long pid = 0;
	int r;

	memset(ret_result, 0, sizeof(*ret_result));
	if (!ld__snapshot_reap(PREVIOUS_CHILD_NS))
		return fail(ret_result, -EBUSY,
			    "the snapshot before this one is still being written; try again when "
			    "it is done");
	r = refuse_long_pause(request, ret_result);
	if (r < 0)
		return r;
	r = prepare(&job, ret_result);
	if (r < 0)
		goto done;
	if (ld__jemalloc_used())
		r = read_profile(&job, ret_result);
	if (r < 0)
		goto done;
	ld__drain();			/* most of the work, while the threads run */
	pause.job = &job;
	pause.timeout_ns = timeout_ns;
	hold_still(&pause);
	if (pause.error) {
		r = fail(ret_result, pause.error,
			 "the event rings stayed locked; nothing was stopped; try again");
		goto done;
	}
	pid = pause.pid;
	ret_result->fork_ns = pause.fork_ns;
	resumed_ns = pause.resumed_ns;
	if (pid < 0) {
		taken--;
		r = fail(ret_result, (int)pid,
			 pid == -EAGAIN || pid == -ENOMEM
				 ? "the kernel refused to copy the process (memory or process "
				   "limit); the service runs on"
				 : "the process could not be copied; the service runs on");
		goto done;
	}
	child = (int)pid;
	child_asked = request->fd >= 0;
	ret_result->child = child;
	ret_result->pause_ns = resumed_ns - job.first_ns;
	job.shared->pause_ns = ret_result->pause_ns;
	job.shared->fork_ns = ret_result->fork_ns;
	__atomic_store_n(&job.shared->ready, 1, __ATOMIC_RELEASE);
	kernel_futex(&job.shared->ready, 1 /* FUTEX_WAKE, across processes */, 1, NULL);
	ret_result->stop_ns = job.stop_ns;
	ret_result->drain_ns = job.drain_ns;
	ret_result->lost_events = job.lost_events;
	ret_result->number = job.number;
	ret_result->consistent = job.unstopped == 0;
	ld__drain_totals(&ret_result->blocks, &ret_result->bytes);
	r = 0;
done:
	done(&job);
	return r;
}
