/* SPDX-License-Identifier: Apache-2.0
 * L4  walk.c - down a tree to where growth fans out, and back up out of lists. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/kinds.h"
#include "core/large.h"
#include "core/walk.h"

int walk_init(struct walk *walk)
{
	uint64_t total = 0;

	walk->child_start = large_array((uint64_t)walk->count + 2, sizeof(*walk->child_start));
	walk->path = malloc(((size_t)walk->count + 1) * sizeof(*walk->path));
	if (!walk->child_start || !walk->path)
		return -ENOMEM;
	memset(walk->child_start, 0, ((size_t)walk->count + 2) * sizeof(*walk->child_start));
	for (uint32_t id = 0; id < walk->count; id++)
		if (walk->left[id] && walk->parent[id] != id && walk->parent[id] != HEAP_NONE) {
			walk->child_start[walk->parent[id] + 2]++;
			total++;
		}
	walk->child = malloc((total + 1) * sizeof(*walk->child));
	if (!walk->child)
		return -ENOMEM;
	/* Sums shifted by one place more than usual, so that filling moves them to where they belong. */
	for (uint32_t id = 2; id < walk->count + 2; id++)
		walk->child_start[id] += walk->child_start[id - 1];
	for (uint32_t id = 0; id < walk->count; id++)
		if (walk->left[id] && walk->parent[id] != id && walk->parent[id] != HEAP_NONE)
			walk->child[walk->child_start[walk->parent[id] + 1]++] = id;
	return 0;
}

void walk_done(struct walk *walk)
{
	large_free(walk->child_start);
	free(walk->child);
	free(walk->path);
	walk->child_start = NULL;
	walk->child = walk->path = NULL;
}

static bool is_new(const struct walk *walk, uint32_t id)
{
	return id < walk->heap->nodes && walk->earlier[id] == HEAP_NONE;
}

static bool grew_itself(const struct walk *walk, uint32_t id)
{
	return id < walk->heap->nodes && walk_own(walk, id) &&
	       (double)walk_own(walk, id) >= (1 - walk->drop) * (double)walk->left[id];
}

static uint32_t heaviest_child(const struct walk *walk, uint32_t id)
{
	uint32_t best = HEAP_NONE;
	uint64_t most = 0;

	for (uint64_t i = walk->child_start[id]; i < walk->child_start[id + 1]; i++)
		if (walk->left[walk->child[i]] > most) {
			best = walk->child[i];
			most = walk->left[best];
		}
	return best;
}

/* Does a child that matters continue the structure that `id` is an element of? */
static uint32_t alike_child(const struct walk *walk, uint32_t id)
{
	for (uint64_t i = walk->child_start[id]; i < walk->child_start[id + 1]; i++) {
		uint32_t child = walk->child[i];

		if ((double)walk->left[child] >= GROWTH_BRANCH_SHARE * (double)walk->left[id] &&
		    walk->left[child] && kinds_are_alike(walk->heap, id, child))
			return child;
	}
	return HEAP_NONE;
}

static uint32_t grown_children(const struct walk *walk, uint32_t id)
{
	uint32_t count = 0;

	for (uint64_t i = walk->child_start[id]; i < walk->child_start[id + 1]; i++)
		count += walk->left[walk->child[i]] != 0;
	return count;
}

bool walk_is_item(const struct walk *walk, uint32_t id, uint32_t like_it)
{
	if (id >= walk->heap->nodes)
		return false;
	if (grew_itself(walk, id))
		return is_new(walk, id) || like_it > 1;
	if (like_it > 1)
		return true;
	return is_new(walk, id) && grown_children(walk, id) < GROWTH_MANY_CHILDREN &&
	       heaviest_child(walk, id) == HEAP_NONE;
}

uint32_t walk_grown_type(const struct walk *walk, uint32_t id)
{
	uint32_t next;

	while ((next = heaviest_child(walk, id)) != HEAP_NONE)
		id = next;
	return id < walk->heap->nodes ? walk->heap->type[id] : HEAP_NONE;
}

static bool alike_on_path(const struct walk *walk, uint32_t i, uint32_t j)
{
	return i <= walk->end && j <= walk->end && kinds_are_alike(walk->heap, walk->path[i], walk->path[j]);
}

/* Is path[k] an element of the structure that it holds: a node whose next one is alike, or one of two
 * kinds that take turns (node, link, node, link)? */
static bool is_element(const struct walk *walk, uint32_t k)
{
	if (walk->path[k] >= walk->heap->nodes)
		return false;
	if (alike_on_path(walk, k, k + 1) || alike_child(walk, walk->path[k]) != HEAP_NONE)
		return true;
	return (alike_on_path(walk, k, k + 2) && (k + 3 > walk->end || alike_on_path(walk, k + 1, k + 3))) ||
	       (k >= 2 && alike_on_path(walk, k, k - 2) && alike_on_path(walk, k - 1, k + 1));
}

bool walk_find_point(struct walk *walk, uint32_t start)
{
	uint32_t *path = walk->path, k = 0, next;

	path[0] = start;
	while ((next = heaviest_child(walk, path[k])) != HEAP_NONE &&
	       (double)walk->left[next] >= walk->drop * (double)walk->left[path[k]])
		path[++k] = next;
	walk->end = k;
	walk->resized = false;

	if (grew_itself(walk, path[k]) && !is_new(walk, path[k])) {
		walk->depth = k;
		walk->resized = true;
		return true;
	}
	if (is_new(walk, path[k]) &&
	    (grew_itself(walk, path[k]) || grown_children(walk, path[k]) < GROWTH_MANY_CHILDREN)) {
		/* One object with its parts: the holder is the first thing above it that is not as new. */
		if (k == 0)
			return false;
		k--;
		while (k > 0 && is_new(walk, path[k]) && alike_child(walk, path[k]) == HEAP_NONE)
			k--;
		if (k == 0 && is_new(walk, path[0]) &&
		    alike_child(walk, path[0]) == HEAP_NONE)
			return false;
	}
	/* Out of a list, a tree or a ring: an element is not the holder. */
	while (is_element(walk, k)) {
		if (k == 0)
			return false;
		k--;
	}
	walk->depth = k;
	return true;
}
