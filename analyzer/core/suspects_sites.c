/* SPDX-License-Identifier: Apache-2.0
 * L9  suspects_sites.c - what grew in heap profiles, judged by allocation site alone.
 *
 * The error of a sum: of the blocks that make up S bytes, one for each R bytes was sampled and stands for R.
 * Their number is Poisson distributed with mean S / R, so S is known to about sqrt(S * R). Blocks that live
 * in both profiles are the same samples there, so the error of a difference is less than that of two sums;
 * twice that of the sums is called certain enough. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/diff.h"
#include "core/suspects.h"
#include "core/suspects_sites.h"
#include "core/text.h"
#include "core/thresholds.h"

#define ERRORS 2			/* growth of fewer standard errors may be chance */

static double error_of(const struct series *series, const struct diff_row *row)
{
	double variance = 0;

	for (size_t k = 0; k < series->count; k += series->count - 1)
		variance += (double)row->bytes[k] * (double)series->heaps[k].heap->meta.sample_bytes;
	return sqrt(variance);
}

/* Three and more: was the last step small beside the largest? */
static bool is_ending(const struct series *series, const struct diff_row *row)
{
	double last = 0, largest = 0;

	for (size_t k = 1; k < series->count; k++) {
		last = (double)row->bytes[k] - (double)row->bytes[k - 1];
		if (last > largest)
			largest = last;
	}
	return series->count > 2 && last < WARMING_STEP * largest;
}

static int judge_row(const struct series *series, const struct diff *diff, const struct diff_row *row, uint32_t stack,
		     struct suspect *suspect)
{
	uint64_t live = diff->bytes[diff->heap_count - 1], grew = (uint64_t)diff_growth_bytes(diff, row);
	int64_t count = diff_growth_count(diff, row);
	double error = error_of(series, row);
	char size[TEXT_SIZE], around[TEXT_SIZE];
	bool small, few, chance = (double)grew < ERRORS * error;
	struct text reason = { 0 };

	small = grew < NOISE_BYTES && (double)grew < NOISE_SHARE * (double)live;
	few = count < FEW_COUNT && (grew < FEW_BYTES || (double)grew < FEW_SHARE * (double)live);
	*suspect = (struct suspect){
		.verdict = is_ending(series, row) ? SUSPECT_WARMING : SUSPECT_GROWING,
		.confidence = small || few || chance ? SUSPECT_POSSIBLE : SUSPECT_LIKELY,
		.count = count > 0 ? (uint64_t)count : 0, .bytes = grew, .retained_bytes = grew, .root = HEAP_NONE,
	};
	suspect->type = strdup(row->type);
	suspect->sites = calloc(1, sizeof(*suspect->sites));
	text_printf(&reason, "what was allocated here holds %s more", text_size((int64_t)grew, size));
	if (error > 0)
		text_printf(&reason, " (give or take %s, for it is estimated from samples%s)",
			    text_size((int64_t)error, around), chance ? ": it may be chance" : "");
	if (suspect->verdict == SUSPECT_WARMING)
		text_append(&reason, "; the last step was small beside the largest");
	text_append(&reason, "; a heap profile does not say who holds it");
	suspect->reason = text_take(&reason);
	if (!suspect->type || !suspect->sites || !suspect->reason)
		return -ENOMEM;
	suspect->sites[0] = (struct suspect_site){ .count = suspect->count, .bytes = grew, .stack = stack };
	suspect->site_count = 1;
	return 0;
}

/* The stack of each row, as the last heap numbers it: HEAP_NONE where it has none. */
static uint32_t *stacks_of_rows(const struct series *series, const struct diff *diff)
{
	const struct heap *last = series_last(series)->heap;
	uint32_t *stacks = malloc((diff->row_count + 1) * sizeof(*stacks));

	if (!stacks)
		return NULL;
	memset(stacks, 0xff, (diff->row_count + 1) * sizeof(*stacks));
	for (uint32_t v = 0; v < last->nodes; v++) {
		uint32_t row = diff->row_of[v] == HEAP_NONE ? HEAP_NONE : diff->place[diff->row_of[v]];

		if (row < diff->row_count)
			stacks[row] = last->stack[v];
	}
	return stacks;
}

int suspects_of_sites(struct suspects *s)
{
	const struct diff_options options = { .by = DIFF_BY_SITE, .keep_nodes = true };
	struct diff *diff = NULL;
	uint32_t *stacks = NULL;
	int r = diff_make(s->series, &options, &diff);

	if (r < 0)
		return r;
	r = -ENOMEM;
	stacks = stacks_of_rows(s->series, diff);
	s->list = calloc(GROWTH_MAX_CLUSTERS + 1, sizeof(*s->list));
	if (!stacks || !s->list)
		goto out;
	r = 0;
	for (size_t i = 0; i < diff->row_count && r == 0; i++) {	/* most growth first */
		const struct diff_row *row = &diff->rows[i];
		int64_t grew = diff_growth_bytes(diff, row);

		if (grew <= 0)
			break;
		if (grew < GROWTH_MIN_BYTES || s->count == GROWTH_MAX_CLUSTERS) {
			s->noise_places++;
			s->noise_bytes += (uint64_t)grew;
			continue;
		}
		r = judge_row(s->series, diff, row, stacks[i], &s->list[s->count++]);
	}
out:
	free(stacks);
	diff_free(diff);
	return r;
}
