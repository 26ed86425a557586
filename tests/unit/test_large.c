/* SPDX-License-Identifier: Apache-2.0
 * test_large.c - what one long array gives back the next one gets. */
#include <string.h>
#include <sys/resource.h>

#include "test.h"
#include "core/large.h"

#define MIB ((size_t)1 << 20)

static void fill(unsigned char *array, size_t bytes, unsigned char value)
{
	memset(array, value, bytes);
}

static int holds(const unsigned char *array, size_t bytes, unsigned char value)
{
	return array[0] == value && memcmp(array, array + 1, bytes - 1) == 0;
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

TEST(arrays_of_any_length_keep_what_is_written)
{
	static const size_t bytes[] = { 1, 4096, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 7 * MIB + 123, 16 * MIB };
	unsigned char *arrays[7], *again[7];

	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 7; i++) {
			arrays[i] = large_array(bytes[i], 1);
			ASSERT_NOT_NULL(arrays[i]);
			fill(arrays[i], bytes[i], (unsigned char)(i + 1));
		}
		for (unsigned i = 0; i < 7; i += 2)	/* holes between the others */
			large_free(arrays[i]);
		for (unsigned i = 0; i < 7; i += 2) {
			again[i] = large_array(bytes[6 - i], 1);
			ASSERT_NOT_NULL(again[i]);
			fill(again[i], bytes[6 - i], (unsigned char)(i + 100));
		}
		for (unsigned i = 0; i < 7; i++) {
			EXPECT_TRUE(i % 2 ? holds(arrays[i], bytes[i], (unsigned char)(i + 1)) :
					    holds(again[i], bytes[6 - i], (unsigned char)(i + 100)));
			large_free(i % 2 ? arrays[i] : again[i]);
		}
	}
	large_free(NULL);
}

TEST(an_array_that_fits_no_hole_is_made_of_several)
{
	unsigned char *kept = large_array(4 * MIB, 1), *parts[16], *whole;
	long before;

	ASSERT_NOT_NULL(kept);
	fill(kept, 4 * MIB, 1);
	for (unsigned i = 0; i < 16; i++) {
		parts[i] = large_array(6 * MIB, 1);
		ASSERT_NOT_NULL(parts[i]);
		fill(parts[i], 6 * MIB, 2);
	}
	before = peak_kib();
	for (unsigned i = 0; i < 16; i += 2)
		large_free(parts[i]);
	whole = large_array(48 * MIB, 1);
	ASSERT_NOT_NULL(whole);
	fill(whole, 48 * MIB, 3);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	EXPECT_TRUE(peak_kib() < before + 24 * 1024);	/* no fresh pages, as far as others leave the counter alone */
#else
	(void)before;
#endif
	EXPECT_TRUE(holds(whole, 48 * MIB, 3));
	for (unsigned i = 1; i < 16; i += 2) {
		EXPECT_TRUE(holds(parts[i], 6 * MIB, 2));
		large_free(parts[i]);
	}
	EXPECT_TRUE(holds(kept, 4 * MIB, 1));
	large_free(whole);
	large_free(kept);
}

TEST(a_shortened_array_keeps_its_beginning)
{
	unsigned char *small = large_array(1000, 4), *large = large_array(12 * MIB, 1), *next;

	ASSERT_NOT_NULL(small);
	ASSERT_NOT_NULL(large);
	fill(small, 4000, 5);
	fill(large, 12 * MIB, 6);
	large_shorten(small, 10, 4);
	large_shorten(large, 5 * MIB, 1);
	next = large_array(6 * MIB, 1);
	ASSERT_NOT_NULL(next);
	fill(next, 6 * MIB, 7);
	EXPECT_TRUE(holds(small, 40, 5));
	EXPECT_TRUE(holds(large, 5 * MIB, 6));
	large_free(small);
	large_free(large);
	large_free(next);
}

TEST(what_cannot_be_is_refused)
{
	EXPECT_TRUE(large_array(UINT64_MAX, 8) == NULL);
	EXPECT_TRUE(large_array(INT64_MAX, 1) == NULL);
}

TEST_MAIN()
