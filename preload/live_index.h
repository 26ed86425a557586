/* SPDX-License-Identifier: Apache-2.0
 * L1  live_index.h - one bucket of the live table's index: which of eight places has a tag of 39 bits.
 *
 *   | high high high high high high high high | low low low low low low low low |     one cache line
 *
 *   low:  | passed, 1 | the tag's lowest bits, 7 | number, 24 |     0 but for `passed`: the place is free
 *
 * The number is that of a record and one more than its index. Eight places are compared at once, with SSE2
 * where there is one, since a branch that depended on where in a bucket something lies would be guessed wrongly.
 * The bits `passed` are one number: of the blocks that are not here because this bucket was full. */
#ifndef LEAKDIFF_LIVE_INDEX_H
#define LEAKDIFF_LIVE_INDEX_H

#include <stdbool.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define PLACES 8u			/* of a bucket */
#define PASSED_MAX 255u
#define PASSED (1u << 31)		/* in bucket.low: one bit of the count */
#define TAG_LOW_BITS 7u
#define NUMBER_BITS 24u
#define NO_RECORD ((1u << NUMBER_BITS) - 1)

struct bucket {
	_Alignas(64) uint32_t high[PLACES];	/* means something where low does */
	uint32_t low[PLACES];		/* number | low bits of the tag << 24 | PASSED */
};

/* Where a block is, or could be. */
struct place {
	struct bucket *bucket;
	uint32_t slot;
	uint32_t record;
};

_Static_assert(sizeof(struct bucket) == 64, "layout");

#ifdef __SSE2__
static inline uint32_t bits_of(__m128i first, __m128i last)
{
	__m128i both = _mm_packs_epi32(first, last);

	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(both, _mm_setzero_si128()));
}

/* One bit for each place with this high word. It may be a free one. */
static inline uint32_t places_of(const struct bucket *b, uint32_t high)
{
	const __m128i *words = (const __m128i *)(const void *)b->high, wanted = _mm_set1_epi32((int)high);

	return bits_of(_mm_cmpeq_epi32(words[0], wanted), _mm_cmpeq_epi32(words[1], wanted));
}

static inline uint32_t free_places(const struct bucket *b)
{
	const __m128i *words = (const __m128i *)(const void *)b->low, zero = _mm_setzero_si128();

	return bits_of(_mm_cmpeq_epi32(_mm_slli_epi32(words[0], 1), zero),
		       _mm_cmpeq_epi32(_mm_slli_epi32(words[1], 1), zero));
}

/* The same of a bucket that was never passed. */
static inline uint32_t empty_places(const struct bucket *b)
{
	const __m128i *words = (const __m128i *)(const void *)b->low, zero = _mm_setzero_si128();

	return bits_of(_mm_cmpeq_epi32(words[0], zero), _mm_cmpeq_epi32(words[1], zero));
}

static inline uint32_t passed_of(const struct bucket *b)
{
	const __m128 *words = (const __m128 *)(const void *)b->low;

	return (uint32_t)_mm_movemask_ps(words[0]) | (uint32_t)_mm_movemask_ps(words[1]) << 4;
}

static inline bool is_passed(const struct bucket *b)
{
	const __m128 *words = (const __m128 *)(const void *)b->low;

	return _mm_movemask_ps(_mm_or_ps(words[0], words[1])) != 0;
}
#else
static inline uint32_t places_of(const struct bucket *b, uint32_t high)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < PLACES; i++)
		bits |= (uint32_t)(b->high[i] == high) << i;
	return bits;
}

static inline uint32_t free_places(const struct bucket *b)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < PLACES; i++)
		bits |= (uint32_t)!(b->low[i] & ~PASSED) << i;
	return bits;
}

static inline uint32_t empty_places(const struct bucket *b)
{
	return free_places(b);
}

static inline uint32_t passed_of(const struct bucket *b)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < PLACES; i++)
		bits |= b->low[i] >> 31 << i;
	return bits;
}

static inline bool is_passed(const struct bucket *b)
{
	return passed_of(b) != 0;
}
#endif

static void set_passed(struct bucket *b, uint32_t count)
{
	for (uint32_t i = 0; i < PLACES; i++)
		b->low[i] = (b->low[i] & ~PASSED) | count >> i << 31;
}

/* The index of the record in a place, NO_RECORD or more when the place has another tag or none. */
static inline uint32_t bucket_record(const struct bucket *b, uint32_t slot, uint64_t tag)
{
	/* another tag leaves bits above the number, a free place leaves no number */
	return ((b->low[slot] ^ (uint32_t)tag << NUMBER_BITS) & ~PASSED) - 1;
}

static inline bool bucket_find(struct bucket *b, uint64_t tag, struct place *ret_place)
{
	for (uint32_t bits = places_of(b, (uint32_t)(tag >> TAG_LOW_BITS)); bits; bits &= bits - 1) {
		uint32_t slot = (uint32_t)__builtin_ctz(bits);
		uint32_t record = bucket_record(b, slot, tag);

		if (record < NO_RECORD) {
			*ret_place = (struct place){ b, slot, record };
			return true;
		}
	}
	return false;
}

static inline void bucket_set(struct bucket *b, uint32_t slot, uint64_t tag, uint32_t record)
{
	b->high[slot] = (uint32_t)(tag >> TAG_LOW_BITS);
	b->low[slot] |= ((uint32_t)tag << NUMBER_BITS & ~PASSED) | (record + 1);
}

/* The high word goes too: who gets the address next would take the free place for its own. */
static inline void bucket_clear(struct bucket *b, uint32_t slot)
{
	b->high[slot] = 0;
	b->low[slot] &= PASSED;
}

#endif
