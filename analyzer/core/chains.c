/* SPDX-License-Identifier: Apache-2.0
 * L6  chains.c - paths, folded and labelled. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/chains.h"
#include "core/kinds.h"
#include "core/names.h"

#define TURNS_MAX 3			/* kinds that may take turns in a folded run */

char *chain_type_of(const struct heap *heap, uint32_t id)
{
	struct text text = { 0 };

	if (id >= heap->nodes) {
		text_append(&text, names_root_kind(heap->root[id - heap->nodes].kind));
	} else {
		const struct heap_type *type = &heap->types[heap->type[id]];

		names_type(&text, type->name, type->source, true, heap->bytes[id]);
	}
	return text_take(&text);
}

char *chain_name_of(const struct heap *heap, uint32_t id)
{
	if (id >= heap->nodes)
		return strdup(heap->root[id - heap->nodes].name);
	return text_format("0x%" PRIx64, heap->addr[id]);
}

int chain_detail_of(const struct heap *heap, uint32_t id, char **ret_detail)
{
	const struct heap_cache *cache = id < heap->nodes ? heap_cache_of(heap, id) : NULL;
	struct text text = { 0 };

	*ret_detail = NULL;
	if (!cache)
		return 0;
	names_cache(&text, cache);
	*ret_detail = text_take(&text);
	return *ret_detail ? 0 : -ENOMEM;
}

/* The type of a step behind a label that says what the step is to the one before. */
static char *type_behind(const struct heap *heap, uint32_t id, const char *label)
{
	const struct heap_type *type = id < heap->nodes ? &heap->types[heap->type[id]] : NULL;
	struct text text = { 0 };

	if (!type || !label || (*label != '.' && *label != '['))
		return chain_type_of(heap, id);
	names_type_held(&text, type->name, type->source, heap->bytes[id]);
	return text_take(&text);
}

bool chain_is_own(const struct chain *chain, size_t step)
{
	return step > 0 && step + 1 < chain->count && chain->steps[step - 1].role == CHAIN_ROOT &&
	       chain->steps[step].role == CHAIN_PLAIN && chain->steps[step - 1].edge &&
	       !*chain->steps[step - 1].edge && !strcmp(chain->steps[step].type, "module");
}

char *chain_holder_name(const struct heap *heap, uint32_t root, const struct chain *chain)
{
	struct text text = { 0 };

	text_append(&text, heap->root[root].name);
	for (size_t i = 1; heap->root[root].kind == HEAP_ROOT_PY_MODULE && i + 1 < chain->count; i++) {
		const struct chain_step *step = &chain->steps[i];

		if (!step->edge || step->edge[0] != '.' || step->role == CHAIN_POINT || step->role == CHAIN_GREW)
			break;
		text_append(&text, step->edge);
	}
	return text_take(&text);
}

/* How sure a reference is, by where its label is from. */
static const char *quality_of(const struct heap_reference *ref, uint64_t slots, const char *label)
{
	if (!slots)
		return "word";
	if (ref->label != HEAP_LABEL_OFFSET && ref->label != HEAP_LABEL_CAPSULE && ref->label != HEAP_LABEL_NAMED)
		return "exact";
	if (ref->interior)
		return "interior";
	return *label == '.' || *label == '[' || *label == '-' || !strncmp(label, "local ", 6) ? "typed" : "word";
}

static int find_label(struct labels *labels, const struct heap *heap, uint32_t from, uint32_t to,
		      char **ret_label, bool *ret_interior, uint64_t *ret_slots, const char **ret_quality)
{
	struct heap_reference ref = { 0 };
	struct text text = { 0 };
	uint64_t slots;
	char *label;
	int r = labels_find(labels, from, to, &ref, &slots);

	if (r < 0)
		return r;
	if (slots) {
		names_reference(&text, heap, &ref);
		if (ref.interior)
			names_into(&text, heap, &ref);
	}
	label = text_take(&text);
	if (!label)
		return -ENOMEM;
	*ret_label = label;
	*ret_interior = slots && ref.interior;
	if (ret_quality)
		*ret_quality = from >= heap->nodes && heap_root_is_unnamed_slot(&heap->root[from - heap->nodes]) ? "stale?" :
			       quality_of(&ref, slots, label);
	if (ret_slots)
		*ret_slots = slots;
	return 0;
}

int chain_label(const struct heap *heap, uint32_t from, uint32_t to, char **ret_label, bool *ret_interior,
		uint64_t *ret_slots)
{
	struct labels *labels = labels_new(heap);
	int r = labels ? find_label(labels, heap, from, to, ret_label, ret_interior, ret_slots, NULL) : -ENOMEM;

	labels_free(labels);
	return r;
}

int64_t chain_path(const struct heap *heap, const struct reach *reach, uint32_t node, uint32_t **ret_path)
{
	uint32_t length = 0, *path;

	if (node < heap->nodes && reach->region[node] == REACH_NONE)
		return 0;
	for (uint32_t v = node; v != HEAP_NONE; v = v < heap->nodes ? reach->parent[v] : HEAP_NONE)
		length++;
	path = malloc((size_t)length * sizeof(*path));
	if (!path)
		return -ENOMEM;
	for (uint32_t v = node, i = length; i > 0; v = v < heap->nodes ? reach->parent[v] : v)
		path[--i] = v;
	*ret_path = path;
	return length;
}

static struct chain_step *add_step(struct chain *chain, size_t *room)
{
	if (chain->count == *room) {
		size_t wider = *room ? *room * 2 : 16;
		struct chain_step *grown = realloc(chain->steps, wider * sizeof(*grown));

		if (!grown)
			return NULL;
		chain->steps = grown;
		*room = wider;
	}
	memset(&chain->steps[chain->count], 0, sizeof(*chain->steps));
	return &chain->steps[chain->count++];
}

/* Longest run from path[i] in which `turn` kinds take turns; in whole turns, in nodes. */
static uint32_t run_length(const struct heap *heap, const uint32_t *path, uint32_t length, uint32_t i,
			   uint32_t turn)
{
	uint32_t end = i + turn;

	while (end < length && kinds_are_alike(heap, path[end - turn], path[end]))
		end++;
	return (end - i) / turn * turn;
}

/* One step for path[i], its edge to path[i + 1] repeated `times`. */
static int step_for(struct labels *labels, const struct heap *heap, const uint32_t *path, uint32_t length, uint32_t i,
		    uint32_t times, uint64_t count, struct chain *chain, size_t *room)
{
	struct chain_step *step = add_step(chain, room);
	uint32_t id = path[i];

	if (!step)
		return -ENOMEM;
	step->id = id;
	step->role = id >= heap->nodes ? CHAIN_ROOT : CHAIN_PLAIN;
	step->count = count;
	step->size = id < heap->nodes ? heap->bytes[id] :
		     heap->root[id - heap->nodes].end - heap->root[id - heap->nodes].start;
	step->bytes = id < heap->nodes ? step->size * count : 0;
	step->type = type_behind(heap, id, chain->count > 1 ? step[-1].edge : NULL);
	step->name = count == 1 ? chain_name_of(heap, id) : NULL;
	if (!step->type || (count == 1 && !step->name) || chain_detail_of(heap, id, &step->detail) < 0)
		return -ENOMEM;
	if (i + 1 < length) {
		char *label;
		int r = find_label(labels, heap, id, path[i + 1], &label, &step->interior, NULL, &step->quality);

		if (r < 0)
			return r;
		step->edge = times > 1 ? text_format("%s x %" PRIu32, label, times) : strdup(label);
		free(label);
		if (!step->edge)
			return -ENOMEM;
	}
	return 0;
}

/* Too many steps even when folded: keep both ends. */
static int cut_middle(struct chain *chain)
{
	size_t head = CHAIN_MAX / 2, tail = CHAIN_MAX - head - 1, cut;
	struct chain_step middle = { .role = CHAIN_CUT, .id = HEAP_NONE };

	if (chain->count <= CHAIN_MAX)
		return 0;
	cut = chain->count - head - tail;
	middle.count = cut;
	for (size_t i = head; i < head + cut; i++)
		middle.bytes += chain->steps[i].bytes;
	middle.type = text_format("(%zu steps not shown)", cut);
	middle.edge = chain->steps[head + cut - 1].edge;
	chain->steps[head + cut - 1].edge = NULL;
	if (!middle.type) {
		free(middle.edge);
		return -ENOMEM;
	}
	for (size_t i = head; i < head + cut; i++) {
		free(chain->steps[i].type);
		free(chain->steps[i].name);
		free(chain->steps[i].detail);
		free(chain->steps[i].edge);
	}
	chain->steps[head] = middle;
	memmove(chain->steps + head + 1, chain->steps + head + cut, tail * sizeof(*chain->steps));
	chain->count = CHAIN_MAX;
	return 0;
}

int chain_make(struct labels *labels, const struct heap *heap, const uint32_t *path, uint32_t length,
	       struct chain *ret_chain)
{
	struct chain chain = { 0 };
	size_t room = 0;
	int r = 0;

	for (uint32_t i = 0; i < length && r == 0;) {
		uint32_t turn = 0, run = 0;

		for (uint32_t t = 1; t <= TURNS_MAX && !turn; t++) {
			run = run_length(heap, path, length, i, t);
			if (run >= (t == 1 ? CHAIN_RUN : 3 * t))
				turn = t;
		}
		if (!turn) {
			r = step_for(labels, heap, path, length, i, 1, 1, &chain, &room);
			i++;
			continue;
		}
		/* One turn stands for all but the last one, which is written out. */
		uint32_t rounds = run / turn - 1;
		for (uint32_t t = 0; t < turn && r == 0; t++)
			r = step_for(labels, heap, path, length, i + t, t + 1 == turn ? rounds : 1, rounds, &chain, &room);
		for (uint32_t t = 0; t < turn && r == 0; t++)
			r = step_for(labels, heap, path, length, i + run - turn + t, 1, 1, &chain, &room);
		i += run;
	}
	if (r == 0)
		r = cut_middle(&chain);
	if (r < 0) {
		chain_done(&chain);
		return r;
	}
	*ret_chain = chain;
	return 0;
}

void chain_done(struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		free(chain->steps[i].type);
		free(chain->steps[i].name);
		free(chain->steps[i].detail);
		free(chain->steps[i].edge);
	}
	free(chain->steps);
	chain->steps = NULL;
	chain->count = 0;
}
