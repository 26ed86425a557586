/* SPDX-License-Identifier: Apache-2.0
 * L2  profile.c - heap profiles that allocators write themselves, read and checked.
 *
 *   heap_v2/524288                              heap profile: 3: 96 [5: 160] @ heapprofile
 *     t*: 3: 96 [0: 0]                          3: 96 [5: 160] @ 0x55.. 0x7f..
 *     t0: 3: 96 [0: 0]
 *   @ 0x55.. 0x7f..
 *     t*: 3: 96 [0: 0]
 *
 *   MAPPED_LIBRARIES:                           MAPPED_LIBRARIES:
 *   55..-55.. r-xp 00001000 fe:00 42  /bin/x    the same
 *
 * (1) The file is hostile: every number is read with its limits, and the first thing that does not fit
 *     ends the reading with a sentence that names the line.
 * (2) There is no end mark. A file is whole when its last line ends and it has the mappings; gperftools'
 *     totals in the first line must not be more than the stacks sum to. */
#include "core/profile.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "core/text.h"

#define MEMORY_MAX (1ull << 62)		/* sums beyond this are no memory of any machine */

struct reader {
	struct profile *profile;
	const char *name;
	const char *at, *end;		/* of the copy that profile.text is */
	uint64_t line;
	uint64_t entry_room, pc_room, mapping_room, bytes;
	uint64_t live_count, live_bytes;	/* as printed, of all stacks */
	char **ret_error;
};

/* ---- refusals ---- */

__attribute__((format(printf, 3, 4))) static int refuse(struct reader *reader, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vasprintf(reader->ret_error, format, args) < 0)
		*reader->ret_error = NULL;
	va_end(args);
	return code;
}

static int damaged(struct reader *reader, const char *what)
{
	return refuse(reader, -EBADMSG, "%s is no whole heap profile: line %llu %s; copy it again or dump another",
		      reader->name, (unsigned long long)reader->line, what);
}

static int truncated(struct reader *reader)
{
	return refuse(reader, -EBADMSG,
		      "%s is truncated: it ends after line %llu, before its list of mappings does; copy it again or "
		      "dump another", reader->name, (unsigned long long)reader->line);
}

/* ---- lines and numbers ---- */

/* Next line, NUL-terminated in place. Returns 1, 0 at the end, or -EBADMSG for a line that is cut. */
static int next_line(struct reader *reader, char **ret_line)
{
	char *line = (char *)reader->at, *newline;

	if (reader->at == reader->end)
		return 0;
	newline = memchr(line, '\n', (size_t)(reader->end - reader->at));
	if (!newline)
		return truncated(reader);
	*newline = 0;
	reader->at = newline + 1;
	reader->line++;
	*ret_line = line;
	return 1;
}

static void skip_blanks(const char **at)
{
	while (**at == ' ' || **at == '\t')
		++*at;
}

static bool take_word(const char **at, const char *word)
{
	size_t length = strlen(word);

	skip_blanks(at);
	if (strncmp(*at, word, length))
		return false;
	*at += length;
	return true;
}

static int digit_of(char c, unsigned base)
{
	int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		    c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;

	return digit < (int)base ? digit : -1;
}

static bool take_number(const char **at, unsigned base, uint64_t *ret_number)
{
	uint64_t number = 0;
	int digit;

	skip_blanks(at);
	if (digit_of(**at, base) < 0)
		return false;
	for (; (digit = digit_of(**at, base)) >= 0; ++*at)
		if (__builtin_mul_overflow(number, base, &number) ||
		    __builtin_add_overflow(number, (unsigned)digit, &number))
			return false;
	*ret_number = number;
	return true;
}

/* "3: 96 [5: 160]": live blocks and bytes; what was ever allocated is not asked for. */
static bool take_counts(const char **at, uint64_t *ret_count, uint64_t *ret_bytes)
{
	uint64_t ever;

	return take_number(at, 10, ret_count) && take_word(at, ":") && take_number(at, 10, ret_bytes) &&
	       take_word(at, "[") && take_number(at, 10, &ever) && take_word(at, ":") &&
	       take_number(at, 10, &ever) && take_word(at, "]");
}

/* ---- stacks ---- */

/* Begin an entry: the frames after "@". */
static int take_frames(struct reader *reader, const char *at)
{
	struct profile *profile = reader->profile;
	struct profile_entry entry = { .first = profile->pc_count };
	int r;

	for (skip_blanks(&at); *at; skip_blanks(&at)) {
		uint64_t pc;

		if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X'))
			at += 2;
		if (!take_number(&at, 16, &pc) || (*at && *at != ' ' && *at != '\t'))
			return damaged(reader, "names a frame that is no address");
		r = grow_array(&profile->pcs, &reader->pc_room, profile->pc_count + 1, sizeof(*profile->pcs));
		if (r < 0)
			return r;
		profile->pcs[profile->pc_count++] = pc;
		entry.frames++;
	}
	r = grow_array(&profile->entries, &reader->entry_room, profile->entry_count + 1, sizeof(*profile->entries));
	if (r < 0)
		return r;
	profile->entries[profile->entry_count++] = entry;
	return 0;
}

/* What the sampled blocks of one stack stand for, see profile_parse(). */
static int set_counts(struct reader *reader, struct profile_entry *entry, uint64_t count, uint64_t bytes)
{
	double rate = (double)reader->profile->sample_bytes, scale = 1, true_count, true_bytes;

	if (count > MEMORY_MAX || bytes > MEMORY_MAX || count > MEMORY_MAX - reader->live_count ||
	    bytes > MEMORY_MAX - reader->live_bytes)
		return damaged(reader, "counts more than any memory holds");
	reader->live_count += count;
	reader->live_bytes += bytes;
	if (rate > 1 && count && bytes)
		scale = 1 / -expm1(-((double)bytes / (double)count) / rate);
	true_count = (double)count * scale;
	true_bytes = (double)bytes * scale;
	if (!(true_count < (double)MEMORY_MAX) || !(true_bytes < (double)MEMORY_MAX))
		return damaged(reader, "counts more than any memory holds");
	entry->count = scale > 1 ? (uint64_t)(true_count + 0.5) : count;
	entry->bytes = scale > 1 ? (uint64_t)(true_bytes + 0.5) : bytes;
	if (entry->bytes > MEMORY_MAX - reader->bytes)
		return damaged(reader, "counts more than any memory holds");
	reader->bytes += entry->bytes;
	reader->profile->samples += count;
	return 0;
}

/* ---- mappings ---- */

static int take_mapping(struct reader *reader, char *line)
{
	struct profile *profile = reader->profile;
	struct profile_mapping mapping = { .path = "" };
	const char *at = line;
	uint64_t unused;
	size_t length;
	int r;

	if (!take_number(&at, 16, &mapping.start) || *at++ != '-' || !take_number(&at, 16, &mapping.end) ||
	    mapping.end < mapping.start || *at++ != ' ' || strlen(at) < 5)
		return damaged(reader, "is no mapping");
	mapping.executable = at[2] == 'x';
	at += 4;
	if (!take_number(&at, 16, &mapping.offset) || !take_number(&at, 16, &unused) || *at++ != ':' ||
	    !take_number(&at, 16, &unused) || !take_number(&at, 10, &mapping.inode))
		return damaged(reader, "is no mapping");
	skip_blanks(&at);
	length = strlen(at);
	while (length && at[length - 1] == ' ')
		length--;
	line[(at - line) + (ptrdiff_t)length] = 0;
	mapping.path = at;
	if (profile->mapping_count && mapping.start < profile->mappings[profile->mapping_count - 1].end)
		return damaged(reader, "is a mapping that begins before the one above it ends");
	r = grow_array(&profile->mappings, &reader->mapping_room, profile->mapping_count + 1,
		       sizeof(*profile->mappings));
	if (r < 0)
		return r;
	profile->mappings[profile->mapping_count++] = mapping;
	return 0;
}

static int take_mappings(struct reader *reader)
{
	char *line;
	int r;

	while ((r = next_line(reader, &line)) > 0) {
		const char *at = line;

		/* gperftools says where it was built; a blank line may end the list */
		if (take_word(&at, "build=") || !*at)
			continue;
		r = take_mapping(reader, line);
		if (r < 0)
			return r;
	}
	if (r == 0 && !reader->profile->mapping_count)
		return truncated(reader);
	return r;
}

static bool begins_mappings(const char *line)
{
	return take_word(&line, "MAPPED_LIBRARIES:") && !*line;
}

/* ---- the two formats ---- */

static int read_jemalloc(struct reader *reader, const char *header)
{
	struct profile *profile = reader->profile;
	bool total = false, open = false;	/* an entry whose counts are still to come */
	uint64_t version, count, bytes;
	char *line;
	int r;

	if (!take_word(&header, "heap_v") || !take_number(&header, 10, &version) || *header++ != '/' ||
	    !take_number(&header, 10, &profile->sample_bytes) || *header || !profile->sample_bytes)
		return refuse(reader, -EBADMSG, "%s is not a heap profile of jemalloc: its first line is not heap_v2/BYTES",
			      reader->name);
	if (version != 2)
		return refuse(reader, version > 2 ? -EPROTO : -EBADMSG,
			      "%s has jemalloc's format heap_v%llu, this leakdiff reads heap_v2%s", reader->name,
			      (unsigned long long)version, version > 2 ? ": use a newer leakdiff" : "");
	profile->format = "jemalloc heap_v2";
	while ((r = next_line(reader, &line)) > 0) {
		const char *at = line;

		if (begins_mappings(line))
			return open || !total ? damaged(reader, "comes before a stack has its counts") : 1;
		if (take_word(&at, "@")) {
			if (open || !total)
				return damaged(reader, "begins a stack before the last one has its counts");
			r = take_frames(reader, at);
			if (r < 0)
				return r;
			open = true;
		} else if (take_word(&at, "t*:")) {
			if (!take_counts(&at, &count, &bytes) || *at || (total && !open))
				return damaged(reader, "has no counts that can be read");
			/* the first one is the total of all, un-biased in another way: not needed */
			r = open ? set_counts(reader, &profile->entries[profile->entry_count - 1], count, bytes) : 0;
			if (r < 0)
				return r;
			total = true;
			open = false;
		} else if (*at != 't' && *at) {
			return damaged(reader, "is neither a stack nor its counts");
		}
	}
	if (r == 0 && (open || !total))
		return truncated(reader);
	return r;
}

/* "heap profile: 3: 96 [5: 160] @ heapprofile": what was sampled, and how. */
static int read_gperftools_header(struct reader *reader, const char *at, uint64_t *ret_count, uint64_t *ret_bytes)
{
	struct profile *profile = reader->profile;
	uint64_t rate = 0;
	bool halved;

	if (!take_word(&at, "heap profile:") || !take_counts(&at, ret_count, ret_bytes) || !take_word(&at, "@"))
		return damaged(reader, "is no first line of a heap profile");
	profile->format = "gperftools";
	if (take_word(&at, "heapprofile")) {
		if (*at)
			return damaged(reader, "is no first line of a heap profile");
		return 0;
	}
	halved = !take_word(&at, "heap_v2/");	/* the older word counts the rate twice, as pprof knows */
	if (halved && !take_word(&at, "heap/"))
		return refuse(reader, -EBADMSG, "%s is a profile of another kind, not of what lives on the heap",
			      reader->name);
	if (!take_number(&at, 10, &rate) || *at)
		return damaged(reader, "is no first line of a heap profile");
	profile->sample_bytes = halved ? rate / 2 : rate;
	return 0;
}

static int read_gperftools(struct reader *reader, const char *header)
{
	uint64_t count, bytes, total_count = 0, total_bytes = 0;
	char *line;
	int r = read_gperftools_header(reader, header, &total_count, &total_bytes);

	if (r < 0)
		return r;
	while ((r = next_line(reader, &line)) > 0) {
		const char *at = line;

		if (begins_mappings(line)) {
			if (reader->live_count < total_count || reader->live_bytes < total_bytes)
				return damaged(reader, "ends the stacks, which are fewer than the first line says");
			return 1;
		}
		skip_blanks(&at);
		if (!*at)
			continue;
		if (!take_counts(&at, &count, &bytes) || !take_word(&at, "@"))
			return damaged(reader, "is no stack with its counts");
		r = take_frames(reader, at);
		if (r >= 0)
			r = set_counts(reader, &reader->profile->entries[reader->profile->entry_count - 1], count, bytes);
		if (r < 0)
			return r;
	}
	return r;
}

bool profile_is(const void *head, size_t bytes)
{
	return bytes >= 6 && (!memcmp(head, "heap_v", 6) || !memcmp(head, "heap p", 6));
}

int profile_parse(const char *text, size_t bytes, const char *name, bool need_maps,
		  struct profile **ret_profile, char **ret_error)
{
	struct reader reader = { .name = name, .ret_error = ret_error };
	char *line;
	int r = -ENOMEM;

	*ret_error = NULL;
	reader.profile = calloc(1, sizeof(*reader.profile));
	if (reader.profile)
		reader.profile->text = malloc(bytes + 1);
	if (!reader.profile || !reader.profile->text)
		goto fail;
	memcpy(reader.profile->text, text, bytes);
	reader.profile->text[bytes] = 0;
	reader.profile->format = "";
	reader.at = reader.profile->text;
	reader.end = reader.at + bytes;
	r = next_line(&reader, &line);
	if (r == 0)
		r = refuse(&reader, -EBADMSG, "%s is empty", name);
	else if (r > 0)
		r = memchr(text, 0, bytes)	     ? damaged(&reader, "or a later one holds bytes that are no text") :
		    !strncmp(line, "heap_v", 6)	     ? read_jemalloc(&reader, line) :
		    !strncmp(line, "heap profile", 12) ? read_gperftools(&reader, line) :
							 refuse(&reader, -EBADMSG, "%s is no heap profile", name);
	if (r > 0)
		r = take_mappings(&reader);
	else if (r == 0 && need_maps)
		r = truncated(&reader);
	if (r < 0)
		goto fail;
	*ret_profile = reader.profile;
	return 0;
fail:
	if (!*ret_error)
		*ret_error = text_format("not enough memory to read %s", name);
	profile_free(reader.profile);
	return r;
}

struct profile *profile_free(struct profile *profile)
{
	if (!profile)
		return NULL;
	free(profile->entries);
	free(profile->pcs);
	free(profile->mappings);
	free(profile->text);
	free(profile);
	return NULL;
}
