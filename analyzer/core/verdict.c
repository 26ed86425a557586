/* SPDX-License-Identifier: Apache-2.0
 * L9  verdict.c - what a cluster of growth is called, and why. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/kinds.h"
#include "core/labels.h"
#include "core/large.h"
#include "core/suspects.h"
#include "core/text.h"
#include "core/thresholds.h"
#include "core/verdict.h"
#include "core/weigh.h"

/* Births of what grew, by quarters of the interval. */
struct profile {
	bool known;
	uint64_t quarter[4];
	uint64_t total, young;		/* young: in the last part of the interval, see YOUNG_ */
	uint64_t survivors;		/* three and more snapshots */
};

static uint32_t type_number(const struct judge *j, size_t snapshot, uint32_t local)
{
	return j->series->heaps[snapshot].type[local];
}

/* Where in the interval a birth lies, 0 .. 1; < 0 = unknown. */
static double birth_place(const struct series *series, uint64_t birth)
{
	uint64_t begin = series->heaps[0].heap->meta.taken_birth;
	uint64_t end = series_last(series)->heap->meta.taken_birth;

	if (!birth || !end || end <= begin || birth < begin)
		return -1;
	return birth >= end ? 1 : (double)(birth - begin) / (double)(end - begin);
}

/* What no root reaches, by type. Nobody can free or store a block without a pointer to it: one that
 * looked unreachable and was used since proves that the scan does not see all pointers. */
static void count_lost(struct judge *j, const struct series_heap *first, const struct series_heap *last)
{
	for (uint32_t v = 0; v < first->heap->nodes; v++) {
		uint32_t type = first->type[first->heap->type[v]];
		uint64_t count = weigh_count(first->heap, v);

		if (first->reach->region[v] != REACH_NONE)
			continue;
		j->lost_before[type] += count;
		if (j->series->same_process && first->later &&
		    (first->later[v] == HEAP_NONE || last->reach->region[first->later[v]] != REACH_NONE))
			j->lost_used[type] += count;
	}
	for (uint32_t v = 0; v < last->heap->nodes; v++)
		if (last->reach->region[v] == REACH_NONE)
			j->lost_now[last->type[last->heap->type[v]]] += weigh_count(last->heap, v);
}

static bool is_gone(const struct series_heap *first, uint32_t v)
{
	return first->later[v] == HEAP_NONE && first->reach->region[v] != REACH_NONE &&
	       weigh_is_counted(first->heap, v);
}

static int list_gone(struct judge *j, const struct series_heap *first)
{
	uint32_t types = j->series->type_count, total = 0;

	j->gone_start = calloc((size_t)types + 2, sizeof(*j->gone_start));
	if (!j->gone_start)
		return -ENOMEM;
	if (j->series->count < 2 || !j->series->same_process)
		return 0;
	for (uint32_t v = 0; v < first->heap->nodes; v++)
		if (is_gone(first, v)) {
			j->gone_start[first->type[first->heap->type[v]] + 2]++;
			total++;
		}
	j->gone = malloc(((size_t)total + 1) * sizeof(*j->gone));
	if (!j->gone)
		return -ENOMEM;
	/* Sums one place further than usual, so that filling moves them to where they belong. */
	for (uint32_t t = 2; t < types + 2; t++)
		j->gone_start[t] += j->gone_start[t - 1];
	for (uint32_t v = 0; v < first->heap->nodes; v++)
		if (is_gone(first, v))
			j->gone[j->gone_start[first->type[first->heap->type[v]] + 1]++] = v;
	return 0;
}

int judge_init(struct judge *j, const struct series *series, const struct growth *growth)
{
	const struct series_heap *first = &series->heaps[0], *last = series_last(series);
	size_t types = series->type_count;

	*j = (struct judge){ .series = series, .growth = growth, .heap = last->heap, .reach = last->reach };
	j->labels = labels_new(last->heap);
	j->mark = calloc((size_t)last->heap->nodes + 1, 1);
	j->depth = large_array(last->heap->nodes, sizeof(*j->depth));
	j->lost_before = calloc(types + 1, sizeof(*j->lost_before));
	j->lost_now = calloc(types + 1, sizeof(*j->lost_now));
	j->lost_used = calloc(types + 1, sizeof(*j->lost_used));
	if (!j->labels || !j->mark || !j->depth || !j->lost_before || !j->lost_now || !j->lost_used)
		return -ENOMEM;

	memset(j->depth, 0, (size_t)last->heap->nodes * sizeof(*j->depth));
	for (uint32_t i = 0; i < j->reach->reached; i++) {
		uint32_t v = j->reach->order[i], up = j->reach->parent[v];

		j->depth[v] = up < last->heap->nodes ? j->depth[up] + 1 : 1;
	}
	for (uint32_t v = 0; v < last->heap->nodes; v++) {
		j->live_bytes += series_bytes(last, v);
		if (growth->bytes[v] && birth_place(series, last->heap->birth[v]) >= 0.75)
			j->late_births += weigh_count(last->heap, v);
	}
	count_lost(j, first, last);
	int r = trends_make(growth, &j->trends);

	return r == 0 ? list_gone(j, first) : r;
}

void judge_done(struct judge *j)
{
	labels_free(j->labels);
	free(j->mark);
	large_free(j->depth);
	trends_free(j->trends);
	free(j->gone);
	free(j->gone_start);
	free(j->lost_before);
	free(j->lost_now);
	free(j->lost_used);
	dominators_free(j->past_made);
	*j = (struct judge){ 0 };
}

/* ---- what the holder lost -------------------------------------------------------------------- */

static int make_past(struct judge *j)
{
	const struct series_heap *first = &j->series->heaps[0];
	struct reach_leaks *leaks = NULL;
	int r = 0;

	if (j->past_tree)
		return 0;
	if (!first->tree) {
		r = reach_find_leaks(first->heap, first->reach, &leaks);
		if (r == 0)
			r = dominators_compute(first->heap, first->reach, leaks, &j->past_made);
		reach_leaks_free(leaks);
	}
	if (r < 0)
		return r;
	j->past_tree = first->tree ? first->tree : j->past_made;
	/* In the place of the dominators, which nobody asks for again. */
	j->past_keeper = j->past_tree->idom;
	for (uint32_t i = 0; i < j->past_tree->count; i++) {
		uint32_t id = j->past_tree->order[i];

		if (id >= first->heap->nodes || first->later[id] != HEAP_NONE)
			j->past_keeper[id] = id;
		else
			j->past_keeper[id] = j->past_keeper[j->past_keeper[id]];
	}
	return 0;
}

static bool past_dominates(const struct judge *j, uint32_t above, uint32_t below)
{
	return j->past_tree->first[above] <= j->past_tree->first[below] &&
	       j->past_tree->first[below] < j->past_tree->last[above];
}

/* The accumulation point in the first snapshot: the nearest dominator that was there already. A table
 * that was rehashed into a new block is represented by what holds it. */
static uint32_t past_point(const struct judge *j, uint32_t point)
{
	const struct heap *first = j->series->heaps[0].heap, *last = j->heap;

	for (uint32_t id = point; id != j->growth->tree->top; id = j->growth->tree->idom[id]) {
		if (id < last->nodes) {
			if (j->series->earlier[id] != HEAP_NONE)
				return j->series->earlier[id];
			continue;
		}
		if (id >= last->nodes + last->roots)
			continue;
		const struct heap_root *root = &last->root[id - last->nodes];
		for (uint32_t i = 0; i < first->roots; i++) {
			const struct heap_root *other = &first->root[i];

			if (other->kind == root->kind && !strcmp(other->name, root->name) &&
			    !strcmp(other->module, root->module) && !strcmp(other->thread, root->thread))
				return first->nodes + i;
		}
	}
	return j->past_tree->top;
}

/* What is alike over two snapshots: the types of what grew, and where a type is only a site, its size,
 * or its stacks where it has many sizes. One line of source may make two things (stacks are compared
 * in words), so sizes of companions are not alike. */
struct likeness {
	struct intern types, sizes, stacks, companion_sizes;
	int8_t *of_stack;		/* by stack of the first snapshot: 0 unknown, 1 alike, -1 not */
};

static void likeness_done(struct likeness *like)
{
	intern_done(&like->types);
	intern_done(&like->sizes);
	intern_done(&like->stacks);
	intern_done(&like->companion_sizes);
	free(like->of_stack);
}

static bool has_key(const struct intern *table, struct intern_key key)
{
	return intern_find(table, key) != HASH_NONE;
}

static int find_likeness(const struct judge *j, const struct cluster *cluster, struct likeness *like)
{
	const struct series_heap *last = series_last(j->series);
	uint32_t last_stack = HEAP_NONE - 1;

	like->of_stack = calloc((size_t)j->series->heaps[0].heap->stack_count + 1, 1);
	if (!like->of_stack)
		return -ENOMEM;
	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i];

		if (!cluster->counts[i]) {
			if (intern_number(&like->companion_sizes, intern_pair(j->heap->bytes[v], 0), NULL) < 0)
				return -ENOMEM;
			continue;
		}
		if (intern_number(&like->types, intern_pair(last->type[j->heap->type[v]], 0), NULL) < 0 ||
		    intern_number(&like->sizes, intern_pair(j->heap->bytes[v], 0), NULL) < 0)
			return -ENOMEM;
		if (j->heap->stack[v] == last_stack)
			continue;
		last_stack = j->heap->stack[v];
		if (intern_number(&like->stacks, series_stack_key(j->heap, last_stack), NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_like(const struct judge *j, struct likeness *like, uint32_t v)
{
	const struct heap *first = j->series->heaps[0].heap;
	uint32_t stack = first->stack[v] < first->stack_count ? first->stack[v] : first->stack_count;

	if (kinds_type_is_known(first, v) || has_key(&like->sizes, intern_pair(first->bytes[v], 0)))
		return true;
	if (like->sizes.count == 1 || has_key(&like->companion_sizes, intern_pair(first->bytes[v], 0)))
		return false;
	if (!like->of_stack[stack])
		like->of_stack[stack] = has_key(&like->stacks, series_stack_key(first, first->stack[v])) ? 1 : -1;
	return like->of_stack[stack] > 0;
}

static bool is_of_places(const struct judge *j, const uint32_t *point, uint32_t points, uint32_t keeper)
{
	for (uint32_t i = 0; i < points; i++)
		if (past_dominates(j, point[i], keeper) || past_dominates(j, keeper, point[i]))
			return true;
	return false;
}

/* What this holder, or nobody in particular, lost of the kind that grew. */
static int count_losses(struct judge *j, const struct cluster *cluster, uint64_t *ret_count,
			uint64_t *ret_bytes)
{
	const struct series_heap *first = &j->series->heaps[0];
	struct likeness like = { 0 };
	uint64_t count = 0, bytes = 0;
	uint32_t *point = NULL, points = cluster->place_count + 1;
	int r = find_likeness(j, cluster, &like);

	for (uint32_t t = 0; t < j->series->type_count && r == 0; t++) {
		if (j->gone_start[t] == j->gone_start[t + 1] || !has_key(&like.types, intern_pair(t, 0)))
			continue;
		if (!point) {
			r = make_past(j);
			point = malloc(points * sizeof(*point));
			if (r < 0 || !point) {
				r = -ENOMEM;
				break;
			}
			for (uint32_t i = 0; i < points; i++)
				point[i] = past_point(j, i ? cluster->place[i - 1] : cluster->point);
		}
		for (uint32_t i = j->gone_start[t]; i < j->gone_start[t + 1]; i++) {
			/* Only what another place clearly held is not this holder's loss. */
			uint32_t v = j->gone[i], keeper = j->past_keeper[v];

			if (is_like(j, &like, v) && is_of_places(j, point, points, keeper)) {
				count += weigh_count(first->heap, v);
				bytes += series_bytes(first, v);
			}
		}
	}
	likeness_done(&like);
	free(point);
	*ret_count = count;
	*ret_bytes = bytes;
	return r;
}

/* ---- births ---------------------------------------------------------------------------------- */

static struct profile find_profile(const struct judge *j, const struct cluster *cluster)
{
	double interval = series_interval_s(j->series);
	double young = 1 - YOUNG_INTERVAL;
	struct profile p = { .known = true };

	if (interval > 0 && 1 - YOUNG_SECONDS / interval > young)
		young = 1 - YOUNG_SECONDS / interval;
	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i];
		uint64_t count = weigh_count(j->heap, v);
		double place;

		if (!cluster->counts[i])
			continue;
		p.total += count;
		if (series_is_survivor(j->series, v))
			p.survivors += count;
		place = birth_place(j->series, j->heap->birth[v]);
		if (place < 0) {
			p.known = false;
			continue;
		}
		p.quarter[place >= 1 ? 3 : (int)(place * 4)] += count;
		if (place >= young)
			p.young += count;
	}
	return p;
}

static unsigned quarters_with_births(const struct profile *p)
{
	unsigned n = 0;

	for (int q = 0; q < 4; q++)
		n += p->quarter[q] != 0;
	return n;
}

static bool is_young(const struct profile *p)
{
	return p->known && p->total && p->total <= YOUNG_COUNT &&
	       (double)p->young >= YOUNG_SHARE * (double)p->total;
}

static bool is_ending(const struct judge *j, const struct profile *p)
{
	return p->known && p->total >= WARMING_COUNT && p->quarter[0] > p->quarter[1] &&
	       p->quarter[1] >= p->quarter[2] && p->quarter[2] >= p->quarter[3] &&
	       (double)p->quarter[3] <= WARMING_QUARTER * (double)p->quarter[0] &&
	       j->late_births >= p->quarter[3] + WARMING_OTHERS;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void say_interval(const struct judge *j, struct text *text)
{
	double seconds = series_interval_s(j->series);

	if (seconds > 0)
		text_printf(text, " in %.*f s", seconds < 10 ? 1 : 0, seconds);
}

static void say_quarters(const struct profile *p, struct text *text)
{
	if (p->known)
		text_printf(text, " (born by quarter of the interval: %" PRIu64 ", %" PRIu64 ", %" PRIu64
			    ", %" PRIu64 ")", p->quarter[0], p->quarter[1], p->quarter[2], p->quarter[3]);
}

static int finish(struct suspect *suspect, enum suspect_verdict verdict,
		  enum suspect_confidence confidence, struct text *reason)
{
	suspect->verdict = verdict;
	suspect->confidence = confidence;
	suspect->reason = text_take(reason);
	return suspect->reason ? 0 : -ENOMEM;
}

static int judge_unreachable(struct judge *j, const struct cluster *cluster, struct suspect *suspect,
			     enum judge_answer *ret_answer)
{
	uint32_t head_type = type_number(j, j->series->count - 1, j->heap->type[cluster->item[0]]);
	uint64_t used_again = j->lost_used[head_type], became = 0;
	struct profile p = find_profile(j, cluster);
	enum suspect_confidence confidence = SUSPECT_CERTAIN;
	struct text reason = { 0 };
	bool python = j->heap->types[j->heap->type[cluster->node[0]]].source == HEAP_TYPE_PYTHON;

	if (used_again && j->lost_now[head_type] <= j->lost_before[head_type]) {
		*ret_answer = JUDGE_TURNOVER;
		return 0;
	}
	for (uint32_t i = 0; i < cluster->node_count; i++)
		became += j->series->earlier[cluster->node[i]] != HEAP_NONE &&
			  cluster->counts[i];

	*ret_answer = JUDGE_SUSPECT;
	suspect->count = cluster->main_count;
	suspect->bytes = cluster->main_bytes;
	if (python)
		text_append(&reason, j->heap->meta.gc_enabled == 0 ?
			    "Python's objects count no reference but their own, and the collector is off (gc.disable()): "
			    "nobody will free them" :
			    "garbage that waits for Python's collector, which is on: the objects count no reference but "
			    "their own");
	else
		text_append(&reason, "a conservative scan of globals, stacks, thread-local storage, registers and all "
			    "reachable memory found no reference");
	if (became == 0)
		text_append(&reason, "; all were allocated since the first snapshot");
	else if (became < cluster->main_count)
		text_printf(&reason, "; %" PRIu64 " were still referenced in the first snapshot, the others are new",
			    became);
	else
		text_append(&reason, "; all were still referenced in the first snapshot");
	if (cluster->cycle)
		text_append(&reason, "; they refer to each other in a cycle");
	if (used_again) {
		confidence = SUSPECT_POSSIBLE;
		text_printf(&reason, "; but %" PRIu64 " blocks of this site that looked unreachable in the first snapshot "
			    "have been used since: this program hides its pointers", used_again);
	} else if (is_young(&p) && p.total < NOISE_COUNT) {
		confidence = SUSPECT_POSSIBLE;
		text_append(&reason, "; all of it is very young and may be work in progress");
	} else if (heap_may_hide(j->heap, cluster->item_count)) {
		confidence = SUSPECT_POSSIBLE;
		text_append(&reason, "; but some memory was not read, see the notes, and references may be there");
	} else if (!j->heap->meta.consistent || j->heap->meta.lost_events || !j->series->same_process) {
		confidence = SUSPECT_LIKELY;
		text_append(&reason, !j->series->same_process ?
			    "; the processes differ, so it is not known which blocks were there before" :
			    "; the snapshot is not complete, see its notes");
	}
	if (python && j->heap->meta.gc_enabled != 0)
		confidence = SUSPECT_POSSIBLE;	/* gone after its next run: for a person to see, no alarm */
	if (!used_again && !python)
		text_append(&reason, ". Hidden pointers (compressed, XORed, tagged in high bits, or held by the kernel, "
			    "a device or another process) would look the same");
	return finish(suspect, SUSPECT_UNREACHABLE, confidence, &reason);
}

/* One block that grows in place, or is copied into a larger one each time. */
static int judge_single(struct judge *j, bool copied, uint64_t net_bytes, struct suspect *suspect,
			enum judge_answer *ret_answer)
{
	struct text reason = { 0 };
	char size[TEXT_SIZE];
	bool small = net_bytes < NOISE_BYTES && (double)net_bytes < NOISE_SHARE * (double)j->live_bytes;

	if (net_bytes < SINGLE_BYTES) {
		*ret_answer = JUDGE_NOISE;
		return 0;
	}
	*ret_answer = JUDGE_SUSPECT;
	text_printf(&reason, copied ? "one block was replaced by one that is %s larger" :
		    "one block was resized and is %s larger", text_size((int64_t)net_bytes, size));
	say_interval(j, &reason);
	if (small)
		text_append(&reason, "; that is little, and one step shows no trend");
	return finish(suspect, SUSPECT_GROWING, small ? SUSPECT_POSSIBLE : SUSPECT_LIKELY, &reason);
}

/* How sure growth of several blocks is; JUDGE_NOISE where it shows nothing. */
static enum judge_answer weigh_evidence(const struct judge *j, const struct profile *p, int64_t count,
					uint64_t bytes, enum suspect_confidence *ret_confidence)
{
	double live = (double)j->live_bytes;
	bool small = bytes < NOISE_BYTES && (double)bytes < NOISE_SHARE * live;
	unsigned quarters = p->known ? quarters_with_births(p) : 0;

	if (bytes < NOISE_BYTES && count < NOISE_COUNT)
		return JUDGE_NOISE;
	*ret_confidence = SUSPECT_LIKELY;
	if (count < FEW_COUNT) {
		if (bytes < FEW_BYTES)
			return JUDGE_NOISE;
		if ((double)bytes < FEW_SHARE * live)
			*ret_confidence = SUSPECT_POSSIBLE;
	} else if (count < NOISE_COUNT && bytes < FEW_BYTES) {
		if (quarters < 2)
			return JUDGE_NOISE;
		*ret_confidence = SUSPECT_POSSIBLE;
	} else if (small) {
		if (quarters < 3)
			return JUDGE_NOISE;
		*ret_confidence = SUSPECT_POSSIBLE;
	}
	return JUDGE_SUSPECT;
}

/* A cache with a bound that is full holds no more than it does: its growth has ended. Returns whether that
 * is so, and why. Only when its entries are the same and have become larger it goes on. */
static bool is_full_cache(const struct judge *j, const struct cluster *cluster, uint64_t lost_count,
			  struct text *reason)
{
	const struct heap_cache *cache = cluster->point < j->heap->nodes ? heap_cache_of(j->heap, cluster->point) : NULL;
	const struct heap_cache *before;
	uint32_t earlier;

	if (!cache || cache->maxsize < 0 || cache->entries < (uint64_t)cache->maxsize)
		return false;
	earlier = j->series->earlier[cluster->point];
	before = earlier == HEAP_NONE ? NULL : heap_cache_of(j->series->heaps[0].heap, earlier);
	if (before && before->entries >= cache->entries && lost_count * 2 < cluster->main_count) {
		text_append(reason, "; the cache was full before, but what its entries hold becomes more");
		return false;
	}
	if (before && before->entries < cache->entries)
		text_printf(reason, "; the cache has become full (%" PRIu64 " entries before, %" PRIu64 " of %" PRId64
			    " now): it will not hold more", before->entries, cache->entries, cache->maxsize);
	else
		text_printf(reason, "; the cache is full (%" PRIu64 " of %" PRId64 " entries): larger ones took the place "
			    "of smaller ones", cache->entries, cache->maxsize);
	return true;
}

/* A cache with a bound that is not reached, and that answers calls: it warms up, and is known to stop. One that
 * never answers keeps what nobody asks for: that is said to grow, with its bound in the words. */
static bool is_filling_cache(const struct judge *j, const struct cluster *cluster, struct text *reason)
{
	const struct heap_cache *cache = cluster->point < j->heap->nodes ? heap_cache_of(j->heap, cluster->point) : NULL;

	if (!cache || cache->maxsize <= 0 || cache->entries >= (uint64_t)cache->maxsize || cache->hits <= 0)
		return false;
	text_printf(reason, "; the cache has %" PRIu64 " of %" PRId64 " entries: growth ends when it is full",
		    cache->entries, cache->maxsize);
	return true;
}

/* Has what one point holds become more at all, of whatever kind? Of things that several hold nothing is known.
 * Things of one kind that make room for things of another are no growth of their holder. */
static int find_holder_net(struct judge *j, const struct cluster *cluster, int64_t *ret_bytes, bool *ret_known)
{
	const struct series_heap *first = &j->series->heaps[0];
	uint64_t before = 0, now;
	uint32_t past;
	int r;

	*ret_known = false;
	if (!j->series->same_process || cluster->place_count || cluster->point >= j->growth->tree->count ||
	    cluster->point == j->growth->tree->top)
		return 0;
	now = j->growth->retained[cluster->point];
	for (uint32_t i = 0; i < cluster->node_count; i++)
		if (j->growth->tree->first[cluster->node[i]] < j->growth->tree->first[cluster->point] ||
		    j->growth->tree->first[cluster->node[i]] >= j->growth->tree->last[cluster->point])
			return 0;
	r = make_past(j);
	if (r < 0)
		return r;
	past = past_point(j, cluster->point);
	if (past == j->past_tree->top || (cluster->point < j->heap->nodes &&
					  past != j->series->earlier[cluster->point]))
		return 0;
	for (uint32_t i = j->past_tree->first[past]; i < j->past_tree->last[past]; i++)
		if (j->past_tree->order[i] < first->heap->nodes)
			before += series_bytes(first, j->past_tree->order[i]);
	*ret_bytes = (int64_t)(now - before);
	*ret_known = true;
	return 0;
}

/* Three and more snapshots: what the numbers look like says more than the two ends. */
static void say_trend(const struct judge *j, const struct trend *trend, enum suspect_verdict *verdict,
		      enum suspect_confidence *confidence, struct text *reason)
{
	uint64_t high = 0, low = UINT64_MAX;
	char x[TEXT_SIZE], y[TEXT_SIZE];

	for (size_t k = 0; trend->bytes && k < j->series->count; k++) {
		high = trend->bytes[k] > high ? trend->bytes[k] : high;
		low = trend->bytes[k] < low ? trend->bytes[k] : low;
	}
	switch (trend->word) {
	case TREND_WARMING:
		*verdict = SUSPECT_WARMING;
		text_printf(reason, "; growth is ending: the last step is small beside the largest (%s to %s)",
			    text_size((int64_t)low, x), text_size((int64_t)high, y));
		break;
	case TREND_SAW_TOOTH:
		*verdict = SUSPECT_STABLE;
		text_printf(reason, "; it goes up and down between %s and %s, and the low points do not rise",
			    text_size((int64_t)low, x), text_size((int64_t)high, y));
		break;
	case TREND_STABLE:
		*verdict = SUSPECT_STABLE;
		text_printf(reason, "; but there were about as many before: %s to %s", text_size((int64_t)low, x),
			    text_size((int64_t)high, y));
		break;
	case TREND_GROWING:
		for (size_t k = 1; k < j->series->count; k++)
			if (trend->bytes[k] <= trend->bytes[k - 1]) {
				*confidence = SUSPECT_POSSIBLE;
				text_append(reason, "; but it did not grow in every interval");
				return;
			}
		text_printf(reason, "; it grew in every interval%s", trend->steady ? " by about as much" : "");
		break;
	case TREND_UNKNOWN:
		break;
	}
}

static int judge_held(struct judge *j, const struct cluster *cluster, struct suspect *suspect,
		      enum judge_answer *ret_answer)
{
	enum suspect_confidence confidence = SUSPECT_LIKELY;
	enum suspect_verdict verdict = SUSPECT_GROWING;
	uint64_t lost_count, lost_bytes, net_bytes;
	struct profile p = find_profile(j, cluster);
	const struct trend *trend = suspect->trend;
	struct text reason = { 0 };
	int64_t net_count, holder_bytes = 0;
	bool known = false;
	int r;

	suspect->count = cluster->main_count;
	suspect->bytes = cluster->main_bytes;
	if (cluster->resized)
		return judge_single(j, false, cluster->main_bytes, suspect, ret_answer);

	r = count_losses(j, cluster, &lost_count, &lost_bytes);
	if (r == 0)
		r = find_holder_net(j, cluster, &holder_bytes, &known);
	if (r < 0)
		return r;
	net_count = (int64_t)(cluster->main_count - lost_count);
	net_bytes = cluster->main_bytes > lost_bytes ? cluster->main_bytes - lost_bytes : 0;
	suspect->net_bytes = net_bytes;
	if ((double)net_bytes <= REPLACED_SHARE * (double)cluster->main_bytes ||
	    (known && (double)holder_bytes <= REPLACED_SHARE * (double)cluster->main_bytes)) {
		*ret_answer = JUDGE_TURNOVER;
		return 0;
	}
	if (net_count <= 0 && cluster->main_count == 1)
		return judge_single(j, true, net_bytes, suspect, ret_answer);

	*ret_answer = weigh_evidence(j, &p, net_count, net_bytes, &confidence);
	if (*ret_answer != JUDGE_SUSPECT)
		return 0;
	text_printf(&reason, "%" PRIu64 " that were born since the first snapshot are still held", suspect->count);
	if (lost_count)
		text_printf(&reason, ", %" PRIu64 " older ones were freed", lost_count);
	if (is_full_cache(j, cluster, lost_count, &reason)) {
		verdict = SUSPECT_STABLE;
	} else if (is_filling_cache(j, cluster, &reason)) {
		verdict = SUSPECT_WARMING;
		confidence = SUSPECT_POSSIBLE;
	} else if (is_young(&p)) {
		verdict = SUSPECT_STABLE;
		confidence = SUSPECT_POSSIBLE;
		text_printf(&reason, "; %" PRIu64 " of them were born just before the last snapshot: work in "
			    "progress looks like this", p.young);
	} else if (trend->word == TREND_UNKNOWN && is_ending(j, &p)) {
		verdict = SUSPECT_WARMING;
		text_append(&reason, "; growth is ending");
		say_quarters(&p, &reason);
	} else {
		/* Never "certain": that word is kept for unreachable blocks, with its caveat. */
		bool little = confidence == SUSPECT_POSSIBLE;

		say_trend(j, trend, &verdict, &confidence, &reason);
		say_quarters(&p, &reason);
		if (little && verdict == SUSPECT_GROWING)
			text_append(&reason, "; that is too little to be sure of a trend");
	}
	return finish(suspect, verdict, confidence, &reason);
}

int judge_cluster(struct judge *j, const struct cluster *cluster, struct suspect *suspect,
		  enum judge_answer *ret_answer)
{
	if (cluster->unreachable)
		return judge_unreachable(j, cluster, suspect, ret_answer);
	return judge_held(j, cluster, suspect, ret_answer);
}
