/* SPDX-License-Identifier: Apache-2.0
 * L2  edges.h - references, varint coded as stream.h says. */
#ifndef LEAKDIFF_EDGES_H
#define LEAKDIFF_EDGES_H

#include <stdbool.h>
#include <stdint.h>

#include "writer.h"

struct edges;

/* Encode into the writer's open section. for_roots: targets of a source count from 0, not from the
 * source's id. NULL when memory is refused. */
struct edges *ld__edges_new(struct writer *writer, bool for_roots);

/* Sources must come in ascending order; each is begun, gets its references, and is ended. */
void ld__edges_begin(struct edges *edges, uint32_t source);
void ld__edges_add(struct edges *edges, uint32_t label, int64_t value, uint32_t target,
		   uint64_t target_offset);
void ld__edges_end(struct edges *edges);

uint64_t ld__edges_count(const struct edges *edges);
void ld__edges_free(struct edges *edges);

#endif
