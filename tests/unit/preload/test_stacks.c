/* SPDX-License-Identifier: Apache-2.0
 * test_stacks.c - the stack tree: equal stacks get equal ids, whoever asks and however. */
#include "preload/stacks.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "test.h"

#define THREADS 4
#define STACKS 20000u
#define DEPTH 12
#define SIGNALS 400

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
static pthread_barrier_t together;
static uint32_t caller;

static void *intern_all(void *data)
{
	struct stack_memo *memo = ld__stacks_memo_new();
	uint32_t *mine = data;
	void *pcs[DEPTH];

	pthread_barrier_wait(&together);
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
	uint32_t count;

	pthread_barrier_init(&together, NULL, THREADS);
	for (int t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, intern_all, ids[t]);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	count = ld__stacks_count();
	for (uint64_t n = 0; n < STACKS; n++) {
		make(n * 7919, pcs);
		ld__stacks_intern(pcs, DEPTH, 0);
	}
	EXPECT_U64_EQ(ld__stacks_count(), count);
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
	/* beyond the first chunk of nodes */
	EXPECT(ld__stacks_count() > 40000);
}

static void *call_from_one_place(void *data)
{
	uint32_t *mine = data, base = (uint32_t)(mine - ids[0]);

	pthread_barrier_wait(&together);
	for (uint32_t n = 0; n < STACKS; n++)
		mine[n] = ld__stacks_child(caller, 0x800000 + base + n, 0);
	return NULL;
}

TEST(frames_that_threads_insert_at_one_place_all_stay)
{
	pthread_t threads[THREADS];
	uint64_t wrong = 0;

	caller = ld__stacks_child(0, 0x600000, 0);
	for (int t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, call_from_one_place, ids[t]);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (uint32_t n = 0; n < THREADS * STACKS; n++)
		wrong += ids[n / STACKS][n % STACKS] != ld__stacks_child(caller, 0x800000 + n, 0);
	EXPECT_U64_EQ(wrong, 0);
}

TEST(frames_of_one_caller_are_told_apart_however_many_there_are)
{
	static uint32_t first[100000];
	uint32_t count;
	struct stream_stack node;
	uint64_t wrong = 0;

	caller = ld__stacks_child(0, 0x700000, 0);
	ASSERT(caller != 0);
	for (uint32_t i = 0; i < 100000; i++)
		first[i] = i % 2 ? ld__stacks_child_python(caller, i / 2, 0) : ld__stacks_child(caller, i / 2, 0);
	count = ld__stacks_count();
	for (uint32_t i = 0; i < 100000; i++) {
		wrong += first[i] != (i % 2 ? ld__stacks_child_python(caller, i / 2, 0) : ld__stacks_child(caller, i / 2, 0));
		ld__stacks_get(first[i], &node);
		wrong += node.pc != i / 2 || node.parent != caller || node.flags != (i % 2 ? STREAM_STACK_PYTHON : 0);
	}
	EXPECT_U64_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__stacks_count(), count);
	EXPECT(ld__stacks_child(0, 5, 0) != ld__stacks_child(caller, 5, 0));
}

static sigjmp_buf back;
static volatile uint64_t turn;
static volatile sig_atomic_t signals;
static const struct itimerval often = { { 0, 50 }, { 0, 50 } }, never;

/* Interns what the interrupted code is about to, and every other time does not come back to it. */
static void intern_in_handler(int signal)
{
	void *pcs[DEPTH];

	(void)signal;
	for (uint64_t n = turn; n < turn + 4; n++) {
		make(n * 104729, pcs);
		ld__stacks_intern(pcs, DEPTH, 1);
	}
	if (++signals == SIGNALS)
		setitimer(ITIMER_REAL, &never, NULL);
	if (signals % 2)
		siglongjmp(back, 1);
}

TEST(insertion_that_a_handler_interrupts_or_abandons_leaves_the_tree_whole)
{
	struct sigaction act = { .sa_handler = intern_in_handler }, old;
	uint64_t wrong = 0;
	void *pcs[DEPTH];

	sigaction(SIGALRM, &act, &old);
	turn = 0;
	sigsetjmp(back, 1);
	if (signals < SIGNALS)
		setitimer(ITIMER_REAL, &often, NULL);
	for (; turn < 100000; turn++) {
		make(turn * 104729, pcs);
		ld__stacks_intern(pcs, DEPTH, 1);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);

	for (uint64_t n = 0; n < 100000; n++) {
		uint32_t id, before = ld__stacks_count();
		struct stream_stack node;

		make(n * 104729, pcs);
		id = ld__stacks_intern(pcs, DEPTH, 1);
		wrong += ld__stacks_count() != before;	/* each was there already */
		for (int i = 0; i < DEPTH; i++) {
			ld__stacks_get(id, &node);
			wrong += node.pc != (uint64_t)(uintptr_t)pcs[i] || node.parent >= id;
			id = node.parent;
		}
		wrong += id != 0;
	}
	EXPECT_U64_EQ(wrong, 0);
	EXPECT_U64_EQ(ld__stacks_refused(), 0);
}

/* A sanitizer's run time needs memory of its own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(frame_without_memory_is_refused_and_counted_and_takes_no_id)
{
	struct rlimit all, none;
	uint32_t known = ld__stacks_child(0, 0x11, 0), count, id = known;
	uint64_t frame = 0x900000, refused = 0;

	ASSERT_INT_EQ(getrlimit(RLIMIT_AS, &all), 0);
	none = all;
	none.rlim_cur = 4096;
	ASSERT_INT_EQ(setrlimit(RLIMIT_AS, &none), 0);
	while (id && frame < 0x900000 + 1000000)
		id = ld__stacks_child(known, ++frame, 0);
	count = ld__stacks_count();
	for (int i = 0; i < 100; i++)
		refused += !ld__stacks_child(known, frame + 1 + (uint64_t)i, 0);
	EXPECT_U64_EQ(id, 0);
	EXPECT_U64_EQ(refused, 100);
	EXPECT_U64_EQ(ld__stacks_refused(), 101);
	EXPECT_U64_EQ(ld__stacks_count(), count);
	EXPECT_U64_EQ(ld__stacks_child(0, 0x11, 0), known);

	ASSERT_INT_EQ(setrlimit(RLIMIT_AS, &all), 0);
	EXPECT_U64_EQ(ld__stacks_child(known, frame, 0), count + 1);
}
#endif

TEST_MAIN()
