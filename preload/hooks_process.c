/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks_process.c - interposed names that change the process rather than its heap.
 *
 *   dlclose         the list of modules is brought up to date before and after
 *   unshare, setns  refused by the kernel to a process with a second thread: the agent steps aside
 *   _exit           takes the ring file away: shells and daemons end without exit(3), and each would
 *                   leave a file behind (a process that is killed does: that is the flight recorder)
 *   epoll_wait      notes its timeout, for whoever has to interrupt and restart it
 *
 * dlopen is not hooked: the loader searches along the RUNPATH of the caller, which would be us. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "preload/hooks.h"
#include "preload/modules.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/step.h"
#include "preload/sys.h"
#include "preload/unwind.h"

static bool capturing(const struct guard *g)
{
	return !g->state && ld__capture_on();
}

static void resolve_first(void)
{
	if (!ld__real.epoll_pwait)
		ld__process_wake();
}

LD_EXPORT int dlclose(void *handle)
{
	struct guard *g = &ld__guard;
	int r;

	resolve_first();
	if (!capturing(g))
		return ld__real.dlclose(handle);
	ld__guard_enter();
	ld__modules_refresh();
	ld__guard_leave();
	ld__step_unload_begin();
	r = ld__real.dlclose(handle);	/* destructors run: recorded as ever */
	ld__guard_enter();
	ld__modules_refresh();
	ld__step_forget_unloaded();
	ld__unwind_flush();
	ld__step_unload_end();
	ld__guard_leave();
	return r;
}

LD_EXPORT int unshare(int flags)
{
	int r;

	resolve_first();
	ld__process_agent_pause();
	r = ld__real.unshare(flags);
	ld__process_agent_wanted();
	return r;
}

LD_EXPORT int setns(int fd, int type)
{
	int r;

	resolve_first();
	ld__process_agent_pause();
	r = ld__real.setns(fd, type);
	ld__process_agent_wanted();
	return r;
}

LD_EXPORT void _exit(int status)
{
	ld__process_quit();
	for (;;)
		ld__sys1(SYS_exit_group, status);
}

LD_EXPORT void _Exit(int status)
{
	_exit(status);
}

static __attribute__((noinline)) struct ring *wait_ring(struct guard *g)
{
	return capturing(g) ? ld__record_ring(g) : NULL;
}

static inline struct ring *wait_begin(int timeout_ms)
{
	struct guard *g = &ld__guard;
	struct ring *ring = g->ring;

	if (timeout_ms <= 0)
		return NULL;		/* at once or for ever: nothing to shorten */
	if (UNLIKELY(!ring || g->state || *ld__switch != SWITCH_ON))
		ring = wait_ring(g);
	if (UNLIKELY(!ring))
		return NULL;
	ring->wait_timeout_ms = timeout_ms;
	__atomic_store_n(&ring->wait_start, ld__clock_mark(), __ATOMIC_RELEASE);
	return ring;
}

/* Not by a cleanup: a thread cancelled in there takes its ring with it, and the next owner starts
 * with no wait running. */
static void wait_end(struct ring *ring)
{
	struct ring *own = ld__guard.ring;

	if (ld__switch_is_wiped())	/* in a fork child the rings are its parent's, and not here */
		return;
	if (ring && ring == own)
		__atomic_store_n(&ring->wait_start, 0, __ATOMIC_RELEASE);
	if (own)
		ld__ring_set_clock_due(own, 0);	/* what comes after a wait is not born before it */
}

LD_EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	struct ring *ring;
	int r;

	resolve_first();
	ring = wait_begin(timeout_ms);
	r = ld__real.epoll_wait(fd, events, max, timeout_ms);
	wait_end(ring);
	return r;
}

LD_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
	struct ring *ring;
	int r;

	resolve_first();
	ring = wait_begin(timeout_ms);
	r = ld__real.epoll_pwait(fd, events, max, timeout_ms, mask);
	wait_end(ring);
	return r;
}
