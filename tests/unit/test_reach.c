/* SPDX-License-Identifier: Apache-2.0
 * test_reach.c - who is reachable, from where, and how what is not hangs together. */
#include "test.h"
#include "model.h"
#include "core/chains.h"
#include "core/reach.h"

static struct heap *start(struct model *m, uint32_t blocks)
{
	model_type(m, "t", HEAP_TYPE_KIND);
	for (uint32_t i = 0; i < blocks; i++)
		model_block(m, 0x1000 + i * 0x100, 16, 100 - i, 0, MODEL_NO_STACK);
	return NULL;
}

static uint8_t kind_of(const struct reach_leaks *leaks, uint32_t node)
{
	for (uint32_t i = 0; i < leaks->count; i++)
		if (leaks->node[i] == node)
			return leaks->kind[i];
	return 0xff;
}

TEST(a_variable_holds_what_a_stack_and_a_register_also_point_at)
{
	struct model m = { 0 };
	struct reach *reach = NULL;

	start(&m, 3);
	uint32_t reg = model_root(&m, HEAP_ROOT_REGISTER, "rax");
	uint32_t stack = model_root(&m, HEAP_ROOT_STACK, "f()");
	uint32_t global = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	model_edge(&m, MODEL_ROOT(reg), 1, 0);
	model_edge(&m, MODEL_ROOT(stack), 1, 8);
	model_edge(&m, MODEL_ROOT(stack), 2, 16);
	model_edge(&m, MODEL_ROOT(global), 0, 0);
	model_edge(&m, 0, 1, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	EXPECT_U64_EQ(reach->reached, 3);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 1), global);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 2), stack);
	EXPECT(!reach_edge_counts(reach, heap->nodes + stack, 1));
	EXPECT(reach_edge_counts(reach, heap->nodes + stack, 2));

	uint32_t *roots = NULL;
	ASSERT_INT_EQ(reach_roots(heap, reach, &roots), 0);
	EXPECT_U64_EQ(roots[1], global);
	EXPECT_U64_EQ(roots[2], stack);
	free(roots);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(the_c_librarys_own_data_and_frames_come_after_the_programs)
{
	struct model m = { 0 };
	struct reach *reach = NULL;

	start(&m, 2);
	uint32_t arena = model_root(&m, HEAP_ROOT_GLOBAL, "main_arena");
	uint32_t saved = model_root(&m, HEAP_ROOT_STACK, "poll()");
	uint32_t frame = model_root(&m, HEAP_ROOT_STACK, "serve()");
	m.root[arena].module = m.root[saved].module = "libc.so.6";
	for (uint32_t i = 0; i < 2; i++) {
		model_edge(&m, MODEL_ROOT(arena), i, i * 8);
		model_edge(&m, MODEL_ROOT(saved), i, i * 8);
	}
	model_edge(&m, MODEL_ROOT(frame), 0, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 0), frame);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 1), arena);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(a_method_that_runs_is_not_the_holder_of_what_its_module_holds)
{
	struct model m = { 0 };
	struct reach *reach = NULL;
	static const char *const types[] = { "function", "list" };

	for (uint32_t i = 0; i < 4; i++)
		model_block(&m, 0x1000 + i * 0x100, 16, 1 + i, i == 3 ? 1 : 0, MODEL_NO_STACK);
	model_type(&m, types[1], HEAP_TYPE_PYTHON);
	model_type(&m, types[0], HEAP_TYPE_PYTHON);
	uint32_t frame = model_root(&m, HEAP_ROOT_PY_FRAME, "Connection.execute"), module = model_root(&m, HEAP_ROOT_PY_MODULE, "app");
	model_edge(&m, MODEL_ROOT(frame), 1, 0);	/* self */
	model_edge(&m, MODEL_ROOT(frame), 2, 8);	/* a local variable: the module's function also leads to it */
	model_edge(&m, MODEL_ROOT(module), 0, 0);
	model_edge(&m, MODEL_ROOT(module), 3, 8);
	model_edge(&m, 0, 1, 0);
	model_edge(&m, 3, 2, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 1), module);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 2), frame);
	EXPECT(reach_edge_counts(reach, heap->nodes + frame, 1));	/* and still it holds it, too */
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(a_frames_word_that_no_variable_covers_comes_after_its_variables)
{
	struct model m = { 0 };
	struct reach *reach = NULL;

	start(&m, 3);
	uint32_t slot = model_root(&m, HEAP_ROOT_STACK, "serve()" HEAP_UNNAMED_SLOT);
	uint32_t local = model_root(&m, HEAP_ROOT_STACK, "serve() local conn");
	uint32_t arena = model_root(&m, HEAP_ROOT_GLOBAL, "main_arena");
	m.root[arena].module = "libc.so.6";
	for (uint32_t i = 0; i < 2; i++)
		model_edge(&m, MODEL_ROOT(slot), i, i * 8);
	for (uint32_t i = 0; i < 3; i++)
		model_edge(&m, MODEL_ROOT(arena), i, i * 8);
	model_edge(&m, MODEL_ROOT(local), 0, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 0), local);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 1), slot);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 2), arena);
	EXPECT(!reach_edge_counts(reach, heap->nodes + slot, 0));
	EXPECT(reach_edge_counts(reach, heap->nodes + slot, 1));
	EXPECT(!reach_edge_counts(reach, heap->nodes + arena, 1));

	struct chain chain;
	struct labels *labels = labels_new(heap);
	uint32_t *path = NULL;
	int64_t length = chain_path(heap, reach, 1, &path);
	ASSERT(labels && length == 2);
	ASSERT_INT_EQ(chain_make(labels, heap, path, (uint32_t)length, &chain), 0);
	EXPECT_STR_EQ(chain.steps[0].quality, "stale?");
	chain_done(&chain);
	labels_free(labels);
	free(path);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(unreachable_blocks_are_direct_indirect_or_in_a_cycle_with_one_head)
{
	struct model m = { 0 };
	struct reach *reach = NULL;
	struct reach_leaks *leaks = NULL;

	/* 0 held; 1 -> 2 -> 3;  4 <-> 5 -> 6;  7 <-> 8 hang from 1;  9 alone, refers to what is held */
	start(&m, 10);
	uint32_t g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	model_edge(&m, MODEL_ROOT(g), 0, 0);
	model_edge(&m, 1, 2, 0);
	model_edge(&m, 2, 3, 0);
	model_edge(&m, 4, 5, 0);
	model_edge(&m, 5, 4, 0);
	model_edge(&m, 5, 6, 8);
	model_edge(&m, 1, 7, 8);
	model_edge(&m, 7, 8, 0);
	model_edge(&m, 8, 7, 0);
	model_edge(&m, 9, 0, 0);
	model_edge(&m, 9, 9, 8);		/* a pointer to itself keeps nothing alive */
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	ASSERT_INT_EQ(reach_find_leaks(heap, reach, &leaks), 0);
	EXPECT_U64_EQ(leaks->count, 9);
	EXPECT_U64_EQ(kind_of(leaks, 1), REACH_DIRECT);
	EXPECT_U64_EQ(kind_of(leaks, 2), REACH_INDIRECT);
	EXPECT_U64_EQ(kind_of(leaks, 3), REACH_INDIRECT);
	EXPECT_U64_EQ(kind_of(leaks, 4), REACH_CYCLE);
	EXPECT_U64_EQ(kind_of(leaks, 5), REACH_CYCLE);
	EXPECT_U64_EQ(kind_of(leaks, 6), REACH_INDIRECT);
	EXPECT_U64_EQ(kind_of(leaks, 7), REACH_INDIRECT);
	EXPECT_U64_EQ(kind_of(leaks, 9), REACH_DIRECT);
	ASSERT_U64_EQ(leaks->head_count, 3);
	EXPECT_U64_EQ(leaks->head[0], 1);
	EXPECT_U64_EQ(leaks->head[1], 5);	/* births fall with the id: 5 is the older of the two */
	EXPECT_U64_EQ(leaks->head[2], 9);
	reach_leaks_free(leaks);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(what_the_dynamic_linker_allocated_for_itself_is_no_leak_nor_what_hangs_from_it)
{
	struct model m = { 0 };
	struct reach *reach = NULL;
	struct reach_leaks *leaks = NULL;
	uint32_t *path = NULL;

	start(&m, 3);
	uint32_t stack = model_stack(&m, "_dl_new_object", "dl-object.c", 92);
	m.frames[0].module = "ld-linux-x86-64.so.2";
	m.stack[0] = stack;
	model_edge(&m, 0, 1, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	ASSERT_INT_EQ(reach_find_leaks(heap, reach, &leaks), 0);
	EXPECT_U64_EQ(leaks->count, 1);
	EXPECT_U64_EQ(leaks->node[0], 2);
	EXPECT_U64_EQ(reach_root_of(heap, reach, 1), HEAP_NONE);
	EXPECT_INT_EQ(chain_path(heap, reach, 1, &path), 2);
	EXPECT_U64_EQ(path[0], 0);
	free(path);
	reach_leaks_free(leaks);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST(a_leaked_list_of_a_million_nodes_has_one_head)
{
	struct model m = { 0 };
	struct reach *reach = NULL;
	struct reach_leaks *leaks = NULL;
	const uint32_t n = 1000000;

	start(&m, n);
	for (uint32_t i = 1; i < n; i++)
		model_edge(&m, i, i - 1, 0);
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(reach_flood(heap, &reach), 0);
	ASSERT_INT_EQ(reach_find_leaks(heap, reach, &leaks), 0);
	ASSERT_U64_EQ(leaks->head_count, 1);
	EXPECT_U64_EQ(leaks->head[0], n - 1);
	reach_leaks_free(leaks);
	reach_free(reach);
	heap_free(heap);
	model_done(&m);
}

TEST_MAIN()
