/* SPDX-License-Identifier: Apache-2.0
 * test_hash_index.c - the index against a search from end to end. */
#include "test.h"

#include "core/hash_index.h"

static bool is_same(const void *owner, uint32_t number, const void *key)
{
	return ((const uint64_t *)owner)[number] == *(const uint64_t *)key;
}

/* Number every key; hash: what is done to it. Returns how many answers were wrong. */
static uint32_t number_keys(uint32_t (*hash)(uint64_t key), uint32_t rounds, uint32_t different)
{
	struct hash_index index = { 0 };
	uint64_t *keys = calloc(different, sizeof(*keys)), state = 88172645463325252ull;
	uint32_t count = 0, wrong = 0;

	for (uint32_t i = 0; i < rounds; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t key = (state >> 33) % different << 12;	/* as aligned addresses are */
		uint32_t number = hash_index_find(&index, hash(key), is_same, keys, &key), truth = 0;

		while (truth < count && keys[truth] != key)
			truth++;
		wrong += number != (truth < count ? truth : HASH_NONE);
		if (number == HASH_NONE && count < different) {
			keys[count] = key;
			wrong += hash_index_add(&index, hash(key), count++) != 0;
		}
	}
	hash_index_done(&index);
	wrong += index.size != 0;
	free(keys);
	return wrong;
}

static uint32_t all_alike(uint64_t key)
{
	(void)key;
	return UINT32_MAX;
}

TEST(a_key_has_the_number_that_it_got_first)
{
	EXPECT_U64_EQ(number_keys(hash_fold, 20000, 3000), 0);
}

TEST(keys_of_one_hash_are_told_apart)
{
	EXPECT_U64_EQ(number_keys(all_alike, 5000, 300), 0);
}

TEST(an_empty_index_knows_nothing)
{
	struct hash_index index = { 0 };
	uint64_t key = 1;

	EXPECT_U64_EQ(hash_index_find(&index, 1, is_same, &key, &key), HASH_NONE);
	hash_index_done(&index);
}

TEST_MAIN()
