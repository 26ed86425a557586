/* SPDX-License-Identifier: Apache-2.0
 * L3  marks.c - see marks.h.
 *
 *   addr -> areas[addr >> 30] -> before[page]  number of the page's first member
 *                             -> bits          64 bytes, one cache line, for a page: members before addr
 *
 * (1) What no member lies in is never touched, so it costs address space only.
 * (2) Whoever has the bit has the number: no table of members, no sort. A million objects need a few
 *     hundred KiB here, where a hash table needs ten MiB. */
#include "marks.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <errno.h>
#include <string.h>

#include "kernel.h"

#define AREAS (1u << 17)		/* 47 bits of user addresses in GiB */
#define PAGES (1u << 18)		/* in a GiB */
#define WORDS 8u			/* of bits, for a page */
#define BITS_BYTES (PAGES * WORDS * 8ull)

int ld__marks_new(struct marks *marks)
{
	memset(marks, 0, sizeof(*marks));
	marks->areas = kernel_map(AREAS * sizeof(*marks->areas));
	marks->list = kernel_map(AREAS * sizeof(*marks->list));
#ifdef __x86_64__
	{
		unsigned a, b, c, d;

		marks->popcnt = __get_cpuid(1, &a, &b, &c, &d) && c & bit_POPCNT;
	}
#endif
	return marks->areas && marks->list ? 0 : -ENOMEM;
}

void ld__marks_free(struct marks *marks)
{
	for (uint32_t i = 0; i < marks->list_count; i++) {
		struct marks_area *area = &marks->areas[marks->list[i]];

		kernel_unmap(area->bits, BITS_BYTES);
		kernel_unmap(area->before, PAGES * sizeof(*area->before));
	}
	kernel_unmap(marks->areas, AREAS * sizeof(*marks->areas));
	kernel_unmap(marks->list, AREAS * sizeof(*marks->list));
	memset(marks, 0, sizeof(*marks));
}

/* Areas are few and come nearly in order. */
static void list(struct marks *marks, uint32_t index)
{
	uint32_t i = marks->list_count++;

	for (; i && marks->list[i - 1] > index; i--)
		marks->list[i] = marks->list[i - 1];
	marks->list[i] = index;
	marks->areas[index].first = PAGES;
	marks->areas[index].listed = true;
}

int ld__marks_reach(struct marks *marks, uint64_t addr, uint64_t end)
{
	for (uint64_t i = addr >> 30; i <= end >> 30; i++) {
		if (i >= AREAS)
			return -EINVAL;
		if (!marks->areas[i].listed)
			list(marks, (uint32_t)i);
	}
	return 0;
}

int ld__marks_add(struct marks *marks, uint64_t addr)
{
	uint64_t index = addr >> 30, bit = 1ull << (addr >> 3 & 63);
	uint32_t page = addr >> 12 & (PAGES - 1);
	struct marks_area *area;
	uint64_t *word;

	if (index >= AREAS)
		return -EINVAL;
	area = &marks->areas[index];
	if (!area->bits) {
		area->bits = kernel_map(BITS_BYTES);
		area->before = kernel_map(PAGES * sizeof(*area->before));
		if (!area->bits || !area->before)
			return -ENOMEM;
		if (!area->listed)
			list(marks, (uint32_t)index);
	}
	word = &area->bits[addr >> 9 & (PAGES * WORDS - 1)];
	if (*word & bit)
		return 0;
	*word |= bit;
	if (page < area->first)
		area->first = page;
	if (page > area->last)
		area->last = page;
	marks->count++;
	return 1;
}

bool ld__marks_has(const struct marks *marks, uint64_t addr)
{
	const struct marks_area *area;

	if (addr >> 30 >= AREAS)
		return false;
	area = &marks->areas[addr >> 30];
	return area->bits && area->bits[addr >> 9 & (PAGES * WORDS - 1)] >> (addr >> 3 & 63) & 1;
}

/* The first member of an area at or behind an address in it. */
static uint64_t next_in(const struct marks_area *area, uint64_t base, uint64_t addr)
{
	uint64_t begin = base + ((uint64_t)area->first << 12), end = base + ((uint64_t)area->last << 12 | 0xfff);
	uint64_t mask = UINT64_MAX;

	if (!area->bits || end < addr)
		return 0;
	if (begin < addr) {
		begin = addr & ~511ull;
		mask <<= addr >> 3 & 63;
	}
	for (const uint64_t *word = &area->bits[begin >> 9 & (PAGES * WORDS - 1)]; begin <= end; begin += 512, word++) {
		if (*word & mask)
			return begin + 8ull * (unsigned)__builtin_ctzll(*word & mask);
		mask = UINT64_MAX;
	}
	return 0;
}

uint64_t ld__marks_next(const struct marks *marks, uint64_t addr)
{
	uint32_t low = 0, high = marks->list_count;
	uint64_t found;

	addr = (addr + 7) & ~7ull;
	if (addr >> 30 < AREAS && marks->areas[addr >> 30].listed) {	/* nearly always */
		found = next_in(&marks->areas[addr >> 30], addr & ~((1ull << 30) - 1), addr);
		if (found)
			return found;
	}
	while (low < high) {		/* the first area behind it */
		uint32_t middle = low + (high - low) / 2;

		if (marks->list[middle] <= addr >> 30)
			low = middle + 1;
		else
			high = middle;
	}
	for (found = 0; low < marks->list_count && !found; low++)
		found = next_in(&marks->areas[marks->list[low]], (uint64_t)marks->list[low] << 30, 0);
	return found;
}

static uint64_t low_bits(unsigned count)
{
	return count < 64 ? (1ull << count) - 1 : UINT64_MAX;
}

/* The counts of eight words fit in the bytes of one. */
static uint32_t count_words(const uint64_t *words, unsigned bit)
{
	uint64_t sums = 0;

	for (; bit; words++) {
		uint64_t x = *words & low_bits(bit);

		x -= x >> 1 & 0x5555555555555555ull;
		x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
		sums += (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
		bit = bit > 64 ? bit - 64 : 0;
	}
	/* up to 512 in all: the sum of the bytes does not fit in one */
	sums = (sums & 0x00ff00ff00ff00ffull) + (sums >> 8 & 0x00ff00ff00ff00ffull);
	return (uint32_t)(sums * 0x0001000100010001ull >> 48);
}

#ifdef __x86_64__
/* The instruction by name: a function for another target could not be inlined. */
static inline uint32_t count_word(uint64_t word)
{
	uint64_t count;

	__asm__("popcnt %1, %0" : "=r"(count) : "rm"(word) : "cc");
	return (uint32_t)count;
}

static inline uint32_t count_words_popcnt(const uint64_t *words, unsigned bit)
{
	uint32_t sum = 0;

	for (; bit >= 64; bit -= 64)
		sum += count_word(*words++);
	return bit ? sum + count_word(*words & low_bits(bit)) : sum;
}
#endif

/* Members of a page below bit number `bit` of it. */
static inline uint32_t count_below(const struct marks *marks, const uint64_t *words, unsigned bit)
{
#ifdef __x86_64__
	if (__builtin_expect(marks->popcnt, 1))
		return count_words_popcnt(words, bit);
#endif
	(void)marks;
	return count_words(words, bit);
}

static const uint64_t *page_words(const struct marks_area *area, uint32_t page)
{
	return area->bits + (uint64_t)page * WORDS;
}

uint32_t ld__marks_number(struct marks *marks,
			  uint32_t (*page)(uint64_t addr, uint32_t number, void *data), void *data)
{
	uint32_t number = 0;

	for (uint32_t i = 0; i < marks->list_count; i++) {
		struct marks_area *area = &marks->areas[marks->list[i]];

		area->low = area->high = number;
		if (!area->bits)
			continue;
		for (uint32_t p = area->first; p <= area->last; p++) {
			uint32_t members = count_below(marks, page_words(area, p), 512);

			if (members && page)
				number = page(((uint64_t)marks->list[i] << 30) + ((uint64_t)p << 12), number, data);
			area->before[p] = number;
			number += members;
		}
		area->high = number;
	}
	return number;
}

uint32_t ld__marks_upto(const struct marks *marks, uint64_t addr)
{
	const struct marks_area *area = &marks->areas[addr >> 30 & (AREAS - 1)];
	uint32_t page = addr >> 12 & (PAGES - 1);

	if (addr >> 30 >= AREAS || !area->listed)
		return 0;
	if (!area->bits || page < area->first)
		return area->low;
	if (page > area->last)
		return area->high;
	return area->before[page] + count_below(marks, page_words(area, page), (unsigned)(addr >> 3 & 511) + 1);
}

uint32_t ld__marks_number_of(const struct marks *marks, uint64_t addr)
{
	const struct marks_area *area = &marks->areas[addr >> 30];
	uint32_t page = addr >> 12 & (PAGES - 1);

	return area->before[page] + count_below(marks, page_words(area, page), addr >> 3 & 511);
}

uint32_t ld__marks_find(const struct marks *marks, uint64_t addr)
{
	return ld__marks_has(marks, addr) ? ld__marks_number_of(marks, addr) : UINT32_MAX;
}

uint64_t ld__marks_member(const struct marks *marks, uint32_t number)
{
	for (uint32_t i = 0; i < marks->list_count; i++) {
		const struct marks_area *area = &marks->areas[marks->list[i]];
		uint32_t low, high;

		if (number < area->low || number >= area->high)
			continue;
		low = area->first;
		high = area->last;
		while (low < high) {	/* the last page that begins at or below it */
			uint32_t middle = low + (high - low + 1) / 2;

			if (area->before[middle] <= number)
				low = middle;
			else
				high = middle - 1;
		}
		number -= area->before[low];
		for (uint64_t at = (uint64_t)low << 12;; at += 512) {
			uint64_t word = area->bits[at >> 9];

			for (; word && number; number--)
				word &= word - 1;
			if (word)
				return ((uint64_t)marks->list[i] << 30) + at + 8ull * (unsigned)__builtin_ctzll(word);
		}
	}
	return 0;
}
