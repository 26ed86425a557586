/* SPDX-License-Identifier: Apache-2.0
 * L4  label_path.c - see label_path.h. */
#include "core/label_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "core/text.h"

struct visit {
	const struct heap *heap;
	uint32_t to;			/* the reference to this node is looked for ... */
	const char *label;		/* ... or the one with this label */
	char *found;			/* its label */
	uint32_t found_node;
};

static char *label_of(const struct heap *heap, const struct heap_reference *ref)
{
	struct text text = { 0 };

	names_reference(&text, heap, ref);
	return text.length || text.broken ? text_take(&text) : strdup("");
}

static int visit_target(const struct heap_reference *ref, void *data)
{
	struct visit *visit = data;

	if (ref->to != visit->to)
		return 0;
	visit->found = label_of(visit->heap, ref);
	return visit->found ? 1 : -ENOMEM;
}

static int visit_label(const struct heap_reference *ref, void *data)
{
	struct visit *visit = data;
	char *label = label_of(visit->heap, ref);
	bool same = label && !strcmp(label, visit->label);

	free(label);
	if (!label)
		return -ENOMEM;
	if (!same)
		return 0;
	visit->found_node = ref->to;
	return 1;
}

/* "[17]" and ".buckets[17]" are indices, "['default']" is a key. */
static bool has_index(const char *label)
{
	for (const char *at = label; (at = strchr(at, '[')); at++)
		if (at[1] >= '0' && at[1] <= '9')
			return true;
	return false;
}

int label_path_make(const struct heap *heap, const struct reach *reach, uint32_t node, struct label_path *ret_path)
{
	uint32_t *way = NULL, length = 0;
	int r = 0;

	*ret_path = (struct label_path){ .count = 0 };
	for (uint32_t v = node; v != HEAP_NONE; v = v < heap->nodes ? reach->parent[v] : HEAP_NONE)
		length++;
	way = malloc(((size_t)length + 1) * sizeof(*way));
	if (!way)
		return -ENOMEM;
	for (uint32_t v = node, i = length; i > 0; v = v < heap->nodes ? reach->parent[v] : v)
		way[--i] = v;
	for (uint32_t i = 0; i + 1 < length && i < LABEL_PATH_MAX && way[0] >= heap->nodes; i++) {
		struct visit visit = { .heap = heap, .to = way[i + 1] };

		r = heap_references(heap, way[i], visit_target, &visit);
		if (r <= 0 || has_index(visit.found)) {
			free(visit.found);
			break;
		}
		ret_path->label[ret_path->count++] = visit.found;
	}
	free(way);
	return r < 0 ? r : 0;
}

void label_path_done(struct label_path *path)
{
	for (uint32_t i = 0; i < path->count; i++)
		free(path->label[i]);
	path->count = 0;
}

int label_path_follow(const struct label_path *path, const struct heap *heap, uint32_t root, uint32_t *ret_node)
{
	uint32_t node = heap->nodes + root;

	for (uint32_t i = 0; i < path->count; i++) {
		struct visit visit = { .heap = heap, .label = path->label[i] };
		int r = heap_references(heap, node, visit_label, &visit);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		node = visit.found_node;
	}
	*ret_node = node;
	return 0;
}
