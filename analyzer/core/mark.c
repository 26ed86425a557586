/* SPDX-License-Identifier: Apache-2.0
 * L6  mark.c - which nodes of the last snapshot grew. */
#include <errno.h>
#include <stdlib.h>

#include "core/diff.h"
#include "core/mark.h"
#include "core/weigh.h"

struct youngest {
	uint64_t birth;
	uint32_t place, node;
};

static int compare_youngest(const void *a, const void *b)
{
	const struct youngest *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	if (x->birth != y->birth)
		return x->birth > y->birth ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

/* Two processes share no blocks. Of each row that grew, as many blocks count as grown as it has more
 * than before, the youngest first: those that the longer run added. */
static int mark_by_rows(const struct series *series, uint64_t *bytes)
{
	const struct series_heap *last = series_last(series);
	struct diff_options options = { .by = DIFF_BY_TYPE, .keep_nodes = true };
	uint32_t count = 0, taken_place = HEAP_NONE;
	struct youngest *list;
	struct diff *diff;
	int64_t want = 0;
	int r = diff_make(series, &options, &diff);

	if (r < 0)
		return r;
	list = malloc(((size_t)last->heap->nodes + 1) * sizeof(*list));
	if (!list) {
		diff_free(diff);
		return -ENOMEM;
	}
	for (uint32_t v = 0; v < last->heap->nodes; v++)
		if (diff->row_of[v] != HEAP_NONE)
			list[count++] = (struct youngest){ last->heap->birth[v], diff->place[diff->row_of[v]], v };
	qsort(list, count, sizeof(*list), compare_youngest);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t v = list[i].node;

		if (list[i].place != taken_place) {
			taken_place = list[i].place;
			want = diff_growth_count(diff, &diff->rows[taken_place]);
		}
		if (want <= 0)
			continue;
		want -= (int64_t)weigh_count(last->heap, v);
		bytes[v] = series_bytes(last, v);
	}
	free(list);
	diff_free(diff);
	return 0;
}

static uint64_t grown_bytes(const struct series *series, uint32_t v)
{
	const struct series_heap *last = series_last(series);

	if (series_is_new(series, v))
		return series_bytes(last, v);
	if (last->reach->region[v] == REACH_NONE)
		return series_was_referenced(series, v) ? series_bytes(last, v) : 0;
	return series_resized_bytes(series, v);
}

int mark_grown(const struct series *series, uint64_t **ret_bytes, uint64_t *ret_total)
{
	const struct heap *heap = series_last(series)->heap;
	uint64_t *bytes = calloc((size_t)heap->nodes + 1, sizeof(*bytes)), total = 0;
	int r = 0;

	if (!bytes)
		return -ENOMEM;
	if (series->count > 1 && !series->same_process)
		r = mark_by_rows(series, bytes);
	if (r < 0) {
		free(bytes);
		return r;
	}
	for (uint32_t v = 0; v < heap->nodes && series->count > 1; v++) {
		uint64_t grew = series->same_process && weigh_is_counted(heap, v) ? grown_bytes(series, v) : bytes[v];

		total += grew;
		if (grew)		/* most did not grow: what is never written takes no memory */
			bytes[v] = grew;
	}
	*ret_bytes = bytes;
	*ret_total = total;
	return 0;
}
