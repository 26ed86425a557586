/* SPDX-License-Identifier: Apache-2.0
 * L5  mark.h - which nodes of the last snapshot grew, and by how much. */
#ifndef LEAKDIFF_MARK_H
#define LEAKDIFF_MARK_H

#include <stdint.h>

#include "core/series.h"

/* All bytes of a new block; what a resized one gained; all bytes of a block that some root reached in
 * the first snapshot and none does now. Everything else did not grow.
 *
 * ret_bytes  by node of the last snapshot; the caller frees it.
 * ret_total  their sum.
 * Returns 0 or -ENOMEM. */
int mark_grown(const struct series *series, uint64_t **ret_bytes, uint64_t *ret_total)
	__attribute__((warn_unused_result));

#endif
