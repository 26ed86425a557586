/* SPDX-License-Identifier: Apache-2.0
 * L3  allocators.c - what allocators other than glibc's say about their own memory.
 *
 * Names are looked up at run time, and only when something else than libc serves malloc: a name that is not there
 * costs dlsym() an allocation, and the agent's first one would make glibc set up an arena for it. */
#include "allocators.h"

#include <stdbool.h>
#include <string.h>

#include "jemalloc.h"
#include "modules.h"
#include "real.h"

typedef int numeric_property(const char *name, size_t *ret_value);
typedef void process_info(size_t *elapsed_ms, size_t *user_ms, size_t *system_ms, size_t *current_rss, size_t *peak_rss,
			  size_t *current_commit, size_t *peak_commit, size_t *page_faults);

void ld__allocators_blank(struct stream_arena *arena, uint16_t kind, uint32_t number)
{
	memset(arena, 0, sizeof(*arena));
	arena->kind = kind;
	arena->number = number;
	arena->threads = UINT32_MAX;
	arena->dirty_bytes = arena->muzzy_bytes = arena->retained_bytes = arena->decay_ms = UINT64_MAX;
}

static uint64_t property(numeric_property *ask, const char *name)
{
	size_t value = 0;

	return ask(name, &value) ? value : 0;
}

static uint32_t ask_tcmalloc(struct stream_arena *arena)
{
	numeric_property *ask = (numeric_property *)(uintptr_t)ld__real_symbol("MallocExtension_GetNumericProperty");
	uint64_t unmapped, heap;

	if (!ask || !ld__real_serves((void *)(uintptr_t)ask))
		return 0;
	ld__allocators_blank(arena, STREAM_ARENA_TCMALLOC, 0);
	heap = property(ask, "generic.heap_size");
	unmapped = property(ask, "tcmalloc.pageheap_unmapped_bytes");
	arena->mapped_bytes = heap;
	arena->resident_bytes = heap > unmapped ? heap - unmapped : 0;
	arena->used_bytes = property(ask, "generic.current_allocated_bytes");
	arena->dirty_bytes = property(ask, "tcmalloc.pageheap_free_bytes");
	arena->retained_bytes = unmapped;
	arena->cached_bytes = property(ask, "tcmalloc.thread_cache_free_bytes");
	arena->free_bytes = property(ask, "tcmalloc.central_cache_free_bytes") +
			    property(ask, "tcmalloc.transfer_cache_free_bytes");
	arena->free_resident_bytes = arena->free_bytes;
	arena->trim_bytes = arena->dirty_bytes;
	arena->read = 1;
	return 1;
}

static uint32_t ask_mimalloc(struct stream_arena *arena)
{
	process_info *ask = (process_info *)(uintptr_t)ld__real_symbol("mi_process_info");
	size_t unused[7], committed = 0;

	if (!ask || !ld__real_serves((void *)(uintptr_t)ask))
		return 0;
	ld__allocators_blank(arena, STREAM_ARENA_MIMALLOC, 0);
	ask(&unused[0], &unused[1], &unused[2], &unused[3], &unused[4], &committed, &unused[5], &unused[6]);
	arena->mapped_bytes = committed;
	return 1;
}

static bool libc_serves(void)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->flags & STREAM_MODULE_ALLOCATOR && module->flags & STREAM_MODULE_LIBC)
			return true;
	}
	return false;
}

/* Does the program itself define malloc, so that it is neither ours nor the next after ours that it calls? */
static bool in_program(void)
{
	void *first = ld__real_symbol("malloc");

	return first && !ld__real_same_object(first, (void *)(uintptr_t)ld__real.malloc) &&
	       !ld__real_same_object(first, (void *)(uintptr_t)ld__allocators_ask);
}

uint32_t ld__allocators_ask(struct stream_arena *ret_arenas, uint32_t most)
{
	uint32_t count = 0;

	if (libc_serves() && !in_program())
		return 0;
	memset(ret_arenas, 0, most * sizeof(*ret_arenas));
	count = ld__jemalloc_arenas(ret_arenas, most);
	if (!count)
		count = ask_tcmalloc(ret_arenas);
	return count ? count : ask_mimalloc(ret_arenas);
}
