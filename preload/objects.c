/* SPDX-License-Identifier: Apache-2.0
 * L4  objects.c - see objects.h.
 *
 * 36 bytes an object beside what python*.c keep. Names go through a small cache, since a million
 * instances share a dozen attribute names. */
#include "objects.h"

#include "kernel.h"
#include "modules.h"
#include "python.h"
#include "stream.h"

#define NAMES 4096u			/* cache slots, a power of two */
#define FIRST_ROOM 65536u
#define SEGMENTS_MAX 8192u

struct buffer {
	uint64_t addr;
	uint32_t object, node;
	const char *what;		/* see struct python_buffer */
};

struct segment {
	uint64_t start, end;
};

struct type {
	uint64_t addr;
	uint32_t index;			/* in TYPES */
	uint32_t values_index;		/* of blocks that hold its instances' attributes; 0 = not made yet */
};

struct name {
	uint64_t id;
	uint32_t offset;
};

struct objects {
	struct node_object *items;
	uint64_t count, room;
	struct buffer *buffers;		/* ascending by object */
	uint64_t buffer_count, buffer_room;
	struct segment *segments;	/* writable parts of modules, ascending */
	uint32_t segment_count;
	struct type *types;		/* by type_index */
	uint64_t type_room;
	struct nodes *nodes;
	struct name names[NAMES];
	uint64_t refused;

	/* the pass at hand */
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

static void take_object(const struct python_object *object, void *data)
{
	struct objects *objects = data;
	struct node_object *items = grown(objects->items, &objects->room, objects->count, sizeof(*items));

	if (!items || object->index != objects->count) {
		objects->refused++;
		return;
	}
	objects->items = items;
	items[objects->count++] = (struct node_object) {
		.addr = is_static(objects, object->object) ? 0 : object->addr,
		.own_bytes = object->own_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)object->own_bytes,
		.type = object->type_index, .node = STREAM_NONE,
	};
	while (object->type_index >= objects->type_room) {
		struct type *types = grown(objects->types, &objects->type_room, objects->type_room,
					   sizeof(*types));

		if (!types)
			return;
		objects->types = types;
	}
	objects->types[object->type_index] = (struct type) { object->type, STREAM_NONE, 0 };
}

static void take_buffer(const struct python_buffer *buffer, void *data)
{
	struct objects *objects = data;
	struct buffer *buffers = grown(objects->buffers, &objects->buffer_room, objects->buffer_count,
				       sizeof(*buffers));

	if (!buffers) {
		objects->refused++;
		return;
	}
	objects->buffers = buffers;
	buffers[objects->buffer_count++] = (struct buffer) {
		buffer->addr, buffer->index, STREAM_NONE, buffer->what,
	};
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
	ld__python_enumerate(take_object, take_buffer, objects);
	return objects;
}

struct node_object *ld__objects_list(struct objects *objects, uint32_t *ret_count)
{
	*ret_count = (uint32_t)objects->count;
	return objects->items;
}

/* ---- joining ---- */

/* "attributes of X": a buffer that its owner's size does not count is a thing of its own. */
static uint32_t values_type(struct objects *objects, struct rtti *rtti, uint32_t object, const char *what)
{
	struct type *type = &objects->types[objects->items[object].type];
	char name[256];

	if (!type->values_index) {
		ld__text_format(name, sizeof(name), 0, "%s of %s", what, ld__python_type_name(type->addr));
		type->values_index = ld__rtti_add(rtti, type->addr + 1, name, STREAM_TYPE_PYTHON) + 1;
	}
	return type->values_index - 1;
}

static void mark_buffers(struct objects *objects, struct rtti *rtti)
{
	struct nodes *nodes = objects->nodes;

	for (uint64_t i = 0; i < objects->buffer_count; i++) {
		struct buffer *buffer = &objects->buffers[i];
		uint64_t offset = 0;
		uint32_t node = ld__nodes_find(nodes, buffer->addr, &offset);

		if (node == STREAM_NONE || nodes->flags[node] & (NODE_MAPPING | NODE_OBJECT))
			continue;
		buffer->node = node;
		nodes->flags[node] |= NODE_OWNED | (buffer->what ? 0 : NODE_FOLDED);
		if (buffer->what)
			nodes->type[node] = values_type(objects, rtti, buffer->object, buffer->what);
	}
}

void ld__objects_join(struct objects *objects, struct nodes *nodes, struct rtti *rtti)
{
	objects->nodes = nodes;
	for (uint64_t i = 0; i < objects->type_room; i++)
		if (objects->types[i].addr)
			objects->types[i].index = ld__rtti_add(rtti, objects->types[i].addr,
							       ld__python_type_name(objects->types[i].addr),
							       STREAM_TYPE_PYTHON);
	for (uint64_t i = 0; i < objects->count; i++)
		if (objects->items[i].node != STREAM_NONE)
			nodes->type[objects->items[i].node] = objects->types[objects->items[i].type].index;
	mark_buffers(objects, rtti);
}

uint64_t ld__objects_bytes(const struct objects *objects, uint32_t node)
{
	return ld__python_bytes(objects->nodes->object[node]);
}

uint32_t ld__objects_unexplained(const struct objects *objects, uint32_t node)
{
	return ld__python_unexplained(objects->nodes->object[node]);
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
		node = objects->items[ref->index].node;
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

static uint64_t first_buffer(const struct objects *objects, uint32_t object)
{
	uint64_t low = 0, high = objects->buffer_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (objects->buffers[middle].object < object)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void ld__objects_give(struct objects *objects, uint32_t node, struct edges *edges, struct writer *writer)
{
	uint32_t object = objects->nodes->object[node];

	objects->edges = edges;
	objects->writer = writer;
	ld__python_references(object, give_reference, objects);
	for (uint64_t i = first_buffer(objects, object);
	     i < objects->buffer_count && objects->buffers[i].object == object; i++)
		if (objects->buffers[i].node != STREAM_NONE)
			ld__edges_add(edges, STREAM_LABEL_OWNS, 0, objects->buffers[i].node,
				      objects->buffers[i].addr -
					      objects->nodes->extents[objects->buffers[i].node].addr);
}

uint32_t ld__objects_origin(const struct objects *objects, uint32_t node)
{
	uint32_t object = objects->nodes->object[node];

	for (uint64_t i = first_buffer(objects, object);
	     i < objects->buffer_count && objects->buffers[i].object == object; i++)
		if (objects->buffers[i].node != STREAM_NONE && !objects->buffers[i].what)
			return objects->buffers[i].node;
	return STREAM_NONE;
}

/* ---- roots ---- */

static bool is_placed(uint32_t index, void *data)
{
	return ((struct objects *)data)->items[index].node != STREAM_NONE;
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
		.node = objects->items[cache->index].node, .entries = cache->entries, .maxsize = cache->maxsize,
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
	uint64_t count = 0, bytes = 0;

	for (uint64_t i = 0; i < objects->count; i++) {
		uint32_t node = objects->items[i].node;

		if (node == STREAM_NONE || (objects->nodes->source[node] != STREAM_NONE &&
		    objects->nodes->blocks[objects->nodes->source[node]].kind != STREAM_NODE_PYTHON))
			continue;
		count++;
		bytes += ld__python_bytes((uint32_t)i);
	}
	ld__python_facts(write_fact, writer);
	ld__writer_meta_number(writer, "objects", count);
	ld__writer_meta_number(writer, "object_bytes", bytes);
	if (objects->refused)
		ld__writer_meta_number(writer, "objects_refused", objects->refused);
}
