/* SPDX-License-Identifier: Apache-2.0
 * L1  jemalloc_events.h - the allocations of a jemalloc that the program itself contains.
 *
 * Nobody can stand in front of a malloc that the executable defines. If it is jemalloc's, and its mallctl is
 * exported (-rdynamic), `experimental.hooks.install` tells each allocation instead. */
#ifndef LEAKDIFF_JEMALLOC_EVENTS_H
#define LEAKDIFF_JEMALLOC_EVENTS_H

#include <stdbool.h>

/* Is the program's malloc a jemalloc of a version whose hooks are known? Else why not. */
bool ld__jemalloc_events_find(const char **ret_why);

/* Install the hooks and prove that they tell what happens, or take them away again. Does nothing where none
 * were found. Inside the guard. Returns whether they are as wanted; else nothing is installed, and why. */
bool ld__jemalloc_events_set(bool on, const char **ret_why);

#endif
