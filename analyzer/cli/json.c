/* SPDX-License-Identifier: Apache-2.0
 * L2  json.c - the answers as JSON.
 *
 * Objects are put together from small makers, one a kind of thing. A maker that runs out of memory
 * gives NULL, and jansson refuses NULL members, so `missing` is looked at once, at the end. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/json_baseline.h"
#include "cli/json_account.h"
#include "cli/json_parts.h"
#include "cli/json_trend.h"
#include "cli/json_value.h"
#include "cli/rss.h"
#include "core/accept.h"
#include "core/account.h"
#include "core/ages.h"
#include "core/chain_set.h"
#include "core/diff.h"
#include "core/leaks.h"
#include "core/layout.h"
#include "core/names.h"
#include "core/picture.h"
#include "core/site_frame.h"
#include "core/suspects.h"

static bool missing;			/* something could not be allocated */

static void set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		missing = true;
}

static void append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		missing = true;
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);	/* beyond 2^63 bytes nothing is counted */
}

static json_t *numbers(const uint64_t *values, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		append(array, number(values[i]));
	return array;
}

static json_t *strings(const char *const *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		append(array, json_value_name(list[i]));
	return array;
}

static json_t *frame_object(const struct heap_frame *f)
{
	json_t *frame = json_object();

	set(frame, "function", json_value_name(f->function));
	set(frame, "file", json_value_name(f->file));
	set(frame, "line", number(f->line));	/* 0 = unknown, as "" above */
	set(frame, "module", json_value_name(f->module));
	set(frame, "language", json_value_name(f->language));
	set(frame, "inlined", json_boolean(f->inlined));
	return frame;
}

static json_t *frames(const struct heap *heap, uint32_t stack)
{
	json_t *array = json_array();

	if (stack >= heap->stack_count)
		return array;
	for (uint32_t i = 0; i < heap->stacks[stack].frame_count; i++)
		append(array, frame_object(&heap->frames[heap->stacks[stack].frames[i]]));
	return array;
}

static bool is_truncated(const struct heap *heap, uint32_t stack)
{
	return stack < heap->stack_count && heap->stacks[stack].truncated;
}

static json_t *chain_steps(const struct chain *chain)
{
	static const char *const roles[] = { "step", "root", "accumulates", "grew", "cut" };
	json_t *array = json_array();

	for (size_t i = 0; i < chain->count; i++) {
		const struct chain_step *s = &chain->steps[i];
		json_t *step = json_object();

		set(step, "type", json_value_name(s->type));
		set(step, "name", json_value_name(s->name));
		set(step, "detail", s->detail ? json_value_name(s->detail) : json_null());
		set(step, "size", number(s->size));
		set(step, "count", number(s->count));
		set(step, "bytes", number(s->bytes));
		set(step, "edge", json_value_name(s->edge));
		set(step, "role", json_string(roles[s->role]));
		set(step, "quality", s->quality ? json_string(s->quality) : json_null());
		append(array, step);
	}
	return array;
}

static json_t *holder(const struct heap *heap, uint32_t root, const struct chain *chain)
{
	char *found = root != HEAP_NONE ? chain_holder_name(heap, root, chain) : NULL;
	json_t *object = json_object();
	bool known = root != HEAP_NONE;
	const struct heap_root *r = known ? &heap->root[root] : NULL;

	set(object, "kind", json_string(known ? names_root_kind(r->kind) : "none"));
	set(object, "name", found ? json_value_name(found) : json_null());
	free(found);
	set(object, "type", known && r->layout ? json_value_name(heap->layouts->layouts[r->layout].name) : json_null());
	set(object, "module", known ? json_value_known(r->module) : json_null());
	set(object, "thread", known ? json_value_known(r->thread) : json_null());
	return object;
}

static json_t *snapshot(const struct heap *heap)
{
	const struct heap_meta *m = &heap->meta;
	json_t *o = json_object();

	set(o, "path", json_value_name(m->path));
	set(o, "pid", number(m->pid));
	set(o, "command", json_value_name(m->command));
	set(o, "exe", json_value_known(m->exe));
	set(o, "taken", json_value_time(m->taken_ns));
	set(o, "uptime_s", json_real(m->uptime_s));
	set(o, "mode", json_value_known(m->mode));
	set(o, "pause_ms", json_real((double)m->pause_ns / 1e6));
	set(o, "blocks", number(m->blocks));
	set(o, "bytes", number(m->bytes));
	set(o, "mappings", number(m->mappings));
	set(o, "mapped_bytes", number(m->mapped_bytes));
	set(o, "objects", number(m->objects));
	set(o, "object_bytes", number(m->object_bytes));
	set(o, "rss_bytes", number(m->rss_bytes));
	set(o, "own_bytes", number(m->own_bytes));
	set(o, "lost_events", number(m->lost_events));
	set(o, "consistent", json_boolean(m->consistent));
	set(o, "python", json_value_known(m->python));
	set(o, "gc_enabled", m->gc_enabled < 0 ? json_null() : json_boolean(m->gc_enabled));
	set(o, "notes", strings(m->notes, m->note_count));
	return o;
}

static json_t *growth_row(const struct diff *diff, const struct diff_row *row)
{
	json_t *o = json_object();

	set(o, "type", json_value_name(row->type));
	set(o, "type_source", json_string(names_type_source(row->source)));
	set(o, "size", row->exact ? number(row->size) : json_null());
	set(o, "count", numbers(row->count, diff->heap_count));
	set(o, "bytes", numbers(row->bytes, diff->heap_count));
	set(o, "new_count", number(row->new_count));
	set(o, "new_bytes", number(row->new_bytes));
	if (diff->heap_count > 2) {
		set(o, "survivor_count", number(row->survivor_count));
		set(o, "survivor_bytes", number(row->survivor_bytes));
	}
	set(o, "state", json_string(diff_state_name(row->state)));
	if (row->stack_heap)
		set(o, "stack", frames(row->stack_heap, row->stack));
	return o;
}

static json_t *site_list(const struct heap *heap, const struct suspect_site *list, size_t count)
{
	json_t *sites = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *site = json_object();

		set(site, "count", number(list[i].count));
		set(site, "bytes", number(list[i].bytes));
		set(site, "truncated", json_boolean(is_truncated(heap, list[i].stack)));
		set(site, "stack", frames(heap, list[i].stack));
		append(sites, site);
	}
	return sites;
}

/* The application's own frame of the heaviest site. */
static json_t *responsible(const struct heap *heap, const struct suspect *s)
{
	uint32_t stack = s->site_count ? s->sites[0].stack : HEAP_NONE;

	if (stack >= heap->stack_count || !heap->stacks[stack].frame_count)
		return json_null();
	return frame_object(&heap->frames[heap->stacks[stack].frames[site_frame_application(heap, stack)]]);
}

static json_t *suspect_object(const struct series *series, const struct suspect *s, size_t rank)
{
	const struct heap *heap = series_last(series)->heap;
	json_t *o = json_object(), *point;

	set(o, "rank", number(rank));
	set(o, "verdict", json_string(suspect_verdict_name(s->verdict)));
	set(o, "confidence", json_string(suspect_confidence_name(s->confidence)));
	set(o, "reason", json_value_name(s->reason));
	set(o, "type", json_value_name(s->type));
	set(o, "count", number(s->count));
	set(o, "type_count", number(s->kinds > 1 ? s->type_count : s->count));
	set(o, "kinds", number(s->kinds ? s->kinds : 1));
	set(o, "bytes", number(s->bytes));
	set(o, "retained_bytes", number(s->retained_bytes));
	set(o, "sites", site_list(heap, s->sites, s->site_count));
	set(o, "companions", site_list(heap, s->companions, s->companion_count));
	set(o, "holder", holder(heap, s->root, &s->chain));
	set(o, "responsible", responsible(heap, s));
	if (s->point_type) {
		point = json_object();
		set(point, "type", json_value_name(s->point_type));
		set(point, "name", json_value_name(s->point_name));
		set(point, "detail", s->point_detail ? json_value_name(s->point_detail) : json_null());
		set(point, "children", number(s->children));
		set(o, "accumulates_in", point);
	} else {
		set(o, "accumulates_in", json_null());
	}
	set(o, "chain", chain_steps(&s->chain));
	set(o, "cycle", s->cycle.count ? chain_steps(&s->cycle) : json_null());
	missing |= json_add_trend(o, series, s) < 0;
	return o;
}

static json_t *new_answer(void)
{
	json_t *answer = json_object();

	missing = false;
	set(answer, "schema", json_integer(1));
	return answer;
}

static int write_answer(json_t *answer)
{
	int r = 0;

	if (missing || !answer)
		r = -ENOMEM;
	else if (json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) < 0 || putchar('\n') == EOF)
		r = ferror(stdout) ? 0 : -ENOMEM;	/* cmd_finish() says why writing failed */
	json_decref(answer);
	return r;
}

json_t *json_make_diff(const struct series *series, const struct diff *diff, const struct suspects *suspects,
		       const struct acceptance *acceptance, size_t limit)
{
	json_t *answer = new_answer(), *array;

	array = json_array();
	for (size_t k = 0; k < series->count; k++)
		append(array, snapshot(series->heaps[k].heap));
	set(answer, "snapshots", array);

	array = json_array();
	for (size_t i = 0; i < diff->row_count && i < limit; i++)
		append(array, growth_row(diff, &diff->rows[i]));
	set(answer, "growth", array);
	set(answer, "growth_rows_not_shown",
	    number(diff->hidden_rows + (diff->row_count > limit ? diff->row_count - limit : 0)));

	array = json_array();
	for (size_t i = 0; i < suspects->count; i++)
		append(array, suspect_object(series, &suspects->list[i], i + 1));
	set(answer, "suspects", array);

	array = json_array();
	for (size_t k = 0; k < series->count; k++)
		append(array, json_account(series->heaps[k].heap));
	set(answer, "rss", array);
	set(answer, "notes", strings((const char *const *)suspects->notes, suspects->note_count));
	missing |= json_add_outlook(answer, series, suspects) < 0;
	set(answer, "suppressed", json_of_suppressions(acceptance->suppressions));
	set(answer, "accepted", json_of_baseline(acceptance->baseline));
	set(answer, "unaccepted_bytes", number(acceptance->unaccepted_bytes));
	if (!missing)
		return answer;
	json_decref(answer);
	return NULL;
}

json_t *json_make_snapshot(const struct heap *heap)
{
	json_t *object;

	missing = false;
	object = snapshot(heap);
	if (!missing)
		return object;
	json_decref(object);
	return NULL;
}

int json_write_diff(const struct series *series, const struct diff *diff, const struct suspects *suspects,
		    const struct acceptance *acceptance, size_t limit)
{
	return write_answer(json_make_diff(series, diff, suspects, acceptance, limit));
}

int json_write_top(const struct series *series, const struct diff *diff, const struct ages *ages, size_t limit)
{
	json_t *answer = new_answer(), *rows = json_array();

	set(answer, "snapshot", snapshot(series_last(series)->heap));
	for (size_t i = 0; i < diff->row_count && i < limit; i++) {
		const struct diff_row *row = &diff->rows[i];
		double age = series_age_s(series, row->oldest_birth);
		json_t *o = json_object();

		set(o, "type", json_value_name(row->type));
		set(o, "type_source", json_string(names_type_source(row->source)));
		set(o, "size", row->exact ? number(row->size) : json_null());
		set(o, "count", number(row->count[0]));
		set(o, "bytes", number(row->bytes[0]));
		set(o, "retained_bytes", number(row->retained_bytes));
		set(o, "oldest_s", age < 0 ? json_null() : json_real(age));
		age = series_age_s(series, row->newest_birth);
		set(o, "newest_s", age < 0 ? json_null() : json_real(age));
		set(o, "born", ages ? numbers(ages[i].count, 4) : json_null());
		set(o, "age_profile", ages && ages_name(ages[i].word) ? json_string(ages_name(ages[i].word)) : json_null());
		set(o, "state", json_string(diff_state_name(row->state)));
		if (row->stack_heap)
			set(o, "stack", frames(row->stack_heap, row->stack));
		append(rows, o);
	}
	set(answer, "rows", rows);
	set(answer, "rows_not_shown",
	    number(diff->hidden_rows + (diff->row_count > limit ? diff->row_count - limit : 0)));
	return write_answer(answer);
}

static json_t *leak_entries(const struct heap *heap, const struct leak_list *leaks, const struct leak_entry *list,
			    size_t count, const char *reason)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct leak_entry *e = &list[i];
		json_t *o = json_object();

		set(o, "type", json_value_name(e->type));
		set(o, "size", number(e->size));
		set(o, "count", number(e->count));
		set(o, "bytes", number(e->bytes));
		set(o, "direct", json_boolean(e->direct));
		set(o, "cycle", json_boolean(e->cycle));
		set(o, "confidence", json_string(leaks->confidence));
		set(o, "reason", json_value_name(reason ? reason : e->python ? leaks->python_reason : leaks->reason));
		set(o, "truncated", json_boolean(is_truncated(heap, e->stack)));
		set(o, "stack", frames(heap, e->stack));
		append(array, o);
	}
	return array;
}

int json_write_growth(const struct series *series, const struct diff *diff)
{
	json_t *answer = new_answer(), *snapshots = json_array(), *rows = json_array();

	for (size_t k = 0; k < series->count; k++)
		append(snapshots, snapshot(series->heaps[k].heap));
	for (size_t i = 0; i < diff->row_count; i++)
		append(rows, growth_row(diff, &diff->rows[i]));
	set(answer, "snapshots", snapshots);
	set(answer, "rows", rows);
	set(answer, "rows_not_shown", number(diff->hidden_rows));
	return write_answer(answer);
}

int json_write_leaks(const struct series *series, const struct leak_list *leaks,
		     const struct suppressions *suppressions, size_t limit)
{
	const struct heap *heap = series_last(series)->heap;
	json_t *answer = new_answer();

	set(answer, "notes", strings(heap->meta.notes, heap->meta.note_count));
	set(answer, "leaks", leak_entries(heap, leaks, leaks->entries, leaks->count < limit ? leaks->count : limit, NULL));
	set(answer, "garbage", leak_entries(heap, leaks, leaks->garbage, leaks->garbage_count < limit ? leaks->garbage_count : limit,
					    LEAKS_WAITING));
	set(answer, "suppressed", json_of_suppressions(suppressions));
	return write_answer(answer);
}

int json_write_chains(const struct chain_set *chains)
{
	json_t *answer = new_answer(), *array = json_array();

	for (size_t i = 0; i < chains->count; i++) {
		const struct chain_entry *e = &chains->entries[i];
		json_t *o = json_object();

		set(o, "addr", json_value_address(chains->heap->addr[e->node]));
		set(o, "type", json_value_name(e->type));
		set(o, "size", number(chains->heap->bytes[e->node]));
		set(o, "state", json_string(e->unreachable ? "unreachable" : "referenced"));
		set(o, "holder", holder(chains->heap, e->root, &e->chain));
		set(o, "chain", chain_steps(&e->chain));
		append(array, o);
	}
	set(answer, "chains", array);
	set(answer, "matched", number(chains->matched));
	return write_answer(answer);
}

static json_t *grown_details(const struct heap_details *first, const struct heap_details *last)
{
	json_t *o = json_object();

#define X(part, name, text) set(o, #part "_" #name "_bytes", number(last->part##_##name - first->part##_##name));
	HEAP_DETAILS(X)
#undef X
	return o;
}

int json_write_rss(const struct rss *rss)
{
	const struct heap_account *first = &rss->heaps[0]->account, *last = &rss->heaps[rss->count - 1]->account;
	json_t *answer = new_answer(), *snapshots = json_array(), *accounts = json_array(), *grown = json_null();
	json_t *others = json_array(), *swapped = json_array();

	for (size_t k = 0; k < rss->count; k++) {
		append(snapshots, snapshot(rss->heaps[k]));
		append(accounts, json_account(rss->heaps[k]));
		append(others, number(rss->mappings[k].others_bytes));
		append(swapped, number(rss->mappings[k].swap_bytes));
	}
	if (rss->count > 1) {
		grown = json_object();
		for (const struct account_part *part = account_parts; part->key; part++)
			set(grown, part->key, number(account_value(last, part) - account_value(first, part)));
		set(grown, "total_bytes", number(last->total_bytes - first->total_bytes));
		set(grown, "details", grown_details(&rss->heaps[0]->details, &rss->heaps[1]->details));
	}
	set(answer, "snapshots", snapshots);
	set(answer, "rss", accounts);
	set(answer, "growth", grown);
	set(answer, "others_share_bytes", others);
	set(answer, "swapped_bytes", swapped);
	set(answer, "arenas", strings((const char *const *)rss->arenas.lines, rss->arenas.line_count));
	set(answer, "advice", strings((const char *const *)rss->arenas.advice, rss->arenas.advice_count));
	set(answer, "notes", strings((const char *const *)rss->notes, rss->note_count));
	return write_answer(answer);
}

int json_write_text(FILE *out, const char *text)
{
	json_t *value = json_value_name(text);
	int r = value ? 0 : -ENOMEM;

	if (value && json_dumpf(value, out, JSON_ENCODE_ANY) < 0 && !ferror(out))
		r = -ENOMEM;
	json_decref(value);
	return r;
}

int json_write_picture(const struct picture *picture)
{
	static const char *const roles[] = {
		[PICTURE_PLAIN] = "plain", [PICTURE_ROOT] = "root", [PICTURE_ACCUMULATES] = "accumulates",
		[PICTURE_GREW] = "object", [PICTURE_UNREACHABLE] = "unreachable", [PICTURE_CUT] = "cut",
	};
	json_t *answer = new_answer(), *array = json_array();

	for (size_t i = 0; i < picture->node_count; i++) {
		const struct picture_node *n = &picture->nodes[i];
		json_t *o = json_object();

		set(o, "type", json_value_name(n->type));
		set(o, "name", json_value_name(n->name));
		set(o, "addr", n->addr ? json_value_address(n->addr) : json_null());
		set(o, "count", number(n->count));
		set(o, "bytes", number(n->bytes));
		set(o, "role", json_string(roles[n->role]));
		append(array, o);
	}
	set(answer, "nodes", array);
	array = json_array();
	for (size_t i = 0; i < picture->edge_count; i++) {
		const struct picture_edge *e = &picture->edges[i];
		json_t *o = json_object();

		set(o, "from", number(e->from));
		set(o, "to", number(e->to));
		set(o, "label", json_value_name(e->label));
		set(o, "count", number(e->count));
		set(o, "interior", json_boolean(e->conservative));
		append(array, o);
	}
	set(answer, "edges", array);
	set(answer, "left_out", strings((const char *const *)picture->left_out, picture->left_out_count));
	return write_answer(answer);
}
