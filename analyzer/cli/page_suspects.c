/* SPDX-License-Identifier: Apache-2.0
 * L4  page_suspects.c - the page's verdicts: who holds what, on which way, allocated by whom. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/page.h"
#include "cli/page_parts.h"
#include "core/holders.h"
#include "core/names.h"
#include "core/pattern.h"
#include "core/text.h"
#include "core/trend.h"
#include "viz.h"

#define SITES_SHOWN 20			/* of one suspect */

void page_stack(FILE *out, const struct heap *heap, uint32_t stack, uint64_t count, uint64_t bytes)
{
	const struct heap_stack *s = stack < heap->stack_count ? &heap->stacks[stack] : NULL;
	struct text site = { 0 };

	names_site(&site, heap, stack);
	fputs(s && s->frame_count > 1 ? "<details><summary>" : "<p>", out);
	page_count(out, (int64_t)count);
	fputs(" &times;, ", out);
	page_size(out, (int64_t)bytes);
	fputs(": <span class=\"mono\">", out);
	page_text(out, s && s->frame_count && site.data ? site.data : "(no stack was recorded)");
	fputs("</span>", out);
	text_done(&site);
	if (!s || s->frame_count < 2) {
		fputs("</p>\n", out);
		return;
	}
	fputs("</summary><ol class=\"stack\">\n", out);
	for (uint32_t i = 0; i < s->frame_count; i++) {
		const struct heap_frame *f = &heap->frames[s->frames[i]];
		struct text name = { 0 };

		names_frame(&name, f);
		fputs("<li>", out);
		page_text(out, name.data);
		if (f->module && *f->module && *f->function) {
			fputs(" <span class=\"dim\">", out);
			page_text(out, f->module);
			fputs("</span>", out);
		}
		fputs("\n", out);
		text_done(&name);
	}
	if (s->truncated)
		fputs("<li class=\"dim\">(cut at the depth limit)\n", out);
	fputs("</ol></details>\n", out);
}

static void chain_list(FILE *out, const char *title, const struct chain *chain)
{
	static const char *const classes[] = {
		[CHAIN_PLAIN] = "step", [CHAIN_ROOT] = "root", [CHAIN_POINT] = "point", [CHAIN_GREW] = "grew", [CHAIN_CUT] = "dim",
	};

	fprintf(out, "<details open><summary>%s</summary><ol class=\"chain\">\n", title);
	for (size_t i = 0; i < chain->count; i++) {
		const struct chain_step *step = &chain->steps[i];
		const char *edge = i ? chain->steps[i - 1].edge : NULL;

		if (chain_is_own(chain, i))
			continue;
		fputs("<li>", out);
		if (edge) {
			fputs("&rarr; <span class=\"edge\">", out);
			page_text(out, edge);
			if (step->detail)
				page_printf(out, " (%s)", step->detail);
			fputs("</span> ", out);
		}
		fprintf(out, "<span class=\"%s\">", classes[step->role]);
		page_text(out, step->type);
		if (step->name)
			page_printf(out, " %s", step->name);
		fputs("</span>", out);
		if (step->count > 1) {
			fputs(" &times; ", out);
			page_count(out, (int64_t)step->count);
			fputs(", ", out);
			page_size(out, (int64_t)step->bytes);
		}
		putc('\n', out);
	}
	fputs("</ol></details>\n", out);
}

static void holder_row(FILE *out, const struct heap *heap, const struct suspect *s)
{
	const struct heap_root *root = s->root != HEAP_NONE ? &heap->root[s->root] : NULL;
	char *name = root ? chain_holder_name(heap, s->root, &s->chain) : NULL;

	if (root) {
		page_printf(out, "%s ", names_root_kind(root->kind));
		fputs("<strong class=\"mono\">", out);
		page_text(out, root->kind == HEAP_ROOT_PY_C ? "C code" : name ? name : root->name);
		fputs("</strong>", out);
		if (*root->module || *root->thread)
			page_printf(out, " (%s%s%s%s)", root->module, *root->module && *root->thread ? ", " : "",
				    *root->thread ? "thread " : "", root->thread);
	} else {
		fputs(s->verdict == SUSPECT_UNREACHABLE ? "nothing that was found" :
		      s->verdict == SUSPECT_ALLOCATOR ? "the allocator" : "not known", out);
	}
	free(name);
	if (s->point_type && s->cluster && s->cluster->point < heap->nodes) {
		fputs(", gathers in <span class=\"mono\">", out);
		page_text(out, s->point_type);
		fputs("</span>", out);
		if (s->point_detail)
			page_printf(out, " (%s)", s->point_detail);
		if (s->children > 1) {
			fputs(" (", out);
			page_count(out, (int64_t)s->children);
			fputs(" new in it)", out);
		}
	}
}

static void trend_row(FILE *out, const struct suspect *s, size_t heaps)
{
	const char *word = s->trend ? trend_name(s->trend->word) : NULL;

	if (!word || !s->trend->bytes || heaps < 2)
		return;
	fprintf(out, "<dt>course<dd>%s%s%s ", s->trend->steady ? "steadily " : "", word,
		s->trend->by_type ? " (all of this type)" : "");
	page_spark(out, s->trend->bytes, heaps);
	putc(' ', out);
	page_size(out, (int64_t)s->trend->bytes[0]);
	fputs(" to ", out);
	page_size(out, (int64_t)s->trend->bytes[heaps - 1]);
	putc('\n', out);
}

static void holders_row(FILE *out, const struct heap *heap, const struct suspect *s)
{
	const struct holders *h = s->holders;

	if (!h || h->count < 2)
		return;
	fputs("<dt>all holders<dd><ul>\n", out);
	for (uint32_t i = 0; i < h->count; i++) {
		const struct heap_root *root = &heap->root[h->list[i].root];

		fputs("<li>", out);
		page_printf(out, "%s ", names_root_kind(root->kind));
		fputs("<span class=\"mono\">", out);
		page_text(out, root->name);
		fputs("</span>: ", out);
		page_count(out, (int64_t)h->list[i].count);
		fputs(" &times;, ", out);
		page_size(out, (int64_t)h->list[i].bytes);
		putc('\n', out);
	}
	if (h->more)
		fprintf(out, "<li>and %u more\n", (unsigned)h->more);
	fputs("</ul>", out);
	if (h->shared_bytes) {
		page_size(out, (int64_t)h->shared_bytes);
		fputs(" is shared: it goes only when all of its holders let go.", out);
	}
}

/* What became of all that is new. */
static void cover_line(FILE *out, const struct suspects_cover *cover)
{
	const struct { const char *what; uint64_t bytes; } parts[] = {
		{ "in the first three suspects", cover->first },	{ "in the others", cover->others },
		{ "replaced others one for one", cover->turnover },	{ "too little in one place to show a trend", cover->noise },
		{ "in no place that was looked at", cover->thin },
	};
	const char *comma = ": ";

	if (!cover->grown)
		return;
	fputs("<p class=\"dim\">Of ", out);
	page_size(out, (int64_t)cover->grown);
	fputs(" that is new", out);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!parts[i].bytes)
			continue;
		fputs(comma, out);
		page_size(out, (int64_t)parts[i].bytes);
		fprintf(out, " %s", parts[i].what);
		comma = ", ";
	}
	fputs(".</p>\n", out);
}

static void sites(FILE *out, const struct heap *heap, const char *title, const struct suspect_site *list, size_t count)
{
	uint64_t bytes = 0;

	if (!count)
		return;
	fprintf(out, "<dt>%s<dd>", title);
	for (size_t i = 0; i < count; i++) {
		if (i < SITES_SHOWN)
			page_stack(out, heap, list[i].stack, list[i].count, list[i].bytes);
		else
			bytes += list[i].bytes;
	}
	if (count > SITES_SHOWN) {
		fprintf(out, "<p class=\"dim\">and %zu more site%s with ", count - SITES_SHOWN, text_s(count - SITES_SHOWN));
		page_size(out, (int64_t)bytes);
		fputs(" (leakdiff --json shows all)</p>\n", out);
	}
}

/* The picture of one suspect alone. A picture that cannot be drawn is no reason to have no page. */
static int picture(FILE *out, const struct suspects *all, size_t index)
{
	struct suspects one = *all;
	struct picture *drawn = NULL;
	char *svg = NULL, *error = NULL;
	size_t length;
	int r;

	one.list = &all->list[index];
	one.count = 1;
	r = pattern_of_suspects(&one, &drawn);
	if (r < 0)
		return r;
	if (viz_render_data(drawn, VIZ_SVG, &svg, &length, &error) < 0) {
		fputs("<p class=\"dim\">no picture: ", out);
		page_text(out, error);
		fputs("</p>\n", out);
	} else {
		fputs("<details open><summary>picture</summary><figure>", out);
		page_svg(out, svg, (unsigned)index + 1);
		fputs("</figure></details>\n", out);
	}
	free(svg);
	free(error);
	picture_free(drawn);
	return 0;
}

static int suspect(FILE *out, const struct suspects *all, size_t index)
{
	const struct heap *heap = series_last(all->series)->heap;
	const struct suspect *s = &all->list[index];
	const char *class = s->verdict == SUSPECT_STABLE ? "fine" :
		s->confidence == SUSPECT_POSSIBLE || s->verdict == SUSPECT_WARMING ? "maybe" : "bad";
	int r = 0;

	fprintf(out, "<article class=\"%s\" id=\"suspect-%zu\">\n<h3>%zu. <span class=\"badge\">%s &middot; %s</span> ", class,
		index + 1, index + 1, suspect_verdict_name(s->verdict), suspect_confidence_name(s->confidence));
	page_size(out, (int64_t)s->bytes);
	if (s->count) {
		char *what = suspect_what(s);

		fputs(" in <span class=\"mono\">", out);
		page_text(out, what ? what : s->type);
		fputs("</span>", out);
		free(what);
	}
	if (s->retained_bytes > s->bytes + s->bytes / 100) {
		fputs(", ", out);
		page_size(out, (int64_t)s->retained_bytes);
		fputs(" with what only it holds", out);
	}
	fputs("</h3>\n<dl><dt>held by<dd>", out);
	holder_row(out, heap, s);
	fputs("<dt>why<dd>", out);
	page_text(out, s->reason);
	putc('\n', out);
	trend_row(out, s, all->series->count);
	holders_row(out, heap, s);
	sites(out, heap, "allocated", s->sites, s->site_count);
	sites(out, heap, "with it", s->companions, s->companion_count);
	fputs("</dl>\n", out);
	if (s->chain.count > 1)
		chain_list(out, "chain of references", &s->chain);
	if (s->cycle.count)
		chain_list(out, "cycle", &s->cycle);
	if (s->cluster && index < PAGE_PICTURES)
		r = picture(out, all, index);
	fputs("</article>\n", out);
	return r;
}

int page_suspects(FILE *out, const struct page_facts *facts)
{
	const struct suspects *all = facts->suspects;
	uint64_t bytes = 0;
	int r = 0;

	if (!all)
		return 0;
	fputs("<section id=\"verdicts\"><h2>Verdicts</h2>\n", out);
	if (!all->count)
		fputs("<p>No suspect: nothing grew that looks like a leak.</p>\n", out);
	for (size_t i = 0; i < all->count && r == 0; i++) {
		if (i >= PAGE_SUSPECTS) {
			bytes += all->list[i].retained_bytes;
			continue;
		}
		r = suspect(out, all, i);
	}
	cover_line(out, &all->cover);
	if (all->count > PAGE_SUSPECTS) {
		fprintf(out, "<p class=\"left-out\">%zu more suspects with ", all->count - PAGE_SUSPECTS);
		page_size(out, (int64_t)bytes);
		page_printf(out, " are left out: `%s` shows all.", facts->command);
		fputs("</p>\n", out);
	}
	if (all->count > PAGE_PICTURES)
		fprintf(out, "<p class=\"dim\">Only the first %d suspects have a picture.</p>\n", PAGE_PICTURES);
	fputs("</section>\n", out);
	return r;
}

int page_leaks(FILE *out, const struct page_facts *facts)
{
	const struct leak_list *leaks = facts->leaks;
	const struct heap *heap = series_last(facts->series)->heap;

	if (!leaks)
		return 0;
	fputs("<section id=\"leaks\"><h2>What nothing refers to</h2>\n<p>", out);
	if (!leaks->count) {
		fputs("Every live block is referenced from somewhere.</p>\n</section>\n", out);
		return 0;
	}
	page_size(out, (int64_t)leaks->bytes);
	fputs(" in ", out);
	page_count(out, (int64_t)leaks->blocks);
	fputs(" unreachable blocks, ", out);
	page_count(out, (int64_t)leaks->direct_blocks);
	page_printf(out, " of them directly (%s): %s.", leaks->confidence, leaks->reason);
	fputs("</p>\n", out);
	for (size_t i = 0; i < leaks->count && i < PAGE_LEAKS; i++) {
		const struct leak_entry *e = &leaks->entries[i];

		fprintf(out, "<article class=\"%s\"><h3><span class=\"badge\">%s</span> <span class=\"mono\">",
			e->direct || e->cycle ? "bad" : "maybe", e->cycle ? "in a cycle" : e->direct ? "direct" : "indirect");
		page_text(out, e->type);
		fputs("</span></h3>\n", out);
		page_stack(out, heap, e->stack, e->count, e->bytes);
		fputs("</article>\n", out);
	}
	if (leaks->count > PAGE_LEAKS)
		fprintf(out, "<p class=\"left-out\">%zu more are left out: leakdiff leaks --top shows all.</p>\n",
			leaks->count - PAGE_LEAKS);
	fputs("</section>\n", out);
	return 0;
}
