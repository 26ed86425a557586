/* SPDX-License-Identifier: Apache-2.0
 * test.h - the unit tests' harness: a test's name is the sentence that is true.
 *
 *   TEST(size_parses_binary_units) { EXPECT_INT_EQ(text_parse_size("2G", &n), 0); }
 *   TEST_MAIN()
 *
 * EXPECT goes on after a failure, ASSERT leaves the test. Both print file, line and both values and
 * survive -DNDEBUG. */
#ifndef LEAKDIFF_TEST_H
#define LEAKDIFF_TEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test { const char *name; void (*run)(void); struct test *next; };
static struct test *test_first, **test_last = &test_first;
static int test_failures;

#define TEST(name_)                                                                                 \
	static void test_##name_(void);                                                             \
	__attribute__((constructor)) static void test_register_##name_(void)                       \
	{                                                                                           \
		static struct test test = { #name_, test_##name_, NULL };                           \
		*test_last = &test;                                                                 \
		test_last = &test.next;                                                             \
	}                                                                                           \
	static void test_##name_(void)

#define TEST_FAIL_(format, ...)                                                                     \
	(test_failures++, fprintf(stderr, "%s:%d: " format "\n", __FILE__, __LINE__, __VA_ARGS__))
#define EXPECT(condition) ((condition) ? 0 : (TEST_FAIL_("expected %s", #condition), 1))
#define EXPECT_TRUE(c) EXPECT(c)
#define EXPECT_U64_EQ(a, b)                                                                         \
	({ uint64_t a_ = (a), b_ = (b); a_ == b_ ? 0 : (TEST_FAIL_("%s is %" PRIu64 " (0x%" PRIx64  \
		"), expected %s = %" PRIu64, #a, a_, a_, #b, b_), 1); })
#define EXPECT_INT_EQ(a, b)                                                                         \
	({ int64_t a_ = (a), b_ = (b); a_ == b_ ? 0 : (TEST_FAIL_("%s is %" PRId64                  \
		", expected %s = %" PRId64, #a, a_, #b, b_), 1); })
#define EXPECT_STR_EQ(a, b)                                                                         \
	({ const char *a_ = (a), *b_ = (b); (a_ && b_ && !strcmp(a_, b_)) ? 0 :                     \
		(TEST_FAIL_("%s is \"%s\", expected \"%s\"", #a, a_ ? a_ : "(null)", b_), 1); })
#define EXPECT_CONTAINS(a, b)                                                                       \
	({ const char *a_ = (a), *b_ = (b); (a_ && strstr(a_, b_)) ? 0 :                            \
		(TEST_FAIL_("%s is \"%s\", expected to contain \"%s\"", #a, a_ ? a_ : "(null)", b_), 1); })
#define ASSERT(condition) do { if (EXPECT(condition)) return; } while (0)
#define ASSERT_NOT_NULL(p) do { if (EXPECT((p) != NULL)) return; } while (0)
#define ASSERT_INT_EQ(a, b) do { if (EXPECT_INT_EQ(a, b)) return; } while (0)
#define ASSERT_U64_EQ(a, b) do { if (EXPECT_U64_EQ(a, b)) return; } while (0)

#define TEST_MAIN()                                                                                 \
	int main(int argc, char **argv)                                                             \
	{                                                                                           \
		int run = 0, failed = 0;                                                            \
		for (struct test *t = test_first; t; t = t->next) {                                 \
			if (argc > 1 && !strstr(t->name, argv[1]))                                  \
				continue;                                                           \
			int before = test_failures;                                                 \
			t->run();                                                                   \
			run++;                                                                      \
			if (test_failures != before) {                                              \
				failed++;                                                           \
				fprintf(stderr, "FAILED %s\n", t->name);                            \
			}                                                                           \
		}                                                                                   \
		printf("%d passed, %d failed\n", run - failed, failed);                             \
		return failed || !run;                                                              \
	}

#endif
