/* SPDX-License-Identifier: Apache-2.0
 * L6  process.h - life of the library in the process: first call, constructor, fork, exit. */
#ifndef LEAKDIFF_PROCESS_H
#define LEAKDIFF_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "guard.h"

/* Is recording on? Off also when trouble switched it off or LEAKDIFF_START=off holds. */
bool ld__capture_on(void);

/* Start or stop recording. Starting after a stop begins with an empty live table, since nobody saw
 * what was freed in between. Any thread inside the guard. */
void ld__capture_set(bool on);

/* Was recording stopped at some time, so that the live table is stale now? */
bool ld__capture_stale(void);

/* Trouble: switch recording off for good and say why, once. Any thread. */
void ld__capture_fail(const char *why);

/* Did that happen? */
bool ld__capture_failed(void);

/* First call of any hook, first call in a fork child (both SWITCH_NONE), first call after the
 * agent stepped aside (SWITCH_WAKE). Returns whether recording is on now. */
bool ld__process_wake(void);

/* The fork, in three phases around the real call (pthread_atfork). The prepare phase takes the drain
 * lock and drains, so that the child's live table is whole; the child's own work is done at its first
 * recorded event, so that fork and exec cost it nothing. */
enum process_fork_phase { FORK_PREPARE, FORK_PARENT, FORK_CHILD };
void ld__process_fork(enum process_fork_phase phase);

/* Stop the agent; wanted: start it again with the next event. */
void ld__process_agent_pause(void);
void ld__process_agent_wanted(void);

/* The program is about to install a filter of system calls that would end us: everything ends before. */
void ld__process_lock_in(void);

/* The process ends without exit(3): take away what must not stay behind. Async-signal-safe; does
 * nothing in a vfork child or in a fork child that has recorded nothing. */
void ld__process_quit(void);

/* Process id of this image, cached (right in fork children after their first event). */
uint32_t ld__process_pid(void);

/* The module that provides the real malloc: is pc inside its text, or one of the calls that were learned? */
bool ld__process_in_allocator(uint64_t pc);

/* Between the two, who maps memory in this thread, outside of code of ours, is the allocator: its calls are
 * remembered by their address. */
void ld__process_learn_allocator(bool learn);

#endif
