/* SPDX-License-Identifier: Apache-2.0
 * L5  nodes.c - numbering the live table and finding the node that a word points into.
 *
 *   live table, first visit    mark every block's address
 *   number the marks           a block's number is its id; the mappings that begin before it have theirs
 *   live table, second visit   each block's columns, at its id
 *
 *   word -> marks: the last block that begins at or below it -> is the word inside? else the mapping list
 *
 * (1) Nothing is sorted, and no block is held twice: 29 bytes a block, and 1/60 of the memory it lies in.
 * (2) Blocks never overlap, so the last block at or below the word is the only candidate; a Python object
 *     inside a block, which is not the block itself, comes before it.
 * (3) Objects in arenas were never recorded: they are merged in afterwards, where there are any. Their
 *     records and types are not touched, so an object is 13 bytes. */
#include "nodes.h"

#include <errno.h>
#include <string.h>

#include "kernel.h"
#include "python_small.h"
#include "stream.h"

#define COUNT_MAX (UINT32_MAX - 1)
#define TOTALS_SLACK 1024u

struct node_large {
	uint64_t bytes;
	uint32_t node;
};

static bool is_mapping(const struct live_block *block)
{
	return STREAM_NODE_KIND(block->kind) == STREAM_NODE_MAPPING;
}

/* ---- columns ---- */

static int make_columns(struct nodes *nodes, uint64_t room)
{
	nodes->room = room + 1;
	nodes->addr = kernel_map(nodes->room * sizeof(*nodes->addr));
	nodes->low_bytes = kernel_map(nodes->room * sizeof(*nodes->low_bytes));
	nodes->kind = kernel_map(nodes->room);
	nodes->type = kernel_map(nodes->room * sizeof(*nodes->type));
	nodes->flags = kernel_map(nodes->room);
	return nodes->addr && nodes->low_bytes && nodes->kind && nodes->type && nodes->flags ? 0 : -ENOMEM;
}

static void free_columns(struct nodes *nodes)
{
	kernel_unmap(nodes->addr, nodes->room * sizeof(*nodes->addr));
	kernel_unmap(nodes->low_bytes, nodes->room * sizeof(*nodes->low_bytes));
	kernel_unmap(nodes->kind, nodes->room);
	kernel_unmap(nodes->type, nodes->room * sizeof(*nodes->type));
	kernel_unmap(nodes->flags, nodes->room);
}

static void set_bytes(struct nodes *nodes, uint32_t id, uint64_t bytes)
{
	nodes->low_bytes[id] = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
	if (bytes >= UINT32_MAX && !(nodes->flags[id] & NODE_MAPPING) && nodes->large_count < nodes->large_room)
		nodes->large[nodes->large_count++] = (struct node_large) { bytes, id };
}

uint64_t ld__nodes_large(const struct nodes *nodes, uint32_t id)
{
	if (nodes->flags[id] & NODE_MAPPING) {
		uint32_t low = 0, high = nodes->mapping_count;

		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (nodes->mappings[middle].node < id)
				low = middle + 1;
			else
				high = middle;
		}
		return nodes->mappings[low].end - nodes->mappings[low].start;
	}
	for (uint32_t i = 0; i < nodes->large_count; i++)
		if (nodes->large[i].node == id)
			return nodes->large[i].bytes;
	return UINT32_MAX;
}

struct live_block ld__nodes_record(const struct nodes *nodes, uint32_t id)
{
	struct live_block block = { .addr = nodes->addr[id] };
	bool found = nodes->flags[id] & NODE_MAPPING ? ld__live_find_mapping(block.addr, &block) :
		     nodes->kind[id] == STREAM_NODE_PYTHON ? ld__python_small_find(block.addr, &block) :
		     nodes->kind[id] && ld__live_find(block.addr, &block);

	return found ? block : (struct live_block){ 0 };
}

static void reach(struct nodes *nodes, uint32_t id)
{
	uint64_t end = nodes->addr[id] + (nodes->low_bytes[id] ? node_bytes(nodes, id) : 1);

	if (end > nodes->high)
		nodes->high = end;
}

/* ---- the live table ---- */

struct visit {
	struct nodes *nodes;
	uint64_t mapping_room, blocks_max;
};

/* First visit: where do blocks begin, and what are the mappings? */
static void mark_block(const struct live_block *block, void *data)
{
	struct visit *visit = data;
	struct nodes *nodes = visit->nodes;
	int r;

	if (is_mapping(block)) {
		if (nodes->mapping_count < visit->mapping_room)
			nodes->mappings[nodes->mapping_count++] =
				(struct node_mapping){ .start = block->addr, .end = block->addr + (block->bytes ? block->bytes : 1) };
		else
			nodes->refused++;
		return;
	}
	nodes->large_room += block->bytes >= UINT32_MAX;
	r = nodes->marks.count < visit->blocks_max && !(block->addr & 7) ? ld__marks_add(&nodes->marks, block->addr) : 0;
	if (r > 0)
		r = ld__marks_reach(&nodes->marks, block->addr, block->addr + block->bytes);
	if (r < 0 || !ld__marks_has(&nodes->marks, block->addr & ~7ull))
		nodes->refused++;
}

/* They come in order, if the table kept them so. */
static void sort_mappings(struct nodes *nodes)
{
	for (uint32_t i = 1; i < nodes->mapping_count; i++) {
		struct node_mapping held = nodes->mappings[i];
		uint32_t j = i;

		for (; j && nodes->mappings[j - 1].start > held.start; j--)
			nodes->mappings[j] = nodes->mappings[j - 1];
		nodes->mappings[j] = held;
	}
}

struct numbering {
	struct nodes *nodes;
	uint32_t mapping;		/* the next one to get an id */
};

/* Mappings that begin at or before a page come before what is in it. */
static uint32_t number_mappings(uint64_t page, uint32_t id, void *data)
{
	struct numbering *numbering = data;
	struct nodes *nodes = numbering->nodes;

	while (numbering->mapping < nodes->mapping_count && nodes->mappings[numbering->mapping].start <= page)
		nodes->mappings[numbering->mapping++].node = id++;
	return id;
}

static uint32_t number_all(struct nodes *nodes)
{
	struct numbering numbering = { .nodes = nodes };
	uint32_t count = ld__marks_number(&nodes->marks, number_mappings, &numbering);

	return number_mappings(UINT64_MAX, count, &numbering);
}

/* Second visit: each at its id. */
static void place_block(const struct live_block *block, void *data)
{
	struct nodes *nodes = ((struct visit *)data)->nodes;
	uint32_t id;

	if (is_mapping(block)) {
		uint32_t low = 0, high = nodes->mapping_count;

		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (nodes->mappings[middle].start < block->addr)
				low = middle + 1;
			else
				high = middle;
		}
		if (low == nodes->mapping_count || nodes->mappings[low].start != block->addr)
			return;
		id = nodes->mappings[low].node;
		nodes->flags[id] = NODE_MAPPING;
	} else if (!(block->addr & 7) && ld__marks_has(&nodes->marks, block->addr)) {
		id = ld__marks_number_of(&nodes->marks, block->addr);
	} else {
		return;
	}
	nodes->addr[id] = block->addr;
	set_bytes(nodes, id, block->bytes);
	nodes->kind[id] = block->kind;
	reach(nodes, id);
}

/* Everything that was recorded. */
static void visit_all(void (*visit)(const struct live_block *block, void *data), struct visit *data)
{
	ld__live_visit(visit, data);
	ld__python_small_visit(visit, data);
}

static int take_live(struct nodes *nodes, uint32_t object_count)
{
	uint64_t unused, mappings;
	struct visit visit = { .nodes = nodes };

	ld__live_mapping_totals(&mappings, &unused);
	visit.mapping_room = mappings + TOTALS_SLACK;
	visit.blocks_max = COUNT_MAX - object_count - visit.mapping_room;
	nodes->mappings = kernel_map(visit.mapping_room * sizeof(*nodes->mappings));
	if (!nodes->mappings || ld__marks_new(&nodes->marks) < 0)
		return -ENOMEM;
	visit_all(mark_block, &visit);
	sort_mappings(nodes);
	nodes->count = number_all(nodes);
	nodes->large = kernel_map((nodes->large_room + 1ull) * sizeof(*nodes->large));
	if (!nodes->large || make_columns(nodes, nodes->count) < 0)
		return -ENOMEM;
	visit_all(place_block, &visit);
	return 0;
}

/* A mapping that something lies in is its container. */
static void fold_mappings(struct nodes *nodes)
{
	uint32_t mapping = STREAM_NONE;	/* the last one that may enclose what follows */

	for (uint32_t id = 0, m = 0; id < nodes->count; id++) {
		if (nodes->flags[id] & NODE_MAPPING)
			mapping = m++;
		else if (mapping != STREAM_NONE && nodes->addr[id] < nodes->mappings[mapping].end)
			nodes->flags[nodes->mappings[mapping].node] |=
				NODE_FOLDED | (nodes->flags[id] & NODE_INNER ? NODE_ARENA : 0);
	}
}

/* ---- objects ---- */

/* A Python object that fills a block (but for the header of a debug allocator) is that block. */
#define OBJECT_SLACK 64u

struct merge {
	struct nodes *to;		/* with what lies in arenas */
	struct nodes from;		/* blocks and mappings alone */
	uint32_t next;			/* of from */
	uint32_t last;			/* the last block in to */
	uint32_t clip;			/* object whose size may count memory elsewhere, STREAM_NONE = none */
	uint64_t end;			/* where the last object began, + 1 */
};

static void end_clip(struct merge *merge, uint64_t addr)
{
	struct nodes *to = merge->to;

	if (merge->clip != STREAM_NONE && addr > to->addr[merge->clip] && addr < node_end(to, merge->clip))
		set_bytes(to, merge->clip, addr - to->addr[merge->clip]);
	merge->clip = STREAM_NONE;
}

/* Take over the blocks and mappings that begin up to addr. */
static void take_upto(struct merge *merge, uint64_t addr)
{
	struct nodes *to = merge->to;
	const struct nodes *from = &merge->from;

	for (; merge->next < from->count && from->addr[merge->next] <= addr; merge->next++) {
		uint32_t id = to->count++, old = merge->next;

		end_clip(merge, from->addr[old]);
		to->addr[id] = from->addr[old];
		to->flags[id] = from->flags[old];
		to->low_bytes[id] = from->low_bytes[old];
		to->kind[id] = from->kind[old];
		if (from->low_bytes[old] == UINT32_MAX)
			set_bytes(to, id, node_bytes(from, old));
		if (!(to->flags[id] & NODE_MAPPING))
			merge->last = id;
	}
}

static bool is_same(const struct nodes *nodes, uint32_t id, uint64_t addr)
{
	return !(nodes->flags[id] & NODE_OBJECT) && addr - nodes->addr[id] <= OBJECT_SLACK &&
	       addr + 16 <= nodes->addr[id] + node_bytes(nodes, id);
}

static void take_object(uint64_t addr, uint64_t own_bytes, void *data)
{
	struct merge *merge = data;
	struct nodes *to = merge->to;
	uint32_t id;

	if (addr < merge->end || to->count + (merge->from.count - merge->next) + 1ull >= to->room) {
		to->refused++;		/* two objects in one place */
		return;
	}
	merge->end = addr + 1;
	take_upto(merge, addr);
	if (merge->last != STREAM_NONE && is_same(to, merge->last, addr)) {
		to->flags[merge->last] |= NODE_OBJECT;
		return;
	}
	end_clip(merge, addr);
	id = ld__marks_add(&to->marks, addr) > 0 ? to->count++ : STREAM_NONE;
	if (id == STREAM_NONE) {
		to->refused++;
		return;
	}
	to->addr[id] = addr;
	to->low_bytes[id] = own_bytes < UINT32_MAX ? (uint32_t)own_bytes : UINT32_MAX - 1;
	to->flags[id] = NODE_OBJECT | NODE_INNER;
	reach(to, id);
	merge->clip = id;
}

static int add_objects(struct nodes *nodes, node_objects *objects, void *context, uint32_t object_count)
{
	struct merge merge = { .to = nodes, .from = *nodes, .last = STREAM_NONE, .clip = STREAM_NONE };

	nodes->count = nodes->large_count = 0;
	nodes->large = kernel_map((nodes->large_room + 1ull) * sizeof(*nodes->large));
	if (!nodes->large || make_columns(nodes, merge.from.count + (uint64_t)object_count) < 0)
		return -ENOMEM;
	objects(take_object, &merge, context);
	take_upto(&merge, UINT64_MAX);
	free_columns(&merge.from);
	kernel_unmap(merge.from.large, (merge.from.large_room + 1ull) * sizeof(*merge.from.large));
	number_all(nodes);
	return 0;
}

/* ---- face ---- */

int ld__nodes_new(struct nodes *nodes, node_objects *objects, void *context, uint32_t object_count)
{
	int r;

	memset(nodes, 0, sizeof(*nodes));
	r = take_live(nodes, object_count);
	if (r == 0 && object_count)
		r = add_objects(nodes, objects, context, object_count);
	if (r < 0)
		return r;		/* the child ends; nothing to give back */
	fold_mappings(nodes);
	nodes->low = nodes->count ? nodes->addr[0] : 0;
	return 0;
}

/* The mapping that holds addr; mappings may nest only by mistake, the later start wins. */
static uint32_t find_mapping(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset)
{
	uint32_t low = 0, high = nodes->mapping_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (nodes->mappings[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || addr >= nodes->mappings[low - 1].end)
		return STREAM_NONE;
	*ret_offset = addr - nodes->mappings[low - 1].start;
	return nodes->mappings[low - 1].node;
}

/* The last block before a mapping that begins after it, as an id + 1. As many blocks come before each of a
 * run of mappings. */
static uint32_t block_before(const struct nodes *nodes, uint32_t mapping_id)
{
	uint32_t low = 0, high = nodes->mapping_count, blocks, m;

	while (low < high) {
		m = low + (high - low) / 2;
		if (nodes->mappings[m].node < mapping_id)
			low = m + 1;
		else
			high = m;
	}
	blocks = mapping_id - low;
	high = low;
	low = 0;
	while (low < high) {
		m = low + (high - low) / 2;
		if (nodes->mappings[m].node - m < blocks)
			low = m + 1;
		else
			high = m;
	}
	return nodes->mappings[low].node;
}

uint32_t ld__nodes_find(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset)
{
	uint32_t upto;

	if (addr - nodes->low >= nodes->high - nodes->low)
		return STREAM_NONE;
	upto = ld__marks_upto(&nodes->marks, addr);
	if (upto && nodes->flags[upto - 1] & NODE_MAPPING)
		upto = block_before(nodes, upto - 1);
	if (upto) {
		uint32_t id = upto - 1;
		uint64_t offset = addr - nodes->addr[id];

		if (offset < nodes->low_bytes[id] || !offset ||
		    (nodes->low_bytes[id] == UINT32_MAX && offset < node_bytes(nodes, id))) {
			*ret_offset = offset;
			return id;
		}
	}
	return find_mapping(nodes, addr, ret_offset);
}

uint32_t ld__nodes_lower_bound(const struct nodes *nodes, uint64_t addr)
{
	uint32_t low = 0, high = nodes->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (nodes->addr[middle] < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
