/* SPDX-License-Identifier: Apache-2.0
 * L4  json_watch.c - one object a line. */
#include "cli/json_watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_parts.h"
#include "cli/json_value.h"
#include "cli/watch.h"
#include "core/series.h"

static int write_line(json_t *object, bool whole)
{
	int r = object && whole ? 0 : -ENOMEM;

	if (r == 0 && json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10)) < 0 && !ferror(stdout))
		r = -ENOMEM;
	json_decref(object);
	putchar('\n');
	fflush(stdout);
	return r;
}

static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static json_t *new_event(const struct watch *w, const char *event)
{
	json_t *object = json_object();

	if (set(object, "schema", json_integer(1)) < 0 || set(object, "event", json_string(event)) < 0 ||
	    set(object, "pid", json_integer(w->pid)) < 0 ||
	    set(object, "round", json_integer((json_int_t)(w->taken + w->refused))) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *paths_of(const struct watch *w)
{
	json_t *array = json_array();

	for (size_t i = 0; i < w->kept_count; i++)
		json_array_append_new(array, json_value_name(w->kept[i].taken.path));
	return array;
}

int json_watch_round(const struct watch *w, const struct series *series, const struct diff *diff,
		     const struct suspects *suspects, const struct acceptance *acceptance)
{
	const struct taken *taken = &w->kept[w->kept_count - 1].taken;
	json_t *object = new_event(w, "snapshot"), *answer, *snapshots;
	int r = object ? 0 : -ENOMEM;

	if (r == 0)
		r = set(object, "path", json_value_name(taken->path));
	if (r == 0)
		r = set(object, "seconds", json_real(taken->seconds));
	if (r == 0 && diff) {
		answer = json_make_diff(series, diff, suspects, acceptance, w->rows);
		r = answer ? json_object_update(object, answer) : -ENOMEM;
		json_decref(answer);
	} else if (r == 0) {
		snapshots = json_array();
		json_array_append_new(snapshots, json_make_snapshot(series_last(series)->heap));
		r = set(object, "snapshots", snapshots);
		r |= set(object, "growth", json_array());
		r |= set(object, "suspects", json_array());
	}
	return write_line(object, r == 0);
}

void json_watch_trouble(const struct watch *w, const char *sentence)
{
	json_t *object = new_event(w, "trouble");

	if (write_line(object, object && set(object, "error", json_value_name(sentence)) == 0) < 0)
		fputs("leakdiff: there is not enough memory\n", stderr);
}

void json_watch_deleted(const struct watch *w, const char *path, const char *error)
{
	json_t *object = new_event(w, "deleted");
	int r = object ? set(object, "path", json_value_name(path)) : -ENOMEM;

	if (r == 0)
		r = set(object, "error", json_value_name(error));
	if (write_line(object, r == 0) < 0)
		fputs("leakdiff: there is not enough memory\n", stderr);
}

void json_watch_end(const struct watch *w, const char *reason)
{
	json_t *object = new_event(w, "end");
	int r = object ? set(object, "reason", json_string(reason)) : -ENOMEM;

	if (r == 0)
		r = set(object, "taken", json_integer((json_int_t)w->taken));
	if (r == 0)
		r = set(object, "refused", json_integer((json_int_t)w->refused));
	if (r == 0)
		r = set(object, "deleted", json_integer((json_int_t)w->deleted));
	if (r == 0)
		r = set(object, "kept", paths_of(w));
	if (write_line(object, r == 0) < 0)
		fputs("leakdiff: there is not enough memory\n", stderr);
}
