/* SPDX-License-Identifier: Apache-2.0
 * L2  edges.c - see edges.h.
 *
 * The number of references stands before them, so one source's are collected first. A source that
 * fills the buffer is written as it is and goes on in the next chunk, where all "previous" values
 * begin anew. */
#include "edges.h"

#include <string.h>

#include "kernel.h"

#define REFERENCE_MAX 32u		/* four varints */
#define HEAD_MAX 20u

struct edges {
	struct writer *writer;
	bool for_roots;
	uint32_t source, last_source;	/* last_source: of this chunk */
	uint32_t last_label, last_target;
	int64_t last_value;
	uint64_t in_source, total;
	size_t used;
	unsigned char buffer[STREAM_CHUNK_MAX - HEAD_MAX];
};

static size_t varint(unsigned char *out, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		out[n++] = (unsigned char)(value | 0x80);
		value >>= 7;
	}
	out[n++] = (unsigned char)value;
	return n;
}

static uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

struct edges *ld__edges_new(struct writer *writer, bool for_roots)
{
	struct edges *edges = kernel_map(sizeof(*edges));

	if (!edges)
		return NULL;
	edges->writer = writer;
	edges->for_roots = for_roots;
	return edges;
}

void ld__edges_free(struct edges *edges)
{
	kernel_unmap(edges, sizeof(*edges));
}

static void restart(struct edges *edges)
{
	edges->used = edges->in_source = 0;
	edges->last_label = STREAM_LABELS;
	edges->last_value = 0;
	edges->last_target = edges->for_roots ? 0 : edges->source;
}

void ld__edges_begin(struct edges *edges, uint32_t source)
{
	edges->source = source;
	restart(edges);
}

static void write_source(struct edges *edges)
{
	unsigned char head[HEAD_MAX];
	size_t n;

	if (ld__writer_room(edges->writer, HEAD_MAX + edges->used))
		edges->last_source = 0;		/* a chunk begins: its first source stands as it is */
	n = varint(head, edges->source - edges->last_source);
	n += varint(head + n, edges->in_source);
	ld__writer_put(edges->writer, head, n);
	ld__writer_put(edges->writer, edges->buffer, edges->used);
	edges->last_source = edges->source;
}

void ld__edges_add(struct edges *edges, uint32_t label, int64_t value, uint32_t target,
		   uint64_t target_offset)
{
	unsigned char *out;
	size_t n;

	if (edges->used + REFERENCE_MAX + HEAD_MAX > sizeof(edges->buffer)) {
		write_source(edges);
		ld__writer_room(edges->writer, STREAM_CHUNK_MAX);	/* closes the chunk */
		restart(edges);
	}
	out = edges->buffer + edges->used;
	n = varint(out, label << 1 | (target_offset != 0));
	n += varint(out + n,
		    zigzag(label == edges->last_label
				   ? (int64_t)((uint64_t)value - (uint64_t)edges->last_value)
				   : value));
	n += varint(out + n, zigzag((int64_t)target - (int64_t)edges->last_target));
	if (target_offset)
		n += varint(out + n, target_offset);
	edges->used += n;
	edges->last_label = label;
	edges->last_value = value;
	edges->last_target = target;
	edges->in_source++;
	edges->total++;
}

void ld__edges_end(struct edges *edges)
{
	if (edges->in_source)
		write_source(edges);
	restart(edges);
}

uint64_t ld__edges_count(const struct edges *edges)
{
	return edges->total;
}
