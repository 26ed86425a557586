/* SPDX-License-Identifier: Apache-2.0
 * L0  crc32c.c - CRC-32C: the processor's instruction where there is one (8 GB/s), else a table.
 *
 * Both ways give the same value for every input; the unit test compares them. */
#include "core/crc32c.h"

#include <string.h>

static uint32_t crc_table[8][256];

/* Polynomial 0x1edc6f41, bits reversed. Runs once, before main, so readers need no lock. */
__attribute__((constructor)) static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
		crc_table[0][i] = crc;
	}
	for (int slice = 1; slice < 8; slice++)
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t inner = crc_table[slice - 1][i];

			crc_table[slice][i] = (inner >> 8) ^ crc_table[0][inner & 0xff];
		}
}

/* Eight table look-ups for eight bytes ("slicing by 8"), so that they do not wait for each other. */
static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t count)
{
	for (; count >= 8; p += 8, count -= 8) {
		uint32_t low = crc ^ (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
				      (uint32_t)p[3] << 24);

		crc = crc_table[7][low & 0xff] ^ crc_table[6][low >> 8 & 0xff] ^
		      crc_table[5][low >> 16 & 0xff] ^ crc_table[4][low >> 24] ^
		      crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
		      crc_table[0][p[7]];
	}
	while (count--)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 0xff];
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t crc,
								     const unsigned char *p,
								     size_t count)
{
	uint64_t wide = crc, word;

	for (; count >= 8; p += 8, count -= 8) {
		memcpy(&word, p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	while (count--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t count)
{
	crc = ~crc;
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_by_instruction(crc, bytes, count);
#endif
	return ~crc_by_table(crc, bytes, count);
}
