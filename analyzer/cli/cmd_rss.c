/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_rss.c - `leakdiff rss SNAP [SNAP]`: where resident memory is.
 *
 * Only what the snapshot says about itself is read, no node: a large one answers at once. Cells are MiB
 * with one digit, so that a column adds up before the reader's eyes; the JSON has bytes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/rss.h"
#include "cli/table.h"
#include "core/account.h"
#include "core/arenas.h"
#include "core/series.h"
#include "core/store.h"
#include "core/text.h"

#define DETAIL_BYTES ((1 << 20) / 20)	/* what would read 0.0 is not shown */
#define NOTED_BYTES (1 << 20)

static bool json;

/* The mappings' own sums, in one row: what the account cannot say. */
static int take_mappings(int columns, char **values, bool is_header, void *data)
{
	struct rss_mappings *mappings = data;

	if (!is_header && columns == 3)
		*mappings = (struct rss_mappings){ strtoull(values[0], NULL, 10), strtoull(values[1], NULL, 10),
						   strtoull(values[2], NULL, 10) };
	return 0;
}

static int read_mappings(struct store *store, struct rss_mappings *ret_mappings, char **ret_error)
{
	return store_query(store,
			   "SELECT ifnull(sum(max(rss_bytes - pss_bytes, 0)), 0), ifnull(sum(swap_bytes), 0),"
			   " count(*) - count(rss_bytes) FROM maps", take_mappings, ret_mappings, ret_error);
}

static bool adds_up(const struct heap_account *account)
{
	uint64_t sum = 0;

	for (const struct account_part *part = account_parts; part->key; part++)
		if (__builtin_add_overflow(sum, account_value(account, part), &sum))
			return false;
	return sum == account->total_bytes;
}

static int read_one(const char *path, struct rss *rss)
{
	struct store *store = NULL;
	char *error = NULL;
	int r = store_open(path, &store, &error);

	if (r == 0)
		r = store_load_facts(store, &rss->heaps[rss->count], &error);
	if (r == 0)
		r = read_mappings(store, &rss->mappings[rss->count++], &error);
	store_free(store);
	if (r == 0 && !adds_up(&rss->heaps[rss->count - 1]->account))
		r = -EBADMSG;
	if (r < 0)
		r = error ? cmd_trouble("%s", error) : load_trouble(r);
	free(error);
	return r;
}

/* ---- what is uncertain ---- */

static void add_note(struct rss *rss, char *sentence)
{
	char **grown = sentence ? reallocarray(rss->notes, rss->note_count + 1, sizeof(*grown)) : NULL;

	if (!grown) {
		free(sentence);
		rss->broken = true;
		return;
	}
	rss->notes = grown;
	rss->notes[rss->note_count++] = sentence;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool has_note(const struct heap *heap, const char *note)
{
	for (size_t i = 0; i < heap->meta.note_count; i++)
		if (!strcmp(heap->meta.notes[i], note))
			return true;
	return false;
}

static void note_one(struct rss *rss, size_t index)
{
	const struct heap_meta *m = &rss->heaps[index]->meta;
	const struct heap_account *account = &rss->heaps[index]->account;
	const struct rss_mappings *mappings = &rss->mappings[index];
	const char *file = base_of(m->path);
	char a[TEXT_SIZE];

	if (!account->total_bytes) {
		add_note(rss, text_format("%s: resident sizes could not be read when it was taken: it has no account", file));
		return;
	}
	if (mappings->others_bytes && index + 1 == rss->count)	/* of the last: PSS stands beside it */
		add_note(rss, text_format("%s: pages that other processes have mapped too count in full; shared out "
					  "among them, %s of the total are theirs", file,
					  text_size((int64_t)mappings->others_bytes, a)));
	if (mappings->swap_bytes)
		add_note(rss, text_format("%s: %s more are swapped out: not resident, so in none of these parts", file,
					  text_size((int64_t)mappings->swap_bytes, a)));
	if (m->lazy_free_bytes >= NOTED_BYTES)
		add_note(rss, text_format("%s: %s of it were given back lazily (MADV_FREE): the kernel takes them when it needs "
					  "memory", file, text_size((int64_t)m->lazy_free_bytes, a)));
	if (m->huge_bytes >= NOTED_BYTES)
		add_note(rss, text_format("%s: %s of it lie in huge pages: one block that is used keeps 2 MiB", file,
					  text_size((int64_t)m->huge_bytes, a)));
	if (mappings->unknown)
		add_note(rss, text_format("%s: the resident size of %" PRIu64 " mappings is unknown; they are left out",
					  file, mappings->unknown));
	if (m->lost_events)
		add_note(rss, text_format("%s: %" PRIu64 " events were lost before it: as many blocks may stand under "
					  "the wrong of live blocks and allocator", file, m->lost_events));
	if (!m->consistent)
		add_note(rss, text_format("%s: not all threads were stopped: memory changed while it was added up", file));
	for (size_t i = 0; i < m->note_count; i++) {
		bool other = rss->count == 2 && has_note(rss->heaps[!index], m->notes[i]);

		if (!other || index == 0)	/* what both have is said once */
			add_note(rss, text_format("%s: %s", other ? "both" : file, m->notes[i]));
	}
}

static void note_growth(struct rss *rss)
{
	const struct heap *first = rss->heaps[0], *last = rss->heaps[1];
	uint64_t unexplained = account_unexplained(first, last);
	char size[TEXT_SIZE];

	if (!series_is_same_process(first, last))
		add_note(rss, strdup("the snapshots are of different processes"));
	if (unexplained) {
		char *why = arenas_explain(first, last, false);

		add_note(rss, !why ? NULL :
			 text_format("%s of the growth is no live block or mapping, stack, file or leakdiff's own: %s",
				     text_size((int64_t)unexplained, size), *why ? why :
				     "free memory that the allocator keeps, blocks of before recording began, or memory "
				     "that the program maps in a way that leakdiff does not see"));
		free(why);
	}
}

/* ---- text ---- */

static char *mib(int64_t bytes, bool is_signed, char buffer[TEXT_SIZE])
{
	snprintf(buffer, TEXT_SIZE, is_signed && bytes > 0 ? "+%.1f" : "%.1f", (double)bytes / (1 << 20));
	return strcmp(buffer, "-0.0") && strcmp(buffer, "+0.0") ? buffer : strcpy(buffer, "0.0");
}

static void add_row(struct table *table, const struct rss *rss, const char *label, const uint64_t *bytes)
{
	char before[TEXT_SIZE], after[TEXT_SIZE], growth[TEXT_SIZE], share[TEXT_SIZE];
	uint64_t total = rss->heaps[0]->account.total_bytes;
	const char *one[] = { label, mib((int64_t)bytes[0], false, before), share };
	const char *two[] = { label, before, mib((int64_t)bytes[rss->count - 1], false, after),
			      mib((int64_t)(bytes[rss->count - 1] - bytes[0]), true, growth) };

	snprintf(share, sizeof(share), "%.1f", total ? 100.0 * (double)bytes[0] / (double)total : 0.0);
	table_add(table, rss->count == 1 ? one : two);
}

/* What the part is made of, where it is known and not next to nothing. */
static void add_details(struct table *table, const struct rss *rss, const struct account_part *part)
{
	for (const struct account_detail *detail = account_details; detail->label; detail++) {
		uint64_t bytes[RSS_SNAPSHOTS] = { 0 }, most = 0;
		char label[80];

		for (size_t k = 0; k < rss->count; k++) {
			bytes[k] = account_detail_value(&rss->heaps[k]->details, detail);
			most = bytes[k] > most ? bytes[k] : most;
		}
		if (detail->part != part->offset || most < DETAIL_BYTES)
			continue;
		snprintf(label, sizeof(label), "  %s", detail->label);
		add_row(table, rss, label, bytes);
	}
}

static int print_table(const struct rss *rss)
{
	static const char *const one[] = { "MiB resident", "now", "%" };
	static const char *const two[] = { "MiB resident", "before", "after", "growth" };
	struct table *table = table_new(rss->count == 1 ? one : two, rss->count == 1 ? "lrr" : "lrrr");
	uint64_t bytes[RSS_SNAPSHOTS] = { 0 };
	int r;

	if (!table)
		return -ENOMEM;
	for (const struct account_part *part = account_parts; part->key; part++) {
		for (size_t k = 0; k < rss->count; k++)
			bytes[k] = account_value(&rss->heaps[k]->account, part);
		if (!bytes[0] && !bytes[rss->count - 1])	/* no Python, no shared memory: not worth a line */
			continue;
		add_row(table, rss, part->label, bytes);
		add_details(table, rss, part);
	}
	for (size_t k = 0; k < rss->count; k++)
		bytes[k] = rss->heaps[k]->account.total_bytes;
	add_row(table, rss, "all (RSS)", bytes);
	r = table_print(table, stdout, 2);
	table_free(table);
	return r;
}

static int print_sentences(const char *head, char **list, size_t count)
{
	size_t indent = strlen(head);

	for (size_t i = 0; i < count; i++) {
		char *line = text_escape(list[i]);

		if (!line)
			return -ENOMEM;
		fputs(head, stdout);
		table_wrap(stdout, line, indent, indent);
		free(line);
	}
	return 0;
}

/* Shares of common pages and the group's numbers: no further parts. */
static void print_beside(const struct heap_meta *m)
{
	char a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE];

	if (m->pss_bytes)
		printf("\n  PSS %s: pages that several processes map count in parts; %s are its own alone. Page tables: %s\n",
		       text_size((int64_t)m->pss_bytes, a), text_size((int64_t)m->private_bytes, b),
		       text_size((int64_t)m->page_table_bytes, c));
	if (!m->cgroup_current_bytes)
		return;
	printf("  control group: %s in use", text_size((int64_t)m->cgroup_current_bytes, a));
	if (m->cgroup_max_bytes)
		printf(" of %s", text_size((int64_t)m->cgroup_max_bytes, b));
	printf(", by all its processes; anonymous %s", text_size((int64_t)m->cgroup_anon_bytes, a));
	printf(", files %s\n", text_size((int64_t)m->cgroup_file_bytes, a));
}

static int print(const struct rss *rss)
{
	const struct heap_meta *m = &rss->heaps[rss->count - 1]->meta;
	int r;

	report_command(stdout, m);
	printf(" (pid %" PRIu32 "): where resident memory is\n\n", m->pid);
	r = print_table(rss);
	print_beside(m);
	if (r == 0 && rss->arenas.line_count + rss->arenas.advice_count)
		putchar('\n');
	if (r == 0)
		r = print_sentences("  ", rss->arenas.lines, rss->arenas.line_count);
	if (r == 0)
		r = print_sentences("what helps: ", rss->arenas.advice, rss->arenas.advice_count);
	if (rss->note_count)
		putchar('\n');
	if (r == 0)
		r = print_sentences("note: ", rss->notes, rss->note_count);
	return r;
}

static int run(int argc, char **argv)
{
	struct rss rss = { 0 };
	int status = CMD_OK, r = 0;

	if (argc < 1 || argc > RSS_SNAPSHOTS)
		return cmd_usage(&cmd_rss, "rss takes one snapshot or two");
	for (int i = 0; i < argc && status == CMD_OK; i++)
		status = read_one(argv[i], &rss);
	if (status == CMD_OK) {
		for (size_t k = 0; k < rss.count; k++)
			note_one(&rss, k);
		if (rss.count == 2)
			note_growth(&rss);
		if (arenas_report_make(rss.heaps[rss.count - 1], &rss.arenas) < 0)
			rss.broken = true;
		r = rss.broken ? -ENOMEM : json ? json_write_rss(&rss) : print(&rss);
		if (r < 0)
			status = load_trouble(r);
	}
	for (size_t k = 0; k < RSS_SNAPSHOTS; k++)
		heap_free(rss.heaps[k]);
	for (size_t i = 0; i < rss.note_count; i++)
		free(rss.notes[i]);
	free(rss.notes);
	arenas_report_done(&rss.arenas);
	return cmd_finish(status);
}

static const struct cmd_option options[] = {
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &json },
	{ 0 },
};

const struct cmd cmd_rss = {
	.name = "rss",
	.synopsis = "rss SNAP [SNAP] [--json]",
	.summary = "where resident memory is, to the last MiB, and what of it grew",
	.detail = "Every resident page of every mapping is in exactly one part, so the parts add up to RSS. A live\n"
		  "block counts with what of it is resident; what remains of the allocator's memory is split into holes,\n"
		  "caches, kept pages and overhead, with the arenas that hold it and what would give it back.\n"
		  "Exit status: 0; 2 trouble.",
	.options = options,
	.run = run,
};
