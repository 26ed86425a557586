/* SPDX-License-Identifier: Apache-2.0
 * L5  objects.c - see objects.h.
 *
 * Nearly nothing is kept for an object beside what python*.c keep: ids and indices both ascend with addresses, so
 * a row of objects in an arena is a row of nodes, and one word says where both begin. Elsewhere an object's node is
 * found by its address. A node's object is the first one behind its beginning. Names go through a small cache, since a million
 * instances share a dozen attribute names. */
#include "objects.h"

#include "kernel.h"
#include "live.h"
#include "modules.h"
#include "python.h"
#include "stream.h"

#define NAMES 4096u			/* cache slots, a power of two */
#define FIRST_ROOM 65536u
#define SEGMENTS_MAX 8192u
#define ROW 16u				/* objects */
#define ROW_WHOLE (1u << 31)		/* their nodes follow each other */

struct segment {
	uint64_t start, end;
};

struct type {
	uint64_t addr;
	uint32_t index;			/* in TYPES */
	uint32_t values_index;		/* of blocks that hold its instances' attributes; 0 = not made yet */
	uint32_t dict_index;		/* of dicts that belong to its instances; 0 = not made yet */
};

struct name {
	uint64_t id;
	uint32_t offset;
};

struct objects {
	uint32_t count;
	uint32_t *rows;			/* node of the first of ROW objects, and ROW_WHOLE; else 0 */
	struct segment *segments;	/* writable parts of modules, ascending */
	uint32_t segment_count;
	struct type *types;		/* by type_index */
	uint64_t type_room;
	struct nodes *nodes;
	struct name names[NAMES];
	uint64_t refused;		/* types without room */
	uint64_t placed, placed_bytes;	/* objects in arenas */
	uint64_t arenas, arena_bytes, arena_used_bytes;

	/* the pass at hand */
	struct rtti *rtti;
	uint32_t origin;
	struct edges *edges;
	struct writer *writer;
	const struct stop *stop;
	uint32_t root, root_count;
	bool root_begun;
};

/* ---- tables ---- */

/* Room for one more element; the kernel moves pages, nothing is copied. */
static void *grown(void *at, uint64_t *room, uint64_t count, size_t element)
{
	uint64_t bigger = *room ? *room * 2 : FIRST_ROOM;
	long r;

	if (count < *room)
		return at;
	r = at ? ld__sys4(SYS_mremap, at, PAGE_UP(*room * element), PAGE_UP(bigger * element), MREMAP_MAYMOVE)
	       : (long)(uintptr_t)kernel_map(bigger * element);
	if (!r || ld__sys_failed(r))
		return NULL;
	*room = bigger;
	return (void *)r;
}

static void list_segments(struct objects *objects)
{
	struct segment *all = objects->segments;
	uint32_t n = 0;

	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth != UINT64_MAX)
			continue;
		for (uint32_t s = 0; s < module->segment_count && n < SEGMENTS_MAX; s++)
			all[n++] = (struct segment) { module->segments[s].start, module->segments[s].end };
	}
	for (uint32_t i = 1; i < n; i++) {
		struct segment held = all[i];
		uint32_t j = i;

		for (; j && all[j - 1].start > held.start; j--)
			all[j] = all[j - 1];
		all[j] = held;
	}
	objects->segment_count = n;
}

static bool is_static(const struct objects *objects, uint64_t addr)
{
	uint32_t low = 0, high = objects->segment_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (objects->segments[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < objects->segment_count && objects->segments[low].start <= addr;
}

static void take_type(struct objects *objects, const struct python_object *object)
{
	while (object->type_index >= objects->type_room) {
		struct type *types = grown(objects->types, &objects->type_room, objects->type_room,
					   sizeof(*types));

		if (!types) {
			objects->refused++;
			return;
		}
		objects->types = types;
	}
	objects->types[object->type_index].addr = object->type;
}

static void offer_block(const struct live_block *block, void *data)
{
	(void)data;
	if (STREAM_NODE_KIND(block->kind) != STREAM_NODE_MAPPING)
		ld__python_adopt(block->addr, block->bytes);
}

static void offer_blocks(void *data)
{
	ld__live_visit(offer_block, data);
}

struct objects *ld__objects_new(void)
{
	struct objects *objects = kernel_map(sizeof(*objects));

	if (!objects)
		return NULL;
	objects->segments = kernel_map(SEGMENTS_MAX * sizeof(*objects->segments));
	if (!objects->segments || ld__python_child_begin() < 0)
		return NULL;
	list_segments(objects);
	objects->count = (uint32_t)ld__python_enumerate(offer_blocks, NULL);
	objects->rows = kernel_map((objects->count / ROW + 1ull) * sizeof(*objects->rows));
	return objects->rows ? objects : NULL;
}

uint32_t ld__objects_count(const struct objects *objects)
{
	return objects->count;
}

struct list {
	struct objects *objects;
	void (*visit)(uint64_t addr, uint64_t own_bytes, void *data);
	void *data;
};

static void list_object(const struct python_object *object, void *data)
{
	struct list *list = data;

	take_type(list->objects, object);
	if (!is_static(list->objects, object->object))
		list->visit(object->addr, object->own_bytes, list->data);
}

void ld__objects_list(void (*visit)(uint64_t addr, uint64_t own_bytes, void *data), void *data, void *objects)
{
	struct list list = { objects, visit, data };

	ld__python_objects(list_object, &list);
}

/* ---- joining ---- */

void ld__objects_find_arenas(struct objects *objects, struct nodes *nodes)
{
	for (uint32_t i = 0; i < nodes->mapping_count; i++) {
		struct node_mapping *mapping = &nodes->mappings[i];
		uint64_t used;

		if (!ld__python_arena(mapping->start, mapping->end, &used))
			continue;
		nodes->flags[mapping->node] |= NODE_POOLS | NODE_FOLDED | NODE_ARENA;
		mapping->used_bytes = (uint32_t)used;
		objects->arenas++;
		objects->arena_bytes += mapping->end - mapping->start;
		objects->arena_used_bytes += used;
	}
}

/* The node of an object by its address; STREAM_NONE = it is part of the interpreter's own data. */
static uint32_t node_at(const struct nodes *nodes, uint64_t object)
{
	uint64_t offset;
	uint32_t node = ld__nodes_find(nodes, object, &offset);

	return node != STREAM_NONE && nodes->flags[node] & NODE_OBJECT ? node : STREAM_NONE;
}

static uint32_t node_of(const struct objects *objects, uint32_t index)
{
	uint32_t row = objects->rows[index / ROW];

	return row ? (row & ~ROW_WHOLE) + index % ROW : node_at(objects->nodes, ld__python_address(index));
}

static uint32_t object_of(const struct nodes *nodes, uint32_t node)
{
	return ld__python_index_from(nodes->addr[node]);
}

/* "attributes of X": a buffer that its owner's size does not count is a thing of its own. */
static uint32_t values_type(struct objects *objects, uint32_t object, const char *what)
{
	struct type *type = &objects->types[ld__python_type_index(object)];
	bool dict = what[0] == 'd' && what[1] == 'i';
	uint32_t *index = dict ? &type->dict_index : &type->values_index;
	char name[256];

	if (!*index) {
		ld__text_format(name, sizeof(name), 0, "%s of %s", what, ld__python_type_name(type->addr));
		*index = ld__rtti_add(objects->rtti, type->addr + (dict ? 2 : 1), name, STREAM_TYPE_PYTHON) + 1;
	}
	return *index;
}

/* The node that a buffer fills; STREAM_NONE = it lies in an arena. */
static uint32_t buffer_node(const struct nodes *nodes, uint64_t addr, uint64_t *ret_offset)
{
	uint32_t node = ld__nodes_find(nodes, addr, ret_offset);

	return node != STREAM_NONE && nodes->flags[node] & (NODE_MAPPING | NODE_OBJECT) ? STREAM_NONE : node;
}

static void mark_buffer(const struct python_buffer *buffer, void *data)
{
	struct objects *objects = data;
	struct nodes *nodes = objects->nodes;
	uint64_t offset;
	uint32_t node = ld__nodes_find(nodes, buffer->addr, &offset);

	if (node == STREAM_NONE || nodes->flags[node] & NODE_MAPPING)
		return;
	if (nodes->flags[node] & NODE_OBJECT) {		/* an object's own dict: a node, with a telling name */
		if (buffer->what)
			nodes->type[node] = values_type(objects, buffer->index, buffer->what);
		return;
	}
	nodes->flags[node] |= NODE_OWNED | (buffer->what ? 0 : NODE_FOLDED);
	if (buffer->what)
		nodes->type[node] = values_type(objects, buffer->index, buffer->what);
}

/* Was it only Python that knew of this object? Then it counts as one, not as a block. */
static bool is_python(const struct nodes *nodes, uint32_t node)
{
	return nodes->flags[node] & NODE_INNER || nodes->kind[node] == STREAM_NODE_PYTHON;
}

void ld__objects_join(struct objects *objects, struct nodes *nodes, struct rtti *rtti)
{
	objects->nodes = nodes;
	objects->rtti = rtti;
	for (uint64_t i = 0; i < objects->type_room; i++)
		if (objects->types[i].addr)
			objects->types[i].index = ld__rtti_add(rtti, objects->types[i].addr,
							       ld__python_type_name(objects->types[i].addr),
							       STREAM_TYPE_PYTHON);
	for (uint32_t i = 0; i < objects->count; i++) {
		uint32_t node = node_at(nodes, ld__python_address(i)), *row = &objects->rows[i / ROW];

		if (i % ROW == 0)
			*row = node < ROW_WHOLE - ROW ? node | ROW_WHOLE : 0;
		else if (*row && node != (*row & ~ROW_WHOLE) + i % ROW)
			*row = 0;
		ld__python_buffers(i, mark_buffer, objects);
	}
}

void ld__objects_describe(struct objects *objects, uint32_t node, struct object_facts *ret_facts)
{
	uint32_t object = object_of(objects->nodes, node), type = ld__python_type_index(object);

	ret_facts->bytes = ld__python_bytes(object);
	ret_facts->unexplained = ld__python_unexplained(object);
	ret_facts->type = objects->nodes->type[node] ? objects->nodes->type[node] - 1 :
			  type < objects->type_room ? objects->types[type].index : STREAM_NONE;
	if (is_python(objects->nodes, node)) {
		objects->placed++;
		objects->placed_bytes += ret_facts->bytes;
	}
}

bool ld__objects_held(uint64_t word)
{
	return ld__python_held(word);
}

/* ---- references ---- */

static uint32_t string_of(struct objects *objects, const struct python_reference *ref)
{
	struct name *name = &objects->names[(ref->text_id >> 4) & (NAMES - 1)];

	if (!ref->text_id)
		return ld__writer_string(objects->writer, ref->text, -1);
	if (name->id != ref->text_id)
		*name = (struct name) { ref->text_id, ld__writer_string(objects->writer, ref->text, -1) };
	return name->offset;
}

static void give_reference(const struct python_reference *ref, void *data)
{
	struct objects *objects = data;
	const struct nodes *nodes = objects->nodes;
	uint64_t offset = 0;
	uint32_t node;

	if (ref->is_object) {
		uint32_t row = objects->rows[ref->index / ROW];

		node = row ? (row & ~ROW_WHOLE) + ref->index % ROW : node_at(nodes, ref->target);
		if (node == STREAM_NONE)	/* None, a static type: no node */
			return;
	} else {
		node = ld__nodes_find(nodes, ref->target, &offset);
		if (node == STREAM_NONE || nodes->flags[node] & (NODE_OBJECT | NODE_OWNED | NODE_ARENA))
			return;
	}
	ld__edges_add(objects->edges, ref->label, ref->text ? (int64_t)string_of(objects, ref) : (int64_t)ref->value,
		      node, offset);
}

static void give_buffer(const struct python_buffer *buffer, void *data)
{
	struct objects *objects = data;
	uint64_t offset;
	uint32_t node = buffer_node(objects->nodes, buffer->addr, &offset);

	if (node != STREAM_NONE)
		ld__edges_add(objects->edges, STREAM_LABEL_OWNS, 0, node, offset);
}

void ld__objects_give(struct objects *objects, uint32_t node, struct edges *edges, struct writer *writer)
{
	uint32_t object = object_of(objects->nodes, node);

	objects->edges = edges;
	objects->writer = writer;
	ld__python_references(object, give_reference, objects);
	ld__python_buffers(object, give_buffer, objects);
}

static void take_origin(const struct python_buffer *buffer, void *data)
{
	struct objects *objects = data;
	uint64_t offset;

	if (!buffer->what && objects->origin == STREAM_NONE)
		objects->origin = buffer_node(objects->nodes, buffer->addr, &offset);
}

uint32_t ld__objects_origin(struct objects *objects, uint32_t node)
{
	objects->origin = STREAM_NONE;
	ld__python_buffers(object_of(objects->nodes, node), take_origin, objects);
	return objects->origin;
}

/* ---- roots ---- */

static bool is_placed(uint32_t index, void *data)
{
	return node_of(data, index) != STREAM_NONE;
}

/* Index in THREADS as it is written: threads that ended are left out. */
static uint32_t thread_of(const struct stop *stop, uint32_t tid, uint64_t thread_pointer)
{
	uint32_t id = 0;

	for (uint32_t i = 0; i < ld__stop_count(stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(stop, i);

		if (!thread)
			continue;
		if (tid ? thread->tid == tid : thread_pointer && thread->thread_pointer == thread_pointer)
			return id;
		id++;
	}
	return STREAM_NONE;
}

static void write_root(const struct python_root *root, void *data)
{
	struct objects *objects = data;
	struct stream_root out = {
		.start = root->start, .end = root->start, .kind = root->kind, .module = STREAM_NONE,
		.thread = root->kind == STREAM_ROOT_PY_FRAME ? thread_of(objects->stop, root->tid, root->thread_pointer) : STREAM_NONE,
		.name = ld__writer_string(objects->writer, root->name, -1),
	};

	ld__writer_put(objects->writer, &out, sizeof(out));
	objects->root_count++;
}

static void skip_reference(const struct python_reference *ref, void *data)
{
	(void)ref;
	(void)data;
}

uint32_t ld__objects_write_roots(struct objects *objects, struct writer *writer, const struct stop *stop)
{
	objects->writer = writer;
	objects->stop = stop;
	objects->root_count = 0;
	ld__python_roots(is_placed, write_root, skip_reference, objects);
	return objects->root_count;
}

static void begin_root(const struct python_root *root, void *data)
{
	struct objects *objects = data;

	(void)root;
	if (objects->root_begun)
		ld__edges_end(objects->edges);
	ld__edges_begin(objects->edges, objects->root++);
	objects->root_begun = true;
}

void ld__objects_give_roots(struct objects *objects, uint32_t first, struct edges *edges,
			    struct writer *writer)
{
	objects->edges = edges;
	objects->writer = writer;
	objects->root = first;
	objects->root_begun = false;
	ld__python_roots(is_placed, begin_root, give_reference, objects);
	if (objects->root_begun)
		ld__edges_end(edges);
}

/* ---- tracebacks ---- */

struct traces {
	struct writer *writer;
	const struct stop *stop;
	uint32_t count;
	bool frames;			/* second pass */
};

static void write_thread(const struct python_thread *thread, void *data)
{
	struct traces *traces = data;
	struct stream_pythread out = {
		.object = thread->object, .kind = thread->kind,
		.thread = thread->kind == PYTHON_TRACE_THREAD
			? thread_of(traces->stop, thread->tid, thread->thread_pointer) : STREAM_NONE,
	};

	traces->count++;
	if (traces->frames)
		return;
	out.name = ld__writer_string(traces->writer, thread->name, -1);
	out.state = ld__writer_string(traces->writer, thread->state, -1);
	ld__writer_put(traces->writer, &out, sizeof(out));
}

static void write_trace(const struct python_trace *trace, void *data)
{
	struct traces *traces = data;
	struct stream_pytrace out = { .owner = traces->count - 1, .line = trace->line };

	if (!traces->frames)
		return;
	out.function = ld__writer_string(traces->writer, trace->function, -1);
	out.file = ld__writer_string(traces->writer, trace->file, -1);
	out.locals = ld__writer_string(traces->writer, trace->locals, -1);
	ld__writer_put(traces->writer, &out, sizeof(out));
}

void ld__objects_write_traces(struct objects *objects, struct writer *writer, const struct stop *stop)
{
	struct traces traces = { .writer = writer, .stop = stop };

	(void)objects;
	ld__writer_section(writer, STREAM_PYTHREADS);
	ld__python_traces(write_thread, write_trace, &traces);
	traces.frames = true;
	traces.count = 0;
	ld__writer_section(writer, STREAM_PYTRACES);
	ld__python_traces(write_thread, write_trace, &traces);
}

static void write_cache(const struct python_cache *cache, void *data)
{
	struct objects *objects = data;
	struct stream_pycache out = {
		.node = node_of(objects, cache->index), .entries = cache->entries, .maxsize = cache->maxsize,
		.hits = cache->hits, .misses = cache->misses,
	};

	if (out.node != STREAM_NONE)
		ld__writer_put(objects->writer, &out, sizeof(out));
}

void ld__objects_write_caches(struct objects *objects, struct writer *writer)
{
	objects->writer = writer;
	ld__writer_section(writer, STREAM_PYCACHES);
	ld__python_caches(write_cache, objects);
}

static void write_fact(const char *key, const char *value, void *data)
{
	ld__writer_meta(data, key, value);
}

void ld__objects_write_meta(struct objects *objects, struct writer *writer)
{
	ld__python_facts(write_fact, writer);
	ld__writer_meta_number(writer, "python_arenas", objects->arenas);
	ld__writer_meta_number(writer, "python_arena_bytes", objects->arena_bytes);
	ld__writer_meta_number(writer, "python_arena_used_bytes", objects->arena_used_bytes);
}

void ld__objects_write_sums(struct objects *objects, struct writer *writer)
{
	ld__writer_meta_number(writer, "objects", objects->placed);
	ld__writer_meta_number(writer, "object_bytes", objects->placed_bytes);
	if (objects->refused)
		ld__writer_meta_number(writer, "objects_refused", objects->refused);
}
