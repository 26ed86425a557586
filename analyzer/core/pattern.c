/* SPDX-License-Identifier: Apache-2.0
 * L9  pattern.c - pictures of suspects and of chains.
 *
 * A suspect's picture is its chain down to the accumulation point, and below it one node for each type
 * that grew there, with the references between them counted. Neighbourhoods are in near.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/kinds.h"
#include "core/names.h"
#include "core/pattern.h"
#include "core/text.h"
#include "core/weigh.h"

#define TYPES_SHOWN 10			/* kinds of grown objects below one point */
#define WAY_SHOWN 7			/* of these, kept for the way to what grew, however small they are */

struct painter {
	struct picture *picture;
	const struct heap *heap;
	const struct growth *growth;
	uint32_t *ids;			/* graph id of each picture node; HEAP_NONE = stands for several */
	uint8_t *mark;			/* by node: index of its kind + 1 in the cluster in work */
};

static const enum picture_role step_roles[] = {
	[CHAIN_PLAIN] = PICTURE_PLAIN, [CHAIN_ROOT] = PICTURE_ROOT, [CHAIN_POINT] = PICTURE_ACCUMULATES,
	[CHAIN_GREW] = PICTURE_GREW, [CHAIN_CUT] = PICTURE_CUT,
};

static int find_node(const struct painter *p, uint32_t id)
{
	for (size_t i = 0; i < p->picture->node_count && id != HEAP_NONE; i++)
		if (p->ids[i] == id)
			return (int)i;
	return -ENOENT;
}

static bool has_edge(const struct picture *picture, uint32_t from, uint32_t to)
{
	for (size_t i = 0; i < picture->edge_count; i++)
		if (picture->edges[i].from == from && picture->edges[i].to == to)
			return true;
	return false;
}

/* Where a root lives, for the second line of its node. */
static char *root_detail(const struct heap *heap, uint32_t root, bool is_point)
{
	const struct heap_root *r = &heap->root[root];

	return text_format("%s%s%s%s%s", r->module, *r->module && *r->thread ? ", " : "",
			   *r->thread ? "thread " : "", r->thread, is_point ? "; growth fans out here" : "");
}

/* Add the node of one chain step, or find the one that another chain has made. */
static int add_step(struct painter *p, const struct chain_step *step, bool is_point)
{
	int index = find_node(p, step->id);
	char *detail = NULL;

	if (index >= 0) {
		if (step->role != CHAIN_PLAIN && p->picture->nodes[index].role == PICTURE_PLAIN)
			p->picture->nodes[index].role = step_roles[step->role];
		return index;
	}
	if (p->picture->node_count >= PICTURE_NODES)
		return -E2BIG;
	if (step->id != HEAP_NONE && step->id >= p->heap->nodes) {
		detail = root_detail(p->heap, step->id - p->heap->nodes, is_point);
		if (!detail)
			return -ENOMEM;
	}
	struct picture_node node = {
		.type = step->type, .name = step->name, .detail = detail ? detail : step->detail, .count = step->count,
		.bytes = step->bytes, .role = step_roles[step->role],
		.addr = step->count == 1 && step->id < p->heap->nodes ? p->heap->addr[step->id] : 0,
		.retained_bytes = step->count == 1 && p->growth && step->id != HEAP_NONE ?
			p->growth->retained[step->id] : 0,
	};
	if (p->growth && step->count == 1 && step->id < p->heap->nodes && p->growth->bytes[step->id]) {
		node.new_count = 1;
		node.new_bytes = p->growth->bytes[step->id];
	}
	index = picture_add_node(p->picture, &node);
	free(detail);
	if (index >= 0)
		p->ids[index] = step->count == 1 ? step->id : HEAP_NONE;
	return index;
}

static int connect(struct painter *p, int from, int to, const char *label, uint64_t count, uint64_t bytes,
		   bool conservative)
{
	struct picture_edge edge = { .from = (uint32_t)from, .to = (uint32_t)to, .label = (char *)label,
				     .count = count, .bytes = bytes, .conservative = conservative };

	if (has_edge(p->picture, edge.from, edge.to))
		return 0;
	return picture_add_edge(p->picture, &edge);
}

/* ---- what grew below a point ----------------------------------------------------------------- */

struct shown_kind {			/* grown objects of a cluster that are alike */
	uint32_t number, sample;	/* before sorting; one of them */
	uint64_t count, bytes, new_count, new_bytes;
	int node;			/* in the picture */
	bool one_size;
	bool on_way;			/* the chain to what grew leads through it */
};

static int compare_kinds(const void *a, const void *b)
{
	const struct shown_kind *x = a, *y = b;

	if (x->on_way != y->on_way)
		return x->on_way ? -1 : 1;
	return x->new_bytes > y->new_bytes ? -1 : x->new_bytes < y->new_bytes;
}

/* The last steps of the way are what a person asks for, and often the smallest objects. */
static void mark_way(const struct heap *heap, const struct chain *way, const struct kinds *kinds,
		     struct shown_kind *list)
{
	uint32_t marked = 0;

	for (size_t i = way->count; i > 0 && marked < WAY_SHOWN; i--) {
		uint32_t id = way->steps[i - 1].id;
		int64_t number = id < heap->nodes ? kinds_find(kinds, heap, id) : -ENOENT;

		if (number >= 0 && !list[number].on_way) {
			list[number].on_way = true;
			marked++;
		}
	}
}

/* The kinds of a cluster, those on the way (NULL: none) first, then the heaviest; of_node gets the
 * place of each of its nodes' kinds. list has room for as many as there are nodes. Returns their
 * number or -ENOMEM. */
static int64_t find_kinds(const struct painter *p, const struct cluster *cluster, const struct chain *way,
			  struct shown_kind *list, uint32_t *of_node)
{
	const struct dominators *tree = p->growth->tree;
	const struct heap *heap = p->heap;
	struct kinds kinds = { 0 };
	uint32_t *place;

	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i], known = kinds.count;
		int64_t number = kinds_number(&kinds, heap, v);

		if (number < 0) {
			kinds_done(&kinds);
			return number;
		}
		struct shown_kind *kind = &list[number];
		if (kinds.count != known)
			*kind = (struct shown_kind){ .number = (uint32_t)number, .sample = v, .one_size = true };
		of_node[i] = (uint32_t)number;
		kind->count = kind->new_count += weigh_count(heap, v);
		kind->bytes = kind->new_bytes += p->growth->bytes[v];
		kind->one_size &= heap->bytes[v] == heap->bytes[kind->sample];
	}
	/* The older ones that the same point holds stand in the same node. */
	for (uint32_t v = 0; v < heap->nodes && cluster->point != HEAP_NONE; v++) {
		int64_t number;

		if (p->growth->bytes[v] || v == cluster->point || !weigh_is_counted(heap, v) ||
		    tree->first[v] < tree->first[cluster->point] || tree->first[v] >= tree->last[cluster->point])
			continue;
		number = kinds_find(&kinds, heap, v);
		if (number < 0)
			continue;
		list[number].count += weigh_count(heap, v);
		list[number].bytes += series_bytes(series_last(p->growth->series), v);
		list[number].one_size &= heap->bytes[v] == heap->bytes[list[number].sample];
	}
	int64_t count = kinds.count;
	if (way && count)
		mark_way(heap, way, &kinds, list);
	kinds_done(&kinds);
	place = malloc(((size_t)count + 1) * sizeof(*place));
	if (!place)
		return -ENOMEM;
	qsort(list, (size_t)count, sizeof(*list), compare_kinds);
	for (uint32_t i = 0; i < count; i++)
		place[list[i].number] = i;
	for (uint32_t i = 0; i < cluster->node_count; i++)
		of_node[i] = place[of_node[i]];
	free(place);
	return count;
}

static int add_kind(struct painter *p, const struct cluster *cluster, struct shown_kind *kind)
{
	const struct heap_type *type = &p->heap->types[p->heap->type[kind->sample]];
	struct text shown = { 0 }, where = { 0 };
	int index = -ENOMEM;

	names_type(&shown, type->name, type->source, kind->one_size, p->heap->bytes[kind->sample]);
	if (type->source != HEAP_TYPE_SITE && !type->name[names_type_length(type->name)]) {
		names_site(&where, p->heap, p->heap->stack[kind->sample]);
		if (p->heap->stack[kind->sample] == HEAP_NONE)
			text_done(&where);
	}
	if (!shown.broken && !where.broken) {
		struct picture_node node = {
			.type = shown.data, .detail = where.data, .count = kind->count, .bytes = kind->bytes,
			.new_count = kind->new_count, .new_bytes = kind->new_bytes,
			.role = cluster->unreachable ? PICTURE_UNREACHABLE : PICTURE_GREW,
		};
		index = picture_add_node(p->picture, &node);
	}
	text_done(&shown);
	text_done(&where);
	if (index >= 0)
		p->ids[index] = HEAP_NONE;
	kind->node = index;
	return index < 0 ? index : 0;
}

struct flow {				/* references from one kind (or the point) to another */
	uint64_t count, bytes;
	uint32_t from, to;		/* the first of them */
	uint32_t last_from, last_to;	/* the last of them */
};

/* Count the references between the kinds: row 0 is the point. marks say which kind a node is of. */
static void count_flows(const struct painter *p, const struct cluster *cluster, struct flow *flows,
			uint32_t kinds)
{
	const struct heap *heap = p->heap;

	for (uint32_t i = 0; i <= cluster->node_count; i++) {
		uint32_t v = i < cluster->node_count ? cluster->node[i] : cluster->point, row;

		if (v >= heap->nodes + heap->roots || (i < cluster->node_count && v == cluster->point))
			continue;
		row = i < cluster->node_count ? p->mark[v] : 0;
		if (i < cluster->node_count && row == 0)	/* a kind that is not shown */
			continue;
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
			uint32_t w = heap->edge_to[e];

			if (!p->mark[w] || w == cluster->point ||
			    !reach_edge_counts(series_last(p->growth->series)->reach, v, w))
				continue;
			struct flow *flow = &flows[row * (kinds + 1) + p->mark[w]];
			if (flow->count++ == 0) {
				flow->from = v;
				flow->to = w;
			}
			flow->last_from = v;
			flow->last_to = w;
			flow->bytes += p->growth->retained[w];
		}
	}
}

/* What the references of a flow have in common: a label, else its form. */
static int label_flow(const struct heap *heap, const struct flow *flow, char **ret_label, bool *ret_interior)
{
	char *first, *last;
	bool interior;
	int r = chain_label(heap, flow->from, flow->to, &first, ret_interior, NULL);

	if (r < 0)
		return r;
	r = chain_label(heap, flow->last_from, flow->last_to, &last, &interior, NULL);
	if (r < 0) {
		free(first);
		return r;
	}
	*ret_label = names_common_label(first, last);
	free(first);
	free(last);
	return *ret_label ? 0 : -ENOMEM;
}

static int connect_kinds(struct painter *p, const struct cluster *cluster, int point, const struct shown_kind *kinds,
			 uint32_t count)
{
	struct flow *flows = calloc((size_t)(count + 1) * (count + 1), sizeof(*flows));
	int r = 0;

	if (!flows)
		return -ENOMEM;
	count_flows(p, cluster, flows, count);
	for (uint32_t from = 0; from <= count && r == 0; from++)
		for (uint32_t to = 1; to <= count && r == 0; to++) {
			const struct flow *flow = &flows[from * (count + 1) + to];
			int source = from ? kinds[from - 1].node : point;
			char *label = NULL;
			bool interior;

			/* Few references back from what grew are noise in a picture; the way down is not. */
			if (!flow->count || source < 0)
				continue;
			r = label_flow(p->heap, flow, &label, &interior);
			if (r == 0 && from == 0 && flow->count > 1 && strncmp(label, "lru_cache", 9) != 0 &&
			    !(*label == '.' && strstr(label, "[*]"))) {
				free(label);
				label = strdup("[*]");
				interior = false;
			}
			if (r == 0)
				r = label ? connect(p, source, kinds[to - 1].node, label, flow->count, flow->bytes, interior) :
					    -ENOMEM;
			free(label);
		}
	/* What is held through something that is not shown still hangs from the point. */
	for (uint32_t to = 1; to <= count && r == 0 && point >= 0; to++) {
		bool met = false;

		for (uint32_t from = 0; from <= count; from++)
			met |= from != to && flows[from * (count + 1) + to].count;
		if (!met)
			r = connect(p, point, kinds[to - 1].node, "...", kinds[to - 1].new_count, kinds[to - 1].new_bytes, true);
	}
	free(flows);
	return r;
}

static int paint_kinds(struct painter *p, const struct cluster *cluster, const struct chain *way, int point,
		       struct shown_kind *list, uint32_t *of_node)
{
	uint32_t shown, room = PICTURE_NODES - (uint32_t)p->picture->node_count;
	int64_t count = find_kinds(p, cluster, way, list, of_node);
	uint64_t rest_count = 0, rest_bytes = 0;
	char size[TEXT_SIZE];
	int r = count < 0 ? (int)count : 0;

	shown = count > TYPES_SHOWN ? TYPES_SHOWN : count > 0 ? (uint32_t)count : 0;
	if (shown > room)
		shown = room;
	for (uint32_t k = 0; k < shown && r == 0; k++)
		r = add_kind(p, cluster, &list[k]);
	for (uint32_t i = 0; i < cluster->node_count && r == 0; i++)
		if (of_node[i] < shown)
			p->mark[cluster->node[i]] = (uint8_t)(of_node[i] + 1);
	for (uint32_t k = shown; k < count; k++) {
		rest_count += list[k].new_count;
		rest_bytes += list[k].new_bytes;
	}
	if (r == 0)
		r = connect_kinds(p, cluster, point, list, shown);
	if (r == 0 && rest_count)
		r = picture_leave_out(p->picture, "%" PRId64 " other kinds that grew with them: %" PRIu64 " blocks, %s",
				      count - shown, rest_count, text_size((int64_t)rest_bytes, size));
	for (uint32_t i = 0; i < cluster->node_count; i++)
		p->mark[cluster->node[i]] = 0;
	return r;
}

static int paint_growth(struct painter *p, const struct cluster *cluster, const struct chain *way, int point)
{
	uint32_t *of_node = malloc(((size_t)cluster->node_count + 1) * sizeof(*of_node));
	struct shown_kind *list = calloc((size_t)cluster->node_count + 1, sizeof(*list));
	int r = of_node && list ? paint_kinds(p, cluster, way, point, list, of_node) : -ENOMEM;

	free(of_node);
	free(list);
	return r;
}

/* ---- suspects -------------------------------------------------------------------------------- */

static int paint_suspect(struct painter *p, const struct suspect *s)
{
	int last = -1, r = 0;
	size_t upto = 0;

	if (s->cluster->unreachable)
		return paint_growth(p, s->cluster, NULL, -1);
	while (upto < s->chain.count && s->chain.steps[upto].id != s->cluster->point)
		upto++;
	if (upto == s->chain.count && upto)
		upto--;
	for (size_t i = 0; i <= upto && i < s->chain.count; i++) {
		struct chain_step step = s->chain.steps[i];
		int node;

		if (chain_is_own(&s->chain, i) && i < upto)
			continue;
		if (i == upto && s->cluster->resized)
			step.role = CHAIN_GREW;
		node = add_step(p, &step, step.id == s->cluster->point);
		if (node < 0)
			return node;
		if (last >= 0)
			r = connect(p, last, node, s->chain.steps[i - 1].edge, s->chain.steps[i - 1].count,
				    step.id == HEAP_NONE ? step.bytes : p->growth->retained[step.id],
				    s->chain.steps[i - 1].interior);
		if (r < 0)
			return r;
		last = node;
	}
	if (s->cluster->resized && s->cluster->node_count == 1)
		return 0;
	return paint_growth(p, s->cluster, &s->chain, last);
}

static int init_painter(struct painter *p, const char *title)
{
	p->picture = picture_new(title);
	p->ids = malloc((PICTURE_NODES + 1) * sizeof(*p->ids));
	p->mark = calloc((size_t)p->heap->nodes + 1, 1);
	return p->picture && p->ids && p->mark ? 0 : -ENOMEM;
}

static int finish_painter(struct painter *p, int r, struct picture **ret_picture)
{
	free(p->ids);
	free(p->mark);
	if (r < 0) {
		picture_free(p->picture);
		return r;
	}
	*ret_picture = p->picture;
	return 0;
}

static char *interval_subtitle(const struct series *series)
{
	const struct heap_meta *m = &series_last(series)->heap->meta;
	double seconds = series_interval_s(series);

	if (series->count < 2)
		return text_format("pid %" PRIu32, m->pid);
	return text_format("pid %" PRIu32 ", %zu snapshots, %.1f s apart", m->pid, series->count,
			   seconds > 0 ? seconds : 0);
}

int pattern_of_suspects(const struct suspects *suspects, struct picture **ret_picture)
{
	struct painter p = { .heap = series_last(suspects->series)->heap, .growth = suspects->growth };
	size_t painted = 0, candidates = 0;
	uint64_t left_bytes = 0;
	char size[TEXT_SIZE];
	const char *command = p.heap->meta.command && *p.heap->meta.command ? p.heap->meta.command : "the process";
	const char *slash = memrchr(command, '/', strcspn(command, " "));
	char *title = text_format("what grew in %s", slash ? slash + 1 : command);
	int r = title ? init_painter(&p, title) : -ENOMEM;

	free(title);
	if (r == 0) {
		p.picture->subtitle = interval_subtitle(suspects->series);
		r = p.picture->subtitle ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < suspects->count && r == 0; i++) {
		const struct suspect *s = &suspects->list[i];

		if (!s->cluster)
			continue;
		candidates++;
		/* A suspect that cannot be shown whole is not begun. */
		if (painted && p.picture->node_count + s->chain.count + 2 > PICTURE_NODES) {
			left_bytes += s->retained_bytes;
			continue;
		}
		r = paint_suspect(&p, s);
		if (r == -E2BIG)
			r = picture_leave_out(p.picture, "a chain that is longer than a picture: see the text");
		painted++;
	}
	if (r == 0 && candidates > painted)
		r = picture_leave_out(p.picture, "%zu more suspects with %s: see the text", candidates - painted,
				      text_size((int64_t)left_bytes, size));
	if (r == 0 && candidates == 0)
		r = picture_leave_out(p.picture, "nothing is suspected of growing");
	return finish_painter(&p, r, ret_picture);
}

int pattern_of_chains(const struct chain_set *set, struct picture **ret_picture)
{
	struct painter p = { .heap = set->heap };
	size_t shown = 0;
	char *title = set->count == 1 ? text_format("who holds %s", set->entries[0].type) :
		      text_format("who holds these %zu objects", set->count);
	int r = title ? init_painter(&p, title) : -ENOMEM;

	free(title);
	for (size_t i = 0; i < set->count && r == 0; i++) {
		const struct chain *chain = &set->entries[i].chain;
		size_t fresh = 0;
		int last = -1;

		for (size_t k = 0; k < chain->count; k++)
			fresh += chain->steps[k].count > 1 || find_node(&p, chain->steps[k].id) < 0;
		if (shown && p.picture->node_count + fresh > PICTURE_NODES)
			continue;
		for (size_t k = 0; k < chain->count && r >= 0; k++) {
			int node;

			if (chain_is_own(chain, k))
				continue;
			node = add_step(&p, &chain->steps[k], false);

			if (node == -E2BIG) {
				r = picture_leave_out(p.picture, "the rest of a chain of %zu steps: see the text", chain->count);
				break;
			}
			if (node < 0) {
				r = node;
				break;
			}
			if (set->entries[i].unreachable)
				p.picture->nodes[node].role = PICTURE_UNREACHABLE;
			if (last >= 0)
				r = connect(&p, last, node, chain->steps[k - 1].edge, 1, chain->steps[k].bytes,
					    chain->steps[k - 1].interior);
			last = node;
		}
		shown++;
	}
	if (r == 0 && set->matched > shown)
		r = picture_leave_out(p.picture, "%" PRIu64 " more object%s", set->matched - shown,
				      set->matched - shown == 1 ? " matches" : "s match");
	return finish_painter(&p, r < 0 ? r : 0, ret_picture);
}
