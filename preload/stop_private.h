/* SPDX-License-Identifier: Apache-2.0
 * L2  stop_private.h - what stop.c and stop_signal.c share. */
#ifndef LEAKDIFF_STOP_PRIVATE_H
#define LEAKDIFF_STOP_PRIVATE_H

#include "stop.h"

enum {					/* of stop_thread.error, beside 0 and negative errnos */
	STOP_UNTRIED = 1,
	STOP_PENDING,			/* asked to stop, not seen stopped */
	STOP_GONE,			/* ended meanwhile */
};

struct stop_syscall {
	uint32_t number;
	uint64_t sp, pc;
};

struct stop {
	struct stop_thread *threads;
	uint32_t count, capacity;
	uint32_t refused;		/* threads beyond the capacity */
	uint32_t fresh;			/* threads that the last look at the list found */
	uint32_t hint;			/* where the next thread that is asked for probably is */
	uint32_t self_tid, pid;
	uint32_t agent_tid;		/* who prepared it; another thread of ours may do the stop */
	int task_fd;			/* /proc/self/task of the agent's process */
	uint32_t phase;			/* futex, see stop.c */
	int tracer;			/* its pid, 0 = none */
	void *tracer_stack;
	uint64_t deadline_ns;
	uint64_t first_ns, stopped_ns, resumed_ns;
	bool rights_asked, rights_granted, ptracer_set;
	bool signal_stopped;
	bool deadly;			/* a filter of system calls would end the tracer */
	int dumpable;
	size_t notes_used;
	char notes[1024];
	_Alignas(16) char entries[4096];
};

/* Threads of the library's own: nobody stops them, they read their registers from nowhere. */
static inline bool ld__stop_is_ours(const struct stop *stop, uint32_t tid)
{
	return tid == stop->self_tid || tid == stop->agent_tid;
}

void ld__stop_note(struct stop *stop, const char *note, uint32_t number);
struct stop_thread *ld__stop_find(struct stop *stop, uint32_t tid);
struct stop_thread *ld__stop_add(struct stop *stop, uint32_t tid);
int ld__stop_list(struct stop *stop, void (*visit)(struct stop *stop, uint32_t tid));
long ld__stop_read(struct stop *stop, uint32_t tid, const char *file, char *buffer,
		   size_t capacity);
bool ld__stop_read_syscall(struct stop *stop, uint32_t tid, struct stop_syscall *ret_call);
bool ld__stop_restartable(uint64_t number);
int64_t ld__stop_epoll_left(uint32_t tid, uint64_t number, uint64_t timeout_ms);

/* stop_transfer.c: has a call that moves bytes come back with fewer than it should? */
bool ld__stop_is_cut_short(uint64_t number, int64_t result, uint64_t count, uint64_t flags);
/* Is a signal on its way to the thread? */
bool ld__stop_has_signal(struct stop *stop, uint32_t tid);
/* Let it move the rest when it goes on. Returns whether *registers was changed. Tracer only. */
struct user_regs_struct;
bool ld__stop_finish_transfer(struct stop *stop, uint32_t tid, struct user_regs_struct *registers);

/* stop_signal.c: the same service with a signal. Returns as ld__stop_threads(). */
int ld__stop_signal(struct stop *stop);
void ld__stop_signal_resume(struct stop *stop);
/* Not stopped at all: where the threads sleep now, as far as the kernel tells. */
void ld__stop_signal_look(struct stop *stop);

#endif
