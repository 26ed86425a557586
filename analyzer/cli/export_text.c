/* SPDX-License-Identifier: Apache-2.0
 * L2  export_text.c - collapsed stacks and speedscope's JSON.
 *
 * Both are written as they are walked: what is kept is the stacks, not the text. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "cli/json.h"
#include "core/text.h"

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *function_of(const struct export_frame *frame)
{
	return *frame->function ? frame->function : *frame->module ? frame->module : "(unknown)";
}

/* "handle_put http_cache.c:266", and "_[i]" when it was inlined, which flame graphs colour. ';' ends a frame. */
static char *collapsed_frame(const struct export_frame *frame)
{
	struct text text = { 0 };
	char *name;

	text_append_escaped(&text, function_of(frame));
	if (*frame->file) {
		text_append(&text, " ");
		text_append_escaped(&text, base_of(frame->file));
		if (frame->line)
			text_printf(&text, ":%" PRIu32, frame->line);
	}
	if (frame->inlined)
		text_append(&text, "_[i]");
	name = text_take(&text);
	for (char *c = name; c && *c; c++)
		if (*c == ';')
			*c = ',';
	return name;
}

static char **collapsed_frames(const struct export *export)
{
	char **names = calloc((size_t)export->frame_count + 1, sizeof(*names));

	for (uint32_t i = 0; names && i < export->frame_count; i++) {
		names[i] = collapsed_frame(&export->frames[i]);
		if (names[i])
			continue;
		while (i)
			free(names[--i]);
		free(names);
		return NULL;
	}
	return names;
}

int export_write_collapsed(FILE *out, const struct export *export, enum export_value value)
{
	char **names = collapsed_frames(export);

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < export->sample_count;) {
		const struct export_stack *stack = &export->stacks[export->samples[i].stack];
		int64_t sum = export_add_up(export, value, &i);

		if (!sum)
			continue;
		for (uint32_t f = stack->count; f-- > 0;) {
			fputs(names[export->stack_frames[stack->first + f]], out);
			putc(f ? ';' : ' ', out);
		}
		fprintf(out, "%" PRId64 "\n", sum);
	}
	for (uint32_t i = 0; i < export->frame_count; i++)
		free(names[i]);
	free(names);
	return 0;
}

/* ---- speedscope ---- */

struct profile {
	const char *name, *unit;
	enum export_value value;
	int sign;			/* stacks whose value has this sign; its weight is without */
};

/* A weight cannot be negative there: what shrank is a profile of its own. */
static const struct profile profiles[] = {
	{ "live bytes", "bytes", EXPORT_BYTES, 1 },
	{ "live blocks", "none", EXPORT_COUNT, 1 },
	{ "new bytes", "bytes", EXPORT_NEW_BYTES, 1 },
	{ "new blocks", "none", EXPORT_NEW_COUNT, 1 },
	{ "grown bytes", "bytes", EXPORT_GROWTH_BYTES, 1 },
	{ "grown blocks", "none", EXPORT_GROWTH_COUNT, 1 },
	{ "shrunk bytes", "bytes", EXPORT_GROWTH_BYTES, -1 },
	{ "shrunk blocks", "none", EXPORT_GROWTH_COUNT, -1 },
};
#define PROFILES (sizeof(profiles) / sizeof(profiles[0]))

static int64_t weight_of(const struct export *export, const struct profile *profile, size_t *sample)
{
	int64_t sum = export_add_up(export, profile->value, sample) * profile->sign;

	return sum > 0 ? sum : 0;
}

static int write_frames(FILE *out, const struct export *export)
{
	int r = 0;

	for (uint32_t i = 0; i < export->frame_count && r == 0; i++) {
		const struct export_frame *frame = &export->frames[i];

		fputs(i ? ",\n{\"name\":" : "\n{\"name\":", out);
		r = json_write_text(out, function_of(frame));
		if (r == 0 && *frame->file) {
			fputs(",\"file\":", out);
			r = json_write_text(out, frame->file);
		} else if (r == 0 && *frame->module) {
			fputs(",\"file\":", out);
			r = json_write_text(out, frame->module);
		}
		if (frame->line)
			fprintf(out, ",\"line\":%" PRIu32, frame->line);
		putc('}', out);
	}
	return r;
}

static void write_profile(FILE *out, const struct export *export, const struct profile *profile)
{
	const char *before = "\n";
	uint64_t total = 0;

	fprintf(out, "\n{\"type\":\"sampled\",\"name\":\"%s\",\"unit\":\"%s\",\"samples\":[", profile->name, profile->unit);
	for (size_t i = 0; i < export->sample_count;) {
		const struct export_stack *stack = &export->stacks[export->samples[i].stack];
		int64_t weight = weight_of(export, profile, &i);

		if (!weight)
			continue;
		total += (uint64_t)weight;
		fprintf(out, "%s[", before);
		before = ",\n";
		for (uint32_t f = stack->count; f-- > 0;)
			fprintf(out, "%" PRIu32 "%s", export->stack_frames[stack->first + f], f ? "," : "]");
	}
	fputs("],\n\"weights\":[", out);
	before = "";
	for (size_t i = 0; i < export->sample_count;) {
		int64_t weight = weight_of(export, profile, &i);

		if (!weight)
			continue;
		fprintf(out, "%s%" PRId64, before, weight);
		before = ",";
	}
	fprintf(out, "],\n\"startValue\":0,\"endValue\":%" PRIu64 "}", total);
}

static bool has_samples(const struct export *export, const struct profile *profile)
{
	for (size_t i = 0; i < export->sample_count;)
		if (weight_of(export, profile, &i))
			return true;
	return false;
}

int export_write_speedscope(FILE *out, const struct export *export)
{
	size_t shown = 0, active = 0;
	int r;

	fputs("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n"
	      "\"exporter\":\"leakdiff " LEAKDIFF_VERSION "\",\n\"name\":", out);
	r = json_write_text(out, export->meta->command && *export->meta->command ? export->meta->command : "leakdiff");
	fputs(",\n\"shared\":{\"frames\":[", out);
	if (r == 0)
		r = write_frames(out, export);
	fputs("]},\n\"profiles\":[", out);
	for (size_t p = 0; p < PROFILES && r == 0; p++) {
		if (profiles[p].value >= export->value_count || (p && !has_samples(export, &profiles[p])))
			continue;
		if (shown)
			putc(',', out);
		if (profiles[p].value == EXPORT_NEW_BYTES)
			active = shown;
		write_profile(out, export, &profiles[p]);
		shown++;
	}
	fprintf(out, "],\n\"activeProfileIndex\":%zu}\n", active);
	return r;
}
