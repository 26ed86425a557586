/* SPDX-License-Identifier: Apache-2.0
 * L4  page_tables.c - the page's tables and bars: growth, ages, resident memory, snapshots, notes. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/page.h"
#include "cli/page_parts.h"
#include "cli/report.h"
#include "core/account.h"
#include "core/arenas.h"
#include "core/names.h"
#include "core/text.h"

#define COLUMNS_SHOWN 8			/* snapshots with a column of their own: the first and the last so many */
#define AGE_TYPES 15
#define SPARK_WIDTH 80
#define SPARK_HEIGHT 18

static size_t first_column(const struct series *series)
{
	return series->count > COLUMNS_SHOWN ? series->count - COLUMNS_SHOWN + 1 : 1;
}

static bool has_column(const struct series *series, size_t k)
{
	return k == 0 || k >= first_column(series);
}

static void snapshot_headers(FILE *out, const struct series *series)
{
	for (size_t k = 0; k < series->count; k++) {
		time_t seconds = (time_t)(series->heaps[k].heap->meta.taken_ns / 1000000000);
		char at[32];
		struct tm tm;

		if (!has_column(series, k))
			continue;
		if (seconds <= 0 || !localtime_r(&seconds, &tm) || !strftime(at, sizeof(at), "%H:%M:%S", &tm))
			snprintf(at, sizeof(at), "%zu", k + 1);
		fprintf(out, "<th class=\"n\" data-sort>%s", at);
	}
}

static void columns_left_out(FILE *out, const struct series *series)
{
	if (first_column(series) > 1)
		fprintf(out, "<p class=\"left-out\">%zu snapshots between have no column.</p>\n", first_column(series) - 1);
}

/* ---- growth --------------------------------------------------------------------------------- */

void page_spark(FILE *out, const uint64_t *values, size_t count)
{
	uint64_t low = values[0], high = values[0];

	for (size_t i = 1; i < count; i++) {
		low = values[i] < low ? values[i] : low;
		high = values[i] > high ? values[i] : high;
	}
	fprintf(out, "<svg class=\"spark\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"course\"><polyline points=\"",
		SPARK_WIDTH, SPARK_HEIGHT);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%.1f,%.1f", i ? " " : "", (double)i * (SPARK_WIDTH - 2) / (double)(count - 1) + 1,
			SPARK_HEIGHT - 2 - (high > low ? (double)(values[i] - low) / (double)(high - low) : 0.5) * (SPARK_HEIGHT - 4));
	fputs("\"/></svg>", out);
}

int page_growth(FILE *out, const struct page_facts *facts)
{
	const struct series *series = facts->series;
	const struct diff *diff = facts->diff;
	size_t last = diff->heap_count - 1, shown = 0;
	bool several = diff->heap_count > 1;
	uint64_t left = 0;

	fprintf(out, "<section id=\"growth\"><h2>%s</h2>\n<div class=\"wide\"><table><thead><tr>",
		several ? "Growth by type and size" : "Live memory by type and size");
	fputs(several ? "<th class=\"n\" data-sort>growth<th class=\"n\" data-sort>count<th class=\"n\" data-sort>new" :
	      "<th class=\"n\" data-sort>bytes<th class=\"n\" data-sort>count", out);
	if (diff->heap_count > 2)
		fputs("<th>course", out);
	if (several)
		snapshot_headers(out, series);
	else
		fputs("<th class=\"n\" data-sort>retained", out);
	fputs("<th data-sort>state<th data-sort>type</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < diff->row_count; i++) {
		const struct diff_row *row = &diff->rows[i];

		if (shown == PAGE_ROWS) {
			left += row->bytes[last];
			continue;
		}
		shown++;
		fputs("<tr>", out);
		if (several)
			page_signed_size_cell(out, diff_growth_bytes(diff, row));
		else
			page_size_cell(out, (int64_t)row->bytes[0]);
		page_count_cell(out, (int64_t)row->count[last]);
		if (several)
			page_count_cell(out, (int64_t)row->new_count);
		if (diff->heap_count > 2) {
			fputs("<td>", out);
			page_spark(out, row->bytes, diff->heap_count);
		}
		for (size_t k = 0; k < diff->heap_count && several; k++)
			if (has_column(series, k))
				page_size_cell(out, (int64_t)row->bytes[k]);
		if (!several)
			page_size_cell(out, (int64_t)row->retained_bytes);
		fprintf(out, "<td>%s<td class=\"name\">", diff_state_name(row->state));
		page_text(out, row->type);
		if (row->exact && row->source != HEAP_TYPE_SITE && !row->type[names_type_length(row->type)]) {
			fputs(" (", out);
			page_size(out, (int64_t)row->size);
			fputs(" each)", out);
		}
		putc('\n', out);
	}
	fputs("</tbody></table></div>\n", out);
	columns_left_out(out, series);
	if (diff->row_count > shown) {
		fprintf(out, "<p class=\"left-out\">%zu more row%s with ", diff->row_count - shown,
			text_s(diff->row_count - shown));
		page_size(out, (int64_t)left);
		page_printf(out, " are left out: `%s --json` has all.", facts->command);
		fputs("</p>\n", out);
	}
	fputs("</section>\n", out);
	return 0;
}

/* ---- ages ----------------------------------------------------------------------------------- */

static const struct { double below_s; const char *name; } ages[] = {
	{ 1, "below 1 s" }, { 10, "1 to 10 s" }, { 60, "10 s to 1 min" }, { 600, "1 to 10 min" },
	{ 3600, "10 min to 1 h" }, { 6 * 3600, "1 to 6 h" }, { 24 * 3600, "6 to 24 h" }, { 1e300, "older" },
};
#define AGES (sizeof(ages) / sizeof(ages[0]))
#define AGE_UNKNOWN AGES

struct age_row { uint32_t type; uint64_t bytes[AGES + 1], all; };

static size_t age_of(const struct series *series, uint64_t birth)
{
	double age = birth ? series_age_s(series, birth) : -1;
	size_t i = 0;

	if (age < 0)
		return AGE_UNKNOWN;
	while (i + 1 < AGES && age >= ages[i].below_s)
		i++;
	return i;
}

static int compare_ages(const void *a, const void *b)
{
	const struct age_row *x = a, *y = b;

	return x->all > y->all ? -1 : x->all < y->all;
}

static void age_bars(FILE *out, const uint64_t *bytes, const uint64_t *count, size_t from, size_t to)
{
	uint64_t most = 1;

	for (size_t i = 0; i <= AGES; i++)
		most = bytes[i] > most ? bytes[i] : most;
	fputs("<div class=\"wide\"><table><thead><tr><th>age<th class=\"n\">bytes<th class=\"n\">count<th></thead><tbody>\n", out);
	for (size_t i = from; i <= AGES; i++) {
		if ((i > to && i < AGES) || (i == AGE_UNKNOWN && !bytes[i]))
			continue;
		fprintf(out, "<tr><td>%s", i == AGE_UNKNOWN ? "not known" : ages[i].name);
		page_size_cell(out, (int64_t)bytes[i]);
		page_count_cell(out, (int64_t)count[i]);
		fprintf(out, "<td style=\"width:50%%\"><div class=\"meter\"><i style=\"width:%.1f%%\"></i></div>\n",
			100.0 * (double)bytes[i] / (double)most);
	}
	fputs("</tbody></table></div>\n", out);
}

static void age_table(FILE *out, const struct series *series, const struct age_row *rows, size_t count, size_t from,
		      size_t to)
{
	size_t shown = count < AGE_TYPES ? count : AGE_TYPES;
	uint64_t left = 0;

	fputs("<details><summary>by type</summary><div class=\"wide\"><table><thead><tr><th data-sort>type", out);
	for (size_t i = from; i <= to; i++)
		fprintf(out, "<th class=\"n\" data-sort>%s", ages[i].name);
	fputs("<th class=\"n\" data-sort>not known</thead><tbody>\n", out);
	for (size_t t = 0; t < count; t++) {
		if (t >= shown) {
			left += rows[t].all;
			continue;
		}
		fputs("<tr><td class=\"name\">", out);
		page_text(out, series->types[rows[t].type].name);
		for (size_t i = from; i <= to; i++)
			page_size_cell(out, (int64_t)rows[t].bytes[i]);
		page_size_cell(out, (int64_t)rows[t].bytes[AGE_UNKNOWN]);
		putc('\n', out);
	}
	fputs("</tbody></table></div>\n", out);
	if (count > shown) {
		fprintf(out, "<p class=\"left-out\">%zu more types with ", count - shown);
		page_size(out, (int64_t)left);
		fputs(" are left out: leakdiff top shows the oldest and the newest of each.</p>\n", out);
	}
	fputs("</details>\n", out);
}

int page_ages(FILE *out, const struct page_facts *facts)
{
	const struct series *series = facts->series;
	const struct series_heap *h = series_last(series);
	struct age_row *rows = calloc((size_t)series->type_count + 1, sizeof(*rows));
	uint64_t bytes[AGES + 1] = { 0 }, count[AGES + 1] = { 0 };
	size_t from = 0, to = AGES - 1, used = 0;

	if (!rows)
		return -ENOMEM;
	for (uint32_t t = 0; t < series->type_count; t++)
		rows[t].type = t;
	for (uint32_t v = 0; v < h->heap->nodes; v++) {
		uint64_t own = series_bytes(h, v);
		size_t age;

		if (!weigh_is_counted(h->heap, v))
			continue;
		age = age_of(series, h->heap->birth[v]);
		rows[h->type[h->heap->type[v]]].bytes[age] += own;
		rows[h->type[h->heap->type[v]]].all += own;
		bytes[age] += own;
		count[age] += weigh_count(h->heap, v);
	}
	while (from < to && !count[from])
		from++;
	while (to > from && !count[to])
		to--;
	qsort(rows, series->type_count, sizeof(*rows), compare_ages);
	while (used < series->type_count && rows[used].all)
		used++;
	fputs("<section id=\"ages\"><h2>How old live memory is</h2>\n<p class=\"dim\">In the last snapshot, by the time since "
	      "each block was allocated. What began with the service and stays is old; a leak is of every age.</p>\n", out);
	age_bars(out, bytes, count, from, to);
	age_table(out, series, rows, used, from, to);
	fputs("</section>\n", out);
	free(rows);
	return 0;
}

/* ---- resident memory ------------------------------------------------------------------------ */

static const char *const part_colours[] = {
	"#2f6fb5", "#d9822b", "#7a5cc4", "#3a9a6b", "#8a8f98", "#c2588b", "#b0a030", "#5aa7b0", "#a0623a", "#6f7fcf",
};
#define PART_COLOURS (sizeof(part_colours) / sizeof(part_colours[0]))

static void account_bars(FILE *out, const struct series *series)
{
	uint64_t most = 1;

	for (size_t k = 0; k < series->count; k++)
		if (series->heaps[k].heap->account.total_bytes > most)
			most = series->heaps[k].heap->account.total_bytes;
	for (size_t k = 0; k < series->count; k++) {
		const struct heap_account *a = &series->heaps[k].heap->account;
		size_t colour = 0;

		if (!has_column(series, k))
			continue;
		fprintf(out, "<div class=\"bars\" style=\"width:%.1f%%;margin:.2rem 0\">", 100.0 * (double)a->total_bytes / (double)most);
		for (const struct account_part *part = account_parts; part->key; part++, colour++)
			if (account_value(a, part))
				fprintf(out, "<i title=\"%s\" style=\"flex:%" PRIu64 ";background:%s\"></i>", part->label,
					account_value(a, part), part_colours[colour % PART_COLOURS]);
		fputs("</div>\n", out);
	}
}

static void account_cells(FILE *out, const struct series *series, const struct account_part *part)
{
	for (size_t k = 0; k < series->count; k++) {
		const struct heap_account *a = &series->heaps[k].heap->account;

		if (has_column(series, k))
			page_size_cell(out, (int64_t)(part ? account_value(a, part) : a->total_bytes));
	}
	if (series->count > 1) {
		const struct heap_account *a = &series->heaps[0].heap->account, *b = &series_last(series)->heap->account;

		page_signed_size_cell(out, (int64_t)(part ? account_value(b, part) - account_value(a, part) :
						     b->total_bytes - a->total_bytes));
	}
	putc('\n', out);
}

static void sentences(FILE *out, const char *title, char *const *list, size_t count)
{
	if (!count)
		return;
	fprintf(out, "<details open><summary>%s</summary><ul>\n", title);
	for (size_t i = 0; i < count; i++) {
		fputs("<li>", out);
		page_text(out, list[i]);
		putc('\n', out);
	}
	fputs("</ul></details>\n", out);
}

int page_account(FILE *out, const struct page_facts *facts)
{
	const struct series *series = facts->series;
	struct arenas_report arenas = { 0 };
	size_t colour = 0;
	int r;

	if (!series_last(series)->heap->account.total_bytes)
		return 0;
	fputs("<section id=\"memory\"><h2>Where resident memory is</h2>\n", out);
	account_bars(out, series);
	fputs("<div class=\"wide\"><table><thead><tr><th>part", out);
	snapshot_headers(out, series);
	fputs(series->count > 1 ? "<th class=\"n\">growth</thead><tbody>\n" : "</thead><tbody>\n", out);
	for (const struct account_part *part = account_parts; part->key; part++, colour++) {
		uint64_t any = 0;

		for (size_t k = 0; k < series->count; k++)
			any |= account_value(&series->heaps[k].heap->account, part);
		if (!any)
			continue;
		fprintf(out, "<tr><td><i class=\"key\" style=\"background:%s\"></i> %s", part_colours[colour % PART_COLOURS], part->label);
		account_cells(out, series, part);
	}
	fputs("<tr class=\"sum\"><td>all (RSS)", out);
	account_cells(out, series, NULL);
	fputs("</tbody></table></div>\n", out);
	columns_left_out(out, series);
	r = arenas_report_make(series_last(series)->heap, &arenas);
	if (r == 0) {
		sentences(out, "where the allocator keeps free memory", arenas.lines, arenas.line_count);
		sentences(out, "what would help", arenas.advice, arenas.advice_count);
	}
	arenas_report_done(&arenas);
	fputs("</section>\n", out);
	return r;
}

/* ---- the snapshots themselves --------------------------------------------------------------- */

int page_snapshots(FILE *out, const struct page_facts *facts)
{
	const struct series *series = facts->series;

	fputs("<section id=\"snapshots\"><h2>Snapshots</h2>\n<div class=\"wide\"><table><thead><tr><th>file<th>taken"
	      "<th class=\"n\">pid<th class=\"n\">uptime<th class=\"n\">blocks<th class=\"n\">live<th class=\"n\">objects"
	      "<th class=\"n\">RSS<th class=\"n\">pause<th>mode</thead><tbody>\n", out);
	for (size_t k = 0; k < series->count; k++) {
		const struct heap_meta *m = &series->heaps[k].heap->meta;
		const char *slash = m->path ? strrchr(m->path, '/') : NULL;
		time_t seconds = (time_t)(m->taken_ns / 1000000000);
		char at[40] = "?", uptime[TEXT_SIZE];
		struct tm tm;

		if (m->taken_ns > 0 && localtime_r(&seconds, &tm))
			strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S %Z", &tm);
		fputs("<tr><td class=\"mono\">", out);
		page_text(out, slash ? slash + 1 : m->path);
		fprintf(out, "<td>%s<td class=\"n\">%" PRIu32 "<td class=\"n\">%s", at, m->pid, report_duration(m->uptime_s, uptime));
		page_count_cell(out, (int64_t)m->blocks);
		page_size_cell(out, (int64_t)facts->diff->bytes[k]);
		page_count_cell(out, (int64_t)m->objects);
		page_size_cell(out, (int64_t)m->rss_bytes);
		fprintf(out, "<td class=\"n\">%.1f ms<td>", (double)m->pause_ns / 1e6);
		page_text(out, m->mode);
		putc('\n', out);
	}
	fputs("</tbody></table></div>\n<p class=\"dim\">", out);
	page_printf(out, "Command: %s", series_last(series)->heap->meta.command);
	fputs("</p>\n</section>\n", out);
	return 0;
}

int page_notes(FILE *out, const struct page_facts *facts)
{
	const struct suspects *s = facts->suspects;
	char *text = NULL, size[TEXT_SIZE];
	size_t length = 0;
	FILE *limits = open_memstream(&text, &length);

	if (!limits)
		return -ENOMEM;
	report_limits(limits, facts->series);
	if (fclose(limits) != 0) {
		free(text);
		return -ENOMEM;
	}
	fputs("<section id=\"notes\"><h2>What is uncertain</h2>\n<ul>\n", out);
	for (size_t i = 0; s && i < s->note_count; i++) {
		fputs("<li>", out);
		page_text(out, s->notes[i]);
		putc('\n', out);
	}
	if (s && s->noise_places)
		fprintf(out, "<li>%" PRIu32 " places grew too little to show a trend (%s).\n", s->noise_places,
			text_size((int64_t)s->noise_bytes, size));
	for (char *line = text; line && *line;) {
		char *end = strchrnul(line, '\n');
		bool more = *end;

		*end = 0;
		fputs("<li>", out);
		page_text(out, line);		/* escaped once already: that does no harm */
		putc('\n', out);
		line = end + more;
	}
	fputs("<li>A block is called unreachable when a conservative scan found no reference to it. Pointers that a program "
	      "hides (compressed, XORed, tagged in high bits, held by a device or another process) look the same.\n"
	      "</ul>\n</section>\n", out);
	free(text);
	return 0;
}
