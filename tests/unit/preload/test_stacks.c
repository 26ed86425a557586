/* SPDX-License-Identifier: Apache-2.0
 * test_stacks.c - the stack tree: equal stacks get equal ids, whoever asks and however. */
#include "preload/stacks.h"

#include <pthread.h>

#include "test.h"

#define THREADS 4
#define STACKS 20000u
#define DEPTH 12

static void make(uint64_t n, void **pcs)
{
	/* innermost first; outer frames are shared by many */
	for (int i = 0; i < DEPTH; i++) {
		pcs[i] = (void *)(uintptr_t)(0x400000 + (n % 977) * 64 + (uint64_t)i);
		n /= i < 3 ? 3 : 1000;
	}
}

TEST(id_leads_back_to_the_frames_innermost_first)
{
	void *pcs[] = { (void *)0x11, (void *)0x22, (void *)0x33 };
	uint32_t id = ld__stacks_intern(pcs, 3, 0);
	struct stream_stack node;

	ASSERT(id != 0);
	for (int i = 0; i < 3; i++) {
		ld__stacks_get(id, &node);
		EXPECT_U64_EQ(node.pc, (uint64_t)(uintptr_t)pcs[i]);
		EXPECT(node.parent < id);
		EXPECT_INT_EQ(node.flags, 0);
		id = node.parent;
	}
	EXPECT_U64_EQ(id, 0);
}

TEST(cut_stack_is_another_stack_and_says_so_at_its_outermost_frame)
{
	void *pcs[] = { (void *)0x11, (void *)0x22 };
	uint32_t whole = ld__stacks_intern(pcs, 2, 0), cut = ld__stacks_intern(pcs, 2, 1);
	struct stream_stack node;

	EXPECT(whole != cut);
	ld__stacks_get(cut, &node);
	EXPECT_INT_EQ(node.flags, 0);
	ld__stacks_get(node.parent, &node);
	EXPECT_INT_EQ(node.flags, STREAM_STACK_TRUNCATED);
}

TEST(memory_of_the_last_stack_changes_no_id)
{
	struct stack_memo *memo = ld__stacks_memo_new();
	void *pcs[DEPTH];

	ASSERT_NOT_NULL(memo);
	for (uint64_t n = 0; n < 5000; n++) {
		int count = 1 + (int)(n % DEPTH), cut = n % 7 == 0;
		uint32_t with;

		make(n * 2654435761u, pcs);
		with = ld__stacks_intern_with(memo, pcs + DEPTH - count, count, cut);
		ASSERT_U64_EQ(with, ld__stacks_intern(pcs + DEPTH - count, count, cut));
		ASSERT(with != 0);
	}
}

static uint32_t ids[THREADS][STACKS];

static void *intern_all(void *data)
{
	struct stack_memo *memo = ld__stacks_memo_new();
	uint32_t *mine = data;
	void *pcs[DEPTH];

	for (uint64_t n = 0; n < STACKS; n++) {
		make(n * 7919, pcs);
		mine[n] = ld__stacks_intern_with(memo, pcs, DEPTH, 0);
	}
	return NULL;
}

TEST(threads_that_intern_at_once_agree_in_what_their_ids_mean)
{
	pthread_t threads[THREADS];
	void *pcs[DEPTH];
	uint64_t wrong = 0;

	for (int t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, intern_all, ids[t]);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < THREADS; t++) {
		for (uint64_t n = 0; n < STACKS; n++) {
			uint32_t id = ids[t][n];

			make(n * 7919, pcs);
			for (int i = 0; i < DEPTH; i++) {
				struct stream_stack node;

				ld__stacks_get(id, &node);
				wrong += node.pc != (uint64_t)(uintptr_t)pcs[i];
				id = node.parent;
			}
			wrong += id != 0;
		}
	}
	EXPECT_U64_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__stacks_refused(), 0);
	/* more tables than the first: 2^15 slots hold half of that */
	EXPECT(ld__stacks_count() > 20000);
}

TEST_MAIN()
