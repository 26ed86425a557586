/* SPDX-License-Identifier: Apache-2.0
 * L8  python_alloc.h - objects of the interpreter's own pools, recorded one by one (LEAKDIFF_PYTHON=stacks). */
#ifndef LEAKDIFF_PYTHON_ALLOC_H
#define LEAKDIFF_PYTHON_ALLOC_H

/* Is every small object recorded? Otherwise a sentence why not, although it was asked for; NULL = it is, or
 * nobody asked. Only with the GIL held: it looks whether our functions are still in place. */
const char *ld__python_alloc_check(void);

#endif
