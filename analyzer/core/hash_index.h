/* SPDX-License-Identifier: Apache-2.0
 * L0  hash_index.h - from a hash to the numbers of what is kept in an array elsewhere.
 *
 *   number = hash_index_find(&index, hash, is_same, owner, key);
 *   if (number == HASH_NONE)  append it to the array as number n, then hash_index_add(&index, hash, n)
 *
 * Open addressing with linear probing, at most half full; each place has 32 bits of the hash, so that
 * growing asks nobody and most strangers are passed over without a comparison. Nothing is ever removed. */
#ifndef LEAKDIFF_HASH_INDEX_H
#define LEAKDIFF_HASH_INDEX_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define HASH_NONE UINT32_MAX

struct hash_place {
	uint32_t hash;
	uint32_t number;		/* + 1; 0 = free */
};

struct hash_index {			/* zero-initialised is empty */
	struct hash_place *places;
	size_t size;			/* a power of two */
	size_t count;
};

/* 32 bits that depend on all 64: the low ones decide the place. */
static inline uint32_t hash_fold(uint64_t hash)
{
	return (uint32_t)(hash * 0x9e3779b97f4a7c15u >> 32);
}

/* A hash with one more value. */
static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

/* The number of what is_same() says is the key, or HASH_NONE. Inlined, so that is_same() is too. */
__attribute__((always_inline))
static inline uint32_t hash_index_find(const struct hash_index *index, uint32_t hash,
				       bool (*is_same)(const void *owner, uint32_t number, const void *key),
				       const void *owner, const void *key)
{
	for (size_t at = hash; index->size; at++) {
		const struct hash_place *place = &index->places[at & (index->size - 1)];

		if (!place->number)
			break;
		if (place->hash == hash && is_same(owner, place->number - 1, key))
			return place->number - 1;
	}
	return HASH_NONE;
}

static inline void hash_index_put(struct hash_place *places, size_t size, struct hash_place place)
{
	size_t at = place.hash;

	while (places[at & (size - 1)].number)
		at++;
	places[at & (size - 1)] = place;
}

/* Add a number that is not there. Returns 0 or -ENOMEM, with nothing changed. */
__attribute__((warn_unused_result))
static inline int hash_index_add(struct hash_index *index, uint32_t hash, uint32_t number)
{
	if (index->count * 2 >= index->size) {
		size_t size = index->size ? index->size * 2 : 64;
		struct hash_place *places = calloc(size, sizeof(*places));

		if (!places)
			return -ENOMEM;
		for (size_t i = 0; i < index->size; i++)
			if (index->places[i].number)
				hash_index_put(places, size, index->places[i]);
		free(index->places);
		index->places = places;
		index->size = size;
	}
	hash_index_put(index->places, index->size, (struct hash_place){ hash, number + 1 });
	index->count++;
	return 0;
}

static inline void hash_index_done(struct hash_index *index)
{
	free(index->places);
	*index = (struct hash_index){ 0 };
}

#endif
