/* SPDX-License-Identifier: Apache-2.0
 * test_gate.c - a closed gate holds those it is for, for as long as it is closed, and nobody for ever. */
#include "preload/gate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "preload/guard.h"
#include "test.h"

static _Atomic bool held, passed;

static bool is_held(void)
{
	return held;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *pass(void *unused)
{
	uint32_t behind = ld__gate_pass();

	(void)unused;
	passed = true;
	return (void *)(uintptr_t)behind;
}

static void close_before(uint32_t state, bool hold)
{
	*ld__switch = state;
	held = hold;
	passed = false;
	ld__gate_close(is_held);
}

TEST(a_closed_gate_holds_a_thread_until_it_opens)
{
	pthread_t thread;
	void *behind;

	close_before(SWITCH_ON, true);
	EXPECT_INT_EQ(*ld__switch, SWITCH_GATE);
	pthread_create(&thread, NULL, pass, NULL);
	usleep(50000);
	EXPECT(!passed);
	ld__gate_open();
	pthread_join(thread, &behind);
	EXPECT_INT_EQ((intptr_t)behind, SWITCH_ON);
	EXPECT_INT_EQ(*ld__switch, SWITCH_ON);
}

TEST(who_is_not_held_passes_a_closed_gate)
{
	close_before(SWITCH_WAKE, false);
	EXPECT_INT_EQ(ld__gate_pass(), SWITCH_WAKE);
	EXPECT_INT_EQ(*ld__switch, SWITCH_GATE);
	ld__gate_open();
	EXPECT_INT_EQ(*ld__switch, SWITCH_WAKE);
}

TEST(a_gate_that_nobody_opens_holds_for_about_a_second)
{
	uint64_t begin = now_ns();

	close_before(SWITCH_OFF, true);
	EXPECT_INT_EQ(ld__gate_pass(), SWITCH_OFF);
	EXPECT(now_ns() - begin >= 900000000u);
	ld__gate_open();
	EXPECT_INT_EQ(*ld__switch, SWITCH_OFF);
}

TEST(a_switch_that_was_thrown_meanwhile_stays_as_it_is)
{
	close_before(SWITCH_ON, true);
	*ld__switch = SWITCH_OFF;
	EXPECT_INT_EQ(ld__gate_pass(), SWITCH_OFF);
	ld__gate_open();
	EXPECT_INT_EQ(*ld__switch, SWITCH_OFF);
}

TEST(the_page_of_a_fork_child_is_left_alone)
{
	close_before(SWITCH_NONE, true);
	EXPECT_INT_EQ(*ld__switch, SWITCH_NONE);
	ld__gate_open();
	EXPECT_INT_EQ(*ld__switch, SWITCH_NONE);
}

TEST_MAIN()
