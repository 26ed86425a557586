/* SPDX-License-Identifier: Apache-2.0
 * test_budget.c - the interval between two stacks follows what they cost. */
#include "preload/budget.h"

#include "test.h"

#define S 1000000000ull
#define PERCENT 10000u

static uint32_t next(uint32_t lg, uint32_t ppm, uint64_t cpu_ns, uint64_t stacks_ns, uint64_t rest_ns)
{
	struct budget_spent spent = { .cpu_ns = cpu_ns, .stacks_ns = stacks_ns, .rest_ns = rest_ns };

	return ld__budget_next(lg, ppm, &spent);
}

TEST(interval_grows_until_stacks_fit_into_the_budget)
{
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 100 + 1, 0), 20);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 25, 0), 21);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 100, S / 200), 20);
}

TEST(interval_stays_where_the_cost_is_near_the_budget)
{
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 100, 0), 19);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 200, 0), 19);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 400, S / 400), 19);
}

TEST(interval_shrinks_a_step_at_a_time_where_there_is_room)
{
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 1000, 0), 18);
	EXPECT_U64_EQ(next(19, PERCENT, S, 0, 0), 18);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 1000, S / 120), 19);
}

TEST(interval_has_its_limits_and_grows_by_four_steps_at_most)
{
	EXPECT_U64_EQ(next(SAMPLE_LG_LEAST, PERCENT, S, 0, 0), SAMPLE_LG_LEAST);
	EXPECT_U64_EQ(next(SAMPLE_LG_MOST, PERCENT, S, S, 0), SAMPLE_LG_MOST);
	EXPECT_U64_EQ(next(14, PERCENT, S, S, 0), 18);
	EXPECT_U64_EQ(next(SAMPLE_LG_MOST - 1, PERCENT, S, S, 0), SAMPLE_LG_MOST);
}

TEST(events_alone_above_the_budget_cost_only_stacks_that_matter)
{
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 1000, S / 10), 20);
	EXPECT_U64_EQ(next(19, PERCENT, S, S / 1600, S / 10), 19);	/* a sixteenth of the budget */
}

TEST(an_hour_of_many_threads_does_not_overflow)
{
	EXPECT_U64_EQ(next(19, 100 * PERCENT, 3600 * 1000 * S, 3600 * 1000 * S, 3600 * 1000 * S), 23);
	EXPECT_U64_EQ(next(19, 1, 3600 * 1000 * S, 7 * S, 0), 20);
}

TEST(every_interval_has_a_code_of_four_bits)
{
	for (uint32_t lg = SAMPLE_LG_LEAST; lg <= SAMPLE_LG_MOST; lg++) {
		EXPECT(ld__sample_code(lg) >= 1 && ld__sample_code(lg) <= 15);
		EXPECT_U64_EQ(ld__sample_lg_of(ld__sample_code(lg)), lg);
	}
	EXPECT_U64_EQ(ld__sample_lg_of(0), 0);
}

TEST_MAIN()
