/* SPDX-License-Identifier: Apache-2.0
 * L3  nodes.c - sorting the live table and finding the node that a word points into.
 *
 *   word -> pages[word >> 30][(word >> 12) & 0x3ffff]   first block that touches the page, + 1
 *        -> a short search forward in extents           at most one page's worth of blocks
 *        -> else the mapping list                       gaps of a mapping belong to the mapping
 *
 * (1) One table slot per 4 KiB page of a GiB that holds blocks: 1 MiB of index per such GiB.
 * (2) Blocks never overlap, so the last block at or below the word is the only candidate.
 * (3) 32 bytes a block for the copy of the live table, 16 for its extent, 9 beside; sorting needs
 *     32 more, for a moment. */
#include "nodes.h"

#include <errno.h>
#include <string.h>

#include "kernel.h"
#include "stream.h"

#define TOP_SLOTS (1u << 17)		/* 47 bits of user addresses in GiB */
#define PAGE_SLOTS (1u << 18)		/* pages in a GiB */
#define COUNT_MAX (UINT32_MAX - 1)
#define TOTALS_SLACK 1024u
#define RADIX_BITS 11
#define RADIX (1u << RADIX_BITS)

struct sort_key {
	uint64_t addr;
	uint32_t index;			/* in blocks, or with `object` in the objects */
	uint32_t object;		/* 1 = a Python object */
};

struct fill {
	struct nodes *nodes;
	uint64_t capacity, count;
};

static void take_block(const struct live_block *block, void *data)
{
	struct fill *fill = data;

	if (fill->count < fill->capacity)
		fill->nodes->blocks[fill->count] = *block;
	fill->count++;
}

/* The totals say how many to expect; a second pass is needed only if they were wrong. */
static bool copy_blocks(struct fill *fill, uint64_t expected)
{
	for (;;) {
		uint64_t bytes = (expected + 1) * sizeof(*fill->nodes->blocks);

		fill->nodes->blocks = kernel_map(bytes);
		if (!fill->nodes->blocks)
			return false;
		fill->capacity = expected;
		fill->count = 0;
		ld__live_visit(take_block, fill);
		if (fill->count <= fill->capacity)
			return true;
		kernel_unmap(fill->nodes->blocks, bytes);
		expected = fill->count;
	}
}

/* Least significant digit first over the bits that differ at all. Returns the sorted half of the two. */
static struct sort_key *radix_sort(struct sort_key *keys, struct sort_key *other, uint64_t count,
				   uint64_t differ)
{
	static uint32_t starts[RADIX];

	for (unsigned shift = differ ? (unsigned)__builtin_ctzll(differ) : 64;
	     shift < 64 && differ >> shift; shift += RADIX_BITS) {
		uint32_t sum = 0;
		struct sort_key *swap;

		if (!(differ >> shift & (RADIX - 1)))
			continue;
		memset(starts, 0, sizeof(starts));
		for (uint64_t i = 0; i < count; i++)
			starts[keys[i].addr >> shift & (RADIX - 1)]++;
		for (uint32_t i = 0; i < RADIX; i++) {
			uint32_t n = starts[i];

			starts[i] = sum;
			sum += n;
		}
		for (uint64_t i = 0; i < count; i++)
			other[starts[keys[i].addr >> shift & (RADIX - 1)]++] = keys[i];
		swap = keys;
		keys = other;
		other = swap;
	}
	return keys;
}

static bool is_mapping(const struct live_block *block)
{
	return STREAM_NODE_KIND(block->kind) == STREAM_NODE_MAPPING;
}

/* How far out something is: a mapping, a block, an object in it. */
static int rank(const struct nodes *nodes, const struct sort_key *key)
{
	return key->object ? 0 : is_mapping(&nodes->blocks[key->index]) ? 2 : 1;
}

/* Among equal addresses (a mapping and its first block) the enclosing one goes first. */
static void order_equals(const struct nodes *nodes, struct sort_key *keys, uint64_t count)
{
	for (uint64_t i = 1; i < count; i++)
		for (uint64_t j = i; j > 0 && keys[j - 1].addr == keys[j].addr; j--) {
			int a = rank(nodes, &keys[j - 1]), b = rank(nodes, &keys[j]);
			struct sort_key swap = keys[j];

			if (a > b || (a == b && (!a || nodes->blocks[keys[j - 1].index].bytes >=
							nodes->blocks[keys[j].index].bytes)))
				break;
			keys[j] = keys[j - 1];
			keys[j - 1] = swap;
		}
}

/* Enter a block into the page index: the first block of a page stays. */
static int index_block(struct nodes *nodes, uint32_t id)
{
	const struct node_extent *extent = &nodes->extents[id];
	uint64_t last = (extent->addr + (extent->bytes ? extent->bytes : 1) - 1) >> 12;

	for (uint64_t page = extent->addr >> 12; page <= last; page++) {
		uint32_t **top = &nodes->pages[page >> 18 & (TOP_SLOTS - 1)];

		if (!*top) {
			*top = kernel_map(PAGE_SLOTS * sizeof(**top));
			if (!*top)
				return -ENOMEM;
		}
		if (!(*top)[page & (PAGE_SLOTS - 1)])
			(*top)[page & (PAGE_SLOTS - 1)] = id + 1;
	}
	return 0;
}

/* A Python object that fills a block (but for the header of a debug allocator) is that block. */
#define OBJECT_SLACK 64u

static bool is_same(const struct nodes *nodes, uint32_t id, const struct node_object *object)
{
	const struct node_extent *extent = &nodes->extents[id];

	return nodes->object[id] == STREAM_NONE && !(nodes->flags[id] & NODE_MAPPING) &&
	       object->addr >= extent->addr && object->addr - extent->addr <= OBJECT_SLACK &&
	       object->addr + 16 <= extent->addr + extent->bytes;
}

static int fill_columns(struct nodes *nodes, const struct sort_key *keys, uint64_t count,
			struct node_object *objects)
{
	uint32_t mapping = STREAM_NONE;	/* the last one that may enclose what follows */
	uint32_t last = STREAM_NONE;	/* the last block */
	uint32_t i = 0;

	for (uint64_t n = 0; n < count; n++) {
		struct node_object *object = keys[n].object ? &objects[keys[n].index] : NULL;
		const struct live_block *block = object ? NULL : &nodes->blocks[keys[n].index];
		uint64_t addr = keys[n].addr, bytes = object ? object->own_bytes : block->bytes;
		uint64_t end = addr + (bytes ? bytes : 1);

		if (object && last != STREAM_NONE && is_same(nodes, last, object)) {
			object->node = last;
			nodes->object[last] = keys[n].index;
			nodes->flags[last] |= NODE_OBJECT;
			continue;
		}
		if (object && n + 1 < count && keys[n + 1].addr > addr && keys[n + 1].addr < end) {
			end = keys[n + 1].addr;	/* its size counts memory elsewhere */
			bytes = end - addr;
		}
		nodes->extents[i] = (struct node_extent) { addr, bytes };
		nodes->source[i] = object ? STREAM_NONE : keys[n].index;
		nodes->type[i] = STREAM_NONE;
		if (nodes->object)
			nodes->object[i] = STREAM_NONE;
		if (end > nodes->high)
			nodes->high = end;
		if (block && is_mapping(block)) {
			nodes->flags[i] = NODE_MAPPING;
			nodes->mappings[nodes->mapping_count] =
				(struct node_mapping){ addr, end, i };
			mapping = nodes->mapping_count++;
			i++;
			continue;
		}
		if (mapping != STREAM_NONE && addr < nodes->mappings[mapping].end)
			nodes->flags[nodes->mappings[mapping].node] |=
				NODE_FOLDED | (object ? NODE_ARENA : 0);
		if (object) {
			object->node = i;
			nodes->object[i] = keys[n].index;
			nodes->flags[i] = NODE_OBJECT;
		} else {
			last = i;
		}
		if (index_block(nodes, i) < 0)
			return -ENOMEM;
		i++;
	}
	nodes->count = i;
	nodes->low = nodes->count ? nodes->extents[0].addr : 0;
	return 0;
}

int ld__nodes_new(struct nodes *nodes, struct node_object *objects, uint32_t object_count)
{
	uint64_t count, mappings, unused, differ = 0, room;
	struct fill fill = { .nodes = nodes };
	struct sort_key *keys, *other, *sorted;
	int r = -ENOMEM;

	memset(nodes, 0, sizeof(*nodes));
	ld__live_totals(&count, &unused);
	ld__live_mapping_totals(&mappings, &unused);
	count += mappings + TOTALS_SLACK;
	if (!copy_blocks(&fill, count))
		return -ENOMEM;
	count = fill.count;
	mappings = 0;
	if (count > COUNT_MAX - object_count) {
		nodes->refused = count - (COUNT_MAX - object_count);
		count = COUNT_MAX - object_count;
	}
	room = count + object_count + 1;
	nodes->pages = kernel_map(TOP_SLOTS * sizeof(*nodes->pages));
	nodes->extents = kernel_map(room * sizeof(*nodes->extents));
	nodes->source = kernel_map(room * sizeof(*nodes->source));
	nodes->type = kernel_map(room * sizeof(*nodes->type));
	nodes->flags = kernel_map(room);
	if (object_count)
		nodes->object = kernel_map(room * sizeof(*nodes->object));
	keys = kernel_map(room * sizeof(*keys));
	other = kernel_map(room * sizeof(*other));
	if (!nodes->pages || !nodes->extents || !nodes->source || !nodes->type ||
	    !nodes->flags || !keys || !other || (object_count && !nodes->object))
		goto done;

	for (uint64_t i = 0; i < count; i++) {
		keys[i] = (struct sort_key) { .addr = nodes->blocks[i].addr, .index = (uint32_t)i };
		differ |= keys[i].addr ^ keys[0].addr;
		mappings += is_mapping(&nodes->blocks[i]);
	}
	for (uint32_t i = 0; i < object_count; i++) {
		if (!objects[i].addr)
			continue;
		keys[count] = (struct sort_key){ .addr = objects[i].addr, .index = i, .object = 1 };
		differ |= keys[count].addr ^ keys[0].addr;
		count++;
	}
	nodes->mappings = kernel_map((mappings + 1) * sizeof(*nodes->mappings));
	if (!nodes->mappings)
		goto done;
	sorted = radix_sort(keys, other, count, differ);
	if (sorted == keys) {		/* the other half is not needed while the columns fill */
		kernel_unmap(other, room * sizeof(*other));
		other = NULL;
	} else {
		kernel_unmap(keys, room * sizeof(*keys));
		keys = NULL;
	}
	order_equals(nodes, sorted, count);
	r = fill_columns(nodes, sorted, count, objects);
done:
	kernel_unmap(keys, room * sizeof(*keys));
	kernel_unmap(other, room * sizeof(*other));
	return r;			/* on failure the child ends; nothing to give back */
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

uint32_t ld__nodes_find(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset)
{
	const struct node_extent *extents = nodes->extents;
	const uint32_t *top;
	uint32_t first, low, step;

	if (addr - nodes->low >= nodes->high - nodes->low)
		return STREAM_NONE;
	top = nodes->pages[addr >> 30 & (TOP_SLOTS - 1)];
	first = top ? top[addr >> 12 & (PAGE_SLOTS - 1)] : 0;
	if (!first || extents[first - 1].addr > addr)
		return find_mapping(nodes, addr, ret_offset);

	/* Gallop to the last extent at or below addr: the page holds few, so it is near. */
	low = first - 1;
	for (step = 1; low + step < nodes->count && extents[low + step].addr <= addr; step *= 2)
		low += step;
	while (step > 1) {
		step /= 2;
		if (low + step < nodes->count && extents[low + step].addr <= addr)
			low += step;
	}
	while (nodes->flags[low] & NODE_MAPPING) {	/* one that begins in this page, behind the first block */
		if (low == first - 1)
			return find_mapping(nodes, addr, ret_offset);
		low--;
	}
	if (addr - extents[low].addr < (extents[low].bytes ? extents[low].bytes : 1)) {
		*ret_offset = addr - extents[low].addr;
		return low;
	}
	return find_mapping(nodes, addr, ret_offset);
}

uint32_t ld__nodes_lower_bound(const struct nodes *nodes, uint64_t addr)
{
	uint32_t low = 0, high = nodes->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (nodes->extents[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
