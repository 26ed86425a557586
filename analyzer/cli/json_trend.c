/* SPDX-License-Identifier: Apache-2.0
 * L1  json_trend.c - see json_trend.h. */
#include "cli/json_trend.h"

#include <errno.h>
#include <stdbool.h>

#include "cli/json_value.h"
#include "core/names.h"
#include "core/rate.h"
#include "core/suspects.h"

static json_t *known(double value)
{
	return value < 0 ? json_null() : json_real(value);
}

static json_t *numbers(const uint64_t *values, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(array, json_integer((json_int_t)values[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *history(const struct series *series, const struct trend *trend)
{
	if (!trend || !trend->bytes)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:s}", "count", numbers(trend->count, series->count),
			 "bytes", numbers(trend->bytes, series->count),
			 "born", series->same_process ? numbers(trend->born, series->count) : json_null(),
			 "followed_by", trend->by_type ? "type" : "holder and type");
}

static json_t *holders(const struct heap *heap, const struct suspect *s)
{
	json_t *array = json_array();

	for (uint32_t i = 0; s->holders && i < s->holders->count; i++) {
		const struct holder *h = &s->holders->list[i];
		const struct heap_root *root = &heap->root[h->root];

		if (json_array_append_new(array, json_pack("{s:s, s:o, s:o, s:I, s:I}", "kind", names_root_kind(root->kind),
							   "name", json_value_name(root->name),
							   "thread", json_value_known(root->thread),
							   "count", (json_int_t)h->count, "bytes", (json_int_t)h->bytes)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* What the trend is called; two snapshots have what their one step looks like. */
static const char *trend_word(const struct suspect *s)
{
	if (s->trend && s->trend->word != TREND_UNKNOWN && s->verdict != SUSPECT_WARMING)
		return trend_name(s->trend->word);
	switch (s->verdict) {
	case SUSPECT_GROWING:
		return trend_name(TREND_GROWING);
	case SUSPECT_WARMING:
		return trend_name(TREND_WARMING);
	case SUSPECT_STABLE:
		return trend_name(TREND_STABLE);
	case SUSPECT_UNREACHABLE:
	case SUSPECT_ALLOCATOR:
		break;
	}
	return NULL;
}

int json_add_trend(json_t *object, const struct series *series, const struct suspect *s)
{
	const struct heap *heap = series_last(series)->heap;
	const char *word = trend_word(s), *only = suspect_weak_root(series, s);
	struct rate rate = rate_of(series, s->net_bytes ? s->net_bytes : s->bytes);
	int r = 0;

	r |= json_object_set_new(object, "trend", word ? json_string(word) : json_null());
	r |= json_object_set_new(object, "history", history(series, s->trend));
	r |= json_object_set_new(object, "bytes_per_hour", known(rate.bytes_per_hour));
	r |= json_object_set_new(object, "bytes_per_unit", known(rate.bytes_per_unit));
	r |= json_object_set_new(object, "places", json_integer(s->cluster ? s->cluster->place_count + 1 : 0));
	r |= json_object_set_new(object, "holders", holders(heap, s));
	r |= json_object_set_new(object, "shared_bytes", json_integer(s->holders ? (json_int_t)s->holders->shared_bytes : 0));
	r |= json_object_set_new(object, "held_only_by", only ? json_string(only) : json_null());
	return r ? -ENOMEM : 0;
}

int json_add_outlook(json_t *answer, const struct series *series, const struct suspects *suspects)
{
	struct outlook o = rate_outlook(series);
	const struct suspects_cover *c = &suspects->cover;
	int r = 0;

	r |= json_object_set_new(answer, "outlook", json_pack(
		"{s:o, s:o, s:s?, s:o, s:o}", "rss_bytes_per_hour", known(o.rate.bytes_per_hour),
		"rss_bytes_per_unit", known(o.rate.bytes_per_unit), "unit", series->limits.unit,
		"limit_bytes", o.limit_bytes ? json_integer((json_int_t)o.limit_bytes) : json_null(),
		"limit_in_s", known(o.seconds)));
	r |= json_object_set_new(answer, "cover", json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I}", "grown_bytes", (json_int_t)c->grown, "first_suspects_bytes", (json_int_t)c->first,
		"other_suspects_bytes", (json_int_t)c->others, "replaced_bytes", (json_int_t)c->turnover,
		"no_trend_bytes", (json_int_t)c->noise, "spread_bytes", (json_int_t)c->thin));
	return r ? -ENOMEM : 0;
}
