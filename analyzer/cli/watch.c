/* SPDX-License-Identifier: Apache-2.0
 * L3  watch.c - a service watched: taking, comparing, deleting. */
#include "cli/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/json_watch.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/target.h"
#include "core/accept.h"
#include "core/chains.h"
#include "core/names.h"
#include "core/text.h"

#define SUSPECTS_SHOWN 5		/* of a round; the rest is counted */

static void say(struct watch *w, char *sentence)
{
	char *shown = sentence ? text_escape(sentence) : NULL;
	char *both = text_format("%s%s\n", w->said ? w->said : "", shown ? shown : "there is not enough memory");

	free(sentence);
	free(shown);
	if (both) {
		free(w->said);
		w->said = both;
	}
}

static char *signed_size(int64_t bytes, char buffer[TEXT_SIZE])
{
	char plain[TEXT_SIZE];

	text_size(bytes, plain);
	snprintf(buffer, TEXT_SIZE, "%s%.*s", bytes > 0 ? "+" : "", TEXT_SIZE - 2, plain);
	return buffer;
}

static char *time_of_day(int64_t ns, char buffer[TEXT_SIZE])
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(buffer, TEXT_SIZE, "%H:%M:%S", &tm))
		snprintf(buffer, TEXT_SIZE, "?");
	return buffer;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static int growth_lines(FILE *out, const struct series *series, const struct diff *diff, size_t limit)
{
	static const char *const headers[] = { "growth", "last step", "per hour", "count", "", "type" };
	struct table *table = table_new(headers, "rrrrrl");
	size_t last = diff->heap_count - 1, shown = 0, grown = 0;
	double hours = series_interval_s(series) / 3600;
	int r;

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < diff->row_count; i++) {
		const struct diff_row *row = &diff->rows[i];
		int64_t growth = diff_growth_bytes(diff, row);
		char all[TEXT_SIZE], step[TEXT_SIZE], rate[TEXT_SIZE], count[TEXT_SIZE], more[TEXT_SIZE], *type;

		grown += growth > 0;
		if (growth <= 0 || shown >= limit)
			continue;
		type = text_escape(row->type);
		text_count(diff_growth_count(diff, row), more);
		const char *cells[] = { signed_size(growth, all),
					signed_size((int64_t)(row->bytes[last] - row->bytes[last - 1]), step),
					hours > 0 ? signed_size((int64_t)((double)growth / hours), rate) : "?",
					text_count((int64_t)row->count[last], count), more, type ? type : "?" };

		table_add(table, cells);
		free(type);
		shown++;
	}
	r = 0;
	if (shown)
		r = table_print(table, out, 2);
	else
		fputs("  nothing has grown\n", out);
	if (grown > shown)
		fprintf(out, "  (%zu more row%s grew: --top N shows more)\n", grown - shown, text_s(grown - shown));
	table_free(table);
	return r;
}

/* A suspect in two lines: what, and who holds it. */
static void suspect_lines(FILE *out, const struct heap *heap, const struct suspect *s, size_t rank)
{
	char *what = suspect_what(s), *type = text_escape(what ? what : s->type), *holder = NULL, *shown = NULL;
	char size[TEXT_SIZE];

	fprintf(out, "  %zu. %s (%s)  %s", rank, suspect_verdict_name(s->verdict), suspect_confidence_name(s->confidence),
		text_size((int64_t)s->bytes, size));
	if (s->count)
		fprintf(out, " in %s", type ? type : "?");
	putc('\n', out);
	if (s->root != HEAP_NONE)
		holder = chain_holder_name(heap, s->root, &s->chain);
	if (holder)
		shown = text_escape(holder);
	if (shown)
		fprintf(out, "     held by %s %s", names_root_kind(heap->root[s->root].kind), shown);
	else if (s->verdict == SUSPECT_UNREACHABLE)
		fputs("     held by nothing that was found", out);
	if (shown || s->verdict == SUSPECT_UNREACHABLE)
		putc('\n', out);
	free(holder);
	free(shown);
	shown = s->reason ? text_escape(s->reason) : NULL;
	if (shown)
		fprintf(out, "     why: %s\n", shown);
	free(shown);
	free(type);
	free(what);
}

static int comparison_text(struct watch *w, const struct series *series, const struct diff *diff,
			   const struct suspects *suspects)
{
	const struct heap *heap = series_last(series)->heap;
	char *text = NULL;
	size_t length = 0, shown = suspects->count < SUSPECTS_SHOWN ? suspects->count : SUSPECTS_SHOWN;
	FILE *out = open_memstream(&text, &length);
	int r;

	if (!out)
		return -ENOMEM;
	r = growth_lines(out, series, diff, w->rows);
	if (suspects->count)
		putc('\n', out);
	for (size_t i = 0; i < shown; i++)
		suspect_lines(out, heap, &suspects->list[i], i + 1);
	if (suspects->count > shown)
		fprintf(out, "  (%zu more suspects: leakdiff with the kept files shows all)\n", suspects->count - shown);
	if (!suspects->count)
		fputs("\n  no suspect\n", out);
	for (size_t i = 0; i < suspects->note_count; i++) {
		char *note = text_escape(suspects->notes[i]);

		fprintf(out, "  note: %s\n", note ? note : "?");
		free(note);
	}
	if (fclose(out) != 0 || r < 0) {
		free(text);
		return -ENOMEM;
	}
	free(w->comparison);
	w->comparison = text;
	return 0;
}

static void note_verdict(struct watch_round *round, const struct suspects *suspects)
{
	const struct suspect *s = suspects->count ? &suspects->list[0] : NULL;
	char size[TEXT_SIZE];

	if (s)
		snprintf(round->verdict, sizeof(round->verdict), "%s (%s) %s", suspect_verdict_name(s->verdict),
			 suspect_confidence_name(s->confidence), text_size((int64_t)s->retained_bytes, size));
	else
		snprintf(round->verdict, sizeof(round->verdict), "no suspect");
}

static char *command_name(const struct heap_meta *meta)
{
	char *name = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&name, &length);

	if (!out)
		return NULL;
	report_command(out, meta);
	fclose(out);
	return name;
}

static int compare_loaded(struct watch *w, const struct loaded *loaded, struct watch_round *round)
{
	static const struct diff_options by_type;
	const struct heap *heap = series_last(loaded->series)->heap;
	struct acceptance nothing = { 0 };
	struct suspects *suspects = NULL;
	struct diff *diff = NULL;
	int r = 0;

	round->rss_bytes = heap->meta.rss_bytes;
	round->taken_ns = heap->meta.taken_ns;
	if (!w->name)
		w->name = command_name(&heap->meta);
	r = diff_make(loaded->series, &by_type, &diff);
	if (r == 0)
		round->live_bytes = diff->bytes[diff->heap_count - 1];
	if (r == 0 && loaded->count > 1) {
		r = suspects_find(loaded->series, &suspects);
		if (r == 0)
			r = accept_apply(&nothing, suspects);
		if (r == 0)
			note_verdict(round, suspects);
		if (r == 0)
			r = comparison_text(w, loaded->series, diff, suspects);
	}
	if (r == 0 && w->json)
		r = json_watch_round(w, loaded->series, loaded->count > 1 ? diff : NULL, suspects, &nothing);
	suspects_free(suspects);
	diff_free(diff);
	return r;
}

static void compare(struct watch *w, struct watch_round *round)
{
	char **paths = calloc(w->kept_count, sizeof(*paths));
	struct loaded loaded;
	int r = paths ? 0 : -ENOMEM;

	for (size_t i = 0; i < w->kept_count && paths; i++)
		paths[i] = w->kept[i].taken.path;
	if (r == 0 && load_series(paths, w->kept_count, &loaded) == 0) {	/* says itself what is wrong */
		r = compare_loaded(w, &loaded, round);
		loaded_done(&loaded);
	}
	free(paths);
	if (r < 0)
		load_trouble(r);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Delete one file, if it still is the one that was made. */
static void forget(struct watch *w, size_t index)
{
	struct kept *gone = &w->kept[index];
	const char *trouble = NULL;
	char size[TEXT_SIZE];
	struct stat now;

	if (lstat(gone->taken.path, &now) < 0)
		trouble = strerror(errno);
	else if (!S_ISREG(now.st_mode) || !gone->taken.inode || (uint64_t)now.st_ino != gone->taken.inode ||
		 (uint64_t)now.st_dev != gone->taken.device)
		trouble = "it is not the file that was made";
	else if (unlink(gone->taken.path) < 0)
		trouble = strerror(errno);
	if (w->json)
		json_watch_deleted(w, gone->taken.path, trouble);
	if (trouble) {
		say(w, text_format("not deleted (%s): %s", trouble, gone->taken.path));
	} else {
		say(w, text_format("deleted %s (%s)", gone->taken.path, text_size((int64_t)gone->taken.file_bytes, size)));
		w->deleted++;
		w->deleted_bytes += gone->taken.file_bytes;
	}
	taken_done(&gone->taken);
	memmove(gone, gone + 1, (w->kept_count - index - 1) * sizeof(*gone));
	w->kept_count--;
}

/* What is between the first and the last and no multiple of the stride goes. */
static void thin(struct watch *w)
{
	uint64_t stride = w->stride ? w->stride : 1;

	for (;;) {
		for (size_t i = 1; i + 1 < w->kept_count;) {
			if (w->kept[i].number % stride)
				forget(w, i);
			else
				i++;
		}
		if (w->kept_count <= w->keep || w->kept_count <= 2)
			break;
		stride = w->keep > 2 ? stride * 2 : UINT64_MAX;
	}
	w->stride = stride;
}

static int remember(struct watch *w, const struct watch_round *round)
{
	if (!w->history) {
		w->history = calloc(WATCH_HISTORY, sizeof(*w->history));
		if (!w->history)
			return -ENOMEM;
	}
	if (w->history_count == WATCH_HISTORY) {
		memmove(w->history + 1, w->history + 2, (WATCH_HISTORY - 2) * sizeof(*w->history));
		w->history_count--;
		w->forgotten++;
	}
	w->history[w->history_count++] = *round;
	return 0;
}

/* ---- a round -------------------------------------------------------------------------------- */

static enum watch_result refuse(struct watch *w, int error, char *sentence)
{
	bool ended = error == -ESRCH && kill(w->pid, 0) < 0 && errno == ESRCH;

	if (!ended)
		w->refused++;
	if (w->json && !ended)
		json_watch_trouble(w, sentence ? sentence : strerror(-error));
	say(w, ended ? text_format("process %d has ended", (int)w->pid) :
	       text_format("no snapshot: %s", sentence ? sentence : strerror(-error)));
	free(sentence);
	return ended ? WATCH_ENDED : WATCH_REFUSED;
}

enum watch_result watch_run_round(struct watch *w)
{
	struct watch_round round = { 0 };
	struct target target;
	struct taken taken;
	struct kept *grown;
	struct timespec now;
	char *error = NULL;
	int r;

	free(w->said);
	w->said = NULL;
	r = target_open(w->pid, &target, &error);
	if (r < 0)
		return refuse(w, r, error);
	r = take_snapshot(&target, &w->take, &taken, &error);
	target_done(&target);
	if (r < 0)
		return refuse(w, r, error);
	grown = reallocarray(w->kept, w->kept_count + 1, sizeof(*grown));
	if (!grown) {
		unlink(taken.path);
		taken_done(&taken);
		return refuse(w, -ENOMEM, NULL);
	}
	w->kept = grown;
	clock_gettime(CLOCK_REALTIME, &now);
	w->kept[w->kept_count++] = (struct kept){ taken, w->taken };
	w->taken++;
	round = (struct watch_round){ .taken_ns = now.tv_sec * (int64_t)1000000000 + now.tv_nsec, .live_bytes = taken.bytes,
				      .blocks = taken.blocks, .pause_ns = taken.pause_ns };
	compare(w, &round);
	thin(w);
	if (remember(w, &round) < 0)
		load_trouble(-ENOMEM);
	return WATCH_TAKEN;
}

void watch_done(struct watch *w)
{
	for (size_t i = 0; i < w->kept_count; i++)
		taken_done(&w->kept[i].taken);
	free(w->kept);
	free(w->history);
	free(w->name);
	free(w->comparison);
	free(w->said);
	*w = (struct watch){ 0 };
}

/* ---- text ----------------------------------------------------------------------------------- */

void watch_print_history(const struct watch *w, FILE *out, size_t rows)
{
	static const char *const headers[] = { "taken", "verdict", "live", "step", "RSS", "step", "blocks", "pause" };
	struct table *table = table_new(headers, "llrrrrrr");
	size_t from = w->history_count > rows && rows > 1 ? w->history_count - rows + 1 : 1;
	char between[64];

	for (size_t i = 0; table && i < w->history_count; i++) {
		const struct watch_round *x = &w->history[i], *before = i ? x - 1 : x;
		char at[TEXT_SIZE], live[TEXT_SIZE], step[TEXT_SIZE], rss[TEXT_SIZE], more[TEXT_SIZE], blocks[TEXT_SIZE],
			pause[TEXT_SIZE];

		if (i && i < from)
			continue;
		if (i == from && (from > 1 || w->forgotten)) {
			snprintf(between, sizeof(between), "%" PRIu64 " more", w->forgotten + from - 1);
			const char *cells[] = { "...", between, "", "", "", "", "", "" };

			table_add(table, cells);
		}
		snprintf(pause, sizeof(pause), "%.1f ms", (double)x->pause_ns / 1e6);
		const char *cells[] = { time_of_day(x->taken_ns, at), *x->verdict ? x->verdict : "(the first)",
					text_size((int64_t)x->live_bytes, live),
					i ? signed_size((int64_t)(x->live_bytes - before->live_bytes), step) : "",
					text_size((int64_t)x->rss_bytes, rss),
					i ? signed_size((int64_t)(x->rss_bytes - before->rss_bytes), more) : "",
					text_count((int64_t)x->blocks, blocks), pause };

		table_add(table, cells);
	}
	if (!table || table_print(table, out, 2) < 0)
		fputs("  (there is not enough memory)\n", out);
	table_free(table);
}

void watch_print_round(const struct watch *w, FILE *out)
{
	const struct watch_round *last = w->history_count ? &w->history[w->history_count - 1] : NULL;
	char at[TEXT_SIZE], live[TEXT_SIZE], rss[TEXT_SIZE], step[TEXT_SIZE], all[TEXT_SIZE];

	if (last) {
		fprintf(out, "%s  %s (pid %d)  snapshot %" PRIu64 "  live %s", time_of_day(last->taken_ns, at),
			w->name ? w->name : "process", (int)w->pid, w->taken, text_size((int64_t)last->live_bytes, live));
		if (w->history_count > 1)
			fprintf(out, " (%s, in all %s)",
				signed_size((int64_t)(last->live_bytes - last[-1].live_bytes), step),
				signed_size((int64_t)(last->live_bytes - w->history[0].live_bytes), all));
		fprintf(out, "  RSS %s  pause %.1f ms  %s\n", text_size((int64_t)last->rss_bytes, rss),
			(double)last->pause_ns / 1e6, last->verdict);
	}
	if (w->comparison)
		fputs(w->comparison, out);
	if (w->said)
		fputs(w->said, out);
}

void watch_print_end(const struct watch *w, FILE *out)
{
	char size[TEXT_SIZE];
	uint64_t bytes = 0;

	for (size_t i = 0; i < w->kept_count; i++)
		bytes += w->kept[i].taken.file_bytes;
	fprintf(out, "%" PRIu64 " snapshots were taken, %" PRIu64 " could not be; %zu files stay (%s)", w->taken, w->refused,
		w->kept_count, text_size((int64_t)bytes, size));
	if (w->deleted)
		fprintf(out, ", %" PRIu64 " between them were deleted (%s)", w->deleted,
			text_size((int64_t)w->deleted_bytes, size));
	fputs(w->kept_count > 1 ? "; to compare them:\n  leakdiff" : w->kept_count ? ":\n " : "\n", out);
	for (size_t i = 0; i < w->kept_count; i++) {
		char *path = text_escape(w->kept[i].taken.path);

		fprintf(out, " %s", path ? path : "?");
		free(path);
	}
	if (w->kept_count)
		putc('\n', out);
}
