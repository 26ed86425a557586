/* SPDX-License-Identifier: Apache-2.0
 * test_memory.c - each allocation of an analysis fails once: it ends with -ENOMEM, not with a crash,
 * and leaves nothing behind.
 *
 * malloc and its family are this program's own for that; they forward to the C library's. A sanitizer
 * brings its own: then the analysis runs once, under its eyes. */
#include <errno.h>

#include "test.h"
#include "model.h"
#include "core/diff.h"
#include "core/leaks.h"
#include "core/pattern.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#define OWN_MALLOC !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
		     __has_feature(memory_sanitizer))
#else
#define OWN_MALLOC 1
#endif

static bool armed;
static long allowed, live;		/* allocations until one fails; blocks that are not freed */

#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static bool fails(void)
{
	return armed && allowed-- == 0;
}

void *malloc(size_t size)
{
	void *block = fails() ? NULL : __libc_malloc(size);

	live += block != NULL;
	return block;
}

void *calloc(size_t count, size_t size)
{
	void *block = fails() ? NULL : __libc_calloc(count, size);

	live += block != NULL;
	return block;
}

void *realloc(void *old, size_t size)
{
	void *block = fails() ? NULL : __libc_realloc(old, size);

	live += block && !old;
	return block;
}

void free(void *block)
{
	live -= block != NULL;
	__libc_free(block);
}
#endif

/* A cache that grew, a list that grew, a resized queue, an unreachable cycle: every path of the code. */
static void build(struct model *m, uint32_t round)
{
	uint32_t table = model_type(m, "table_new t.c:1", HEAP_TYPE_SITE), entry = model_type(m, "put t.c:2", HEAP_TYPE_SITE);
	uint32_t node = model_type(m, "push l.c:1", HEAP_TYPE_SITE), queue = model_type(m, "grow q.c:1", HEAP_TYPE_SITE);
	uint32_t body = model_type(m, "Body", HEAP_TYPE_RTTI), lost = model_type(m, "lose x.c:1", HEAP_TYPE_SITE);
	uint32_t stack = model_stack(m, "put", "t.c", 2);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_cache"), l = model_root(m, HEAP_ROOT_GLOBAL, "g_list");
	uint32_t l2 = model_root(m, HEAP_ROOT_TLS, "t_list"), q = model_root(m, HEAP_ROOT_GLOBAL, "g_queue");
	uint32_t t = model_block(m, 0x1000, 1024, 1, table, MODEL_NO_STACK), count = round ? 60 : 20;

	model_edge(m, MODEL_ROOT(g), t, 0);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t e = model_block(m, 0x100000 + i * 0x10000, 40 + i % 3, 20 + i * 20, entry, stack);
		uint32_t b = model_block(m, 0x101000 + i * 0x10000, 20000, 21 + i * 20, body, stack);
		uint32_t n = model_block(m, 0x107000 + i * 0x10000, 9000, 22 + i * 20, node, stack);

		model_edge(m, t, e, i * 8);
		model_edge(m, e, b, 8);
		model_edge(m, i ? n - 3 : MODEL_ROOT(l), n, 0);
		if (i == 0)
			model_edge(m, MODEL_ROOT(l2), n, 8);
	}
	uint32_t block = model_block(m, 0x8000000, round ? 900000 : 90000, 5, queue, MODEL_NO_STACK);
	model_edge(m, MODEL_ROOT(q), block, 0);
	for (uint32_t i = 0; round && i < 20; i++) {
		uint32_t x = model_block(m, 0x9000000 + i * 0x100, 100, 600 + i, lost, MODEL_NO_STACK);

		if (i & 1) {
			model_edge(m, x, x - 1, 8);
			model_edge(m, x - 1, x, 8);
		}
	}
}

static int analyse(const struct heap *const *heaps)
{
	struct diff_options options = { .by = DIFF_BY_TYPE };
	struct suspects *suspects = NULL;
	struct leak_list *leaks = NULL;
	struct picture *picture = NULL;
	struct series *series = NULL;
	struct diff *diff = NULL;
	struct chain_set *set = NULL;
	uint32_t nodes[] = { 3, 5 };
	int r = series_make(heaps, 2, &series);

	if (r == 0)
		r = diff_make(series, &options, &diff);
	if (r == 0)
		r = suspects_find(series, &suspects);
	if (r == 0)
		r = pattern_of_suspects(suspects, &picture);
	if (r == 0)
		r = leak_list_make(series, NULL, NULL, &leaks);
	if (r == 0)
		r = chain_set_make(series, nodes, 2, 2, &set);
	picture_free(picture);
	picture = NULL;
	if (r == 0)
		r = pattern_of_neighbours(series, nodes, 2, PATTERN_BACKREFS, 3, 5, &picture);
	picture_free(picture);
	chain_set_free(set);
	leak_list_free(leaks);
	suspects_free(suspects);
	diff_free(diff);
	series_free(series);
	return r;
}

#if OWN_MALLOC
TEST(every_allocation_of_an_analysis_may_fail)
#else
TEST(an_analysis_of_everything_succeeds)
#endif
{
	struct model m[2] = { 0 };
	struct heap *heaps[2];
	long failing = 0;
	bool failed;
	int r;

	for (uint32_t k = 0; k < 2; k++) {
		build(&m[k], k);
		heaps[k] = model_build(&m[k]);
		heaps[k]->meta.taken_birth = k ? 1300 : 430;
		heaps[k]->meta.taken_ns = k ? 20000000000 : 10000000000;
	}
	do {
		long before = live;

		allowed = failing;
		armed = true;
		r = analyse((const struct heap *const *)heaps);
		armed = false;
		failed = allowed < 0;
		if (r != 0)
			EXPECT_INT_EQ(r, -ENOMEM);
		if (EXPECT_INT_EQ(live, before))
			fprintf(stderr, "when allocation %ld failed\n", failing);
		failing++;
	} while (failed && failing < 100000);	/* an array that cannot be made shorter stays: no error */
#if OWN_MALLOC
	EXPECT(failing > 200);		/* the analysis is that large, and the last round succeeded */
#endif
	EXPECT_INT_EQ(r, 0);
	printf("%ld allocations failed one after another\n", failing - 1);
	for (int k = 0; k < 2; k++) {
		heap_free(heaps[k]);
		model_done(&m[k]);
	}
}

TEST_MAIN()
