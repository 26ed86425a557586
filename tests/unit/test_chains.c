/* SPDX-License-Identifier: Apache-2.0
 * test_chains.c - chains, queries and the pictures that are made of them. */
#include "test.h"
#include "model.h"
#include "core/chain_set.h"
#include "core/leaks.h"
#include "core/pattern.h"

/* g_list -> 200 nodes by +8, the last one -> "payload" by +16; and 3 unreachable ones in a row. */
static void build_list(struct model *m)
{
	uint32_t node = model_type(m, "list_add l.c:1", HEAP_TYPE_SITE);
	uint32_t payload = model_type(m, "char[64]", HEAP_TYPE_DWARF);
	uint32_t lost = model_type(m, "lose x.c:1", HEAP_TYPE_SITE);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_list");
	uint32_t stack = model_stack(m, "list_add", "/src/l.c", 1);

	for (uint32_t i = 0; i < 200; i++) {
		model_block(m, 0x1000 + i * 0x100, 32, 1 + i, node, stack);
		if (i)
			model_edge(m, i - 1, i, 8);
	}
	model_edge(m, MODEL_ROOT(g), 0, 16);
	model_block(m, 0x100000, 64, 300, payload, MODEL_NO_STACK);
	model_edge(m, 199, 200, 16);
	m->refs[m->ref_count - 1].interior = true;
	m->refs[m->ref_count - 1].target_offset = 24;
	for (uint32_t i = 0; i < 3; i++) {
		model_block(m, 0x200000 + i * 0x100, 16, 400 + i, lost, MODEL_NO_STACK);
		if (i)
			model_edge(m, 200 + i, 201 + i, 0);
	}
}

static void load(struct model *m, struct heap **heap, struct series **series)
{
	*heap = model_build(m);
	if (series_make((const struct heap *const *)heap, 1, series) < 0)
		exit(1);
}

TEST(a_long_list_is_folded_into_one_step)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	uint32_t *path = NULL;
	struct chain chain;

	build_list(&m);
	load(&m, &heap, &series);
	ASSERT_INT_EQ(chain_path(heap, series->heaps[0].reach, 200, &path), 202);
	struct labels *labels = labels_new(heap);
	ASSERT_NOT_NULL(labels);
	ASSERT_INT_EQ(chain_make(labels, heap, path, 202, &chain), 0);
	ASSERT_U64_EQ(chain.count, 4);
	EXPECT_STR_EQ(chain.steps[0].type, "global");
	EXPECT_STR_EQ(chain.steps[0].name, "g_list");
	EXPECT_STR_EQ(chain.steps[0].edge, "+16");
	EXPECT_STR_EQ(chain.steps[1].type, "32 B from list_add l.c:1");
	EXPECT_STR_EQ(chain.steps[1].edge, "+8 x 199");
	EXPECT_U64_EQ(chain.steps[1].count, 199);
	EXPECT_STR_EQ(chain.steps[2].edge, "+16 (into +24)");
	EXPECT(chain.steps[2].interior);
	EXPECT_STR_EQ(chain.steps[3].type, "char[64]");
	EXPECT_STR_EQ(chain.steps[3].name, "0x100000");
	EXPECT(chain.steps[3].edge == NULL);
	chain_done(&chain);
	labels_free(labels);
	free(path);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST(a_path_of_many_kinds_is_cut_in_the_middle_and_says_so)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	static char names[300][16];
	uint32_t *path = NULL;
	struct chain chain;

	uint32_t g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	for (uint32_t i = 0; i < 300; i++) {
		snprintf(names[i], sizeof(names[i]), "T%u", i);
		model_type(&m, names[i], HEAP_TYPE_DWARF);
		model_block(&m, 0x1000 + i * 0x100, 32, 1, i, MODEL_NO_STACK);
		model_edge(&m, i ? i - 1 : MODEL_ROOT(g), i, 0);
	}
	load(&m, &heap, &series);
	int64_t length = chain_path(heap, series->heaps[0].reach, 299, &path);
	struct labels *labels = labels_new(heap);
	ASSERT_NOT_NULL(labels);
	ASSERT_INT_EQ(chain_make(labels, heap, path, (uint32_t)length, &chain), 0);
	EXPECT_U64_EQ(chain.count, CHAIN_MAX);
	EXPECT_STR_EQ(chain.steps[CHAIN_MAX - 1].type, "T299");
	EXPECT(chain.steps[CHAIN_MAX / 2].role == CHAIN_CUT);
	EXPECT_U64_EQ(chain.steps[CHAIN_MAX / 2].count, 301 - CHAIN_MAX + 1);
	chain_done(&chain);
	labels_free(labels);
	free(path);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

static void check_label(struct labels *labels, uint32_t from, uint32_t to, uint64_t value, uint64_t slots)
{
	struct heap_reference ref = { 0 };
	uint64_t met = 0;

	ASSERT_INT_EQ(labels_find(labels, from, to, &ref, &met), 0);
	EXPECT_U64_EQ(met, slots);
	if (slots)
		EXPECT_U64_EQ(ref.value, value);
}

TEST(labels_of_large_and_small_sources_are_the_same_reference)
{
	struct model m = { 0 };

	model_type(&m, "t", HEAP_TYPE_KIND);
	for (uint32_t i = 0; i < 200; i++)
		model_block(&m, 0x1000 + i * 0x10000, 16, i, 0, MODEL_NO_STACK);
	for (uint32_t large = 0; large < 40; large++)		/* more than are remembered */
		for (uint32_t i = 50; i < 150; i++)
			model_edge(&m, large, i, (149 - i) * 8 + large);
	model_edge(&m, 3, 60, 100000);
	model_edge(&m, 45, 60, 8);
	model_edge(&m, 45, 60, 24);
	struct heap *heap = model_build(&m);
	struct labels *labels = labels_new(heap);
	ASSERT_NOT_NULL(labels);
	for (int round = 0; round < 2; round++)
		for (uint32_t large = 0; large < 40; large++) {
			check_label(labels, large, 77, 72 * 8 + large, 1);
			check_label(labels, large, 160, 0, 0);
		}
	check_label(labels, 3, 60, 89 * 8 + 3, 2);
	check_label(labels, 45, 60, 8, 2);
	check_label(labels, 45, 61, 0, 0);
	labels_free(labels);
	heap_free(heap);
	model_done(&m);
}

TEST(objects_are_found_by_type_address_site_and_size)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	uint32_t *nodes = NULL;

	build_list(&m);
	load(&m, &heap, &series);
	struct {
		struct chain_query query;
		int64_t count;
	} cases[] = {
		{ { .type = "list_add l.c:1", .size = UINT64_MAX }, 200 },
		{ { .type = "32 B from list_add l.c:1", .size = UINT64_MAX }, 200 },
		{ { .type = "33 B from list_add l.c:1", .size = UINT64_MAX }, 0 },
		{ { .type = "char[64]", .size = UINT64_MAX }, 1 },	/* exactly, though [] means something to a glob */
		{ { .type = "*l.c*", .size = UINT64_MAX }, 200 },
		{ { .addr = 0x1010, .size = UINT64_MAX }, 1 },
		{ { .addr = 0x1020, .size = UINT64_MAX }, 0 },
		{ { .site = "list_add", .size = UINT64_MAX }, 200 },
		{ { .size = 16 }, 3 },
		{ { .type = "lose*", .size = 17 }, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t count = chain_query_run(heap, &cases[i].query, &nodes);

		if (EXPECT_INT_EQ(count, cases[i].count))
			fprintf(stderr, "in case %zu\n", i);
		free(nodes);
	}
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST(every_object_that_is_asked_for_has_its_state_and_chain)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	uint32_t nodes[] = { 200, 203 };
	struct chain_set *set = NULL;
	struct picture *picture = NULL;

	build_list(&m);
	load(&m, &heap, &series);
	ASSERT_INT_EQ(chain_set_make(series, nodes, 2, SIZE_MAX, &set), 0);
	ASSERT_U64_EQ(set->count, 2);
	EXPECT(!set->entries[0].unreachable && set->entries[0].root == 0);
	EXPECT(set->entries[1].unreachable);
	EXPECT_U64_EQ(set->entries[1].chain.count, 3);	/* from the head of its part */
	ASSERT_INT_EQ(pattern_of_chains(set, &picture), 0);
	EXPECT_U64_EQ(picture->node_count, 7);
	EXPECT(picture->nodes[0].role == PICTURE_ROOT);
	EXPECT(picture->nodes[6].role == PICTURE_UNREACHABLE);
	picture_free(picture);
	chain_set_free(set);
	ASSERT_INT_EQ(chain_set_make(series, nodes, 2, 1, &set), 0);
	EXPECT_U64_EQ(set->count, 1);
	EXPECT_U64_EQ(set->matched, 2);
	chain_set_free(set);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST(garbage_that_waits_for_the_collector_is_no_leak_until_the_collector_is_off)
{
	for (int on = 0; on < 2; on++) {
		struct model m = { 0 };
		uint32_t type = model_type(&m, "app.Session", HEAP_TYPE_PYTHON), site = model_type(&m, "f a.c:1", HEAP_TYPE_SITE);
		uint32_t a = model_block(&m, 0x1000, 56, 1, type, MODEL_NO_STACK);
		uint32_t b = model_block(&m, 0x2000, 56, 2, type, MODEL_NO_STACK);
		uint32_t hangs = model_block(&m, 0x3000, 100, 3, site, MODEL_NO_STACK), lost;
		struct leak_list *list = NULL;
		struct series *series;
		struct heap *heap;

		lost = model_block(&m, 0x4000, 200, 4, site, MODEL_NO_STACK);
		model_edge(&m, a, b, 16);
		model_edge(&m, b, a, 16);
		model_edge(&m, b, hangs, 24);
		load(&m, &heap, &series);
		heap->meta.gc_enabled = on;
		ASSERT_INT_EQ(leak_list_make(series, NULL, NULL, &list), 0);
		EXPECT_U64_EQ(list->count, on ? 1 : 3);
		EXPECT_U64_EQ(list->bytes, on ? 200 : 412);
		EXPECT_U64_EQ(list->garbage_count, on ? 2 : 0);
		EXPECT_U64_EQ(list->garbage_blocks, on ? 3 : 0);
		EXPECT_U64_EQ(list->garbage_bytes, on ? 212 : 0);
		for (size_t i = 0; i < list->count; i++)
			EXPECT(list->entries[i].python == (list->entries[i].size != heap->bytes[lost]));
		leak_list_free(list);
		series_free(series);
		heap_free(heap);
		model_done(&m);
	}
}

TEST(leaks_are_one_entry_for_each_type_size_and_stack)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	struct leak_list *list = NULL;

	build_list(&m);
	load(&m, &heap, &series);
	ASSERT_INT_EQ(leak_list_make(series, NULL, NULL, &list), 0);
	ASSERT_U64_EQ(list->count, 2);
	EXPECT(list->entries[0].direct && !list->entries[1].direct);
	EXPECT_U64_EQ(list->entries[0].count, 1);
	EXPECT_U64_EQ(list->entries[1].count, 2);
	EXPECT_STR_EQ(list->confidence, "certain");
	EXPECT_CONTAINS(list->reason, "idden pointers");
	leak_list_free(list);
	ASSERT_INT_EQ(leak_list_make(series, "*nothing*", NULL, &list), 0);
	EXPECT_U64_EQ(list->count, 0);
	leak_list_free(list);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST(a_neighbourhood_is_as_wide_and_deep_as_asked_and_says_what_is_missing)
{
	struct model m = { 0 };
	struct series *series;
	struct heap *heap;
	struct picture *picture = NULL;
	uint32_t start = 0, all[20];

	uint32_t type = model_type(&m, "t", HEAP_TYPE_KIND), g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	for (uint32_t i = 0; i < 21; i++) {
		model_block(&m, 0x1000 + i * 0x100, 32, 1, type, MODEL_NO_STACK);
		if (i)
			model_edge(&m, 0, i, i * 8);
	}
	model_edge(&m, MODEL_ROOT(g), 0, 0);
	load(&m, &heap, &series);
	ASSERT_INT_EQ(pattern_of_neighbours(series, &start, 1, PATTERN_REFS, 2, 5, &picture), 0);
	ASSERT_U64_EQ(picture->node_count, 7);
	EXPECT(picture->nodes[6].role == PICTURE_CUT);
	EXPECT_STR_EQ(picture->nodes[6].type, "15 more references");
	EXPECT_U64_EQ(picture->edges[5].to, 6);
	picture_free(picture);
	start = 7;
	ASSERT_INT_EQ(pattern_of_neighbours(series, &start, 1, PATTERN_BACKREFS, 3, 5, &picture), 0);
	ASSERT_U64_EQ(picture->node_count, 3);
	EXPECT(picture->nodes[2].role == PICTURE_ROOT);
	EXPECT_STR_EQ(picture->edges[0].label, "+56");
	EXPECT_U64_EQ(picture->edges[0].to, 0);
	picture_free(picture);
	ASSERT_INT_EQ(pattern_of_neighbours(series, &start, 1, PATTERN_BACKREFS, 1, 5, &picture), 0);
	EXPECT_U64_EQ(picture->node_count, 2);
	EXPECT_CONTAINS(picture->title, "what refers to ");
	picture_free(picture);
	/* of many that match a few begin, or there is no room for what is around them */
	for (uint32_t i = 0; i < 20; i++)
		all[i] = i + 1;
	ASSERT_INT_EQ(pattern_of_neighbours(series, all, 20, PATTERN_BACKREFS, 2, 20, &picture), 0);
	EXPECT_U64_EQ(picture->node_count, PICTURE_NODES / 5 + 2);
	EXPECT_STR_EQ(picture->title, "what refers to these 6 objects");
	ASSERT_U64_EQ(picture->left_out_count, 1);
	EXPECT_STR_EQ(picture->left_out[0], "14 more objects match");
	picture_free(picture);
	series_free(series);
	heap_free(heap);
	model_done(&m);
}

TEST(a_picture_of_suspects_merges_equal_objects_below_their_holder)
{
	struct model m[2] = { 0 };
	struct heap *heaps[2];
	struct series *series;
	struct suspects *suspects;
	struct picture *picture = NULL;

	for (uint32_t k = 0; k < 2; k++) {
		uint32_t table = model_type(&m[k], "table_new t.c:1", HEAP_TYPE_SITE);
		uint32_t entry = model_type(&m[k], "entry_new t.c:2", HEAP_TYPE_SITE);
		uint32_t body = model_type(&m[k], "Body", HEAP_TYPE_RTTI);
		uint32_t g = model_root(&m[k], HEAP_ROOT_GLOBAL, "g_cache");
		uint32_t t = model_block(&m[k], 0x1000, 1024, 1, table, MODEL_NO_STACK);

		model_edge(&m[k], MODEL_ROOT(g), t, 0);
		for (uint32_t i = 0; i < (k ? 100u : 20u); i++) {
			uint32_t e = model_block(&m[k], 0x10000 + i * 0x10000, 32, 10 + i * 50, entry, MODEL_NO_STACK);
			uint32_t b = model_block(&m[k], 0x11000 + i * 0x10000, 9000, 11 + i * 50, body, MODEL_NO_STACK);
			model_edge(&m[k], t, e, i * 8);
			model_edge(&m[k], e, b, 8);
		}
		heaps[k] = model_build(&m[k]);
		heaps[k]->meta.taken_birth = k ? 6000 : 1000;
		heaps[k]->meta.taken_ns = k ? 60000000000 : 10000000000;
	}
	ASSERT_INT_EQ(series_make((const struct heap *const *)heaps, 2, &series), 0);
	ASSERT_INT_EQ(suspects_find(series, &suspects), 0);
	ASSERT_INT_EQ(pattern_of_suspects(suspects, &picture), 0);
	ASSERT_U64_EQ(picture->node_count, 4);
	EXPECT(picture->nodes[0].role == PICTURE_ROOT);
	EXPECT(picture->nodes[1].role == PICTURE_ACCUMULATES);
	EXPECT_STR_EQ(picture->nodes[2].type, "Body");
	EXPECT_U64_EQ(picture->nodes[2].count, 100);
	EXPECT_U64_EQ(picture->nodes[2].new_count, 80);
	EXPECT(picture->nodes[3].role == PICTURE_GREW);
	EXPECT_U64_EQ(picture->edge_count, 3);
	picture_free(picture);
	suspects_free(suspects);
	series_free(series);
	for (int k = 0; k < 2; k++) {
		heap_free(heaps[k]);
		model_done(&m[k]);
	}
}

TEST_MAIN()
