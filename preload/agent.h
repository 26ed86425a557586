/* SPDX-License-Identifier: Apache-2.0
 * L0  agent.h - the guest thread: control socket, timer and RSS triggers. */
#ifndef LEAKDIFF_AGENT_H
#define LEAKDIFF_AGENT_H

#include <stdbool.h>

/* Start the agent if it does not run (idempotent, any thread inside the guard). All signals are
 * blocked in it, its stack is our own memory, its descriptor table and file-system view are its own
 * (unshare(CLONE_FILES | CLONE_FS)), so a service that closes every descriptor or changes root
 * neither harms nor sees it. Returns 0 or a negative errno; on failure says so once. */
int ld__agent_start(void);

/* Ask it to end and wait (bounded): before a fork in a process that counts its threads, before
 * unshare(2)/setns(2), at exit. */
void ld__agent_stop(void);

/* Give the agent the calling thread's users, groups and capabilities; if that cannot be, end it.
 * Returns whether it ended. Around calls that change them, see hooks_identity.c. */
bool ld__agent_mirror_rights(void);

/* Say what the agent could not say itself. Any thread of the service inside the guard. */
void ld__agent_pass_word(void);

/* Nothing of the parent's agent exists in a fork child: forget it. It starts again lazily. */
void ld__agent_after_fork_child(void);

/* Blocking request from another thread (the at-exit trigger, the opt-in signal). */
void ld__agent_snapshot_and_wait(int trigger);

#endif
