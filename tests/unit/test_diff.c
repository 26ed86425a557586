/* SPDX-License-Identifier: Apache-2.0
 * test_diff.c - identity of blocks and the growth table. */
#include "test.h"
#include "model.h"
#include "core/diff.h"
#include "core/weigh.h"

struct pair {
	struct model m[3];
	struct heap *heaps[3];
	struct series *series;
	struct diff *diff;
};

static void pair_diff(struct pair *p, size_t count, const struct diff_options *options)
{
	for (size_t i = 0; i < count; i++) {
		p->heaps[i] = model_build(&p->m[i]);
		p->heaps[i]->meta.taken_birth = 1000 * (i + 1);
		p->heaps[i]->meta.taken_ns = 1000000000 * (int64_t)(i + 1);
	}
	if (series_make((const struct heap *const *)p->heaps, count, &p->series) < 0 ||
	    diff_make(p->series, options, &p->diff) < 0) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
}

static void pair_done(struct pair *p, size_t count)
{
	diff_free(p->diff);
	series_free(p->series);
	for (size_t i = 0; i < count; i++) {
		heap_free(p->heaps[i]);
		model_done(&p->m[i]);
	}
}

static const struct diff_row *find_row(const struct diff *diff, const char *type)
{
	for (size_t i = 0; i < diff->row_count; i++)
		if (!strcmp(diff->rows[i].type, type))
			return &diff->rows[i];
	return NULL;
}

TEST(an_address_that_is_used_again_is_another_block)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "f f.c:1", HEAP_TYPE_SITE);
		model_block(&p.m[i], 0x1000, 64, i ? 1500 : 10, type, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	ASSERT_U64_EQ(p.diff->row_count, 1);
	EXPECT_U64_EQ(p.diff->rows[0].new_count, 1);
	EXPECT_U64_EQ(p.diff->rows[0].new_bytes, 64);
	EXPECT_INT_EQ(diff_growth_bytes(p.diff, &p.diff->rows[0]), 0);
	pair_done(&p, 2);
}

TEST(a_block_that_realloc_moved_and_resized_is_one_row_without_a_size)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "push q.c:1", HEAP_TYPE_SITE);
		model_block(&p.m[i], i ? 0x9000 : 0x1000, i ? 8192 : 4096, 10, type, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	ASSERT_U64_EQ(p.diff->row_count, 1);
	const struct diff_row *row = &p.diff->rows[0];
	EXPECT_STR_EQ(row->type, "from push q.c:1");
	EXPECT(!row->exact);
	EXPECT_INT_EQ(diff_growth_count(p.diff, row), 0);
	EXPECT_INT_EQ(diff_growth_bytes(p.diff, row), 4096);
	EXPECT_U64_EQ(row->new_count, 0);
	pair_done(&p, 2);
}

TEST(sizes_that_repeat_have_rows_of_their_own_and_the_others_share_one)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };
	static const uint64_t sizes[] = { 100, 100, 7, 9, 11 };

	for (int i = 0; i < 2; i++) {
		uint32_t many = model_type(&p.m[i], "many m.c:1", HEAP_TYPE_SITE);
		uint32_t one = model_type(&p.m[i], "one o.c:1", HEAP_TYPE_SITE);
		uint32_t rtti = model_type(&p.m[i], "Session", HEAP_TYPE_RTTI);

		for (uint32_t b = 0; i && b < 5; b++)
			model_block(&p.m[i], 0x1000 + b * 0x1000, sizes[b], 1500 + b, many, MODEL_NO_STACK);
		model_block(&p.m[i], 0x10000, 33, 5, one, MODEL_NO_STACK);
		model_block(&p.m[i], 0x11000, 44, 6, rtti, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	EXPECT_U64_EQ(p.diff->row_count, 4);
	const struct diff_row *exact = find_row(p.diff, "100 B from many m.c:1");
	const struct diff_row *rest = find_row(p.diff, "from many m.c:1");
	ASSERT(exact && rest);
	EXPECT(exact == &p.diff->rows[0]);	/* the largest growth comes first */
	EXPECT_U64_EQ(exact->count[1], 2);
	EXPECT_U64_EQ(rest->count[1], 3);
	EXPECT_U64_EQ(rest->bytes[1], 27);
	EXPECT(find_row(p.diff, "33 B from one o.c:1") && find_row(p.diff, "33 B from one o.c:1")->exact);
	EXPECT(find_row(p.diff, "Session") != NULL);
	pair_done(&p, 2);
}

TEST(a_type_of_very_many_sizes_has_rows_for_those_that_matter)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };
	uint64_t addr = 0x1000, count = 0;

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "body b.c:1", HEAP_TYPE_SITE);

		for (uint32_t size = 50; size < 350; size++)
			for (uint32_t b = 0; b < 3; b++)
				model_block(&p.m[i], addr += 0x1000, size, 10, type, MODEL_NO_STACK);
		for (uint32_t b = 0; i && b < 4; b++)	/* few, but they are what grew */
			model_block(&p.m[i], addr += 0x1000, 400, 1500, type, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	EXPECT_U64_EQ(p.diff->row_count, 2);
	ASSERT_NOT_NULL(find_row(p.diff, "400 B from body b.c:1"));
	EXPECT_U64_EQ(find_row(p.diff, "400 B from body b.c:1")->count[1], 4);
	for (size_t i = 0; i < p.diff->row_count; i++)
		count += p.diff->rows[i].count[1];
	EXPECT_U64_EQ(count, 904);
	pair_done(&p, 2);
}

TEST(rows_partition_live_memory_mappings_and_folded_nodes_included)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };
	uint64_t count = 0, bytes = 0;
	struct model *m = &p.m[0];

	uint32_t map = model_type(m, "mapping", HEAP_TYPE_KIND), block = model_type(m, "f f.c:1", HEAP_TYPE_SITE);
	model_flag(m, model_block(m, 0x10000, 0x10000, 1, map, MODEL_NO_STACK), HEAP_MAPPING);
	for (uint32_t b = 0; b < 10; b++)
		model_block(m, 0x10000 + b * 0x100, 0x80, 2 + b, block, MODEL_NO_STACK);
	model_flag(m, model_block(m, 0x30000, 0x1000, 20, block, MODEL_NO_STACK), HEAP_FOLDED);
	model_flag(m, model_block(m, 0x30100, 0x40, 21, block, MODEL_NO_STACK), HEAP_PYTHON);
	model_flag(m, model_block(m, 0x40000, 0x40, 22, block, MODEL_NO_STACK), HEAP_HIDDEN);
	pair_diff(&p, 1, &options);
	for (size_t i = 0; i < p.diff->row_count; i++) {
		count += p.diff->rows[i].count[0];
		bytes += p.diff->rows[i].bytes[0];
	}
	EXPECT_U64_EQ(count, 12);
	EXPECT_U64_EQ(bytes, 0x10000 + 0x40);
	EXPECT_U64_EQ(p.diff->bytes[0], bytes);
	const struct diff_row *row = find_row(p.diff, "mapping");
	ASSERT_NOT_NULL(row);
	EXPECT(!row->exact);			/* it counts what its blocks leave over */
	EXPECT_U64_EQ(row->bytes[0], 0x10000 - 10 * 0x80);
	pair_done(&p, 1);
}

TEST(sampled_blocks_stand_for_all_that_they_were_drawn_from)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };
	uint32_t weight[1] = { 50 };

	uint32_t type = model_type(&p.m[0], "f f.c:1", HEAP_TYPE_SITE);
	model_block(&p.m[0], 0x1000, 10, 1, type, MODEL_NO_STACK);
	p.m[0].heap.weight = weight;
	pair_diff(&p, 1, &options);
	EXPECT_U64_EQ(p.diff->rows[0].count[0], 50);
	EXPECT_U64_EQ(p.diff->rows[0].bytes[0], 500);
	EXPECT(p.diff->rows[0].exact);
	pair_done(&p, 1);
}

TEST(with_three_snapshots_survivors_are_told_from_the_newest)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 3; i++) {
		uint32_t type = model_type(&p.m[i], "f f.c:1", HEAP_TYPE_SITE);
		for (uint32_t b = 0; b < 4u * (uint32_t)i; b++)
			model_block(&p.m[i], 0x1000 + b * 0x100, 8, b < 4 ? 1500 : 2500, type, MODEL_NO_STACK);
	}
	pair_diff(&p, 3, &options);
	ASSERT_U64_EQ(p.diff->row_count, 1);
	EXPECT_U64_EQ(p.diff->rows[0].count[1], 4);
	EXPECT_U64_EQ(p.diff->rows[0].new_count, 8);
	EXPECT_U64_EQ(p.diff->rows[0].survivor_count, 4);
	pair_done(&p, 3);
}

TEST(state_tells_referenced_unreachable_and_mixed_apart)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };
	uint32_t t[3];

	t[0] = model_type(&p.m[0], "held h.c:1", HEAP_TYPE_SITE);
	t[1] = model_type(&p.m[0], "lost l.c:1", HEAP_TYPE_SITE);
	t[2] = model_type(&p.m[0], "both b.c:1", HEAP_TYPE_SITE);
	uint32_t g = model_root(&p.m[0], HEAP_ROOT_GLOBAL, "g");
	for (uint32_t b = 0; b < 4; b++) {
		uint32_t block = model_block(&p.m[0], 0x1000 + b * 0x100, 8, b, t[b < 2 ? b : 2], MODEL_NO_STACK);
		if (b % 2 == 0)
			model_edge(&p.m[0], MODEL_ROOT(g), block, b * 8);
	}
	pair_diff(&p, 1, &options);
	EXPECT_STR_EQ(diff_state_name(find_row(p.diff, "8 B from held h.c:1")->state), "referenced");
	EXPECT_STR_EQ(diff_state_name(find_row(p.diff, "8 B from lost l.c:1")->state), "unreachable");
	EXPECT_STR_EQ(diff_state_name(find_row(p.diff, "8 B from both b.c:1")->state), "mixed");
	pair_done(&p, 1);
}

static void grouped(enum diff_by by, const char *first, const char *second)
{
	struct pair p = { 0 };
	struct diff_options options = { .by = by };

	for (int i = 0; i < 2; i++) {
		struct model *m = &p.m[i];
		uint32_t type = model_type(m, "f f.c:1", HEAP_TYPE_SITE);
		uint32_t s[2] = { model_stack(m, "put", "a.c", 1), model_stack(m, "post", "a.c", 2) };
		uint32_t r[2] = { model_root(m, HEAP_ROOT_GLOBAL, "g_one"), model_root(m, HEAP_ROOT_STACK, "serve()") };

		m->frames[1].module = "plugin.so";
		for (uint32_t b = 0; b < 10; b++) {
			uint32_t block = model_block(m, 0x1000 + b * 0x100, b < 6 ? 100 : 10, i ? 1500 : 10, type, s[b >= 6]);
			m->thread[block] = b < 6 ? 100 : 101;
			model_edge(m, MODEL_ROOT(r[b >= 6]), block, b * 8);
		}
		m->root[r[1]].thread = "worker (tid 101)";
		m->heap.nodes -= i ? 0 : 5;	/* five blocks fewer at first: drop the last ones */
		m->ref_count -= i ? 0 : 5;
	}
	pair_diff(&p, 2, &options);
	ASSERT_U64_EQ(p.diff->row_count, 2);
	EXPECT_STR_EQ(p.diff->rows[0].type, first);
	EXPECT_STR_EQ(p.diff->rows[1].type, second);
	EXPECT_U64_EQ(p.diff->rows[0].count[1], 6);
	EXPECT_U64_EQ(p.diff->rows[1].count[1], 4);
	EXPECT_INT_EQ(diff_growth_count(p.diff, &p.diff->rows[1]), 4);
	EXPECT(p.diff->rows[0].exact && p.diff->rows[0].size == 100);
	EXPECT((p.diff->rows[0].stack_heap != NULL) == (by == DIFF_BY_SITE));
	pair_done(&p, 2);
}

TEST(rows_can_be_sites_holders_modules_and_threads)
{
	grouped(DIFF_BY_SITE, "put a.c:1", "post a.c:2");
	grouped(DIFF_BY_HOLDER, "g_one", "serve() of worker (tid 101)");
	grouped(DIFF_BY_MODULE, "service", "plugin.so");
	grouped(DIFF_BY_THREAD, "main", "worker (tid 101)");
}

TEST(hidden_rows_are_counted)
{
	struct pair p = { 0 };
	struct diff_options options = { .type = "*other*" };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "f f.c:1", HEAP_TYPE_SITE);
		uint32_t other = model_type(&p.m[i], "other o.c:1", HEAP_TYPE_SITE);
		model_block(&p.m[i], 0x1000, 64, 1, type, MODEL_NO_STACK);
		model_block(&p.m[i], 0x2000, 32, 2, other, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	EXPECT_U64_EQ(p.diff->row_count, 1);
	EXPECT_U64_EQ(p.diff->hidden_rows, 1);
	EXPECT_U64_EQ(p.diff->hidden_bytes, 64);
	EXPECT_U64_EQ(p.diff->bytes[1], 96);
	pair_done(&p, 2);
}

TEST(another_pid_or_start_is_another_process_with_no_block_in_common)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "f f.c:1", HEAP_TYPE_SITE);
		model_block(&p.m[i], 0x1000, 64, 10, type, MODEL_NO_STACK);
		p.m[i].heap.meta = (struct heap_meta){ .path = "x", .command = "x", .pid = 7,
			.process_start_ns = i ? 60000000000u : 1u, .capture_birth = 3 + (uint64_t)i };
	}
	pair_diff(&p, 2, &options);
	EXPECT(!p.series->same_process);
	EXPECT_U64_EQ(p.series->earlier[0], HEAP_NONE);
	EXPECT_U64_EQ(p.diff->rows[0].new_count, 0);
	EXPECT_U64_EQ(p.diff->row_count, 1);
	pair_done(&p, 2);
}

TEST(a_block_that_an_earlier_snapshot_missed_is_late_not_new)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "f f.c:1", HEAP_TYPE_SITE);
		model_block(&p.m[i], 0x1000, 64, 10, type, MODEL_NO_STACK);
		if (i)
			model_block(&p.m[i], 0x2000, 64, 500, type, MODEL_NO_STACK);
	}
	pair_diff(&p, 2, &options);
	EXPECT_U64_EQ(p.series->late, 1);
	EXPECT_U64_EQ(p.diff->rows[0].new_count, 0);
	pair_done(&p, 2);
}

TEST(a_python_object_in_memory_that_the_interpreter_kept_is_new)
{
	struct pair p = { 0 };
	struct diff_options options = { 0 };

	for (int i = 0; i < 2; i++) {
		uint32_t type = model_type(&p.m[i], "collections.deque", HEAP_TYPE_PYTHON);
		model_flag(&p.m[i], model_block(&p.m[i], 0x1000, 64, 10, type, MODEL_NO_STACK), HEAP_PYTHON);
		if (i)
			model_flag(&p.m[i], model_block(&p.m[i], 0x2000, 64, 500, type, MODEL_NO_STACK), HEAP_PYTHON);
	}
	pair_diff(&p, 2, &options);
	EXPECT_U64_EQ(p.series->late, 0);
	EXPECT_U64_EQ(p.diff->rows[0].new_count, 1);
	pair_done(&p, 2);
}

TEST_MAIN()
