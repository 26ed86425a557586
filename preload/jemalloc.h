/* SPDX-License-Identifier: Apache-2.0
 * L2  jemalloc.h - the service's jemalloc, asked through mallctl: mode sample, and what its arenas hold.
 *
 * jemalloc decides what is sampled and keeps count of it; we only give it stacks and read its profile. It
 * must be the allocator that serves the program, built with its profiler, and started with MALLOC_CONF=
 * prof:true: none of this can be made up for later. What is called here allocates inside jemalloc, like any
 * thread of the program does, so never while threads are stopped. */
#ifndef LEAKDIFF_JEMALLOC_H
#define LEAKDIFF_JEMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

/* jemalloc's hook: fill *len of at most max frames, innermost first. It runs inside malloc, where jemalloc
 * samples nothing; it may allocate. */
typedef void jemalloc_backtrace(void **frames, unsigned *len, unsigned max);

/* Can mode sample work here? From the constructor. Returns true, or false with *ret_why: what is missing and
 * what to do. */
bool ld__jemalloc_find(const char **ret_why);

/* Take over its stacks, and begin to sample or not. From then on ld__jemalloc_used() is true. */
void ld__jemalloc_use(jemalloc_backtrace *backtrace, bool active);

bool ld__jemalloc_used(void);
bool ld__jemalloc_has_our_stacks(void);	/* false: it knows no such hook (before 5.3) */
bool ld__jemalloc_is_active(void);
void ld__jemalloc_set_active(bool active);

/* Bytes that the program has allocated, as jemalloc counts them; 0 = unknown. */
uint64_t ld__jemalloc_allocated(void);
/* One block for so many bytes is sampled, on average. */
uint64_t ld__jemalloc_sample_bytes(void);

/* Its profile now, as text in memory of ours (ld__arena_unmap(*ret_text, *ret_room)). Agent only. Returns the
 * bytes of the text, or a negative errno with a sentence. */
long ld__jemalloc_profile(char **ret_text, size_t *ret_room, const char **ret_why);

/* What its arenas hold now, the sum of all last; in any mode. ret_arenas has room for `most`, all zero. Returns how
 * many were filled, 0 when jemalloc does not serve the program or keeps no statistics. Agent only. */
uint32_t ld__jemalloc_arenas(struct stream_arena *ret_arenas, uint32_t most);

#endif
