/* SPDX-License-Identifier: Apache-2.0
 * L5  drain.h - rings into the live table, in birth-clock order. */
#ifndef LEAKDIFF_DRAIN_H
#define LEAKDIFF_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

struct ring;

/* Drain what can be drained in order now. Any thread inside the guard; takes the drain lock. */
void ld__drain(void);

/* The owner of `ring` needs `slots` free slots: drain until there are. Returns false when that could
 * not be done within seconds (the lock's holder does not run); the caller counts what it drops. */
bool ld__drain_make_room(struct ring *ring, uint32_t slots);

/* Drain everything, the last event of every ring included. Only for the agent while all other
 * threads are stopped (or as good as), and only with the drain lock held: a thread that was stopped
 * while it held the lock would never give it back, so take it before stopping. */
void ld__drain_stopped(void);

/* The drain lock, for the snapshot: hold it across stop and fork so that no stopped thread owns it
 * and the child sees a quiet table. lock returns false when it cannot be had within timeout_ns. */
bool ld__drain_lock(uint64_t timeout_ns);
void ld__drain_unlock(void);

/* Drain with the lock held by the caller. */
void ld__drain_locked(void);

/* Fork child only: the lock is free again. Returns false when another thread held it at the fork, so
 * that the live table may be in the middle of a change. */
bool ld__drain_after_fork_child(void);

/* Events that were lost since capture began, and the way to add to them. */
uint64_t ld__drain_lost(void);
void ld__drain_count_lost(uint64_t events);

/* Number of live blocks and their requested bytes. Takes the lock for one part of the table at a time, so
 * nobody waits long: exact when no other thread allocates meanwhile. */
void ld__drain_totals(uint64_t *ret_blocks, uint64_t *ret_bytes);

/* Events ever drained. */
uint64_t ld__drain_events(void);

#endif
