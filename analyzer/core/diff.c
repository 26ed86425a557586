/* SPDX-License-Identifier: Apache-2.0
 * L5  diff.c - the growth table.
 *
 *   node -> group (type, site, ...) -> slot (group and size) -> row
 *
 * One pass numbers groups and slots and counts how often each size occurs; then it is known which
 * slots become rows of their own; a second pass adds up. Both passes are plain loops over columns. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/diff.h"
#include "core/large.h"
#include "core/names.h"
#include "core/thresholds.h"
#include "core/weigh.h"

#define KNOWN 65536u			/* a megabyte: what the caches hold of the tables behind it */
#define SIZE_ANY UINT64_MAX		/* the slot of a group's blocks without a common size */

struct ends {				/* in the first and the last snapshot */
	uint64_t count[2], bytes[2];
};

struct group {
	struct ends ends;
	uint32_t sizes, repeating;	/* distinct sizes met; of these, how many repeat */
	bool any;			/* some blocks are filed without a size */
	uint32_t any_row;		/* its row without a size, HEAP_NONE = not made yet */
	/* what names it: a node of a snapshot */
	uint32_t heap, node;
};

struct slot {
	struct ends ends;
	uint64_t size;
	uint32_t group, row;
	uint32_t heap;			/* the snapshot that `here` counts in */
	uint8_t here;			/* blocks in that snapshot, at most 2 are told apart */
	bool repeats;
};

struct known { uint64_t size; uint32_t group, slot; };

struct maker {
	const struct series *series;
	const struct diff_options *options;
	struct diff *diff;
	struct intern group_table, slot_table;
	struct group *groups;
	struct slot *slots;
	uint32_t group_room, slot_room;
	struct known *known;		/* slots that were found, KNOWN places by hash; group HEAP_NONE = free */
	uint32_t **slot_of;		/* per snapshot, per node: slot, HEAP_NONE = not counted */
	uint32_t *key_of;		/* of the snapshot in work: group key number by local id (stack, root) */
	uint32_t *root_of;		/* by holder */
	uint8_t *resized;		/* by node of the last heap: its size differs somewhere */
};

static void *grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
	void *grown;

	if (count < *room)
		return array;
	grown = realloc(array, (size_t)(*room ? *room * 2 : 64) * size);
	if (grown)
		*room = *room ? *room * 2 : 64;
	return grown;
}

static struct intern_key root_key(const struct heap_root *root)
{
	struct intern_key key = { .high = root->kind };

	intern_fold(&key, root->name);
	intern_fold(&key, root->module);
	intern_fold(&key, root->thread);
	return key;
}

static struct intern_key module_key(const struct heap *heap, uint32_t stack)
{
	struct intern_key key = { .high = 3 };

	if (stack < heap->stack_count && heap->stacks[stack].frame_count)
		intern_fold(&key, heap->frames[heap->stacks[stack].frames[0]].module);
	return key;
}

/* What decides a node's group, as an id of its own heap: the key is made once for each, not for each
 * node. HEAP_NONE = there is no such id. */
static uint32_t local_id(const struct maker *m, const struct heap *heap, uint32_t node)
{
	switch (m->options->by) {
	case DIFF_BY_TYPE:
		return heap->type[node];
	case DIFF_BY_SITE:
	case DIFF_BY_MODULE:
		return heap->stack[node];
	case DIFF_BY_HOLDER:
		return m->root_of[node];
	case DIFF_BY_THREAD:
		break;
	}
	return HEAP_NONE;
}

static uint32_t local_count(const struct maker *m, const struct heap *heap)
{
	switch (m->options->by) {
	case DIFF_BY_TYPE:
		return heap->type_count;
	case DIFF_BY_SITE:
	case DIFF_BY_MODULE:
		return heap->stack_count;
	case DIFF_BY_HOLDER:
		return heap->roots;
	case DIFF_BY_THREAD:
		break;
	}
	return 0;
}

static struct intern_key group_key(const struct maker *m, const struct series_heap *h, uint32_t node)
{
	const struct heap *heap = h->heap;

	switch (m->options->by) {
	case DIFF_BY_TYPE:
		return intern_pair(h->type[heap->type[node]], 0);
	case DIFF_BY_SITE:
		return series_stack_key(heap, heap->stack[node]);
	case DIFF_BY_MODULE:
		return module_key(heap, heap->stack[node]);
	case DIFF_BY_HOLDER:
		return m->root_of[node] != HEAP_NONE ? root_key(&heap->root[m->root_of[node]]) :
		       intern_pair(0, h->reach->region[node] == REACH_NONE);
	case DIFF_BY_THREAD:
		break;
	}
	return intern_pair(heap->thread[node], 4);
}

static int64_t find_group(struct maker *m, uint32_t heap_index, uint32_t node, uint32_t locals)
{
	const struct series_heap *h = &m->series->heaps[heap_index];
	uint32_t local = local_id(m, h->heap, node);
	int64_t number;
	int is_new;

	if (local < locals && m->key_of[local] != HEAP_NONE)
		return m->key_of[local];

	number = intern_number(&m->group_table, group_key(m, h, node), &is_new);
	if (number < 0)
		return number;
	if (is_new) {
		struct group *grown = grow(m->groups, (uint32_t)number, &m->group_room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->groups = grown;
		m->groups[number] = (struct group){ .any_row = HEAP_NONE, .heap = heap_index, .node = node };
	}
	if (local < locals)
		m->key_of[local] = (uint32_t)number;
	return number;
}

static int64_t find_slot(struct maker *m, uint32_t group, uint64_t size)
{
	struct known *known = &m->known[hash_fold(hash_mix(size, group)) % KNOWN];
	int64_t number;
	int is_new;

	if (known->group == group && known->size == size)
		return known->slot;
	number = intern_number(&m->slot_table, intern_pair(size, group), &is_new);
	if (number < 0)
		return number;
	*known = (struct known){ size, group, (uint32_t)number };
	if (is_new) {
		struct slot *grown = grow(m->slots, (uint32_t)number, &m->slot_room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->slots = grown;
		m->slots[number] = (struct slot){ .size = size, .group = group, .row = HEAP_NONE, .heap = HEAP_NONE };
		if (size == SIZE_ANY)
			m->groups[group].any = true;
		else
			m->groups[group].sizes++;
	}
	return number;
}

/* Mark the blocks of the last snapshot whose size differs in an earlier one. */
static int find_resized(struct maker *m)
{
	const struct heap *last = series_last(m->series)->heap;

	m->resized = calloc((size_t)last->nodes + 1, 1);
	if (!m->resized)
		return -ENOMEM;
	for (size_t k = 0; k + 1 < m->series->count; k++) {
		const struct series_heap *h = &m->series->heaps[k];

		for (uint32_t v = 0; v < h->heap->nodes; v++)
			if (h->later[v] != HEAP_NONE && last->bytes[h->later[v]] != h->heap->bytes[v])
				m->resized[h->later[v]] = 1;
	}
	return 0;
}

/* The size that a node is filed under. */
static uint64_t filed_size(const struct maker *m, const struct series_heap *h, uint32_t node)
{
	const struct heap *heap = h->heap;
	uint32_t last = h->later ? h->later[node] : node;

	if ((last != HEAP_NONE && m->resized[last]) || heap_is_profile(heap))
		return SIZE_ANY;
	/* A mapping counts what its blocks leave over: then its size says nothing about its bytes. */
	if (series_bytes(h, node) != heap->bytes[node] * weigh_count(heap, node))
		return SIZE_ANY;
	return heap->bytes[node];
}

static void add_end(struct maker *m, struct slot *slot, int end, uint64_t count, uint64_t bytes)
{
	struct group *group = &m->groups[slot->group];

	slot->ends.count[end] += count;
	slot->ends.bytes[end] += bytes;
	group->ends.count[end] += count;
	group->ends.bytes[end] += bytes;
}

static int number_heap(struct maker *m, uint32_t index)
{
	const struct series_heap *h = &m->series->heaps[index];
	const struct heap *heap = h->heap;
	uint32_t locals = local_count(m, heap);
	uint64_t last_size = 0;
	uint32_t last_group = HEAP_NONE, last_slot = 0;
	int r;

	m->slot_of[index] = large_array(heap->nodes, sizeof(uint32_t));
	free(m->key_of);
	m->key_of = malloc(((size_t)locals + 1) * sizeof(uint32_t));
	if (!m->slot_of[index] || !m->key_of)
		return -ENOMEM;
	memset(m->key_of, 0xff, ((size_t)locals + 1) * sizeof(uint32_t));
	if (m->options->by == DIFF_BY_HOLDER) {
		free(m->root_of);
		m->root_of = NULL;
		r = reach_roots(heap, h->reach, &m->root_of);
		if (r < 0)
			return r;
	}
	for (uint32_t v = 0; v < heap->nodes; v++) {
		m->slot_of[index][v] = HEAP_NONE;
		if (!weigh_is_counted(heap, v))
			continue;
		int64_t group = find_group(m, index, v, locals);
		uint64_t size = filed_size(m, h, v);
		if (group < 0)
			return (int)group;
		if ((uint32_t)group != last_group || size != last_size) {
			int64_t slot = find_slot(m, (uint32_t)group, size);

			if (slot < 0)
				return (int)slot;
			last_group = (uint32_t)group;
			last_size = size;
			last_slot = (uint32_t)slot;
		}
		m->slot_of[index][v] = last_slot;

		struct slot *slot = &m->slots[last_slot];
		if (slot->heap != index) {
			slot->heap = index;
			slot->here = 0;
		}
		slot->here += slot->here < 2;
		if (!slot->repeats && (slot->here > 1 || weigh_count(heap, v) > 1)) {
			slot->repeats = true;
			m->groups[slot->group].repeating++;
		}
		if (index == 0)
			add_end(m, slot, 0, weigh_count(heap, v), series_bytes(h, v));
		if (index + 1 == m->series->count)
			add_end(m, slot, 1, weigh_count(heap, v), series_bytes(h, v));
	}
	return 0;
}

static bool is_share(uint64_t part, uint64_t whole)
{
	return part && (double)part >= ROW_SHARE * (double)whole;
}

static uint64_t change(const uint64_t ends[2])
{
	return ends[1] > ends[0] ? ends[1] - ends[0] : ends[0] - ends[1];
}

/* Does this size deserve a row of its own? */
static bool is_exact(const struct slot *slot, const struct group *group)
{
	const struct ends *s = &slot->ends, *g = &group->ends;

	if (slot->size == SIZE_ANY || (!slot->repeats && group->sizes > 1))
		return false;
	if (group->repeating <= ROW_SIZES)
		return true;
	return is_share(s->count[0], g->count[0]) || is_share(s->count[1], g->count[1]) ||
	       is_share(s->bytes[0], g->bytes[0]) || is_share(s->bytes[1], g->bytes[1]) ||
	       is_share(change(s->bytes), change(g->bytes)) || is_share(change(s->count), change(g->count));
}

/* Which slots become rows: by type, see is_exact(); by anything else a group is one row, with a size
 * when it has only one. */
static uint32_t make_rows(struct maker *m)
{
	uint32_t rows = 0;

	for (uint32_t s = 0; s < m->slot_table.count; s++) {
		struct slot *slot = &m->slots[s];
		struct group *group = &m->groups[slot->group];

		if (m->options->by == DIFF_BY_TYPE && is_exact(slot, group)) {
			slot->row = rows++;
			continue;
		}
		if (group->any_row == HEAP_NONE)
			group->any_row = rows++;
		slot->row = group->any_row;
	}
	return rows;
}

static void name_holder(struct text *text, const struct heap *heap, const struct reach *reach, uint32_t node)
{
	uint32_t root = reach_root_of(heap, reach, node);

	if (root == HEAP_NONE) {
		text_append(text, reach->region[node] == REACH_NONE ? "(unreachable)" : "(the dynamic linker)");
		return;
	}
	text_append(text, heap->root[root].name);
	if (*heap->root[root].thread)
		text_printf(text, " of %s", heap->root[root].thread);
}

/* Give a row the words of the group that it belongs to. */
static int name_row(const struct maker *m, const struct slot *slot, struct diff_row *row)
{
	const struct group *group = &m->groups[slot->group];
	const struct heap *heap = m->series->heaps[group->heap].heap;
	const struct heap_type *type = &heap->types[heap->type[group->node]];
	uint32_t stack = heap->stack[group->node];
	struct text text = { 0 };

	row->exact = slot->row != group->any_row || (group->sizes == 1 && !group->any);
	row->size = row->exact ? slot->size : 0;
	row->source = type->source;
	row->stack = HEAP_NONE;
	switch (m->options->by) {
	case DIFF_BY_TYPE:
		names_type(&text, type->name, type->source, row->exact, row->size);
		break;
	case DIFF_BY_SITE:
		row->source = HEAP_TYPE_SITE;
		names_site(&text, heap, stack);
		row->stack_heap = heap;
		row->stack = stack;
		break;
	case DIFF_BY_MODULE:
		row->source = HEAP_TYPE_KIND;
		if (stack < heap->stack_count && heap->stacks[stack].frame_count)
			text_append(&text, heap->frames[heap->stacks[stack].frames[0]].module);
		if (!text.length)
			text_append(&text, "(no module)");
		break;
	case DIFF_BY_HOLDER:
		row->source = HEAP_TYPE_KIND;
		name_holder(&text, heap, m->series->heaps[group->heap].reach, group->node);
		break;
	case DIFF_BY_THREAD:
		row->source = HEAP_TYPE_KIND;
		names_thread(&text, heap, heap->thread[group->node]);
		break;
	}
	if (!text.length)
		text_append(&text, "(unnamed)");
	row->type = text_take(&text);
	return row->type ? 0 : -ENOMEM;
}

static void add_up(struct maker *m)
{
	const struct series *series = m->series;
	struct diff *diff = m->diff;
	size_t last_index = series->count - 1;

	for (size_t k = 0; k < series->count; k++) {
		const struct series_heap *h = &series->heaps[k];

		for (uint32_t v = 0; v < h->heap->nodes; v++) {
			if (m->slot_of[k][v] == HEAP_NONE)
				continue;
			uint32_t r = m->slots[m->slot_of[k][v]].row;
			struct diff_row *row = &diff->rows[r];
			uint64_t count = weigh_count(h->heap, v);
			enum diff_state state = h->reach->region[v] == REACH_NONE ? DIFF_UNREACHABLE :
				DIFF_REFERENCED;

			/* The state is that of the last snapshot that has the row: each one begins anew. */
			if (row->count[k] == 0)
				row->state = state;
			else if (row->state != state)
				row->state = DIFF_MIXED;
			row->count[k] += count;
			row->bytes[k] += series_bytes(h, v);
			diff->count[k] += count;
			diff->bytes[k] += series_bytes(h, v);
			if (k != last_index)
				continue;
			uint64_t birth = h->heap->birth[v];
			m->slot_of[k][v] = r;		/* becomes diff.row_of */
			if (birth) {
				if (!row->oldest_birth || birth < row->oldest_birth)
					row->oldest_birth = birth;
				if (birth > row->newest_birth)
					row->newest_birth = birth;
			}
			if (series_is_new(series, v)) {
				row->new_count += count;
				row->new_bytes += series_bytes(h, v);
				if (series_is_survivor(series, v)) {
					row->survivor_count += count;
					row->survivor_bytes += series_bytes(h, v);
				}
			}
		}
	}
}

static int compare_numbers(int64_t a, int64_t b)	/* larger first */
{
	return (a < b) - (a > b);
}

static _Thread_local const struct diff *sorting;	/* qsort has no context; each thread has one sort at a time */
static _Thread_local enum diff_sort sorting_by;

static int compare_rows(const void *a, const void *b)
{
	const struct diff_row *x = &sorting->rows[*(const uint32_t *)a], *y = &sorting->rows[*(const uint32_t *)b];
	size_t last = sorting->heap_count - 1;
	int order = 0;

	switch (sorting_by) {
	case DIFF_SORT_GROWTH:
		if (last == 0)
			break;
		order = compare_numbers(diff_growth_bytes(sorting, x), diff_growth_bytes(sorting, y));
		break;
	case DIFF_SORT_BYTES:
		break;
	case DIFF_SORT_COUNT:
		order = compare_numbers((int64_t)x->count[last], (int64_t)y->count[last]);
		break;
	case DIFF_SORT_NEW:
		order = compare_numbers((int64_t)x->new_bytes, (int64_t)y->new_bytes);
		break;
	case DIFF_SORT_NAME:
		order = strcmp(x->type, y->type);
		break;
	}
	if (!order)
		order = compare_numbers((int64_t)x->bytes[last], (int64_t)y->bytes[last]);
	if (!order)
		order = strcmp(x->type, y->type);
	return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* Is the pattern exactly what this row is called? Then no other row is meant. */
static bool is_called(const struct diff_options *options, const struct diff_row *row, const char *bare)
{
	return !strcmp(options->type, row->type) ||
	       (options->by == DIFF_BY_TYPE && names_type_equals(options->type, bare, row->source, row->size));
}

static bool type_matches(const struct diff_options *options, const struct diff_row *row, const char *bare,
			 bool exact)
{
	if (exact)
		return is_called(options, row, bare);
	return text_glob(options->type, row->type) ||
	       (options->by == DIFF_BY_TYPE && names_type_matches(options->type, bare, row->source, row->size));
}

static bool is_hidden(const struct diff *diff, const struct diff_options *options,
		      const struct diff_row *row, const char *bare, bool exact)
{
	uint64_t moved = 0;

	if (options->type && !type_matches(options, row, bare, exact))
		return true;
	if (diff->heap_count == 1)
		return row->bytes[0] < options->min_bytes;
	for (size_t k = 1; k < diff->heap_count; k++) {
		int64_t step = (int64_t)(row->bytes[k] - row->bytes[0]);
		uint64_t size = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;

		if (size > moved)
			moved = size;
	}
	return moved < options->min_bytes;
}

/* Bring the rows into order and drop what was not asked for; `place` keeps the way back. */
static int arrange(struct maker *m, uint32_t made, const char **bare)
{
	struct diff *diff = m->diff;
	uint32_t *order = malloc(((size_t)made + 1) * sizeof(*order));
	struct diff_row *rows = malloc(((size_t)made + 1) * sizeof(*rows));
	size_t last = diff->heap_count - 1;
	bool exact = false;

	diff->place = malloc(((size_t)made + 1) * sizeof(*diff->place));
	if (!order || !rows || !diff->place) {
		free(order);
		free(rows);
		free(diff->place);
		diff->place = NULL;	/* says that all made rows are still there */
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < made; i++)
		order[i] = i;
	for (uint32_t i = 0; i < made && m->options->type; i++)
		exact |= is_called(m->options, &diff->rows[i], bare[i]);
	sorting = diff;
	sorting_by = m->options->sort;
	qsort(order, made, sizeof(*order), compare_rows);
	for (uint32_t i = 0; i < made; i++) {
		struct diff_row *row = &diff->rows[order[i]];

		if (is_hidden(diff, m->options, row, bare[order[i]], exact)) {
			diff->place[order[i]] = HEAP_NONE;
			diff->hidden_rows++;
			diff->hidden_bytes += row->bytes[last];
			free(row->type);
		} else {
			diff->place[order[i]] = (uint32_t)diff->row_count;
			rows[diff->row_count++] = *row;
		}
	}
	free(diff->rows);
	diff->rows = rows;
	free(order);
	return 0;
}

static int build(struct maker *m)
{
	struct diff *diff = m->diff;
	size_t n = m->series->count;
	const char **bare = NULL;
	uint32_t made;
	int r;

	r = find_resized(m);
	for (uint32_t k = 0; k < n && r == 0; k++)
		r = number_heap(m, k);
	if (r < 0)
		return r;

	diff->made_rows = made = make_rows(m);
	diff->rows = calloc((size_t)made + 1, sizeof(*diff->rows));
	diff->numbers = calloc(((size_t)made + 1) * n * 2, sizeof(*diff->numbers));
	bare = calloc((size_t)made + 1, sizeof(*bare));
	if (!diff->rows || !diff->numbers || !bare) {
		free(bare);
		return -ENOMEM;
	}
	diff->count = diff->numbers + (size_t)made * n * 2;
	diff->bytes = diff->count + n;
	for (uint32_t i = 0; i < made; i++) {
		diff->rows[i].count = diff->numbers + (size_t)i * n * 2;
		diff->rows[i].bytes = diff->rows[i].count + n;
	}
	for (uint32_t s = 0; s < m->slot_table.count && r == 0; s++) {
		const struct slot *slot = &m->slots[s];
		const struct group *group = &m->groups[slot->group];
		const struct heap *heap = m->series->heaps[group->heap].heap;
		struct diff_row *row = &diff->rows[slot->row];

		if (row->type)
			continue;
		r = name_row(m, slot, row);
		bare[slot->row] = heap->types[heap->type[group->node]].name;
	}
	if (r == 0) {
		add_up(m);
		diff->row_count = 0;
		r = arrange(m, made, bare);
	}
	if (r == 0 && m->options->keep_nodes) {
		diff->row_of = m->slot_of[n - 1];
		m->slot_of[n - 1] = NULL;
	}
	free(bare);
	return r;
}

int diff_make(const struct series *series, const struct diff_options *options, struct diff **ret_diff)
{
	struct maker m = { .series = series, .options = options };
	int r = -ENOMEM;

	m.diff = calloc(1, sizeof(*m.diff));
	m.slot_of = calloc(series->count, sizeof(*m.slot_of));
	m.known = malloc(KNOWN * sizeof(*m.known));
	if (m.diff && m.slot_of && m.known) {
		memset(m.known, 0xff, KNOWN * sizeof(*m.known));
		m.diff->heap_count = series->count;
		r = build(&m);
	}
	for (size_t k = 0; k < series->count && m.slot_of; k++)
		large_free(m.slot_of[k]);
	free(m.slot_of);
	free(m.known);
	free(m.key_of);
	free(m.root_of);
	free(m.resized);
	free(m.groups);
	free(m.slots);
	intern_done(&m.group_table);
	intern_done(&m.slot_table);
	if (r < 0) {
		if (m.diff && m.diff->rows && !m.diff->place)	/* not arranged yet: all made rows are there */
			m.diff->row_count = m.diff->made_rows;
		diff_free(m.diff);
		return r;
	}
	*ret_diff = m.diff;
	return 0;
}

struct diff *diff_free(struct diff *diff)
{
	if (!diff)
		return NULL;
	for (size_t i = 0; i < diff->row_count; i++)
		free(diff->rows[i].type);
	free(diff->rows);
	free(diff->numbers);
	large_free(diff->row_of);
	free(diff->place);
	free(diff);
	return NULL;
}

static const char *const by_words[] = { "type", "site", "holder", "module", "thread" };
static const char *const sort_words[] = { "growth", "bytes", "count", "new", "name" };

static int find_word(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(words[i], word))
			return (int)i;
	return -EINVAL;
}

int diff_parse_by(const char *word, enum diff_by *ret_by)
{
	int r = find_word(by_words, sizeof(by_words) / sizeof(by_words[0]), word);

	if (r >= 0)
		*ret_by = (enum diff_by)r;
	return r < 0 ? r : 0;
}

int diff_parse_sort(const char *word, enum diff_sort *ret_sort)
{
	int r = find_word(sort_words, sizeof(sort_words) / sizeof(sort_words[0]), word);

	if (r >= 0)
		*ret_sort = (enum diff_sort)r;
	return r < 0 ? r : 0;
}

const char *diff_state_name(enum diff_state state)
{
	return state == DIFF_REFERENCED ? "referenced" : state == DIFF_UNREACHABLE ? "unreachable" : "mixed";
}
