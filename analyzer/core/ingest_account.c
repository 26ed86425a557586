/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_account.c - where resident memory is, from the mappings.
 *
 * Every resident byte of every mapping goes to exactly one part, so the parts sum to the total, which
 * is the resident size of the process. A live block is counted by what of it is resident; of an arena of
 * Python's allocator what is in use counts as live, the rest is the arena's. */
#include <string.h>

#include "core/heap.h"
#include "core/ingest_parts.h"

#define TOTAL_MAX (1ull << 62)

/* The part that a mapping's bytes belong to when no live block lies in them. */
static uint64_t *part_of(struct heap_account *account, unsigned kind)
{
	switch (kind) {
	case STREAM_MAP_FILE:
	case STREAM_MAP_MODULE_DATA:
		return &account->files_bytes;
	case STREAM_MAP_HEAP:
		return &account->allocator_bytes;
	case STREAM_MAP_PYTHON:
		return &account->python_bytes;
	case STREAM_MAP_STACK:
		return &account->stacks_bytes;
	case STREAM_MAP_SHARED:
		return &account->shared_bytes;
	case STREAM_MAP_OWN:
		return &account->leakdiff_bytes;
	default:
		return &account->other_bytes;
	}
}

void ingest_account_make(const struct stream *stream, struct heap_account *ret_account)
{
	memset(ret_account, 0, sizeof(*ret_account));
	for (uint32_t i = 0; i < stream->map_count; i++) {
		const struct stream_map *map = &stream->maps[i];
		uint64_t live = map->live_resident_bytes;

		/* unknown, or a sum that no machine has */
		if (map->rss_bytes == UINT64_MAX ||
		    map->rss_bytes > TOTAL_MAX - ret_account->total_bytes)
			continue;
		/* read at slightly different moments: a page may have come or gone in between */
		if (live == UINT64_MAX || map->kind == STREAM_MAP_OWN)
			live = 0;
		if (live > map->rss_bytes)
			live = map->rss_bytes;
		ret_account->live_bytes += live;
		*part_of(ret_account, map->kind) += map->rss_bytes - live;
		ret_account->total_bytes += map->rss_bytes;
	}
}

void ingest_account_estimate(struct heap_account *account, uint64_t live_bytes)
{
	uint64_t *const from[] = { &account->allocator_bytes, &account->other_bytes };

	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		uint64_t bytes = live_bytes < *from[i] ? live_bytes : *from[i];

		*from[i] -= bytes;
		account->live_bytes += bytes;
		live_bytes -= bytes;
	}
}
