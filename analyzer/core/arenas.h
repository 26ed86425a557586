/* SPDX-License-Identifier: Apache-2.0
 * L3  arenas.h - where the allocator keeps free memory, why it stays, and what would help, in sentences. */
#ifndef LEAKDIFF_ARENAS_H
#define LEAKDIFF_ARENAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/text.h"

/* "glibc", "glibc-mapped", "jemalloc", "jemalloc-all", "tcmalloc", "mimalloc", "other". */
const char *arenas_kind(uint32_t kind);

/* "main arena", "arena 3", "jemalloc's arena 0", "tcmalloc". */
const char *arenas_name(const struct heap_arena *arena, char buffer[TEXT_SIZE]);

struct arenas_report {
	char **lines;			/* one arena each, those with the most free memory first */
	size_t line_count;
	char **advice;			/* what would give memory back, one sentence each */
	size_t advice_count;
};

/* Say what is worth saying of one snapshot; nothing of arenas that hold next to nothing that is free. Returns 0 or
 * -ENOMEM; arenas_report_done() after either. */
int arenas_report_make(const struct heap *heap, struct arenas_report *ret_report) __attribute__((warn_unused_result));
void arenas_report_done(struct arenas_report *report);

/* What grew outside of live memory between two snapshots, largest first: "38 MiB more free in holes between blocks
 * (fragmentation)"; with `where` also the arena that has most of it and what would help most. The caller frees. NULL
 * when memory is short; "" when the snapshots do not tell. */
char *arenas_explain(const struct heap *first, const struct heap *last, bool where);

#endif
