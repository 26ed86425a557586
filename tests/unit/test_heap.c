/* SPDX-License-Identifier: Apache-2.0
 * test_heap.c - heaps made from arrays, what nodes weigh, names, the account, numbers for keys. */
#include <errno.h>

#include "test.h"
#include "model.h"
#include "core/account.h"
#include "core/intern.h"
#include "core/names.h"
#include "core/picture.h"
#include "core/weigh.h"

TEST(a_built_heap_has_sorted_targets_without_repeats_and_self_references)
{
	struct model m = { 0 };

	model_type(&m, "t", HEAP_TYPE_KIND);
	for (uint32_t i = 0; i < 4; i++)
		model_block(&m, 0x1000 + i * 0x100, 16, i, 0, MODEL_NO_STACK);
	uint32_t g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	model_edge(&m, 1, 3, 0);
	model_edge(&m, 1, 2, 8);
	model_edge(&m, 1, 3, 16);
	model_edge(&m, 1, 1, 24);
	model_edge(&m, MODEL_ROOT(g), 1, 0);
	struct heap *heap = model_build(&m);
	EXPECT_U64_EQ(heap->edges, 3);
	EXPECT_U64_EQ(heap->edge_start[2] - heap->edge_start[1], 2);
	EXPECT_U64_EQ(heap->edge_to[heap->edge_start[1]], 2);
	EXPECT_U64_EQ(heap->edge_to[heap->edge_start[1] + 1], 3);
	EXPECT_U64_EQ(heap->edge_to[heap->edge_start[heap->nodes + g]], 1);
	heap_free(heap);
	model_done(&m);
	EXPECT(heap_free(NULL) == NULL);
}

static int count_references(const struct heap_reference *ref, void *data)
{
	uint64_t *seen = data;

	seen[0]++;
	seen[1] += ref->value;
	return ref->value == 16;
}

TEST(references_are_visited_with_labels_until_the_visitor_has_enough)
{
	struct model m = { 0 };
	uint64_t seen[2] = { 0 };

	model_type(&m, "t", HEAP_TYPE_KIND);
	model_block(&m, 0x1000, 16, 1, 0, MODEL_NO_STACK);
	model_block(&m, 0x2000, 16, 1, 0, MODEL_NO_STACK);
	model_edge(&m, 0, 1, 8);
	model_edge(&m, 0, 1, 16);
	model_edge(&m, 0, 1, 24);
	struct heap *heap = model_build(&m);
	EXPECT_INT_EQ(heap_references(heap, 0, count_references, seen), 1);
	EXPECT_U64_EQ(seen[0], 2);
	EXPECT_U64_EQ(seen[1], 24);
	EXPECT_INT_EQ(heap_references(heap, 1, count_references, seen), 0);
	EXPECT_INT_EQ(heap_references(heap, 2, count_references, seen), -EINVAL);
	heap_free(heap);
	model_done(&m);
}

TEST(references_out_of_order_or_to_nowhere_are_refused)
{
	struct heap_reference wild = { .from = 0, .to = 9 };
	struct heap_reference unsorted[] = { { .from = 1, .to = 0 }, { .from = 0, .to = 1 } };
	struct heap model = { .nodes = 2 }, *heap = NULL;

	EXPECT_INT_EQ(heap_build(&model, &wild, 1, &heap), -EINVAL);
	EXPECT_INT_EQ(heap_build(&model, unsorted, 2, &heap), -EINVAL);
	EXPECT(heap == NULL);
}

TEST(a_mapping_weighs_what_its_blocks_leave_over)
{
	struct model m = { 0 };
	struct weights *weights = NULL;

	model_type(&m, "t", HEAP_TYPE_KIND);
	model_flag(&m, model_block(&m, 0x1000, 0x1000, 1, 0, MODEL_NO_STACK), HEAP_MAPPING);
	model_block(&m, 0x1000, 0x100, 1, 0, MODEL_NO_STACK);	/* at the same address */
	model_block(&m, 0x1f80, 0x80, 1, 0, MODEL_NO_STACK);	/* up to the last byte */
	model_block(&m, 0x2000, 0x40, 1, 0, MODEL_NO_STACK);	/* behind it */
	model_flag(&m, model_block(&m, UINT64_MAX - 8, 64, 1, 0, MODEL_NO_STACK), HEAP_MAPPING);	/* wraps: damaged */
	struct heap *heap = model_build(&m);
	ASSERT_INT_EQ(weigh_nodes(heap, &weights), 0);
	EXPECT_U64_EQ(weigh_bytes(weights, 0), 0x1000 - 0x180);
	EXPECT_U64_EQ(weigh_bytes(weights, 1), 0x100);
	EXPECT_U64_EQ(weigh_bytes(weights, 3), 0x40);
	EXPECT_U64_EQ(weigh_bytes(weights, 4), 64);
	weights_free(weights);
	heap_free(heap);
	model_done(&m);
}

static char *label(enum heap_label kind, uint64_t value, const char *text, const struct heap_root *root)
{
	static char buffer[128];
	struct text out = { 0 };
	uint64_t bytes = 64;
	uint32_t type = 0;
	struct heap_type types[] = { { .name = "unknown site" } };
	struct heap heap = { .nodes = 1, .roots = root != NULL, .root = root, .bytes = &bytes, .type = &type, .types = types };

	names_reference(&out, &heap, &(struct heap_reference){ .from = root ? 1 : 0, .label = kind, .value = value, .text = text });
	snprintf(buffer, sizeof(buffer), "%s", out.data ? out.data : "");
	text_done(&out);
	return buffer;
}

TEST(references_are_named_as_a_person_would_write_them)
{
	struct heap_root variable = { .kind = HEAP_ROOT_GLOBAL, .start = 0x600000, .end = 0x600040 };
	struct heap_root reg = { .kind = HEAP_ROOT_REGISTER };

	EXPECT_STR_EQ(label(HEAP_LABEL_OFFSET, 16, NULL, NULL), "+16");
	EXPECT_STR_EQ(label(HEAP_LABEL_OFFSET, 0x600010, NULL, &variable), "+16");
	EXPECT_STR_EQ(label(HEAP_LABEL_OFFSET, 1, NULL, &reg), "rbx");
	EXPECT_STR_EQ(label(HEAP_LABEL_ATTR, 0, "cache", NULL), ".cache");
	EXPECT_STR_EQ(label(HEAP_LABEL_KEY, 0, "'a'", NULL), "['a']");
	EXPECT_STR_EQ(label(HEAP_LABEL_INDEX, 7, NULL, NULL), "[7]");
	EXPECT_STR_EQ(label(HEAP_LABEL_NAMED, 0, "next", NULL), "->next");
}

TEST(a_site_is_shown_with_its_size_and_known_types_as_they_are)
{
	struct text text = { 0 };

	names_type(&text, "handle_put server.c:120", HEAP_TYPE_SITE, true, 1048576);
	EXPECT_STR_EQ(text.data, "1048576 B from handle_put server.c:120");
	text_done(&text);
	text = (struct text){ 0 };
	names_type(&text, "Session", HEAP_TYPE_RTTI, true, 64);
	EXPECT_STR_EQ(text.data, "Session");
	text_done(&text);
	EXPECT(names_type_matches("from handle_put*", "handle_put server.c:120", HEAP_TYPE_SITE, 5));
	EXPECT(names_type_matches("5 B from *", "handle_put server.c:120", HEAP_TYPE_SITE, 5));
	EXPECT(!names_type_matches("6 B from *", "handle_put server.c:120", HEAP_TYPE_SITE, 5));
	EXPECT(names_type_matches("handle_put", "handle_put server.c:120", HEAP_TYPE_SITE, 5));
	EXPECT(names_type_equals("5 B from f f.c:1", "f f.c:1", HEAP_TYPE_SITE, 5));
	EXPECT(!names_type_equals("5 B from f f.c:1", "f f.c:1", HEAP_TYPE_SITE, 55));
	EXPECT(!names_type_equals("5 B from f f.c:1", "f f.c:1", HEAP_TYPE_RTTI, 5));
}

TEST(growth_is_explained_by_live_memory_files_stacks_and_leakdiff_itself)
{
	struct heap a = { 0 }, b = { 0 };

	a.account = (struct heap_account){ .live_bytes = 10 << 20, .allocator_bytes = 1 << 20, .total_bytes = 11 << 20 };
	b.account = (struct heap_account){ .live_bytes = 40 << 20, .allocator_bytes = 2 << 20, .files_bytes = 5 << 20,
					   .total_bytes = 47 << 20 };
	EXPECT_U64_EQ(account_unexplained(&a, &b), 0);		/* 1 MiB of overhead is no suspect */
	b.account.allocator_bytes = 12 << 20;
	b.account.total_bytes = 57 << 20;
	EXPECT_U64_EQ(account_unexplained(&a, &b), 11u << 20);
	EXPECT_U64_EQ(account_unexplained(&b, &a), 0);
	a.account.total_bytes = 0;				/* no account: RSS against live bytes */
	a.meta.rss_bytes = 20 << 20;
	b.meta.rss_bytes = 90 << 20;
	b.meta.bytes = 30 << 20;
	EXPECT_U64_EQ(account_unexplained(&a, &b), 40u << 20);
}

TEST(equal_keys_get_equal_numbers_in_order_of_first_sight)
{
	struct intern table = { 0 };
	int is_new;

	for (uint64_t i = 0; i < 10000; i++) {
		EXPECT_INT_EQ(intern_number(&table, intern_pair(i % 5000, i % 7 == 0 ? 1 : 1), &is_new), (int64_t)(i % 5000));
		EXPECT_INT_EQ(is_new, i < 5000);
	}
	struct intern_key ab = { 0 }, c = { 0 };
	intern_fold(&ab, "ab");
	intern_fold(&ab, "c");
	intern_fold(&c, "a");
	intern_fold(&c, "bc");
	EXPECT(ab.low != c.low || ab.high != c.high);
	intern_done(&table);
}

TEST(a_picture_owns_copies_and_refuses_edges_to_nowhere)
{
	struct picture *picture = picture_new("title");
	char name[] = "before";

	ASSERT_NOT_NULL(picture);
	for (int i = 0; i < 20; i++)
		EXPECT_INT_EQ(picture_add_node(picture, &(struct picture_node){ .type = (char *)"t", .name = name }), i);
	memcpy(name, "after!", 6);
	EXPECT_STR_EQ(picture->nodes[19].name, "before");
	EXPECT_INT_EQ(picture_add_edge(picture, &(struct picture_edge){ .from = 0, .to = 20 }), -EINVAL);
	EXPECT_INT_EQ(picture_add_edge(picture, &(struct picture_edge){ .from = 0, .to = 19, .label = name }), 0);
	EXPECT_INT_EQ(picture_leave_out(picture, "%d more", 3), 0);
	EXPECT_STR_EQ(picture->left_out[0], "3 more");
	picture_free(picture);
	EXPECT(picture_free(NULL) == NULL);
}

TEST_MAIN()
