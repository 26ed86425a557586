/* SPDX-License-Identifier: Apache-2.0
 * L1  intern.h - numbers for keys: the n-th distinct key gets the number n.
 *
 * Keys are 128-bit fingerprints, so one small table serves strings, stacks and (type, size) pairs,
 * and what is keyed is stored elsewhere, by number. Two different keys share a fingerprint with a
 * chance that is negligible next to that of a broken disk. */
#ifndef LEAKDIFF_INTERN_H
#define LEAKDIFF_INTERN_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash_index.h"

struct intern_key {
	uint64_t low, high;
};

struct intern {				/* zero-initialised is empty */
	struct hash_index index;
	struct intern_key *keys;	/* by number */
	uint32_t count, room;
};

static inline uint64_t intern_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static inline struct intern_key intern_pair(uint64_t a, uint64_t b)
{
	return (struct intern_key){ intern_mix(a + 0x9e3779b97f4a7c15ull) ^ b, intern_mix(b) + a };
}

/* Fold a string into a key; start from { 0, 0 }. The length goes in, so "ab","c" is not "a","bc". */
static inline void intern_fold(struct intern_key *key, const char *string)
{
	size_t length = strlen(string);
	uint64_t word;

	for (size_t i = 0; i < length; i += sizeof(word)) {
		word = 0;
		memcpy(&word, string + i, length - i < sizeof(word) ? length - i : sizeof(word));
		key->low = intern_mix(key->low ^ word);
		key->high = (key->high ^ word) * 0x9ddfea08eb382d69ull;
		key->high ^= key->high >> 29;
	}
	key->low = intern_mix(key->low + length);
	key->high = intern_mix(key->high ^ length);
}

static inline uint32_t intern_hash(struct intern_key key)
{
	return hash_fold(intern_mix(key.low ^ key.high * 3));
}

static inline bool intern_is_same(const void *owner, uint32_t number, const void *key)
{
	const struct intern_key *a = &((const struct intern *)owner)->keys[number], *b = key;

	return a->low == b->low && a->high == b->high;
}

/* The number of a key that was met before, or HASH_NONE. */
static inline uint32_t intern_find(const struct intern *table, struct intern_key key)
{
	return hash_index_find(&table->index, intern_hash(key), intern_is_same, table, &key);
}

/* The number of a key, new or old; *ret_new (may be NULL) says which. Returns -ENOMEM on failure. */
static inline int64_t intern_number(struct intern *table, struct intern_key key, int *ret_new)
{
	uint32_t hash = intern_hash(key), number = hash_index_find(&table->index, hash, intern_is_same, table, &key);

	if (ret_new)
		*ret_new = number == HASH_NONE;
	if (number != HASH_NONE)
		return number;
	if (table->count == table->room) {
		uint32_t wider = table->room ? table->room * 2 : 32;
		struct intern_key *grown = reallocarray(table->keys, wider, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		table->keys = grown;
		table->room = wider;
	}
	if (hash_index_add(&table->index, hash, table->count) < 0)
		return -ENOMEM;
	table->keys[table->count] = key;
	return table->count++;
}

static inline void intern_done(struct intern *table)
{
	hash_index_done(&table->index);
	free(table->keys);
	*table = (struct intern){ 0 };
}

#endif
