/* SPDX-License-Identifier: Apache-2.0
 * L2  export_pprof.c - pprof's profile.proto, gzipped; the only user of zlib.
 *
 * A protobuf message is a run of fields: varint of (number << 3 | wire type), then a varint (type 0) or a
 * length and that many bytes (type 2). Nothing else is needed here. Inner messages are built in a buffer
 * of their own, since their length comes first.
 *
 *   Profile  1 sample_type  2 sample  3 mapping  4 location  5 function  6 string_table  9 time_nanos
 *            10 duration_nanos  11 period_type  12 period  13 comment  14 default_sample_type
 *
 * A location is one address with the functions inlined into it, innermost first, the one that the
 * compiler emitted last. Addresses are not in a snapshot's stacks, so a location is its lines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "cli/export.h"
#include "core/intern.h"
#include "core/text.h"

#define GZIP_WINDOW (15 + 16)		/* zlib: the largest window, with gzip's header and sum */
#define GZIP_MEMORY 8
#define PIECE_BYTES 65536u

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

/* pprof's own words where it has some: its viewers know inuse_space. */
static const struct { const char *name, *unit; } value_types[] = {
	[EXPORT_BYTES] = { "inuse_space", "bytes" },	   [EXPORT_COUNT] = { "inuse_objects", "count" },
	[EXPORT_NEW_BYTES] = { "new_space", "bytes" },	   [EXPORT_NEW_COUNT] = { "new_objects", "count" },
	[EXPORT_GROWTH_BYTES] = { "growth_space", "bytes" }, [EXPORT_GROWTH_COUNT] = { "growth_objects", "count" },
};

struct writer {
	FILE *out;
	z_stream gzip;
	const struct export *export;
	struct text message, inner;	/* one field of the profile at a time, and a message in it */
	struct intern string_table, location_table, mapping_table, function_table;
	struct text strings;		/* fields 6, in order */
	struct text locations, mappings, functions;	/* fields 4, 3 and 5 */
	int error;
};

/* ---- protobuf ---- */

static void put_varint(struct text *to, uint64_t value)
{
	char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (char)(value & 0x7f);
		value >>= 7;
		if (value)
			bytes[n] = (char)(bytes[n] | 0x80);
		n++;
	} while (value);
	text_append_bytes(to, bytes, n);
}

static void put_number(struct text *to, unsigned field, uint64_t value)
{
	put_varint(to, field << 3 | WIRE_VARINT);
	put_varint(to, value);
}

static void put_bytes(struct text *to, unsigned field, const char *bytes, size_t count)
{
	put_varint(to, field << 3 | WIRE_BYTES);
	put_varint(to, count);
	if (count)
		text_append_bytes(to, bytes, count);
}

/* A message that was built, as a field of another; it is empty afterwards. */
static void put_message(struct text *to, unsigned field, struct text *message)
{
	to->broken |= message->broken;
	put_bytes(to, field, message->data, message->length);
	message->length = 0;
}

/* ---- gzip ---- */

static void squeeze(struct writer *w, const char *bytes, size_t count, int flush)
{
	unsigned char piece[PIECE_BYTES];

	w->gzip.next_in = (Bytef *)(uintptr_t)bytes;
	do {
		uInt part = count < PIECE_BYTES ? (uInt)count : PIECE_BYTES;
		int last = part == count ? flush : Z_NO_FLUSH;

		w->gzip.avail_in = part;
		count -= part;
		do {
			w->gzip.next_out = piece;
			w->gzip.avail_out = sizeof(piece);
			deflate(&w->gzip, last);
			fwrite(piece, 1, sizeof(piece) - w->gzip.avail_out, w->out);
		} while (w->gzip.avail_out == 0);
	} while (count);
}

static void send(struct writer *w, struct text *text)
{
	if (text->broken)
		w->error = -ENOMEM;
	else if (text->length)
		squeeze(w, text->data, text->length, Z_NO_FLUSH);
	text->length = 0;
}

/* ---- what a profile is made of ---- */

static uint64_t string_number(struct writer *w, const char *string)
{
	struct intern_key key = { 0 };
	char *safe;
	int64_t number;
	int is_new;

	intern_fold(&key, string);
	number = intern_number(&w->string_table, key, &is_new);
	if (number < 0) {
		w->error = -ENOMEM;
		return 0;
	}
	if (is_new) {
		safe = text_escape(string);
		if (!safe)
			w->error = -ENOMEM;
		put_bytes(&w->strings, 6, safe, safe ? strlen(safe) : 0);
		free(safe);
	}
	return (uint64_t)number;
}

static void put_value_type(struct writer *w, unsigned field, enum export_value value)
{
	put_number(&w->inner, 1, string_number(w, value_types[value].name));
	put_number(&w->inner, 2, string_number(w, value_types[value].unit));
	put_message(&w->message, field, &w->inner);
}

static uint64_t function_number(struct writer *w, const struct export_frame *frame)
{
	uint64_t name = string_number(w, *frame->function ? frame->function : *frame->module ? frame->module : "(unknown)");
	uint64_t file = string_number(w, frame->file);
	struct text function = { 0 };
	int64_t number;
	int is_new;

	number = intern_number(&w->function_table, intern_pair(name, file), &is_new);
	if (number < 0) {
		w->error = -ENOMEM;
		return 0;
	}
	if (is_new) {
		put_number(&function, 1, (uint64_t)number + 1);
		put_number(&function, 2, name);
		put_number(&function, 3, name);
		put_number(&function, 4, file);
		put_message(&w->functions, 5, &function);
		text_done(&function);
	}
	return (uint64_t)number + 1;
}

/* A module. It says that it has names: pprof looks for no binary. */
static uint64_t mapping_number(struct writer *w, const char *module)
{
	struct intern_key key = { 0 };
	int64_t number;
	int is_new;

	if (!*module)
		return 0;
	intern_fold(&key, module);
	number = intern_number(&w->mapping_table, key, &is_new);
	if (number < 0) {
		w->error = -ENOMEM;
		return 0;
	}
	if (is_new) {
		struct text mapping = { 0 };

		put_number(&mapping, 1, (uint64_t)number + 1);
		put_number(&mapping, 5, string_number(w, module));
		for (unsigned field = 7; field <= 10; field++)
			put_number(&mapping, field, 1);
		put_message(&w->mappings, 3, &mapping);
		text_done(&mapping);
	}
	return (uint64_t)number + 1;
}

/* The location of frames[0 .. count - 1]: all but the last were inlined into it. */
static uint64_t location_number(struct writer *w, const uint32_t *frames, uint32_t count)
{
	struct intern_key key = { .high = count };
	struct text location = { 0 }, line = { 0 };
	int64_t number;
	int is_new;

	for (uint32_t i = 0; i < count; i++)
		key = intern_pair(key.low ^ frames[i], key.high + (i + 1) * 0x9e3779b97f4a7c15ull);
	number = intern_number(&w->location_table, key, &is_new);
	if (number < 0) {
		w->error = -ENOMEM;
		return 0;
	}
	if (!is_new)
		return (uint64_t)number + 1;
	put_number(&location, 1, (uint64_t)number + 1);
	put_number(&location, 2, mapping_number(w, w->export->frames[frames[count - 1]].module));
	for (uint32_t i = 0; i < count; i++) {
		put_number(&line, 1, function_number(w, &w->export->frames[frames[i]]));
		put_number(&line, 2, w->export->frames[frames[i]].line);
		put_message(&location, 4, &line);
	}
	put_message(&w->locations, 4, &location);
	text_done(&location);
	text_done(&line);
	return (uint64_t)number + 1;
}

static void put_sample(struct writer *w, const struct export_sample *sample, struct text *numbers)
{
	const struct export *export = w->export;
	const struct export_stack *stack = &export->stacks[sample->stack];
	const uint32_t *frames = export->stack_frames + stack->first;

	for (uint32_t i = 0, end; i < stack->count; i = end) {
		for (end = i; end + 1 < stack->count && export->frames[frames[end]].inlined;)
			end++;
		end++;
		put_varint(numbers, location_number(w, frames + i, end - i));
	}
	put_message(&w->inner, 1, numbers);
	for (size_t v = 0; v < export->value_count; v++)
		put_varint(numbers, (uint64_t)sample->values[v]);
	put_message(&w->inner, 2, numbers);
	if (sample->exact) {		/* as heap profiles say it: the size of one object */
		put_number(numbers, 1, string_number(w, "bytes"));
		put_number(numbers, 3, sample->size);
		put_number(numbers, 4, string_number(w, "bytes"));
		put_message(&w->inner, 3, numbers);
	}
	put_message(&w->message, 2, &w->inner);
	send(w, &w->message);
}

static void put_facts(struct writer *w)
{
	const struct heap_meta *meta = w->export->meta;

	if (meta->taken_ns > 0)
		put_number(&w->message, 9, (uint64_t)meta->taken_ns);
	if (w->export->interval_s > 0)
		put_number(&w->message, 10, (uint64_t)(w->export->interval_s * 1e9));
	put_value_type(w, 11, EXPORT_BYTES);
	put_number(&w->message, 12, 1);
	put_number(&w->message, 13, string_number(w, "leakdiff " LEAKDIFF_VERSION));
	put_number(&w->message, 13, string_number(w, meta->command && *meta->command ? meta->command : "(no command)"));
	put_number(&w->message, 14, string_number(w, value_types[w->export->value_count > EXPORT_NEW_BYTES ?
								     EXPORT_NEW_BYTES : EXPORT_BYTES].name));
	send(w, &w->message);
}

int export_write_pprof(FILE *out, const struct export *export)
{
	struct writer w = { .out = out, .export = export };
	struct text numbers = { 0 };

	if (deflateInit2(&w.gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	string_number(&w, "");		/* number 0 must be empty */
	for (size_t v = 0; v < export->value_count; v++)
		put_value_type(&w, 1, (enum export_value)v);
	put_facts(&w);
	for (size_t i = 0; i < export->sample_count && !w.error; i++)
		put_sample(&w, &export->samples[i], &numbers);
	send(&w, &w.mappings);
	send(&w, &w.locations);
	send(&w, &w.functions);
	send(&w, &w.strings);
	squeeze(&w, "", 0, Z_FINISH);
	deflateEnd(&w.gzip);
	text_done(&numbers);
	text_done(&w.message);
	text_done(&w.inner);
	text_done(&w.strings);
	text_done(&w.locations);
	text_done(&w.mappings);
	text_done(&w.functions);
	intern_done(&w.string_table);
	intern_done(&w.location_table);
	intern_done(&w.mapping_table);
	intern_done(&w.function_table);
	return w.error;
}
