/* SPDX-License-Identifier: Apache-2.0
 * test_trend.c - rows of numbers and what they are called; places of one cause; who shares in holding. */
#include "test.h"
#include "model.h"
#include "core/suspects.h"

#define SECOND 1000000ull

static const char *word(const uint64_t *values, size_t count)
{
	double at[16];
	bool steady;

	for (size_t k = 0; k < count; k++)
		at[k] = (double)k * 60;
	return trend_name(trend_of(values, at, count, &steady));
}

TEST(a_row_of_numbers_has_a_name)
{
	EXPECT_STR_EQ(word((const uint64_t[]){ 1000, 2000, 3000, 4000, 5000 }, 5), "growing");
	EXPECT_STR_EQ(word((const uint64_t[]){ 1000, 9000, 9500, 9600, 9650 }, 5), "warming up");
	EXPECT_STR_EQ(word((const uint64_t[]){ 1000, 9000, 1100, 9000, 1050 }, 5), "saw-tooth");
	EXPECT_STR_EQ(word((const uint64_t[]){ 1000, 9000, 5000, 14000, 10000, 19000 }, 6), "growing");
	EXPECT_STR_EQ(word((const uint64_t[]){ 5000, 5100, 5050, 5020, 5100 }, 5), "stable");
	EXPECT(word((const uint64_t[]){ 1000, 2000 }, 2) == NULL);
}

TEST(growth_is_compared_with_what_was_counted)
{
	const uint64_t bytes[] = { 1000, 11000, 12000, 13000 };
	const double requests[] = { 0, 1000, 1100, 1200 };	/* the load fell, the leak goes on */
	bool steady;

	EXPECT_STR_EQ(word(bytes, 4), "warming up");
	/* Steps that are short beside the longest count with the one before. */
	EXPECT(trend_of(bytes, requests, 4, &steady) != TREND_WARMING);
	EXPECT_STR_EQ(trend_name(trend_of((const uint64_t[]){ 1000, 11000, 15000, 19000 },
					  (const double[]){ 0, 1000, 1400, 1800 }, 4, &steady)), "growing");
	EXPECT(steady);
	/* Equal steps, the first of them in a burst. */
	EXPECT_STR_EQ(trend_name(trend_of((const uint64_t[]){ 1000, 2000, 3000, 4000, 5000 },
					  (const double[]){ 0, 5, 25, 45, 70 }, 5, &steady)), "growing");
}

struct answer {
	struct model model[2];
	struct heap *heaps[2];
	struct series *series;
	struct suspects *suspects;
};

static void judge(struct answer *a)
{
	for (int i = 0; i < 2; i++) {
		a->heaps[i] = model_build(&a->model[i]);
		a->heaps[i]->meta.taken_birth = (uint64_t)(10 + 10 * i) * SECOND;
		a->heaps[i]->meta.taken_ns = (int64_t)(10 + 10 * i) * 1000000000;
	}
	if (series_make((const struct heap *const *)a->heaps, 2, &a->series) < 0 ||
	    suspects_find(a->series, &a->suspects) < 0)
		exit(1);
}

static void answer_done(struct answer *a)
{
	suspects_free(a->suspects);
	series_free(a->series);
	for (int i = 0; i < 2; i++) {
		heap_free(a->heaps[i]);
		model_done(&a->model[i]);
	}
}

/* Per place a table with `count` entries of 4 KiB; the places are thread-local and called alike. */
static void build_places(struct model *m, uint32_t places, uint32_t count)
{
	uint32_t table_type = model_type(m, "table_new cache.c:10", HEAP_TYPE_SITE);
	uint32_t entry_type = model_type(m, "table_add cache.c:20", HEAP_TYPE_SITE);
	uint32_t stack = model_stack(m, "table_add", "/src/cache.c", 20);
	static const char *const threads[] = { "worker-1 (tid 11)", "worker-2 (tid 12)", "worker-3 (tid 13)" };

	for (uint32_t p = 0; p < places; p++) {
		uint64_t base = 0x1000000ull * (p + 1);
		uint32_t root = model_root(m, HEAP_ROOT_TLS, "t_cache");
		uint32_t table = model_block(m, base, 4096, 1 + p, table_type, MODEL_NO_STACK);

		m->root[root].thread = threads[p];
		model_edge(m, MODEL_ROOT(root), table, 0);
		for (uint32_t i = 0; i < count; i++) {
			uint64_t birth = (i < 10 ? 5 * SECOND : 11 * SECOND) + i * SECOND / 10 + p;

			model_edge(m, table, model_block(m, base + 0x10000 + i * 0x2000, 4096, birth, entry_type, stack), i * 8);
		}
	}
}

TEST(the_same_table_in_every_thread_is_one_suspect)
{
	struct answer a = { 0 };

	build_places(&a.model[0], 3, 10);
	build_places(&a.model[1], 3, 60);
	judge(&a);
	ASSERT_U64_EQ(a.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(a.suspects->list[0].verdict), "growing");
	EXPECT_U64_EQ(a.suspects->list[0].count, 150);
	EXPECT_U64_EQ(a.suspects->list[0].cluster->place_count, 2);
	EXPECT_U64_EQ(a.suspects->cover.first, a.suspects->cover.grown);
	answer_done(&a);
}

/* A list, and an index beside it that holds every element of `indexed`. */
static void build_shared(struct model *m, uint32_t count, bool indexed)
{
	uint32_t type = model_type(m, "item_new list.c:5", HEAP_TYPE_SITE);
	uint32_t index_type = model_type(m, "index_new list.c:9", HEAP_TYPE_SITE);
	uint32_t stack = model_stack(m, "item_new", "/src/list.c", 5);
	uint32_t list = model_root(m, HEAP_ROOT_GLOBAL, "g_list"), index = model_root(m, HEAP_ROOT_GLOBAL, "g_index");
	uint32_t table = model_block(m, 0x10000, 8192, 1, index_type, MODEL_NO_STACK), last = HEAP_NONE;

	model_edge(m, MODEL_ROOT(index), table, 0);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t birth = (i < 10 ? 5 * SECOND : 11 * SECOND) + i * SECOND / 10;
		uint32_t item = model_block(m, 0x100000 + i * 0x2000, 4096, birth, type, stack);

		if (indexed)
			model_edge(m, table, item, i * 8);
		if (last != HEAP_NONE)
			model_edge(m, item, last, 0);
		last = item;
	}
	model_edge(m, MODEL_ROOT(list), last, 0);
}

TEST(what_two_variables_hold_names_both)
{
	struct answer a = { 0 };

	build_shared(&a.model[0], 10, true);
	build_shared(&a.model[1], 60, true);
	judge(&a);
	ASSERT_U64_EQ(a.suspects->count, 1);
	ASSERT_U64_EQ(a.suspects->list[0].holders->count, 2);
	EXPECT_U64_EQ(a.suspects->list[0].holders->list[0].count, 50);
	EXPECT_U64_EQ(a.suspects->list[0].holders->list[1].count, 50);
	EXPECT_U64_EQ(a.suspects->list[0].holders->shared_bytes, 50 * 4096);
	EXPECT_CONTAINS(a.suspects->list[0].reason, "dropping one of them alone frees nothing");
	answer_done(&a);

	a = (struct answer){ 0 };
	build_shared(&a.model[0], 10, false);
	build_shared(&a.model[1], 60, false);
	judge(&a);
	ASSERT_U64_EQ(a.suspects->count, 1);
	EXPECT_U64_EQ(a.suspects->list[0].holders->count, 0);
	EXPECT_U64_EQ(a.suspects->list[0].holders->shared_bytes, 0);
	answer_done(&a);
}

TEST(the_programs_own_names_come_first_among_holders)
{
	struct answer a = { 0 };

	build_shared(&a.model[0], 10, true);
	build_shared(&a.model[1], 60, true);
	for (int i = 0; i < 2; i++)	/* the list's head has no symbol */
		a.model[i].root[0].name = ".bss+0x40";
	judge(&a);
	ASSERT_U64_EQ(a.suspects->count, 1);
	EXPECT_CONTAINS(a.suspects->list[0].reason, "a variable without a name in .bss+0x40: dropping");
	answer_done(&a);
}

/* A server object that holds a list of `held` bodies, and the request in work with one more. */
static void build_server(struct model *m, uint32_t held)
{
	uint32_t server_type = model_type(m, "Server", HEAP_TYPE_PYTHON), list_type = model_type(m, "list", HEAP_TYPE_PYTHON);
	uint32_t request_type = model_type(m, "Request", HEAP_TYPE_PYTHON), body_type = model_type(m, "bytes", HEAP_TYPE_PYTHON);
	uint32_t root = model_root(m, HEAP_ROOT_PY_FRAME, "app.serve");
	uint32_t server = model_block(m, 0x10000, 64, 1, server_type, MODEL_NO_STACK);
	uint32_t list = model_block(m, 0x11000, 64, 2, list_type, MODEL_NO_STACK), request, body;

	model_edge(m, MODEL_ROOT(root), server, 0);
	model_edge(m, server, list, 0);
	for (uint32_t i = 0; i < held; i++)
		model_edge(m, list, model_block(m, 0x100000 + i * 0x20000ull, 65536,
						(i < 10 ? 5 * SECOND : 11 * SECOND) + i * SECOND / 10, body_type,
						MODEL_NO_STACK), i * 8);
	if (held > 10) {
		request = model_block(m, 0x40000000, 64, 19 * SECOND, request_type, MODEL_NO_STACK);
		body = model_block(m, 0x40001000, 65536, 19 * SECOND + 1, body_type, MODEL_NO_STACK);
		model_edge(m, server, request, 8);
		model_edge(m, request, body, 0);
	}
}

TEST(a_request_in_work_is_not_counted_with_what_a_list_holds)
{
	struct answer a = { 0 };

	build_server(&a.model[0], 10);
	build_server(&a.model[1], 30);
	judge(&a);
	ASSERT(a.suspects->count >= 1);
	EXPECT_STR_EQ(a.suspects->list[0].type, "bytes");
	EXPECT_U64_EQ(a.suspects->list[0].count, 20);
	EXPECT_STR_EQ(a.suspects->list[0].point_type, "list");
	answer_done(&a);
}

/* A module with two lists, both of bodies. */
static void build_module(struct model *m, uint32_t held)
{
	uint32_t list_type = model_type(m, "list", HEAP_TYPE_PYTHON), body_type = model_type(m, "bytes", HEAP_TYPE_PYTHON);
	uint32_t root = model_root(m, HEAP_ROOT_PY_MODULE, "app");

	for (uint32_t l = 0; l < 2; l++) {
		uint32_t list = model_block(m, 0x10000000ull * (l + 1), 64, 2, list_type, MODEL_NO_STACK);

		model_edge(m, MODEL_ROOT(root), list, l * 8);
		for (uint32_t i = 0; i < held; i++)
			model_edge(m, list, model_block(m, 0x10000000ull * (l + 1) + 0x1000 + i * 0x20000ull, 65536,
							(i < 10 ? 5 * SECOND : 11 * SECOND) + i * SECOND / 10 + l, body_type,
							MODEL_NO_STACK), i * 8);
	}
}

TEST(two_variables_of_one_module_are_two_places)
{
	struct answer a = { 0 };

	build_module(&a.model[0], 10);
	build_module(&a.model[1], 40);
	judge(&a);
	ASSERT_U64_EQ(a.suspects->count, 2);
	for (int i = 0; i < 2; i++) {
		EXPECT_U64_EQ(a.suspects->list[i].count, 30);
		EXPECT_STR_EQ(a.suspects->list[i].point_type, "list");
	}
	answer_done(&a);
}

#define ROW 5

struct row {
	struct model model[ROW];
	struct heap *heaps[ROW];
	struct series *series;
	struct suspects *suspects;
};

/* restarts: each snapshot is of another process. */
static void judge_row(struct row *row, bool restarts)
{
	for (int i = 0; i < ROW; i++) {
		row->heaps[i] = model_build(&row->model[i]);
		row->heaps[i]->meta.taken_birth = (uint64_t)(10 + 10 * i) * SECOND;
		row->heaps[i]->meta.taken_ns = (int64_t)(10 + 10 * i) * 1000000000;
		if (restarts) {
			row->heaps[i]->meta.process_start_ns = (uint64_t)(1 + i) * 100000000000ull;
			row->heaps[i]->meta.pid = 100 + (uint32_t)i;
		}
	}
	if (series_make((const struct heap *const *)row->heaps, ROW, &row->series) < 0 ||
	    suspects_find(row->series, &row->suspects) < 0)
		exit(1);
}

static void row_done(struct row *row)
{
	suspects_free(row->suspects);
	series_free(row->series);
	for (int i = 0; i < ROW; i++) {
		heap_free(row->heaps[i]);
		model_done(&row->model[i]);
	}
}

/* A list below `holder` with the bodies number `from` to `to`, each born when its number says. */
static void add_bodies(struct model *m, uint32_t list, uint32_t type, uint64_t base, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		model_edge(m, list, model_block(m, base + i * 0x20000ull, 65536, SECOND + i * SECOND + base % 1000,
						type, MODEL_NO_STACK), (i - from) * 8);
}

TEST(what_another_root_reaches_first_is_followed_all_the_same)
{
	struct row row = { 0 };

	for (int k = 0; k < ROW; k++) {
		struct model *m = &row.model[k];
		uint32_t list_type = model_type(m, "list_new", HEAP_TYPE_SITE), body_type = model_type(m, "body_new", HEAP_TYPE_SITE);
		/* by address and so first: the other variable, in the middle */
		uint32_t other = model_root(m, HEAP_ROOT_GLOBAL, "a_registry"), root = model_root(m, HEAP_ROOT_GLOBAL, "b_list");
		uint32_t list = model_block(m, 0x10000, 64, 2, list_type, MODEL_NO_STACK);

		model_edge(m, MODEL_ROOT(k == 1 || k == 2 ? other : root), list, 0);
		add_bodies(m, list, body_type, 0x10000000, 0, 9 + 10 * (uint32_t)k);
	}
	judge_row(&row, false);
	ASSERT_U64_EQ(row.suspects->count, 1);
	for (uint64_t k = 0; k < ROW; k++)
		EXPECT_U64_EQ(row.suspects->list[0].trend->count[k], 9 + 10 * k);
	EXPECT_STR_EQ(trend_name(row.suspects->list[0].trend->word), "growing");
	row_done(&row);
}

/* A module with two lists of one kind of bodies: one grows, the other is filled and emptied. Its names stay where
 * its addresses do not. */
static void build_two_lists(struct row *row, bool moves)
{
	for (int k = 0; k < ROW; k++) {
		struct model *m = &row->model[k];
		uint32_t dict_type = model_type(m, "dict", HEAP_TYPE_PYTHON), list_type = model_type(m, "list", HEAP_TYPE_PYTHON);
		uint32_t body_type = model_type(m, "bytes", HEAP_TYPE_PYTHON), root = model_root(m, HEAP_ROOT_PY_MODULE, "app");
		uint64_t base = moves ? 0x100000000ull * (uint64_t)(k + 1) : 0;
		uint32_t dict = model_block(m, base + 0x10000, 64, 2, dict_type, MODEL_NO_STACK), list;
		static const char *const names[] = { "grows", "comes_and_goes" };

		model_edge(m, MODEL_ROOT(root), dict, 0);
		for (uint32_t l = 0; l < 2; l++) {
			list = model_block(m, base + 0x10000000ull * (l + 1), 64, 2, list_type, MODEL_NO_STACK);
			model_edge(m, dict, list, l * 8);
			m->refs[m->ref_count - 1].label = HEAP_LABEL_ATTR;
			m->refs[m->ref_count - 1].text = names[l];
			if (l == 0)
				add_bodies(m, list, body_type, base + 0x10001000, 0, 9 + 10 * (uint32_t)k);
			else if (k % 2)
				add_bodies(m, list, body_type, base + 0x20001000, 10 * (uint32_t)k, 10 * (uint32_t)k + 8);
		}
	}
}

TEST(two_variables_of_one_module_are_two_rows)
{
	struct row row = { 0 };

	build_two_lists(&row, false);
	judge_row(&row, false);
	ASSERT_U64_EQ(row.suspects->count, 1);
	for (uint64_t k = 0; k < ROW; k++)
		EXPECT_U64_EQ(row.suspects->list[0].trend->count[k], 9 + 10 * k);
	EXPECT_STR_EQ(trend_name(row.suspects->list[0].trend->word), "growing");
	EXPECT(!row.suspects->list[0].trend->by_type);
	row_done(&row);
}

TEST(after_a_restart_a_variable_is_found_again_by_the_names_on_the_way_to_it)
{
	struct row row = { 0 };

	build_two_lists(&row, true);
	judge_row(&row, true);
	ASSERT(row.suspects->count >= 1);
	for (uint64_t k = 0; k < ROW; k++)
		EXPECT_U64_EQ(row.suspects->list[0].trend->count[k], 9 + 10 * k);
	EXPECT_STR_EQ(trend_name(row.suspects->list[0].trend->word), "growing");
	EXPECT(!row.suspects->list[0].trend->by_type);
	row_done(&row);
}

TEST_MAIN()
