/* SPDX-License-Identifier: Apache-2.0
 * L0  crc.c - CRC-32C by the CPU's instruction, by a table where there is none.
 *
 * The instruction has a latency of three cycles and a throughput of one, so three independent lanes
 * would be three times as fast; one lane does 6 GB/s, which is ten times what the scan can produce. */
#include "crc.h"

#include <cpuid.h>
#include <string.h>

static uint32_t table[256];		/* filled on first use; always with the same values */

static uint32_t by_table(uint32_t crc, const unsigned char *data, size_t bytes)
{
	if (!table[1])
		for (uint32_t i = 255; i > 0; i--) {	/* entry 1 last: it says that the rest is there */
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
			table[i] = value;
		}
	while (bytes--)
		crc = crc >> 8 ^ table[(crc ^ *data++) & 0xff];
	return crc;
}

__attribute__((target("sse4.2")))
static uint32_t by_instruction(uint32_t crc, const unsigned char *data, size_t bytes)
{
	uint64_t wide = crc;

	for (; bytes >= 8; bytes -= 8, data += 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	while (bytes--)
		crc = __builtin_ia32_crc32qi(crc, *data++);
	return crc;
}

uint32_t ld__crc32c(const void *data, size_t bytes)
{
	static int has_instruction = -1;
	unsigned int a, b, c, d;

	if (has_instruction < 0)
		has_instruction = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
	return ~(has_instruction ? by_instruction(0xffffffffu, data, bytes)
				 : by_table(0xffffffffu, data, bytes));
}
