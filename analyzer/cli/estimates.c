/* SPDX-License-Identifier: Apache-2.0
 * L2  estimates.c - see estimates.h.
 *
 * Samples are independent, so variances add up: over the stacks of a site, and of before and after. */
#include "cli/estimates.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/page.h"
#include "cli/table.h"
#include "core/intern.h"
#include "core/names.h"
#include "core/series.h"
#include "core/store.h"
#include "core/text.h"

struct reader {
	struct estimates *estimates;
	struct intern sites;
	const struct heap *heap;
	int end;			/* 0 = the first, 1 = the last snapshot */
	int error;
};

static struct estimate *find(struct reader *reader, char *site)
{
	struct estimates *all = reader->estimates;
	struct intern_key key = { 0 };
	struct estimate *grown;
	int64_t number;
	int is_new;

	intern_fold(&key, site);
	number = intern_number(&reader->sites, key, &is_new);
	if (number < 0)
		return NULL;
	if (!is_new) {
		free(site);
		return &all->list[number];
	}
	grown = reallocarray(all->list, all->count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	all->list = grown;
	grown[all->count] = (struct estimate){ .site = site };
	return &grown[all->count++];
}

static int take_row(int columns, char **values, bool is_header, void *data)
{
	struct reader *reader = data;
	struct text text = { 0 };
	struct estimate *estimate;
	uint64_t stack;
	char *site;

	if (is_header || columns != 4 || reader->error)
		return 0;
	stack = strtoull(values[0], NULL, 10);
	names_site(&text, reader->heap, stack < reader->heap->stack_count ? (uint32_t)stack : HEAP_NONE);
	site = text_take(&text);
	estimate = site ? find(reader, site) : NULL;
	if (!estimate) {
		free(site);
		reader->error = -ENOMEM;
		return 1;
	}
	estimate->bytes[reader->end] += strtod(values[2], NULL);
	estimate->variance[reader->end] += strtod(values[3], NULL) * strtod(values[3], NULL);
	estimate->samples += reader->end ? strtoull(values[1], NULL, 10) : 0;
	return 0;
}

static int read_end(struct reader *reader, const struct heap *heap, int end)
{
	struct store *store = NULL;
	char *error = NULL;
	int r;

	reader->heap = heap;
	reader->end = end;
	r = store_open(heap->meta.path, &store, &error);
	if (r == 0)
		r = store_query(store, "SELECT stack, samples, bytes, error_bytes FROM estimates", take_row, reader, &error);
	store_free(store);
	free(error);
	return reader->error ? reader->error : r == -EINVAL ? 0 : r;	/* a file of before 1.3 has no such table */
}

static double growth(const struct estimate *estimate)
{
	return estimate->bytes[1] - estimate->bytes[0];
}

static int compare(const void *a, const void *b)
{
	const struct estimate *x = a, *y = b;

	if (growth(x) != growth(y))
		return growth(x) > growth(y) ? -1 : 1;
	return strcmp(x->site, y->site);
}

int estimates_read(const struct series *series, struct estimates *ret_estimates)
{
	const struct heap *last = series_last(series)->heap;
	struct reader reader = { .estimates = ret_estimates };
	int r = 0;

	*ret_estimates = (struct estimates){ 0 };
	if (!last->meta.mode || strcmp(last->meta.mode, "lite") != 0 || heap_is_profile(last))
		return 0;
	if (series->count > 1)
		r = read_end(&reader, series->heaps[0].heap, 0);
	if (r == 0)
		r = read_end(&reader, last, 1);
	intern_done(&reader.sites);
	if (ret_estimates->count)
		qsort(ret_estimates->list, ret_estimates->count, sizeof(*ret_estimates->list), compare);
	return r;
}

void estimates_done(struct estimates *estimates)
{
	for (size_t i = 0; i < estimates->count; i++)
		free(estimates->list[i].site);
	free(estimates->list);
	*estimates = (struct estimates){ 0 };
}

static double error_of_growth(const struct estimate *estimate)
{
	return sqrt(estimate->variance[0] + estimate->variance[1]);
}

int estimates_print(FILE *out, const struct estimates *estimates, size_t limit)
{
	static const char *const headers[] = { "growth", "+-", "before", "after", "+-", "samples", "estimated by site" };
	struct table *table;
	int r;

	if (!estimates->count)
		return 0;
	table = table_new(headers, "rrrrrrl");
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < estimates->count && i < limit; i++) {
		const struct estimate *e = &estimates->list[i];
		char grew[TEXT_SIZE], grew_error[TEXT_SIZE], before[TEXT_SIZE], after[TEXT_SIZE], error[TEXT_SIZE], samples[TEXT_SIZE];
		char sign[TEXT_SIZE + 1], *site = text_escape(e->site);
		const char *cells[] = { sign, text_size((int64_t)error_of_growth(e), grew_error), text_size((int64_t)e->bytes[0], before),
					text_size((int64_t)e->bytes[1], after), text_size((int64_t)sqrt(e->variance[1]), error),
					text_count((int64_t)e->samples, samples), site };

		snprintf(sign, sizeof(sign), "%s%s", growth(e) > 0 ? "+" : "", text_size((int64_t)growth(e), grew));
		if (site)
			table_add(table, cells);
		free(site);
	}
	putc('\n', out);
	r = table_print(table, out, 2);
	table_free(table);
	if (estimates->count > limit)
		fprintf(out, "  (%zu more)\n", estimates->count - limit);
	fputs("  (mode lite: what the sampled stacks stand for, each with its standard error)\n", out);
	return r;
}

void estimates_page(FILE *out, const struct estimates *estimates)
{
	if (!estimates->count)
		return;
	fputs("<section id=\"estimates\"><h2>Estimated by site</h2>\n<p class=\"dim\">Mode lite: what the sampled stacks stand for, "
	      "each with its standard error.</p>\n<div class=\"wide\"><table><thead><tr><th class=\"n\" data-sort>growth"
	      "<th class=\"n\">&plusmn;<th class=\"n\" data-sort>before<th class=\"n\" data-sort>after<th class=\"n\">&plusmn;"
	      "<th class=\"n\" data-sort>samples<th data-sort>site</thead>\n<tbody>\n", out);
	for (size_t i = 0; i < estimates->count; i++) {
		const struct estimate *e = &estimates->list[i];

		fputs("<tr>", out);
		page_signed_size_cell(out, (int64_t)growth(e));
		page_size_cell(out, (int64_t)error_of_growth(e));
		page_size_cell(out, (int64_t)e->bytes[0]);
		page_size_cell(out, (int64_t)e->bytes[1]);
		page_size_cell(out, (int64_t)sqrt(e->variance[1]));
		page_count_cell(out, (int64_t)e->samples);
		fputs("<td class=\"name\">", out);
		page_text(out, e->site);
		putc('\n', out);
	}
	fputs("</tbody></table></div></section>\n", out);
}
