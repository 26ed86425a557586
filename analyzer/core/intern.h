/* SPDX-License-Identifier: Apache-2.0
 * L0  intern.h - numbers for keys: the n-th distinct key gets the number n.
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

struct intern_key {
	uint64_t low, high;
};

struct intern {				/* zero-initialised is empty */
	struct intern_key *keys;
	uint32_t *numbers;		/* number + 1; 0 = free place */
	size_t places;			/* a power of two */
	uint32_t count;
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

static inline size_t intern_place(const struct intern *table, struct intern_key key)
{
	size_t i = intern_mix(key.low ^ key.high * 3) & (table->places - 1);

	while (table->numbers[i] &&
	       (table->keys[i].low != key.low || table->keys[i].high != key.high))
		i = (i + 1) & (table->places - 1);
	return i;
}

/* The number of a key, new or old; *ret_new (may be NULL) says which. Returns -ENOMEM on failure. */
static inline int64_t intern_number(struct intern *table, struct intern_key key, int *ret_new)
{
	if ((size_t)table->count * 2 >= table->places) {
		struct intern grown = { .places = table->places ? table->places * 2 : 64, .count = table->count };

		grown.keys = malloc(grown.places * sizeof(*grown.keys));
		grown.numbers = calloc(grown.places, sizeof(*grown.numbers));
		if (!grown.keys || !grown.numbers) {
			free(grown.keys);
			free(grown.numbers);
			return -ENOMEM;
		}
		for (size_t i = 0; i < table->places; i++)
			if (table->numbers[i]) {
				size_t place = intern_place(&grown, table->keys[i]);

				grown.keys[place] = table->keys[i];
				grown.numbers[place] = table->numbers[i];
			}
		free(table->keys);
		free(table->numbers);
		*table = grown;
	}
	size_t place = intern_place(table, key);
	if (ret_new)
		*ret_new = !table->numbers[place];
	if (!table->numbers[place]) {
		table->keys[place] = key;
		table->numbers[place] = ++table->count;
	}
	return table->numbers[place] - 1;
}

static inline void intern_done(struct intern *table)
{
	free(table->keys);
	free(table->numbers);
	memset(table, 0, sizeof(*table));
}

#endif
