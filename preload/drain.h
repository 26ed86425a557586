/* SPDX-License-Identifier: Apache-2.0
 * L3  drain.h - rings into the live table, in birth-clock order. */
#ifndef LEAKDIFF_DRAIN_H
#define LEAKDIFF_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

/* Drain what can be drained in order now. Any thread inside the guard; takes the drain lock. */
void ld__drain(void);

/* Drain everything, the last event of every ring included. Only for the agent while all other
 * threads are stopped (or as good as): a thread that was stopped while it held the drain lock is
 * the caller's problem, so take the lock with ld__drain_lock() before stopping. */
void ld__drain_stopped(void);

/* The drain lock, for the snapshot: hold it across stop and fork so that no stopped thread owns it
 * and the child sees a quiet table. lock returns false when it cannot be had within timeout_ns. */
bool ld__drain_lock(uint64_t timeout_ns);
void ld__drain_unlock(void);

/* Events that were lost since capture began, and why that number is what it is. */
uint64_t ld__drain_lost(void);

#endif
