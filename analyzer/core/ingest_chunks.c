/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_chunks.c - nodes and references as chunks of the snapshot file, and their census.
 *
 * (1) The stream's stack and type columns are rewritten in place, so a node costs no more memory here
 *     than in the stream (two bytes for kind and flags apart).
 * (2) References go through one chunk buffer: nodes in the stream's order, then the split roots.
 * (3) Sites sum every node that is counted: their counts and bytes are exact, only the division by
 *     size stops at SIZES_MAX sizes for one type and stack. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/chunks.h"
#include "core/heap.h"
#include "core/ingest_parts.h"
#include "core/store_write.h"
#include "core/text.h"

#define SIZES_MAX 16			/* rows of one (type, stack) in the table sites, the rest in one more */

/* ---- types and stacks of nodes ---- */

struct naming {
	struct stream *stream;
	struct code *code;
	struct types *types;
	const struct ingest_types *decided;
	const struct ingest_stacks *stacks;
	uint32_t *of_stream_type;	/* type of each stream type; UINT32_MAX = not looked at yet */
	uint32_t *of_mapping;		/* type of a mapping made at each stack (last: without a stack) */
	uint8_t *flags, *kinds;
};

static int type_from_stream(struct naming *naming, uint32_t number, uint32_t *ret_type)
{
	const struct stream_type_name *type = &naming->stream->types[number];
	const char *name;
	int r;

	if (naming->of_stream_type[number] == UINT32_MAX) {
		name = types_memory_name(naming->code->strings,
					 stream_string(naming->stream, type->name), type->source);
		r = types_add(naming->types, name,
			      type->source == STREAM_TYPE_PYTHON ? HEAP_TYPE_PYTHON :
								   HEAP_TYPE_RTTI,
			      &naming->of_stream_type[number]);
		if (r < 0)
			return r;
	}
	*ret_type = naming->of_stream_type[number];
	return 0;
}

/* "mapping handle_put server.c:120". */
static int type_of_mapping(struct naming *naming, uint32_t stack, uint32_t *ret_type)
{
	const struct types_entry *entries = naming->types->entries;
	uint32_t slot = stack == UINT32_MAX ? naming->stacks->count : stack;
	char *text;
	int r;

	if (naming->of_mapping[slot] == UINT32_MAX) {
		if (stack == UINT32_MAX)
			text = strdup("mapping");
		else
			text = text_format("mapping %s", entries[naming->stacks->stacks[stack].type].name);
		r = types_add(naming->types, strings_intern(naming->code->strings, text),
			      stack == UINT32_MAX ? HEAP_TYPE_KIND : HEAP_TYPE_SITE,
			      &naming->of_mapping[slot]);
		free(text);
		if (r < 0)
			return r;
	}
	*ret_type = naming->of_mapping[slot];
	return 0;
}

static int name_nodes(struct naming *naming)
{
	struct stream *stream = naming->stream;

	for (uint32_t i = 0; i < stream->node_count; i++) {
		uint32_t kind = STREAM_NODE_KIND(stream->node_kind[i]);
		uint32_t stack = naming->stacks->of_raw[stream->node_stack[i]];
		uint32_t type = ingest_types_of(naming->decided, i);
		int r = 0;

		stream->node_stack[i] = stack;
		naming->kinds[i] = (uint8_t)kind;
		naming->flags[i] = (stream->node_kind[i] & STREAM_NODE_FOLDED ? HEAP_FOLDED : 0) |
				   (kind == STREAM_NODE_MAPPING ? HEAP_MAPPING : 0) |
				   (kind == STREAM_NODE_PYTHON ? HEAP_PYTHON : 0);
		if (type != UINT32_MAX)
			stream->node_type[i] = type;
		else if (stream->node_type[i] != STREAM_NONE)
			r = type_from_stream(naming, stream->node_type[i], &stream->node_type[i]);
		else if (kind == STREAM_NODE_MAPPING)
			r = type_of_mapping(naming, stack, &stream->node_type[i]);
		else
			stream->node_type[i] =
				stack == UINT32_MAX ? 0 : naming->stacks->stacks[stack].type;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- census ---- */

struct site { uint64_t size, count, bytes; uint32_t type, stack; };

struct sites { struct site *sites; uint64_t room; struct hash_index index; uint32_t count; };

static uint32_t hash_site(uint32_t type, uint32_t stack, uint64_t size)
{
	return hash_fold(hash_mix((uint64_t)type << 32 | stack, size));
}

static bool same_site(const void *owner, uint32_t number, const void *key)
{
	const struct site *a = &((const struct sites *)owner)->sites[number], *b = key;

	return a->type == b->type && a->stack == b->stack && a->size == b->size;
}

static int sites_count(struct sites *sites, uint32_t type, uint32_t stack, uint64_t size,
		       uint64_t weight)
{
	const struct site key = { .size = size, .type = type, .stack = stack };
	uint32_t hash = hash_site(type, stack, size);
	uint32_t number = hash_index_find(&sites->index, hash, same_site, sites, &key);

	if (number == HASH_NONE) {
		number = sites->count;
		if (number == sites->room) {
			uint64_t wider = sites->room ? sites->room * 2 : 2048;
			struct site *bigger = reallocarray(sites->sites, wider, sizeof(*bigger));

			if (!bigger)
				return -ENOMEM;
			sites->sites = bigger;
			sites->room = wider;
		}
		if (hash_index_add(&sites->index, hash, number) < 0)
			return -ENOMEM;
		sites->sites[sites->count++] = key;
	}
	sites->sites[number].count += weight;
	sites->sites[number].bytes += size * weight;
	return 0;
}

/* ---- mode lite: what a site's sampled blocks stand for ---- */

struct estimate { double count, bytes, variance; uint64_t samples; };

/* A block of s bytes had its stack recorded with probability p = 1 - exp(-s / interval), each by itself. So it
 * stands for 1 / p of its kind, and (1 - p) / p^2 estimates what it adds to the variance of their number. */
static void estimates_add(struct estimate *e, uint64_t bytes, uint32_t sample)
{
	double p = sample ? -expm1(-(double)bytes / ldexp(1, (int)sample)) : 1;

	if (p <= 0)
		return;			/* of no bytes: never sampled */
	e->samples++;
	e->count += 1 / p;
	e->bytes += (double)bytes / p;
	e->variance += (double)bytes * (double)bytes * (1 - p) / (p * p);
}

/* By stack. Only a stream with sampled blocks has any. */
static int write_estimates(struct store_writer *writer, const struct stream *stream, const uint8_t *flags,
			   uint32_t stack_count)
{
	struct estimate *estimates;

	if (!stream->node_sample)
		return 0;
	estimates = calloc(stack_count + 1ull, sizeof(*estimates));
	if (!estimates)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->node_count; i++)
		if (stream->node_stack[i] < stack_count && !(flags[i] & HEAP_FOLDED))
			estimates_add(&estimates[stream->node_stack[i]], stream->node_bytes[i], stream->node_sample[i]);
	for (uint32_t i = 0; i < stack_count; i++) {
		const struct estimate *e = &estimates[i];

		if (e->samples)
			store_put(writer, "estimates", "iuuuu", (int64_t)i, e->samples, (uint64_t)llround(e->count),
				  (uint64_t)llround(e->bytes), (uint64_t)llround(sqrt(e->variance)));
	}
	free(estimates);
	return 0;
}

/* By type and stack, then the most bytes first. */
static int compare_sites(const void *pa, const void *pb)
{
	const struct site *a = pa, *b = pb;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->stack != b->stack)
		return a->stack < b->stack ? -1 : 1;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->size < b->size ? -1 : a->size > b->size;
}

static int count_nodes(struct sites *sites, const struct stream *stream, const uint8_t *flags,
		       struct ingest_census *census)
{
	for (uint32_t i = 0; i < stream->node_count; i++) {
		uint64_t weight = stream->node_weight ? stream->node_weight[i] : 1;
		uint64_t bytes = stream->node_bytes[i] * weight;

		if (flags[i] & HEAP_FOLDED)
			continue;
		if (sites_count(sites, stream->node_type[i], stream->node_stack[i],
				stream->node_bytes[i], weight) < 0)
			return -ENOMEM;
		if (flags[i] & HEAP_PYTHON) {
			census->objects += weight;
			census->object_bytes += bytes;
		} else if (flags[i] & HEAP_MAPPING) {
			census->mappings += weight;
			census->mapped_bytes += bytes;
		} else {
			census->blocks += weight;
			census->bytes += bytes;
		}
	}
	return 0;
}

static void write_sites(struct store_writer *writer, struct sites *sites)
{
	const struct site *site = sites->sites, *end;
	int64_t id = 0;

	if (!sites->count)
		return;
	qsort(sites->sites, sites->count, sizeof(*sites->sites), compare_sites);
	end = site + sites->count;
	while (site < end) {
		const struct site *first = site, *group_end = site;
		uint64_t count = 0, bytes = 0;

		while (group_end < end && group_end->type == first->type &&
		       group_end->stack == first->stack)
			group_end++;
		for (; site < group_end &&
		       (site - first < SIZES_MAX || group_end - first == SIZES_MAX + 1);
		     site++)
			store_put(writer, "sites", "iooiuu", id++, site->type, site->stack,
				  (int64_t)site->size, site->count, site->bytes);
		if (site == group_end)
			continue;
		for (; site < group_end; site++) {
			count += site->count;
			bytes += site->bytes;
		}
		store_put(writer, "sites", "ioonuu", id++, first->type, first->stack, count, bytes);
	}
}

/* ---- chunks ---- */

static int write_nodes(struct store_writer *writer, struct chunk_coder *coder,
		       struct naming *naming,
		       void (*progress)(uint64_t done, uint64_t total, void *data),
		       void *progress_data)
{
	struct stream *stream = naming->stream;
	uint32_t *stack_type =
		reallocarray(NULL, naming->stacks->count + 1ull, sizeof(*stack_type));
	struct chunk_nodes columns = {
		.addr = stream->node_addr, .bytes = stream->node_bytes, .birth = stream->node_birth,
		.stack = stream->node_stack, .type = stream->node_type, .thread = stream->node_thread,
		.extra = stream->node_extra, .weight = stream->node_weight, .flags = naming->flags,
		.kind = naming->kinds, .stack_type = stack_type, .stack_count = naming->stacks->count,
		.type_count = naming->types->count,
	};
	int64_t id = 0;
	int r = 0;

	if (!stack_type)
		return -ENOMEM;
	for (uint32_t i = 0; i < naming->stacks->count; i++)
		stack_type[i] = naming->stacks->stacks[i].type;
	for (uint32_t first = 0; r >= 0 && first < stream->node_count; first += CHUNK_NODES) {
		uint32_t left = stream->node_count - first,
			 count = left < CHUNK_NODES ? left : CHUNK_NODES;
		const void *blob;
		size_t bytes;

		r = chunk_encode_nodes(coder, &columns, first, count, &blob, &bytes);
		if (r >= 0)
			store_put(writer, "node_chunks", "iiib", id++, (int64_t)first,
				  (int64_t)count, blob, bytes);
		if (progress)
			progress(first, stream->node_count + stream->end.edges, progress_data);
	}
	free(stack_type);
	return r;
}

/* Fills one chunk after the other. */
struct edge_sink {
	struct store_writer *writer;
	struct chunk_coder *coder;
	struct chunk_edges *chunk;
	int64_t id;
	uint64_t written;

	/* strings met in labels, numbered in order */
	const struct stream *stream;
	struct hash_index string_index;
	uint32_t *strings;		/* their offsets */
	uint64_t string_room;
	uint32_t string_count;
};

static int flush_edges(struct edge_sink *sink)
{
	struct chunk_edges *chunk = sink->chunk;
	const void *targets, *labels;
	size_t targets_bytes, labels_bytes;
	int r;

	if (!chunk->edge_count)
		return 0;
	chunk->start[chunk->source_count] = chunk->edge_count;
	r = chunk_encode_edges(sink->coder, chunk, &targets, &targets_bytes, &labels,
			       &labels_bytes);
	if (r < 0)
		return r;
	store_put(sink->writer, "edge_chunks", "iiiibb", sink->id++, (int64_t)chunk->source[0],
		  (int64_t)chunk->source[chunk->source_count - 1], (int64_t)chunk->edge_count,
		  targets, targets_bytes, labels, labels_bytes);
	sink->written += chunk->edge_count;
	chunk->source_count = chunk->edge_count = 0;
	return 0;
}

static bool same_string(const void *owner, uint32_t number, const void *key)
{
	return ((const struct edge_sink *)owner)->strings[number] == *(const uint32_t *)key;
}

/* Number of a label's string, writing it to the table when it is new. */
static int label_string(struct edge_sink *sink, uint32_t offset, uint64_t *ret_number)
{
	uint32_t hash = hash_fold(offset);
	uint32_t number = hash_index_find(&sink->string_index, hash, same_string, sink, &offset);

	if (number == HASH_NONE) {
		number = sink->string_count;
		if (number == sink->string_room) {
			uint64_t wider = sink->string_room ? sink->string_room * 2 : 512;
			uint32_t *bigger = reallocarray(sink->strings, wider, sizeof(*bigger));

			if (!bigger)
				return -ENOMEM;
			sink->strings = bigger;
			sink->string_room = wider;
		}
		if (hash_index_add(&sink->string_index, hash, number) < 0)
			return -ENOMEM;
		sink->strings[sink->string_count++] = offset;
		store_put(sink->writer, "strings", "is", (int64_t)number, stream_string(sink->stream, offset));
	}
	*ret_number = number;
	return 0;
}

static int add_edge(struct edge_sink *sink, uint32_t source, uint32_t target, unsigned label,
		    bool interior, uint64_t value, uint64_t target_offset)
{
	struct chunk_edges *chunk = sink->chunk;
	uint32_t at;
	int r;

	if (chunk->edge_count == CHUNK_EDGES) {
		r = flush_edges(sink);
		if (r < 0)
			return r;
	}
	if (stream_label_is_string(label)) {
		r = label_string(sink, (uint32_t)value, &value);
		if (r < 0)
			return r;
	}
	at = chunk->edge_count++;
	if (!chunk->source_count || chunk->source[chunk->source_count - 1] != source) {
		chunk->source[chunk->source_count] = source;
		chunk->start[chunk->source_count++] = at;
	}
	chunk->target[at] = target;
	chunk->label[at] = (uint8_t)(label << 1 | interior);
	chunk->value[at] = value;
	chunk->offset[at] = target_offset;
	return 0;
}

static int write_edges(struct edge_sink *sink, const struct ingest_roots *roots,
		       void (*progress)(uint64_t done, uint64_t total, void *data),
		       void *progress_data)
{
	const struct stream *stream = sink->stream;
	uint64_t done = stream->node_count;
	struct stream_cursor cursor;
	struct stream_edge edge;
	int r;

	stream_cursor_start(stream, false, &cursor);
	while ((r = stream_cursor_next(&cursor, &edge)) > 0) {
		r = add_edge(sink, edge.source, edge.target, edge.label, edge.interior, edge.value,
			     edge.target_offset);
		if (r < 0)
			return r;
		if (progress && ++done % (1u << 20) == 0)
			progress(done, stream->node_count + stream->end.edges, progress_data);
	}
	for (uint64_t i = 0; r >= 0 && i < roots->edge_count; i++) {
		const struct ingest_root_edge *from = &roots->edges[i];

		r = add_edge(sink, stream->node_count + from->root, from->target, from->label,
			     from->interior, from->value, from->target_offset);
	}
	return r < 0 ? r : flush_edges(sink);
}

int ingest_chunks_write(struct store_writer *writer, struct stream *stream, struct code *code,
			struct types *types, const struct ingest_types *decided, const struct ingest_stacks *stacks,
			const struct ingest_roots *roots,
			void (*progress)(uint64_t done, uint64_t total, void *data),
			void *progress_data, struct ingest_census *ret_census)
{
	struct naming naming = { .stream = stream, .code = code, .types = types, .decided = decided, .stacks = stacks };
	struct edge_sink sink = { .writer = writer, .stream = stream };
	struct sites sites = { 0 };
	int r = -ENOMEM;

	memset(ret_census, 0, sizeof(*ret_census));
	naming.flags = malloc(stream->node_count + 1ull);
	naming.kinds = malloc(stream->node_count + 1ull);
	naming.of_stream_type = malloc((stream->type_count + 1ull) * sizeof(uint32_t));
	naming.of_mapping = malloc((stacks->count + 1ull) * sizeof(uint32_t));
	sink.coder = chunk_coder_new();
	sink.chunk = calloc(1, sizeof(*sink.chunk));
	if (!naming.flags || !naming.kinds || !naming.of_stream_type || !naming.of_mapping ||
	    !sink.coder || !sink.chunk)
		goto done;
	memset(naming.of_stream_type, 0xff, (stream->type_count + 1ull) * sizeof(uint32_t));
	memset(naming.of_mapping, 0xff, (stacks->count + 1ull) * sizeof(uint32_t));
	r = name_nodes(&naming);
	if (r >= 0)
		r = count_nodes(&sites, stream, naming.flags, ret_census);
	if (r >= 0)
		r = write_nodes(writer, sink.coder, &naming, progress, progress_data);
	if (r >= 0)
		r = write_edges(&sink, roots, progress, progress_data);
	if (r >= 0)
		write_sites(writer, &sites);
	if (r >= 0)
		r = write_estimates(writer, stream, naming.flags, stacks->count);
	ret_census->edges = sink.written;
done:
	free(naming.flags);
	free(naming.kinds);
	free(naming.of_stream_type);
	free(naming.of_mapping);
	chunk_coder_free(sink.coder);
	free(sink.chunk);
	free(sink.strings);
	free(sites.sites);
	hash_index_done(&sites.index);
	hash_index_done(&sink.string_index);
	return r;
}
