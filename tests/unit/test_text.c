/* SPDX-License-Identifier: Apache-2.0
 * test_text.c - text.c: sizes, durations, escaping. */
#include <errno.h>

#include "core/text.h"
#include "test.h"

static const char *size(int64_t bytes)
{
	static char buffer[TEXT_SIZE];

	return text_size(bytes, buffer);
}

TEST(sizes_print_in_binary_units_with_at_most_three_digits)
{
	EXPECT_STR_EQ(size(0), "0 B");
	EXPECT_STR_EQ(size(1023), "1023 B");
	EXPECT_STR_EQ(size(1024), "1 KiB");
	EXPECT_STR_EQ(size(1536), "1.50 KiB");
	EXPECT_STR_EQ(size(1048576), "1 MiB");
	EXPECT_STR_EQ(size(31457280), "30 MiB");
	EXPECT_STR_EQ(size(-20480), "-20 KiB");
	EXPECT_STR_EQ(size(1048575), "1.00 MiB");
	EXPECT_STR_EQ(size(INT64_MIN), "-8 EiB");
	EXPECT_STR_EQ(size(123456789), "118 MiB");
}

TEST(counts_are_grouped_by_three)
{
	char buffer[TEXT_SIZE];

	EXPECT_STR_EQ(text_count(1234567, buffer), "1 234 567");
	EXPECT_STR_EQ(text_count(-12, buffer), "-12");
	EXPECT_STR_EQ(text_count(100, buffer), "100");
	EXPECT_STR_EQ(text_count(INT64_MAX, buffer), "9223372036854775807");
}

TEST(sizes_parse_as_people_write_them)
{
	uint64_t bytes = 7;

	EXPECT_INT_EQ(text_parse_size("1500k", &bytes), 0);
	EXPECT_U64_EQ(bytes, 1536000);
	EXPECT_INT_EQ(text_parse_size("2G", &bytes), 0);
	EXPECT_U64_EQ(bytes, 2ull << 30);
	EXPECT_INT_EQ(text_parse_size("1.5 MiB", &bytes), 0);
	EXPECT_U64_EQ(bytes, 1572864);
	EXPECT_INT_EQ(text_parse_size("4096", &bytes), 0);
	EXPECT_U64_EQ(bytes, 4096);
	EXPECT_INT_EQ(text_parse_size("10KB", &bytes), 0);
	EXPECT_U64_EQ(bytes, 10240);
}

TEST(malformed_sizes_are_refused_and_leave_the_output_alone)
{
	static const char *const bad[] = { "", "x", "-1", "1x", "0x10", "1 2", "99999999999999999999", "1kk", "nan", "inf" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 7;

		EXPECT_INT_EQ(text_parse_size(bad[i], &bytes), -EINVAL);
		EXPECT_U64_EQ(bytes, 7);
	}
}

TEST(durations_parse_with_and_without_unit)
{
	uint64_t ns = 0;

	EXPECT_INT_EQ(text_parse_duration("90s", &ns), 0);
	EXPECT_U64_EQ(ns, 90000000000ull);
	EXPECT_INT_EQ(text_parse_duration("5m", &ns), 0);
	EXPECT_U64_EQ(ns, 300000000000ull);
	EXPECT_INT_EQ(text_parse_duration("250ms", &ns), 0);
	EXPECT_U64_EQ(ns, 250000000ull);
	EXPECT_INT_EQ(text_parse_duration("2", &ns), 0);
	EXPECT_U64_EQ(ns, 2000000000ull);
	EXPECT_INT_EQ(text_parse_duration("5 parsecs", &ns), -EINVAL);
}

TEST(names_from_memory_cannot_reach_the_terminal_raw)
{
	char *escaped = text_escape("a\033[2J\n\x7f" "b\xff\xe2\x80\xaeok \xc3\xa9");

	EXPECT_STR_EQ(escaped, "a\\x1b[2J\\x0a\\x7fb\\xff\\xe2\\x80\\xaeok \xc3\xa9");
	free(escaped);
}

TEST(globs_without_wildcards_match_as_substrings)
{
	EXPECT_TRUE(text_glob("entry", "struct entry *"));
	EXPECT_TRUE(text_glob("struct*", "struct entry"));
	EXPECT_TRUE(!text_glob("entry*", "struct entry"));
}

TEST(one_is_no_plural)
{
	EXPECT_STR_EQ(text_s(0), "s");
	EXPECT_STR_EQ(text_s(1), "");
	EXPECT_STR_EQ(text_s(2), "s");
}

TEST(a_taken_text_is_never_null_and_leaves_an_empty_one)
{
	struct text text = { 0 };
	char *taken = text_take(&text);

	EXPECT_STR_EQ(taken, "");
	free(taken);
	text_printf(&text, "%d-%s", 5, "x");
	taken = text_take(&text);
	EXPECT_STR_EQ(taken, "5-x");
	free(taken);
	EXPECT_TRUE(text.data == NULL);
}

TEST_MAIN()
