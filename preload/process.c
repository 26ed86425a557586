/* SPDX-License-Identifier: Apache-2.0
 * L9  process.c - life of the library in the process: first call, constructor, fork, exit.
 *
 *   0    --first hook call--> ON (events in anonymous rings, stacks of one frame)
 *        --constructor------> ON (settings, libunwind, ring file, agent) or OFF
 *   0    --first hook call--> what the parent was; new ring file, new agent
 *
 * (1) Recording begins with the very first call, long before our constructor: what other libraries'
 *     constructors allocate lives as long as the process, and what it points to must be found.
 * (2) A fork is noticed by the wiped page, however it was made. The atfork handlers only see to it
 *     that the child inherits a whole live table; after a raw clone(2) what was still in the rings is
 *     missing, and a table that was just being changed is given up (counted as lost).
 * (3) A child does nothing until its first event, so fork and exec cost next to nothing. A signal handler
 *     may have forked over a hook of its thread: that hook ends in the child as it does in the parent.
 * (4) vfork and posix_spawn children share our memory and the word in the page: nothing to do. */
#include "preload/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

#include "preload/agent.h"
#include "preload/allocmaps.h"
#include "preload/apply.h"
#include "preload/arena.h"
#include "preload/budget.h"
#include "preload/clock.h"
#include "preload/config.h"
#include "preload/drain.h"
#include "preload/gate.h"
#include "preload/hooks.h"
#include "preload/jemalloc.h"
#include "preload/jemalloc_events.h"
#include "preload/jemalloc_stacks.h"
#include "preload/live.h"
#include "preload/modules.h"
#include "preload/python_frames.h"
#include "preload/python_small.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/ring.h"
#include "preload/snapshot.h"
#include "preload/stacks.h"
#include "preload/step.h"
#include "preload/stream.h"
#include "preload/sys.h"
#include "preload/unwind.h"
#include "preload/verify.h"

#define LEARNED_MAX 16u
#define EARLY_MAX 64u

/* The unit tests link the parts of the library without its hooks and its agent. */
#pragma weak ld__agent_start
#pragma weak ld__agent_stop
#pragma weak ld__agent_pass_word
#pragma weak ld__agent_after_fork_child
#pragma weak ld__agent_snapshot_and_wait
#pragma weak ld__hook_malloc
#pragma weak ld__hooks_choose
#pragma weak ld__operators_resolve

static _Atomic uint32_t state = SWITCH_ON;	/* what the word in the page is when nobody wiped it */
static atomic_flag booted = ATOMIC_FLAG_INIT;
static atomic_flag reviving = ATOMIC_FLAG_INIT;
static _Atomic uint32_t failed, stale, process_id;
static bool constructed, locked_in, woken, short_hooks;
static bool forked_drained;			/* in a fork child: nothing was in the rings */
static uint64_t allocator_start, allocator_end;

uint32_t ld__process_pid(void)
{
	return atomic_load_explicit(&process_id, memory_order_relaxed);
}

/* An allocator that is no module of its own. */
static LD_TLS bool learning;
static uint64_t learned[LEARNED_MAX];
static _Atomic uint32_t learned_count;

void ld__process_learn_allocator(bool learn)
{
	learning = learn;
}

static bool is_learned(uint64_t pc)
{
	uint32_t count = atomic_load_explicit(&learned_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++)
		if (learned[i] == pc)
			return true;
	if (!learning || ld__guard.state || count == LEARNED_MAX)
		return false;
	learned[count] = pc;
	atomic_store_explicit(&learned_count, count + 1, memory_order_release);
	return true;
}

bool ld__process_in_allocator(uint64_t pc)
{
	return pc - allocator_start < allocator_end - allocator_start || is_learned(pc);
}

/* ---- the switch ---- */

bool ld__capture_on(void)
{
	uint32_t word = *ld__switch;

	if (word == SWITCH_GATE)
		word = ld__gate_behind();
	return word == SWITCH_ON || word == SWITCH_WAKE;
}

bool ld__capture_stale(void)
{
	return atomic_load(&stale);
}

bool ld__capture_failed(void)
{
	return atomic_load(&failed);
}

static void choose_hooks(void)
{
	if (ld__hooks_choose)
		ld__hooks_choose(short_hooks && atomic_load(&state) == SWITCH_ON, ld__sample_lg != 0);
}

static void allow_short_hooks(bool allow)
{
	short_hooks = allow;
	ld__ring_allow_quick(allow);
	choose_hooks();
}

static void set_state(uint32_t to)
{
	atomic_store(&state, to);
	__atomic_store_n(ld__switch, to, __ATOMIC_SEQ_CST);
	choose_hooks();
}

/* What the program's own allocator mapped before it could be told from the program. */
struct early {
	uint32_t count;
	struct { uint64_t addr, bytes; } maps[EARLY_MAX];
};

static void keep_learned(const struct live_block *block, void *data)
{
	struct early *early = data;
	struct stream_stack frame;

	if (block->kind != STREAM_NODE_MAPPING || !block->stack || early->count == EARLY_MAX)
		return;
	ld__stacks_get(block->stack, &frame);
	if (!is_learned(frame.pc))
		return;
	early->maps[early->count].addr = block->addr;
	early->maps[early->count++].bytes = block->bytes;
}

static void give_learned_to_allocator(void)
{
	static struct early early;

	ld__drain();
	if (!ld__drain_lock(UINT64_MAX))
		return;
	early.count = 0;
	ld__live_visit(keep_learned, &early);
	for (uint32_t i = 0; i < early.count; i++) {
		ld__live_unmap(early.maps[i].addr, early.maps[i].bytes, NULL);
		ld__allocator_maps_add(early.maps[i].addr, early.maps[i].bytes);
	}
	ld__drain_unlock();
}

/* Where nobody can stand in front of malloc, the program's jemalloc tells of each call. */
static bool set_events(bool on)
{
	const char *why;

	if (!ld__jemalloc_events_set(on, &why)) {
		ld__capture_fail(why);
		return false;
	}
	if (on && atomic_load(&learned_count))
		give_learned_to_allocator();
	return true;
}

void ld__capture_set(bool on)
{
	if (atomic_load(&failed) || on == ld__capture_on())
		return;
	if (!on) {
		atomic_store(&stale, 1);
		set_state(SWITCH_OFF);
		set_events(false);
		return;
	}
	if (!set_events(true))
		return;
	ld__drain();		/* old events must not meet the new table */
	if (!ld__drain_lock(UINT64_MAX))
		return;
	ld__live_clear();
	ld__python_small_clear();
	ld__drain_unlock();
	ld__modules_refresh();
	atomic_store(&stale, 0);
	woken = true;
	set_state(SWITCH_ON);
}

void ld__capture_fail(const char *why)
{
	if (atomic_exchange(&failed, 1))
		return;
	atomic_store(&stale, 1);
	set_state(SWITCH_OFF);
	ld__say("recording is switched off: %s. The program goes on", why);
}

/* ---- the first call ---- */

/* No thread sees it wiped in between: that it is made is said when the word says something. */
static void make_switch(void)
{
	/* refused by kernels before 4.14: then the atfork handler clears the word */
	if (getauxval(AT_PAGESZ) == SWITCH_BYTES)
		ld__sys3(SYS_madvise, ld__switch, SWITCH_BYTES, MADV_WIPEONFORK);
	__atomic_store_n(ld__switch, atomic_load(&state), __ATOMIC_SEQ_CST);
	__atomic_store_n(&ld__switch_made, true, __ATOMIC_SEQ_CST);
}

/* Which object serves malloc, and is it one that maps its memory through the hooked names? Returns true for jemalloc,
 * which calls no other hook from inside. */
static bool find_allocator(void)
{
	static const char *const known[] = { "jemalloc", "tcmalloc", "mimalloc", "rpmalloc", "snmalloc",
					     "hoard", "scudo" };
	bool is_jemalloc = false;

	ld__modules_set_allocator((uint64_t)(uintptr_t)ld__real.malloc);
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *m = ld__modules_get(i);

		if (!(m->flags & STREAM_MODULE_ALLOCATOR) || (m->flags & STREAM_MODULE_LIBC))
			continue;
		for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++) {
			if (strstr(m->path, known[k])) {
				allocator_start = m->start;
				allocator_end = m->end;
				is_jemalloc = !strcmp(known[k], "jemalloc");
			}
		}
	}
	return is_jemalloc;
}

static bool boot(void)
{
	bool plain;

	if (atomic_flag_test_and_set(&booted))
		return false;	/* another thread is at it, or what follows allocates */
	ld__guard_enter();
	ld__real_resolve();
	ld__clock_init();
	atomic_store(&process_id, ld__sys_getpid());
	plain = ld__real_same_object((void *)(uintptr_t)ld__real.malloc, (void *)(uintptr_t)ld__real.fork);
	ld__record_set_plain_allocator(plain);
	ld__modules_refresh();
	/* from here on what the allocator maps for itself is told from what we map */
	allow_short_hooks(find_allocator() || plain);
	ld__step_init();	/* refused: every stack is walked by libunwind */
	make_switch();
	if (ld__live_init() < 0)
		ld__capture_fail("no memory for the table of live blocks");
	ld__guard_leave();
	return ld__capture_on();
}

/* ---- fork ---- */

static void start_agent(void)
{
	if (ld__agent_start && constructed && !atomic_load(&failed))
		ld__agent_start();
}

static void open_rings(bool is_child)
{
	const struct config *config = ld__config();
	int r = ld__ring_open(config->folder, config->ring_events);

	/* a server's workers may all have given up the right to write there: not a line for each */
	if (r < 0 && *config->folder && (!is_child || config->log > 0))
		ld__say("no ring file in %s: %s. Recording goes on without one", config->folder,
			r == -ENOSPC || r == -EDQUOT ? "the disk is full" :
			r == -EFBIG ? "the process may not write so much (ulimit -f)" :
			r == -EACCES || r == -EPERM || r == -EROFS ? "not permitted" :
			r == -ENOENT ? "the folder is gone" : "it cannot be created");
}

static bool revive(void)
{
	bool quiet;

	if (locked_in) {
		ld__ring_forget();
		*ld__switch = SWITCH_OFF;
	}
	if (locked_in || ld__in_snapshot_child || atomic_flag_test_and_set(&reviving))
		return false;
	ld__guard_enter();
	atomic_store(&process_id, ld__sys_getpid());
	quiet = ld__drain_after_fork_child();
	if (!quiet) {
		ld__live_abandon();
		ld__drain_count_lost(1);
	}
	/* a raw clone: frees that were in the rings are never seen here */
	if (!forked_drained)
		ld__apply_distrust();
	forked_drained = false;
	ld__ring_after_fork_child();
	ld__ring_forget();
	ld__budget_after_fork_child();
	ld__modules_after_fork_child();
	ld__allocator_maps_after_fork_child();
	if (ld__agent_after_fork_child)
		ld__agent_after_fork_child();
	if (constructed && !atomic_load(&failed))
		open_rings(true);
	__atomic_store_n(ld__switch, atomic_load(&state), __ATOMIC_SEQ_CST);
	atomic_flag_clear(&reviving);
	start_agent();
	ld__guard_leave();
	return ld__capture_on();
}

static bool wake(void)
{
	uint32_t waiting = SWITCH_WAKE, word = *ld__switch;

	if (word == SWITCH_GATE)
		word = ld__gate_pass();
	switch (word) {
	case SWITCH_NONE:
		return ld__switch_is_wiped() ? revive() : boot();
	case SWITCH_WAKE:
		if (__atomic_compare_exchange_n(ld__switch, &waiting, SWITCH_ON, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			ld__guard_enter();
			start_agent();
			if (ld__agent_pass_word)
				ld__agent_pass_word();
			ld__guard_leave();
		}
		return true;
	case SWITCH_ON:
		return true;
	default:
		return false;
	}
}

bool ld__process_wake(void)
{
	int saved_errno = errno;
	bool on = wake();

	errno = saved_errno;
	return on;
}

void ld__process_fork(enum process_fork_phase phase)
{
	static LD_TLS bool locked;	/* the child has this thread's copy; other threads may fork, too */

	switch (phase) {
	case FORK_PREPARE:
		locked = false;
		/* a child that has not found out has no ring to drain */
		if (ld__switch_is_wiped() || (!ld__capture_on() && (!ld__jemalloc_used() || atomic_load(&failed))))
			break;
		ld__guard_enter();
		ld__drain();
		locked = ld__drain_lock(1000000000u);
		if (locked) {
			ld__drain_locked();
			ld__ring_before_fork();
		}
		ld__guard_leave();
		break;
	case FORK_PARENT:
		if (locked)
			ld__drain_unlock();
		break;
	case FORK_CHILD:
		if (locked) {
			ld__ring_in_fork_child();
			ld__drain_after_fork_child();
			forked_drained = true;
		} else {
			ld__ring_forget();	/* the parent's, which is not here */
		}
		if (ld__guard.state && !ld__jemalloc_used())
			ld__drain_count_lost(1);
		*ld__switch = SWITCH_NONE;
		break;
	}
}

static void fork_prepare(void)
{
	ld__process_fork(FORK_PREPARE);
}

static void fork_parent(void)
{
	ld__process_fork(FORK_PARENT);
}

static void fork_child(void)
{
	ld__process_fork(FORK_CHILD);
}

/* ---- the agent steps aside ---- */

void ld__process_agent_pause(void)
{
	/* a vfork child is in its parent's memory, but has no second thread to be rid of */
	if (ld__agent_stop && constructed && !ld__switch_is_wiped() && ld__process_pid() == ld__sys_getpid())
		ld__agent_stop();
}

void ld__process_agent_wanted(void)
{
	uint32_t on = SWITCH_ON;

	if (constructed)
		__atomic_compare_exchange_n(ld__switch, &on, SWITCH_WAKE, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
}

/* ---- constructor, destructor ---- */

/* An executable that defines malloc itself is served by that one, and nobody calls ours. */
static bool malloc_is_ours(void)
{
	void *first = ld__real_symbol("malloc");

	return !ld__hook_malloc || !first || first == (void *)(uintptr_t)ld__hook_malloc ||
	       !ld__real_is_defined(first);
}

/* Mode sample leaves recording to jemalloc, where that can be had: also to one inside the program, since
 * nothing needs to be interposed for it. */
static bool choose_jemalloc(bool ours)
{
	const char *why;

	if (ld__config()->mode != CONFIG_SAMPLE)
		return false;
	if (ld__jemalloc_find(&why))
		return true;
	if (!ours)
		return false;		/* there is no lite either, and that is said */
	ld__say("LEAKDIFF_MODE=sample cannot be had, lite is used: %s", why);
	ld__config_set_mode(CONFIG_LITE);
	return false;
}

static void configure(bool jemalloc)
{
	const struct config *config = ld__config();

	ld__record_configure(config->depth);
	ld__budget_configure(config->mode == CONFIG_LITE, config->budget_ppm);
	allow_short_hooks(short_hooks && !ld__budget_on);	/* they time no event */
	if (config->budget_ppm && config->mode != CONFIG_LITE)
		ld__say("LEAKDIFF_BUDGET is of mode lite: mode %s takes what it takes",
			config->mode == CONFIG_FULL ? "full records every stack and" : "sample leaves sampling to jemalloc and");
	if (!config->start_on || jemalloc) {
		set_state(SWITCH_OFF);
		ld__drain();
		if (ld__drain_lock(UINT64_MAX)) {
			ld__live_clear();
			ld__drain_unlock();
		}
	}
	if (ld__unwind_init() < 0)
		ld__say("libunwind.so.8 is not installed: stacks have one frame, the caller of malloc");
	/* the main thread moves from its first, anonymous ring to one in the file */
	open_rings(false);
	ld__ring_retire();
	if (jemalloc)
		ld__jemalloc_use(ld__jemalloc_stack, config->start_on);
}

__attribute__((constructor)) static void construct(void)
{
	int saved_errno = errno;
	const char *why;
	bool jemalloc;

#ifdef LEAKDIFF_PARTS
	return;			/* a unit test sets up what it tests */
#endif
	if (!ld__switch_made)
		boot();
	else if (ld__switch_is_wiped())	/* another library's constructor forked, and goes on in the child */
		revive();
	ld__guard_enter();
	ld__config_read();
	jemalloc = choose_jemalloc(malloc_is_ours());
	if (!jemalloc && !malloc_is_ours() &&
	    (ld__config()->mode == CONFIG_SAMPLE || !ld__jemalloc_events_find(&why))) {
		ld__capture_fail(ld__config()->mode != CONFIG_SAMPLE ? why :
					 "the program defines malloc itself, and no jemalloc in it can be asked: its mallctl must "
					 "be exported (-rdynamic) and MALLOC_CONF=prof:true set at the start");
		goto out;
	}
	configure(jemalloc);
	ld__modules_refresh();
	if (ld__config()->python == CONFIG_PYTHON_AUTO || ld__config()->python == CONFIG_PYTHON_STACKS)
		ld__python_frames_init();
	if (ld__operators_resolve)
		ld__operators_resolve();
	pthread_atfork(fork_prepare, fork_parent, fork_child);
	if (ld__config()->start_on)
		set_events(true);
	constructed = true;
	start_agent();
out:
	ld__guard_leave();
	errno = saved_errno;
}

/* Is the process that ends the one that we belong to? A fork child without an event of its own must
 * not act for its parent, and a vfork child that exits is in its parent's memory. */
static bool is_our_end(void)
{
	return constructed && !locked_in && !ld__in_snapshot_child && !ld__switch_is_wiped() &&
	       ld__process_pid() == ld__sys_getpid();
}

void ld__process_lock_in(void)
{
	bool is_child = ld__switch_is_wiped();

	/* a vfork child, which is to become another program, is in its parent's memory */
	if (locked_in || (!is_child && ld__process_pid() != ld__sys_getpid()))
		return;
	/* what a fork child that has recorded nothing inherited is its parent's */
	if (is_child)
		ld__ring_forget();
	ld__capture_fail("the program locks itself in with a filter of system calls (seccomp) that ends it for calls of ours");
	if (ld__jemalloc_used())
		ld__jemalloc_set_active(false);
	if (constructed && !is_child) {
		if (ld__agent_stop)
			ld__agent_stop();
		ld__ring_unlink();
	}
	locked_in = true;
}

void ld__process_quit(void)
{
	if (is_our_end())
		ld__ring_unlink();
}

static const char *recorded_since(void)
{
	if (ld__jemalloc_used() ? !ld__jemalloc_is_active() : !ld__capture_on())
		return "not recording";
	return woken ? "since it was woken" : "from the start";
}

static void log_end(void)
{
	uint64_t blocks, bytes, mappings, mapped;
	uint32_t spent_ppm, budget_ppm = ld__budget_of(&spent_ppm);

	ld__drain();
	ld__drain_totals(&blocks, &bytes);
	ld__live_mapping_totals(&mappings, &mapped);
	ld__say("pid %u: %lu live blocks of %lu bytes, %lu mappings of %lu bytes, %lu events, %lu lost, "
		"%lu anomalies, %u stacks, %lu refused, %u rings, %lu bytes of our own, "
		"mode %s, budget %u ppm, %s", ld__process_pid(),
		blocks, bytes, mappings, mapped, ld__drain_events(), ld__drain_lost(),
		ld__live_anomalies(), ld__stacks_count(), ld__stacks_refused(), ld__ring_count(),
		ld__arena_bytes(), ld__config_mode_name(), budget_ppm, recorded_since());
	ld__verify_log();
}

__attribute__((destructor)) static void destruct(void)
{
	if (!is_our_end())
		return;
	ld__guard_enter();
	if (ld__config()->at_exit && (ld__capture_on() || ld__jemalloc_used()) && ld__agent_snapshot_and_wait)
		ld__agent_snapshot_and_wait(SNAPSHOT_EXIT);
	if (ld__config()->log > 0)
		log_end();
	constructed = false;	/* the agent does not start again */
	if (ld__agent_stop) {
		ld__agent_stop();
		ld__agent_pass_word();
	}
	ld__ring_unlink();
	ld__guard_leave();
}
