/* SPDX-License-Identifier: Apache-2.0
 * L2  live.h - the live table: every block and program-made mapping that is allocated now. */
#ifndef LEAKDIFF_LIVE_H
#define LEAKDIFF_LIVE_H

#include <stdint.h>

/* One live block. Identity is (addr, birth): birth is the birth clock's value when it was allocated
 * (see clock.h) and is kept by realloc, whether the block moved or not. */
struct live_block {
	uint64_t addr;
	uint64_t bytes;			/* requested */
	uint64_t birth;
	uint32_t stack;			/* stack id; 0 = none recorded */
	uint32_t tid : 24;		/* of the allocating thread */
	uint32_t kind : 8;		/* enum stream_node_kind */
};

/* Visit all live blocks in no particular order. For the snapshot child (which owns a frozen copy)
 * and for tests under the drain lock. Never allocates. Returns the number visited. */
uint64_t ld__live_visit(void (*visit)(const struct live_block *block, void *data), void *data);

/* Number of live blocks and their requested bytes, mappings not included. Approximate while threads run. */
void ld__live_totals(uint64_t *ret_blocks, uint64_t *ret_bytes);

#endif
