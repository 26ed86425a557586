/* SPDX-License-Identifier: Apache-2.0
 * L1  stop.h - stop every other thread of the service, read its registers, let it go on.
 *
 * Life: ld__stop_new() (threads run; reads names) -> ld__stop_threads() -> ld__stop_resume() ->
 * ld__stop_free(). The table may be read between stop and free, in a forked child too. */
#ifndef LEAKDIFF_STOP_H
#define LEAKDIFF_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "stream.h"

enum stop_means { STOP_AUTO, STOP_BY_PTRACE, STOP_BY_SIGNAL, STOP_NOT };

struct stop_thread {
	uint32_t tid;
	uint16_t stop;			/* enum stream_stop */
	uint16_t in_kernel;		/* 1: asleep in the kernel where it cannot stop; it runs no code of its own */
	uint64_t sp, thread_pointer;	/* 0 = unknown */
	uint64_t registers[STREAM_REGISTERS];
	uint32_t syscall;		/* STREAM_NONE = none */
	int error;			/* why it could not be stopped: negative errno, 0 = it was */
	uint16_t pass_on;		/* signal that was on its way when it stopped */
	char name[16];
};

struct stop;

/* Prepare for the threads that exist now (more may come). proc_fd: descriptor of /proc. NULL when memory
 * is short or the thread list cannot be read. */
struct stop *ld__stop_new(int proc_fd);

/* Stop all threads but the caller's. No system call of theirs fails because of it. Returns the
 * number of threads that could not be stopped (0: the snapshot is consistent), or a negative errno
 * when nothing was stopped at all. */
int ld__stop_threads(struct stop *stop, enum stop_means means, uint64_t timeout_ns);

/* Let them go on. Harmless when they already do. Returns the time of the last release (CLOCK_MONOTONIC). */
uint64_t ld__stop_resume(struct stop *stop);

/* When the first thread was asked to stop and when the last one had, CLOCK_MONOTONIC. */
void ld__stop_times(const struct stop *stop, uint64_t *ret_first_ns, uint64_t *ret_stopped_ns);

/* The threads, the caller's own included (stop == STREAM_STOP_SELF); NULL for one that ended meanwhile. */
uint32_t ld__stop_count(const struct stop *stop);
const struct stop_thread *ld__stop_thread(const struct stop *stop, uint32_t index);

/* Sentences about what could not be done, one a line, "" = nothing to say. */
const char *ld__stop_notes(const struct stop *stop);

/* Resume if needed and release; accepts NULL. Not in the child. */
void ld__stop_free(struct stop *stop);

#endif
