/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_roots.c - root regions split into what a person can name: a variable, a stack frame, ...
 *
 * The stream has one root a region (a module's data, a thread's stack) and a slot address with each
 * reference. Each slot becomes part of a named root, made when its first slot is met:
 *
 *   module data   the symbol that covers the slot, else its section
 *   stack         the local variable, else the frame whose [cfa of the inner frame, cfa) holds it; what no
 *                 variable covers is a root of its own where the function's variables are known
 *   TLS           the thread-local variable, else "thread-local storage" of the thread
 *   others        the region itself
 *
 * A root without references is not made: it holds nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/heap.h"
#include "core/ingest_parts.h"
#include "core/symbols_types.h"
#include "core/text.h"

/* What makes two slots one root. */
struct key { uint32_t region, part; uint64_t start; };

struct local { uint64_t pc; int64_t offset; int found; struct symbols_declaration declaration; };
#define LOCALS 1024u			/* answers remembered; a power of two */

struct maker {
	struct ingest_roots *out;
	struct code *code;
	struct layouts *layouts;
	const struct stream *stream;
	struct key *keys;		/* of each root */
	struct hash_index index;	/* by key */
	uint64_t root_capacity;
	bool *one_slot;			/* of each root: a section of which only one slot was seen */

	/* frames of each thread, innermost first: tracebacks sorted by thread and depth */
	uint32_t *frame_order;
	uint32_t *first_frame;		/* per thread, thread_count + 1 */
	uint64_t *reach;		/* highest cfa of this frame and the inner ones: ascends */

	uint32_t *tls_modules;		/* with static TLS and still mapped, by its offset */
	uint32_t tls_module_count;
	uint32_t *map_order;		/* mappings by start */

	struct local *locals;		/* of frames' slots, by pc and offset */

	/* the last answer, for the next slot of the same variable */
	uint32_t last_region, last_root;
	uint64_t last_start, last_end;
};

#define PART_NONE UINT32_MAX
#define PART_SECTION (UINT32_MAX - 1)
#define START_UNNAMED 1u		/* of a frame's words that no variable covers: no slot begins there */

enum { LOCAL_UNKNOWN = 0, LOCAL_FOUND, LOCAL_UNNAMED };

static const char *intern(struct maker *maker, char *text)
{
	const char *name = strings_intern(maker->code->strings, text);

	free(text);
	return name;
}

/* ---- threads ---- */

static int name_threads(struct maker *maker)
{
	const struct stream *stream = maker->stream;

	maker->out->thread_names =
		calloc(stream->thread_count + 1ull, sizeof(*maker->out->thread_names));
	if (!maker->out->thread_names)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->thread_count; i++) {
		const struct stream_thread *thread = &stream->threads[i];
		const char *name = stream_string(stream, thread->name);

		maker->out->thread_names[i] = thread->flags & 1 ?
			strings_intern(maker->code->strings, "main") :
			intern(maker, *name ? text_format("%s (tid %u)", name, thread->tid) :
					      text_format("tid %u", thread->tid));
		if (!maker->out->thread_names[i])
			return -ENOMEM;
	}
	return 0;
}

static int compare_tracebacks(const void *pa, const void *pb, void *data)
{
	const struct stream_frame *frames = data;
	const struct stream_frame *a = &frames[*(const uint32_t *)pa],
				  *b = &frames[*(const uint32_t *)pb];

	if (a->thread != b->thread)
		return a->thread < b->thread ? -1 : 1;
	return a->depth < b->depth ? -1 : a->depth > b->depth;
}

static int sort_tracebacks(struct maker *maker)
{
	const struct stream *stream = maker->stream;
	uint32_t at = 0;

	maker->frame_order = calloc(stream->traceback_count + 1ull, sizeof(*maker->frame_order));
	maker->first_frame = calloc(stream->thread_count + 2ull, sizeof(*maker->first_frame));
	maker->reach = calloc(stream->traceback_count + 1ull, sizeof(*maker->reach));
	if (!maker->frame_order || !maker->first_frame || !maker->reach)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->traceback_count; i++)
		maker->frame_order[i] = i;
	if (stream->traceback_count)
		qsort_r(maker->frame_order, stream->traceback_count, sizeof(*maker->frame_order),
			compare_tracebacks, stream->tracebacks);
	for (uint32_t thread = 0; thread <= stream->thread_count; thread++) {
		while (at < stream->traceback_count &&
		       stream->tracebacks[maker->frame_order[at]].thread < thread)
			at++;
		maker->first_frame[thread] = at;
	}
	for (uint32_t i = 0; i < stream->traceback_count; i++) {
		const struct stream_frame *frame = &stream->tracebacks[maker->frame_order[i]];
		uint64_t inner = i > maker->first_frame[frame->thread] ? maker->reach[i - 1] : 0;

		maker->reach[i] = frame->cfa > inner ? frame->cfa : inner;
	}
	return 0;
}

static int compare_tls(const void *pa, const void *pb, void *data)
{
	const struct stream_module *modules = data;
	int64_t a = modules[*(const uint32_t *)pa].tls_offset,
		b = modules[*(const uint32_t *)pb].tls_offset;

	return a < b ? -1 : a > b;
}

static int compare_maps(const void *pa, const void *pb, void *data)
{
	const struct stream_map *maps = data;
	uint64_t a = maps[*(const uint32_t *)pa].start, b = maps[*(const uint32_t *)pb].start;

	return a < b ? -1 : a > b;
}

static int sort_modules_and_maps(struct maker *maker)
{
	const struct stream *stream = maker->stream;

	maker->tls_modules = calloc(stream->module_count + 1ull, sizeof(*maker->tls_modules));
	maker->map_order = calloc(stream->map_count + 1ull, sizeof(*maker->map_order));
	if (!maker->tls_modules || !maker->map_order)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->module_count; i++)
		if (stream->modules[i].tls_offset != INT64_MIN &&
		    stream->modules[i].last_birth == UINT64_MAX)
			maker->tls_modules[maker->tls_module_count++] = i;
	for (uint32_t i = 0; i < stream->map_count; i++)
		maker->map_order[i] = i;
	qsort_r(maker->tls_modules, maker->tls_module_count, sizeof(uint32_t), compare_tls,
		stream->modules);
	qsort_r(maker->map_order, stream->map_count, sizeof(uint32_t), compare_maps, stream->maps);
	return 0;
}

static int locate_frame(struct maker *maker, const struct stream_frame *frame,
			uint32_t *ret_location)
{
	/* threads run in what is mapped now */
	uint32_t module = code_module_at(maker->code, frame->pc);
	uint32_t generation = module == STREAM_NONE ? 0 : maker->stream->modules[module].generation;

	return code_locate(maker->code, frame->pc, (uint16_t)generation, frame->depth > 0,
			   ret_location);
}

/* Expand the threads' stacks into frames with names; a wrapper of ours is no place where the service stands. */
static int make_tracebacks(struct maker *maker)
{
	const struct stream *stream = maker->stream;
	uint64_t capacity = 0;
	uint32_t depth = 0;

	for (uint32_t i = 0; i < stream->traceback_count; i++) {
		const struct stream_frame *frame = &stream->tracebacks[maker->frame_order[i]];
		const struct code_location *location;
		uint32_t number;
		int r = locate_frame(maker, frame, &number);

		if (r < 0)
			return r;
		if (i == maker->first_frame[frame->thread])
			depth = 0;
		location = &maker->code->locations[number];
		for (uint32_t f = 0; f < location->count && !(location->role & CODE_SELF); f++) {
			if (maker->out->traceback_count == capacity) {
				struct ingest_frame *bigger;

				capacity = capacity ? capacity * 2 : 256;
				bigger = reallocarray(maker->out->tracebacks, capacity,
						      sizeof(*bigger));
				if (!bigger)
					return -ENOMEM;
				maker->out->tracebacks = bigger;
			}
			maker->out->tracebacks[maker->out->traceback_count++] =
				(struct ingest_frame){
					.thread = frame->thread,
					.depth = depth++,
					.frame = maker->code->frame_ids[location->first + f],
					.pc = frame->pc,
					.cfa = frame->cfa
				};
		}
	}
	return 0;
}

/* ---- roots ---- */

static uint32_t hash_key(const struct key *key)
{
	return hash_fold(key->start ^ (uint64_t)key->part << 32 ^ key->region);
}

static bool same_key(const void *owner, uint32_t number, const void *key)
{
	const struct key *a = &((const struct maker *)owner)->keys[number], *b = key;

	return a->region == b->region && a->part == b->part && a->start == b->start;
}

static int make_room(struct maker *maker)
{
	uint64_t capacity = maker->root_capacity ? maker->root_capacity * 2 : 128;
	struct ingest_root *roots;
	struct key *keys;
	bool *one_slot;

	if (maker->out->count < maker->root_capacity)
		return 0;
	keys = reallocarray(maker->keys, capacity, sizeof(*keys));
	roots = reallocarray(maker->out->roots, capacity, sizeof(*roots));
	one_slot = realloc(maker->one_slot, capacity * sizeof(*one_slot));
	if (keys)
		maker->keys = keys;
	if (roots)
		maker->out->roots = roots;
	if (one_slot)
		maker->one_slot = one_slot;
	if (!keys || !roots || !one_slot)
		return -ENOMEM;
	maker->root_capacity = capacity;
	return 0;
}

/* Find the root of a key. Returns 1 when it is new, with everything but its kind empty; 0; -ENOMEM. */
static int find_root(struct maker *maker, const struct stream_root *region, const struct key *key,
		     uint32_t *ret_root)
{
	uint32_t hash = hash_key(key), id = hash_index_find(&maker->index, hash, same_key, maker, key);

	if (id != HASH_NONE) {
		*ret_root = id;
		return 0;
	}
	if (make_room(maker) < 0 || hash_index_add(&maker->index, hash, maker->out->count) < 0)
		return -ENOMEM;
	id = maker->out->count++;
	maker->keys[id] = *key;
	maker->one_slot[id] = false;
	maker->out->roots[id] = (struct ingest_root){
		.kind = (enum stream_root_kind)region->kind, .name = "", .module = "", .thread = "" };
	*ret_root = id;
	return 1;
}

static const char *thread_name(const struct maker *maker, const struct stream_root *region)
{
	return region->thread == STREAM_NONE ? "" : maker->out->thread_names[region->thread];
}

/* A root that is a whole region. */
static int region_root(struct maker *maker, uint32_t number, const char *name, uint32_t *ret_root)
{
	const struct stream_root *region = &maker->stream->roots[number];
	struct key key = { number, PART_NONE, 0 };
	int r = find_root(maker, region, &key, ret_root);

	if (r > 0) {
		struct ingest_root *root = &maker->out->roots[*ret_root];

		root->name = name;
		root->thread = thread_name(maker, region);
		root->module = region->module == STREAM_NONE ?
				       "" :
				       maker->code->modules[region->module].name;
		root->start = region->start;
		root->end = region->end;
	}
	if (r < 0 || !name)
		return -ENOMEM;
	if (region->kind >= STREAM_ROOT_REGISTER) {	/* all slots of such a region are one root */
		maker->last_region = number;
		maker->last_root = *ret_root;
		maker->last_start = 0;
		maker->last_end = UINT64_MAX;
	}
	return 0;
}

/* What debug information says of the variable that a root is: its type, where it lies, where it is declared. */
static void declare(struct ingest_root *root, const struct layouts *layouts, const struct symbols_declaration *declaration,
		    uint64_t slot)
{
	uint64_t bytes = layouts->layouts[declaration->layout].bytes;

	root->layout = declaration->layout;
	root->start = slot - declaration->offset;
	if (bytes)
		root->end = root->start + bytes;
	root->file = *declaration->file ? declaration->file : NULL;
	root->line = declaration->line;
}

static int global_root(struct maker *maker, uint32_t number, uint64_t slot, uint32_t *ret_root)
{
	const struct stream_root *region = &maker->stream->roots[number];
	const struct code_module *module = &maker->code->modules[region->module];
	uint64_t base = maker->stream->modules[region->module].base;
	struct symbols_declaration declaration;
	struct symbols_variable variable;
	struct ingest_root *root;
	struct key key;
	int r, declared;

	r = symbols_variable(maker->code->symbols, module->file, slot - base, &variable);
	if (r < 0)
		return r;
	if (r == 0)
		return region_root(maker, number, module->name, ret_root);
	declared = symbols_variable_type(maker->code->symbols, module->file, slot - base, maker->layouts, &declaration);
	if (declared < 0)
		return declared;
	if (declared && variable.is_section && *declaration.name) {	/* no symbol, but debug information */
		variable = (struct symbols_variable){
			.name = declaration.name, .start = slot - declaration.offset - base,
			.end = slot - declaration.offset - base + maker->layouts->layouts[declaration.layout].bytes };
		if (variable.end <= slot - base)
			variable.end = slot - base + sizeof(uint64_t);
	}
	/* two regions of one module (.data, .bss) may share a section or, rarely, a variable */
	key = (struct key){ region->module, variable.is_section ? PART_SECTION : 0,
			    variable.start + base };
	r = find_root(maker, region, &key, ret_root);
	if (r < 0)
		return r;
	root = &maker->out->roots[*ret_root];
	if (r > 0) {
		root->name = variable.name;
		root->module = module->name;
		root->start = variable.start + base;
		root->end = variable.end + base;
		if (declared && !variable.is_section)
			declare(root, maker->layouts, &declaration, slot);
		if (variable.is_section) {	/* narrowed to the slot while it is the only one */
			maker->one_slot[*ret_root] = true;
			root->start = slot;
			root->end = slot + 8;
		}
	} else if (maker->one_slot[*ret_root] && slot != root->start) {
		maker->one_slot[*ret_root] = false;
		root->start = variable.start + base;
		root->end = variable.end + base;
	}
	if (!variable.is_section) {
		maker->last_region = number;
		maker->last_root = *ret_root;
		maker->last_start = root->start;
		maker->last_end = root->end;
	}
	return 0;
}

/* ".bss" with a single slot is ".bss+0x40". */
static int name_single_slots(struct maker *maker)
{
	for (uint32_t i = 0; i < maker->out->count; i++) {
		struct ingest_root *root = &maker->out->roots[i];

		if (!maker->one_slot[i])
			continue;
		root->name = intern(maker, text_format("%s+0x%llx", root->name,
						       (unsigned long long)(root->start -
									    maker->keys[i].start)));
		if (!root->name)
			return -ENOMEM;
	}
	return 0;
}

/* "handle_conn()", or "server+0x1234" where there is no name. */
static const char *frame_name(struct maker *maker, const struct code_location *location)
{
	/* the outermost of the inline frames is the function that has the stack frame */
	const struct code_frame *frame = &maker->code->frames[
		maker->code->frame_ids[location->first + location->count - 1]];

	if (strstr(frame->function, "+0x") || !strncmp(frame->function, "0x", 2))
		return frame->function;
	return intern(maker, text_format("%s()", frame->function));
}

/* The local variable that a slot of a frame belongs to. Threads that wait at one place have it at one place.
 * Returns LOCAL_FOUND, LOCAL_UNNAMED = none of the function's covers it, LOCAL_UNKNOWN, or -ENOMEM. */
static int find_local(struct maker *maker, const struct stream_frame *frame, uint64_t slot,
		      struct symbols_declaration *ret_declaration)
{
	struct local *memo;
	uint32_t module = code_module_at(maker->code, frame->pc);
	uint64_t pc = frame->pc - (frame->depth > 0);

	if (module == STREAM_NONE)
		return 0;
	memo = &maker->locals[hash_fold(hash_mix(pc, slot - frame->cfa)) & (LOCALS - 1)];
	if (memo->pc != pc || memo->offset != (int64_t)(slot - frame->cfa)) {
		memo->pc = pc;
		memo->offset = (int64_t)(slot - frame->cfa);
		memo->found = symbols_local_type(maker->code->symbols, maker->code->modules[module].file,
						 pc - maker->stream->modules[module].base, memo->offset, maker->layouts,
						 &memo->declaration);
		if (memo->found > 0)
			memo->found = *memo->declaration.name ? LOCAL_FOUND : LOCAL_UNNAMED;
	}
	*ret_declaration = memo->declaration;
	return memo->found;
}

static int stack_root(struct maker *maker, uint32_t number, uint64_t slot, uint32_t *ret_root)
{
	const struct stream_root *region = &maker->stream->roots[number];
	const struct stream_frame *frames = maker->stream->tracebacks;
	uint32_t low, high, first;
	struct ingest_root *root;
	struct key key;
	struct symbols_declaration declaration;
	uint32_t location, module;
	int r, local;

	if (region->thread == STREAM_NONE)
		return region_root(maker, number, "stack", ret_root);
	first = low = maker->first_frame[region->thread];
	high = maker->first_frame[region->thread + 1];
	/* the first frame that reaches beyond the slot */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (maker->reach[middle] <= slot)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == maker->first_frame[region->thread + 1])
		return region_root(maker, number, "stack", ret_root);
	local = find_local(maker, &frames[maker->frame_order[low]], slot, &declaration);
	if (local < 0)
		return local;
	key = (struct key){ number, low - first, local == LOCAL_FOUND ? slot - declaration.offset :
			    local == LOCAL_UNNAMED ? START_UNNAMED : 0 };
	r = find_root(maker, region, &key, ret_root);
	if (r <= 0)
		return r;
	r = locate_frame(maker, &frames[maker->frame_order[low]], &location);
	if (r < 0)
		return r;
	root = &maker->out->roots[*ret_root];
	root->name = frame_name(maker, &maker->code->locations[location]);
	root->thread = thread_name(maker, region);
	root->start = low > first ? maker->reach[low - 1] : region->start;
	root->end = frames[maker->frame_order[low]].cfa;
	module = code_module_at(maker->code, frames[maker->frame_order[low]].pc);
	if (module != STREAM_NONE)
		root->module = maker->code->modules[module].name;
	if (local == LOCAL_FOUND && root->name) {
		root->name = intern(maker, text_format("%s local %s", root->name, declaration.name));
		declare(root, maker->layouts, &declaration, slot);
	}
	if (local == LOCAL_UNNAMED && root->name)
		root->name = intern(maker, text_format("%s" HEAP_UNNAMED_SLOT, root->name));
	return root->name ? 0 : -ENOMEM;
}

/* The module whose static TLS block holds an offset from the thread pointer; STREAM_NONE = none. */
static uint32_t find_tls_module(const struct maker *maker, int64_t offset)
{
	const struct stream_module *modules = maker->stream->modules;
	uint32_t low = 0, high = maker->tls_module_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (modules[maker->tls_modules[middle]].tls_offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || (uint64_t)offset - (uint64_t)modules[maker->tls_modules[low - 1]].tls_offset >=
		    modules[maker->tls_modules[low - 1]].tls_bytes)
		return STREAM_NONE;
	return maker->tls_modules[low - 1];
}

static int tls_root(struct maker *maker, uint32_t number, uint64_t slot, uint32_t *ret_root)
{
	const struct stream *stream = maker->stream;
	const struct stream_root *region = &stream->roots[number];
	uint64_t pointer =
		region->thread == STREAM_NONE ? 0 : stream->threads[region->thread].thread_pointer;
	uint32_t module = pointer ? find_tls_module(maker, (int64_t)(slot - pointer)) : STREAM_NONE;
	struct symbols_declaration declaration;
	struct symbols_variable variable;
	struct ingest_root *root;
	struct key key;
	uint64_t start;
	int r;

	if (module == STREAM_NONE)
		return region_root(maker, number, "thread-local storage", ret_root);
	start = pointer + (uint64_t)stream->modules[module].tls_offset;
	r = symbols_tls(maker->code->symbols, maker->code->modules[module].file, slot - start,
			&variable);
	if (r < 0)
		return r;
	if (r == 0)
		return region_root(maker, number, "thread-local storage", ret_root);
	key = (struct key){ number, module, variable.start + start };
	r = find_root(maker, region, &key, ret_root);
	if (r <= 0)
		return r;
	root = &maker->out->roots[*ret_root];
	root->name = variable.name;
	root->module = maker->code->modules[module].name;
	root->thread = thread_name(maker, region);
	root->start = variable.start + start;
	root->end = variable.end + start;
	r = symbols_tls_type(maker->code->symbols, maker->code->modules[module].file, slot - start, maker->layouts,
			     &declaration);
	if (r > 0)
		declare(root, maker->layouts, &declaration, slot);
	return r < 0 ? r : 0;
}

/* Name of the mapping that holds an address; "" = none. */
static const char *map_name(const struct maker *maker, uint64_t addr)
{
	const struct stream *stream = maker->stream;
	uint32_t low = 0, high = stream->map_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (stream->maps[maker->map_order[middle]].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low && addr < stream->maps[maker->map_order[low - 1]].end ?
		stream_string(stream, stream->maps[maker->map_order[low - 1]].name) : "";
}

/* Path of a shared or unexplained mapping, or where it is. */
static const char *mapping_name(struct maker *maker, const struct stream_root *region)
{
	const char *name = stream_string(maker->stream, region->name);

	if (!*name)
		name = map_name(maker, region->start);
	if (*name)
		return strings_intern(maker->code->strings, name);
	return intern(maker, text_format("anonymous mapping at 0x%llx",
					 (unsigned long long)region->start));
}

static int find_slot_root(struct maker *maker, uint32_t number, uint64_t slot, uint32_t *ret_root)
{
	const struct stream_root *region = &maker->stream->roots[number];
	const char *name = stream_string(maker->stream, region->name);

	if (number == maker->last_region && slot >= maker->last_start && slot < maker->last_end) {
		*ret_root = maker->last_root;
		return 0;
	}
	switch (region->kind) {
	case STREAM_ROOT_GLOBAL:
		if (region->module != STREAM_NONE)
			return global_root(maker, number, slot, ret_root);
		return region_root(maker, number, mapping_name(maker, region), ret_root);
	case STREAM_ROOT_STACK:
		return stack_root(maker, number, slot, ret_root);
	case STREAM_ROOT_TLS:
		return tls_root(maker, number, slot, ret_root);
	case STREAM_ROOT_REGISTER:
		return region_root(maker, number, "registers", ret_root);
	case STREAM_ROOT_MAPPING:
		return region_root(maker, number, mapping_name(maker, region), ret_root);
	default:
		return region_root(
			maker, number,
			strings_intern(maker->code->strings, *name ? name : "interpreter"),
			ret_root);
	}
}

/* Order by root, keeping the stream's order within each: counting, then placing. */
static int sort_edges(struct ingest_roots *out)
{
	uint64_t *start = calloc(out->count + 2ull, sizeof(*start));
	struct ingest_root_edge *sorted = reallocarray(NULL, out->edge_count + 1, sizeof(*sorted));

	if (!start || !sorted) {
		free(start);
		free(sorted);
		return -ENOMEM;
	}
	for (uint64_t e = 0; e < out->edge_count; e++)
		start[out->edges[e].root + 1]++;
	for (uint32_t i = 0; i < out->count; i++)
		start[i + 1] += start[i];
	for (uint64_t e = 0; e < out->edge_count; e++)
		sorted[start[out->edges[e].root]++] = out->edges[e];
	free(out->edges);
	free(start);
	out->edges = sorted;
	return 0;
}

static int read_edges(struct maker *maker)
{
	struct ingest_roots *out = maker->out;
	struct stream_cursor cursor;
	struct stream_edge edge;
	uint64_t capacity = maker->stream->end.root_edges;	/* checked: that many are there */
	int r;

	out->edges = reallocarray(NULL, capacity + 1, sizeof(*out->edges));
	if (!out->edges)
		return -ENOMEM;
	stream_cursor_start(maker->stream, true, &cursor);
	while ((r = stream_cursor_next(&cursor, &edge)) > 0) {
		struct ingest_root_edge *to = &out->edges[out->edge_count];

		r = find_slot_root(maker, edge.source, edge.value, &to->root);
		if (r < 0)
			return r;
		to->target = edge.target;
		to->value = edge.value;
		to->target_offset = edge.target_offset;
		to->label = (uint8_t)edge.label;
		to->interior = edge.interior;
		out->edge_count++;
	}
	return r < 0 ? r : sort_edges(out);
}

int ingest_roots_make(struct ingest_roots *roots, struct code *code, struct layouts *layouts)
{
	struct maker maker = { .out = roots, .code = code, .layouts = layouts, .stream = code->stream, .last_region = UINT32_MAX };
	int r;

	memset(roots, 0, sizeof(*roots));
	maker.locals = calloc(LOCALS, sizeof(*maker.locals));
	r = maker.locals ? name_threads(&maker) : -ENOMEM;
	if (r >= 0)
		r = sort_tracebacks(&maker);
	if (r >= 0)
		r = sort_modules_and_maps(&maker);
	if (r >= 0)
		r = make_tracebacks(&maker);
	if (r >= 0)
		r = read_edges(&maker);
	if (r >= 0)
		r = name_single_slots(&maker);
	free(maker.keys);
	hash_index_done(&maker.index);
	free(maker.one_slot);
	free(maker.frame_order);
	free(maker.first_frame);
	free(maker.reach);
	free(maker.tls_modules);
	free(maker.map_order);
	free(maker.locals);
	return r;
}

void ingest_roots_done(struct ingest_roots *roots)
{
	free(roots->roots);
	free(roots->edges);
	free(roots->thread_names);
	free(roots->tracebacks);
	memset(roots, 0, sizeof(*roots));
}
