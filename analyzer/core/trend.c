/* SPDX-License-Identifier: Apache-2.0
 * L7  trend.c - see trend.h.
 *
 * One pass over the nodes of each snapshot: a node is looked at when its type is that of a cluster, and
 * belongs to the clusters whose size and place fit. A block that lives on is of the cluster in which it
 * ends, whatever reached it before; so only of what is gone its place then is asked. */
#include "core/trend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/intern.h"
#include "core/kinds.h"
#include "core/label_path.h"
#include "core/large.h"
#include "core/weigh.h"
#include "core/where.h"

#define NEVER UINT32_MAX
#define ANCHOR_STEPS 8			/* dominators above a point that are looked for in an earlier snapshot */
#define CLUSTER_NONE 0xff

_Static_assert(GROWTH_MAX_CLUSTERS < CLUSTER_NONE && GROWTH_MAX_CLUSTERS <= WHERE_PLACES, "numbers fit into a byte");

struct wanted {				/* by cluster */
	uint64_t size;			/* of all, UINT64_MAX = they differ */
	int64_t root;			/* number of the root's key; -1 = no root reaches them */
	bool any_thread;
	uint32_t anchor[ANCHOR_STEPS];	/* the point and its dominators in the last heap, while they are blocks */
	uint32_t anchors;
	struct label_path path;		/* to the point, where the snapshots are of different processes */
	uint32_t next;			/* next cluster of the same type */
};

struct tally {				/* of one cluster in one earlier snapshot: what is gone since */
	uint64_t count, bytes;		/* found in its place */
	uint64_t all_count, all_bytes;	/* all of the kind */
	uint64_t stayed, stayed_here;	/* what lives on, and of it what is found in the place, too */
};

struct follower {
	const struct growth *growth;
	const struct series *series;
	struct trends *trends;
	struct wanted *wanted;
	uint32_t *of_type;		/* by type of the series: first cluster */
	uint8_t *cluster_of;		/* by node of the last heap, or CLUSTER_NONE */
	struct where last;
	uint32_t *last_place;		/* by cluster: number in `last`, HEAP_NONE = its root */
	int64_t *last_exact, *last_any;	/* by root of the last heap: numbers of its keys */
	struct intern roots, roots_of_any_thread;
};

/* One heap, while it is added up. */
struct view {
	const struct series_heap *h;
	struct where *where;
	const uint32_t *place;		/* by cluster */
	const int64_t *exact, *any;	/* by root */
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

/* What a cluster's place is called. Of several places the roots alone are meant. */
static int find_anchor(struct follower *f, const struct cluster *cluster, struct wanted *w)
{
	const struct series_heap *last = series_last(f->series);
	const struct dominators *tree = f->growth->tree;

	if (cluster->unreachable || cluster->place_count || cluster->point >= last->heap->nodes)
		return 0;
	for (uint32_t id = cluster->point; id < last->heap->nodes && w->anchors < ANCHOR_STEPS; id = tree->idom[id])
		w->anchor[w->anchors++] = id;
	uint32_t root = reach_root_of(last->heap, last->reach, cluster->point);

	/* several threads may have a root of one name: then all of them are meant */
	return f->series->same_process || root == HEAP_NONE || *last->heap->root[root].thread ? 0 :
	       label_path_make(last->heap, last->reach, cluster->point, &w->path);
}

static int find_wanted(struct follower *f)
{
	const struct growth *growth = f->growth;
	const struct series_heap *last = series_last(f->series);
	const struct heap *heap = last->heap;
	int r = 0;

	memset(f->of_type, 0xff, ((size_t)f->series->type_count + 1) * sizeof(*f->of_type));
	memset(f->cluster_of, CLUSTER_NONE, heap->nodes);
	for (uint32_t c = 0; c < growth->cluster_count && r == 0; c++) {
		const struct cluster *cluster = &growth->clusters[c];
		struct wanted *w = &f->wanted[c];
		uint32_t type = last->type[heap->type[cluster->main]], root;
		bool first = true;

		for (uint32_t i = 0; i < cluster->node_count; i++) {
			uint32_t v = cluster->node[i];

			if (!cluster->counts[i] || !kinds_are_alike(heap, v, cluster->main))
				continue;
			f->cluster_of[v] = (uint8_t)c;
			w->size = first || w->size == heap->bytes[v] ? heap->bytes[v] : UINT64_MAX;
			first = false;
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
		r = find_anchor(f, cluster, w);
	}
	return r;
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

/* The node of an earlier heap of the same process that each anchor was: one pass for all. */
static int find_past_anchors(const struct follower *f, size_t k, uint32_t *past)
{
	const struct series_heap *h = &f->series->heaps[k];
	struct intern wanted = { 0 };
	int r = 0;

	for (uint32_t c = 0; c < f->trends->count && r == 0; c++)
		for (uint32_t i = 0; i < f->wanted[c].anchors && r == 0; i++) {
			past[c * ANCHOR_STEPS + i] = HEAP_NONE;
			if (intern_number(&wanted, intern_pair(f->wanted[c].anchor[i], 0), NULL) < 0)
				r = -ENOMEM;
		}
	uint32_t *found = malloc(((size_t)wanted.count + 1) * sizeof(*found));

	if (!found)
		r = -ENOMEM;
	for (uint32_t i = 0; i < wanted.count && r == 0; i++)
		found[i] = HEAP_NONE;
	for (uint32_t v = 0; v < h->heap->nodes && wanted.count && r == 0; v++) {
		uint32_t number = h->later[v] == HEAP_NONE ? HASH_NONE : intern_find(&wanted, intern_pair(h->later[v], 0));

		if (number != HASH_NONE)
			found[number] = v;
	}
	for (uint32_t c = 0; c < f->trends->count && r == 0; c++)
		for (uint32_t i = 0; i < f->wanted[c].anchors; i++)
			past[c * ANCHOR_STEPS + i] = found[intern_find(&wanted, intern_pair(f->wanted[c].anchor[i], 0))];
	intern_done(&wanted);
	free(found);
	return r;
}

/* Where the cluster's place is in a heap of another process: HEAP_NONE where no root is called alike, or only the
 * root is there. */
static int find_by_names(const struct heap *heap, const int64_t *any, const struct wanted *w, uint32_t *ret_node)
{
	*ret_node = HEAP_NONE;
	for (uint32_t i = 0; i < heap->roots && w->path.count; i++)
		if (any[i] == w->root) {
			int r = label_path_follow(&w->path, heap, i, ret_node);

			if (*ret_node >= heap->nodes)
				*ret_node = HEAP_NONE;
			return r;
		}
	return 0;
}

/* The numbers of the clusters' places in one heap. */
static int find_places(struct follower *f, size_t k, struct where *where, const int64_t *any, uint32_t *place)
{
	bool is_last = k + 1 == f->series->count;
	uint32_t *past = NULL;
	int r = 0;

	if (!is_last && f->series->heaps[k].later && f->series->same_process) {
		past = malloc(((size_t)f->trends->count + 1) * ANCHOR_STEPS * sizeof(*past));
		r = past ? find_past_anchors(f, k, past) : -ENOMEM;
	}
	for (uint32_t c = 0; c < f->trends->count && r == 0; c++) {
		const struct wanted *w = &f->wanted[c];
		uint32_t node = HEAP_NONE;

		if (!f->series->same_process)
			r = find_by_names(where->heap, any, w, &node);
		else if (is_last)
			node = w->anchors ? w->anchor[0] : HEAP_NONE;
		for (uint32_t i = 0; past && i < w->anchors && node == HEAP_NONE; i++)
			node = past[c * ANCHOR_STEPS + i];
		place[c] = node == HEAP_NONE ? HEAP_NONE : where_add(where, node);
	}
	free(past);
	return r;
}

/* Is a node where the cluster is? */
static bool is_in_place(const struct follower *f, const struct view *view, uint32_t c, uint32_t v)
{
	const struct wanted *w = &f->wanted[c];
	uint32_t root;

	if (w->root < 0)
		return view->h->reach->region[v] == REACH_NONE;
	if (view->place[c] != HEAP_NONE)
		return where_is_below(view->where, v, view->place[c]);
	root = where_root(view->where, v);
	return root != HEAP_NONE && (w->any_thread ? view->any[root] : view->exact[root]) == w->root;
}

static bool is_of_kind(const struct wanted *w, const struct heap *heap, uint32_t v)
{
	return weigh_is_counted(heap, v) && (w->size == UINT64_MAX || w->size == heap->bytes[v]);
}

/* Does a node of the last heap belong to a cluster? */
static bool is_member(const struct follower *f, const struct view *last, uint32_t c, uint32_t v)
{
	return f->cluster_of[v] == c || is_in_place(f, last, c, v);
}

/* A node of an earlier snapshot of the same process. */
static void count_past(struct follower *f, size_t k, const struct view *view, const struct view *last, uint32_t v,
		       struct tally *tallies)
{
	const struct heap *heap = view->h->heap;
	uint32_t later = view->h->later[v];
	uint32_t type = later == HEAP_NONE ? view->h->type[heap->type[v]] : last->h->type[last->h->heap->type[later]];

	for (uint32_t c = f->of_type[type]; c != NEVER; c = f->wanted[c].next) {
		struct trend *trend = &f->trends->list[c];
		struct tally *tally = &tallies[c];
		bool kind = later == HEAP_NONE ? is_of_kind(&f->wanted[c], heap, v) :
			    is_of_kind(&f->wanted[c], last->h->heap, later);

		if (!kind || !weigh_is_counted(heap, v))
			continue;
		if (f->wanted[c].root < 0) {	/* what is unreachable now may have been held then */
			if (!is_in_place(f, view, c, v))
				continue;
		} else if (later == HEAP_NONE) {
			tally->all_count += weigh_count(heap, v);
			tally->all_bytes += series_bytes(view->h, v);
			if (is_in_place(f, view, c, v)) {
				tally->count += weigh_count(heap, v);
				tally->bytes += series_bytes(view->h, v);
			}
			continue;
		} else if (!is_member(f, last, c, later)) {
			continue;
		}
		trend->count[k] += weigh_count(heap, v);
		trend->bytes[k] += series_bytes(view->h, v);
		tally->stayed += weigh_count(heap, v);
		tally->stayed_here += is_in_place(f, view, c, v) ? weigh_count(heap, v) : 0;
	}
}

/* Any other: the last, and those of other processes. by_type: only the clusters whose holder is not looked for. */
static void count_named(struct follower *f, size_t k, const struct view *view, uint32_t v, bool by_type)
{
	bool is_last = k + 1 == f->series->count, same = f->series->same_process;
	const struct heap *heap = view->h->heap;

	for (uint32_t c = f->of_type[view->h->type[heap->type[v]]]; c != NEVER; c = f->wanted[c].next) {
		struct trend *trend = &f->trends->list[c];

		if (trend->by_type != by_type || !is_of_kind(&f->wanted[c], heap, v) ||
		    (!by_type && !(is_last && same ? is_member(f, view, c, v) : is_in_place(f, view, c, v))))
			continue;
		trend->count[k] += weigh_count(heap, v);
		trend->bytes[k] += series_bytes(view->h, v);
		if (is_last && same)
			count_born(f->series, trend, heap->birth[v], weigh_count(heap, v));
	}
}

/* What is gone was in the place if what lives on is found there, too; where something else reaches it first, all of
 * the kind that is gone counts: rather too much of the past than growth that was none. */
static void add_gone(struct follower *f, size_t k, const struct tally *tallies)
{
	for (uint32_t c = 0; c < f->trends->count; c++) {
		bool named = tallies[c].stayed_here * 2 >= tallies[c].stayed;

		f->trends->list[c].count[k] += named ? tallies[c].count : tallies[c].all_count;
		f->trends->list[c].bytes[k] += named ? tallies[c].bytes : tallies[c].all_bytes;
	}
}

static int add_up(struct follower *f, size_t k, bool by_type)
{
	const struct series_heap *h = &f->series->heaps[k];
	bool is_last = k + 1 == f->series->count, past = !is_last && f->series->same_process && h->later;
	int64_t *exact = is_last ? f->last_exact : malloc(((size_t)h->heap->roots + 1) * sizeof(*exact));
	int64_t *any = is_last ? f->last_any : malloc(((size_t)h->heap->roots + 1) * sizeof(*any));
	uint32_t *place = is_last ? f->last_place : malloc(((size_t)f->trends->count + 1) * sizeof(*place));
	struct tally *tallies = calloc((size_t)f->trends->count + 1, sizeof(*tallies));
	struct where where = { 0 };
	struct view view = { h, is_last ? &f->last : &where, place, exact, any };
	struct view last = { series_last(f->series), &f->last, f->last_place, f->last_exact, f->last_any };
	int r = exact && any && place && tallies ? 0 : -ENOMEM;

	if (r == 0 && !is_last)
		r = number_roots(f, h->heap, exact, any);
	if (r == 0 && !is_last)
		r = where_init(&where, h->heap, h->reach);
	if (r == 0 && !is_last)
		r = find_places(f, k, &where, any, place);
	for (uint32_t v = 0; v < h->heap->nodes && r == 0; v++)
		if (past)
			count_past(f, k, &view, &last, v, tallies);
		else
			count_named(f, k, &view, v, by_type);
	if (r == 0 && past)
		add_gone(f, k, tallies);
	where_done(&where);
	free(tallies);
	if (!is_last) {
		free(exact);
		free(any);
		free(place);
	}
	return r;
}

/* What other roots reach first was not found below the cluster's: then the kind alone is followed. */
static bool fall_back(struct follower *f)
{
	bool any = false;

	for (uint32_t c = 0; c < f->trends->count && !f->series->same_process; c++) {
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

/* The last heap is asked about while each of the others is added up. */
static int look_at_last(struct follower *f)
{
	const struct series_heap *last = series_last(f->series);
	int r = where_init(&f->last, last->heap, last->reach);

	f->last_exact = malloc(((size_t)last->heap->roots + 1) * sizeof(*f->last_exact));
	f->last_any = malloc(((size_t)last->heap->roots + 1) * sizeof(*f->last_any));
	f->last_place = malloc(((size_t)f->trends->count + 1) * sizeof(*f->last_place));
	if (r < 0 || !f->last_exact || !f->last_any || !f->last_place)
		return -ENOMEM;
	r = number_roots(f, last->heap, f->last_exact, f->last_any);
	return r == 0 ? find_places(f, f->series->count - 1, &f->last, f->last_any, f->last_place) : r;
}

static int follow(struct follower *f)
{
	size_t n = f->series->count;
	double *at = calloc(n, sizeof(*at));
	int r = at ? find_wanted(f) : -ENOMEM;

	if (r == 0)
		r = look_at_last(f);
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
	f.cluster_of = malloc((size_t)series_last(series)->heap->nodes + 1);
	if (f.trends->list && f.wanted && f.of_type && f.cluster_of)
		r = series->count < 3 || !series->heaps[0].reach->parent || !growth->cluster_count ? 0 : follow(&f);
	intern_done(&f.roots);
	intern_done(&f.roots_of_any_thread);
	for (uint32_t c = 0; f.wanted && c < growth->cluster_count; c++)
		label_path_done(&f.wanted[c].path);
	where_done(&f.last);
	free(f.last_place);
	free(f.last_exact);
	free(f.last_any);
	free(f.wanted);
	free(f.of_type);
	free(f.cluster_of);
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
