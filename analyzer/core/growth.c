/* SPDX-License-Identifier: Apache-2.0
 * L6  growth.c - where what grew accumulates: walks and clusters.
 *
 * A start is a place below which growth is looked for. The first starts are the children of the top
 * of the dominator tree: roots, and blocks that several roots share. From each start the walk finds a
 * point; the point's children are items or further starts; the items become clusters and what they
 * carry is taken off the weights, until too little is left. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/growth.h"
#include "core/kinds.h"
#include "core/large.h"
#include "core/mark.h"
#include "core/walk.h"
#include "core/weigh.h"

#define TYPE_MIXED (HEAP_NONE - 1)
#define TAKEN_LIGHT 2			/* in finder.taken: with a light companion */

struct finder {
	struct growth *growth;
	const struct series *series;
	const struct heap *heap;	/* the last one */
	const struct reach *reach;
	struct walk walk;		/* over the dominator tree */
	uint8_t *taken;			/* by node: a cluster has claimed its growth */
	uint64_t min_bytes;
	uint32_t *start;		/* stack of starts */
	uint32_t start_count, start_room;
	/* sums by type, zero between uses; `touched` lists what must be cleared */
	uint64_t *type_bytes;
	uint32_t *type_count, *touched, touched_count;
	uint32_t *type_below;		/* what mostly grew below the children of a type, or TYPE_MIXED */
	uint8_t *mark;			/* by node: scratch, zero between uses */
	uint8_t *light;			/* by node: an item that is a companion by its weight alone; likewise */
	uint32_t *group_of;		/* by node: scratch, group + 1, zero between uses */
	uint32_t path_walks;		/* so many are done */
};

static int push_id(uint32_t **array, uint32_t *count, uint32_t *room, uint32_t id)
{
	if (*count == *room) {
		uint32_t wider = *room ? *room * 2 : 16;
		uint32_t *grown = realloc(*array, (size_t)wider * sizeof(**array));

		if (!grown)
			return -ENOMEM;
		*array = grown;
		*room = wider;
	}
	(*array)[(*count)++] = id;
	return 0;
}

/* ---- clusters ------------------------------------------------------------------------------- */

static struct cluster *new_cluster(struct finder *f)
{
	struct growth *growth = f->growth;

	if (!growth->clusters) {
		growth->clusters = calloc(GROWTH_MAX_CLUSTERS, sizeof(*growth->clusters));
		if (!growth->clusters)
			return NULL;
	}
	struct cluster *cluster = &growth->clusters[growth->cluster_count++];
	cluster->point = HEAP_NONE;
	return cluster;
}

/* Grown bytes of a node that no cluster has claimed. */
static uint64_t own_bytes(const struct finder *f, uint32_t v)
{
	return walk_own(&f->walk, v);
}

static int take_node(struct finder *f, struct cluster *cluster, uint32_t v, bool light)
{
	if (!own_bytes(f, v))
		return 0;
	cluster->bytes += f->growth->bytes[v];
	f->taken[v] = light ? TAKEN_LIGHT : 1;
	return push_id(&cluster->node, &cluster->node_count, &cluster->node_room, v);
}

/* Put an item, with all growth that only it holds, into a cluster. The weights above the item are put
 * right by whoever calls, once for all items. */
static int take_item(struct finder *f, struct cluster *cluster, uint32_t item)
{
	const struct dominators *tree = f->growth->tree;
	int r = 0;

	/* Companions are in the cluster, but the items are those of the kind that came first. */
	if (cluster->item_count == 0 || f->heap->type[item] == f->heap->type[cluster->item[0]])
		r = push_id(&cluster->item, &cluster->item_count, &cluster->item_room, item);
	for (uint32_t i = tree->first[item]; i < tree->last[item] && r == 0; i++) {
		uint32_t id = tree->order[i];

		if (id < f->heap->nodes)
			r = take_node(f, cluster, id, f->light[item]);
		f->walk.left[id] = 0;
	}
	return r;
}

static void take_off(struct finder *f, uint32_t id, uint64_t bytes)
{
	for (;;) {
		f->walk.left[id] -= bytes < f->walk.left[id] ? bytes : f->walk.left[id];
		if (id == f->growth->tree->top)
			break;
		id = f->growth->tree->idom[id];
	}
}

static void clear_types(struct finder *f)
{
	while (f->touched_count) {
		uint32_t type = f->touched[--f->touched_count];

		f->type_bytes[type] = 0;
		f->type_count[type] = 0;
		f->type_below[type] = HEAP_NONE;
	}
}

static void add_type(struct finder *f, uint32_t type, uint64_t bytes)
{
	if (!f->type_count[type]++)
		f->touched[f->touched_count++] = type;
	f->type_bytes[type] += bytes;
}

struct kind_sum {
	uint64_t bytes;
	uint32_t sample;
	bool is_peer;
};

/* Kinds in the same place as the main one (7). Parents are those of the shortest paths. */
static void find_peers(struct finder *f, const struct cluster *cluster, const uint32_t *kind_of,
		       struct kind_sum *sums, uint32_t kinds, uint32_t main)
{
	const struct heap *heap = f->heap;
	uint32_t parent = HEAP_NONE;

	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t up = f->reach->parent[cluster->node[i]];

		if (kind_of[i] != main)
			continue;
		if (up >= heap->nodes || up == cluster->point)
			break;		/* held by the point itself: another kind there is another thing */
		parent = up;
		f->mark[up] = 1;
	}
	for (uint32_t k = 0; k < kinds; k++)
		sums[k].is_peer = parent != HEAP_NONE || k == main;
	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t up = f->reach->parent[cluster->node[i]];

		if (kind_of[i] != main && (up >= heap->nodes || up == cluster->point ||
					   !kinds_are_alike(heap, up, parent) || f->mark[up]))
			sums[kind_of[i]].is_peer = false;
	}
	for (uint32_t i = 0; i < cluster->node_count; i++)
		if (f->reach->parent[cluster->node[i]] < heap->nodes)
			f->mark[f->reach->parent[cluster->node[i]]] = 0;
}

/* Find the kind that grew most and its peers, and count them. */
static int find_main(struct finder *f, struct cluster *cluster)
{
	uint32_t *kind_of = malloc(((size_t)cluster->node_count + 1) * sizeof(*kind_of)), main = 0;
	struct kind_sum *sums = calloc((size_t)cluster->node_count + 1, sizeof(*sums));
	struct kinds kinds = { 0 };
	int r = -ENOMEM;

	free(cluster->counts);
	cluster->counts = calloc((size_t)cluster->node_count + 1, 1);
	if (!kind_of || !sums || !cluster->counts)
		goto out;
	for (uint32_t i = 0; i < cluster->node_count; i++) {
		int64_t kind = kinds_number(&kinds, f->heap, cluster->node[i]);

		if (kind < 0)
			goto out;
		kind_of[i] = (uint32_t)kind;
		if (f->taken[cluster->node[i]] == TAKEN_LIGHT)
			continue;	/* it came with them, and is not where they are: a request in work */
		sums[kind].bytes += f->growth->bytes[cluster->node[i]];
		sums[kind].sample = cluster->node[i];
	}
	for (uint32_t k = 0; k < kinds.count; k++)
		if (sums[k].bytes > sums[main].bytes)
			main = k;
	find_peers(f, cluster, kind_of, sums, kinds.count, main);
	cluster->main = sums[main].sample;
	cluster->main_count = cluster->main_bytes = 0;
	for (uint32_t i = 0; i < cluster->node_count; i++)
		if (f->taken[cluster->node[i]] != TAKEN_LIGHT && (kind_of[i] == main || sums[kind_of[i]].is_peer)) {
			cluster->counts[i] = 1;
			cluster->main_count += weigh_count(f->heap, cluster->node[i]);
			cluster->main_bytes += f->growth->bytes[cluster->node[i]];
		}
	r = 0;
out:
	kinds_done(&kinds);
	free(kind_of);
	free(sums);
	return r;
}

/* Before growth.retained is made: few are asked for. */
static uint64_t retained_bytes(const struct finder *f, uint32_t id)
{
	const struct dominators *tree = f->growth->tree;
	uint64_t bytes = 0;

	for (uint32_t i = tree->first[id]; i < tree->last[id]; i++)
		if (tree->order[i] < f->heap->nodes)
			bytes += series_bytes(series_last(f->series), tree->order[i]);
	return bytes;
}

static int finish_cluster(struct finder *f, struct cluster *cluster)
{
	const struct growth *growth = f->growth;
	uint64_t elements = 0;

	/* A list hangs from one item, and still has as many children as elements. */
	for (uint32_t i = 0; i < cluster->node_count && cluster->item_count; i++)
		elements += kinds_are_alike(f->heap, cluster->node[i], cluster->item[0]);
	cluster->children = elements > cluster->item_count ? (uint32_t)elements : cluster->item_count;
	cluster->retained_bytes = cluster->bytes;
	cluster->resized = cluster->point < f->heap->nodes &&
			   f->series->earlier[cluster->point] != HEAP_NONE &&
			   growth->bytes[cluster->point] * 2 > cluster->bytes;
	if (cluster->resized && retained_bytes(f, cluster->point) > cluster->bytes)
		cluster->retained_bytes = retained_bytes(f, cluster->point);
	return find_main(f, cluster);
}

static void mark_items(struct finder *f, const uint32_t *items, uint32_t count, uint8_t value)
{
	for (uint32_t i = 0; i < count; i++)
		f->mark[items[i]] = value;
}

/* Does anything in the cluster, or its point, refer to a marked item? Clears the marks that it meets;
 * returns how many. */
static uint32_t meet_marks(struct finder *f, const struct cluster *cluster)
{
	uint32_t met = 0;

	for (uint32_t i = 0; i <= cluster->node_count; i++) {
		uint32_t v = i < cluster->node_count ? cluster->node[i] : cluster->point;

		if (v == HEAP_NONE || v >= f->heap->nodes + f->heap->roots)
			continue;
		for (uint64_t e = f->heap->edge_start[v]; e < f->heap->edge_start[v + 1]; e++)
			if (f->mark[f->heap->edge_to[e]] && reach_edge_counts(f->reach, v, f->heap->edge_to[e])) {
				f->mark[f->heap->edge_to[e]] = 0;
				met++;
			}
	}
	return met;
}

/* Items that a heavier cluster refers to belong to it: the last request's body that some variable
 * still points at, the payload that a second index points at. What is left of the list stays. */
static int absorb(struct finder *f, uint32_t *items, uint32_t *count)
{
	int r = 0;

	for (uint32_t c = 0; c < f->growth->cluster_count && *count && r == 0; c++) {
		struct cluster *cluster = &f->growth->clusters[c];
		uint64_t bytes = 0;
		uint32_t kept = 0;

		if (cluster->unreachable)
			continue;
		for (uint32_t i = 0; i < *count; i++)
			bytes += f->walk.left[items[i]];
		if (bytes > cluster->bytes)
			continue;
		mark_items(f, items, *count, 1);
		uint32_t met = meet_marks(f, cluster);
		for (uint32_t i = 0; i < *count && met && r == 0; i++) {
			if (f->mark[items[i]]) {
				items[kept++] = items[i];
			} else {
				uint64_t carried = f->walk.left[items[i]];

				f->mark[items[i]] = 0;
				r = take_item(f, cluster, items[i]);
				take_off(f, f->growth->tree->idom[items[i]], carried);
			}
		}
		mark_items(f, items, *count, 0);
		if (met) {
			*count = kept;
			if (r == 0)
				r = finish_cluster(f, cluster);
		}
	}
	return r;
}

/* Make one cluster of items that hang from `point`. */
static int make_cluster(struct finder *f, uint32_t point, const uint32_t *items, uint32_t count)
{
	struct cluster *cluster;
	uint64_t carried = 0;
	int r = 0;

	if (f->growth->cluster_count == GROWTH_MAX_CLUSTERS) {
		f->growth->rest_clusters++;
		for (uint32_t i = 0; i < count; i++) {	/* still taken off, or the walk would come again */
			uint64_t bytes = f->walk.left[items[i]];

			f->walk.left[items[i]] = 0;
			take_off(f, f->growth->tree->idom[items[i]], bytes);
		}
		return 0;
	}
	cluster = new_cluster(f);
	if (!cluster)
		return -ENOMEM;
	cluster->point = point;
	/* Up the tree once for all items of one dominator: there may be many, far down a list. */
	for (uint32_t i = 0; i < count && r == 0; i++) {
		carried += f->walk.left[items[i]];
		r = take_item(f, cluster, items[i]);
		if (i + 1 == count || f->growth->tree->idom[items[i]] != f->growth->tree->idom[items[i + 1]]) {
			take_off(f, f->growth->tree->idom[items[i]], carried);
			carried = 0;
		}
	}
	/* A holder that was resized, or replaced by a larger one, to make room is part of what grew. */
	if (r == 0 && point < f->heap->nodes && own_bytes(f, point)) {
		carried = own_bytes(f, point);
		r = take_node(f, cluster, point, false);
		take_off(f, point, carried);
	}
	return r == 0 ? finish_cluster(f, cluster) : r;
}

struct item_group {
	uint64_t bytes;
	uint32_t first, count;		/* range in the sorted item array */
};

static const struct finder *sorting;	/* qsort has no context; core is single-threaded */

static int compare_item_types(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint32_t s = sorting->heap->type[x], t = sorting->heap->type[y];

	if (s != t)
		return s < t ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int compare_groups(const void *a, const void *b)
{
	const struct item_group *x = a, *y = b;

	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

/* How many items of one group refer to some item of another. */
struct links {
	struct intern pairs;		/* (from, to) -> entry of hits */
	uint32_t *hits, *last;		/* last: the item that was counted last for this pair, + 1 */
	uint32_t room, last_room;
};

static void links_done(struct links *links)
{
	intern_done(&links->pairs);
	free(links->hits);
	free(links->last);
}

static int count_links(struct finder *f, const uint32_t *items, const struct item_group *groups,
		       uint32_t group_count, struct links *links)
{
	uint32_t hits_count = 0, last_count = 0;
	int r = 0;

	for (uint32_t g = 0; g < group_count; g++)
		for (uint32_t i = 0; i < groups[g].count; i++)
			f->group_of[items[groups[g].first + i]] = g + 1;
	for (uint32_t g = 0; g < group_count && r == 0; g++)
		for (uint32_t i = 0; i < groups[g].count && r == 0; i++) {
			uint32_t v = items[groups[g].first + i];

			for (uint64_t e = f->heap->edge_start[v]; e < f->heap->edge_start[v + 1] && r == 0; e++) {
				uint32_t to = f->group_of[f->heap->edge_to[e]];
				int is_new;

				if (to == 0 || --to == g || !reach_edge_counts(f->reach, v, f->heap->edge_to[e]))
					continue;
				int64_t n = intern_number(&links->pairs, intern_pair(g, to), &is_new);
				if (n < 0) {
					r = (int)n;
				} else if (is_new) {
					r = push_id(&links->hits, &hits_count, &links->room, 1);
					if (r == 0)
						r = push_id(&links->last, &last_count, &links->last_room, v + 1);
				} else if (links->last[n] != v + 1) {
					links->last[n] = v + 1;
					links->hits[n]++;
				}
			}
		}
	for (uint32_t g = 0; g < group_count; g++)
		for (uint32_t i = 0; i < groups[g].count; i++)
			f->group_of[items[groups[g].first + i]] = 0;
	return r;
}

/* Does at least half of group `from` refer to members of group `to`? Then they come in pairs. */
static bool is_linked(const struct links *links, uint32_t from, uint32_t to, uint32_t members)
{
	uint32_t pair = intern_find(&links->pairs, intern_pair(from, to));

	return pair != HASH_NONE && (uint64_t)links->hits[pair] * 2 >= members;
}

static void mark_light(struct finder *f, const uint32_t *items, uint32_t count, uint8_t value)
{
	for (uint32_t i = 0; i < count; i++)
		f->light[items[i]] = value;
}

/* Turn the items below one point into clusters: one for each type that matters, companions with the
 * group that they belong to. point_of: decides the point of a group (by dominator or by paths). */
static int cluster_items(struct finder *f, uint32_t *items, uint32_t count,
			 int (*cluster)(struct finder *f, uint32_t point, uint32_t *items, uint32_t count),
			 uint32_t point)
{
	struct item_group *groups;
	struct links links = { 0 };
	uint32_t *taken, group_count = 0;
	int r;

	if (count == 0)
		return 0;
	groups = malloc((size_t)count * sizeof(*groups));
	taken = malloc((size_t)count * sizeof(*taken));
	if (!groups || !taken) {
		free(groups);
		free(taken);
		return -ENOMEM;
	}
	sorting = f;
	qsort(items, count, sizeof(*items), compare_item_types);
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || f->heap->type[items[i]] != f->heap->type[items[i - 1]])
			groups[group_count++] = (struct item_group){ 0, i, 0 };
		groups[group_count - 1].bytes += f->walk.left[items[i]];
		groups[group_count - 1].count++;
	}
	qsort(groups, group_count, sizeof(*groups), compare_groups);
	r = count_links(f, items, groups, group_count, &links);
	for (uint32_t g = 0; g < group_count && r == 0; g++) {
		struct item_group *main_group = &groups[g];
		uint32_t taken_count, members = main_group->count;

		if (!main_group->count || main_group->bytes < f->min_bytes)
			continue;
		memcpy(taken, items + main_group->first, main_group->count * sizeof(*taken));
		taken_count = main_group->count;
		for (uint32_t o = g + 1; o < group_count; o++) {
			struct item_group *other = &groups[o];
			bool light = (double)other->bytes < GROWTH_COMPANION_SHARE * (double)main_group->bytes;

			if (!other->count)
				continue;
			if (!is_linked(&links, g, o, members) && !is_linked(&links, o, g, other->count)) {
				if (!light)
					continue;
				mark_light(f, items + other->first, other->count, 1);
			}
			memcpy(taken + taken_count, items + other->first, other->count * sizeof(*taken));
			taken_count += other->count;
			other->count = 0;
		}
		r = absorb(f, taken, &taken_count);
		if (r == 0 && taken_count)
			r = cluster(f, point, taken, taken_count);
		mark_light(f, items, count, 0);
	}
	links_done(&links);
	free(groups);
	free(taken);
	return r;
}

static int cluster_at_point(struct finder *f, uint32_t point, uint32_t *items, uint32_t count)
{
	return make_cluster(f, point, items, count);
}

/* Mark every node that a node or root leads to. */
static int flood_from(struct finder *f, uint32_t source)
{
	const struct heap *heap = f->heap;
	uint32_t *queue = large_array(heap->nodes, sizeof(*queue)), from = 0, to = 0;

	if (!queue)
		return -ENOMEM;
	for (uint32_t v = source;; v = queue[from++]) {
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++)
			if (!f->mark[heap->edge_to[e]] && reach_edge_counts(f->reach, v, heap->edge_to[e])) {
				f->mark[heap->edge_to[e]] = 1;
				queue[to++] = heap->edge_to[e];
			}
		if (from == to)
			break;
	}
	large_free(queue);
	return 0;
}

/* No node dominates these items: find the point in the tree of shortest paths (5). */
static int cluster_by_paths(struct finder *f, uint32_t top, uint32_t *items, uint32_t count)
{
	const struct heap *heap = f->heap;
	struct walk walk = { .heap = heap, .earlier = f->series->earlier, .bytes = f->growth->bytes, .taken = f->taken,
			     .drop = f->series->limits.drop, .parent = f->reach->parent, .count = heap->nodes + heap->roots };
	uint32_t *inside = NULL, kept = 0, heaviest = HEAP_NONE, point;
	int r = -ENOMEM;

	(void)top;
	if (f->path_walks == GROWTH_MAX_PATH_WALKS || f->growth->cluster_count == GROWTH_MAX_CLUSTERS) {
		f->growth->rest_clusters++;
		return 0;
	}
	f->path_walks++;
	walk.left = calloc((size_t)walk.count + 1, sizeof(*walk.left));
	inside = malloc(((size_t)count + 1) * sizeof(*inside));
	if (!walk.left || !inside)
		goto out;
	for (uint32_t i = 0; i < count; i++)
		walk.left[items[i]] = f->walk.left[items[i]];
	for (uint32_t i = f->reach->reached; i > 0; i--) {
		uint32_t v = f->reach->order[i - 1];

		if (walk.left[v] && walk.parent[v] != HEAP_NONE)
			walk.left[walk.parent[v]] += walk.left[v];
	}
	for (uint32_t root = heap->nodes; root < walk.count; root++)
		if (walk.left[root] && (heaviest == HEAP_NONE || walk.left[root] > walk.left[heaviest]))
			heaviest = root;
	if (heaviest == HEAP_NONE) {	/* reachable items always have a root */
		r = 0;
		goto out;
	}
	r = walk_init(&walk);
	if (r < 0)
		goto out;
	mark_items(f, items, count, 1);
	if (!walk_find_point(&walk, heaviest))
		walk.depth = 0;
	/* An item is not its own holder, also where it is old: the head of a list that two frames share. */
	while (walk.path[walk.depth] < heap->nodes && f->mark[walk.path[walk.depth]])
		walk.depth--;
	point = walk.path[walk.depth];
	mark_items(f, items, count, 0);

	/* All items that the point leads to, on whatever way: the shortest paths of a ring or of a list
	 * with two ends are divided between the roots, but it is one thing. */
	r = flood_from(f, point);
	for (uint32_t i = 0; i < count && r == 0; i++)
		if (f->mark[items[i]] && items[i] != point)
			inside[kept++] = items[i];
	memset(f->mark, 0, heap->nodes);
	if (kept && r == 0)
		r = make_cluster(f, point, inside, kept);
out:
	walk_done(&walk);
	free(walk.left);
	free(inside);
	return r;
}

/* ---- the walk over the dominator tree -------------------------------------------------------- */

static int push_start(struct finder *f, uint32_t id)
{
	return push_id(&f->start, &f->start_count, &f->start_room, id);
}

/* Does a place give each thing that it holds a name: a module, a class? Then what grows below two names is
 * two places, however alike they are. */
static bool is_namespace(const struct finder *f, uint32_t id)
{
	const struct heap_type *type;

	if (id >= f->heap->nodes)
		return id < f->heap->nodes + f->heap->roots &&
		       f->heap->root[id - f->heap->nodes].kind == HEAP_ROOT_PY_MODULE;
	type = &f->heap->types[f->heap->type[id]];
	return type->source == HEAP_TYPE_PYTHON && (!strcmp(type->name, "module") || !strcmp(type->name, "type"));
}

static bool is_heavy(const struct finder *f, uint32_t point, uint32_t id)
{
	const uint64_t *left = f->walk.left;

	return left[id] >= f->min_bytes &&
	       (point == f->growth->tree->top || is_namespace(f, point) || (double)left[id] >= GROWTH_BRANCH_SHARE * (double)left[point]);
}

/* Look at all children of a point by type: how many there are and whether different things grow below
 * children of one type. Two tables from one constructor, one of users and one of log lines, are two
 * places; a hundred sessions that all gather messages are items of one. */
static void survey_children(struct finder *f, uint32_t point)
{
	const struct walk *walk = &f->walk;

	for (uint64_t i = walk->child_start[point]; i < walk->child_start[point + 1]; i++) {
		uint32_t id = walk->child[i], type, below;

		if (id >= f->heap->nodes || !walk->left[id])
			continue;
		type = f->heap->type[id];
		add_type(f, type, walk->left[id]);
		if (!is_heavy(f, point, id) || f->type_below[type] == TYPE_MIXED)
			continue;
		below = walk_grown_type(walk, id);
		if (f->type_below[type] == HEAP_NONE)
			f->type_below[type] = below;
		else if (f->type_below[type] != below)
			f->type_below[type] = TYPE_MIXED;
	}
}

/* Sort the children of a point into items and further starts. on_way: the child that the walk came
 * through when the point was found above its end: it is an item whatever it looks like. */
static int split_children(struct finder *f, uint32_t point, uint32_t on_way, uint32_t **ret_items,
			  uint32_t *ret_count)
{
	struct walk *walk = &f->walk;
	uint32_t *items = NULL, count = 0, room = 0;
	bool named = is_namespace(f, point);
	int r = 0;

	survey_children(f, point);
	for (uint64_t i = walk->child_start[point]; i < walk->child_start[point + 1] && r == 0; i++) {
		uint32_t id = walk->child[i], like_it = 1;
		bool heavy = is_heavy(f, point, id);

		if (!walk->left[id] || id == f->growth->tree->lost)
			continue;
		if (id < f->heap->nodes && !named && f->type_below[f->heap->type[id]] != TYPE_MIXED)
			like_it = f->type_count[f->heap->type[id]];
		if (id >= f->heap->nodes || (id != on_way && heavy && !walk_is_item(walk, id, like_it)))
			r = heavy ? push_start(f, id) : 0;
		else
			r = push_id(&items, &count, &room, id);
	}
	clear_types(f);
	*ret_items = items;
	*ret_count = count;
	return r;
}

static int find_from(struct finder *f, uint32_t start)
{
	struct walk *walk = &f->walk;
	uint32_t point, on_way = HEAP_NONE, *items = NULL, count = 0;
	bool resized = false;
	int r;

	if (walk_find_point(walk, start)) {
		point = walk->path[walk->depth];
		resized = walk->resized;
		if (walk->depth < walk->end)
			on_way = walk->path[walk->depth + 1];
	} else {			/* an element without a holder of its own: its dominator holds it */
		point = f->growth->tree->idom[start];
		on_way = start;
	}
	if (point == f->growth->tree->top) {
		r = push_id(&items, &count, &(uint32_t){ 0 }, start);
		if (r == 0)
			r = cluster_items(f, items, count, cluster_by_paths, point);
	} else {
		r = split_children(f, point, on_way, &items, &count);
		if (r == 0)
			r = cluster_items(f, items, count, cluster_at_point, point);
		if (r == 0 && resized && own_bytes(f, point))
			r = make_cluster(f, point, NULL, 0);
	}
	free(items);
	return r;
}

static int find_held(struct finder *f)
{
	struct walk *walk = &f->walk;
	uint32_t top = f->growth->tree->top, *items = NULL, count = 0, at_points;
	int r;

	r = split_children(f, top, HEAP_NONE, &items, &count);
	while (f->start_count && r == 0 && f->growth->cluster_count < GROWTH_MAX_CLUSTERS) {
		uint32_t start = f->start[f->start_count - 1];
		uint64_t before = walk->left[start];
		uint32_t pending = f->start_count;

		if (before < f->min_bytes) {
			f->start_count--;
			continue;
		}
		r = find_from(f, start);
		/* Nothing taken and nothing new to look at: too thinly spread to have a holder. */
		if (walk->left[start] == before && f->start_count == pending)
			f->start_count--;
		else if (walk->left[start] == before) {
			memmove(f->start + pending - 1, f->start + pending,
				(f->start_count - pending) * sizeof(*f->start));
			f->start_count--;
		}
	}
	f->growth->rest_clusters += f->start_count;
	at_points = f->growth->rest_clusters;
	/* Items that nothing dominates may belong to several points: each round takes those of one. */
	for (uint32_t before = 0; r == 0 && count && count != before;) {
		before = count;
		f->growth->rest_clusters = at_points;
		r = cluster_items(f, items, count, cluster_by_paths, top);
		count = 0;
		for (uint32_t i = 0; i < before; i++)
			if (walk->left[items[i]])
				items[count++] = items[i];
	}
	free(items);
	return r;
}

/* ---- the unreachable part -------------------------------------------------------------------- */

/* Every unreachable node belongs to the first head that floods it. Heads of one type are one
 * cluster; what they lead to is in it. */
static int find_unreachable(struct finder *f)
{
	const struct reach_leaks *leaks = f->growth->leaks;
	const struct heap *heap = f->heap;
	uint32_t *cluster_of_type = NULL, *queue = NULL;
	uint8_t *kind_of = f->mark;	/* 1 = seen */
	int r = -ENOMEM;

	if (leaks->count == 0)
		return 0;
	cluster_of_type = malloc(((size_t)heap->type_count + 1) * sizeof(*cluster_of_type));
	queue = malloc(((size_t)leaks->count + 1) * sizeof(*queue));
	if (!cluster_of_type || !queue)
		goto out;
	memset(cluster_of_type, 0xff, ((size_t)heap->type_count + 1) * sizeof(*cluster_of_type));
	r = 0;
	for (uint32_t h = 0; h < leaks->head_count && r == 0; h++) {
		uint32_t head = leaks->head[h], from = 0, to = 0, index = cluster_of_type[heap->type[head]];
		uint64_t bytes = 0;

		queue[to++] = head;
		kind_of[head] = 1;
		while (from < to) {
			uint32_t v = queue[from++];

			bytes += own_bytes(f, v);
			for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
				uint32_t w = heap->edge_to[e];

				if (reach_edge_counts(f->reach, v, w) && !kind_of[w]) {
					kind_of[w] = 1;
					queue[to++] = w;
				}
			}
		}
		if (bytes == 0)
			continue;
		if (index == HEAP_NONE) {
			if (f->growth->cluster_count == GROWTH_MAX_CLUSTERS) {
				f->growth->rest_clusters++;
				continue;
			}
			struct cluster *made = new_cluster(f);
			if (!made) {
				r = -ENOMEM;
				break;
			}
			made->unreachable = true;
			index = cluster_of_type[heap->type[head]] = f->growth->cluster_count - 1;
		}
		struct cluster *cluster = &f->growth->clusters[index];
		r = push_id(&cluster->item, &cluster->item_count, &cluster->item_room, head);
		for (uint32_t i = 0; i < to && r == 0; i++)
			r = take_node(f, cluster, queue[i], false);
	}
	memset(f->mark, 0, heap->nodes);
	for (uint32_t c = 0; c < f->growth->cluster_count && r == 0; c++)
		r = finish_cluster(f, &f->growth->clusters[c]);
out:
	free(cluster_of_type);
	free(queue);
	return r;
}

/* A cluster's heads are in cycles when its first one is. */
static void find_cycles(struct growth *growth)
{
	const struct reach_leaks *leaks = growth->leaks;

	for (uint32_t c = 0; c < growth->cluster_count; c++) {
		struct cluster *cluster = &growth->clusters[c];
		uint32_t low = 0, high = leaks->count;

		if (!cluster->unreachable || !cluster->item_count)
			continue;
		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (leaks->node[middle] < cluster->item[0])
				low = middle + 1;
			else
				high = middle;
		}
		cluster->cycle = low < leaks->count && leaks->kind[low] == REACH_CYCLE;
	}
}

static int compare_clusters(const void *a, const void *b)
{
	const struct cluster *x = a, *y = b;

	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

static int find(struct finder *f)
{
	struct growth *growth = f->growth;
	size_t n = f->heap->nodes, t = f->heap->type_count;
	int r;

	series_step(f->series, "finding who holds what", 21);
	r = reach_find_leaks(f->heap, f->reach, &growth->leaks);
	if (r == 0)		/* first: it needs more memory than anything else */
		r = dominators_compute(f->heap, f->reach, growth->leaks, &growth->tree);
	series_step(f->series, "following what grew", 9);
	if (r == 0)
		r = mark_grown(f->series, &growth->bytes, &growth->total_bytes);
	if (r < 0)
		return r;

	f->taken = calloc(n + 1, 1);
	f->mark = calloc(n + 1, 1);
	f->light = calloc(n + 1, 1);
	f->group_of = calloc(n + 1, sizeof(*f->group_of));
	f->type_bytes = calloc(t + 1, sizeof(*f->type_bytes));
	f->type_count = calloc(t + 1, sizeof(*f->type_count));
	f->touched = malloc((t + 1) * sizeof(*f->touched));
	f->type_below = malloc((t + 1) * sizeof(*f->type_below));
	f->walk.left = large_array(growth->tree->count, sizeof(*f->walk.left));
	if (!f->taken || !f->mark || !f->light || !f->group_of || !f->type_bytes || !f->type_count || !f->touched || !f->type_below ||
	    !f->walk.left)
		return -ENOMEM;
	memset(f->type_below, 0xff, (t + 1) * sizeof(*f->type_below));
	f->walk.heap = f->heap;
	f->walk.drop = f->series->limits.drop;
	f->walk.earlier = f->series->earlier;
	f->walk.bytes = growth->bytes;
	f->walk.taken = f->taken;
	f->walk.parent = growth->tree->idom;
	f->walk.count = growth->tree->count;
	f->min_bytes = GROWTH_MIN_BYTES;
	if ((double)f->min_bytes < GROWTH_MIN_SHARE * (double)growth->total_bytes)
		f->min_bytes = (uint64_t)(GROWTH_MIN_SHARE * (double)growth->total_bytes);

	r = find_unreachable(f);	/* first: it claims its share */
	if (r < 0)
		return r;
	for (uint32_t id = 0; id < growth->tree->count; id++)
		f->walk.left[id] = id >= n || f->reach->region[id] == REACH_NONE ? 0 : own_bytes(f, id);
	dominators_retain(growth->tree, f->walk.left);
	r = walk_init(&f->walk);
	if (r == 0)
		r = find_held(f);
	if (r < 0)
		return r;
	find_cycles(growth);
	for (uint32_t v = 0; v < n; v++)
		growth->rest_bytes += own_bytes(f, v);
	if (growth->cluster_count)
		qsort(growth->clusters, growth->cluster_count, sizeof(*growth->clusters), compare_clusters);

	/* Nobody walks any more: the array is used again. */
	growth->retained = f->walk.left;
	f->walk.left = NULL;
	for (uint32_t id = 0; id < growth->tree->count; id++)
		growth->retained[id] = id < n ? series_bytes(series_last(f->series), id) : 0;
	dominators_retain(growth->tree, growth->retained);
	return 0;
}

int growth_find(const struct series *series, struct growth **ret_growth)
{
	const struct series_heap *last = series_last(series);
	struct finder f = { .series = series, .heap = last->heap, .reach = last->reach };
	int r = -ENOMEM;

	f.growth = calloc(1, sizeof(*f.growth));
	if (f.growth) {
		f.growth->series = series;
		r = find(&f);
		series_step(series, "judging", 8);
	}
	walk_done(&f.walk);
	large_free(f.walk.left);
	free(f.taken);
	free(f.start);
	free(f.type_bytes);
	free(f.type_count);
	free(f.touched);
	free(f.type_below);
	free(f.mark);
	free(f.light);
	free(f.group_of);
	if (r < 0) {
		growth_free(f.growth);
		return r;
	}
	*ret_growth = f.growth;
	return 0;
}

struct growth *growth_free(struct growth *growth)
{
	if (!growth)
		return NULL;
	for (uint32_t c = 0; c < growth->cluster_count; c++) {
		free(growth->clusters[c].item);
		free(growth->clusters[c].node);
		free(growth->clusters[c].counts);
		free(growth->clusters[c].place);
	}
	free(growth->clusters);
	free(growth->bytes);
	large_free(growth->retained);
	reach_leaks_free(growth->leaks);
	dominators_free(growth->tree);
	free(growth);
	return NULL;
}
