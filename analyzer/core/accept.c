/* SPDX-License-Identifier: Apache-2.0
 * L10  accept.c - growth that is accepted. */
#include "core/accept.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/thresholds.h"

#define SITE_FRAMES 4			/* enough to see through xmalloc() and the like */

/* ---- names ---------------------------------------------------------------------------------- */

/* "1048576 B from handle_put server.c:120" -> "handle_put server.c"; other types as they are. */
char *accept_type_name(const char *shown_type)
{
	const char *start = shown_type;
	size_t digits = strspn(start, "0123456789"), length;

	if (digits && !strncmp(start + digits, " B from ", 8))
		start += digits + 8;
	else if (!strncmp(start, "from ", 5))
		start += 5;
	if (start == shown_type)
		return strdup(shown_type);
	length = strlen(start);
	while (length && isdigit((unsigned char)start[length - 1]))
		length--;
	return length && start[length - 1] == ':' ? strndup(start, length - 1) : strdup(start);
}

char *accept_site_name(const struct heap *heap, uint32_t stack)
{
	struct text text = { 0 };

	if (stack >= heap->stack_count || !heap->stacks[stack].frame_count)
		return strdup("");
	for (uint32_t i = 0; i < heap->stacks[stack].frame_count && i < SITE_FRAMES; i++) {
		const struct heap_frame *frame = &heap->frames[heap->stacks[stack].frames[i]];

		if (i)
			text_append(&text, " < ");
		text_append(&text, *frame->function ? frame->function : *frame->module ? frame->module : "?");
	}
	return text_take(&text);
}

/* A name may hold characters that mean something in a glob: what is equal is meant. */
static bool name_matches(const char *pattern, const char *name)
{
	return !pattern || !strcmp(pattern, name) || (strchr(pattern, '*') && text_glob(pattern, name));
}

/* ---- accepting ------------------------------------------------------------------------------ */

bool accept_counts(const struct suspect *suspect)
{
	return suspect->verdict != SUSPECT_STABLE && suspect->confidence < SUSPECT_POSSIBLE;
}

uint64_t accept_bytes(const struct suspect *suspect)
{
	uint64_t bytes = suspect->net_bytes ? suspect->net_bytes : suspect->bytes;

	for (size_t i = 0; i < suspect->companion_count; i++)
		bytes += suspect->companions[i].bytes;
	return bytes;
}

/* How much of count and bytes an entry still allows. */
static void allow(struct allowance *entry, uint64_t count, uint64_t bytes, uint64_t *ret_count, uint64_t *ret_bytes)
{
	uint64_t count_left = entry->count > entry->used_count ? entry->count - entry->used_count : 0;
	uint64_t bytes_left = entry->bytes > entry->used_bytes ? entry->bytes - entry->used_bytes : 0;
	double share = 1;

	if (bytes > bytes_left)
		share = (double)bytes_left / (double)bytes;
	if (count > count_left && (double)count_left / (double)count < share)
		share = (double)count_left / (double)count;
	*ret_count = share < 1 ? (uint64_t)((double)count * share) : count;
	*ret_bytes = share < 1 ? (uint64_t)((double)bytes * share) : bytes;
	entry->used_count += *ret_count;
	entry->used_bytes += *ret_bytes;
}

/* Take what is accepted of one site from it. */
static int accept_site(struct acceptance *a, const struct heap *heap, const char *type, struct suspect_site *site)
{
	uint32_t index = HEAP_NONE;
	char *name;
	int r = 0;

	if (a->suppressions)
		r = suppress_stack(a->suppressions, heap, site->stack, &index);
	if (r < 0)
		return r;
	if (index != HEAP_NONE) {
		a->suppressions->list[index].count += site->count;
		a->suppressions->list[index].bytes += site->bytes;
		a->suppressed_count += site->count;
		a->suppressed_bytes += site->bytes;
		site->count = site->bytes = 0;
		return 0;
	}
	if (!a->baseline)
		return 0;
	name = accept_site_name(heap, site->stack);
	if (!name)
		return -ENOMEM;
	for (size_t i = 0; i < a->baseline->count && site->bytes; i++) {
		struct allowance *entry = &a->baseline->list[i];
		uint64_t count, bytes;

		if (!name_matches(entry->type, type) || !name_matches(entry->site, name))
			continue;
		allow(entry, site->count, site->bytes, &count, &bytes);
		site->count -= count;
		site->bytes -= bytes;
		a->allowed_count += count;
		a->allowed_bytes += bytes;
	}
	free(name);
	return 0;
}

static uint64_t share_of(uint64_t whole, uint64_t left, uint64_t of)
{
	return of ? (uint64_t)((double)whole * ((double)left / (double)of)) : 0;
}

/* What is left of a suspect. */
static int shrink(struct suspect *s, uint64_t count, uint64_t bytes)
{
	char size[TEXT_SIZE], *reason;

	reason = text_format("%s more of it is accepted; %s", text_size((int64_t)(s->bytes - bytes), size),
			     s->reason ? s->reason : "");
	if (!reason)
		return -ENOMEM;
	free(s->reason);
	s->reason = reason;
	s->net_bytes = share_of(s->net_bytes, bytes, s->bytes);
	s->retained_bytes = share_of(s->retained_bytes, bytes, s->bytes);
	for (size_t i = 0; i < s->companion_count; i++) {
		s->companions[i].bytes = share_of(s->companions[i].bytes, bytes, s->bytes);
		s->companions[i].count = share_of(s->companions[i].count, bytes, s->bytes);
	}
	s->count = count;
	s->type_count = 0;
	for (size_t i = 0; i < s->site_count; i++)
		s->type_count += s->sites[i].other ? 0 : s->sites[i].count;
	s->bytes = bytes;
	if (bytes < NOISE_BYTES)
		s->confidence = SUSPECT_POSSIBLE;
	return 0;
}

/* Returns 1 when nothing is left of it, 0, or -ENOMEM. */
static int accept_suspect(struct acceptance *a, const struct heap *heap, struct suspect *s)
{
	struct suspect_site whole = { .count = s->count, .bytes = s->bytes, .stack = HEAP_NONE };
	struct suspect_site *sites = s->site_count ? s->sites : &whole;
	size_t site_count = s->site_count ? s->site_count : 1, kept = 0;
	char *type = accept_type_name(s->type);
	uint64_t count = 0, bytes = 0;
	int r = type ? 0 : -ENOMEM;

	for (size_t i = 0; i < site_count && r == 0; i++) {
		r = accept_site(a, heap, type, &sites[i]);
		count += sites[i].count;
		bytes += sites[i].bytes;
		if (sites[i].bytes)
			sites[kept++] = sites[i];
	}
	free(type);
	if (r < 0)
		return r;
	if (s->site_count)
		s->site_count = kept;
	if (bytes == 0)
		return 1;
	return bytes < s->bytes ? shrink(s, count, bytes) : 0;
}

int accept_apply(struct acceptance *a, struct suspects *suspects)
{
	const struct heap *heap = series_last(suspects->series)->heap;
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < suspects->count; i++) {
		struct suspect *s = &suspects->list[i];

		if (r >= 0 && s->bytes)
			r = accept_suspect(a, heap, s);
		if (r == 1) {
			a->whole++;
			suspect_done(s);
			r = 0;
			continue;
		}
		if (accept_counts(s))
			a->unaccepted_bytes += accept_bytes(s);
		suspects->list[kept++] = *s;
	}
	suspects->count = kept;
	suspects->grew = a->unaccepted_bytes > a->fail_above;
	return r;
}

/* ---- learning ------------------------------------------------------------------------------- */

/* The next of 1, 1.25, 1.5, 1.75 times a power of two. */
static uint64_t round_up(uint64_t bytes)
{
	uint64_t step = 1;

	while (step <= bytes / 8)
		step *= 2;
	return (bytes + step - 1) / step * step;
}

static struct allowance *find_or_add(struct baseline *baseline, const char *type, const char *site)
{
	struct allowance *grown;

	for (size_t i = 0; i < baseline->count; i++) {
		struct allowance *entry = &baseline->list[i];

		if (entry->type && entry->site && !strcmp(entry->type, type) && !strcmp(entry->site, site))
			return entry;
	}
	grown = reallocarray(baseline->list, baseline->count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	baseline->list = grown;
	grown = &baseline->list[baseline->count];
	*grown = (struct allowance){ .type = strdup(type), .site = strdup(site), .count = UINT64_MAX };
	baseline->count++;
	return grown->type && grown->site ? grown : NULL;
}

static int learn_site(struct baseline *baseline, const char *type, const struct heap *heap,
		      const struct suspect_site *site)
{
	char *name = accept_site_name(heap, site->stack);
	struct allowance *entry = name ? find_or_add(baseline, type, name) : NULL;

	free(name);
	if (!entry)
		return -ENOMEM;
	/* What was used before is accepted already: what is left comes on top. */
	entry->used_bytes += site->bytes;
	entry->used_count += site->count;
	if (entry->bytes < entry->used_bytes)
		entry->bytes = round_up(entry->used_bytes);
	if (entry->count < entry->used_count)
		entry->count = entry->used_count;
	return 0;
}

int accept_learn(struct baseline *baseline, const struct suspects *suspects)
{
	const struct heap *heap = series_last(suspects->series)->heap;
	int r = 0;

	for (size_t i = 0; i < suspects->count && r == 0; i++) {
		const struct suspect *s = &suspects->list[i];
		struct suspect_site whole = { .count = s->count, .bytes = s->bytes, .stack = HEAP_NONE };
		char *type = accept_type_name(s->type);

		r = type ? 0 : -ENOMEM;
		if (r == 0 && accept_counts(s) && s->bytes && !s->site_count)
			r = learn_site(baseline, type, heap, &whole);
		for (size_t k = 0; k < s->site_count && r == 0 && accept_counts(s); k++)
			r = learn_site(baseline, type, heap, &s->sites[k]);
		free(type);
	}
	accept_sort(baseline);
	return r;
}

static int compare_names(const char *a, const char *b)
{
	return !a || !b ? !!a - !!b : strcmp(a, b);
}

static int compare_entries(const void *a, const void *b)
{
	const struct allowance *x = a, *y = b;
	int r = compare_names(x->type, y->type);

	return r ? r : compare_names(x->site, y->site);
}

void accept_sort(struct baseline *baseline)
{
	if (baseline->count)
		qsort(baseline->list, baseline->count, sizeof(*baseline->list), compare_entries);
}

struct baseline *baseline_free(struct baseline *baseline)
{
	if (!baseline)
		return NULL;
	for (size_t i = 0; i < baseline->count; i++) {
		free(baseline->list[i].type);
		free(baseline->list[i].site);
		free(baseline->list[i].comment);
	}
	free(baseline->list);
	free(baseline->path);
	free(baseline);
	return NULL;
}
