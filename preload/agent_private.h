/* SPDX-License-Identifier: Apache-2.0
 * L0  agent_private.h - what the agent's files share: its descriptors, its voice, its snapshots. */
#ifndef LEAKDIFF_AGENT_PRIVATE_H
#define LEAKDIFF_AGENT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

/* agent.c: descriptors in the agent's own table; negative = could not be had. */
int ld__agent_proc_fd(void);
int ld__agent_folder_fd(void);
/* Has it a current folder of its own to change? */
bool ld__agent_has_own_view(void);

/* One line on the service's standard error as it is now: the agent keeps no copy of it, since a copy
 * would hold a pipe open that the service has closed. */
void ld__agent_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Values of LEAKDIFF_* that are not in the configuration; NULL = not set. */
const char *ld__agent_setting(const char *name);

/* Was every allocation of this process recorded from its beginning? (Else unknown blocks may hold
 * known ones.) When recording began, by the birth clock. */
bool ld__agent_saw_everything(void);
uint64_t ld__agent_capture_birth(void);
/* "on", "off" (never began) or "stopped" (the table is stale). */
const char *ld__agent_capture_state(void);
void ld__agent_capture_set(bool on);
/* Does the library record, or in mode sample jemalloc for it? Is there anything to make a snapshot of? */
bool ld__agent_records(void);
bool ld__agent_has_something(void);

/* snapshot.c: the walking child, if any; reap it, waiting at most wait_ns. */
int ld__snapshot_child_pid(void);
bool ld__snapshot_reap(uint64_t wait_ns);
void ld__snapshot_after_fork_child(void);

/* control.c: the socket. listen returns a descriptor or a negative errno; serve takes one client. */
int ld__control_listen(int folder_fd);
void ld__control_serve(int listen_fd);
void ld__control_unlink(int folder_fd);

/* trigger.c: has resident memory reached the threshold (again)? Looks at most once a second. */
bool ld__trigger_rss_wanted(void);
bool ld__trigger_rss_reached(void);
void ld__trigger_after_fork_child(void);

#endif
