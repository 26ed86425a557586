/* SPDX-License-Identifier: Apache-2.0
 * L6  glibc_heaps.h - glibc's arenas, walked chunk by chunk. Snapshot child only. */
#ifndef LEAKDIFF_GLIBC_HEAPS_H
#define LEAKDIFF_GLIBC_HEAPS_H

#include "maps.h"
#include "nodes.h"
#include "regions.h"
#include "writer.h"

/* Write one stream_arena for each arena, and one for the chunks that have a mapping of their own. The section
 * ARENAS is open. Nothing is written when glibc is not the program's allocator. Returns 0 or -ENOMEM. */
int ld__glibc_heaps_write(struct writer *writer, const struct maps *maps, const struct regions *regions,
			  const struct nodes *nodes);

#endif
