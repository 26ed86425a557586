/* SPDX-License-Identifier: Apache-2.0
 * L3  accepted.c - accepted growth on the command line. */
#include "cli/accepted.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/json_baseline.h"
#include "cli/load.h"
#include "cli/output.h"
#include "core/text.h"

int accepted_load(struct acceptance *acceptance, const char *suppressions, const char *baseline)
{
	char *error = NULL;
	int r = 0;

	if (suppressions)
		r = suppress_load(suppressions, &acceptance->suppressions, &error);
	if (r == 0 && baseline)
		r = json_read_baseline(baseline, &acceptance->baseline, &error);
	if (r < 0) {
		cmd_trouble("%s", error ? error : "there is not enough memory");
		free(error);
		accepted_done(acceptance);
		return CMD_TROUBLE;
	}
	return 0;
}

void accepted_done(struct acceptance *acceptance)
{
	acceptance->suppressions = suppress_free(acceptance->suppressions);
	acceptance->baseline = baseline_free(acceptance->baseline);
}

static void put(FILE *out, const char *name)
{
	char *escaped = text_escape(name);

	fputs(escaped ? escaped : "?", out);
	free(escaped);
}

void accepted_say_suppressed(FILE *out, const struct suppressions *suppressions, bool unused)
{
	char size[TEXT_SIZE], count[TEXT_SIZE];

	for (size_t i = 0; suppressions && i < suppressions->count; i++) {
		const struct suppression *s = &suppressions->list[i];

		if (!s->bytes && !s->count)
			continue;
		fprintf(out, "suppressed: %s in %s x by leak:", text_size((int64_t)s->bytes, size),
			text_count((int64_t)s->count, count));
		put(out, s->pattern);
		putc('\n', out);
	}
	for (size_t i = 0; suppressions && unused && i < suppressions->count; i++) {
		const struct suppression *s = &suppressions->list[i];

		if (s->bytes || s->count)
			continue;
		fputs("unused: leak:", out);
		put(out, s->pattern);
		fputs(" matched nothing\n", out);
	}
}

static void put_entry(FILE *out, const struct allowance *entry)
{
	put(out, entry->type ? entry->type : "*");
	if (entry->site && *entry->site) {
		fputs(" by ", out);
		put(out, entry->site);
	}
}

static void say_baseline(FILE *out, const struct baseline *baseline, bool unused)
{
	char size[TEXT_SIZE], count[TEXT_SIZE], allowed[TEXT_SIZE];

	for (size_t i = 0; i < baseline->count; i++) {
		const struct allowance *entry = &baseline->list[i];

		if (!entry->used_bytes)
			continue;
		fprintf(out, "accepted: %s in %s x ", text_size((int64_t)entry->used_bytes, size),
			text_count((int64_t)entry->used_count, count));
		put_entry(out, entry);
		if (entry->bytes != UINT64_MAX)
			fprintf(out, " (%s allowed)\n", text_size((int64_t)entry->bytes, allowed));
		else
			fprintf(out, " (%s x allowed)\n", text_count((int64_t)entry->count, allowed));
	}
	for (size_t i = 0; i < baseline->count && unused; i++) {
		const struct allowance *entry = &baseline->list[i];

		if (entry->used_bytes)
			continue;
		fputs("unused: ", out);
		put_entry(out, entry);
		fputs(" did not grow\n", out);
	}
}

void accepted_say(FILE *out, const struct acceptance *acceptance, bool unused, bool limited)
{
	char size[TEXT_SIZE], limit[TEXT_SIZE];

	accepted_say_suppressed(out, acceptance->suppressions, unused);
	if (acceptance->baseline)
		say_baseline(out, acceptance->baseline, unused);
	if (acceptance->whole)
		fprintf(out, "%zu %s not shown: all of it is accepted\n", acceptance->whole,
			acceptance->whole == 1 ? "suspect is" : "suspects are");
	if (limited)
		fprintf(out, "limit: %s of growth that is not accepted, %s the %s of --fail-above\n",
			text_size((int64_t)acceptance->unaccepted_bytes, size),
			acceptance->unaccepted_bytes > acceptance->fail_above ? "above" : "within",
			text_size((int64_t)acceptance->fail_above, limit));
	else if (acceptance->suppressions || acceptance->baseline)
		fprintf(out, "not accepted: %s of growth\n", text_size((int64_t)acceptance->unaccepted_bytes, size));
}

int accepted_write(const char *path, struct acceptance *acceptance, const struct suspects *suspects)
{
	char *data = NULL;
	size_t length = 0, known = acceptance->baseline ? acceptance->baseline->count : 0;
	FILE *memory;
	int r;

	if (!acceptance->baseline)
		acceptance->baseline = calloc(1, sizeof(*acceptance->baseline));
	if (!acceptance->baseline || accept_learn(acceptance->baseline, suspects) < 0)
		return load_trouble(-ENOMEM);
	memory = open_memstream(&data, &length);
	if (!memory)
		return load_trouble(-ENOMEM);
	r = json_write_baseline(memory, acceptance->baseline);
	if (fclose(memory) != 0 && r == 0)
		r = -ENOMEM;
	r = r < 0 ? load_trouble(r) : output_write(path, data, length);
	free(data);
	if (r == 0)
		fprintf(stderr, "%s: %zu kinds of growth are accepted, %zu of them new\n", path,
			acceptance->baseline->count, acceptance->baseline->count - known);
	return r;
}
