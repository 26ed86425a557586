/* SPDX-License-Identifier: Apache-2.0
 * L4  python_arenas.c - the arenas of Python's own allocator: how much of each is in use.
 *
 *   arena  256 KiB (up to 3.9) or 1 MiB, mapped by the interpreter
 *   pool   4 or 16 KiB, aligned: header of 48 bytes, then blocks of one size, a multiple of 16 up to 512
 *
 * Where the interpreter keeps its list of arenas no symbol says. The headers of the pools tell the same: how
 * many blocks are in use and of what size. A mapping of an arena's size in which every pool in use has a
 * header that agrees with itself is an arena; only reading is done. */
#include "python_private.h"

#define POOL_HEADER 48u
#define SIZE_STEP 16u
#define SIZES 32u			/* up to 512 bytes */

static struct { uint64_t start, used; bool is_arena; } asked;

static void read_pools(uint64_t end)
{
	uint64_t pool_bytes = ld__py.version < 310 ? 4096 : 16384, used = 0;
	uint64_t pool = (asked.start + pool_bytes - 1) & ~(pool_bytes - 1);

	for (; pool + pool_bytes <= end; pool += pool_bytes) {
		uint32_t count = (uint32_t)py_int(pool, 0), class = (uint32_t)py_int(pool, 36);
		uint32_t next = (uint32_t)py_int(pool, 40), last = (uint32_t)py_int(pool, 44);
		uint64_t bytes = (class + 1ull) * SIZE_STEP;

		if (!count)
			continue;	/* never used, or all its blocks were freed */
		if (class >= SIZES || count > (pool_bytes - POOL_HEADER) / bytes || last != pool_bytes - bytes ||
		    next < POOL_HEADER || next > pool_bytes)
			return;
		used += count * bytes;
	}
	asked.used = used;
	asked.is_arena = used != 0;
}

bool ld__python_arena(uint64_t start, uint64_t end, uint64_t *ret_used_bytes)
{
	uint64_t arena_bytes = ld__py.version < 310 ? 256u << 10 : 1u << 20;

	asked.start = start;
	asked.is_arena = false;
	if (end - start != arena_bytes || !ld__py_guarded(NULL, read_pools, end) || !asked.is_arena)
		return false;
	*ret_used_bytes = asked.used;
	return true;
}
