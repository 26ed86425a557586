/* SPDX-License-Identifier: Apache-2.0
 * test_accept.c - suppressions and baselines: what they match, what is left. */
#include "core/accept.h"
#include "core/leaks.h"
#include "core/suppress.h"
#include "test.h"
#include "unit/model.h"

#include <unistd.h>

TEST(a_pattern_matches_letter_by_letter_as_leak_sanitizer_does)
{
	static const struct { const char *pattern, *name; bool matches; } cases[] = {
		{ "cache", "my_cache_new", true },	{ "cache", "my_cach", false },
		{ "^cache", "cache_new", true },	{ "^cache", "my_cache", false },
		{ "new$", "cache_new", true },		{ "new$", "cache_newer", false },
		{ "^cache_new$", "cache_new", true },	{ "^cache_new$", "cache_new2", false },
		{ "c*new", "cache_new", true },		{ "c*new", "new_c", false },
		{ "^c*e$", "cache", true },		{ "*", "anything", true },
		{ "a*", "", false },			{ "", "any name", true },
		{ "foo$", "foofoo", false },		/* the first place is taken for good */
		{ "foo*$", "foobar", true },		{ "^*bar", "foobar", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (EXPECT(suppress_matches(cases[i].pattern, cases[i].name) == cases[i].matches))
			fprintf(stderr, "in case %zu\n", i);
}

static struct suppressions *suppressions_of(const char *text, char **ret_error)
{
	char path[] = "/tmp/leakdiff-suppressions.XXXXXX";
	struct suppressions *s = NULL;
	int fd = mkstemp(path);
	ssize_t written = write(fd, text, strlen(text));

	close(fd);
	*ret_error = NULL;
	if (written != (ssize_t)strlen(text) || suppress_load(path, &s, ret_error) < 0)
		s = NULL;
	unlink(path);
	return s;
}

TEST(a_file_of_suppressions_has_comments_and_refuses_what_it_does_not_know)
{
	char *error;
	struct suppressions *s = suppressions_of("# why\n\n  leak:libfoo.so  \r\nleak:^bar$\n#leak:no\nleak:last", &error);

	ASSERT_NOT_NULL(s);
	ASSERT_U64_EQ(s->count, 3);
	EXPECT_STR_EQ(s->list[0].pattern, "libfoo.so");
	EXPECT_STR_EQ(s->list[1].pattern, "^bar$");
	EXPECT_STR_EQ(s->list[2].pattern, "last");
	suppress_free(s);
	EXPECT(suppressions_of("leak:ok\nrace:foo\n", &error) == NULL);
	ASSERT_NOT_NULL(error);
	EXPECT(strstr(error, ":2: ") && strstr(error, "race:foo"));
	free(error);
	EXPECT(suppressions_of("leak:\n", &error) == NULL);
	free(error);
}

TEST(names_in_a_baseline_have_no_sizes_and_no_lines)
{
	static const char *const cases[][2] = {
		{ "1048576 B from handle_put http_cache.c:266", "handle_put http_cache.c" },
		{ "from entry_new http_cache.c:104", "entry_new http_cache.c" },
		{ "char[64]", "char[64]" }, { "dict", "dict" }, { "Session:12", "Session:12" },
		{ "40 B from operator new (libfoo.so)", "operator new (libfoo.so)" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *name = accept_type_name(cases[i][0]);

		EXPECT_STR_EQ(name, cases[i][1]);
		free(name);
	}
}

/* `held` blocks in a list that g_list holds, and `lost` that nobody holds, each of 16 KiB. */
static struct heap *service(struct model *m, uint32_t held, uint32_t lost)
{
	uint32_t keep = model_stack(m, "keep", "k.c", 7), lose = model_stack(m, "lose", "l.c", 9);
	uint32_t table = model_type(m, "table t.c:1", HEAP_TYPE_SITE);
	uint32_t kept = model_type(m, "keep k.c:7", HEAP_TYPE_SITE), gone = model_type(m, "lose l.c:9", HEAP_TYPE_SITE);
	uint32_t root = model_root(m, HEAP_ROOT_GLOBAL, "g_list");

	m->heap.meta.pid = 7;
	m->heap.meta.process_start_ns = 9;
	m->heap.meta.consistent = true;
	m->heap.meta.taken_birth = 1000 + held + lost;
	uint32_t t = model_block(m, 0x1000, 4096, 1, table, MODEL_NO_STACK);
	model_edge(m, MODEL_ROOT(root), t, 0);
	for (uint32_t i = 0; i < held; i++)
		model_edge(m, t, model_block(m, 0x100000 + i * 0x10000, 16384, 10 + i, kept, keep), i * 8);
	for (uint32_t i = 0; i < lost; i++)
		model_block(m, 0x10000000 + i * 0x10000, 16384, 11 + i, gone, lose);
	return model_build(m);
}

struct pair {
	struct model m[2];
	struct heap *heaps[2];
	struct series *series;
	struct suspects *suspects;
};

static void make_pair(struct pair *p)
{
	*p = (struct pair){ 0 };
	p->heaps[0] = service(&p->m[0], 0, 0);
	p->heaps[1] = service(&p->m[1], 64, 32);
	if (series_make((const struct heap *const *)p->heaps, 2, &p->series) < 0 ||
	    suspects_find(p->series, &p->suspects) < 0)
		exit(1);
}

static void pair_done(struct pair *p)
{
	suspects_free(p->suspects);
	series_free(p->series);
	for (int k = 0; k < 2; k++) {
		heap_free(p->heaps[k]);
		model_done(&p->m[k]);
	}
}

TEST(what_is_suppressed_is_no_suspect_and_is_counted)
{
	struct acceptance a = { 0 };
	struct pair p;
	char *error;

	make_pair(&p);
	ASSERT_U64_EQ(p.suspects->count, 2);
	a.suppressions = suppressions_of("leak:^nobody\nleak:k.c\n", &error);
	ASSERT_INT_EQ(accept_apply(&a, p.suspects), 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT(p.suspects->list[0].verdict == SUSPECT_UNREACHABLE);
	EXPECT(p.suspects->grew);
	EXPECT_U64_EQ(a.suppressions->list[0].count, 0);
	EXPECT_U64_EQ(a.suppressions->list[1].count, 64);
	EXPECT_U64_EQ(a.suppressed_bytes, 64 * 16384);
	EXPECT_U64_EQ(a.unaccepted_bytes, 32 * 16384);
	EXPECT_U64_EQ(a.whole, 1);
	suppress_free(a.suppressions);
	pair_done(&p);
}

/* g_cache holds entries; each has a body, of put or of post. */
static struct heap *two_kinds(struct model *m, uint32_t entries)
{
	uint32_t put_stack = model_stack(m, "put", "s.c", 1), post_stack = model_stack(m, "post", "s.c", 2);
	uint32_t table = model_type(m, "table_new t.c:1", HEAP_TYPE_SITE), entry = model_type(m, "entry_new t.c:2", HEAP_TYPE_SITE);
	uint32_t put = model_type(m, "put s.c:1", HEAP_TYPE_SITE), post = model_type(m, "post s.c:2", HEAP_TYPE_SITE);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_cache"), t = model_block(m, 0x2000, 1024, 2, table, MODEL_NO_STACK);

	model_edge(m, MODEL_ROOT(g), t, 0);
	for (uint32_t i = 0; i < entries; i++) {
		uint32_t e = model_block(m, 0x10000 + i * 0x10000, 32, 10 + 2 * i, entry, MODEL_NO_STACK);

		model_edge(m, t, e, i * 8);
		model_edge(m, e, model_block(m, 0x11000 + i * 0x10000, 9000, 11 + 2 * i, i % 3 ? put : post,
					     i % 3 ? put_stack : post_stack), 16);
	}
	m->heap.meta.taken_birth = 5 + 1000 * entries;
	return model_build(m);
}

TEST(what_is_left_of_several_kinds_is_not_called_by_the_one_that_is_accepted)
{
	struct acceptance a = { 0 };
	struct pair p = { 0 };
	char *error, *what;

	p.heaps[0] = two_kinds(&p.m[0], 0);
	p.heaps[1] = two_kinds(&p.m[1], 99);
	ASSERT(series_make((const struct heap *const *)p.heaps, 2, &p.series) == 0 && suspects_find(p.series, &p.suspects) == 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	what = suspect_what(&p.suspects->list[0]);
	EXPECT_STR_EQ(what, "66 x 9000 B from put s.c:1 and 33 of 1 more kind");
	free(what);
	a.suppressions = suppressions_of("leak:put\n", &error);
	ASSERT_INT_EQ(accept_apply(&a, p.suspects), 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	what = suspect_what(&p.suspects->list[0]);
	EXPECT_STR_EQ(what, "33 that came with 9000 B from put s.c:1");
	free(what);
	suppress_free(a.suppressions);
	pair_done(&p);
}

TEST(a_baseline_accepts_what_it_allows_and_no_more)
{
	struct allowance list[] = {
		{ .type = (char *)"keep k.c", .site = (char *)"keep", .bytes = 48 * 16384, .count = UINT64_MAX },
		{ .type = NULL, .site = (char *)"l*e", .bytes = UINT64_MAX, .count = 32 },
		{ .type = (char *)"other", .bytes = 1, .count = 1 },
	};
	struct baseline baseline = { .list = list, .count = 3 };
	struct acceptance a = { .baseline = &baseline, .fail_above = 16 * 16384 };
	struct pair p;

	make_pair(&p);
	ASSERT_INT_EQ(accept_apply(&a, p.suspects), 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT(p.suspects->list[0].verdict == SUSPECT_GROWING);
	EXPECT_U64_EQ(p.suspects->list[0].bytes, 16 * 16384);
	EXPECT_U64_EQ(p.suspects->list[0].count, 16);
	EXPECT(strstr(p.suspects->list[0].reason, "768 KiB more of it is accepted") != NULL);
	EXPECT_U64_EQ(a.unaccepted_bytes, 16 * 16384);
	EXPECT(!p.suspects->grew);		/* as much as the limit is not above it */
	EXPECT_U64_EQ(list[1].used_count, 32);
	EXPECT_U64_EQ(list[2].used_bytes, 0);
	pair_done(&p);
}

TEST(what_a_baseline_learned_is_accepted_the_next_time)
{
	struct baseline *baseline = calloc(1, sizeof(*baseline));
	struct acceptance a = { 0 }, again = { .baseline = baseline };
	struct pair p;

	make_pair(&p);
	ASSERT_INT_EQ(accept_apply(&a, p.suspects), 0);
	EXPECT(p.suspects->grew);
	ASSERT_INT_EQ(accept_learn(baseline, p.suspects), 0);
	pair_done(&p);
	ASSERT_U64_EQ(baseline->count, 2);
	EXPECT_STR_EQ(baseline->list[0].type, "keep k.c");
	EXPECT_STR_EQ(baseline->list[1].site, "lose");
	EXPECT(baseline->list[0].bytes >= 64 * 16384 && baseline->list[0].bytes <= 80 * 16384);
	for (size_t i = 0; i < baseline->count; i++)
		baseline->list[i].used_bytes = baseline->list[i].used_count = 0;
	make_pair(&p);
	ASSERT_INT_EQ(accept_apply(&again, p.suspects), 0);
	EXPECT_U64_EQ(p.suspects->count, 0);
	EXPECT(!p.suspects->grew);
	pair_done(&p);
	baseline_free(baseline);
}

TEST(a_suppressed_leak_takes_what_hangs_from_it_along)
{
	struct model m = { 0 };
	uint32_t a = model_stack(&m, "make_a", "a.c", 1), b = model_stack(&m, "make_b", "b.c", 2);
	uint32_t type = model_type(&m, "t", HEAP_TYPE_DWARF);
	struct suppressions *s;
	struct series *series;
	struct leak_list *list;
	char *error;

	model_block(&m, 0x1000, 16, 1, type, a);
	model_block(&m, 0x2000, 32, 2, type, b);	/* hangs from the first */
	model_block(&m, 0x3000, 64, 3, type, b);	/* lost by itself */
	model_edge(&m, 0, 1, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(series_make((const struct heap *const[]){ heap }, 1, &series), 0);
	s = suppressions_of("leak:make_a\n", &error);
	ASSERT_INT_EQ(leak_list_make(series, NULL, s, &list), 0);
	EXPECT_U64_EQ(list->blocks, 1);
	EXPECT_U64_EQ(list->bytes, 64);
	EXPECT_U64_EQ(list->suppressed_bytes, 48);
	EXPECT_U64_EQ(s->list[0].count, 2);
	leak_list_free(list);
	suppress_free(s);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST_MAIN()
