/* SPDX-License-Identifier: Apache-2.0
 * L0  arena.h - memory of our own: mmap only, never the service's allocator.
 *
 * Every mapping made here is remembered as "own", so that a snapshot neither scans it nor counts it
 * as the service's. */
#ifndef LEAKDIFF_ARENA_H
#define LEAKDIFF_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Map `bytes` (rounded up to pages) of zeroed private memory named "leakdiff". NULL when refused. */
void *ld__arena_map(size_t bytes);
void ld__arena_unmap(void *start, size_t bytes);

/* From now on mappings get no names: who makes that call would be ended for it. */
void ld__arena_stop_naming(void);

/* Small permanent allocation, 16-byte aligned, any thread, never freed. NULL when refused. */
void *ld__arena_alloc(size_t bytes);
char *ld__arena_strdup(const char *text);

/* Remember a mapping made elsewhere (rings' file, the agent's stack) as our own, or forget it. */
void ld__arena_own(void *start, size_t bytes);
void ld__arena_disown(void *start, size_t bytes);

/* Is [addr] in memory of our own? The visit gives every range; both lock-free, usable in the child. */
int ld__arena_is_own(uint64_t addr);
void ld__arena_visit(void (*visit)(uint64_t start, uint64_t end, void *data), void *data);

/* Mapped bytes of our own (address space, not resident). */
uint64_t ld__arena_bytes(void);

#endif
