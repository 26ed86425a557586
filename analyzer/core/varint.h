/* SPDX-License-Identifier: Apache-2.0
 * L0  varint.h - LEB128 numbers, read with bounds and written into a buffer that has room.
 *
 * A number takes at most VARINT_MAX bytes. The reader accepts only what fits 64 bits and leaves its
 * position alone when it refuses, so a caller can say where the bad bytes are. */
#ifndef LEAKDIFF_VARINT_H
#define LEAKDIFF_VARINT_H

#include <stdbool.h>
#include <stdint.h>

#define VARINT_MAX 10

/* Read one number from [*at, end). Returns false when it is cut off or does not fit 64 bits. */
static inline bool varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
	const uint8_t *p = *at;
	uint64_t value = 0;

	if (__builtin_expect(p < end && *p < 0x80, 1)) {	/* most are one byte */
		*ret_value = *p;
		*at = p + 1;
		return true;
	}
	for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			*at = p;
			return true;
		}
	}
	return false;
}

/* Write one number; `at` has room for VARINT_MAX bytes. Returns the position after it. */
static inline uint8_t *varint_put(uint8_t *at, uint64_t value)
{
	while (value >= 0x80) {
		*at++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8_t)value;
	return at;
}

/* Signed differences as unsigned numbers: 0, -1, 1, -2, ... Both wrap modulo 2^64, so the
 * difference of any two 64-bit numbers survives the round trip. */
static inline uint64_t varint_zigzag(uint64_t difference)
{
	return (difference << 1) ^ (uint64_t)-(int64_t)(difference >> 63);
}

static inline uint64_t varint_unzigzag(uint64_t code)
{
	return (code >> 1) ^ (uint64_t)-(int64_t)(code & 1);
}

#endif
