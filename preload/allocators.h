/* SPDX-License-Identifier: Apache-2.0
 * L3  allocators.h - what allocators other than glibc's say about their own memory, asked while the threads run. */
#ifndef LEAKDIFF_ALLOCATORS_H
#define LEAKDIFF_ALLOCATORS_H

#include <stdint.h>

#include "stream.h"

/* Ask the allocator that serves the program: jemalloc, tcmalloc (gperftools) or mimalloc. It may take its own locks:
 * agent only, never while threads are stopped. ret_arenas has room for `most`. Returns how many were filled; 0 for
 * glibc, which the snapshot's child walks, and for what has no such functions. */
uint32_t ld__allocators_ask(struct stream_arena *ret_arenas, uint32_t most);

/* An arena of which nothing is known yet. */
void ld__allocators_blank(struct stream_arena *ret_arena, uint16_t kind, uint32_t number);

#endif
