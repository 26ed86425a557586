/* SPDX-License-Identifier: Apache-2.0
 * L7  trend.c - see trend.h.
 *
 * One pass over the nodes of each snapshot: a node is looked at when its type is that of a cluster, and
 * belongs to the clusters whose size and root fit. */
#include "core/trend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/intern.h"
#include "core/kinds.h"
#include "core/weigh.h"

#define NEVER UINT32_MAX

struct wanted {				/* by cluster */
	uint64_t size;			/* of all, UINT64_MAX = they differ */
	int64_t root;			/* number of the root's key; -1 = no root reaches them */
	bool any_thread;
	uint32_t next;			/* next cluster of the same type */
};

struct follower {
	const struct growth *growth;
	const struct series *series;
	struct trends *trends;
	struct wanted *wanted;
	uint32_t *of_type;		/* by type of the series: first cluster */
	struct intern roots, roots_of_any_thread;
};

static int64_t root_number(struct follower *f, const struct heap_root *root, bool any_thread)
{
	struct intern_key key = { .high = root->kind };

	intern_fold(&key, root->name);
	intern_fold(&key, root->module);
	if (!any_thread)
		intern_fold(&key, root->thread);
	return intern_number(any_thread ? &f->roots_of_any_thread : &f->roots, key, NULL);
}

static int find_wanted(struct follower *f)
{
	const struct growth *growth = f->growth;
	const struct series_heap *last = series_last(f->series);
	const struct heap *heap = last->heap;

	memset(f->of_type, 0xff, ((size_t)f->series->type_count + 1) * sizeof(*f->of_type));
	for (uint32_t c = 0; c < growth->cluster_count; c++) {
		const struct cluster *cluster = &growth->clusters[c];
		struct wanted *w = &f->wanted[c];
		uint32_t type = last->type[heap->type[cluster->main]], root;
		bool first = true;

		for (uint32_t i = 0; i < cluster->node_count; i++) {
			uint32_t v = cluster->node[i];

			if (!cluster->counts[i] || !kinds_are_alike(heap, v, cluster->main))
				continue;
			w->size = first || w->size == heap->bytes[v] ? heap->bytes[v] : UINT64_MAX;
			first = false;
			if (w->size == UINT64_MAX)
				break;
		}
		if (first || cluster->resized || kinds_type_is_known(heap, cluster->main))
			w->size = UINT64_MAX;
		w->next = f->of_type[type];
		f->of_type[type] = c;
		w->any_thread = cluster->place_count || !f->series->same_process;
		root = cluster->unreachable ? HEAP_NONE : reach_root_of(heap, last->reach, cluster->main);
		w->root = root == HEAP_NONE ? -1 : root_number(f, &heap->root[root], w->any_thread);
		if (w->root == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

static void count_born(const struct series *series, struct trend *trend, uint64_t birth, uint64_t count)
{
	size_t k = 0;

	while (k < series->count && birth > series->heaps[k].heap->meta.taken_birth)
		k++;
	trend->born[k < series->count ? k : series->count - 1] += count;
}

/* Number each root of a heap both ways. */
static int number_roots(struct follower *f, const struct heap *heap, int64_t *exact, int64_t *any)
{
	for (uint32_t i = 0; i < heap->roots; i++) {
		exact[i] = root_number(f, &heap->root[i], false);
		any[i] = root_number(f, &heap->root[i], true);
		if (exact[i] < 0 || any[i] < 0)
			return -ENOMEM;
	}
	return 0;
}

/* by_type: only the clusters whose holder is not looked for. */
static int add_up(struct follower *f, size_t k, bool by_type)
{
	const struct series_heap *h = &f->series->heaps[k];
	const struct heap *heap = h->heap;
	int64_t *exact = malloc(((size_t)heap->roots + 1) * sizeof(*exact));
	int64_t *any = malloc(((size_t)heap->roots + 1) * sizeof(*any));
	uint32_t *root = NULL;
	int r = exact && any ? number_roots(f, heap, exact, any) : -ENOMEM;

	if (r == 0 && !by_type)
		r = reach_roots(heap, h->reach, &root);
	for (uint32_t v = 0; v < heap->nodes && r == 0; v++)
		for (uint32_t c = f->of_type[h->type[heap->type[v]]]; c != NEVER; c = f->wanted[c].next) {
			const struct wanted *w = &f->wanted[c];
			struct trend *trend = &f->trends->list[c];
			int64_t have;

			if (trend->by_type != by_type || !weigh_is_counted(heap, v) ||
			    (w->size != UINT64_MAX && w->size != heap->bytes[v]))
				continue;
			if (!by_type) {
				have = root[v] == HEAP_NONE ? -1 : w->any_thread ? any[root[v]] : exact[root[v]];
				if (have != w->root || (w->root == -1 && h->reach->region[v] != REACH_NONE))
					continue;
			}
			trend->count[k] += weigh_count(heap, v);
			trend->bytes[k] += series_bytes(h, v);
			if (k + 1 == f->series->count && f->series->same_process)
				count_born(f->series, trend, heap->birth[v], weigh_count(heap, v));
		}
	free(exact);
	free(any);
	free(root);
	return r;
}

/* What other roots reach first was not found below the cluster's: then the kind alone is followed. */
static bool fall_back(struct follower *f)
{
	bool any = false;

	for (uint32_t c = 0; c < f->trends->count; c++) {
		struct trend *trend = &f->trends->list[c];

		if (trend->count[f->series->count - 1] * 2 >= f->growth->clusters[c].main_count)
			continue;
		trend->by_type = any = true;
		memset(trend->count, 0, f->series->count * sizeof(*trend->count));
		memset(trend->bytes, 0, f->series->count * sizeof(*trend->bytes));
		memset(trend->born, 0, f->series->count * sizeof(*trend->born));
	}
	return any;
}

static int follow(struct follower *f)
{
	size_t n = f->series->count;
	double *at = calloc(n, sizeof(*at));
	int r = at ? find_wanted(f) : -ENOMEM;

	for (uint32_t c = 0; c < f->trends->count && r == 0; c++) {
		struct trend *trend = &f->trends->list[c];

		trend->count = calloc(n, sizeof(*trend->count));
		trend->bytes = calloc(n, sizeof(*trend->bytes));
		trend->born = calloc(n, sizeof(*trend->born));
		if (!trend->count || !trend->bytes || !trend->born)
			r = -ENOMEM;
	}
	for (size_t k = 0; k < n && r == 0; k++)
		r = add_up(f, k, false);
	if (r == 0 && fall_back(f))
		for (size_t k = 0; k < n && r == 0; k++)
			r = add_up(f, k, true);
	if (r == 0)
		trend_axis(f->series, at);
	for (uint32_t c = 0; c < f->trends->count && r == 0; c++) {
		struct trend *trend = &f->trends->list[c];

		trend->word = trend_of(trend->bytes, at, n, &trend->steady);
	}
	free(at);
	return r;
}

int trends_make(const struct growth *growth, struct trends **ret_trends)
{
	const struct series *series = growth->series;
	struct follower f = { .growth = growth, .series = series };
	int r = -ENOMEM;

	f.trends = calloc(1, sizeof(*f.trends));
	if (!f.trends)
		return -ENOMEM;
	f.trends->count = growth->cluster_count;
	f.trends->heaps = series->count;
	f.trends->list = calloc((size_t)growth->cluster_count + 1, sizeof(*f.trends->list));
	f.wanted = calloc((size_t)growth->cluster_count + 1, sizeof(*f.wanted));
	f.of_type = malloc(((size_t)series->type_count + 1) * sizeof(*f.of_type));
	if (f.trends->list && f.wanted && f.of_type)
		r = series->count < 3 || !series->heaps[0].reach->parent || !growth->cluster_count ? 0 : follow(&f);
	intern_done(&f.roots);
	intern_done(&f.roots_of_any_thread);
	free(f.wanted);
	free(f.of_type);
	if (r < 0) {
		trends_free(f.trends);
		return r;
	}
	*ret_trends = f.trends;
	return 0;
}

struct trends *trends_free(struct trends *trends)
{
	if (!trends)
		return NULL;
	for (uint32_t c = 0; trends->list && c < trends->count; c++) {
		free(trends->list[c].count);
		free(trends->list[c].bytes);
		free(trends->list[c].born);
	}
	free(trends->list);
	free(trends);
	return NULL;
}

void trend_axis(const struct series *series, double *ret_at)
{
	bool orderly = series->limits.units != NULL;

	for (size_t k = 1; k < series->count && orderly; k++)
		orderly = series->limits.units[k] > series->limits.units[k - 1];
	for (size_t k = 0; k < series->count; k++)
		ret_at[k] = orderly ? series->limits.units[k] :
			    (double)(series->heaps[k].heap->meta.taken_ns - series->heaps[0].heap->meta.taken_ns) / 1e9;
	for (size_t k = 1; k < series->count && !orderly; k++)
		if (ret_at[k] <= ret_at[k - 1])		/* clocks that went back, or a test's: steps of one length */
			for (size_t i = 0; i < series->count; i++)
				ret_at[i] = (double)i;
}

/* The low points: where a fall ends, and the first value if the row begins with a rise. */
static bool lows_rise(const uint64_t *values, size_t count)
{
	uint64_t first = UINT64_MAX, last = 0, high = 0;

	for (size_t k = 0; k < count; k++) {
		bool low = (k == 0 || values[k] <= values[k - 1]) && (k + 1 == count || values[k] < values[k + 1]);

		if (values[k] > high)
			high = values[k];
		if (!low)
			continue;
		if (first == UINT64_MAX)
			first = values[k];
		last = values[k];
	}
	return last > first && (double)(last - first) > TREND_LOWS * (double)(high - first);
}

/* A step that is short beside the longest shows chance: it counts with the one before. Returns how many points are
 * left, in `kept`. */
static size_t drop_short_steps(const uint64_t *values, const double *at, size_t count, uint64_t *kept, double *kept_at)
{
	double longest = 0;
	size_t n = 0;

	for (size_t k = 1; k < count; k++)
		longest = at[k] - at[k - 1] > longest ? at[k] - at[k - 1] : longest;
	for (size_t k = count; k-- > 0;) {
		if (k && n && kept_at[n - 1] - at[k] < TREND_SHORT * longest)
			continue;
		kept[n] = values[k];
		kept_at[n++] = at[k];
	}
	for (size_t i = 0; i < n / 2; i++) {	/* they were met from the last to the first */
		uint64_t value = kept[i];
		double place = kept_at[i];

		kept[i] = kept[n - 1 - i];
		kept_at[i] = kept_at[n - 1 - i];
		kept[n - 1 - i] = value;
		kept_at[n - 1 - i] = place;
	}
	return n;
}

static enum trend_word word_of(const uint64_t *values, const double *at, size_t count, bool *ret_steady)
{
	double fastest = 0, slowest = 0, up = 0, down = 0, last = 0, last_step = 0, largest = 0;
	uint64_t high = 0, low = UINT64_MAX;
	size_t fastest_at = 0;

	if (count < 3)
		return TREND_UNKNOWN;
	for (size_t k = 0; k < count; k++) {
		high = values[k] > high ? values[k] : high;
		low = values[k] < low ? values[k] : low;
	}
	if ((double)(high - low) <= TREND_STABLE_SHARE * (double)high)
		return TREND_STABLE;
	for (size_t k = 0; k + 1 < count; k++) {
		double step = (double)values[k + 1] - (double)values[k];
		double rate = step / (at[k + 1] - at[k]);

		if (step > 0)
			up += step;
		else
			down -= step;
		if (step > largest)
			largest = step;
		last_step = step;
		if (rate > fastest) {
			fastest = rate;
			fastest_at = k;
		}
		if (k == 0 || rate < slowest)
			slowest = rate;
		last = rate;
	}
	if (down > TREND_FALLS * up)
		return values[count - 1] <= values[0] || !lows_rise(values, count) ? TREND_SAW_TOOTH : TREND_GROWING;
	/* Slower and smaller: a burst makes one rate high, a short interval one step small. */
	if (fastest_at + 2 < count && last <= WARMING_STEP * fastest && last_step <= WARMING_STEP * largest)
		return TREND_WARMING;
	*ret_steady = slowest * 2 >= fastest && count > 3;
	return TREND_GROWING;
}

enum trend_word trend_of(const uint64_t *values, const double *at, size_t count, bool *ret_steady)
{
	uint64_t *kept = calloc(count + 1, sizeof(*kept));
	double *kept_at = calloc(count + 1, sizeof(*kept_at));
	enum trend_word word = TREND_UNKNOWN;

	*ret_steady = false;
	if (kept && kept_at && count)		/* without memory the trend is not known */
		word = word_of(kept, kept_at, drop_short_steps(values, at, count, kept, kept_at), ret_steady);
	free(kept);
	free(kept_at);
	return word;
}

const char *trend_name(enum trend_word word)
{
	static const char *const names[] = { NULL, "stable", "saw-tooth", "warming up", "growing" };

	return names[word];
}
