/* SPDX-License-Identifier: Apache-2.0
 * L4  python_frames.h - Python stacks at allocation: read by the hooks, without a lock or a call into Python. */
#ifndef LEAKDIFF_PYTHON_FRAMES_H
#define LEAKDIFF_PYTHON_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "preload/stream.h"

/* Is the reader on? Then hooks do not look at the last stack themselves: see STEP_ASIDE in step.h. */
extern bool ld__python_frames_on __attribute__((visibility("hidden")));

/* Look for CPython and switch the reader on if its layout is known. Idempotent; takes the loader's
 * lock. From the constructor, and after a dlopen. */
void ld__python_frames_init(void);

/* The last Python stack of one thread, so that unchanged outer frames need no look-up. */
struct python_memo;
struct python_memo *ld__python_memo_new(void);	/* NULL when memory is refused */

/* What stack `native` of the calling thread is with Python's frames in place of the interpreter's:
 * frames of other libraries below the last Python call, then Python frames. 0 = it is as it
 * is (no Python frame runs on this thread, tables full). Keeps errno. */
uint32_t ld__python_stack(struct python_memo *memo, uint32_t native, uint32_t depth);

/* Python's frames alone, for a block of the interpreter's own pools, so with the interpreter's lock held.
 * 0 = there are none. */
uint32_t ld__python_stack_alone(struct python_memo *memo, uint32_t depth);

/* Why the reader is off although there is CPython, "" = it is on or there is none. */
const char *ld__python_frames_why(void);

#endif
