/* SPDX-License-Identifier: Apache-2.0
 * stream_builder.h - makes capture streams for tests and benchmarks, without a service.
 *
 *   struct builder b = { 0 };
 *   builder_meta(&b, "pid", "42");
 *   builder_node(&b, &(struct stream_node){ .addr = 0x1000, .bytes = 16, ... });
 *   builder_edge(&b, false, 0, STREAM_LABEL_OFFSET, 8, 1, 0);     sources ascending
 *   size_t size; uint8_t *bytes = builder_finish(&b, &size);      free(bytes)
 *
 * It encodes on its own, straight from preload/stream.h, so that a test of the reader does not share
 * its mistakes. A builder that runs out of memory ends the program: it is only for tests. */
#ifndef LEAKDIFF_STREAM_BUILDER_H
#define LEAKDIFF_STREAM_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../preload/stream.h"

struct builder_bytes { uint8_t *data; size_t count, capacity; };

struct builder_edges {			/* one of EDGES, ROOT_EDGES */
	struct builder_bytes done;	/* finished chunks, with headers */
	struct builder_bytes chunk;	/* sources finished in this chunk */
	struct builder_bytes source;	/* references of the current source */
	uint32_t last_source, current;
	uint32_t count;			/* of the current source */
	uint32_t label, target;
	uint64_t value, total;
	bool open, chunk_begun;
};

struct builder {
	struct builder_bytes sections[32];	/* payloads by enum stream_type, END excepted */
	struct builder_edges edges[2];
	struct stream_end end;
	uint16_t major, minor;			/* 0 = the current version */
	size_t chunk_max;			/* 0 = STREAM_CHUNK_MAX; smaller makes more chunks */
};

static inline void builder_append(struct builder_bytes *to, const void *bytes, size_t count)
{
	if (to->count + count > to->capacity) {
		size_t capacity = to->capacity ? to->capacity : 256;

		while (capacity < to->count + count)
			capacity *= 2;
		to->data = realloc(to->data, capacity);
		if (!to->data)
			abort();
		to->capacity = capacity;
	}
	if (count)
		memcpy(to->data + to->count, bytes, count);
	to->count += count;
}

static inline void builder_varint(struct builder_bytes *to, uint64_t value)
{
	uint8_t buffer[10];
	size_t n = 0;

	do {
		buffer[n] = value & 0x7f;
		value >>= 7;
		if (value)
			buffer[n] |= 0x80;
		n++;
	} while (value);
	builder_append(to, buffer, n);
}

static inline uint64_t builder_zigzag(uint64_t difference)
{
	return (int64_t)difference < 0 ? ~(difference << 1) : difference << 1;
}

static inline uint32_t builder_crc(const uint8_t *bytes, size_t count)
{
	static uint32_t table[256];
	uint32_t crc = 0xffffffffu;

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
			table[i] = c;
		}
	while (count--)
		crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
	return ~crc;
}

static inline void builder_chunk(struct builder_bytes *to, uint32_t type, const uint8_t *payload, size_t count)
{
	struct stream_chunk chunk = { type, builder_crc(payload, count), count };

	builder_append(to, &chunk, sizeof(chunk));
	builder_append(to, payload, count);
}

static inline void builder_meta(struct builder *b, const char *key, const char *value)
{
	builder_append(&b->sections[STREAM_META], key, strlen(key) + 1);
	builder_append(&b->sections[STREAM_META], value, strlen(value) + 1);
}

/* Offset of a name in the string table; the same name is stored again each time. */
static inline uint32_t builder_string(struct builder *b, const char *name)
{
	struct builder_bytes *strings = &b->sections[STREAM_STRINGS];
	size_t offset;

	if (!strings->count)
		builder_append(strings, "", 1);
	offset = strings->count;
	builder_append(strings, name, strlen(name) + 1);
	return (uint32_t)offset;
}

/* Append one element to the section of arrays `type`; returns its index. */
#define builder_add(b, type, ...)                                                                   \
	builder_add_bytes(b, type, &(__VA_ARGS__), sizeof(__VA_ARGS__))
static inline uint32_t builder_add_bytes(struct builder *b, uint32_t type, const void *element, size_t size)
{
	builder_append(&b->sections[type], element, size);
	return (uint32_t)(b->sections[type].count / size) - 1;
}

static inline uint32_t builder_node(struct builder *b, const struct stream_node *node)
{
	b->end.nodes++;
	return builder_add_bytes(b, STREAM_NODES, node, sizeof(*node));
}

/* A malloc block, no type. */
static inline uint32_t builder_block(struct builder *b, uint64_t addr, uint64_t bytes, uint64_t birth,
				     uint32_t stack)
{
	return builder_node(b, &(struct stream_node){
		.addr = addr, .bytes = bytes, .birth = birth, .stack = stack, .type = STREAM_NONE,
		.thread = 1, .kind = STREAM_NODE_MALLOC, .weight = 1 });
}

static inline uint32_t builder_root(struct builder *b, const struct stream_root *root)
{
	b->end.roots++;
	return builder_add_bytes(b, STREAM_ROOTS, root, sizeof(*root));
}

/* Returns the stack id. */
static inline uint32_t builder_stack(struct builder *b, uint64_t pc, uint32_t parent, uint16_t flags)
{
	b->end.stacks++;
	return builder_add_bytes(b, STREAM_STACKS,
				 &(struct stream_stack){ .pc = pc, .parent = parent, .flags = flags },
				 sizeof(struct stream_stack)) + 1;
}

static inline void builder_close_chunk(struct builder_edges *e, uint32_t type)
{
	if (e->chunk.count)
		builder_chunk(&e->done, type, e->chunk.data, e->chunk.count);
	e->chunk.count = 0;
	e->chunk_begun = false;
}

static inline void builder_close_source(struct builder *b, bool root)
{
	struct builder_edges *e = &b->edges[root];
	size_t max = b->chunk_max ? b->chunk_max : STREAM_CHUNK_MAX;

	if (!e->open)
		return;
	if (e->chunk.count && e->chunk.count + e->source.count + 20 > max)
		builder_close_chunk(e, root ? STREAM_ROOT_EDGES : STREAM_EDGES);
	builder_varint(&e->chunk, e->chunk_begun ? e->current - e->last_source : e->current);
	builder_varint(&e->chunk, e->count);
	builder_append(&e->chunk, e->source.data, e->source.count);
	e->last_source = e->current;
	e->chunk_begun = true;
	e->source.count = 0;
	e->open = false;
}

/* A reference; target_offset > 0 makes it an interior one. */
static inline void builder_edge(struct builder *b, bool root, uint32_t source, uint32_t label,
				uint64_t value, uint32_t target, uint64_t target_offset)
{
	struct builder_edges *e = &b->edges[root];
	size_t max = b->chunk_max ? b->chunk_max : STREAM_CHUNK_MAX;
	bool full = e->open && e->source.count + 80 > max;

	if (e->open && (e->current != source || full))
		builder_close_source(b, root);
	if (full)				/* the same source goes on in the next chunk */
		builder_close_chunk(e, root ? STREAM_ROOT_EDGES : STREAM_EDGES);
	if (!e->open) {
		e->open = true;
		e->current = source;
		e->count = 0;
		e->label = STREAM_LABELS;
		e->target = root ? 0 : source;
	}
	builder_varint(&e->source, label << 1 | (target_offset > 0));
	builder_varint(&e->source, builder_zigzag(value - (label == e->label ? e->value : 0)));
	builder_varint(&e->source, builder_zigzag((uint64_t)target - e->target));
	if (target_offset)
		builder_varint(&e->source, target_offset);
	e->label = label;
	e->value = value;
	e->target = target;
	e->count++;
	if (root)
		b->end.root_edges++;
	else
		b->end.edges++;
}

/* The whole stream; the builder is emptied. */
static inline uint8_t *builder_finish(struct builder *b, size_t *ret_size)
{
	static const uint32_t element[32] = {
		[STREAM_MODULES] = sizeof(struct stream_module), [STREAM_SEGMENTS] = sizeof(struct stream_segment),
		[STREAM_MAPS] = sizeof(struct stream_map), [STREAM_THREADS] = sizeof(struct stream_thread),
		[STREAM_TRACEBACKS] = sizeof(struct stream_frame), [STREAM_STACKS] = sizeof(struct stream_stack),
		[STREAM_TYPES] = sizeof(struct stream_type_name), [STREAM_NODES] = sizeof(struct stream_node),
		[STREAM_ROOTS] = sizeof(struct stream_root), [STREAM_CLOCK] = sizeof(struct stream_clock),
		[STREAM_PYFRAMES] = sizeof(struct stream_pyframe),
		[STREAM_PYTHREADS] = sizeof(struct stream_pythread),
		[STREAM_PYTRACES] = sizeof(struct stream_pytrace),
		[STREAM_PYCACHES] = sizeof(struct stream_pycache), [STREAM_ARENAS] = sizeof(struct stream_arena),
	};
	struct stream_header header = { .major = b->major ? b->major : STREAM_MAJOR,
					.minor = b->minor ? b->minor : STREAM_MINOR,
					.header_bytes = sizeof(header) };
	size_t max = b->chunk_max ? b->chunk_max : STREAM_CHUNK_MAX;
	struct builder_bytes out = { 0 };

	memcpy(header.magic, STREAM_MAGIC, sizeof(header.magic));
	builder_append(&out, &header, sizeof(header));
	if (!b->sections[STREAM_META].count)
		builder_meta(b, "pid", "1");
	for (uint32_t type = 1; type < 32; type++) {
		struct builder_bytes *s = &b->sections[type];
		size_t step = element[type] ? max / element[type] * element[type] :
			      type == STREAM_META ? STREAM_CHUNK_MAX : max;

		if (element[type] && !step)
			step = element[type];
		for (size_t at = 0; at < s->count; at += step)
			builder_chunk(&out, type, s->data + at, s->count - at < step ? s->count - at : step);
		free(s->data);
	}
	for (int root = 0; root < 2; root++) {
		struct builder_edges *e = &b->edges[root];

		builder_close_source(b, root);
		builder_close_chunk(e, root ? STREAM_ROOT_EDGES : STREAM_EDGES);
		builder_append(&out, e->done.data, e->done.count);
		free(e->done.data);
		free(e->chunk.data);
		free(e->source.data);
	}
	builder_chunk(&out, STREAM_END, (uint8_t *)&b->end, sizeof(b->end));
	memset(b, 0, sizeof(*b));
	*ret_size = out.count;
	return out.data;
}

#endif
