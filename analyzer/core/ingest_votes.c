/* SPDX-License-Identifier: Apache-2.0
 * L4  ingest_votes.c - typed memory says what its pointers lead to.
 *
 *   g_cache (struct table *) -> table -> .buckets[17] (struct entry *) -> entry -> .body (char *) -> buffer
 *
 * (1) A pass walks all references once. One that leaves a typed source by a typed pointer is a vote for
 *     its target's cell: an agreement where the cell's type has such an object there, else a candidate.
 * (2) void *, functions and unions whose members differ say nothing. A pointer to an object inside the
 *     block is the member of a structure that has one there (container_of), if only one structure has;
 *     a small offset of a pointer to something aligned is a tag in the low bits.
 * (3) A cell takes the candidate of more than half of its votes. It keeps what the code at its site said
 *     unless the pointers say with one voice that it is something else; a buffer gives way to a structure.
 * (4) Passes end when nothing changes, at the latest after PASSES_MAX.
 * (5) Most of a Python heap's references are Python's own and never vote: the few that may are kept by the
 *     first pass, and later ones look at them alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash_index.h"
#include "core/ingest_cells.h"

#define PASSES_MAX 8
#define KEPT_MAX (1u << 18)		/* references that may vote; more are decoded again in each pass */
#define MEMO_SLOTS 8192u		/* answers remembered; a power of two */
#define AMBIGUOUS UINT32_MAX

/* Which structure has a member of this type at this offset: container_of, the other way round. */
struct embedded { uint64_t offset; uint32_t inner, outer; };

struct memo_pointer { uint64_t offset; uint32_t layout, pointee; bool used; };
struct memo_holds { uint64_t offset; uint32_t layout, inner; bool used, holds; };

struct voting {
	struct cells *cells;
	const struct stream *stream;
	const struct layouts *layouts;
	struct embedded *embedded;
	uint32_t embedded_count;
	struct hash_index embedded_index;
	struct memo_pointer *pointers;
	struct memo_holds *holds;
	struct stream_edge *kept;
	uint32_t kept_count;		/* more than KEPT_MAX: kept is not whole */
	bool changed;
};

/* ---- container_of ---- */

static bool same_embedded(const void *owner, uint32_t number, const void *key)
{
	const struct embedded *a = &((const struct voting *)owner)->embedded[number], *b = key;

	return a->inner == b->inner && a->offset == b->offset;
}

static uint32_t hash_embedded(const struct embedded *key)
{
	return hash_fold(hash_mix(key->inner, key->offset));
}

/* Structures with structures as members, by what they have where. */
static int find_embedded(struct voting *voting)
{
	const struct layouts *all = voting->layouts;

	voting->embedded = reallocarray(NULL, all->member_count + 1ull, sizeof(*voting->embedded));
	if (!voting->embedded)
		return -ENOMEM;
	for (uint32_t outer = 0; outer < all->count; outer++) {
		const struct layout *type = &all->layouts[outer];

		for (uint32_t i = 0; type->kind == LAYOUT_KIND_STRUCT && i < type->member_count; i++) {
			const struct layout_member *member = &all->members[type->first_member + i];
			struct embedded key = { member->offset, member->type, outer };
			uint32_t number;

			if (all->layouts[member->type].kind != LAYOUT_KIND_STRUCT)
				continue;
			number = hash_index_find(&voting->embedded_index, hash_embedded(&key), same_embedded, voting, &key);
			if (number != HASH_NONE) {
				voting->embedded[number].outer = AMBIGUOUS;
				continue;
			}
			if (hash_index_add(&voting->embedded_index, hash_embedded(&key), voting->embedded_count) < 0)
				return -ENOMEM;
			voting->embedded[voting->embedded_count++] = key;
		}
	}
	return 0;
}

/* The one structure that has `inner` at an offset; LAYOUT_VOID = none or several. */
static uint32_t container_of(const struct voting *voting, uint32_t inner, uint64_t offset)
{
	struct embedded key = { offset, inner, 0 };
	uint32_t number = hash_index_find(&voting->embedded_index, hash_embedded(&key), same_embedded, voting, &key);

	if (number == HASH_NONE || voting->embedded[number].outer == AMBIGUOUS)
		return LAYOUT_VOID;
	return voting->embedded[number].outer;
}

/* ---- what a pointer says ---- */

/* The type that the pointer at an offset of typed memory points at; LAYOUT_VOID = it does not say. */
static uint32_t pointee_at(struct voting *voting, uint32_t layout, uint64_t bytes, uint64_t offset)
{
	const struct layouts *all = voting->layouts;
	uint64_t one = all->layouts[layout].bytes, folded = offset;
	struct memo_pointer *memo;
	uint32_t pointer, pointee;

	if (one && offset >= one) {
		if (layouts_fit(all, layout, bytes) == LAYOUT_FITS_ARRAY)
			folded = offset % one;
		else
			one = 0;			/* behind the end: a flexible array, whose size matters */
	}
	memo = &voting->pointers[hash_fold(hash_mix(layout, folded)) & (MEMO_SLOTS - 1)];
	if (one && memo->used && memo->layout == layout && memo->offset == folded)
		return memo->pointee;
	pointer = layouts_pointer_at(all, layout, one ? one : bytes, folded);
	pointee = pointer == LAYOUT_NONE ? LAYOUT_VOID : all->layouts[pointer].target;
	if (all->layouts[pointee].kind == LAYOUT_KIND_FUNCTION ||
	    (!all->layouts[pointee].bytes && all->layouts[pointee].kind != LAYOUT_KIND_VOID))
		pointee = LAYOUT_VOID;			/* code, or only declared */
	if (one)
		*memo = (struct memo_pointer){ folded, layout, pointee, true };
	return pointee;
}

static bool holds_at(struct voting *voting, uint32_t layout, uint64_t bytes, uint64_t offset, uint32_t inner)
{
	uint64_t one = voting->layouts->layouts[layout].bytes;
	struct memo_holds *memo;
	bool holds;

	if (layout == inner && one && offset % one == 0)
		return true;
	if (one && offset >= one && layouts_fit(voting->layouts, layout, bytes) == LAYOUT_FITS_ARRAY)
		offset %= one;
	memo = &voting->holds[hash_fold(hash_mix((uint64_t)layout << 32 | inner, offset)) & (MEMO_SLOTS - 1)];
	if (memo->used && memo->layout == layout && memo->inner == inner && memo->offset == offset)
		return memo->holds;
	holds = layouts_holds_at(voting->layouts, layout, bytes, offset, inner);
	*memo = (struct memo_holds){ offset, layout, inner, true, holds };
	return holds;
}

/* The type of a block of which something points at `inner` at an offset; LAYOUT_VOID = cannot be told. */
static uint32_t block_type(const struct voting *voting, uint32_t inner, uint64_t offset, uint64_t bytes)
{
	const struct layouts *all = voting->layouts;
	enum layout_fit fit = layouts_fit(all, inner, bytes);
	uint64_t one = all->layouts[inner].bytes;
	uint32_t outer = container_of(voting, inner, offset);

	if (layouts_is_byte(all, inner))
		return inner;
	if (offset == 0 && fit >= LAYOUT_FITS_FLEXIBLE && fit != LAYOUT_FITS_ARRAY)
		return inner;
	/* embedded, at the beginning or inside: only what fits exactly is more likely than an array */
	if (outer != LAYOUT_VOID && layouts_fit(all, outer, bytes) == LAYOUT_FITS_ONE)
		return outer;
	if (fit == LAYOUT_FITS_ARRAY && one && offset % one == 0)
		return inner;
	return offset == 0 && fit == LAYOUT_FITS_LONGER ? inner : LAYOUT_VOID;
}

/* ---- votes ---- */

/* Two candidates are kept, each with its votes; a third one takes from both, so that a majority stays. */
static void vote_for(struct cell *cell, uint32_t layout, const struct cell_origin *origin)
{
	for (unsigned i = 0; i < 2; i++)
		if (cell->votes[i].count && cell->votes[i].layout == layout) {
			cell->votes[i].count++;
			return;
		}
	for (unsigned i = 0; i < 2; i++)
		if (!cell->votes[i].count) {
			cell->votes[i] = (struct cell_vote){ layout, 1, *origin };
			return;
		}
	cell->votes[0].count--;
	cell->votes[1].count--;
}

static void vote(struct voting *voting, uint32_t target, uint64_t offset, uint32_t pointee,
		 const struct cell_origin *origin)
{
	const struct layouts *all = voting->layouts;
	uint32_t number = voting->cells->of_node[target], layout;
	uint64_t bytes = voting->stream->node_bytes[target];

	if (number == CELL_NONE)
		return;
	if (offset < 8 && offset && all->layouts[pointee].bytes >= 8 && all->layouts[pointee].bytes % 8 == 0)
		offset = 0;				/* a tag in the low bits */
	if (number == CELL_SINGLE) {
		struct cell_single *single = &voting->cells->singles[target];

		layout = block_type(voting, pointee, offset, bytes);
		if (layout == LAYOUT_VOID || single->layout == layout ||
		    (single->layout && !(layouts_is_byte(all, single->layout) && !layouts_is_byte(all, layout))))
			return;
		*single = (struct cell_single){ .layout = layout, .origin = *origin };
		voting->changed = true;
		return;
	}
	struct cell *cell = &voting->cells->cells[number];

	if (cell->layout != LAYOUT_VOID && offset >= cell->header &&
	    holds_at(voting, cell->layout, bytes - cell->header, offset - cell->header, pointee)) {
		cell->agree++;
		return;
	}
	if (layouts_is_byte(all, pointee)) {		/* anything can be looked at as bytes */
		if (cell->layout == LAYOUT_VOID)
			vote_for(cell, pointee, origin);
		else if (layouts_is_byte(all, cell->layout))
			cell->agree++;
		return;
	}
	layout = block_type(voting, pointee, offset, bytes);
	if (cell->layout != LAYOUT_VOID && layout == cell->layout) {
		cell->agree++;
		return;
	}
	cell->disagree++;
	if (layout != LAYOUT_VOID)
		vote_for(cell, layout, origin);
}

/* A cell whose votes are counted. Bytes are what everything is: they win only alone. */
static const struct cell_vote *winner(const struct voting *voting, const struct cell *cell)
{
	const struct cell_vote *a = &cell->votes[0], *b = &cell->votes[1];

	if (a->count && b->count && layouts_is_byte(voting->layouts, a->layout) != layouts_is_byte(voting->layouts, b->layout))
		return layouts_is_byte(voting->layouts, a->layout) ? b : a;
	return a->count >= b->count ? a : b;
}

static void decide(struct voting *voting, struct cell *cell)
{
	const struct layouts *all = voting->layouts;
	const struct cell_vote *best = winner(voting, cell), *other = best == cell->votes ? cell->votes + 1 : cell->votes;
	bool was_bytes = cell->layout != LAYOUT_VOID && layouts_is_byte(all, cell->layout);
	bool contested = other->count && !layouts_is_byte(all, other->layout);
	enum layout_fit fit;

	if (!best->count || best->layout == cell->layout || cell->method == CELL_RTTI || cell->method == CELL_CONTAINER)
		return;
	fit = layouts_fit(all, best->layout, cell->bytes);
	if (cell->layout != LAYOUT_VOID) {
		/* the code at the site has said something: all pointers together must say the other thing */
		bool weak = cell->confidence == 1 || was_bytes;

		if (!weak || contested || fit < LAYOUT_FITS_FLEXIBLE || layouts_is_byte(all, best->layout) ||
		    (!was_bytes && cell->agree) || (was_bytes && cell->agree > best->count))
			return;
	} else if (contested && best->count <= other->count) {
		return;
	}
	cell->layout = best->layout;
	cell->header = 0;
	cell->method = CELL_POINTERS;
	cell->evidence = NULL;
	cell->name = NULL;
	cell->origin = best->origin;
	cell->confidence = fit == LAYOUT_FITS_LONGER || contested || fit == LAYOUT_FITS_NOT ? 1 : 2;
	voting->changed = true;
}

/* A reference of native memory. */
static void follow(struct voting *voting, const struct stream_edge *edge)
{
	const struct cells *cells = voting->cells;
	uint32_t number = cells->of_node[edge->source], layout, header = 0, pointee;
	uint64_t bytes = voting->stream->node_bytes[edge->source];

	if (number == CELL_SINGLE) {
		layout = cells->singles[edge->source].layout;
	} else {
		layout = cells->cells[number].layout;
		header = cells->cells[number].header;
	}
	if (layout == LAYOUT_VOID || edge->value < header || bytes <= header)
		return;
	struct cell_origin origin = { layout, false, bytes - header, edge->value - header };

	pointee = pointee_at(voting, layout, origin.bytes, origin.offset);
	if (pointee != LAYOUT_VOID)
		vote(voting, edge->target, edge->interior ? edge->target_offset : 0, pointee, &origin);
}

static int follow_all(struct voting *voting, bool first)
{
	struct stream_cursor cursor;
	struct stream_edge edge;
	int r;

	if (!first && voting->kept_count <= KEPT_MAX) {
		for (uint32_t i = 0; i < voting->kept_count; i++)
			follow(voting, &voting->kept[i]);
		return 0;
	}
	stream_cursor_start(voting->stream, false, &cursor);
	while ((r = stream_cursor_next(&cursor, &edge)) > 0) {
		if (edge.label != STREAM_LABEL_OFFSET || voting->cells->of_node[edge.source] == CELL_NONE)
			continue;
		if (first && voting->kept_count <= KEPT_MAX && voting->kept_count++ < KEPT_MAX)
			voting->kept[voting->kept_count - 1] = edge;
		follow(voting, &edge);
	}
	return r;
}

static int pass(struct voting *voting, bool first, const struct cell_root *roots, const struct cell_root_edge *edges,
		uint64_t edge_count)
{
	struct cells *cells = voting->cells;
	int r;

	voting->changed = false;
	for (uint32_t i = 0; i < cells->count; i++) {
		cells->cells[i].agree = cells->cells[i].disagree = 0;
		memset(cells->cells[i].votes, 0, sizeof(cells->cells[i].votes));
	}
	for (uint64_t i = 0; i < edge_count; i++) {
		const struct cell_root *root = &roots[edges[i].root];
		uint64_t offset = edges[i].value - root->start;
		struct cell_origin origin = { edges[i].root, true, root->end - root->start, offset };
		uint32_t pointee;

		if (root->layout == LAYOUT_VOID || edges[i].value < root->start || edges[i].value >= root->end)
			continue;
		pointee = pointee_at(voting, root->layout, root->end - root->start, offset);
		if (pointee != LAYOUT_VOID)
			vote(voting, edges[i].target, edges[i].target_offset, pointee, &origin);
	}
	r = follow_all(voting, first);
	for (uint32_t i = 0; i < cells->count && r >= 0; i++)
		decide(voting, &cells->cells[i]);
	return r < 0 ? -ENOMEM : 0;
}

int cells_propagate(struct cells *cells, const struct stream *stream, const struct layouts *layouts,
		    const struct cell_root *roots, const struct cell_root_edge *edges, uint64_t edge_count)
{
	struct voting voting = { .cells = cells, .stream = stream, .layouts = layouts };
	int r = -ENOMEM, passes = 0;

	voting.pointers = calloc(MEMO_SLOTS, sizeof(*voting.pointers));
	voting.holds = calloc(MEMO_SLOTS, sizeof(*voting.holds));
	voting.kept = malloc(KEPT_MAX * sizeof(*voting.kept));
	if (voting.pointers && voting.holds && voting.kept)
		r = find_embedded(&voting);
	voting.changed = true;
	while (r >= 0 && voting.changed && passes < PASSES_MAX) {
		r = pass(&voting, !passes, roots, edges, edge_count);
		passes++;
	}
	/* what was said by one and denied by as many is less sure */
	for (uint32_t i = 0; i < cells->count && r >= 0; i++) {
		struct cell *cell = &cells->cells[i];

		if (cell->disagree > cell->agree && cell->confidence > 1 && cell->method != CELL_RTTI)
			cell->confidence--;
	}
	free(voting.embedded);
	free(voting.pointers);
	free(voting.holds);
	free(voting.kept);
	hash_index_done(&voting.embedded_index);
	return r < 0 ? r : passes;
}
