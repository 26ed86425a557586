/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_account.c - where resident memory is, from the mappings.
 *
 * Every resident byte of every mapping goes to exactly one part, so the parts sum to the total, which
 * is the resident size of the process. A live block is counted by what of it is resident; of an arena of
 * Python's allocator what is in use counts as live, the rest is the arena's. Three parts are split further,
 * the allocator's by what its arenas say of themselves: the rest of it is headers and rounding. */
#include <string.h>

#include "core/heap.h"
#include "core/ingest_parts.h"
#include "core/store_write.h"

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

/* Up to `bytes` of what is left of a part: numbers of different moments never make it more than it is. */
static uint64_t take(uint64_t *left, uint64_t bytes)
{
	if (bytes == UINT64_MAX)
		return 0;
	if (bytes > *left)
		bytes = *left;
	*left -= bytes;
	return bytes;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return b > UINT64_MAX - a ? UINT64_MAX - 1 : a + b;
}

static void split_allocator(const struct stream *stream, uint64_t left, struct heap_details *d)
{
	struct heap_details all = { 0 };

	for (uint32_t i = 0; i < stream->arena_count; i++) {
		const struct stream_arena *a = &stream->arenas[i];

		if (a->kind == STREAM_ARENA_JEMALLOC)
			continue;		/* part of JEMALLOC_ALL */
		if (a->kind == STREAM_ARENA_MIMALLOC) {
			all.allocator_unread = UINT64_MAX - 1;	/* it says how much it holds, not what is free */
			continue;
		}
		if (!a->read) {
			all.allocator_unread = sum(all.allocator_unread, a->resident_bytes > a->live_bytes ?
						   a->resident_bytes - a->live_bytes : 0);
			continue;
		}
		all.allocator_metadata = sum(all.allocator_metadata, a->metadata_bytes);
		all.allocator_dirty = sum(all.allocator_dirty, a->dirty_bytes == UINT64_MAX ? 0 : a->dirty_bytes);
		all.allocator_muzzy = sum(all.allocator_muzzy, a->muzzy_bytes == UINT64_MAX ? 0 : a->muzzy_bytes);
		all.allocator_free = sum(all.allocator_free, a->free_resident_bytes);
		all.allocator_top = sum(all.allocator_top, a->top_resident_bytes);
		all.allocator_cached = sum(all.allocator_cached, a->cached_bytes);
		all.allocator_unrecorded = sum(all.allocator_unrecorded, a->unrecorded_bytes);
	}
	d->allocator_free = take(&left, all.allocator_free);
	d->allocator_top = take(&left, all.allocator_top);
	d->allocator_dirty = take(&left, all.allocator_dirty);
	d->allocator_muzzy = take(&left, all.allocator_muzzy);
	d->allocator_cached = take(&left, all.allocator_cached);
	d->allocator_unread = take(&left, all.allocator_unread);
	d->allocator_metadata = take(&left, all.allocator_metadata);
	d->allocator_unrecorded = take(&left, all.allocator_unrecorded);
	d->allocator_overhead = left;
}

void ingest_account_split(const struct stream *stream, const struct heap_account *account,
			  struct heap_details *ret_details)
{
	uint64_t live = account->live_bytes, files = account->files_bytes;
	uint64_t mappings = 0, python = 0, data = 0;

	for (uint32_t i = 0; i < stream->map_count; i++) {
		const struct stream_map *map = &stream->maps[i];
		uint64_t in_it = map->live_resident_bytes < map->rss_bytes ? map->live_resident_bytes : map->rss_bytes;

		if (map->rss_bytes == UINT64_MAX)
			continue;
		if (map->kind == STREAM_MAP_PROGRAM || map->kind == STREAM_MAP_KERNEL)	/* kept out of forks, see regions.c */
			mappings = sum(mappings, in_it);
		else if (map->kind == STREAM_MAP_PYTHON)
			python = sum(python, in_it);
		else if (map->kind == STREAM_MAP_MODULE_DATA)
			data = sum(data, map->rss_bytes - in_it);
	}
	memset(ret_details, 0, sizeof(*ret_details));
	ret_details->live_mappings = take(&live, mappings);
	ret_details->live_python = take(&live, python);
	ret_details->live_blocks = live;
	ret_details->files_data = take(&files, data);
	ret_details->files_code = files;
	split_allocator(stream, account->allocator_bytes, ret_details);
}

static const char *unread(const struct stream *stream, const struct stream_arena *arena)
{
	const char *why = stream_string(stream, arena->why);

	return arena->read ? "" : *why ? why : "it does not say what of its memory is free";
}

static void write_arenas(struct store_writer *writer, const struct stream *stream)
{
	for (uint32_t i = 0; i < stream->arena_count; i++) {
		const struct stream_arena *a = &stream->arenas[i];

		store_put(writer, "arenas", "iiiosuzzzzzzzzzzzzzzzzzzzzzz", (int64_t)i, (int64_t)a->kind,
			  (int64_t)a->number, a->threads, unread(stream, a), a->start,
			  a->mapped_bytes, a->resident_bytes, a->live_bytes, a->live_count, a->used_bytes,
			  a->used_count, a->free_bytes, a->free_count, a->free_resident_bytes, a->largest_free_bytes,
			  a->top_bytes, a->top_resident_bytes, a->cached_bytes, a->cached_count, a->unrecorded_bytes,
			  a->unrecorded_count, a->trim_bytes, a->dirty_bytes, a->muzzy_bytes, a->metadata_bytes,
			  a->retained_bytes, a->decay_ms);
		for (uint32_t k = 0; k < STREAM_ARENA_CLASSES; k++) {
			const struct stream_arena_class *c = &a->classes[k];

			if (c->free_count || c->used_count)
				store_put(writer, "arena_classes", "iiuuuu", (int64_t)i, (int64_t)(1ll << k),
					  c->free_count, c->free_bytes, c->used_count, c->used_bytes);
		}
	}
}

void ingest_account_write(struct store_writer *writer, const struct stream *stream,
			  const struct heap_account *a)
{
	const struct { const char *part; uint64_t bytes; } parts[] = {
		{ "live", a->live_bytes }, { "allocator", a->allocator_bytes }, { "python", a->python_bytes },
		{ "stacks", a->stacks_bytes }, { "files", a->files_bytes }, { "shared", a->shared_bytes },
		{ "leakdiff", a->leakdiff_bytes }, { "other", a->other_bytes }, { "total", a->total_bytes } };
	struct heap_details details;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		store_put(writer, "account", "su", parts[i].part, parts[i].bytes);
	ingest_account_split(stream, a, &details);
#define X(part, name, text) store_put(writer, "account_details", "ssu", #part, #name, details.part##_##name);
	HEAP_DETAILS(X)
#undef X
	write_arenas(writer, stream);
}
