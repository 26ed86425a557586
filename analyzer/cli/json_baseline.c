/* SPDX-License-Identifier: Apache-2.0
 * L2  json_baseline.c - accepted growth as JSON. */
#include "cli/json_baseline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_value.h"
#include "core/accept.h"
#include "core/text.h"

#define VERSION 1

/* ---- reading -------------------------------------------------------------------------------- */

/* A member that is text or missing. */
static int take_text(const json_t *object, const char *key, char **ret_text)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return -EINVAL;
	*ret_text = strdup(json_string_value(value));
	return *ret_text ? 0 : -ENOMEM;
}

/* A member that is an amount or missing, which is UINT64_MAX. */
static int take_amount(const json_t *object, const char *key, uint64_t *ret_amount)
{
	const json_t *value = json_object_get(object, key);

	*ret_amount = UINT64_MAX;
	if (!value || json_is_null(value))
		return 0;
	if (json_is_string(value))
		return text_parse_size(json_string_value(value), ret_amount);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EINVAL;
	*ret_amount = (uint64_t)json_integer_value(value);
	return 0;
}

static int take_entry(const json_t *object, struct allowance *entry)
{
	int r = json_is_object(object) ? take_text(object, "type", &entry->type) : -EINVAL;

	if (r == 0)
		r = take_text(object, "site", &entry->site);
	if (r == 0)
		r = take_text(object, "comment", &entry->comment);
	if (r == 0)
		r = take_amount(object, "bytes", &entry->bytes);
	if (r == 0)
		r = take_amount(object, "count", &entry->count);
	if (r == 0 && ((entry->bytes == UINT64_MAX && entry->count == UINT64_MAX) || (!entry->type && !entry->site)))
		r = -EINVAL;
	return r;
}

static int take_entries(const json_t *file, struct baseline *b, char **ret_error)
{
	const json_t *array = json_object_get(file, "accepted");
	json_int_t version = json_integer_value(json_object_get(file, "leakdiff_baseline"));

	if (version != VERSION || !json_is_array(array)) {
		*ret_error = version > VERSION ?
			text_format("%s was written by a newer leakdiff (version %" JSON_INTEGER_FORMAT ")", b->path, version) :
			text_format("%s is no baseline: leakdiff diff --write-baseline makes one", b->path);
		return -EINVAL;
	}
	b->list = calloc(json_array_size(array) + 1, sizeof(*b->list));
	if (!b->list)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(array); i++) {
		int r = take_entry(json_array_get(array, i), &b->list[b->count++]);

		if (r == -EINVAL)
			*ret_error = text_format("%s: entry %zu of \"accepted\" should have a type or a site (text), and "
						 "bytes or count", b->path, i + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

int json_read_baseline(const char *path, struct baseline **ret_baseline, char **ret_error)
{
	struct baseline *b = calloc(1, sizeof(*b));
	json_error_t error;
	json_t *file = NULL;
	int r = -ENOMEM;

	*ret_error = NULL;
	if (b)
		b->path = strdup(path);
	if (b && b->path) {
		file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
		if (!file)
			*ret_error = error.line > 0 ? text_format("%s:%d: %s", path, error.line, error.text) :
						      text_format("%s", error.text);
		r = file ? take_entries(file, b, ret_error) : -EINVAL;
	}
	json_decref(file);
	if (r < 0) {
		if (!*ret_error)
			*ret_error = text_format("%s cannot be read: %s", path, strerror(-r));
		baseline_free(b);
		return r;
	}
	*ret_baseline = b;
	return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* A name that must come back as it is. JSON escapes what a terminal or an editor might obey; what is no
 * UTF-8 cannot be written and is escaped before, so such a name matches by a glob only. */
static json_t *exact(const char *name)
{
	json_t *value = json_string(name);

	return value ? value : json_value_name(name);
}

static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static json_t *entry_object(const struct allowance *entry)
{
	json_t *o = json_object();
	int r = o ? 0 : -ENOMEM;

	if (r == 0 && entry->type)
		r = set(o, "type", exact(entry->type));
	if (r == 0 && entry->site)
		r = set(o, "site", exact(entry->site));
	if (r == 0 && entry->bytes != UINT64_MAX)
		r = set(o, "bytes", json_integer((json_int_t)entry->bytes));
	if (r == 0 && entry->count != UINT64_MAX)
		r = set(o, "count", json_integer((json_int_t)entry->count));
	if (r == 0 && entry->comment)
		r = set(o, "comment", exact(entry->comment));
	if (r < 0)
		json_decref(o);
	return r < 0 ? NULL : o;
}

int json_write_baseline(FILE *out, const struct baseline *baseline)
{
	fprintf(out, "{\n  \"leakdiff_baseline\": %d,\n  \"accepted\": [", VERSION);
	for (size_t i = 0; i < baseline->count; i++) {
		json_t *o = entry_object(&baseline->list[i]);

		if (!o)
			return -ENOMEM;
		fputs(i ? ",\n    " : "\n    ", out);
		json_dumpf(o, out, JSON_ENSURE_ASCII);	/* what is wrong with `out` its closer is told */
		json_decref(o);
	}
	fputs(baseline->count ? "\n  ]\n}\n" : "]\n}\n", out);
	return 0;
}

/* ---- in an answer --------------------------------------------------------------------------- */

json_t *json_of_baseline(const struct baseline *baseline)
{
	json_t *array = json_array();

	for (size_t i = 0; baseline && i < baseline->count; i++) {
		const struct allowance *entry = &baseline->list[i];
		json_t *o = json_object();
		int r = set(o, "type", json_value_name(entry->type));

		r |= set(o, "site", json_value_name(entry->site));
		r |= set(o, "allowed_bytes", entry->bytes == UINT64_MAX ? json_null() :
			 json_integer((json_int_t)entry->bytes));
		r |= set(o, "allowed_count", entry->count == UINT64_MAX ? json_null() :
			 json_integer((json_int_t)entry->count));
		r |= set(o, "count", json_integer((json_int_t)entry->used_count));
		r |= set(o, "bytes", json_integer((json_int_t)entry->used_bytes));
		if (r < 0 || json_array_append_new(array, o) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

json_t *json_of_suppressions(const struct suppressions *suppressions)
{
	json_t *array = json_array();

	for (size_t i = 0; suppressions && i < suppressions->count; i++) {
		const struct suppression *s = &suppressions->list[i];
		json_t *o = json_object();
		int r = set(o, "pattern", json_value_name(s->pattern));

		r |= set(o, "count", json_integer((json_int_t)s->count));
		r |= set(o, "bytes", json_integer((json_int_t)s->bytes));
		if (r < 0 || json_array_append_new(array, o) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}
