/* SPDX-License-Identifier: Apache-2.0
 * L4  arenas.c - where the allocator keeps free memory, why it stays, and what would help, in sentences.
 *
 *   hole      free, between blocks that are used: only its whole pages can be given back
 *   top       free up to the end of a heap: can be given back if it is the last
 *   dirty     whole pages that are free, kept for a while (jemalloc, tcmalloc)
 *   cached    freed blocks that a thread or a list keeps for the next of their size
 *
 * Advice names only what the numbers of this snapshot show, with the bytes that it would be about. */
#include "core/arenas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/account.h"
#include "preload/stream.h"

#define LINES_MAX 8			/* arenas told one by one; the rest are counted */
#define WORTH_BYTES (1u << 20)		/* less free memory than this is not worth a sentence ... */
#define WORTH_SHARE 0.02		/* ... nor less than this share of resident memory */
#define CAUSES_MAX 3

const char *arenas_kind(uint32_t kind)
{
	static const char *const kinds[] = {
		[STREAM_ARENA_GLIBC] = "glibc", [STREAM_ARENA_GLIBC_MAPPED] = "glibc-mapped",
		[STREAM_ARENA_JEMALLOC] = "jemalloc", [STREAM_ARENA_JEMALLOC_ALL] = "jemalloc-all",
		[STREAM_ARENA_TCMALLOC] = "tcmalloc", [STREAM_ARENA_MIMALLOC] = "mimalloc",
	};

	return kind && kind < sizeof(kinds) / sizeof(*kinds) ? kinds[kind] : "other";
}

const char *arenas_name(const struct heap_arena *arena, char buffer[TEXT_SIZE])
{
	switch (arena->kind) {
	case STREAM_ARENA_GLIBC:
		if (!arena->number)
			return "main arena";
		snprintf(buffer, TEXT_SIZE, "arena %" PRIu32, arena->number);
		return buffer;
	case STREAM_ARENA_GLIBC_MAPPED:
		return "blocks with a mapping of their own";
	case STREAM_ARENA_JEMALLOC:
		snprintf(buffer, TEXT_SIZE, "jemalloc arena %" PRIu32, arena->number);
		return buffer;
	case STREAM_ARENA_JEMALLOC_ALL:
		return "jemalloc";
	default:
		return arenas_kind(arena->kind);
	}
}

static uint64_t known(uint64_t value)
{
	return value == HEAP_ARENA_UNKNOWN ? 0 : value;
}

/* Resident memory in an arena that nobody uses. */
static uint64_t idle(const struct heap_arena *arena)
{
	return known(arena->free_resident_bytes) + known(arena->top_resident_bytes) + known(arena->dirty_bytes) +
	       known(arena->muzzy_bytes) + known(arena->cached_bytes);
}

static bool is_whole(const struct heap_arena *arena)
{
	return arena->kind == STREAM_ARENA_JEMALLOC_ALL;
}

static uint64_t worth(const struct heap *heap)
{
	uint64_t share = (uint64_t)(WORTH_SHARE * (double)heap->account.total_bytes);

	return share > WORTH_BYTES ? share : WORTH_BYTES;
}

/* The sizes that hold most of what is free, or in use: "32 to 64 KiB". Returns "" when there are none. */
static const char *main_class(const struct heap_arena *arena, bool free, char buffer[64])
{
	char low[TEXT_SIZE], high[TEXT_SIZE];
	uint64_t most = 0;
	int best = -1;

	for (int i = 0; i < HEAP_ARENA_CLASSES; i++) {
		uint64_t bytes = free ? arena->classes[i].free_bytes : arena->classes[i].used_bytes;

		if (bytes > most) {
			most = bytes;
			best = i;
		}
	}
	if (best < 0)
		return "";
	snprintf(buffer, 64, ", most of %s to %s", text_size((int64_t)(1ll << best), low),
		 text_size((int64_t)(2ll << best), high));
	return buffer;
}

/* ---- sentences ---- */

static int add(char ***list, size_t *count, char *sentence)
{
	char **grown = sentence ? reallocarray(*list, *count + 1, sizeof(*grown)) : NULL;

	if (!grown) {
		free(sentence);
		return -ENOMEM;
	}
	*list = grown;
	grown[(*count)++] = sentence;
	return 0;
}

static void say_holes(struct text *text, const struct heap_arena *a)
{
	char bytes[TEXT_SIZE], count[TEXT_SIZE], largest[TEXT_SIZE], used[TEXT_SIZE], blocks[TEXT_SIZE];
	char free_sizes[64], used_sizes[64];

	text_printf(text, "%s free in %s %s", text_size((int64_t)known(a->free_resident_bytes), bytes),
		    text_count((int64_t)known(a->free_count), count), known(a->free_count) == 1 ? "hole" : "holes");
	if (known(a->largest_free_bytes))
		text_printf(text, ", largest %s", text_size((int64_t)a->largest_free_bytes, largest));
	text_append(text, main_class(a, true, free_sizes));
	text_printf(text, ", pinned by %s in use", text_size((int64_t)known(a->used_bytes), used));
	if (known(a->used_count))
		text_printf(text, " (%s blocks%s)", text_count((int64_t)a->used_count, blocks),
			    main_class(a, false, used_sizes));
}

static void say_pages(struct text *text, const struct heap_arena *a)
{
	char bytes[TEXT_SIZE];
	const char *comma = text->length ? "; " : "";

	if (known(a->top_resident_bytes) >= WORTH_BYTES) {
		text_printf(text, "%s%s free at the end", comma, text_size((int64_t)a->top_resident_bytes, bytes));
		comma = "; ";
	}
	if (known(a->dirty_bytes) >= WORTH_BYTES) {
		text_printf(text, "%s%s of freed pages that are kept", comma, text_size((int64_t)a->dirty_bytes, bytes));
		comma = "; ";
	}
	if (known(a->muzzy_bytes) >= WORTH_BYTES) {
		text_printf(text, "%s%s given back lazily", comma, text_size((int64_t)a->muzzy_bytes, bytes));
		comma = "; ";
	}
	if (known(a->cached_bytes) >= WORTH_BYTES)
		text_printf(text, "%s%s of freed blocks in caches", comma, text_size((int64_t)a->cached_bytes, bytes));
}

/* "main arena: 36 MiB free in 998 holes, ...". NULL when memory is short. */
static char *describe(const struct heap_arena *arena)
{
	struct text text = { 0 }, line = { 0 };
	char name[TEXT_SIZE], size[TEXT_SIZE], live[TEXT_SIZE];

	if (arena->kind == STREAM_ARENA_MIMALLOC)
		return text_format("mimalloc: %s; mi_collect(true) gives back what it can", arena->unread);
	if (*arena->unread) {
		return text_format("%s: not read, %s; %s resident, %s of it recorded blocks", arenas_name(arena, name),
				   arena->unread, text_size((int64_t)known(arena->resident_bytes), size),
				   text_size((int64_t)known(arena->live_bytes), live));
	}
	if (known(arena->free_resident_bytes) >= WORTH_BYTES)
		say_holes(&text, arena);
	say_pages(&text, arena);
	if (!text.length)
		text_printf(&text, "%s free", text_size((int64_t)idle(arena), size));
	text_append(&line, arenas_name(arena, name));
	text_append(&line, ": ");
	text_append(&line, text.data ? text.data : "");
	if (arena->kind == STREAM_ARENA_GLIBC && arena->threads == 0)
		text_append(&line, "; no thread uses it now");
	line.broken |= text.broken;
	text_done(&text);
	return text_take(&line);
}

static int compare_idle(const void *a, const void *b)
{
	const struct heap_arena *x = *(const struct heap_arena *const *)a, *y = *(const struct heap_arena *const *)b;

	return idle(x) > idle(y) ? -1 : idle(x) < idle(y);
}

static int make_lines(const struct heap *heap, struct arenas_report *report)
{
	const struct heap_arena **order = calloc(heap->arena_count + 1ull, sizeof(*order));
	uint64_t least = worth(heap), rest_bytes = 0;
	uint32_t count = 0, rest = 0;
	char size[TEXT_SIZE];
	int r = order ? 0 : -ENOMEM;

	for (uint32_t i = 0; order && i < heap->arena_count; i++)
		if (!is_whole(&heap->arenas[i]))
			order[count++] = &heap->arenas[i];
	if (count)
		qsort(order, count, sizeof(*order), compare_idle);
	for (uint32_t i = 0; i < count && r == 0; i++) {
		if (!*order[i]->unread && idle(order[i]) < least)
			continue;
		if (report->line_count < LINES_MAX) {
			r = add(&report->lines, &report->line_count, describe(order[i]));
		} else {
			rest++;
			rest_bytes += idle(order[i]);
		}
	}
	if (rest && r == 0)
		r = add(&report->lines, &report->line_count,
			text_format("%" PRIu32 " more arenas: %s free", rest, text_size((int64_t)rest_bytes, size)));
	free(order);
	return r;
}

/* ---- what would help ---- */

struct sums {
	uint64_t trim, holes, other_arenas, top, dirty, decay_ms;
	uint32_t arenas;		/* of glibc, beside the main one, with something in them */
	uint32_t kind;			/* of the allocator; 0 = unknown */
};

static struct sums sum(const struct heap *heap)
{
	struct sums s = { 0 };

	for (uint32_t i = 0; i < heap->arena_count; i++) {
		const struct heap_arena *a = &heap->arenas[i];

		if (a->kind == STREAM_ARENA_JEMALLOC || *a->unread) {
			s.kind = s.kind ? s.kind : a->kind;
			continue;
		}
		if (a->kind != STREAM_ARENA_GLIBC_MAPPED)
			s.kind = a->kind;
		s.trim += known(a->trim_bytes);
		s.holes += known(a->free_resident_bytes);
		s.dirty += known(a->dirty_bytes);
		if (is_whole(a))
			s.decay_ms = a->decay_ms;
		if (a->kind != STREAM_ARENA_GLIBC)
			continue;
		if (!a->number)
			s.top = known(a->top_resident_bytes);
		else if (known(a->used_count) > 8)	/* a thread that never allocated has no more than its cache */
			s.arenas++;
		if (a->number)
			s.other_arenas += idle(a);
	}
	return s;
}

static int advise_glibc(const struct heap *heap, const struct sums *s, struct arenas_report *report)
{
	uint64_t least = worth(heap);
	char bytes[TEXT_SIZE], whole[TEXT_SIZE];
	int r = 0;

	if (s->trim >= least)
		r = add(&report->advice, &report->advice_count,
			text_format("malloc_trim(0) would give back about %s: whole pages inside the holes, and the main "
				    "arena's end", text_size((int64_t)s->trim, bytes)));
	if (r == 0 && s->holes > s->trim && s->holes - s->trim >= least)
		r = add(&report->advice, &report->advice_count,
			text_format("%s of the holes share their pages with blocks in use: nothing gives them back while "
				    "those blocks live; blocks that live long belong apart from those that do not",
				    text_size((int64_t)(s->holes - s->trim), bytes)));
	if (r == 0 && s->arenas >= 2 && s->other_arenas >= least)
		r = add(&report->advice, &report->advice_count,
			text_format("MALLOC_ARENA_MAX=2 would let threads share arenas: %" PRIu32 " others than the main one "
				    "keep %s free, each for its own threads", s->arenas,
				    text_size((int64_t)s->other_arenas, bytes)));
	if (r == 0 && s->top >= least)
		r = add(&report->advice, &report->advice_count,
			text_format("the main arena's end (%s) goes back by itself only beyond the trim threshold, which "
				    "grows with the largest freed block up to 64 MiB: MALLOC_TRIM_THRESHOLD_=131072 keeps "
				    "it at %s", text_size((int64_t)s->top, bytes), text_size(131072, whole)));
	return r;
}

static int advise_jemalloc(const struct heap *heap, const struct sums *s, struct arenas_report *report)
{
	char bytes[TEXT_SIZE];

	if (s->dirty < worth(heap))
		return 0;
	if (s->decay_ms == HEAP_ARENA_UNKNOWN)
		return add(&report->advice, &report->advice_count,
			   text_format("jemalloc is told never to give pages back (dirty_decay_ms:-1): "
				       "MALLOC_CONF=dirty_decay_ms:1000 gives back %s of freed pages",
				       text_size((int64_t)s->dirty, bytes)));
	return add(&report->advice, &report->advice_count,
		   text_format("jemalloc gives freed pages back after %.3g s (dirty_decay_ms), and only when the program "
			       "allocates: MALLOC_CONF=background_thread:true,dirty_decay_ms:1000 gives back %s sooner",
			       (double)s->decay_ms / 1000, text_size((int64_t)s->dirty, bytes)));
}

static int advise(const struct heap *heap, struct arenas_report *report)
{
	struct sums s = sum(heap);
	char bytes[TEXT_SIZE];

	switch (s.kind) {
	case STREAM_ARENA_GLIBC:
		return advise_glibc(heap, &s, report);
	case STREAM_ARENA_JEMALLOC:
	case STREAM_ARENA_JEMALLOC_ALL:
		return advise_jemalloc(heap, &s, report);
	case STREAM_ARENA_TCMALLOC:
		return s.dirty < worth(heap) ? 0 :
			add(&report->advice, &report->advice_count,
			    text_format("MallocExtension_ReleaseFreeMemory() would give back %s; TCMALLOC_RELEASE_RATE=10 does "
					"so sooner", text_size((int64_t)s.dirty, bytes)));
	default:
		return 0;
	}
}

int arenas_report_make(const struct heap *heap, struct arenas_report *ret_report)
{
	int r;

	memset(ret_report, 0, sizeof(*ret_report));
	r = make_lines(heap, ret_report);
	return r < 0 ? r : advise(heap, ret_report);
}

void arenas_report_done(struct arenas_report *report)
{
	for (size_t i = 0; i < report->line_count; i++)
		free(report->lines[i]);
	for (size_t i = 0; i < report->advice_count; i++)
		free(report->advice[i]);
	free(report->lines);
	free(report->advice);
	memset(report, 0, sizeof(*report));
}

/* ---- growth ---- */

struct cause {
	const char *words;
	uint64_t bytes;			/* by which it grew */
};

static int compare_causes(const void *a, const void *b)
{
	const struct cause *x = a, *y = b;

	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

static uint64_t grown(uint64_t before, uint64_t after)
{
	return after > before ? after - before : 0;
}

/* Is most of what is free in a few large holes, rather than in many between blocks? */
static bool has_large_holes(const struct heap *heap)
{
	uint64_t free = 0, largest = 0;

	for (uint32_t i = 0; i < heap->arena_count; i++)
		if (heap->arenas[i].kind == STREAM_ARENA_GLIBC && !*heap->arenas[i].unread) {
			free += known(heap->arenas[i].free_bytes);
			largest += known(heap->arenas[i].largest_free_bytes);
		}
	return largest > free / 2;
}

char *arenas_explain(const struct heap *first, const struct heap *last, bool where)
{
	const struct heap_details *a = &first->details, *b = &last->details;
	struct cause causes[] = {
		{ has_large_holes(last) ? "free below blocks in use, which keep its heap from shrinking" :
			"free in holes between blocks (fragmentation)", grown(a->allocator_free, b->allocator_free) },
		{ "free at the end of the allocator's heaps", grown(a->allocator_top, b->allocator_top) },
		{ "freed pages that the allocator keeps", grown(a->allocator_dirty, b->allocator_dirty) },
		{ "freed pages that the kernel may take", grown(a->allocator_muzzy, b->allocator_muzzy) },
		{ "freed blocks in the allocator's caches", grown(a->allocator_cached, b->allocator_cached) },
		{ "the allocator's own records", grown(a->allocator_metadata, b->allocator_metadata) },
		{ "blocks that nobody recorded", grown(a->allocator_unrecorded, b->allocator_unrecorded) },
		{ "arenas that could not be read", grown(a->allocator_unread, b->allocator_unread) },
		{ "headers and rounding of blocks", grown(a->allocator_overhead, b->allocator_overhead) },
		{ "free in Python's arenas, each kept by what lives in it", grown(first->account.python_bytes,
										   last->account.python_bytes) },
		{ "mappings that nothing explains", grown(first->account.other_bytes, last->account.other_bytes) },
	};
	const uint64_t *all = (const uint64_t *)b;
	struct arenas_report report;
	struct text text = { 0 };
	char size[TEXT_SIZE];
	uint64_t known_bytes = 0;

	for (size_t i = 0; i < sizeof(*b) / sizeof(*all); i++)
		known_bytes |= all[i];
	if (!known_bytes)
		return strdup("");
	qsort(causes, sizeof(causes) / sizeof(*causes), sizeof(*causes), compare_causes);
	for (size_t i = 0; i < CAUSES_MAX; i++)
		if (causes[i].bytes >= WORTH_BYTES / 4)
			text_printf(&text, "%s%s more %s", text.length ? ", " : "",
				    text_size((int64_t)causes[i].bytes, size), causes[i].words);
	if (arenas_report_make(last, &report) < 0)
		text.broken = true;
	if (where && report.line_count)
		text_printf(&text, "; %s", report.lines[0]);
	if (where && report.advice_count)
		text_printf(&text, "; %s", report.advice[0]);
	arenas_report_done(&report);
	return text.length || text.broken ? text_take(&text) : strdup("");
}
