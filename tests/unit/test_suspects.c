/* SPDX-License-Identifier: Apache-2.0
 * test_suspects.c - what is suspected, who holds it and what it is called, on heaps made by hand. */
#include "test.h"
#include "model.h"
#include "core/account.h"
#include "core/suspects.h"

#define SECOND 1000000ull		/* birth numbers a second, in these tests */

struct pair {
	struct model before, after;
	struct heap *heaps[2];
	struct series *series;
	struct suspects *suspects;
};

/* Both snapshots of one process, ten seconds apart. */
static void pair_judge(struct pair *p)
{
	p->heaps[0] = model_build(&p->before);
	p->heaps[1] = model_build(&p->after);
	for (int i = 0; i < 2; i++) {
		p->heaps[i]->meta.taken_birth = (uint64_t)(10 + 10 * i) * SECOND;
		p->heaps[i]->meta.taken_ns = (int64_t)(10 + 10 * i) * 1000000000;
	}
	if (series_make((const struct heap *const *)p->heaps, 2, &p->series) < 0 ||
	    suspects_find(p->series, &p->suspects) < 0) {
		fprintf(stderr, "the pair cannot be judged\n");
		exit(1);
	}
}

static void pair_done(struct pair *p)
{
	suspects_free(p->suspects);
	series_free(p->series);
	heap_free(p->heaps[0]);
	heap_free(p->heaps[1]);
	model_done(&p->before);
	model_done(&p->after);
}

/* g_cache -> cache -> table -> `entries` entries -> body each; entries are born one after another
 * through the whole time, first.. of them in the second snapshot only. */
static void build_cache(struct model *m, uint32_t entries)
{
	uint32_t cache_type = model_type(m, "cache_new cache.c:10", HEAP_TYPE_SITE);
	uint32_t table_type = model_type(m, "cache_new cache.c:11", HEAP_TYPE_SITE);
	uint32_t entry_type = model_type(m, "handle_put server.c:118", HEAP_TYPE_SITE);
	uint32_t body_type = model_type(m, "handle_put server.c:120", HEAP_TYPE_SITE);
	uint32_t entry_stack = model_stack(m, "handle_put", "/src/server.c", 118);
	uint32_t body_stack = model_stack(m, "handle_put", "/src/server.c", 120);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_cache");
	uint32_t cache = model_block(m, 0x10000, 64, 1, cache_type, MODEL_NO_STACK);
	uint32_t table = model_block(m, 0x10100, 4096, 2, table_type, MODEL_NO_STACK);

	model_edge(m, MODEL_ROOT(g), cache, 0);
	model_edge(m, cache, table, 8);
	for (uint32_t i = 0; i < entries; i++) {
		uint64_t birth = 5 * SECOND + i * SECOND / 2 + 3;
		uint32_t entry = model_block(m, 0x100000 + i * 0x200000ull, 32, birth, entry_type, entry_stack);
		uint32_t body = model_block(m, 0x100100 + i * 0x200000ull, 1048576, birth + 1, body_type, body_stack);

		model_edge(m, table, entry, i * 8);
		model_edge(m, entry, body, 16);
	}
}

TEST(a_cache_that_never_evicts_is_one_growing_suspect_held_by_its_table)
{
	struct pair p = { 0 };

	build_cache(&p.before, 10);
	build_cache(&p.after, 30);
	/* The last body is also on a stack, and one in the middle in another variable. */
	uint32_t s = model_root(&p.after, HEAP_ROOT_STACK, "handle_conn()");
	uint32_t last = model_root(&p.after, HEAP_ROOT_GLOBAL, "g_last");
	model_edge(&p.after, MODEL_ROOT(s), 2 + 29 * 2 + 1, 8);
	model_edge(&p.after, MODEL_ROOT(last), 2 + 20 * 2 + 1, 0);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	const struct suspect *suspect = &p.suspects->list[0];
	EXPECT_STR_EQ(suspect_verdict_name(suspect->verdict), "growing");
	EXPECT_STR_EQ(suspect_confidence_name(suspect->confidence), "likely");
	EXPECT_STR_EQ(suspect->type, "1048576 B from handle_put server.c:120");
	EXPECT_U64_EQ(suspect->count, 20);
	EXPECT_U64_EQ(suspect->bytes, 20u * 1048576);
	EXPECT_U64_EQ(suspect->retained_bytes, 20u * (1048576 + 32));
	ASSERT_U64_EQ(suspect->site_count, 1);
	EXPECT_U64_EQ(suspect->sites[0].bytes, 20u * 1048576);
	ASSERT_U64_EQ(suspect->companion_count, 1);
	EXPECT_U64_EQ(suspect->companions[0].bytes, 20u * 32);
	EXPECT_STR_EQ(p.heaps[1]->root[suspect->root].name, "g_cache");
	EXPECT_STR_EQ(suspect->point_type, "4096 B from cache_new cache.c:11");
	EXPECT_U64_EQ(suspect->children, 20);
	ASSERT_U64_EQ(suspect->chain.count, 5);
	EXPECT_STR_EQ(suspect->chain.steps[0].name, "g_cache");
	EXPECT_STR_EQ(suspect->chain.steps[0].edge, "+0");
	EXPECT_STR_EQ(suspect->chain.steps[1].edge, "+8");
	EXPECT_STR_EQ(suspect->chain.steps[2].edge, "[*]");
	EXPECT_STR_EQ(suspect->chain.steps[3].edge, "+16");
	EXPECT_U64_EQ(suspect->chain.steps[3].count, 20);
	EXPECT_U64_EQ(suspect->chain.steps[4].count, 20);
	EXPECT(suspect->chain.steps[4].role == CHAIN_GREW);
	EXPECT(p.suspects->grew);
	pair_done(&p);
}

/* module -> cache (an lru_cache with `entries` of 128 entries) -> bodies; those after number `old` are born
 * after the first snapshot. */
static void build_lru(struct model *m, struct heap_cache *cache, uint32_t old, uint32_t first, uint32_t entries,
		      uint32_t each)
{
	uint32_t type = model_type(m, "functools._lru_cache_wrapper", HEAP_TYPE_PYTHON);
	uint32_t body_type = model_type(m, "bytes", HEAP_TYPE_PYTHON);
	uint32_t stack = model_stack(m, "read", "app.py", 7);
	uint32_t wrapper = model_block(m, 0x10000, 168, 1, type, MODEL_NO_STACK);

	model_edge(m, MODEL_ROOT(model_root(m, HEAP_ROOT_PY_MODULE, "app")), wrapper, 0);
	for (uint32_t i = first; i < first + entries * each; i++) {
		uint64_t birth = i < old ? 5 * SECOND + i : 11 * SECOND + (i - old) * SECOND / 30;

		model_edge(m, wrapper, model_block(m, 0x1000000 + i * 0x200000ull, 1048576, birth, body_type, stack), i * 8);
	}
	*cache = (struct heap_cache){ .node = wrapper, .entries = entries, .maxsize = 128, .misses = 128 };
	m->heap.caches = cache;
	m->heap.cache_count = 1;
}

TEST(a_bounded_cache_that_fills_up_is_growing_or_warms_up_when_it_answers)
{
	struct heap_cache before, after;
	struct pair p = { 0 };

	build_lru(&p.before, &before, 40, 0, 40, 1);
	build_lru(&p.after, &after, 40, 0, 100, 1);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "growing");
	EXPECT_STR_EQ(p.suspects->list[0].point_detail, "lru_cache, 100 of 128 entries");
	EXPECT_CONTAINS(p.suspects->list[0].reason, "the cache has 100 of 128 entries and stops growing when it is full, "
			"at about 128 MiB; none of 128 calls was answered from it");
	pair_done(&p);

	p = (struct pair){ 0 };
	build_lru(&p.before, &before, 40, 0, 40, 1);
	build_lru(&p.after, &after, 40, 0, 100, 1);
	after.hits = 5000;
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "warming");
	EXPECT_STR_EQ(suspect_confidence_name(p.suspects->list[0].confidence), "possible");
	EXPECT(!p.suspects->grew);
	pair_done(&p);

	p = (struct pair){ 0 };
	build_lru(&p.before, &before, 100, 0, 100, 1);
	build_lru(&p.after, &after, 100, 0, 128, 1);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "stable");
	EXPECT_STR_EQ(p.suspects->list[0].point_detail, "lru_cache, 128 of 128 entries: full");
	EXPECT_CONTAINS(p.suspects->list[0].reason, "it will not hold more");
	EXPECT(!p.suspects->grew);
	pair_done(&p);

	p = (struct pair){ 0 };
	build_lru(&p.before, &before, 128, 0, 128, 1);
	build_lru(&p.after, &after, 128, 40, 128, 1);	/* 40 new ones for 40 old ones */
	pair_judge(&p);
	EXPECT(!p.suspects->grew);
	pair_done(&p);
}

TEST(a_full_cache_whose_entries_become_larger_is_still_growing)
{
	struct heap_cache before, after;
	struct pair p = { 0 };

	build_lru(&p.before, &before, 128, 0, 128, 1);
	build_lru(&p.after, &after, 128, 0, 128, 2);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "growing");
	EXPECT_CONTAINS(p.suspects->list[0].reason, "the cache was full before, but what its entries hold becomes more");
	pair_done(&p);
}

TEST(a_cache_without_a_bound_or_with_one_that_cannot_be_read_says_so)
{
	struct heap_cache before, after;
	struct pair p = { 0 };

	build_lru(&p.before, &before, 128, 0, 128, 1);
	build_lru(&p.after, &after, 128, 0, 200, 1);
	after.maxsize = -1;
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(p.suspects->list[0].point_detail, "lru_cache, unbounded");
	EXPECT_CONTAINS(p.suspects->list[0].reason, "200 entries and no bound (maxsize=None): it never stops growing");
	pair_done(&p);

	p = (struct pair){ 0 };
	build_lru(&p.before, &before, 128, 0, 128, 1);
	build_lru(&p.after, &after, 128, 0, 200, 1);
	after.maxsize = HEAP_UNKNOWN;
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "growing");
	EXPECT_STR_EQ(p.suspects->list[0].point_detail, "lru_cache, 200 entries");
	pair_done(&p);
}

TEST(bodies_from_two_sites_in_entries_of_their_own_are_one_thing_with_two_sites)
{
	struct pair p = { 0 };

	for (uint32_t i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t table = model_type(m, "table_new t.c:1", HEAP_TYPE_SITE);
		uint32_t entry = model_type(m, "entry_new t.c:2", HEAP_TYPE_SITE);
		uint32_t put = model_type(m, "put s.c:1", HEAP_TYPE_SITE), post = model_type(m, "post s.c:2", HEAP_TYPE_SITE);
		uint32_t put_stack = model_stack(m, "put", "s.c", 1), post_stack = model_stack(m, "post", "s.c", 2);
		uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_cache");
		uint32_t t = model_block(m, 0x2000, 1024, 2, table, MODEL_NO_STACK);

		model_edge(m, MODEL_ROOT(g), t, 0);
		for (uint32_t b = 0; i && b < 100; b++) {
			uint64_t birth = 10 * SECOND + b * SECOND / 10 + 1;
			uint32_t e = model_block(m, 0x10000 + b * 0x10000, 32, birth, entry, MODEL_NO_STACK);
			uint32_t body = model_block(m, 0x11000 + b * 0x10000, 9000, birth + 1, b % 3 ? put : post,
						    b % 3 ? put_stack : post_stack);
			model_edge(m, t, e, b * 8);
			model_edge(m, e, body, 16);
		}
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_U64_EQ(p.suspects->list[0].count, 100);
	EXPECT_U64_EQ(p.suspects->list[0].bytes, 900000);
	EXPECT_U64_EQ(p.suspects->list[0].site_count, 2);
	EXPECT_U64_EQ(p.suspects->list[0].companion_count, 1);
	EXPECT_STR_EQ(p.suspects->list[0].type, "9000 B from put s.c:1");
	char *what = suspect_what(&p.suspects->list[0]);
	EXPECT_U64_EQ(p.suspects->list[0].kinds, 2);
	EXPECT_STR_EQ(what, "66 x 9000 B from put s.c:1 and 34 of 1 more kind");
	free(what);
	pair_done(&p);
}

/* A table of `entries` blocks of 8 KiB, born[i] each. */
static void build_table(struct model *m, uint32_t entries, const uint64_t *born)
{
	uint32_t table_type = model_type(m, "pool_new pool.c:1", HEAP_TYPE_SITE);
	uint32_t entry_type = model_type(m, "pool_get pool.c:2", HEAP_TYPE_SITE);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_pool");
	uint32_t table = model_block(m, 0x1000, 2048, 1, table_type, MODEL_NO_STACK);

	model_edge(m, MODEL_ROOT(g), table, 0);
	for (uint32_t i = 0; i < entries; i++) {
		uint32_t entry = model_block(m, 0x10000 + i * 0x10000, 8192, born[i], entry_type, MODEL_NO_STACK);

		model_edge(m, table, entry, i * 8);
	}
}

/* A doubly linked list between two variables: no node alone holds its elements. */
static void build_ring(struct model *m, uint32_t length, uint64_t birth)
{
	uint32_t type = model_type(m, "lru_put lru.c:7", HEAP_TYPE_SITE), body = type;	/* one line makes both */
	uint32_t se = model_stack(m, "lru_put", "lru.c", 7), sb = model_stack(m, "lru_put", "lru.c", 7);
	uint32_t h = model_root(m, HEAP_ROOT_GLOBAL, "head"), t = model_root(m, HEAP_ROOT_GLOBAL, "tail");

	for (uint32_t i = 0; i < length; i++) {
		uint32_t e = model_block(m, 0x10000 + i * 0x10000, 24, birth + i * SECOND / 100, type, se);
		uint32_t b = model_block(m, 0x11000 + i * 0x10000, 2000, birth + i * SECOND / 100 + 1, body, sb);

		model_edge(m, e, b, 16);
		if (i) {
			model_edge(m, e, e - 2, 8);
			model_edge(m, e - 2, e, 0);
		}
	}
	model_edge(m, MODEL_ROOT(h), 0, 0);
	model_edge(m, MODEL_ROOT(t), length * 2 - 2, 0);
}

TEST(a_full_list_between_two_variables_is_no_suspect_and_a_growing_one_is_one)
{
	struct pair p = { 0 };

	build_ring(&p.before, 500, SECOND);
	build_ring(&p.after, 500, 12 * SECOND);
	pair_judge(&p);
	EXPECT_U64_EQ(p.suspects->count, 0);
	EXPECT_U64_EQ(p.suspects->turnover_places, 1);
	pair_done(&p);

	memset(&p, 0, sizeof(p));
	build_ring(&p.before, 100, SECOND);
	build_ring(&p.after, 500, 12 * SECOND);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_U64_EQ(p.suspects->list[0].count, 500);
	EXPECT_CONTAINS(p.suspects->list[0].reason, "100 older ones were freed");
	pair_done(&p);
}

TEST(a_full_cache_that_replaces_one_for_one_is_no_suspect)
{
	uint64_t old[200], fresh[200];
	struct pair p = { 0 };

	for (int i = 0; i < 200; i++) {
		old[i] = 1 * SECOND + (uint64_t)i;
		fresh[i] = (12 + (uint64_t)i / 30) * SECOND + (uint64_t)i;
	}
	build_table(&p.before, 200, old);
	build_table(&p.after, 200, fresh);
	pair_judge(&p);
	EXPECT_U64_EQ(p.suspects->count, 0);
	EXPECT_U64_EQ(p.suspects->turnover_places, 1);
	EXPECT(!p.suspects->grew);
	pair_done(&p);
}

TEST(blocks_born_just_before_the_snapshot_are_work_in_progress)
{
	uint64_t born[40];
	struct pair p = { 0 };

	for (int i = 0; i < 40; i++)
		born[i] = 20 * SECOND - 1000 - (uint64_t)i;
	build_table(&p.before, 0, born);
	build_table(&p.after, 40, born);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "stable");
	EXPECT(!p.suspects->grew);
	pair_done(&p);
}

TEST(growth_that_ends_while_others_go_on_is_warming)
{
	uint64_t born[100];
	struct pair p = { 0 };

	for (int i = 0; i < 100; i++)	/* 60, 25, 10, 5 by quarter */
		born[i] = (uint64_t)((i < 60 ? 10.0 + i / 60.0 * 2.4 : i < 85 ? 12.5 + (i - 60) / 25.0 * 2.4 :
				      i < 95 ? 15.0 + (i - 85) / 10.0 * 2.4 : 17.6 + (i - 95) / 5.0) * SECOND) + 1;
	build_table(&p.before, 0, born);
	build_table(&p.after, 100, born);
	uint32_t other = model_type(&p.after, "work work.c:1", HEAP_TYPE_SITE);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t root = model_root(&p.after, HEAP_ROOT_STACK, "work()");
		uint32_t block = model_block(&p.after, 0x10000000 + i * 0x100, 16, 19 * SECOND + i, other, MODEL_NO_STACK);
		model_edge(&p.after, MODEL_ROOT(root), block, 0);
	}
	pair_judge(&p);
	ASSERT(p.suspects->count >= 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "warming");
	pair_done(&p);
}

/* A singly linked list behind a global, new elements in front or at the end. */
static void build_list(struct model *m, uint32_t length, bool prepend)
{
	uint32_t type = model_type(m, "listener_add bus.c:7", HEAP_TYPE_SITE);
	uint32_t stack = model_stack(m, "listener_add", "bus.c", 7);
	uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_listeners");

	for (uint32_t i = 0; i < length; i++) {
		model_block(m, 0x1000 + i * 0x1000, 512, SECOND + i * SECOND / 16 + 1, type, stack);
		if (i)
			model_edge(m, prepend ? i : i - 1, prepend ? i - 1 : i, 8);
	}
	model_edge(m, MODEL_ROOT(g), prepend ? length - 1 : 0, 0);
}

static void check_list(bool prepend)
{
	struct pair p = { 0 };

	build_list(&p.before, 144, prepend);
	build_list(&p.after, 300, prepend);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	const struct suspect *suspect = &p.suspects->list[0];
	EXPECT_STR_EQ(suspect_verdict_name(suspect->verdict), "growing");
	EXPECT_STR_EQ(suspect->type, "512 B from listener_add bus.c:7");
	EXPECT_U64_EQ(suspect->count, 156);
	EXPECT_STR_EQ(suspect->point_name, "g_listeners");
	EXPECT_U64_EQ(suspect->children, 156);
	ASSERT(suspect->chain.count == 3);
	EXPECT_CONTAINS(suspect->chain.steps[1].edge, "+8 x ");
	EXPECT(p.suspects->grew);
	pair_done(&p);
}

TEST(a_list_grows_at_its_holder_whether_in_front_or_at_the_end)
{
	check_list(true);
	check_list(false);
}

TEST(a_list_whose_head_two_frames_share_grows_at_the_outer_frame_of_the_program)
{
	struct pair p = { 0 };

	build_list(&p.before, 144, false);
	build_list(&p.after, 300, false);
	for (int i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		m->root[0].kind = HEAP_ROOT_STACK;
		m->root[0].name = "batch_add()";
		uint32_t outer = model_root(m, HEAP_ROOT_STACK, "collect()");
		model_edge(m, MODEL_ROOT(outer), 0, 8);
		uint32_t libc = model_root(m, HEAP_ROOT_STACK, "pthread_cond_wait()");
		m->root[libc].module = "libc.so.6";
		model_edge(m, MODEL_ROOT(libc), 0, 8);
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_U64_EQ(p.suspects->list[0].count, 156);
	EXPECT_STR_EQ(p.suspects->list[0].point_name, "collect()");
	pair_done(&p);
}

TEST(a_queue_that_realloc_moves_is_one_block_that_grew)
{
	struct pair p = { 0 };

	for (int i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t type = model_type(m, "queue_push queue.c:9", HEAP_TYPE_SITE);
		uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_queue");
		uint32_t block = model_block(m, i ? 0x900000 : 0x1000, i ? 8u << 20 : 1u << 20, 77, type, MODEL_NO_STACK);

		model_edge(m, MODEL_ROOT(g), block, 0);
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	const struct suspect *suspect = &p.suspects->list[0];
	EXPECT_STR_EQ(suspect_verdict_name(suspect->verdict), "growing");
	EXPECT_STR_EQ(suspect->type, "from queue_push queue.c:9");
	EXPECT_U64_EQ(suspect->count, 1);
	EXPECT_U64_EQ(suspect->bytes, 7u << 20);
	EXPECT_STR_EQ(p.heaps[1]->root[suspect->root].name, "g_queue");
	EXPECT(p.suspects->grew);
	pair_done(&p);
}

TEST(what_lost_its_last_reference_is_a_suspect_although_nothing_grew)
{
	struct pair p = { 0 };

	for (int i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t type = model_type(m, "session_new s.c:5", HEAP_TYPE_SITE);
		uint32_t old = model_type(m, "init i.c:5", HEAP_TYPE_SITE);
		uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_sessions");

		for (uint32_t b = 0; b < 50; b++) {
			uint32_t block = model_block(m, 0x1000 + b * 0x1000, 2000, SECOND + b, type, MODEL_NO_STACK);

			if (!i || b >= 30)
				model_edge(m, MODEL_ROOT(g), block, b * 8);
		}
		model_block(m, 0x900000, 50, 3, old, MODEL_NO_STACK);	/* unreachable all along */
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	const struct suspect *suspect = &p.suspects->list[0];
	EXPECT_STR_EQ(suspect_verdict_name(suspect->verdict), "unreachable");
	EXPECT_STR_EQ(suspect_confidence_name(suspect->confidence), "certain");
	EXPECT_CONTAINS(suspect->reason, "idden pointers");
	EXPECT_U64_EQ(suspect->count, 30);
	EXPECT_U64_EQ(suspect->root, HEAP_NONE);
	EXPECT(p.suspects->grew);
	pair_done(&p);
}

TEST(a_holder_that_was_found_beside_memory_that_was_not_read_may_not_be_the_one)
{
	const char *notes[] = { "5394432 bytes that the service keeps out of forks were not read" };
	uint64_t born[100];
	struct pair p = { 0 };

	for (uint32_t i = 0; i < 100; i++)
		born[i] = 11 * SECOND + i * SECOND / 20;
	build_table(&p.before, 0, NULL);
	build_table(&p.after, 100, born);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT(!strstr(p.suspects->list[0].reason, "was not read"));
	suspects_free(p.suspects);
	p.heaps[1]->meta.notes = notes;
	p.heaps[1]->meta.note_count = 1;
	ASSERT_INT_EQ(suspects_find(p.series, &p.suspects), 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_CONTAINS(p.suspects->list[0].reason, "may also lie in memory that was not read");
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "growing");
	pair_done(&p);
}

TEST(what_memory_that_was_not_read_may_hold_is_never_certainly_lost)
{
	const char *notes[] = { "5394432 bytes that the service keeps out of forks were not read" };
	struct pair p = { 0 };

	for (uint32_t b = 0; b < 50; b++)
		model_block(&p.after, 0x1000 + b * 0x1000, 2000, 11 * SECOND + b,
			    b ? 0 : model_type(&p.after, "page_new p.c:5", HEAP_TYPE_SITE), MODEL_NO_STACK);
	model_type(&p.before, "page_new p.c:5", HEAP_TYPE_SITE);
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_confidence_name(p.suspects->list[0].confidence), "certain");
	suspects_free(p.suspects);
	p.heaps[1]->meta.notes = notes;
	p.heaps[1]->meta.note_count = 1;
	ASSERT_INT_EQ(suspects_find(p.series, &p.suspects), 0);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_confidence_name(p.suspects->list[0].confidence), "possible");
	EXPECT_CONTAINS(p.suspects->list[0].reason, "was not read");
	EXPECT(!p.suspects->grew);
	suspects_free(p.suspects);
	notes[0] = "392 bytes that the service keeps out of forks were not read";	/* 49 words for 50 blocks */
	ASSERT_INT_EQ(suspects_find(p.series, &p.suspects), 0);
	EXPECT_STR_EQ(suspect_confidence_name(p.suspects->list[0].confidence), "certain");
	pair_done(&p);
}

TEST(blocks_that_were_freed_although_unreachable_prove_hidden_pointers)
{
	struct pair p = { 0 };

	for (uint32_t i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t type = model_type(m, "conn_new c.c:5", HEAP_TYPE_SITE);

		for (uint32_t b = 0; b < 20; b++)	/* as many as before, but others */
			model_block(m, 0x1000 + b * 0x1000, 2000, (i ? 12 : 2) * SECOND + b, type, MODEL_NO_STACK);
	}
	pair_judge(&p);
	EXPECT_U64_EQ(p.suspects->count, 0);
	EXPECT(!p.suspects->grew);
	pair_done(&p);
}

TEST(an_unreachable_cycle_is_listed_with_its_members)
{
	struct pair p = { 0 };

	model_type(&p.before, "a a.c:1", HEAP_TYPE_SITE);
	uint32_t a = model_type(&p.after, "a a.c:1", HEAP_TYPE_SITE), b = model_type(&p.after, "b b.c:1", HEAP_TYPE_SITE);
	for (uint32_t i = 0; i < 10; i++) {
		uint32_t x = model_block(&p.after, 0x1000 + i * 0x1000, 64, 12 * SECOND + i * SECOND / 2, a, MODEL_NO_STACK);
		uint32_t y = model_block(&p.after, 0x1100 + i * 0x1000, 500, 12 * SECOND + i * SECOND / 2 + 1, b, MODEL_NO_STACK);
		model_edge(&p.after, x, y, 0);
		model_edge(&p.after, y, x, 8);
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	const struct suspect *suspect = &p.suspects->list[0];
	EXPECT_STR_EQ(suspect->type, "500 B from b b.c:1");
	EXPECT_U64_EQ(suspect->count, 10);
	ASSERT_U64_EQ(suspect->cycle.count, 3);
	EXPECT_STR_EQ(suspect->cycle.steps[1].edge, "+8");
	EXPECT_U64_EQ(suspect->cycle.steps[0].id, suspect->cycle.steps[2].id);
	pair_done(&p);
}

TEST(two_caches_in_one_struct_are_two_suspects)
{
	struct pair p = { 0 };

	for (uint32_t i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t server = model_type(m, "server_new s.c:1", HEAP_TYPE_SITE);
		uint32_t table = model_type(m, "table_new t.c:1", HEAP_TYPE_SITE);
		uint32_t users = model_type(m, "user_new u.c:1", HEAP_TYPE_SITE);
		uint32_t logs = model_type(m, "log_new l.c:1", HEAP_TYPE_SITE);
		uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_server");
		uint32_t s = model_block(m, 0x1000, 100, 1, server, MODEL_NO_STACK);
		uint32_t t[2] = { model_block(m, 0x2000, 1024, 2, table, MODEL_NO_STACK),
				  model_block(m, 0x3000, 1024, 3, table, MODEL_NO_STACK) };

		model_edge(m, MODEL_ROOT(g), s, 0);
		model_edge(m, s, t[0], 8);
		model_edge(m, s, t[1], 16);
		for (uint32_t b = 0; i && b < 200; b++) {
			uint32_t block = model_block(m, 0x10000 + b * 0x1000, b & 1 ? 1500 : 2000,
						     10 * SECOND + b * SECOND / 20 + 1, b & 1 ? users : logs, MODEL_NO_STACK);
			model_edge(m, t[b & 1], block, b * 8);
		}
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 2);
	EXPECT_STR_EQ(p.suspects->list[0].type, "2000 B from log_new l.c:1");
	EXPECT_STR_EQ(p.suspects->list[1].type, "1500 B from user_new u.c:1");
	EXPECT_U64_EQ(p.suspects->list[1].children, 100);
	EXPECT_STR_EQ(p.suspects->list[1].point_name, "0x3000");
	pair_done(&p);
}

/* Every element is in a table behind one variable and in an index behind another: no node alone
 * holds them. */
TEST(what_two_variables_share_accumulates_in_the_nearest_container)
{
	struct pair p = { 0 };

	for (uint32_t i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		uint32_t table = model_type(m, "table_new t.c:1", HEAP_TYPE_SITE);
		uint32_t index = model_type(m, "index_new t.c:2", HEAP_TYPE_SITE);
		uint32_t users = model_type(m, "user_new u.c:1", HEAP_TYPE_SITE);
		uint32_t g = model_root(m, HEAP_ROOT_GLOBAL, "g_by_id"), h = model_root(m, HEAP_ROOT_GLOBAL, "g_by_age");
		uint32_t t = model_block(m, 0x2000, 1024, 2, table, MODEL_NO_STACK);
		uint32_t x = model_block(m, 0x3000, 1024, 3, index, MODEL_NO_STACK);

		model_edge(m, MODEL_ROOT(g), t, 0);
		model_edge(m, MODEL_ROOT(h), x, 0);
		for (uint32_t b = 0; i && b < 100; b++) {
			uint32_t block = model_block(m, 0x10000 + b * 0x1000, 1500, 10 * SECOND + b * SECOND / 10 + 1, users, MODEL_NO_STACK);
			model_edge(m, t, block, b * 8);
			model_edge(m, x, block, b * 8);
		}
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_U64_EQ(p.suspects->list[0].count, 100);
	EXPECT_STR_EQ(p.suspects->list[0].point_type, "1024 B from table_new t.c:1");
	EXPECT_STR_EQ(p.heaps[1]->root[p.suspects->list[0].root].name, "g_by_id");
	pair_done(&p);
}

TEST(different_processes_are_compared_by_type_and_said_to_be)
{
	struct pair p = { 0 };

	build_cache(&p.before, 10);
	build_cache(&p.after, 30);
	p.after.heap.meta = (struct heap_meta){ .path = "b", .command = "service", .pid = 200, .process_start_ns = 2,
						.consistent = true };
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_U64_EQ(p.suspects->list[0].count, 20);
	ASSERT(p.suspects->note_count >= 1);
	EXPECT_CONTAINS(p.suspects->notes[0], "different processes");
	pair_done(&p);
}

TEST(different_programs_are_said_to_be)
{
	struct pair p = { 0 };

	build_cache(&p.before, 10);
	build_cache(&p.after, 30);
	p.after.heap.meta = (struct heap_meta){ .path = "b", .command = "other", .exe = "/bin/other", .pid = 200,
						.process_start_ns = 2, .consistent = true };
	pair_judge(&p);
	ASSERT(p.suspects->note_count >= 1);
	EXPECT_CONTAINS(p.suspects->notes[0], "different programs");
	pair_done(&p);
}

TEST(resident_memory_that_live_memory_does_not_explain_is_the_allocators)
{
	struct pair p = { 0 };

	build_table(&p.before, 0, NULL);
	build_table(&p.after, 0, NULL);
	for (int i = 0; i < 2; i++) {
		struct model *m = i ? &p.after : &p.before;
		m->heap.account = (struct heap_account){ .live_bytes = 10 << 20, .files_bytes = 2 << 20,
			.allocator_bytes = (i ? 60u : 1u) << 20, .total_bytes = (i ? 72u : 13u) << 20 };
	}
	pair_judge(&p);
	ASSERT_U64_EQ(p.suspects->count, 1);
	EXPECT_STR_EQ(suspect_verdict_name(p.suspects->list[0].verdict), "allocator");
	EXPECT_U64_EQ(p.suspects->list[0].bytes, 59u << 20);
	EXPECT(p.suspects->grew);
	pair_done(&p);
}

TEST(headers_and_rounding_of_more_blocks_are_what_they_cost_and_no_suspect)
{
	const uint64_t blocks[] = { 400000, 100000 };	/* so many more: enough for 9 MiB of headers, and not */

	for (int few = 0; few < 2; few++) {
		struct pair p = { 0 };

		build_table(&p.before, 0, NULL);
		build_table(&p.after, 0, NULL);
		p.before.heap.account = (struct heap_account){ .live_bytes = 10 << 20, .allocator_bytes = 1 << 20, .total_bytes = 11 << 20 };
		p.after.heap.account = (struct heap_account){ .live_bytes = 12 << 20, .allocator_bytes = 10 << 20, .total_bytes = 22 << 20 };
		p.before.heap.details.allocator_overhead = 1 << 20;
		p.after.heap.details.allocator_overhead = 10 << 20;
		p.heaps[0] = model_build(&p.before);
		p.heaps[1] = model_build(&p.after);
		p.heaps[1]->meta.blocks = blocks[few];
		EXPECT_U64_EQ(account_unexplained(p.heaps[0], p.heaps[1]),
			      few ? (9u << 20) - 100000 * ALLOCATOR_BLOCK_BYTES - (1 << 19) : 0);
		heap_free(p.heaps[0]);
		heap_free(p.heaps[1]);
		model_done(&p.before);
		model_done(&p.after);
	}
}

/* Four snapshots of one table, taken at these seconds, with so many entries each; the verdict of its
 * suspect, or "none". */
static const char *verdict_at(const uint32_t seconds[4], const uint32_t counts[4], const char **ret_confidence)
{
	static char verdict[32], confidence[32];
	struct model m[4] = { 0 };
	struct heap *heaps[4];
	struct series *series;
	struct suspects *suspects;
	uint64_t born[1000];

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t k = 0;

		while (k < 3 && i >= counts[k])
			k++;
		born[i] = ((uint64_t)(k ? seconds[k - 1] : 0) + 1) * SECOND + i;
	}
	for (uint32_t k = 0; k < 4; k++) {
		build_table(&m[k], counts[k], born);
		heaps[k] = model_build(&m[k]);
		heaps[k]->meta.taken_birth = (uint64_t)seconds[k] * SECOND;
		heaps[k]->meta.taken_ns = (int64_t)seconds[k] * 1000000000;
	}
	if (series_make((const struct heap *const *)heaps, 4, &series) < 0 || suspects_find(series, &suspects) < 0)
		exit(1);
	snprintf(verdict, sizeof(verdict), "%s", suspects->count ? suspect_verdict_name(suspects->list[0].verdict) : "none");
	snprintf(confidence, sizeof(confidence), "%s",
		 suspects->count ? suspect_confidence_name(suspects->list[0].confidence) : "");
	*ret_confidence = confidence;
	suspects_free(suspects);
	series_free(series);
	for (int k = 0; k < 4; k++) {
		heap_free(heaps[k]);
		model_done(&m[k]);
	}
	return verdict;
}

static const char *verdict_of(const uint32_t counts[4], const char **ret_confidence)
{
	return verdict_at((const uint32_t[]){ 10, 20, 30, 40 }, counts, ret_confidence);
}

TEST(growth_is_judged_for_its_time)
{
	const char *confidence;

	/* 10 a second all the time, the last interval short */
	EXPECT_STR_EQ(verdict_at((const uint32_t[]){ 10, 30, 50, 55 }, (const uint32_t[]){ 10, 210, 410, 460 }, &confidence),
		      "growing");
	EXPECT_STR_EQ(confidence, "likely");
	/* nothing in the last two seconds of 42 is chance */
	EXPECT_STR_EQ(verdict_at((const uint32_t[]){ 10, 30, 50, 52 }, (const uint32_t[]){ 10, 210, 410, 410 }, &confidence),
		      "growing");
	/* a third as much as ever, but in nine times the time */
	EXPECT_STR_EQ(verdict_at((const uint32_t[]){ 10, 20, 30, 120 }, (const uint32_t[]){ 10, 110, 210, 245 }, &confidence),
		      "warming");
}

TEST(with_several_snapshots_the_steps_decide)
{
	const char *confidence;

	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 60, 110, 160 }, &confidence), "growing");
	EXPECT_STR_EQ(confidence, "likely");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 60, 200, 260 }, &confidence), "growing");
	EXPECT_STR_EQ(confidence, "likely");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 160, 165, 166 }, &confidence), "warming");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 120, 70, 220 }, &confidence), "growing");
	EXPECT_STR_EQ(confidence, "possible");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 300, 30, 310 }, &confidence), "stable");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 10, 300, 250, 500 }, &confidence), "growing");
	EXPECT_STR_EQ(verdict_of((const uint32_t[]){ 100, 100, 100, 100 }, &confidence), "none");
}

TEST_MAIN()
