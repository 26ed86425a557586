/* SPDX-License-Identifier: Apache-2.0
 * L2  unwind_calls.h - what libunwind calls instead of the functions that it asks for. */
#ifndef LEAKDIFF_UNWIND_CALLS_H
#define LEAKDIFF_UNWIND_CALLS_H

/* Give `library` (libunwind's handle of dlopen) functions that touch no descriptor of the service, wait for no lock of
 * the loader and enter no allocator. Constructor only, before its first walk.
 * Returns 0, or -EINVAL when its imports cannot be read. */
int ld__unwind_calls(void *library);

#endif
