/* SPDX-License-Identifier: Apache-2.0
 * L3  where.c - see where.h. */
#include "core/where.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/large.h"

#define ROOT_UNKNOWN (HEAP_NONE - 1)
#define NEAR_NONE 0xff
#define NEAR_UNKNOWN 0xfe

_Static_assert(WHERE_PLACES < NEAR_UNKNOWN, "a place's number fits into a byte");

int where_init(struct where *where, const struct heap *heap, const struct reach *reach)
{
	*where = (struct where){ .heap = heap, .parent = reach->parent };
	where->root = large_array(heap->nodes, sizeof(*where->root));
	where->near = large_array(heap->nodes, 1);
	if (!where->root || !where->near)
		return -ENOMEM;
	for (uint32_t v = 0; v < heap->nodes; v++)
		where->root[v] = ROOT_UNKNOWN;
	memset(where->near, NEAR_UNKNOWN, heap->nodes);
	return 0;
}

void where_done(struct where *where)
{
	large_free(where->root);
	large_free(where->near);
	*where = (struct where){ 0 };
}

uint32_t where_add(struct where *where, uint32_t node)
{
	if (where->near[node] != NEAR_UNKNOWN)
		return where->near[node];
	if (where->places == WHERE_PLACES)
		return HEAP_NONE;
	where->place[where->places] = node;
	where->near[node] = (uint8_t)where->places;
	return where->places++;
}

static void set_near(struct where *where, uint32_t from, uint32_t end, uint8_t near)
{
	for (uint32_t v = from; v != end; v = where->parent[v])
		where->near[v] = near;
}

/* Go up to what is known, then the same way once more and write it down. */
uint32_t where_root(struct where *where, uint32_t node)
{
	uint32_t nodes = where->heap->nodes, end = node, root, from = node, v;

	while (end < nodes && where->root[end] == ROOT_UNKNOWN)
		end = where->parent[end];
	root = end < nodes ? where->root[end] : end == HEAP_NONE ? HEAP_NONE : end - nodes;
	for (v = node; v != end; v = where->parent[v]) {
		where->root[v] = root;
		if (where->near[v] == NEAR_UNKNOWN)
			continue;
		set_near(where, from, v, where->near[v]);	/* a place: it is the nearest of those before it */
		from = where->parent[v];
	}
	set_near(where, from, end, end < nodes ? where->near[end] : NEAR_NONE);
	return root;
}

bool where_is_below(struct where *where, uint32_t node, uint32_t place)
{
	while (node < where->heap->nodes) {
		(void)where_root(where, node);		/* now the nearest place is known, too */
		if (where->near[node] == NEAR_NONE)
			return false;
		if (where->near[node] == place)
			return true;
		node = where->parent[where->place[where->near[node]]];
	}
	return false;
}
