/* SPDX-License-Identifier: Apache-2.0
 * L9  suspects.c - from clusters of growth to suspects: counting, sites, holder, order.
 *
 * What a suspect is called is decided in verdict.c; here is what it consists of. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/account.h"
#include "core/arenas.h"
#include "core/kinds.h"
#include "core/large.h"
#include "core/merge.h"
#include "core/names.h"
#include "core/shapes.h"
#include "core/suspects.h"
#include "core/suspects_sites.h"
#include "core/text.h"
#include "core/verdict.h"
#include "core/weigh.h"

const char *suspect_verdict_name(enum suspect_verdict verdict)
{
	static const char *const names[] = { "unreachable", "growing", "warming", "stable", "allocator" };

	return names[verdict];
}

const char *suspect_confidence_name(enum suspect_confidence confidence)
{
	static const char *const names[] = { "certain", "likely", "possible" };

	return names[confidence];
}

static int add_note(struct suspects *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int add_note(struct suspects *s, const char *format, ...)
{
	char **grown = realloc(s->notes, (s->note_count + 1) * sizeof(*grown));
	va_list args;
	char *note;

	if (!grown)
		return -ENOMEM;
	s->notes = grown;
	va_start(args, format);
	if (vasprintf(&note, format, args) < 0)
		note = NULL;
	va_end(args);
	if (!note)
		return -ENOMEM;
	s->notes[s->note_count++] = note;
	return 0;
}

/* ---- sites ---------------------------------------------------------------------------------- */

static int compare_sites(const void *a, const void *b)
{
	const struct suspect_site *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static int compare_stacks(const void *a, const void *b)
{
	const struct suspect_site *x = a, *y = b;

	if (x->stack == y->stack)
		return x->other - y->other;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* Sites of what grew (grew), or of what came with it. */
static int find_sites(const struct judge *j, const struct cluster *cluster, bool grew,
		      struct suspect_site **ret_sites, size_t *ret_count)
{
	struct suspect_site *sites = malloc(((size_t)cluster->node_count + 1) * sizeof(*sites));
	size_t found = 0, count = 0;

	if (!sites)
		return -ENOMEM;
	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i];

		if (cluster->counts[i] == grew)
			sites[found++] = (struct suspect_site){ weigh_count(j->heap, v), j->growth->bytes[v], j->heap->stack[v],
								!kinds_are_alike(j->heap, v, cluster->main) };
	}
	qsort(sites, found, sizeof(*sites), compare_stacks);
	for (size_t i = 0; i < found; i++) {
		if (count && sites[count - 1].stack == sites[i].stack && sites[count - 1].other == sites[i].other) {
			sites[count - 1].count += sites[i].count;
			sites[count - 1].bytes += sites[i].bytes;
		} else {
			sites[count++] = sites[i];
		}
	}
	qsort(sites, count, sizeof(*sites), compare_sites);
	*ret_sites = sites;
	*ret_count = count;
	return 0;
}

/* ---- the chain ------------------------------------------------------------------------------ */

/* Marks of the nodes of the cluster in work. */
static void mark_cluster(struct judge *j, const struct cluster *cluster, uint8_t value)
{
	for (uint32_t i = 0; i < cluster->node_count; i++)
		j->mark[cluster->node[i]] = value;
}

static bool path_passes(const struct judge *j, uint32_t node, uint32_t point)
{
	for (uint32_t v = node;; v = j->reach->parent[v]) {
		if (v == point)
			return true;
		if (v >= j->heap->nodes)
			return false;
	}
}

/* Mark (2) what the shortest paths reach through the point. */
static void mark_below(struct judge *j, uint32_t point)
{
	for (uint32_t i = 0; i < j->reach->reached; i++) {
		uint32_t v = j->reach->order[i], up = j->reach->parent[v];

		if (v == point || up == point || (up < j->heap->nodes && j->mark[up] & 2))
			j->mark[v] |= 2;
	}
}

static bool has_grown_parent(const struct judge *j, uint32_t v)
{
	return j->reach->parent[v] < j->heap->nodes && j->mark[j->reach->parent[v]] & 1;
}

/* The best node of the grown type among those whose mark has all bits of `wanted`, and whose parent
 * grew as well if that is what most have (an entry beside the body): an old parent is the exception. */
static uint32_t best_node(const struct judge *j, const struct cluster *cluster, uint32_t mode, uint8_t wanted,
			  bool grown_parent)
{
	bool list = cluster->item_count == 1 && cluster->children > 1;
	uint32_t best = HEAP_NONE;

	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i];
		bool better;

		if (!kinds_are_alike(j->heap, v, cluster->main) || (j->mark[v] & wanted) != wanted ||
		    (grown_parent && !has_grown_parent(j, v)))
			continue;
		if (best == HEAP_NONE)
			better = true;
		else if (list)
			better = j->depth[v] > j->depth[best];
		else if (mode)
			better = j->depth[v] == mode && j->depth[best] != mode;
		else
			better = j->depth[v] < j->depth[best];
		if (better)
			best = v;
	}
	return best;
}

/* One node of the grown type that is typical: for a list the last element, so that the folded run is
 * the whole list; else one at the depth where most are, or the nearest. Its path must lead through the
 * point: one that something else reaches on a shorter way is not typical. */
static uint32_t representative(struct judge *j, const struct cluster *cluster)
{
	uint32_t histogram[256] = { 0 }, mode = 0, total = 0, grown_parents = 0, best;

	for (uint32_t i = 0; i < cluster->node_count; i++) {
		uint32_t v = cluster->node[i];

		if (!kinds_are_alike(j->heap, v, cluster->main))
			continue;
		histogram[j->depth[v] < 255 ? j->depth[v] : 255]++;
		total++;
		grown_parents += has_grown_parent(j, v);
	}
	for (uint32_t d = 0; d < 255; d++)
		if (histogram[d] > histogram[mode])
			mode = d;
	if (histogram[mode] * 2 < total)
		mode = 0;
	best = best_node(j, cluster, mode, 0, grown_parents * 2 > total);
	if (best == HEAP_NONE || path_passes(j, best, cluster->point))
		return best;
	mark_below(j, cluster->point);
	uint32_t through = best_node(j, cluster, mode, 2, grown_parents * 2 > total);
	for (uint32_t v = 0; v < j->heap->nodes; v++)
		j->mark[v] &= 1;
	return through == HEAP_NONE ? best : through;
}

struct slot_count {
	const struct judge *judge;
	uint32_t like;			/* count only slots that lead to grown nodes like this one */
	uint32_t first;
	bool several;
};

static int count_slot(const struct heap_reference *ref, void *data)
{
	struct slot_count *count = data;

	if (!count->judge->mark[ref->to] || !reach_edge_counts(count->judge->reach, ref->from, ref->to) ||
	    !kinds_are_alike(count->judge->heap, ref->to, count->like))
		return 0;
	if (count->first == HEAP_NONE)
		count->first = ref->to;
	count->several |= ref->to != count->first;
	return count->several;		/* two are enough */
}

/* Let a step below the point stand for all that grew like it. */
static void group_step(const struct judge *j, const struct cluster *cluster, struct chain_step *step)
{
	uint64_t count = 0, bytes = 0;

	for (uint32_t k = 0; k < cluster->node_count; k++)
		if (kinds_are_alike(j->heap, cluster->node[k], step->id)) {
			count += weigh_count(j->heap, cluster->node[k]);
			bytes += series_bytes(series_last(j->series), cluster->node[k]);
		}
	step->count = count;
	step->bytes = bytes;
	if (count != 1) {
		free(step->name);
		step->name = NULL;
	}
}

/* Many slots of one node lead to what the next step stands for: "[*]". */
static int group_edge(const struct judge *j, struct chain_step *step, const struct chain_step *next)
{
	struct slot_count slots = { .judge = j, .like = next->id, .first = HEAP_NONE };
	int r = heap_references(j->heap, step->id, count_slot, &slots);

	if (r < 0)
		return r;
	if (slots.several && !(step->edge && !strncmp(step->edge, "lru_cache", 9))) {
		char *folded = names_folded_label(step->edge ? step->edge : "");

		free(step->edge);
		step->edge = folded;
	}
	return step->edge ? 0 : -ENOMEM;
}

/* A tree or a short list that is not folded: its elements are one step, that of the last of them. */
static void merge_alike(const struct judge *j, struct chain *chain)
{
	size_t kept = 0;

	for (size_t i = 0; i < chain->count; i++) {
		struct chain_step *step = &chain->steps[i], *next = i + 1 < chain->count ? step + 1 : NULL;
		bool in_run = step->count > 1 || (kept && chain->steps[kept - 1].count > 1);

		if (next && !in_run && next->count == 1 && step->role == CHAIN_PLAIN && next->id < j->heap->nodes &&
		    j->mark[next->id] && kinds_are_alike(j->heap, step->id, next->id)) {
			free(step->type);
			free(step->name);
			free(step->detail);
			free(step->edge);
			continue;
		}
		chain->steps[kept++] = *step;
	}
	chain->count = kept;
}

/* Let the steps of the chain stand for all that grew like them. */
static int group_steps(const struct judge *j, const struct cluster *cluster, struct chain *chain)
{
	bool below = cluster->unreachable;
	uint32_t nodes = j->heap->nodes;
	int r = 0;

	merge_alike(j, chain);
	for (size_t i = 0; i < chain->count && r == 0; i++) {
		struct chain_step *step = &chain->steps[i], *before = i ? step - 1 : NULL;
		bool grew = below && step->id < nodes && j->mark[step->id];
		bool in_run = before && before->id < nodes && grew && kinds_are_alike(j->heap, before->id, step->id);

		if (grew) {
			step->role = CHAIN_GREW;
			if (step->count == 1 && !in_run)	/* a folded run is counted already */
				group_step(j, cluster, step);
			if (before && step->count > before->count && before->id < nodes + j->heap->roots)
				r = group_edge(j, before, step);
		}
		if (!cluster->unreachable && step->id == cluster->point) {
			if (step->role != CHAIN_ROOT)
				step->role = cluster->resized ? CHAIN_GREW : CHAIN_POINT;
			below = true;
		}
	}
	return r;
}

/* Shortest way from the first head to a node of the grown type, inside the unreachable part. */
static int64_t unreachable_path(struct judge *j, const struct cluster *cluster, uint32_t **ret_path)
{
	const struct heap *heap = j->heap;
	uint32_t *queue = malloc(((size_t)j->growth->leaks->count + 1) * sizeof(*queue));
	uint32_t *parent = large_array(heap->nodes, sizeof(*parent));
	uint32_t from = 0, to = 0, found = HEAP_NONE, length = 0, *path = NULL;

	if (!queue || !parent) {
		free(queue);
		large_free(parent);
		return -ENOMEM;
	}
	memset(parent, 0xff, (size_t)heap->nodes * sizeof(*parent));
	queue[to++] = cluster->item[0];
	parent[cluster->item[0]] = cluster->item[0];
	while (from < to && found == HEAP_NONE) {
		uint32_t v = queue[from++];

		if (j->mark[v] && kinds_are_alike(heap, v, cluster->main)) {
			found = v;
			break;
		}
		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++) {
			uint32_t w = heap->edge_to[e];

			if (reach_edge_counts(j->reach, v, w) && parent[w] == HEAP_NONE) {
				parent[w] = v;
				queue[to++] = w;
			}
		}
	}
	if (found == HEAP_NONE)		/* hangs from another head of the type: show the head alone */
		found = cluster->item[0];
	for (uint32_t v = found;; v = parent[v]) {
		length++;
		if (parent[v] == v)
			break;
	}
	path = malloc((size_t)length * sizeof(*path));
	if (path)
		for (uint32_t v = found, i = length; i > 0; v = parent[v])
			path[--i] = v;
	free(queue);
	large_free(parent);
	if (!path)
		return -ENOMEM;
	*ret_path = path;
	return length;
}

/* The shortest cycle through a head: breadth first until an edge comes back. */
static int64_t cycle_path(struct judge *j, uint32_t head, uint32_t **ret_path)
{
	const struct heap *heap = j->heap;
	uint32_t *queue = malloc(((size_t)j->growth->leaks->count + 1) * sizeof(*queue));
	uint32_t *parent = large_array(heap->nodes, sizeof(*parent));
	uint32_t from = 0, to = 0, last = HEAP_NONE, length = 1, *path;

	if (!queue || !parent) {
		free(queue);
		large_free(parent);
		return -ENOMEM;
	}
	memset(parent, 0xff, (size_t)heap->nodes * sizeof(*parent));
	queue[to++] = head;
	while (from < to && last == HEAP_NONE) {
		uint32_t v = queue[from++];

		for (uint64_t e = heap->edge_start[v]; e < heap->edge_start[v + 1] && last == HEAP_NONE; e++) {
			uint32_t w = heap->edge_to[e];

			if (w == head)
				last = v;
			else if (reach_edge_counts(j->reach, v, w) && parent[w] == HEAP_NONE) {
				parent[w] = v;
				queue[to++] = w;
			}
		}
	}
	for (uint32_t v = last; v != HEAP_NONE && v != head; v = parent[v])
		length++;
	path = malloc(((size_t)length + 1) * sizeof(*path));
	if (path) {
		uint32_t i = length;

		path[length] = head;	/* the last step leads back to the first */
		for (uint32_t v = last; i > 1; v = parent[v])
			path[--i] = v;
		path[0] = head;
	}
	free(queue);
	large_free(parent);
	if (!path)
		return -ENOMEM;
	*ret_path = path;
	return last == HEAP_NONE ? 0 : length + 1;
}

static int find_chain(struct judge *j, struct suspect *suspect)
{
	const struct cluster *cluster = suspect->cluster;
	uint32_t *path = NULL;
	int64_t length;
	int r = 0;

	suspect->root = HEAP_NONE;
	mark_cluster(j, cluster, 1);
	if (cluster->unreachable) {
		length = unreachable_path(j, cluster, &path);
	} else {
		uint32_t node = cluster->resized || !cluster->node_count ? cluster->point :
				representative(j, cluster);

		length = chain_path(j->heap, j->reach, node == HEAP_NONE ? cluster->point : node, &path);
		if (length > 0 && path[0] >= j->heap->nodes)
			suspect->root = path[0] - j->heap->nodes;
	}
	if (length < 0)
		r = (int)length;
	if (length > 0)
		r = chain_make(j->labels, j->heap, path, (uint32_t)length, &suspect->chain);
	if (r == 0)
		r = group_steps(j, cluster, &suspect->chain);
	free(path);
	path = NULL;
	if (r == 0 && cluster->cycle) {
		length = cycle_path(j, cluster->item[0], &path);
		if (length < 0)
			r = (int)length;
		if (length > 0)
			r = chain_make(j->labels, j->heap, path, (uint32_t)length, &suspect->cycle);
		free(path);
	}
	mark_cluster(j, cluster, 0);
	return r;
}

/* ---- one suspect ---------------------------------------------------------------------------- */

/* The type as shown: with a size when all that grew has one. */
static char *shown_type(const struct judge *j, const struct cluster *cluster)
{
	const struct heap_type *type = &j->heap->types[j->heap->type[cluster->main]];
	struct text text = { 0 };
	uint64_t size = 0;
	bool exact = !cluster->resized, first = true;

	for (uint32_t i = 0; i < cluster->node_count && exact; i++) {
		uint32_t v = cluster->node[i];

		if (!kinds_are_alike(j->heap, v, cluster->main))
			continue;
		exact = first || j->heap->bytes[v] == size;
		size = j->heap->bytes[v];
		first = false;
	}
	names_type(&text, type->name, type->source, exact, size);
	return text_take(&text);
}

static int count_kinds(const struct judge *j, const struct cluster *cluster, struct suspect *suspect)
{
	struct kinds kinds = { 0 };
	int64_t main = kinds_number(&kinds, j->heap, cluster->main), kind = 0;

	for (uint32_t i = 0; i < cluster->node_count && main >= 0 && kind >= 0; i++) {
		if (!cluster->counts[i])
			continue;
		kind = kinds_number(&kinds, j->heap, cluster->node[i]);
		suspect->type_count += kind == main ? weigh_count(j->heap, cluster->node[i]) : 0;
	}
	suspect->kinds = kinds.count;
	kinds_done(&kinds);
	return main < 0 || kind < 0 ? -ENOMEM : 0;
}

char *suspect_what(const struct suspect *suspect)
{
	char count[TEXT_SIZE], rest[TEXT_SIZE];

	if (suspect->kinds > 1 && !suspect->type_count)
		return text_format("%s that came with %s", text_count((int64_t)suspect->count, count), suspect->type);
	if (suspect->kinds < 2 || suspect->type_count >= suspect->count)
		return text_format("%s x %s", text_count((int64_t)suspect->count, count), suspect->type);
	return text_format("%s x %s and %s of %" PRIu64 " more kind%s", text_count((int64_t)suspect->type_count, count), suspect->type,
			   text_count((int64_t)(suspect->count - suspect->type_count), rest), suspect->kinds - 1,
			   suspect->kinds == 2 ? "" : "s");
}

/* References that Python counts and nobody was found to have, of what grew. */
static int say_unaccounted(const struct judge *j, struct suspect *suspect)
{
	const struct cluster *cluster = suspect->cluster;
	bool only = suspect->root != HEAP_NONE && j->heap->root[suspect->root].kind == HEAP_ROOT_PY_C;
	uint64_t extra = 0;
	char *both;

	for (uint32_t i = 0; i < cluster->node_count && j->heap->extra; i++)
		if (cluster->counts[i] && j->heap->types[j->heap->type[cluster->node[i]]].source == HEAP_TYPE_PYTHON)
			extra += j->heap->extra[cluster->node[i]];
	if (!extra || cluster->unreachable)
		return 0;
	both = text_format("%s held from C (%" PRIu64 " references not accounted for)%s; %s", only ? "these are" : "also",
			   extra, only ? ": C code holds them where no pointer to them was found, or has forgotten "
			   "to drop its references" : "", suspect->reason ? suspect->reason : "");
	if (!both)
		return -ENOMEM;
	free(suspect->reason);
	suspect->reason = both;
	return 0;
}

static int say_before(struct suspect *suspect, char *words)
{
	char *both = words ? text_format("%s; %s", words, suspect->reason ? suspect->reason : "") : NULL;

	free(words);
	if (!both)
		return -ENOMEM;
	free(suspect->reason);
	suspect->reason = both;
	return 0;
}

/* How well a root's name tells who holds something: the suspect's own root, a name of the program, a section or a
 * function that just runs. */
static int holder_order(const struct judge *j, const struct suspect *suspect, const struct holder *holder)
{
	const struct heap_root *root = &j->heap->root[holder->root];

	return holder->root == suspect->root ? 0 : root->kind == HEAP_ROOT_PY_FRAME || *root->name == '.' ? 2 : 1;
}

/* Several roots hold it: what one of them lets go of stays. */
static int say_holders(struct judge *j, struct suspect *suspect)
{
	const struct holders *h = suspect->holders;
	struct text text = { 0 };
	uint64_t alone = suspect->count > h->shared_count ? suspect->count - h->shared_count : 0;

	if (h->count < 2)
		return 0;
	text_append(&text, "held by ");
	for (int order = 0, said = 0; order < 3; order++)
		for (uint32_t i = 0; i < h->count; i++) {
			const struct heap_root *root = &j->heap->root[h->list[i].root];

			if (holder_order(j, suspect, &h->list[i]) != order)
				continue;
			text_printf(&text, "%s%s%s%s", said == 0 ? "" : said + 1 == (int)h->count && !h->more ? ", and by " : ", by ",
				    order == 2 && *root->name == '.' ? "a variable without a name in " : "", root->name,
				    root->kind == HEAP_ROOT_PY_FRAME ? " while it runs" : "");
			if (h->list[i].count < suspect->count)
				text_printf(&text, " (%" PRIu64 " of them)", h->list[i].count);
			said++;
		}
	if (h->more)
		text_printf(&text, " and %" PRIu32 " more", h->more);
	if (alone * 10 < suspect->count)
		text_append(&text, ": dropping one of them alone frees nothing");
	else
		text_printf(&text, ": %" PRIu64 " of %" PRIu64 " are shared, and dropping one holder alone does not free those",
			    h->shared_count, suspect->count);
	return say_before(suspect, text_take(&text));
}

const char *suspect_weak_root(const struct series *series, const struct suspect *suspect)
{
	const struct series_heap *last = series_last(series);
	enum heap_root_kind kind = suspect->root == HEAP_NONE ? 0 : last->heap->root[suspect->root].kind;

	if ((kind != HEAP_ROOT_REGISTER && kind != HEAP_ROOT_STACK) || !suspect->cluster ||
	    last->reach->region[suspect->cluster->main] == REACH_HELD)
		return NULL;
	return kind == HEAP_ROOT_REGISTER ? "register" :
	       heap_root_is_unnamed_slot(&last->heap->root[suspect->root]) ? "unnamed stack slot" : "stack";
}

/* No variable holds it, only a word on a stack or in a register, which may have been forgotten there. */
static int say_weak_root(struct judge *j, struct suspect *suspect)
{
	const struct heap_root *root;

	if (!suspect_weak_root(j->series, suspect))
		return 0;
	root = &j->heap->root[suspect->root];
	if (root->kind == HEAP_ROOT_REGISTER)
		return say_before(suspect, strdup("only a register holds it, perhaps a word that is left there: it may be lost"));
	if (heap_root_is_unnamed_slot(root))
		return say_before(suspect, text_format("no variable holds it, only a word on the stack of %.*s that none of its "
						       "variables covers: a register that was saved there, a temporary, or "
						       "what an earlier call left: it may be lost",
						       (int)(strlen(root->name) - strlen(HEAP_UNNAMED_SLOT)), root->name));
	if (strstr(root->name, " local "))
		return say_before(suspect, text_format("only a local variable holds it, %s: it goes when that function returns",
						       root->name));
	if (suspect->count == 1 || suspect->chain.count < 3)
		return say_before(suspect, text_format("only words on the stack of %s hold it: local variables, or words that "
						       "are left there", root->name));
	return say_before(suspect, text_format("only the stack of %s holds it: it goes when that function returns", root->name));
}

/* As much was not read as is a sixteenth of live memory: the holder that was found may be one of chance. */
static int say_unread(struct judge *j, struct suspect *suspect)
{
	uint64_t live = j->heap->account.live_bytes ? j->heap->account.live_bytes : j->live_bytes;
	char *both;

	if (suspect->cluster->unreachable || !heap_may_hide(j->heap, live / 16 / sizeof(uint64_t)))
		return 0;
	both = text_format("%s; what holds it may also lie in memory that was not read, see the notes",
			   suspect->reason ? suspect->reason : "");
	if (!both)
		return -ENOMEM;
	free(suspect->reason);
	suspect->reason = both;
	return 0;
}

/* A way to leak that is known is said first. */
static int say_shape(struct judge *j, struct suspect *suspect)
{
	char *shape = NULL;
	int r = say_unread(j, suspect);

	if (r == 0)
		r = say_unaccounted(j, suspect);
	if (r == 0)
		r = say_weak_root(j, suspect);
	if (r == 0)
		r = say_holders(j, suspect);
	if (r < 0)
		return r;
	r = shape_find(j->heap, suspect->root, &suspect->chain, j->growth->retained, &shape);

	if (r < 0 || !shape)
		return r;
	return say_before(suspect, shape);
}

static int describe(struct judge *j, const struct cluster *cluster, struct suspect *suspect)
{
	int r;

	suspect->cluster = cluster;
	suspect->retained_bytes = cluster->retained_bytes;
	suspect->children = cluster->children;
	suspect->type = shown_type(j, cluster);
	if (!suspect->type)
		return -ENOMEM;
	r = count_kinds(j, cluster, suspect);
	if (r == 0)
		r = find_sites(j, cluster, true, &suspect->sites, &suspect->site_count);
	if (r == 0)
		r = find_sites(j, cluster, false, &suspect->companions, &suspect->companion_count);
	if (r == 0)
		r = find_chain(j, suspect);
	if (r == 0)
		r = say_shape(j, suspect);
	if (r < 0)
		return r;
	if (!cluster->unreachable && cluster->point != HEAP_NONE) {
		suspect->point_type = chain_type_of(j->heap, cluster->point);
		suspect->point_name = chain_name_of(j->heap, cluster->point);
		if (!suspect->point_type || !suspect->point_name)
			return -ENOMEM;
		r = chain_detail_of(j->heap, cluster->point, &suspect->point_detail);
	}
	return r;
}

void suspect_done(struct suspect *suspect)
{
	free(suspect->reason);
	free(suspect->type);
	free(suspect->sites);
	free(suspect->companions);
	free(suspect->point_type);
	free(suspect->point_name);
	free(suspect->point_detail);
	chain_done(&suspect->chain);
	chain_done(&suspect->cycle);
}

static int add_allocator(struct suspects *s)
{
	struct suspect *suspect = &s->list[s->count];
	char grown[TEXT_SIZE], unexplained[TEXT_SIZE], *why;
	const struct heap *first = s->series->heaps[0].heap, *last = series_last(s->series)->heap;
	uint64_t bytes = s->series->same_process ? account_unexplained(first, last) : 0;

	if (bytes == 0)
		return 0;
	*suspect = (struct suspect){ .verdict = SUSPECT_ALLOCATOR, .confidence = SUSPECT_LIKELY, .bytes = bytes,
				     .retained_bytes = bytes, .root = HEAP_NONE };
	why = arenas_explain(first, last, true);
	if (!why)
		return -ENOMEM;
	suspect->type = strdup("allocator");
	suspect->reason = text_format("resident memory grew by %s, of which live memory, stacks, files and "
				      "leakdiff itself explain all but %s: %s",
				      text_size((int64_t)(last->meta.rss_bytes - first->meta.rss_bytes), grown),
				      text_size((int64_t)bytes, unexplained),
				      *why ? why : "fragmentation, or free pages that the allocator keeps");
	free(why);
	s->count++;
	return suspect->type && suspect->reason ? 0 : -ENOMEM;
}

static int compare_suspects(const void *a, const void *b)
{
	const struct suspect *x = a, *y = b;
	bool x_stable = x->verdict == SUSPECT_STABLE, y_stable = y->verdict == SUSPECT_STABLE;
	bool x_sure = x->confidence < SUSPECT_POSSIBLE, y_sure = y->confidence < SUSPECT_POSSIBLE;

	if (x_stable != y_stable)
		return x_stable ? 1 : -1;
	if (x_sure != y_sure)
		return x_sure ? -1 : 1;
	return x->retained_bytes > y->retained_bytes ? -1 : x->retained_bytes < y->retained_bytes;
}

/* Has each snapshot the same program? One whose file is not known is taken for the same. */
static bool is_one_program(const struct series *series)
{
	const char *last = series_last(series)->heap->meta.exe;

	for (size_t k = 0; k + 1 < series->count; k++) {
		const char *exe = series->heaps[k].heap->meta.exe;

		if (exe && last && *exe && *last && strcmp(exe, last) != 0)
			return false;
	}
	return true;
}

static int write_notes(struct suspects *s)
{
	const struct series *series = s->series;
	char size[TEXT_SIZE];
	size_t alike = 0;
	int r = 0;

	if (!series->same_process && !heap_is_profile(series_last(series)->heap))
		r = add_note(s, "the snapshots are of different %s: compared by type and size only, "
			     "blocks are not matched one by one; the youngest blocks of what grew stand for it",
			     is_one_program(series) ? "processes" : "programs");
	for (size_t k = 0; k < series->count; k++)
		alike += series_is_same_process(series->heaps[k].heap, series_last(series)->heap);
	if (r == 0 && alike > 1 && alike < series->count && !heap_is_profile(series_last(series)->heap))
		r = add_note(s, "%zu of the %zu snapshots are of the last one's process (pid %" PRIu32 "): where these are compared "
			     "alone, their blocks are matched one by one", alike, series->count,
			     series_last(series)->heap->meta.pid);
	if (r == 0 && series->reordered)
		r = add_note(s, "the snapshots were not given in the order in which they were taken: they are compared in that order");
	for (size_t k = 1; k < series->count && r == 0; k++)
		if (series->heaps[k].heap->meta.taken_ns < series->heaps[k - 1].heap->meta.taken_ns) {
			r = add_note(s, "the snapshots are not in the order in which they were taken: what reads as growth "
				     "may have gone the other way");
			break;
		}
	if (r == 0 && series->late)
		r = add_note(s, "%" PRIu64 " block%s older than the first snapshot but not in it "
			     "(capture was off or the snapshot was not consistent); not counted as new",
			     series->late, series->late == 1 ? " is" : "s are");
	if (r == 0 && s->turnover_places)
		r = add_note(s, "%" PRIu32 " %s of %s of new blocks lost about as many as %s gained: replaced one for "
			     "one, no growth", s->turnover_places, s->turnover_places == 1 ? "holder" : "holders",
			     text_size((int64_t)s->turnover_bytes, size), s->turnover_places == 1 ? "it" : "they");
	if (r == 0 && s->growth->rest_clusters)
		r = add_note(s, "%" PRIu32 " more places grew beyond the %d that are looked at; the table has all of it",
			     s->growth->rest_clusters, GROWTH_MAX_CLUSTERS);
	return r;
}

/* Do the first suspects explain what grew? If not, where the rest of it is. */
static int say_cover(struct suspects *s)
{
	struct suspects_cover *cover = &s->cover;
	char grown[TEXT_SIZE], x[TEXT_SIZE];
	struct text text = { 0 };
	char *sentence;
	size_t first = 0;
	int r;

	cover->grown = s->growth->total_bytes;
	cover->noise = s->noise_bytes;
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].cluster)
			*(first++ < SUSPECTS_FIRST ? &cover->first : &cover->others) += s->list[i].cluster->bytes;
	cover->thin = cover->grown > cover->first + cover->others + cover->turnover + cover->noise ?
		      cover->grown - cover->first - cover->others - cover->turnover - cover->noise : 0;
	if (!first || cover->grown < NOISE_BYTES ||	/* what took the place of others is no growth */
	    (double)cover->first >= s->series->limits.cover * (double)(cover->grown - cover->turnover))
		return 0;
	text_printf(&text, "of %s that are new or became larger the first %s %.0f %%; the rest: ",
		    text_size((int64_t)cover->grown, grown), first == 1 ? "suspect is" : "suspects are",
		    100.0 * (double)cover->first / (double)cover->grown);
	if (cover->others)
		text_printf(&text, "%s in other suspects, ", text_size((int64_t)cover->others, x));
	if (cover->turnover)
		text_printf(&text, "%s took the place of what was freed, ", text_size((int64_t)cover->turnover, x));
	if (cover->noise)
		text_printf(&text, "%s in places that show no trend, ", text_size((int64_t)cover->noise, x));
	if (cover->thin)
		text_printf(&text, "%s spread too thin to have a place, ", text_size((int64_t)cover->thin, x));
	text_append(&text, "all of it in the table");
	sentence = text_take(&text);
	if (!sentence)
		return -ENOMEM;
	r = add_note(s, "%s", sentence);
	free(sentence);
	return r;
}

/* Every cluster that is one becomes a suspect. */
static int judge_clusters(struct suspects *s, struct judge *j)
{
	int r = judge_init(j, s->series, s->growth);

	if (r == 0)
		r = holders_find(s->growth, &s->holders);
	if (r < 0)
		return r;
	s->trends = j->trends;
	j->trends = NULL;		/* suspects point into it */
	s->list = calloc((size_t)s->growth->cluster_count + 1, sizeof(*s->list));
	if (!s->list)
		return -ENOMEM;
	for (uint32_t c = 0; c < s->growth->cluster_count; c++) {
		const struct cluster *cluster = &s->growth->clusters[c];
		struct suspect *suspect = &s->list[s->count];
		enum judge_answer answer;

		suspect->cluster = cluster;
		suspect->trend = &s->trends->list[c];
		suspect->holders = &s->holders[c];
		r = judge_cluster(j, cluster, suspect, &answer);
		if (r < 0) {
			s->count++;	/* half made: freed with the others */
			return r;
		}
		if (answer == JUDGE_TURNOVER) {
			s->turnover_places++;
			s->turnover_bytes += cluster->main_bytes;
			s->cover.turnover += cluster->bytes;
		} else if (answer == JUDGE_NOISE) {
			s->noise_places++;
			s->noise_bytes += cluster->bytes;
		}
		if (answer != JUDGE_SUSPECT) {
			suspect_done(suspect);
			memset(suspect, 0, sizeof(*suspect));
			continue;
		}
		s->count++;
		r = describe(j, cluster, suspect);
		if (r < 0)
			return r;
	}
	return 0;
}

int suspects_find(const struct series *series, struct suspects **ret_suspects)
{
	struct judge j = { .series = series };
	struct suspects *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->series = series;
	r = growth_find(series, &s->growth);
	if (r == 0)
		r = merge_clusters(s->growth);
	if (r == 0 && heap_is_profile(series_last(series)->heap))
		r = suspects_of_sites(s);
	else if (r == 0)
		r = judge_clusters(s, &j);
	if (r == 0)
		r = add_allocator(s);
	if (r == 0)
		r = write_notes(s);
	if (r == 0 && s->count)
		qsort(s->list, s->count, sizeof(*s->list), compare_suspects);
	if (r == 0)
		r = say_cover(s);
	if (r < 0)
		goto fail;
	for (size_t i = 0; i < s->count; i++)
		s->grew |= s->list[i].verdict != SUSPECT_STABLE && s->list[i].confidence < SUSPECT_POSSIBLE;
	judge_done(&j);
	*ret_suspects = s;
	return 0;
fail:
	judge_done(&j);
	suspects_free(s);
	return r;
}

struct suspects *suspects_free(struct suspects *suspects)
{
	if (!suspects)
		return NULL;
	for (size_t i = 0; i < suspects->count; i++)
		suspect_done(&suspects->list[i]);
	for (size_t i = 0; i < suspects->note_count; i++)
		free(suspects->notes[i]);
	free(suspects->notes);
	free(suspects->list);
	trends_free(suspects->trends);
	free(suspects->holders);
	growth_free(suspects->growth);
	free(suspects);
	return NULL;
}
