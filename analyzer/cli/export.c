/* SPDX-License-Identifier: Apache-2.0
 * L1  export.c - rows by site to stacks and samples. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "core/intern.h"

static const char *const value_names[] = {
	[EXPORT_BYTES] = "bytes", [EXPORT_COUNT] = "count", [EXPORT_NEW_BYTES] = "new-bytes",
	[EXPORT_NEW_COUNT] = "new-count", [EXPORT_GROWTH_BYTES] = "growth-bytes",
	[EXPORT_GROWTH_COUNT] = "growth-count",
};

struct maker {
	struct export *export;
	struct intern frame_table, stack_table;
	uint32_t frame_room, stack_room, stack_frame_room;
};

static void *grow(void *array, size_t count, uint32_t *room, size_t size)
{
	void *grown;

	if (count < *room)
		return array;
	if (*room > UINT32_MAX / 2)
		return NULL;
	grown = reallocarray(array, *room ? (size_t)*room * 2 : 64, size);
	if (grown)
		*room = *room ? *room * 2 : 64;
	return grown;
}

static int64_t find_frame(struct maker *m, const struct export_frame *frame)
{
	struct intern_key key = { .low = frame->line, .high = frame->inlined };
	struct export_frame *grown;
	int64_t number;
	int is_new;

	intern_fold(&key, frame->function);
	intern_fold(&key, frame->file);
	intern_fold(&key, frame->module);
	number = intern_number(&m->frame_table, key, &is_new);
	if (number < 0 || !is_new)
		return number;
	grown = grow(m->export->frames, m->export->frame_count, &m->frame_room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->export->frames = grown;
	grown[m->export->frame_count++] = *frame;
	return number;
}

static int add_frame(struct maker *m, const struct export_frame *frame)
{
	int64_t number = find_frame(m, frame);
	uint32_t *grown;

	if (number < 0)
		return (int)number;
	grown = grow(m->export->stack_frames, m->export->stack_frame_count, &m->stack_frame_room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->export->stack_frames = grown;
	grown[m->export->stack_frame_count++] = (uint32_t)number;
	return 0;
}

static int add_frames(struct maker *m, const struct heap *heap, uint32_t stack)
{
	static const struct export_frame none = { .function = "(no stack was recorded)", .file = "", .module = "" };
	static const struct export_frame cut = { .function = "(cut at the depth limit)", .file = "", .module = "" };
	const struct heap_stack *s = stack < heap->stack_count ? &heap->stacks[stack] : NULL;
	int r = 0;

	if (!s || !s->frame_count)
		return add_frame(m, &none);
	for (uint32_t i = 0; i < s->frame_count && r == 0; i++) {
		const struct heap_frame *f = &heap->frames[s->frames[i]];

		r = add_frame(m, &(struct export_frame){ .function = f->function, .file = f->file, .module = f->module,
							 .line = f->line, .inlined = f->inlined });
	}
	return r == 0 && s->truncated ? add_frame(m, &cut) : r;
}

/* All rows of one group name the same stack of the same heap, so that is what tells stacks apart. */
static int64_t find_stack(struct maker *m, const struct diff_row *row)
{
	struct export *export = m->export;
	struct export_stack *grown;
	size_t first = export->stack_frame_count;
	int64_t number;
	int is_new, r;

	number = intern_number(&m->stack_table, intern_pair((uintptr_t)row->stack_heap, row->stack), &is_new);
	if (number < 0 || !is_new)
		return number;
	grown = grow(export->stacks, export->stack_count, &m->stack_room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	export->stacks = grown;
	r = add_frames(m, row->stack_heap, row->stack);
	if (r < 0)
		return r;
	if (export->stack_frame_count > UINT32_MAX)
		return -ENOMEM;
	grown[export->stack_count++] =
		(struct export_stack){ (uint32_t)first, (uint32_t)(export->stack_frame_count - first) };
	return number;
}

static int compare_samples(const void *a, const void *b)
{
	const struct export_sample *x = a, *y = b;

	if (x->stack != y->stack)
		return x->stack < y->stack ? -1 : 1;
	if (x->exact != y->exact)
		return x->exact ? -1 : 1;
	return (x->size > y->size) - (x->size < y->size);
}

static int make(struct maker *m, const struct diff *diff)
{
	struct export *export = m->export;
	size_t last = diff->heap_count - 1;

	export->samples = calloc(diff->row_count + 1, sizeof(*export->samples));
	if (!export->samples)
		return -ENOMEM;
	for (size_t i = 0; i < diff->row_count; i++) {
		const struct diff_row *row = &diff->rows[i];
		struct export_sample *sample = &export->samples[i];
		int64_t stack = find_stack(m, row);

		if (stack < 0)
			return (int)stack;
		*sample = (struct export_sample){ .stack = (uint32_t)stack, .exact = row->exact, .size = row->size };
		sample->values[EXPORT_BYTES] = (int64_t)row->bytes[last];
		sample->values[EXPORT_COUNT] = (int64_t)row->count[last];
		sample->values[EXPORT_NEW_BYTES] = (int64_t)row->new_bytes;
		sample->values[EXPORT_NEW_COUNT] = (int64_t)row->new_count;
		sample->values[EXPORT_GROWTH_BYTES] = diff_growth_bytes(diff, row);
		sample->values[EXPORT_GROWTH_COUNT] = diff_growth_count(diff, row);
	}
	export->sample_count = diff->row_count;
	qsort(export->samples, export->sample_count, sizeof(*export->samples), compare_samples);
	return 0;
}

int export_make(const struct series *series, const struct diff *diff, struct export **ret_export)
{
	struct maker m = { .export = calloc(1, sizeof(*m.export)) };
	int r = -ENOMEM;

	if (m.export) {
		m.export->meta = &series_last(series)->heap->meta;
		m.export->interval_s = series->count > 1 ? series_interval_s(series) : -1;
		m.export->value_count = series->count > 1 ? EXPORT_VALUES : EXPORT_COUNT + 1;
		r = make(&m, diff);
	}
	intern_done(&m.frame_table);
	intern_done(&m.stack_table);
	if (r < 0) {
		export_free(m.export);
		return r;
	}
	*ret_export = m.export;
	return 0;
}

struct export *export_free(struct export *export)
{
	if (!export)
		return NULL;
	free(export->frames);
	free(export->stack_frames);
	free(export->stacks);
	free(export->samples);
	free(export);
	return NULL;
}

const char *export_value_name(enum export_value value)
{
	return value_names[value];
}

int export_parse_value(const char *word, enum export_value *ret_value)
{
	for (int i = 0; i < EXPORT_VALUES; i++)
		if (!strcmp(word, value_names[i])) {
			*ret_value = (enum export_value)i;
			return 0;
		}
	return -EINVAL;
}

int64_t export_add_up(const struct export *export, enum export_value value, size_t *sample)
{
	uint32_t stack = export->samples[*sample].stack;
	int64_t sum = 0;

	for (; *sample < export->sample_count && export->samples[*sample].stack == stack; ++*sample)
		sum += export->samples[*sample].values[value];
	return sum;
}
