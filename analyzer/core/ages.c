/* SPDX-License-Identifier: Apache-2.0
 * L6  ages.c - see ages.h. */
#include "core/ages.h"

#include <errno.h>
#include <stdlib.h>

#include "core/weigh.h"

static enum ages_word word_of(const struct ages *ages)
{
	uint64_t total = ages->count[0] + ages->count[1] + ages->count[2] + ages->count[3], least = UINT64_MAX;

	if (total < AGES_COUNT || total < ages->unknown)
		return AGES_UNKNOWN;
	for (int q = 0; q < 4; q++)
		least = ages->count[q] < least ? ages->count[q] : least;
	if ((double)ages->count[0] >= AGES_ONE_QUARTER * (double)total)
		return AGES_START;
	if ((double)ages->count[3] >= AGES_ONE_QUARTER * (double)total)
		return AGES_RECENT;
	return (double)least >= AGES_EVERY_QUARTER * (double)total ? AGES_GATHERED : AGES_MIXED;
}

int ages_of_rows(const struct series *series, const struct diff *diff, struct ages **ret_ages)
{
	const struct heap *heap = series_last(series)->heap;
	uint64_t begin = heap->meta.capture_birth, end = heap->meta.taken_birth;
	struct ages *ages = calloc(diff->row_count + 1, sizeof(*ages));

	if (!ages)
		return -ENOMEM;
	for (uint32_t v = 0; v < heap->nodes; v++) {
		uint32_t row = diff->row_of[v] == HEAP_NONE ? HEAP_NONE : diff->place[diff->row_of[v]];
		uint64_t birth = heap->birth[v];
		unsigned quarter;

		if (row == HEAP_NONE)
			continue;
		if (!begin || end <= begin || birth < begin) {
			ages[row].unknown += weigh_count(heap, v);
			continue;
		}
		quarter = birth >= end ? 3 : (unsigned)((double)(birth - begin) / (double)(end - begin) * 4);
		ages[row].count[quarter > 3 ? 3 : quarter] += weigh_count(heap, v);
	}
	for (size_t i = 0; i < diff->row_count; i++)
		ages[i].word = word_of(&ages[i]);
	*ret_ages = ages;
	return 0;
}

const char *ages_name(enum ages_word word)
{
	static const char *const names[] = { NULL, "start", "recent", "gathered", "mixed" };

	return names[word];
}
