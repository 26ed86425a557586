/* SPDX-License-Identifier: Apache-2.0
 * L4  series.c - snapshots in a row.
 *
 * Matching is a merge over the two address-sorted node arrays; what is left over is matched by birth.
 * Only leftovers that are old enough to be in the earlier snapshot can match, and those are few, so
 * the whole is linear. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/large.h"
#include "core/series.h"

#define START_TOLERANCE_NS 2000000000u	/* a pid is not used again within two seconds */

#define SAME_BIRTH_MAX 16

struct by_birth {
	uint64_t birth;
	uint32_t thread, node;
};

static int compare_births(const void *a, const void *b)
{
	const struct by_birth *x = a, *y = b;

	if (x->birth != y->birth)
		return x->birth < y->birth ? -1 : 1;
	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static bool same_kind(const struct heap *a, uint32_t x, const struct heap *b, uint32_t y)
{
	const uint8_t kinds = HEAP_MAPPING | HEAP_PYTHON;

	if ((a->flags[x] & kinds) != (b->flags[y] & kinds))
		return false;
	/* An object in an interpreter's arena may have no birth: then one of another type is another one. */
	return a->birth[x] || !(a->flags[x] & HEAP_PYTHON) ||
	       !strcmp(a->types[a->type[x]].name, b->types[b->type[y]].name);
}

static void match_by_address(const struct heap *earlier, const struct heap *later, uint32_t *later_of,
			     uint32_t *earlier_of)
{
	uint32_t i = 0, j = 0;

	while (i < earlier->nodes && j < later->nodes) {
		if (earlier->addr[i] < later->addr[j]) {
			i++;
		} else if (earlier->addr[i] > later->addr[j]) {
			j++;
		} else {
			/* A mapping and its first block share an address: try each with each. */
			uint64_t addr = earlier->addr[i];
			uint32_t next = j;

			for (; i < earlier->nodes && earlier->addr[i] == addr; i++)
				for (uint32_t k = next = j; k < later->nodes && later->addr[k] == addr;
				     next = ++k)
					if (earlier_of[k] == HEAP_NONE && later_of[i] == HEAP_NONE &&
					    earlier->birth[i] == later->birth[k] &&
					    same_kind(earlier, i, later, k)) {
						later_of[i] = k;
						earlier_of[k] = i;
					}
			j = next;
		}
	}
}

static struct by_birth *collect(const struct heap *heap, const uint32_t *other, uint64_t newest,
				uint32_t *ret_count)
{
	struct by_birth *list;
	uint32_t count = 0;

	for (uint32_t v = 0; v < heap->nodes; v++)
		count += other[v] == HEAP_NONE && heap->birth[v] && heap->birth[v] <= newest;
	list = malloc(((size_t)count + 1) * sizeof(*list));
	if (!list)
		return NULL;
	count = 0;
	for (uint32_t v = 0; v < heap->nodes; v++)
		if (other[v] == HEAP_NONE && heap->birth[v] && heap->birth[v] <= newest)
			list[count++] = (struct by_birth){ heap->birth[v], heap->thread[v], v };
	qsort(list, count, sizeof(*list), compare_births);
	*ret_count = count;
	return list;
}

/* Blocks that realloc or mremap moved: the birth is kept. Two threads may have drawn one birth (very few
 * do): then the thread decides, unless another thread did the moving. */
static int match_by_birth(const struct heap *earlier, const struct heap *later, uint32_t *later_of,
			  uint32_t *earlier_of)
{
	uint64_t newest = earlier->meta.taken_birth ? earlier->meta.taken_birth : UINT64_MAX;
	uint32_t left_count, right_count, i = 0, j = 0;
	struct by_birth *left, *right = NULL;

	left = collect(earlier, later_of, UINT64_MAX, &left_count);
	if (left)
		right = collect(later, earlier_of, newest, &right_count);
	if (!left || !right) {
		free(left);
		free(right);
		return -ENOMEM;
	}
	while (i < left_count && j < right_count) {
		uint64_t birth = left[i].birth;

		if (birth != right[j].birth) {
			if (birth < right[j].birth)
				i++;
			else
				j++;
			continue;
		}
		uint32_t left_end = i, right_end = j;
		while (left_end < left_count && left[left_end].birth == birth)
			left_end++;
		while (right_end < right_count && right[right_end].birth == birth)
			right_end++;
		/* A damaged file may give every block one birth: then each is tried with few others. */
		if (right_end - j > SAME_BIRTH_MAX)
			right_end = j + SAME_BIRTH_MAX;
		for (int any = 0; any < 2; any++)
			for (uint32_t x = i; x < left_end; x++)
				for (uint32_t y = j; y < right_end && later_of[left[x].node] == HEAP_NONE; y++)
					if (earlier_of[right[y].node] == HEAP_NONE &&
					    (any || left[x].thread == right[y].thread)) {
						later_of[left[x].node] = right[y].node;
						earlier_of[right[y].node] = left[x].node;
					}
		i = left_end;
		j = right_end;
	}
	free(left);
	free(right);
	return 0;
}

/* The start is told in wall-clock time, which is worked out anew for each snapshot and may be slewed
 * in between; the birth clock when recording began is exact, but begins anew after `off` and `on`. */
bool series_is_same_process(const struct heap *a, const struct heap *b)
{
	uint64_t x = a->meta.process_start_ns, y = b->meta.process_start_ns;

	if (a->meta.pid != b->meta.pid || heap_is_profile(a) || heap_is_profile(b))
		return false;		/* a profile has nothing that blocks could be matched by */
	if (a->meta.capture_birth && a->meta.capture_birth == b->meta.capture_birth)
		return true;
	return (x > y ? x - y : y - x) < START_TOLERANCE_NS;
}

static uint32_t *none_array(uint32_t count)
{
	uint32_t *array = large_array(count, sizeof(*array));

	if (array)
		memset(array, 0xff, (size_t)count * sizeof(*array));
	return array;
}

static int match_all(struct series *series)
{
	const struct heap *last = series_last(series)->heap;
	int r = 0;

	for (size_t k = 0; k < series->count && r == 0; k++) {
		struct series_heap *h = &series->heaps[k];
		uint32_t *earlier_of = none_array(last->nodes);

		if (!earlier_of)
			return -ENOMEM;
		if (h->heap == last) {	/* a series of one: everything is in the first */
			for (uint32_t v = 0; v < last->nodes; v++)
				earlier_of[v] = v;
		} else if (k + 1 < series->count) {
			h->later = none_array(h->heap->nodes);
			if (!h->later) {
				large_free(earlier_of);
				return -ENOMEM;
			}
			if (series->same_process) {
				match_by_address(h->heap, last, h->later, earlier_of);
				r = match_by_birth(h->heap, last, h->later, earlier_of);
			}
		}
		if (k == 0)
			series->earlier = earlier_of;
		else
			large_free(earlier_of);
	}
	return r;
}

static int number_types(struct series *series)
{
	struct intern table = { 0 };
	size_t room = 1;
	int r = -ENOMEM;

	for (size_t k = 0; k < series->count; k++)
		room += series->heaps[k].heap->type_count;
	series->type_array = malloc(room * sizeof(*series->type_array));
	if (!series->type_array)
		return -ENOMEM;
	for (size_t k = 0; k < series->count; k++) {
		const struct heap *heap = series->heaps[k].heap;

		series->heaps[k].type = malloc(((size_t)heap->type_count + 1) * sizeof(uint32_t));
		if (!series->heaps[k].type)
			goto fail;
		for (uint32_t t = 0; t < heap->type_count; t++) {
			struct intern_key key = { .low = heap->types[t].source };
			int64_t number;

			intern_fold(&key, heap->types[t].name);
			number = intern_number(&table, key, NULL);
			if (number < 0)
				goto fail;
			if (number == series->type_count)
				series->type_array[series->type_count++] = heap->types[t];
			series->heaps[k].type[t] = (uint32_t)number;
		}
	}
	series->types = series->type_array;
	r = 0;
fail:
	intern_done(&table);
	return r;
}

int series_new(size_t count, struct series **ret_series)
{
	struct series *series = calloc(1, sizeof(*series));

	if (!series)
		return -ENOMEM;
	series->heaps = calloc(count, sizeof(*series->heaps));
	if (!series->heaps) {
		series_free(series);
		return -ENOMEM;
	}
	series->count = count;
	series->same_process = true;
	series->limits = (struct series_limits){ GROWTH_DROP, GROWTH_COVER, SUSPECT_SHARE, NULL, NULL, 0 };
	*ret_series = series;
	return 0;
}

int series_add(struct series *series, const struct heap *heap)
{
	struct series_heap *h = &series->heaps[series->added++];
	int r = weigh_nodes(heap, &h->weights);

	h->heap = heap;
	series->same_process &= series_is_same_process(heap, series->heaps[0].heap);
	if (r < 0 || series->added < series->count)
		return r;
	r = match_all(series);
	if (r == 0)
		r = number_types(series);
	if (r < 0)
		return r;
	for (uint32_t v = 0; v < heap->nodes && series->same_process; v++)
		series->late += series->earlier[v] == HEAP_NONE && !series_is_new(series, v);
	return 0;
}

int series_flood(struct series *series, size_t index)
{
	struct series_heap *h = &series->heaps[index];
	int r = reach_flood(h->heap, &h->reach);

	if (r == 0 && index == 0 && series->count > 1)	/* the oldest of what is lost speaks for it: births are asked here */
		r = reach_find_leaks(h->heap, h->reach, &h->leaks);
	return r;
}

int series_leave(struct series *series, size_t index)
{
	struct series_heap *h = &series->heaps[index];
	int r = 0;

	large_free(h->reach->order);
	h->reach->order = NULL;
	if (h->leaks)			/* the first: what a holder lost is asked of its tree */
		r = dominators_compute(h->heap, h->reach, h->leaks, &h->tree);
	h->leaks = reach_leaks_free(h->leaks);
	return r;
}

void series_forget_paths(struct series *series)
{
	for (size_t k = 0; k + 1 < series->count; k++) {
		large_free(series->heaps[k].reach->parent);
		series->heaps[k].reach->parent = NULL;
	}
}

int series_make(const struct heap *const *heaps, size_t count, struct series **ret_series)
{
	struct series *series;
	int r = series_new(count, &series);

	if (r < 0)
		return r;
	for (size_t k = 0; k < count && r == 0; k++) {
		r = series_add(series, heaps[k]);
		if (r == 0)
			r = series_flood(series, k);
	}
	if (r < 0) {
		series_free(series);
		return r;
	}
	*ret_series = series;
	return 0;
}

struct series *series_free(struct series *series)
{
	if (!series)
		return NULL;
	for (size_t k = 0; k < series->count; k++) {
		weights_free(series->heaps[k].weights);
		free(series->heaps[k].type);
		large_free(series->heaps[k].later);
		reach_free(series->heaps[k].reach);
		reach_leaks_free(series->heaps[k].leaks);
		dominators_free(series->heaps[k].tree);
	}
	free(series->heaps);
	large_free(series->earlier);
	free(series->type_array);
	free(series->limits.units);
	free(series->limits.unit);
	free(series);
	return NULL;
}

bool series_is_new(const struct series *series, uint32_t node)
{
	const struct heap *last = series_last(series)->heap;
	uint64_t birth = last->birth[node];

	if (!series->same_process || series->earlier[node] != HEAP_NONE)
		return false;
	/* A Python object has the birth of its memory, which the interpreter may have kept from an earlier one. */
	return birth == 0 || birth > series->heaps[0].heap->meta.taken_birth || last->flags[node] & HEAP_PYTHON;
}

bool series_is_survivor(const struct series *series, uint32_t node)
{
	uint64_t birth = series_last(series)->heap->birth[node];

	if (series->count <= 2 || !series_is_new(series, node))
		return false;
	/* Older than the first: only its memory is. */
	return birth <= series->heaps[series->count - 2].heap->meta.taken_birth &&
	       (birth == 0 || birth > series->heaps[0].heap->meta.taken_birth);
}

uint64_t series_resized_bytes(const struct series *series, uint32_t node)
{
	const struct heap *first = series->heaps[0].heap, *last = series_last(series)->heap;
	uint64_t before, now = series_bytes(series_last(series), node);

	/* A mapping also grows in bytes of its own when a block inside it is freed: that is no resize. */
	if (series->count < 2 || series->earlier[node] == HEAP_NONE ||
	    last->bytes[node] <= first->bytes[series->earlier[node]])
		return 0;
	before = series_bytes(&series->heaps[0], series->earlier[node]);
	return now > before ? now - before : 0;
}

bool series_was_referenced(const struct series *series, uint32_t node)
{
	return series->earlier[node] != HEAP_NONE &&
	       series->heaps[0].reach->region[series->earlier[node]] != REACH_NONE;
}

static double seconds_per_birth(const struct series *series)
{
	const struct heap_meta *a = &series->heaps[0].heap->meta, *b = &series_last(series)->heap->meta;

	if (!series->same_process)
		return -1;
	if (series->count > 1 && b->taken_birth > a->taken_birth && b->taken_ns > a->taken_ns)
		return (double)(b->taken_ns - a->taken_ns) / 1e9 / (double)(b->taken_birth - a->taken_birth);
	if (b->capture_birth && b->taken_birth > b->capture_birth && b->uptime_s > 0)
		return b->uptime_s / (double)(b->taken_birth - b->capture_birth);
	return -1;
}

double series_age_s(const struct series *series, uint64_t birth)
{
	uint64_t now = series_last(series)->heap->meta.taken_birth;
	double unit = seconds_per_birth(series);

	if (unit < 0 || birth == 0 || now == 0)
		return -1;
	return birth >= now ? 0 : (double)(now - birth) * unit;
}

double series_interval_s(const struct series *series)
{
	int64_t ns = series_last(series)->heap->meta.taken_ns - series->heaps[0].heap->meta.taken_ns;

	return ns > 0 ? (double)ns / 1e9 : -1;
}

struct intern_key series_stack_key(const struct heap *heap, uint32_t stack)
{
	struct intern_key key = { .high = 1 };

	if (stack >= heap->stack_count)
		return key;
	for (uint32_t i = 0; i < heap->stacks[stack].frame_count; i++) {
		const struct heap_frame *frame = &heap->frames[heap->stacks[stack].frames[i]];

		intern_fold(&key, frame->function);
		intern_fold(&key, frame->file);
		intern_fold(&key, frame->module);
		key.low += frame->line;
	}
	key.high ^= heap->stacks[stack].truncated;
	return key;
}
