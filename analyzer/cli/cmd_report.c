/* SPDX-License-Identifier: Apache-2.0
 * L5  cmd_report.c - `leakdiff report SNAP ... -o F.html`: the whole answer as one page that stands alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/estimates.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/page_parts.h"
#include "cli/report.h"
#include "cli/retained.h"
#include "cli/rows.h"
#include "core/dominators.h"
#include "core/text.h"

#define ROWS_SHARE 8u			/* of the progress bar */

static struct {
	const char *output;
	bool quiet;
} options;

/* "leakdiff a.snap b.snap": base names, as a person in their folder would type it. */
static char *command_of(int argc, char **argv)
{
	struct text text = { 0 };

	text_append(&text, argc > 1 ? "leakdiff" : "leakdiff top");
	for (int i = 0; i < argc; i++) {
		const char *slash = strrchr(argv[i], '/');

		text_printf(&text, " %s", slash && slash[1] ? slash + 1 : argv[i]);
	}
	return text_take(&text);
}

static int summary(FILE *out, const struct page_facts *facts)
{
	char *line = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&line, &length);
	char size[TEXT_SIZE], count[TEXT_SIZE];

	if (!memory)
		return -ENOMEM;
	if (facts->suspects)
		report_headline(memory, facts->series, facts->diff, facts->suspects);
	else
		fprintf(memory, "%s in %s blocks, mappings and objects", text_size((int64_t)facts->diff->bytes[0], size),
			text_count((int64_t)facts->diff->count[0], count));
	if (fclose(memory) != 0)
		return -ENOMEM;
	line[strcspn(line, "\n")] = 0;
	fputs("<p class=\"lead\">", out);
	page_text(out, line);
	fputs("</p>\n", out);
	free(line);
	return 0;
}

/* One line a suspect, before everything else. */
static void short_list(FILE *out, const struct suspects *suspects)
{
	if (!suspects || !suspects->count)
		return;
	fputs("<ol>\n", out);
	for (size_t i = 0; i < suspects->count && i < 5; i++) {
		const struct suspect *s = &suspects->list[i];
		const struct heap *heap = series_last(suspects->series)->heap;
		char *holder = s->root != HEAP_NONE ? chain_holder_name(heap, s->root, &s->chain) : NULL;

		fprintf(out, "<li><a href=\"#suspect-%zu\">%s (%s)</a> ", i + 1, suspect_verdict_name(s->verdict),
			suspect_confidence_name(s->confidence));
		page_size(out, (int64_t)s->retained_bytes);
		if (s->count) {
			fputs(" of <span class=\"mono\">", out);
			page_text(out, s->type);
			fputs("</span>", out);
		}
		if (holder) {
			fputs(", held by <span class=\"mono\">", out);
			page_text(out, holder);
			fputs("</span>", out);
		}
		putc('\n', out);
		free(holder);
	}
	fputs("</ol>\n", out);
	if (suspects->count > 5)
		fprintf(out, "<p class=\"dim\">and %zu more below</p>\n", suspects->count - 5);
}

static int estimates_section(FILE *out, const struct page_facts *facts)
{
	struct estimates estimates;
	int r = estimates_read(facts->series, &estimates);

	if (r == 0)
		estimates_page(out, &estimates);
	estimates_done(&estimates);
	return r;
}

static int write_page(FILE *out, const struct page_facts *facts)
{
	static int (*const sections[])(FILE *, const struct page_facts *) = {
		page_suspects, page_leaks, page_growth, estimates_section, page_ages, page_account, page_snapshots, page_notes,
	};
	const struct heap_meta *meta = &series_last(facts->series)->heap->meta;
	char *name = NULL, *title;
	size_t length = 0;
	FILE *memory = open_memstream(&name, &length);
	int r;

	if (!memory)
		return -ENOMEM;
	report_command(memory, meta);
	if (fclose(memory) != 0)
		return -ENOMEM;
	title = text_format("%s (pid %" PRIu32 ")", name, meta->pid);
	free(name);
	if (!title)
		return -ENOMEM;
	name = text_format("leakdiff: %s", title);
	page_begin(out, name);
	free(name);
	fputs("<header><h1>", out);
	page_text(out, title);
	free(title);
	fputs("</h1>\n", out);
	r = summary(out, facts);
	short_list(out, facts->suspects);
	fprintf(out, "<nav>%s<a href=\"#growth\">%s</a><a href=\"#ages\">ages</a>"
		"<a href=\"#memory\">resident memory</a><a href=\"#snapshots\">snapshots</a><a href=\"#notes\">what is uncertain</a>"
		"</nav></header>\n", facts->suspects ? "<a href=\"#verdicts\">verdicts</a>" : "<a href=\"#leaks\">leaks</a>",
		facts->suspects ? "growth" : "types");
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]) && r == 0; i++)
		r = sections[i](out, facts);
	page_end(out);
	return r;
}

/* Ask everything, then write: of a page that fails nothing is left. */
static int answer(const struct loaded *loaded, const char *command)
{
	const struct diff_options rows = { .keep_nodes = loaded->count == 1,
					   .sort = loaded->count == 1 ? DIFF_SORT_BYTES : DIFF_SORT_GROWTH };
	struct page_facts facts = { .series = loaded->series, .command = command };
	bool profile = heap_is_profile(series_last(loaded->series)->heap);
	struct suspects *suspects = NULL;
	struct leak_list *leaks = NULL;
	struct dominators *tree = NULL;
	struct diff *diff = NULL;
	struct output output;
	struct rows table;
	int status, r, made;

	cmd_bar_step("adding up", ROWS_SHARE);
	rows_begin(&table, loaded->series, &rows, true);
	r = loaded->count > 1 ? suspects_find(loaded->series, &suspects) : retained_tree(loaded->series, &tree);
	made = rows_end(&table, &diff);
	if (r == 0)
		r = made;
	if (r == 0 && tree)
		r = retained_add(loaded->series, tree, diff);
	dominators_free(tree);
	if (r == 0 && loaded->count == 1 && !profile)
		r = leak_list_make(loaded->series, NULL, NULL, &leaks);
	cmd_bar_end();
	facts.diff = diff;
	facts.suspects = suspects;
	facts.leaks = leaks;
	status = r < 0 ? load_trouble(r) : output_begin(options.output, &output);
	if (status == 0) {
		r = write_page(stdout, &facts);
		status = r < 0 ? load_trouble(r) : CMD_OK;
		status = output_end(&output, status);
	}
	leak_list_free(leaks);
	suspects_free(suspects);
	diff_free(diff);
	return status;
}

static int run(int argc, char **argv)
{
	struct loaded loaded;
	char *command;
	int status;

	if (argc < 1)
		return cmd_usage(&cmd_report, "report takes one snapshot or more");
	if (!options.output)
		return cmd_usage(&cmd_report, "say where the page goes with -o FILE.html");
	if (options.quiet)
		cmd_bar_off();
	setenv("NO_COLOR", "1", 1);	/* the page's sentences have no terminal's colours */
	cmd_bar_expect(ROWS_SHARE + (argc > 1 ? SERIES_STEPS_SHARES : 0));
	command = command_of(argc, argv);
	status = command ? load_series_for(argv, (size_t)argc, &(struct load_plan){ .paths = argc > 2 }, &loaded) :
			   load_trouble(-ENOMEM);
	if (status == 0) {
		status = answer(&loaded, command);
		loaded_done(&loaded);
	}
	free(command);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "output", 'o', CMD_STRING, "FILE", "write the page there", &options.output },
	{ "quiet", 0, CMD_FLAG, NULL, "no progress bar", &options.quiet },
	{ 0 },
};

const struct cmd cmd_report = {
	.name = "report",
	.synopsis = "report SNAP [SNAP ...] -o FILE.html",
	.summary = "the whole answer as one web page that stands alone",
	.detail = "Verdicts with chains, stacks and pictures, growth, ages, resident memory, what is uncertain. The page\n"
		  "loads nothing from elsewhere, and can be read without JavaScript. Snapshots are given oldest first.\n"
		  "Exit status: 0, or 2 for trouble.",
	.options = cmd_options,
	.run = run,
};
