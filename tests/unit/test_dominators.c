/* SPDX-License-Identifier: Apache-2.0
 * test_dominators.c - the dominator tree against its definition, on thousands of random graphs. */
#include <time.h>

#include "test.h"
#include "model.h"
#include "core/dominators.h"

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 16) % n);
}

struct everything {
	struct reach *reach;
	struct reach_leaks *leaks;
	struct dominators *tree;
};

static void compute(const struct heap *heap, struct everything *all)
{
	memset(all, 0, sizeof(*all));
	if (reach_flood(heap, &all->reach) < 0 || reach_find_leaks(heap, all->reach, &all->leaks) < 0 ||
	    dominators_compute(heap, all->reach, all->leaks, &all->tree) < 0) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
}

static void done(struct everything *all)
{
	dominators_free(all->tree);
	reach_leaks_free(all->leaks);
	reach_free(all->reach);
}

/* Flood from top without passing through `without`; marks seen by id. */
static void flood_without(const struct heap *heap, const struct everything *all, uint32_t without,
			  uint8_t *seen, uint32_t *stack)
{
	uint32_t depth = 0, top = all->tree->top, lost = all->tree->lost;

	memset(seen, 0, all->tree->count);
	if (without == top)
		return;
	seen[top] = 1;
	stack[depth++] = top;
	while (depth) {
		uint32_t v = stack[--depth];
		uint64_t n = v == top ? heap->roots + 1u : v == lost ? all->leaks->head_count :
			heap->edge_start[v + 1] - heap->edge_start[v];

		for (uint64_t i = 0; i < n; i++) {
			uint32_t to = v == top ? (i < heap->roots ? heap->nodes + (uint32_t)i : lost) :
				v == lost ? all->leaks->head[i] : heap->edge_to[heap->edge_start[v] + i];

			if (v < top && !reach_edge_counts(all->reach, v, to))
				continue;
			if (to != without && !seen[to]) {
				seen[to] = 1;
				stack[depth++] = to;
			}
		}
	}
}

/* dominates[d * n + v]; the immediate dominator of v is the dominator that all others dominate. */
static int check_by_definition(const struct heap *heap, const struct everything *all)
{
	uint32_t n = all->tree->count, *stack = malloc(n * sizeof(*stack)), *depth = calloc(n, sizeof(*depth));
	uint8_t *seen = malloc(n), *dominates = calloc(n, n);
	int wrong = 0;

	for (uint32_t d = 0; d < n; d++) {
		flood_without(heap, all, d, seen, stack);
		for (uint32_t v = 0; v < n; v++)
			if (!seen[v] && v != d) {
				dominates[d * n + v] = 1;
				depth[v]++;
			}
	}
	for (uint32_t v = 0; v < n; v++) {
		uint32_t best = all->tree->top;

		for (uint32_t d = 0; d < n; d++)
			if (dominates[d * n + v] && depth[d] >= depth[best])
				best = d;
		if (v != all->tree->top && all->tree->idom[v] != best)
			wrong++;
	}

	for (uint32_t d = 0; d < n; d++)
		for (uint32_t v = 0; v < n; v++) {
			bool inside = all->tree->first[d] <= all->tree->first[v] && all->tree->first[v] < all->tree->last[d];

			wrong += inside != (d == v || dominates[d * n + v]);
		}
	for (uint32_t v = 0; v < n; v++)
		wrong += all->tree->order[all->tree->first[v]] != v;
	free(stack);
	free(depth);
	free(seen);
	free(dominates);
	return wrong;
}

TEST(the_tree_of_thousands_of_random_graphs_is_the_one_of_the_definition)
{
	int wrong = 0;

	for (int round = 0; round < 4000 && wrong == 0; round++) {
		struct model m = { 0 };
		struct everything all;
		uint32_t nodes = 1 + random_below(40), roots = random_below(5);
		uint32_t edges = random_below(nodes * 4);

		model_type(&m, "t", HEAP_TYPE_KIND);
		for (uint32_t i = 0; i < nodes; i++) {
			model_block(&m, 0x1000 + i * 16, 16, random_below(100), 0, MODEL_NO_STACK);
			if (random_below(20) == 0)
				m.flags[i] |= HEAP_HIDDEN;
		}
		for (uint32_t i = 0; i < roots; i++)
			model_root(&m, 1 + random_below(8), "r");
		for (uint32_t i = 0; i < edges; i++)
			model_edge(&m, roots && random_below(6) == 0 ? MODEL_ROOT(random_below(roots)) :
				   random_below(nodes), random_below(nodes), i * 8);
		struct heap *heap = model_build(&m);
		compute(heap, &all);
		wrong = check_by_definition(heap, &all);
		if (wrong)
			fprintf(stderr, "round %d: %d wrong of %u nodes\n", round, wrong, nodes);
		done(&all);
		heap_free(heap);
		model_done(&m);
	}
	EXPECT_INT_EQ(wrong, 0);
}

TEST(a_diamond_is_held_by_its_top_and_retained_bytes_add_up)
{
	struct model m = { 0 };
	struct everything all;
	uint64_t retained[16] = { 0 };

	model_type(&m, "t", HEAP_TYPE_KIND);
	for (uint32_t i = 0; i < 4; i++)
		model_block(&m, 0x1000 + i * 0x100, 10u << i, i, 0, MODEL_NO_STACK);
	uint32_t g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	uint32_t s = model_root(&m, HEAP_ROOT_STACK, "main()");
	model_edge(&m, MODEL_ROOT(g), 0, 0);
	model_edge(&m, MODEL_ROOT(s), 2, 0);	/* a stack slot does not share in what a global holds */
	model_edge(&m, 0, 1, 0);
	model_edge(&m, 0, 2, 8);
	model_edge(&m, 1, 3, 0);
	model_edge(&m, 2, 3, 0);
	struct heap *heap = model_build(&m);
	compute(heap, &all);
	EXPECT_U64_EQ(all.tree->idom[3], 0);
	EXPECT_U64_EQ(all.tree->idom[2], 0);
	EXPECT_U64_EQ(all.tree->idom[0], heap->nodes + g);
	memcpy(retained, heap->bytes, heap->nodes * sizeof(*retained));
	dominators_retain(all.tree, retained);
	EXPECT_U64_EQ(retained[0], 150);
	EXPECT_U64_EQ(retained[1], 20);
	EXPECT_U64_EQ(retained[all.tree->top], 150);
	done(&all);
	heap_free(heap);
	model_done(&m);
}

/* Deep lists must not use the machine's stack. */
TEST(a_list_of_a_million_nodes_is_one_path)
{
	struct model m = { 0 };
	struct everything all;
	const uint32_t n = 1000000;

	model_type(&m, "t", HEAP_TYPE_KIND);
	uint32_t g = model_root(&m, HEAP_ROOT_GLOBAL, "g");
	for (uint32_t i = 0; i < n; i++) {
		model_block(&m, 0x1000 + i * 16, 16, i, 0, MODEL_NO_STACK);
		if (i)
			model_edge(&m, i - 1, i, 0);
	}
	model_edge(&m, MODEL_ROOT(g), 0, 0);
	struct heap *heap = model_build(&m);
	compute(heap, &all);
	EXPECT_U64_EQ(all.tree->idom[n - 1], n - 2);
	EXPECT_U64_EQ(all.tree->idom[0], heap->nodes);
	done(&all);
	heap_free(heap);
	model_done(&m);
}

TEST_MAIN()
