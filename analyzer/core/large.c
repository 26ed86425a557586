/* SPDX-License-Identifier: Apache-2.0
 * L0  large.c - memory for columns that are millions of elements long.
 *
 *   used   | array A | array C |             spans of whole huge pages
 *   spare       | was B |   | was D |        with their memory, for whoever asks next
 *
 * (1) An array that fits no spare span is made of several: their pages are moved to one range of addresses,
 *     which moves no bytes. So fresh memory is taken only when no spare page is left.
 * (2) When the last array has gone, everything goes back to the kernel.
 * (3) Below LARGE_BYTES malloc() does as well; large_free() tells by the address. Such an array does not begin where
 *     malloc() said, so that a free() in the place of large_free() is noticed with a short array too.
 * A sanitizer sees more of what each malloc() and free() are for, so with one there are no spans. */
#include "core/large.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
	__has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LARGE_BYTES SIZE_MAX
#else
#define LARGE_BYTES ((size_t)4 << 20)
#endif
#define PAGE ((size_t)2 << 20)
#define SHORT_GAP 16u			/* see (3); keeps the alignment */

struct span { char *at; size_t bytes; };

struct spans {				/* ascending by address */
	struct span *list;
	size_t count, room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spans used, spare;

static bool make_room(struct spans *spans, size_t more)
{
	if (spans->count + more > spans->room) {
		size_t wider = (spans->count + more) * 2;
		struct span *grown = reallocarray(spans->list, wider, sizeof(*grown));

		if (!grown)
			return false;
		spans->list = grown;
		spans->room = wider;
	}
	return true;
}

/* There is room. */
static void insert(struct spans *spans, struct span span)
{
	size_t i = spans->count++;

	for (; i && spans->list[i - 1].at > span.at; i--)
		spans->list[i] = spans->list[i - 1];
	spans->list[i] = span;
}

static void take_out(struct spans *spans, size_t i)
{
	spans->count--;
	memmove(&spans->list[i], &spans->list[i + 1], (spans->count - i) * sizeof(*spans->list));
}

/* Keep a span for the next array; where that cannot be noted it goes back at once. */
static void keep(struct span span)
{
	if (!make_room(&spare, 1)) {
		munmap(span.at, span.bytes);
		return;
	}
	insert(&spare, span);
	for (size_t i = spare.count - 1; i; i--)
		if (spare.list[i - 1].at + spare.list[i - 1].bytes == spare.list[i].at) {
			spare.list[i - 1].bytes += spare.list[i].bytes;
			take_out(&spare, i);
		}
}

/* Move pages to where nothing is needed. A span may consist of several mappings, which older kernels move only one
 * by one. Returns false where some stayed: fresh ones are in their place. */
static bool move_pages(char *from, char *to, size_t bytes)
{
	if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
		return true;
	if (bytes == PAGE) {
		munmap(from, bytes);
		return false;
	}
	size_t half = bytes / PAGE / 2 * PAGE;

	return move_pages(from, to, half) & move_pages(from + half, to + half, bytes - half);
}

/* The smallest spare span that is long enough, cut to length. */
static char *take_one(size_t bytes)
{
	size_t best = spare.count;
	char *at;

	for (size_t i = 0; i < spare.count; i++)
		if (spare.list[i].bytes >= bytes && (best == spare.count || spare.list[i].bytes < spare.list[best].bytes))
			best = i;
	if (best == spare.count)
		return NULL;
	at = spare.list[best].at;
	spare.list[best].at += bytes;
	spare.list[best].bytes -= bytes;
	if (!spare.list[best].bytes)
		take_out(&spare, best);
	return at;
}

/* A new range of addresses with the pages of spare spans, longest first, and fresh ones behind them. */
static char *take_several(size_t bytes)
{
	char *map = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(((uintptr_t)map + PAGE - 1) & ~(PAGE - 1));
	size_t filled = 0;

	if (map == MAP_FAILED)
		return NULL;
	if (at > map)
		munmap(map, (size_t)(at - map));
	munmap(at + bytes, (size_t)(map + PAGE - at));
	while (spare.count && filled < bytes) {
		struct span *span = &spare.list[0];
		size_t part;

		for (size_t i = 1; i < spare.count; i++)
			if (spare.list[i].bytes > span->bytes)
				span = &spare.list[i];
		part = span->bytes < bytes - filled ? span->bytes : bytes - filled;
		move_pages(span->at, at + filled, part);
		filled += part;
		span->at += part;
		span->bytes -= part;
		if (!span->bytes)
			take_out(&spare, (size_t)(span - spare.list));
	}
	return at;
}

void *large_array(uint64_t count, size_t element_bytes)
{
	size_t bytes, whole;
	char *at = NULL;

	if (__builtin_mul_overflow(count ? count : 1, element_bytes, &bytes))
		return NULL;
	if (bytes > PTRDIFF_MAX - PAGE)
		return NULL;
	if (bytes < LARGE_BYTES) {
		at = malloc(SHORT_GAP + bytes);
		return at ? at + SHORT_GAP : NULL;
	}
	whole = (bytes + PAGE - 1) & ~(PAGE - 1);
	pthread_mutex_lock(&lock);
	if (make_room(&used, 1)) {
		at = take_one(whole);
		if (!at)
			at = take_several(whole);
		if (at)
			insert(&used, (struct span){ at, whole });
	}
	pthread_mutex_unlock(&lock);
	/* A hint: where it is refused, small pages do. The last page is not filled. */
	if (at)
		madvise(at, bytes & ~(PAGE - 1), MADV_HUGEPAGE);
	return at;
}

static struct span *find(const void *array)
{
	for (size_t i = 0; i < used.count; i++)
		if (used.list[i].at == array)
			return &used.list[i];
	return NULL;
}

void large_free(void *array)
{
	struct span *span;

	pthread_mutex_lock(&lock);
	span = find(array);
	if (span) {
		struct span gone = *span;

		take_out(&used, (size_t)(span - used.list));
		keep(gone);
	}
	if (span && !used.count) {
		for (size_t i = 0; i < spare.count; i++)
			munmap(spare.list[i].at, spare.list[i].bytes);
		free(used.list);
		free(spare.list);
		used = spare = (struct spans){ 0 };
	}
	pthread_mutex_unlock(&lock);
	if (!span && array)
		free((char *)array - SHORT_GAP);
}

void large_shorten(void *array, uint64_t count, size_t element_bytes)
{
	size_t bytes = (count ? count : 1) * element_bytes, whole = (bytes + PAGE - 1) & ~(PAGE - 1);
	struct span *span;

	pthread_mutex_lock(&lock);
	span = find(array);
	if (span && span->bytes > whole) {
		struct span rest = { span->at + whole, span->bytes - whole };

		span->bytes = whole;
		keep(rest);
	}
	pthread_mutex_unlock(&lock);
}
