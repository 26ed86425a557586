/* SPDX-License-Identifier: Apache-2.0
 * L1  allocmaps.h - anonymous memory that an allocator mapped for itself.
 *
 * An mmap that happens inside a real malloc, or is called from the module that provides malloc, is
 * allocator memory: it holds blocks and the allocator's own records. It is neither a block nor a
 * root: stale pointers in its free lists must not keep anything alive. glibc maps its arenas without
 * the interposable name; those are told by their shape. */
#ifndef LEAKDIFF_ALLOCMAPS_H
#define LEAKDIFF_ALLOCMAPS_H

#include <stdint.h>

void ld__allocator_maps_add(uint64_t start, uint64_t bytes);
void ld__allocator_maps_remove(uint64_t start, uint64_t bytes);

/* Every range, in no particular order; lock-free, usable in the snapshot child. */
void ld__allocator_maps_visit(void (*visit)(uint64_t start, uint64_t end, void *data), void *data);

/* Ranges that did not fit the table. */
uint64_t ld__allocator_maps_refused(void);

/* Fork child only: nobody else is left to hold the table's lock. */
void ld__allocator_maps_after_fork_child(void);

#endif
