/* SPDX-License-Identifier: Apache-2.0
 * L9  pattern.h - pictures: the chain to one object, the pattern of what grew, a neighbourhood.
 *
 * (1) A picture has at most PICTURE_NODES nodes; what does not fit is merged, then cut, and the
 *     picture says so in its own words (left_out).
 * (2) Equal objects are one node with a count: equal means the same type, merged below the same node. */
#ifndef LEAKDIFF_PATTERN_H
#define LEAKDIFF_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "core/chain_set.h"
#include "core/picture.h"
#include "core/suspects.h"

#define PICTURE_NODES 30

/* What the suspects are and what holds them; the heaviest come first while there is room.
 * Returns 0 with *ret_picture (picture_free()), -ENOMEM or -EBADMSG. */
int pattern_of_suspects(const struct suspects *suspects, struct picture **ret_picture)
	__attribute__((warn_unused_result));

/* The chains of a set, equal steps shared. */
int pattern_of_chains(const struct chain_set *set, struct picture **ret_picture)
	__attribute__((warn_unused_result));

enum pattern_direction { PATTERN_REFS, PATTERN_BACKREFS };

/* What an object refers to, or what refers to it, `depth` steps far, at most `width` neighbours a
 * node (the rest is one cut). */
int pattern_of_neighbours(const struct series *series, const uint32_t *nodes, size_t count,
			  enum pattern_direction direction, unsigned depth, unsigned width,
			  struct picture **ret_picture) __attribute__((warn_unused_result));

#endif
