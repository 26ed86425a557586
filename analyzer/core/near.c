/* SPDX-License-Identifier: Apache-2.0
 * L10  near.c - the neighbourhood of an object: what it refers to, what refers to it.
 *
 * Level by level from the object. Backwards, one pass over all edges finds the referrers of a whole
 * level, so no reverse graph is kept. A node shows at most `width` neighbours; the others are one
 * cut with their number. Of many objects that match a few are begun with: the rest of the picture is
 * for their neighbours. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pattern.h"
#include "core/text.h"

#define BEGINNINGS (PICTURE_NODES / 5)

struct near {
	const struct series *series;
	const struct heap *heap;
	struct picture *picture;
	uint32_t id[PICTURE_NODES];	/* graph id of each picture node; HEAP_NONE = a cut */
	uint32_t shown[PICTURE_NODES];	/* neighbours shown of each */
	uint64_t hidden[PICTURE_NODES];	/* and left out */
	size_t left_for_room;		/* neighbours that did not fit into the picture at all */
	unsigned width;
	bool backwards;
};

static int find(const struct near *n, uint32_t id)
{
	for (size_t i = 0; i < n->picture->node_count; i++)
		if (n->id[i] == id)
			return (int)i;
	return -1;
}

static int add(struct near *n, uint32_t id, bool is_start)
{
	bool is_root = id >= n->heap->nodes;
	char *type = chain_type_of(n->heap, id), *name = chain_name_of(n->heap, id), *detail = NULL;
	int r = chain_detail_of(n->heap, id, &detail);
	struct picture_node node = {
		.type = type, .name = name, .detail = detail, .count = 1,
		.addr = is_root ? 0 : n->heap->addr[id],
		.bytes = is_root ? 0 : series_bytes(series_last(n->series), id),
		.role = is_root ? PICTURE_ROOT : is_start ? PICTURE_GREW :
			series_last(n->series)->reach->region[id] == REACH_NONE ? PICTURE_UNREACHABLE : PICTURE_PLAIN,
	};
	int index = type && name && r == 0 ? picture_add_node(n->picture, &node) : -ENOMEM;

	free(type);
	free(name);
	free(detail);
	if (index >= 0)
		n->id[index] = id;
	return index;
}

/* One reference between a shown node and a neighbour. */
static int meet(struct near *n, int shown, uint32_t neighbour)
{
	int other = find(n, neighbour);
	struct picture_edge edge = { .count = 1 };
	char *label = NULL;
	int r;

	if (other < 0) {
		if (n->shown[shown] >= n->width) {
			n->hidden[shown]++;
			return 0;
		}
		if (n->picture->node_count >= PICTURE_NODES) {
			n->left_for_room++;
			return 0;
		}
		other = add(n, neighbour, false);
		if (other < 0)
			return other;
	}
	n->shown[shown]++;
	edge.from = (uint32_t)(n->backwards ? other : shown);
	edge.to = (uint32_t)(n->backwards ? shown : other);
	for (size_t i = 0; i < n->picture->edge_count; i++)
		if (n->picture->edges[i].from == edge.from && n->picture->edges[i].to == edge.to)
			return 0;
	r = chain_label(n->heap, n->id[edge.from], n->id[edge.to], &label, &edge.conservative, &edge.count);
	if (r < 0)
		return r;
	edge.label = label;
	edge.bytes = n->picture->nodes[edge.to].bytes;
	r = picture_add_edge(n->picture, &edge);
	free(label);
	return r;
}

static int level_forwards(struct near *n, size_t first, size_t end)
{
	int r = 0;

	for (size_t i = first; i < end && r == 0; i++)
		for (uint64_t e = n->heap->edge_start[n->id[i]]; e < n->heap->edge_start[n->id[i] + 1] && r == 0; e++)
			r = meet(n, (int)i, n->heap->edge_to[e]);
	return r;
}

static int level_backwards(struct near *n, size_t first, size_t end)
{
	uint32_t sources = n->heap->nodes + n->heap->roots;
	bool *wanted = calloc(n->heap->nodes + 1ull, sizeof(*wanted));
	int r = wanted ? 0 : -ENOMEM;

	for (size_t i = first; i < end && wanted; i++)
		if (n->id[i] < n->heap->nodes)
			wanted[n->id[i]] = true;
	/* Roots first: they say most, and must not lose their place to the width. */
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t v = pass ? 0 : n->heap->nodes; v < (pass ? n->heap->nodes : sources) && r == 0; v++)
			for (uint64_t e = n->heap->edge_start[v]; e < n->heap->edge_start[v + 1] && r == 0; e++)
				for (size_t i = first; wanted[n->heap->edge_to[e]] && i < end && r == 0; i++)
					if (n->id[i] == n->heap->edge_to[e])
						r = meet(n, (int)i, v);
	free(wanted);
	return r;
}

/* "what struct table refers to", "what refers to these 6 objects" */
static char *title_of(const struct near *n, const uint32_t *nodes, size_t count)
{
	char *type = count == 1 ? chain_type_of(n->heap, nodes[0]) : text_format("these %zu objects", count);
	char *title = !type ? NULL : n->backwards ? text_format("what refers to %s", type) :
		      text_format("what %s refer%s to", type, count == 1 ? "s" : "");

	free(type);
	return title;
}

int pattern_of_neighbours(const struct series *series, const uint32_t *nodes, size_t count,
			  enum pattern_direction direction, unsigned depth, unsigned width,
			  struct picture **ret_picture)
{
	struct near n = { .series = series, .heap = series_last(series)->heap, .width = width,
			  .backwards = direction == PATTERN_BACKREFS };
	size_t shown = count < width ? count : width, first = 0;
	char *title;
	int r = 0;

	if (shown > BEGINNINGS)
		shown = BEGINNINGS;
	title = title_of(&n, nodes, shown);
	n.picture = title ? picture_new(title) : NULL;
	free(title);
	if (!n.picture)
		return -ENOMEM;
	for (size_t i = 0; i < shown && r >= 0; i++)
		r = add(&n, nodes[i], true);
	for (unsigned level = 0; level < depth && r >= 0; level++) {
		size_t end = n.picture->node_count;

		if (first == end)
			break;
		r = n.backwards ? level_backwards(&n, first, end) : level_forwards(&n, first, end);
		first = end;
	}
	if (r >= 0 && count > shown)
		r = picture_leave_out(n.picture, "%zu more object%s", count - shown, count - shown == 1 ? " matches" : "s match");
	if (r >= 0 && n.left_for_room)
		r = picture_leave_out(n.picture, "%zu more neighbour%s: a picture holds %d nodes", n.left_for_room, text_s(n.left_for_room),
				      PICTURE_NODES);
	size_t real = n.picture->node_count;
	for (size_t i = 0; i < real && r >= 0; i++) {
		char text[64];

		if (!n.hidden[i])
			continue;
		snprintf(text, sizeof(text), "%" PRIu64 " more %s", n.hidden[i],
			 n.backwards ? "referrers" : "references");
		struct picture_node cut = { .type = text, .count = n.hidden[i], .role = PICTURE_CUT };
		r = picture_add_node(n.picture, &cut);
		if (r >= 0) {
			struct picture_edge edge = { .from = (uint32_t)(n.backwards ? r : (int)i),
						     .to = (uint32_t)(n.backwards ? (int)i : r), .count = n.hidden[i] };
			r = picture_add_edge(n.picture, &edge);
		}
	}
	if (r < 0) {
		picture_free(n.picture);
		return r;
	}
	*ret_picture = n.picture;
	return 0;
}
