/* SPDX-License-Identifier: Apache-2.0
 * L1  unwind.h - the calling thread's stack as return addresses. */
#ifndef LEAKDIFF_UNWIND_H
#define LEAKDIFF_UNWIND_H

#include <stdbool.h>

/* Open the engine. Constructor only (it calls dlopen). Returns 0 or a negative errno: then stacks
 * have one frame, the caller of the hook. */
int ld__unwind_init(void);

/* Return addresses from `caller` (the return address of the hook) outwards, innermost first.
 *
 * pcs   room for `max` + UNWIND_EXTRA addresses
 * max   frames wanted, at least 1
 * ret_truncated  1 if there were more
 *
 * Returns the number of frames, at least 1. No lock of ours may be held: the engine takes the
 * loader's lock when it meets code that it has not seen. Keeps errno. */
#define UNWIND_EXTRA 12
int ld__unwind(void **pcs, int max, void *caller, int *ret_truncated);

/* The same, step by step and without what the engine remembers: about 5 us a frame. For stacks that
 * hold code at an address where other code was before (the engine never forgets an address), and
 * to decide who is right. */
int ld__unwind_slowly(void **pcs, int max, void *caller, int *ret_truncated);

/* First use in a thread: let the engine allocate what it keeps for a thread. false while the
 * engine is not open. */
bool ld__unwind_warm(void);

/* Something was unloaded: forget the rules of its code. */
void ld__unwind_flush(void);

#endif
