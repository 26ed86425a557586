/* SPDX-License-Identifier: Apache-2.0
 * L2  report.c - the answers as text.
 *
 * The order is that of the questions of somebody who was woken up: did it grow, what, who holds it,
 * who allocated it, how sure is that; then where resident memory is; then what is uncertain. Names
 * from memory are escaped here, at the last moment. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/report.h"
#include "cli/report_trend.h"
#include "cli/table.h"
#include "core/account.h"
#include "core/ages.h"
#include "core/names.h"
#include "core/site_frame.h"
#include "core/text.h"

#define SITES_SHOWN 3			/* of a suspect; the rest is counted */
#define FRAMES_SHOWN 8

enum ink { INK_BOLD, INK_RED, INK_YELLOW, INK_GREEN, INK_DIM, INK_NONE };

static const char *ink(enum ink ink)
{
	static const char *const codes[] = { "\033[1m", "\033[1;31m", "\033[33m", "\033[32m", "\033[2m", "\033[0m" };

	return cmd_colour() ? codes[ink] : "";
}

static void put_escaped(FILE *out, const char *name)
{
	char *escaped = text_escape(name);

	fputs(escaped ? escaped : "?", out);
	free(escaped);
}

/* So many bytes of it. */
static void put_first(FILE *out, const char *name, size_t length)
{
	char *first = strndup(name, length);

	put_escaped(out, first ? first : "?");
	free(first);
}

static char *signed_size(int64_t bytes, char buffer[TEXT_SIZE])
{
	char plain[TEXT_SIZE];

	text_size(bytes, plain);
	snprintf(buffer, TEXT_SIZE, "%s%.*s", bytes > 0 ? "+" : "", TEXT_SIZE - 2, plain);
	return buffer;
}

static char *signed_count(int64_t count, char buffer[TEXT_SIZE])
{
	char plain[TEXT_SIZE];

	text_count(count, plain);
	snprintf(buffer, TEXT_SIZE, "%s%.*s", count > 0 ? "+" : "", TEXT_SIZE - 2, plain);
	return buffer;
}

void report_command(FILE *out, const struct heap_meta *meta)
{
	const char *command = meta->command && *meta->command ? meta->command : "the process";
	size_t length = strcspn(command, " ");
	/* "nginx: worker process" is what a program calls itself */
	char *word = strndup(command, length > 1 && command[length - 1] == ':' ? length - 1 : length);
	const char *slash = word ? strrchr(word, '/') : NULL;

	put_escaped(out, slash && slash[1] ? slash + 1 : word ? word : command);
	free(word);
}

char *report_duration(double seconds, char *buffer)
{
	if (seconds < 0)
		snprintf(buffer, TEXT_SIZE, "?");
	else if (seconds < 1)
		snprintf(buffer, TEXT_SIZE, "%.0f ms", seconds * 1000);
	else if (seconds < 100)
		snprintf(buffer, TEXT_SIZE, "%.1f s", seconds);
	else if (seconds < 3600)
		snprintf(buffer, TEXT_SIZE, "%d min %d s", (int)seconds / 60, (int)seconds % 60);
	else if (seconds < 86400)
		snprintf(buffer, TEXT_SIZE, "%d h %d min", (int)seconds / 3600, (int)seconds % 3600 / 60);
	else
		snprintf(buffer, TEXT_SIZE, "%.0f d %d h", floor(seconds / 86400), (int)(seconds / 3600) % 24);
	return buffer;
}

/* Where a person's code begins: what is outside of it starts every stack alike. */
static bool is_outermost(const struct heap_frame *frame)
{
	return !strcmp(frame->function, "main") || !strcmp(frame->function, "start_thread");
}

void report_stack(FILE *out, const struct heap *heap, uint32_t stack, size_t indent, size_t column)
{
	struct text line = { 0 };
	uint32_t first = 0, end, shown = 0;

	if (stack >= heap->stack_count || !heap->stacks[stack].frame_count) {
		fputs("(no stack was recorded)\n", out);
		return;
	}
	const struct heap_stack *s = &heap->stacks[stack];
	while (first + 1 < s->frame_count && site_frame_is_library(&heap->frames[s->frames[first]]))
		first++;
	for (end = first; end < s->frame_count && !is_outermost(&heap->frames[s->frames[end]]);)
		end++;
	if (end < s->frame_count)
		end++;
	for (uint32_t i = first; i < end && shown < FRAMES_SHOWN; i++, shown++) {
		const struct heap_frame *f = &heap->frames[s->frames[i]];
		struct text frame = { 0 };

		if (shown && !f->line && *f->module && !strcmp(f->module, heap->frames[s->frames[i - 1]].module))
			text_append(&frame, f->function);	/* the frame before has said in which module */
		else
			names_frame(&frame, f);
		if (shown)
			text_append(&line, " < ");
		if (frame.data)
			text_append_escaped(&line, frame.data);
		text_done(&frame);
	}
	if (end - first > shown)
		text_printf(&line, " < (%" PRIu32 " more)", end - first - shown);
	if (s->truncated)
		text_append(&line, " < (cut at the depth limit)");
	if (line.data)
		table_wrap(out, line.data, indent, column);
	text_done(&line);
}

void report_chain(FILE *out, const struct chain *chain, size_t indent)
{
	char size[TEXT_SIZE], count[TEXT_SIZE];

	for (size_t i = 0; i < chain->count; i++) {
		const struct chain_step *step = &chain->steps[i];

		if (chain_is_own(chain, i))
			continue;
		if (i)
			fprintf(out, "%*s", (int)indent, "");
		if (i && chain->steps[i - 1].edge) {
			fputs("-> ", out);
			if (*chain->steps[i - 1].edge) {
				fputs(ink(INK_DIM), out);
				put_escaped(out, chain->steps[i - 1].edge);
				if (step->detail)
					fprintf(out, " (%s)", step->detail);
				fprintf(out, "%s  ", ink(INK_NONE));
			}
		}
		if (step->role == CHAIN_GREW)
			fputs(ink(INK_RED), out);
		else if (step->role == CHAIN_POINT || step->role == CHAIN_ROOT)
			fputs(ink(INK_BOLD), out);
		if (i && chain->steps[i - 1].edge && (*chain->steps[i - 1].edge == '.' || *chain->steps[i - 1].edge == '['))
			put_first(out, step->type, names_type_length(step->type));	/* the field says what the site would */
		else
			put_escaped(out, step->type);
		if (step->name) {
			putc(' ', out);
			put_escaped(out, step->name);
		}
		fputs(ink(INK_NONE), out);
		if (step->count > 1)
			fprintf(out, "  x %s, %s", text_count((int64_t)step->count, count),
				text_size((int64_t)step->bytes, size));
		putc('\n', out);
	}
}

/* How many later snapshots have the same note; SIZE_MAX = an earlier one has, and has said it. */
static size_t sharing(const struct series *series, size_t k, const char *note)
{
	size_t others = 0;

	for (size_t other = 0; other < series->count; other++)
		for (size_t i = 0; i < series->heaps[other].heap->meta.note_count; i++) {
			if (other == k || strcmp(series->heaps[other].heap->meta.notes[i], note) != 0)
				continue;
			if (other < k)
				return SIZE_MAX;
			others++;
			break;
		}
	return others;
}

void report_limits(FILE *out, const struct series *series)
{
	for (size_t k = 0; k < series->count; k++) {
		const struct heap_meta *m = &series->heaps[k].heap->meta;
		const char *slash = strrchr(m->path ? m->path : "", '/');
		const char *base = slash ? slash + 1 : m->path ? m->path : "snapshot";

		if (m->lost_events) {
			put_escaped(out, base);
			fprintf(out, ": %" PRIu64 " events were lost before it: counts may be wrong by as many\n",
				m->lost_events);
		}
		if (!m->consistent) {
			put_escaped(out, base);
			fputs(": not all threads were stopped: a reference that moved meanwhile may be missing\n", out);
		}
		for (size_t i = 0; i < m->note_count; i++) {
			size_t others = sharing(series, k, m->notes[i]);

			if (others == SIZE_MAX)
				continue;
			put_escaped(out, base);
			if (others)
				fprintf(out, " and %zu other%s", others, others == 1 ? "" : "s");
			fputs(": ", out);
			put_escaped(out, m->notes[i]);
			putc('\n', out);
		}
	}
}

/* The type of a row; a site's name holds the size already, others get it here. NULL = no memory. */
static char *row_type(const struct diff_row *row)
{
	struct text text = { 0 };
	char size[TEXT_SIZE];

	text_append_escaped(&text, row->type);
	if (row->exact && row->source != HEAP_TYPE_SITE && !row->type[names_type_length(row->type)])
		text_printf(&text, " (%s each)", text_size((int64_t)row->size, size));
	return text_take(&text);
}

/* ---- diff ----------------------------------------------------------------------------------- */

void report_headline(FILE *out, const struct series *series, const struct diff *diff,
		     const struct suspects *suspects)
{
	size_t last = diff->heap_count - 1;
	const struct heap_meta *m = &series_last(series)->heap->meta;
	int64_t growth = (int64_t)(diff->bytes[last] - diff->bytes[0]);
	double interval = series_interval_s(series);
	char size[TEXT_SIZE], time[TEXT_SIZE], before[TEXT_SIZE], after[TEXT_SIZE];
	uint64_t suspected = 0, largest = 0;
	size_t counted = 0;

	for (size_t i = 0; i < suspects->count; i++) {
		const struct suspect *s = &suspects->list[i];

		if (s->verdict == SUSPECT_ALLOCATOR || s->verdict == SUSPECT_STABLE)
			continue;
		counted++;
		suspected += s->retained_bytes;
		if (s->retained_bytes > largest)
			largest = s->retained_bytes;
	}
	fputs(ink(INK_BOLD), out);
	report_command(out, m);
	if (m->pid)
		fprintf(out, " (pid %" PRIu32 ")", m->pid);
	fputs(": live memory ", out);
	if (growth > 0)
		fprintf(out, "grew by %s", text_size(growth, size));
	else if (growth < 0)
		fprintf(out, "shrank by %s", text_size(-growth, size));
	else
		fputs("did not change", out);
	if (interval > 0)
		fprintf(out, " in %s", report_duration(interval, time));
	fprintf(out, " (%s to %s)", text_size((int64_t)diff->bytes[0], before), text_size((int64_t)diff->bytes[last], after));
	if (counted && growth > 0 && suspected <= (uint64_t)growth * 2) {
		uint64_t base = suspected > (uint64_t)growth ? suspected : (uint64_t)growth;

		if (counted == 1)
			fprintf(out, "; %.0f %% of it is one suspect", 100.0 * (double)largest / (double)base);
		else
			fprintf(out, "; %zu suspects are %.0f %% of it", counted, 100.0 * (double)suspected / (double)base);
	} else if (counted) {
		fprintf(out, "; %zu %s", counted, counted == 1 ? "suspect" : "suspects");
	} else {
		fputs("; no suspect", out);
	}
	fprintf(out, "%s\n", ink(INK_NONE));
}

static int growth_table(FILE *out, const struct diff *diff, size_t limit)
{
	static const char *const headers[] = { "growth", "count", "", "new", "before", "after", "state", "type" };
	struct table *table = table_new(headers, "rrrrrrll");
	size_t last = diff->heap_count - 1;
	int r;

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < diff->row_count && i < limit; i++) {
		const struct diff_row *row = &diff->rows[i];
		char growth[TEXT_SIZE], count[TEXT_SIZE], more[TEXT_SIZE], fresh[TEXT_SIZE], before[TEXT_SIZE],
			after[TEXT_SIZE];
		char *type = row_type(row);
		const char *cells[] = { signed_size(diff_growth_bytes(diff, row), growth),
					text_count((int64_t)row->count[last], count),
					signed_count(diff_growth_count(diff, row), more),
					text_count((int64_t)row->new_count, fresh),
					text_size((int64_t)row->bytes[0], before),
					text_size((int64_t)row->bytes[last], after),
					diff_state_name(row->state), type };

		if (!type) {
			table_free(table);
			return -ENOMEM;
		}
		table_add(table, cells);
		free(type);
	}
	table_spare(table, 6, diff_state_name(DIFF_REFERENCED));
	r = table_print(table, out, 2);
	table_free(table);
	if (diff->row_count > limit)
		fprintf(out, "  (%zu more row%s: --top N shows more, --json all)\n", diff->row_count - limit,
			text_s(diff->row_count - limit));
	if (diff->hidden_rows)
		fprintf(out, "  (%zu row%s hidden by --min-bytes or --type)\n", diff->hidden_rows, text_s(diff->hidden_rows));
	return r;
}

static enum ink verdict_ink(const struct suspect *s)
{
	if (s->verdict == SUSPECT_STABLE)
		return INK_GREEN;
	return s->confidence == SUSPECT_POSSIBLE || s->verdict == SUSPECT_WARMING ? INK_YELLOW : INK_RED;
}

static void site_lines(FILE *out, const struct heap *heap, const char *label, bool python,
		       const struct suspect_site *sites, size_t count, size_t shown)
{
	char size[TEXT_SIZE], blocks[TEXT_SIZE];
	uint64_t rest_bytes = 0;

	for (size_t i = 0; i < count; i++) {
		if (i >= shown) {
			rest_bytes += sites[i].bytes;
			continue;
		}
		int column = fprintf(out, "  %-12s%s x, %s: ", i ? "" : label, text_count((int64_t)sites[i].count, blocks),
				     text_size((int64_t)sites[i].bytes, size));

		if (python && sites[i].stack >= heap->stack_count)
			fputs("no stack, as small Python objects have one only with LEAKDIFF_PYTHON=stacks\n", out);
		else
			report_stack(out, heap, sites[i].stack, 14, column > 14 ? (size_t)column : 14);
	}
	if (count > shown)
		fprintf(out, "              and %zu more site%s with %s (--json shows all)\n", count - shown, text_s(count - shown),
			text_size((int64_t)rest_bytes, size));
}

static void suspect_paragraph(FILE *out, const struct series *series, const struct suspect *s, size_t rank)
{
	const struct heap *heap = series_last(series)->heap;
	char size[TEXT_SIZE], count[TEXT_SIZE], retained[TEXT_SIZE];
	char *reason = text_escape(s->reason);
	bool python = s->cluster && s->cluster->node_count &&
		      heap->types[heap->type[s->cluster->main]].source == HEAP_TYPE_PYTHON;

	fprintf(out, "\n%s%zu. %s (%s)%s  %s", ink(verdict_ink(s)), rank, suspect_verdict_name(s->verdict),
		suspect_confidence_name(s->confidence), ink(INK_NONE), text_size((int64_t)s->bytes, size));
	if (s->count) {
		char *what = suspect_what(s);

		fputs(" in ", out);
		put_escaped(out, what ? what : s->type);
		free(what);
	}
	if (s->retained_bytes > s->bytes + s->bytes / 100)
		fprintf(out, ", %s with what only it holds", text_size((int64_t)s->retained_bytes, retained));
	putc('\n', out);
	if (s->root != HEAP_NONE) {
		const struct heap_root *root = &heap->root[s->root];
		char *holder = chain_holder_name(heap, s->root, &s->chain);

		fprintf(out, "  held by     %s ", names_root_kind(root->kind));
		fputs(ink(INK_BOLD), out);
		put_escaped(out, root->kind == HEAP_ROOT_PY_C ? "C code" : holder ? holder : root->name);
		free(holder);
		fputs(ink(INK_NONE), out);
		if (*root->module || *root->thread) {
			fputs(" (", out);
			put_escaped(out, root->module);
			if (*root->module && *root->thread)
				fputs(", ", out);
			if (*root->thread)
				fputs("thread ", out);
			put_escaped(out, root->thread);
			putc(')', out);
		}
		if (s->point_detail)
			fprintf(out, " (%s)", s->point_detail);
		if (s->point_type && s->cluster->point < heap->nodes) {
			fputs(", gathers in ", out);
			put_escaped(out, s->point_type);
		}
		if (s->children > 1)
			fprintf(out, " (%s new in it)", text_count((int64_t)s->children, count));
		if (s->cluster->place_count)
			fprintf(out, ", and in %" PRIu32 " more places like it", s->cluster->place_count);
		putc('\n', out);
	} else if (s->verdict != SUSPECT_ALLOCATOR && s->cluster) {
		fprintf(out, "  held by     %s\n", s->verdict == SUSPECT_UNREACHABLE ? "nothing that was found" :
			"the dynamic linker");
	}
	if (s->chain.count > 1) {
		fputs("  chain       ", out);
		report_chain(out, &s->chain, 14);
	}
	if (s->cycle.count) {
		fputs("  cycle       ", out);
		report_chain(out, &s->cycle, 14);
	}
	site_lines(out, heap, "allocated", python, s->sites, s->site_count, SITES_SHOWN);
	site_lines(out, heap, "with it", false, s->companions, s->companion_count, 1);
	report_trend(out, series, s);
	if (reason) {
		fputs("  why         ", out);
		table_wrap(out, reason, 14, 14);
	}
	free(reason);
}

/* The first ones, what carries a share of the growth, and what is no block of the program's. */
static bool is_worth_a_paragraph(const struct series *series, const struct suspects *suspects, size_t index)
{
	const struct suspect *s = &suspects->list[index];

	return index < SUSPECTS_FIRST || !s->cluster ||
	       (double)s->cluster->bytes >= series->limits.share * (double)suspects->cover.grown;
}

/* The others have a line each. */
static void suspect_lines(FILE *out, const struct series *series, const struct suspects *suspects)
{
	const struct heap *heap = series_last(series)->heap;
	char size[TEXT_SIZE];
	bool any = false;

	for (size_t i = 0; i < suspects->count; i++) {
		const struct suspect *s = &suspects->list[i];

		if (is_worth_a_paragraph(series, suspects, i))
			continue;
		char *what = suspect_what(s);

		fprintf(out, "%s%s%zu. %s (%s)%s  %s in ", any ? "" : "\n", ink(verdict_ink(s)), i + 1,
			suspect_verdict_name(s->verdict), suspect_confidence_name(s->confidence), ink(INK_NONE),
			text_size((int64_t)s->bytes, size));
		put_escaped(out, what ? what : s->type);
		free(what);
		if (s->root != HEAP_NONE) {
			fputs(", held by ", out);
			put_escaped(out, heap->root[s->root].name);
		}
		putc('\n', out);
		any = true;
	}
}

static int account_table(FILE *out, const struct series *series)
{
	static const char *const headers[] = { "resident memory", "before", "after", "growth" };
	const struct heap_account *a = &series->heaps[0].heap->account, *b = &series_last(series)->heap->account;
	struct table *table;
	int r;

	if (!a->total_bytes || !b->total_bytes)
		return 0;
	table = table_new(headers, "lrrr");
	if (!table)
		return -ENOMEM;
	for (const struct account_part *part = account_parts;; part++) {
		uint64_t before = part->key ? account_value(a, part) : a->total_bytes;
		uint64_t after = part->key ? account_value(b, part) : b->total_bytes;
		char x[TEXT_SIZE], y[TEXT_SIZE], d[TEXT_SIZE];
		const char *cells[] = { part->key ? part->label : "all (RSS)", text_size((int64_t)before, x),
					text_size((int64_t)after, y), signed_size((int64_t)(after - before), d) };

		if (before || after || !part->key)
			table_add(table, cells);
		if (!part->key)
			break;
	}
	putc('\n', out);
	r = table_print(table, out, 2);
	table_free(table);
	return r;
}

int report_diff(FILE *out, const struct series *series, const struct diff *diff,
		const struct suspects *suspects, size_t rows)
{
	char size[TEXT_SIZE];
	int r;

	report_headline(out, series, diff, suspects);
	putc('\n', out);
	r = growth_table(out, diff, rows);
	if (r < 0)
		return r;
	for (size_t i = 0; i < suspects->count; i++)
		if (is_worth_a_paragraph(series, suspects, i))
			suspect_paragraph(out, series, &suspects->list[i], i + 1);
	suspect_lines(out, series, suspects);
	r = account_table(out, series);
	if (r < 0)
		return r;
	putc('\n', out);
	for (size_t i = 0; i < suspects->note_count; i++) {
		char *note = text_escape(suspects->notes[i]);

		if (!note)
			return -ENOMEM;
		fputs("note: ", out);
		table_wrap(out, note, 6, 6);
		free(note);
	}
	report_outlook(out, series);
	if (suspects->noise_places)
		fprintf(out, "note: %" PRIu32 " %s grew too little to show a trend (%s)\n", suspects->noise_places,
			suspects->noise_places == 1 ? "place" : "places", text_size((int64_t)suspects->noise_bytes, size));
	report_limits(out, series);
	return 0;
}

/* ---- one snapshot --------------------------------------------------------------------------- */

/* "40 30 20 10 gathered": when they were born, in percent by quarters of the recorded time. */
static char *age_profile(const struct ages *a, char buffer[TEXT_SIZE])
{
	uint64_t total = a->count[0] + a->count[1] + a->count[2] + a->count[3];

	if (a->word == AGES_UNKNOWN)
		return strcpy(buffer, "");
	snprintf(buffer, TEXT_SIZE, "%.0f %.0f %.0f %.0f %s", 100.0 * (double)a->count[0] / (double)total,
		 100.0 * (double)a->count[1] / (double)total, 100.0 * (double)a->count[2] / (double)total,
		 100.0 * (double)a->count[3] / (double)total, ages_name(a->word));
	return buffer;
}

/* What one snapshot can say of growth: never more than that it may be. */
static void gathered_lines(FILE *out, const struct diff *diff, const struct ages *ages)
{
	char size[TEXT_SIZE], count[TEXT_SIZE];
	size_t shown = 0;

	for (size_t i = 0; i < diff->row_count; i++) {
		const struct diff_row *row = &diff->rows[i];

		if (ages[i].word != AGES_GATHERED || row->bytes[0] < NOISE_BYTES)
			continue;
		if (shown++ == SITES_SHOWN)
			break;
		fprintf(out, "may grow (possible): %s in %s x ", text_size((int64_t)row->bytes[0], size),
			text_count((int64_t)row->count[0], count));
		put_escaped(out, row->type);
		fputs(", kept at an even rate since recording began; a second snapshot tells\n", out);
	}
}

int report_top(FILE *out, const struct series *series, const struct diff *diff, const struct ages *ages, size_t limit)
{
	static const char *const headers[] = { "bytes", "count", "retained", "oldest", "newest", "born, % by quarter",
					       "state", "type" };
	const struct heap_meta *m = &series_last(series)->heap->meta;
	struct table *table = table_new(headers, "rrrrrlll");
	char size[TEXT_SIZE], count[TEXT_SIZE], born[TEXT_SIZE];
	int r;

	if (!table)
		return -ENOMEM;
	fputs(ink(INK_BOLD), out);
	report_command(out, m);
	if (m->pid)
		fprintf(out, " (pid %" PRIu32 ")", m->pid);
	fprintf(out, ": %s in %s blocks, mappings and objects%s\n\n",
		text_size((int64_t)diff->bytes[0], size), text_count((int64_t)diff->count[0], count), ink(INK_NONE));
	for (size_t i = 0; i < diff->row_count && i < limit; i++) {
		const struct diff_row *row = &diff->rows[i];
		char bytes[TEXT_SIZE], blocks[TEXT_SIZE], retained[TEXT_SIZE], oldest[TEXT_SIZE], newest[TEXT_SIZE];
		char *type = row_type(row);
		const char *cells[] = { text_size((int64_t)row->bytes[0], bytes),
					text_count((int64_t)row->count[0], blocks),
					text_size((int64_t)row->retained_bytes, retained),
					report_duration(series_age_s(series, row->oldest_birth), oldest),
					report_duration(series_age_s(series, row->newest_birth), newest),
					age_profile(&ages[i], born), diff_state_name(row->state), type };

		if (type)
			table_add(table, cells);
		free(type);
	}
	table_spare(table, 6, diff_state_name(DIFF_REFERENCED));
	r = table_print(table, out, 2);
	table_free(table);
	if (diff->row_count > limit)
		fprintf(out, "  (%zu more row%s: --top N shows more, --json all)\n", diff->row_count - limit,
			text_s(diff->row_count - limit));
	if (diff->hidden_rows)
		fprintf(out, "  (%zu row%s hidden by --min-bytes or --type)\n", diff->hidden_rows, text_s(diff->hidden_rows));
	gathered_lines(out, diff, ages);
	report_limits(out, series);
	return r;
}

/* Garbage of Python is no leak: what it is, in a paragraph. */
static void garbage_lines(FILE *out, const struct leak_list *leaks)
{
	char size[TEXT_SIZE], count[TEXT_SIZE];
	struct text line = { 0 };

	if (!leaks->garbage_count)
		return;
	text_printf(&line, "garbage, no leak: %s in %s blocks refer to each other in cycles and wait for Python's collector, "
		    "which is on (first of all", text_size((int64_t)leaks->garbage_bytes, size),
		    text_count((int64_t)leaks->garbage_blocks, count));
	for (size_t i = 0; i < leaks->garbage_count && i < SITES_SHOWN; i++) {
		text_printf(&line, "%s %s x ", i ? "," : "", text_count((int64_t)leaks->garbage[i].count, count));
		text_append_escaped(&line, leaks->garbage[i].type);
	}
	text_append(&line, leaks->garbage_count > SITES_SHOWN ? "; --json shows all)" : ")");
	putc('\n', out);
	if (line.data)
		table_wrap(out, line.data, 0, 0);
	text_done(&line);
}

int report_leaks(FILE *out, const struct series *series, const struct leak_list *leaks, size_t limit)
{
	const struct heap *heap = series_last(series)->heap;
	char size[TEXT_SIZE], count[TEXT_SIZE], direct[TEXT_SIZE], age[TEXT_SIZE];
	bool native = false, python = false;

	if (leaks->count == 0) {
		fputs(leaks->garbage_count ? "no leak: every live block is referenced, or waits for Python's collector\n" :
		      "no unreachable block: every live block is referenced from somewhere\n", out);
		garbage_lines(out, leaks);
		report_limits(out, series);
		return 0;
	}
	fprintf(out, "%s%s in %s unreachable blocks%s, %s of them directly (%s)\n", ink(INK_BOLD),
		text_size((int64_t)leaks->bytes, size), text_count((int64_t)leaks->blocks, count), ink(INK_NONE),
		text_count((int64_t)leaks->direct_blocks, direct), leaks->confidence);
	for (size_t i = 0; i < leaks->count; i++) {
		const struct leak_entry *e = &leaks->entries[i];
		double oldest = series_age_s(series, e->oldest_birth);

		python |= e->python;
		native |= !e->python;
		if (i >= limit)
			continue;
		fprintf(out, "\n%s%s%s in %s x ", ink(e->direct || e->cycle ? INK_RED : INK_YELLOW),
			text_size((int64_t)e->bytes, size), ink(INK_NONE), text_count((int64_t)e->count, count));
		put_escaped(out, e->type);
		fputs(e->cycle ? ", in a cycle" : e->direct ? ", direct" : ", indirect", out);
		if (oldest >= 0)
			fprintf(out, ", the oldest from %s ago", report_duration(oldest, age));
		fputs("\n  ", out);
		report_stack(out, heap, e->stack, 2, 2);
	}
	if (leaks->count > limit)
		fprintf(out, "\n(%zu more: --top N shows more, --json all)\n", leaks->count - limit);
	if (native) {
		fputs("\nwhy: ", out);
		table_wrap(out, leaks->reason, 5, 5);
	}
	if (python) {
		fputs("\nwhy: ", out);
		table_wrap(out, leaks->python_reason, 5, 5);
	}
	garbage_lines(out, leaks);
	report_limits(out, series);
	return 0;
}

int report_chains(FILE *out, const struct series *series, const struct chain_set *set)
{
	char size[TEXT_SIZE], count[TEXT_SIZE], lost[TEXT_SIZE];

	fprintf(out, "%s%s block%s match%s, %s", ink(INK_BOLD), text_count((int64_t)set->matched, count),
		text_s(set->matched), set->matched == 1 ? "es" : "", text_size((int64_t)set->matched_bytes, size));
	if (set->unreachable)
		fprintf(out, "; %s of them are unreachable", text_count((int64_t)set->unreachable, lost));
	fprintf(out, "%s\n", ink(INK_NONE));
	for (size_t i = 0; i < set->count; i++) {
		const struct chain_entry *e = &set->entries[i];

		fprintf(out, "\n0x%" PRIx64 " ", set->heap->addr[e->node]);
		put_escaped(out, e->type);
		fputs(e->unreachable ? ": no root reaches it\n  " : "\n  ", out);
		report_chain(out, &e->chain, 2);
		fputs("  allocated by ", out);
		report_stack(out, set->heap, set->heap->stack[e->node], 2, strlen("  allocated by "));
	}
	if (set->matched > set->count)
		fprintf(out, "\n(%" PRIu64 " more block%s: --all shows each)\n", set->matched - set->count,
			set->matched - set->count == 1 ? " matches" : "s match");
	report_limits(out, series);
	return 0;
}

/* ---- a neighbourhood ------------------------------------------------------------------------ */

struct tree {
	FILE *out;
	const struct picture *picture;
	bool backwards;
	bool *seen;
};

static void picture_line(const struct tree *tree, size_t index)
{
	const struct picture_node *node = &tree->picture->nodes[index];
	char size[TEXT_SIZE];

	fputs(ink(node->role == PICTURE_GREW ? INK_BOLD : node->role == PICTURE_CUT ? INK_DIM : INK_NONE), tree->out);
	put_escaped(tree->out, node->type);
	fputs(ink(INK_NONE), tree->out);
	if (node->name) {
		putc(' ', tree->out);
		put_escaped(tree->out, node->name);
	}
	if (node->bytes)
		fprintf(tree->out, "  %s", text_size((int64_t)node->bytes, size));
	if (node->role == PICTURE_UNREACHABLE)
		fputs("  (unreachable)", tree->out);
}

/* Depth is bounded by the nodes of a picture: each is opened once. */
static void picture_branch(struct tree *tree, size_t index, int depth)
{
	if (tree->seen[index]) {
		fputs("  (above)\n", tree->out);
		return;
	}
	putc('\n', tree->out);
	tree->seen[index] = true;
	for (size_t e = 0; e < tree->picture->edge_count; e++) {
		const struct picture_edge *edge = &tree->picture->edges[e];
		size_t near_end = tree->backwards ? edge->to : edge->from;
		size_t far_end = tree->backwards ? edge->from : edge->to;

		if (near_end != index)
			continue;
		fprintf(tree->out, "%*s%s ", depth * 2 + 2, "", tree->backwards ? "<-" : "->");
		if (edge->label && *edge->label) {
			fputs(ink(INK_DIM), tree->out);
			put_escaped(tree->out, edge->label);
			fprintf(tree->out, "%s  ", ink(INK_NONE));
		}
		picture_line(tree, far_end);
		picture_branch(tree, far_end, depth + 1);
	}
}

int report_picture(FILE *out, const struct picture *picture, bool backwards)
{
	struct tree tree = { .out = out, .picture = picture, .backwards = backwards };

	tree.seen = calloc(picture->node_count + 1, sizeof(*tree.seen));
	if (!tree.seen)
		return -ENOMEM;
	for (size_t i = 0; i < picture->node_count; i++)
		if (!tree.seen[i] && picture->nodes[i].role == PICTURE_GREW) {
			picture_line(&tree, i);
			picture_branch(&tree, i, 0);
		}
	for (size_t i = 0; i < picture->left_out_count; i++) {
		putc('(', out);
		put_escaped(out, picture->left_out[i]);
		fputs(")\n", out);
	}
	free(tree.seen);
	return 0;
}
