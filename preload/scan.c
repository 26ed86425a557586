/* SPDX-License-Identifier: Apache-2.0
 * L6  scan.c - the conservative scan.
 *
 * (1) A word refers to the innermost node that it points into: a block before the mapping around
 *     it. The gaps of a mapping belong to the mapping.
 * (2) Interior pointers count and are marked; references of a node to itself are left out.
 * (3) Only pages that hold something are read, so a huge reservation costs nothing.
 * (4) The words themselves go nowhere: what is written is offset, target and target offset.
 * (5) Any page may turn out to be unreadable (a truncated file, a poisoned page): it is skipped and
 *     counted. */
#include "scan.h"

#include <errno.h>

#include "fault.h"
#include "kernel.h"

#define CACHE_LINE 64u
#define EXPIRY_CHECK 1024u		/* nodes between two looks at the time limit */

/* Never inlined: a fault may leave scan_words() at any load, and what this has done must be in memory. */
__attribute__((noinline))
static void hit(struct scan *scan, uint64_t word, uint64_t at)
{
	uint64_t offset = 0;
	uint32_t target = ld__nodes_find(scan->nodes, word, &offset);

	if (target == STREAM_NONE || target == scan->self)
		return;
	if (scan->nodes->flags[target] & NODE_OBJECT) {
		if (scan->native_only || !ld__objects_held(word))
			return;
		offset = 0;		/* the object's address, whatever lies before it */
	}
	/* the dynamic linker aligns some of its records to cache lines; a chunk header lies at a block's end */
	if (scan->exact && offset &&
	    (offset >= CACHE_LINE || node_bytes(scan->nodes, target) < 2 * CACHE_LINE))
		return;
	ld__edges_add(scan->edges, STREAM_LABEL_OFFSET, (int64_t)(at - scan->label_base), target,
		      offset);
}

static void scan_words(struct scan *scan, uint64_t start, uint64_t end)
{
	const uint64_t low = scan->nodes->low, size = scan->nodes->high - low;

	for (; start < end; start += 8) {
		uint64_t word = *(const volatile uint64_t *)(uintptr_t)start;

		if (__builtin_expect(word - low < size, 0))
			hit(scan, word, start);
	}
}

/* Scan the aligned words of [start, end), which lies within one span; survives faults. */
static void scan_range(struct scan *scan, uint64_t start, uint64_t end)
{
	volatile uint64_t at = (start + 7) & ~7ull;

	end &= ~7ull;
	while (at < end) {
		if (FAULT_GUARD()) {
			scan_words(scan, at, end);
			ld__fault_leave();
			scan->words += (end - at) / 8;
			return;
		}
		uint64_t next = PAGE_DOWN(ld__fault_addr) + PAGE_BYTES;

		if (ld__fault_addr < at || ld__fault_addr >= end || next > end)
			next = end;
		scan->skipped_words +=
			(next - (ld__fault_addr < at ? at : PAGE_DOWN(ld__fault_addr))) / 8;
		at = next;
	}
}

static uint64_t first_span(const struct spans *spans, uint64_t addr)
{
	uint64_t low = 0, high = spans->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (spans->items[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Scan what is in memory of [start, end). */
static void scan_resident(struct scan *scan, uint64_t start, uint64_t end)
{
	const struct spans *spans = &scan->regions->spans;

	for (uint64_t i = first_span(spans, start); i < spans->count && spans->items[i].start < end;
	     i++) {
		uint64_t from = spans->items[i].start > start ? spans->items[i].start : start;
		uint64_t to = spans->items[i].end < end ? spans->items[i].end : end;

		scan_range(scan, from, to);
	}
}

/* ---- nodes ---- */

static void find_type(struct scan *scan, uint32_t id, uint64_t addr)
{
	if (addr % 8 || node_bytes(scan->nodes, id) < 8)
		return;
	if (FAULT_GUARD()) {
		uint64_t word = *(const volatile uint64_t *)(uintptr_t)addr;

		if (ld__rtti_maybe(scan->rtti, word))
			scan->nodes->type[id] = ld__rtti_type(scan->rtti, word) + 1;
		ld__fault_leave();
	}
}

/* What lies between the Python objects of an arena: small native blocks that nobody records. */
static void scan_arena(struct scan *scan, uint32_t id)
{
	const struct nodes *nodes = scan->nodes;
	uint64_t at = nodes->addr[id], end = node_end(nodes, id);

	ld__edges_begin(scan->edges, id);
	scan->label_base = at;
	scan->self = id;
	scan->native_only = true;
	for (uint32_t inner = id + 1; inner < nodes->count && nodes->addr[inner] < end;
	     inner++) {
		if (nodes->addr[inner] > at)
			scan_resident(scan, at, nodes->addr[inner]);
		at = node_end(nodes, inner);
	}
	if (at < end)
		scan_resident(scan, at, end);
	scan->native_only = false;
	ld__edges_end(scan->edges);
}

/* What is in use in an arena is more than objects: its pools say how much. */
static void share_pools(struct scan *scan, uint32_t id, uint32_t *region)
{
	const struct nodes *nodes = scan->nodes;
	struct region *regions = scan->regions->items;
	uint32_t low = 0, high = nodes->mapping_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (nodes->mappings[middle].node < id)
			low = middle + 1;
		else
			high = middle;
	}
	while (*region < scan->regions->count && regions[*region].end <= nodes->addr[id])
		++*region;
	if (*region < scan->regions->count && regions[*region].start <= nodes->addr[id])
		regions[*region].live_bytes += nodes->mappings[low].used_bytes;
}

/* One node: its resident words, its type, its share of its region. */
static void scan_node(struct scan *scan, uint32_t id, uint64_t *span, uint32_t *region)
{
	const struct spans *spans = &scan->regions->spans;
	struct region *regions = scan->regions->items;
	uint64_t start = scan->nodes->addr[id], end = node_end(scan->nodes, id), live = 0;
	uint8_t flags = scan->nodes->flags[id];

	if (flags & NODE_ARENA)
		scan_arena(scan, id);
	if (flags & NODE_POOLS)
		share_pools(scan, id, region);
	if (flags & NODE_FOLDED && flags & NODE_MAPPING)
		return;
	while (*span < spans->count && spans->items[*span].end <= start)
		++*span;
	ld__edges_begin(scan->edges, id);
	scan->label_base = start;
	scan->self = id;
	for (uint64_t i = *span; i < spans->count && spans->items[i].start < end; i++) {
		uint64_t from = spans->items[i].start > start ? spans->items[i].start : start;
		uint64_t to = spans->items[i].end < end ? spans->items[i].end : end;

		live += to - from;
		if (flags & (NODE_STACK | NODE_OBJECT | NODE_OWNED))	/* a root scans a stack; Python knows the rest */
			continue;
		if (from == start && !(flags & NODE_MAPPING))
			find_type(scan, id, start);
		scan_range(scan, from, to);
	}
	if (flags & NODE_OBJECT)
		ld__objects_give(scan->objects, id, scan->edges, scan->writer);
	ld__edges_end(scan->edges);
	while (*region < scan->regions->count && regions[*region].end <= start)
		++*region;
	if (*region < scan->regions->count && regions[*region].start <= start &&
	    regions[*region].kind != STREAM_MAP_PYTHON)
		regions[*region].live_bytes += live;
}

int ld__scan_nodes(struct scan *scan, struct writer *writer)
{
	uint64_t span = 0;
	uint32_t region = 0;

	scan->edges = ld__edges_new(writer, false);
	if (!scan->edges)
		return -ENOMEM;
	scan->exact = false;
	scan->writer = writer;
	ld__writer_section(writer, STREAM_EDGES);
	for (uint32_t id = 0; id < scan->nodes->count; id++) {
		if (id % EXPIRY_CHECK == 0 && (ld__fault_expired || ld__writer_error(writer))) {
			scan->cut_short = true;
			break;
		}
		scan_node(scan, id, &span, &region);
	}
	scan->edge_count = ld__edges_count(scan->edges);
	ld__edges_free(scan->edges);
	return ld__writer_error(writer);
}

/* ---- roots ---- */

/* A root without what threads' own roots cover and, if asked, without the blocks in it. */
static void scan_root_memory(struct scan *scan, const struct region_root *root)
{
	const struct regions *regions = scan->regions;
	const struct nodes *nodes = scan->nodes;
	uint64_t at = root->start;

	if (root->gaps) {
		for (uint32_t id = ld__nodes_lower_bound(nodes, root->start);
		     id < nodes->count && nodes->addr[id] < root->end; id++) {
			if (nodes->flags[id] & NODE_FOLDED && nodes->flags[id] & NODE_MAPPING)
				continue;
			if (nodes->addr[id] > at)
				scan_resident(scan, at, nodes->addr[id]);
			at = node_end(nodes, id);
		}
		scan_resident(scan, at, root->end);
		return;
	}
	if (root->kind == STREAM_ROOT_MAPPING)
		for (uint32_t i = 0; i < regions->hole_count && regions->holes[i].start < root->end;
		     i++) {
			if (regions->holes[i].end <= at)
				continue;
			if (regions->holes[i].start > at)
				scan_resident(scan, at, regions->holes[i].start);
			at = regions->holes[i].end;
		}
	if (at < root->end)
		scan_resident(scan, at, root->end);
}

static void scan_registers(struct scan *scan, const struct region_root *root)
{
	const uint64_t *registers = (const uint64_t *)(uintptr_t)root->start;

	for (uint32_t i = 0; i < STREAM_REGISTERS - 1; i++) {	/* the last one is the flags */
		uint64_t offset = 0;
		uint32_t target = ld__nodes_find(scan->nodes, registers[i], &offset);

		if (target != STREAM_NONE &&
		    (!(scan->nodes->flags[target] & NODE_OBJECT) || ld__objects_held(registers[i])))
			ld__edges_add(scan->edges, STREAM_LABEL_OFFSET, i, target, offset);
	}
}

int ld__scan_roots(struct scan *scan, struct writer *writer)
{
	scan->edges = ld__edges_new(writer, true);
	if (!scan->edges)
		return -ENOMEM;
	scan->label_base = 0;
	scan->self = STREAM_NONE;
	ld__writer_section(writer, STREAM_ROOT_EDGES);
	for (uint32_t id = 0; id < scan->regions->root_count; id++) {
		const struct region_root *root = &scan->regions->roots[id];

		if (ld__fault_expired || ld__writer_error(writer)) {
			scan->cut_short = true;
			break;
		}
		scan->exact = root->exact;
		ld__edges_begin(scan->edges, id);
		if (root->kind == STREAM_ROOT_REGISTER)
			scan_registers(scan, root);
		else
			scan_root_memory(scan, root);
		ld__edges_end(scan->edges);
	}
	if (scan->objects && !scan->cut_short)
		ld__objects_give_roots(scan->objects, scan->regions->root_count, scan->edges,
				       writer);
	scan->root_edge_count = ld__edges_count(scan->edges);
	ld__edges_free(scan->edges);
	return ld__writer_error(writer);
}
