/* SPDX-License-Identifier: Apache-2.0
 * test_clock.c - the birth clock keeps cause before effect, also across threads. */
#include "preload/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "preload/clock_inline.h"
#include "preload/stream.h"
#include "test.h"

#define ROUNDS 200000u

static _Atomic uint64_t ball;		/* value that the last player read; low bit: whose turn */
static uint64_t backwards;

static uint64_t play(uint64_t turn, uint64_t value)
{
	for (;;) {
		uint64_t seen = atomic_load_explicit(&ball, memory_order_acquire);

		if ((seen & 1) == turn) {
			uint64_t now = ld__clock_read() << 1;

			if (now <= (seen & ~1ull))
				backwards++;
			atomic_store_explicit(&ball, now | (turn ^ 1), memory_order_release);
			return value;
		}
		if (value++ % 64 == 0)
			sched_yield();
	}
}

static void *player(void *data)
{
	for (uint32_t i = 0; i < ROUNDS; i++)
		play((uint64_t)(uintptr_t)data, 1);
	return NULL;
}

static void ping_pong(void)
{
	pthread_t other;

	ball = 0;
	backwards = 0;
	pthread_create(&other, NULL, player, (void *)1);
	player((void *)0);
	pthread_join(other, NULL);
}

TEST(clock_read_after_a_message_is_later_than_the_one_before_it)
{
	ld__clock_init();
	ld__clock_share(true);		/* as the second thread to record does */
	ping_pong();
	EXPECT_U64_EQ(backwards, 0);
}

#if defined(__x86_64__)
TEST(counter_that_replaces_an_untrusted_tsc_keeps_the_same_promise)
{
	uint32_t saved = ld__clock_tsc;

	ld__clock_tsc = 0;
	ping_pong();
	ld__clock_tsc = saved;
	EXPECT_U64_EQ(backwards, 0);
}
#endif

TEST(births_follow_the_clock_and_never_lie_below_a_time_that_was_told)
{
	uint64_t told, birth, next, later;

	ld__clock_init();
	if (!ld__clock_is_time())
		return;			/* a counter is read for each event */
	ld__clock_share(false);
	ld__clock_keep();
	told = ld__clock_now();
	birth = ld__clock_birth(0, 1, 0);
	EXPECT(birth >= told);
	next = birth + 1;
	EXPECT_U64_EQ(ld__clock_birth(next, 1, 0), next);
	usleep(1000);
	EXPECT_U64_EQ(ld__clock_birth(next, 1, 0), next);
	told = ld__clock_now();
	EXPECT(ld__clock_birth(next, 1, 0) >= told);
	usleep(1000);
	ld__clock_keep();
	EXPECT(ld__clock_birth(next, 1, 0) > told);
	later = ld__clock_birth(next, 1, 1);
	EXPECT(later > ld__clock_birth(next, 1, 0));
	EXPECT(later < ld__clock_read());

	ld__clock_drop();
	usleep(1000);
	birth = ld__clock_birth(next, 1, 0);
	EXPECT(birth > later);
	told = ld__clock_now();
	EXPECT(told > birth);
	EXPECT_U64_EQ(ld__clock_floor, CLOCK_NO_FLOOR);
	ld__clock_share(true);
	ld__clock_keep();
	EXPECT(!ld__clock_alone());
	EXPECT((ld__clock_floor & ~CLOCK_SHARED) > told);
	ld__clock_drop();
	EXPECT_U64_EQ(ld__clock_floor, CLOCK_SHARED | CLOCK_NO_FLOOR);
	ld__clock_share(false);
	EXPECT_U64_EQ(ld__clock_floor, CLOCK_NO_FLOOR);
}

TEST(births_of_several_threads_read_the_clock)
{
	uint64_t before;

	ld__clock_keep();
	ld__clock_share(true);
	before = ld__clock_read();
	EXPECT(ld__clock_birth(before, 0, 0) > before);
	EXPECT_U64_EQ(ld__clock_order(before, 1), before);
	EXPECT(ld__clock_order(before, 0) > before);
	EXPECT_U64_EQ(ld__clock_birth(UINT64_MAX, 0, 0), UINT64_MAX);
	EXPECT_U64_EQ(ld__clock_order(UINT64_MAX, 0), UINT64_MAX);
	ld__clock_share(false);
	ld__clock_drop();
}

TEST(samples_relate_births_to_time)
{
	struct stream_clock first, later;

	ld__clock_init();
	ld__clock_first(&first);
	usleep(20000);
	ld__clock_sample(&later);
	EXPECT(later.birth > first.birth);
	EXPECT(later.monotonic_ns - first.monotonic_ns >= 20000000);
	EXPECT(later.realtime_ns > 1600000000000000000);
}

static void expect_it_measures(void)
{
	uint64_t began = ld__sys_clock_ns(CLOCK_MONOTONIC), mark = ld__clock_mark(), measured, true_ns;

	EXPECT(mark);
	ld__sys_sleep_ns(20000000);
	measured = ld__clock_since_ns(mark);
	true_ns = ld__sys_clock_ns(CLOCK_MONOTONIC) - began;
	EXPECT(measured >= 19900000 && measured <= true_ns + true_ns / 1000 + 100000);
	EXPECT_U64_EQ(ld__clock_since_ns(mark + (1ull << 50)), 0);
}

TEST(time_since_a_mark_is_that_of_the_kernel)
{
	ld__clock_init();
	expect_it_measures();
#if defined(__x86_64__)
	ld__clock_tsc = 0;
	expect_it_measures();
	ld__clock_init();
#endif
}

TEST_MAIN()
