/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_chunks.c - nodes and references as chunks of the snapshot file, and their census.
 *
 * (1) The stream's stack and type columns are rewritten in place, so a node costs no more memory here
 *     than in the stream (two bytes for kind and flags apart).
 * (2) References go through one chunk buffer: nodes in the stream's order, then the split roots.
 * (3) Sites sum every node that is counted: their counts and bytes are exact, only the division by
 *     size stops at SIZES_MAX sizes for one type and stack. */
#include <errno.h>
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
		int r = 0;

		stream->node_stack[i] = stack;
		naming->kinds[i] = (uint8_t)kind;
		naming->flags[i] = (stream->node_kind[i] & STREAM_NODE_FOLDED ? HEAP_FOLDED : 0) |
				   (kind == STREAM_NODE_MAPPING ? HEAP_MAPPING : 0) |
				   (kind == STREAM_NODE_PYTHON ? HEAP_PYTHON : 0);
		if (stream->node_type[i] != STREAM_NONE)
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

struct sites { struct site *sites; uint64_t count; uint32_t *index; uint64_t slots; };

static uint64_t hash_site(uint32_t type, uint32_t stack, uint64_t size)
{
	uint64_t hash = ((uint64_t)type << 32 ^ stack ^ size << 16) * 0x9e3779b97f4a7c15u;

	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9u;
	return hash ^ hash >> 32;
}

static int sites_grow(struct sites *sites)
{
	uint64_t slots = sites->slots ? sites->slots * 2 : 4096;
	uint32_t *index = calloc(slots, sizeof(*index));
	struct site *bigger = reallocarray(sites->sites, slots / 2, sizeof(*bigger));

	if (bigger)
		sites->sites = bigger;
	if (!index || !bigger) {
		free(index);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < sites->count; i++) {
		uint64_t at = hash_site(bigger[i].type, bigger[i].stack, bigger[i].size);

		while (index[at & (slots - 1)])
			at++;
		index[at & (slots - 1)] = (uint32_t)i + 1;
	}
	free(sites->index);
	sites->index = index;
	sites->slots = slots;
	return 0;
}

static int sites_count(struct sites *sites, uint32_t type, uint32_t stack, uint64_t size,
		       uint64_t weight)
{
	uint64_t at;

	if (sites->count * 2 >= sites->slots && sites_grow(sites) < 0)
		return -ENOMEM;
	for (at = hash_site(type, stack, size);; at++) {
		uint32_t *slot = &sites->index[at & (sites->slots - 1)];
		struct site *site;

		if (!*slot) {
			sites->sites[sites->count] =
				(struct site){ .size = size, .type = type, .stack = stack };
			*slot = (uint32_t)++sites->count;
		}
		site = &sites->sites[*slot - 1];
		if (site->type == type && site->stack == stack && site->size == size) {
			site->count += weight;
			site->bytes += size * weight;
			return 0;
		}
	}
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

	/* strings met in labels, numbered in order: hash table from their stream offset */
	const struct stream *stream;
	struct label_string { uint32_t offset, number; bool used; } *strings;
	uint64_t string_slots, string_count;
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

static int strings_grow(struct edge_sink *sink)
{
	uint64_t slots = sink->string_slots ? sink->string_slots * 2 : 1024;
	struct label_string *bigger = calloc(slots, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	for (uint64_t i = 0; i < sink->string_slots; i++) {
		uint64_t at = sink->strings[i].offset * 0x9e3779b1ull;

		if (!sink->strings[i].used)
			continue;
		while (bigger[at & (slots - 1)].used)
			at++;
		bigger[at & (slots - 1)] = sink->strings[i];
	}
	free(sink->strings);
	sink->strings = bigger;
	sink->string_slots = slots;
	return 0;
}

/* Number of a label's string, writing it to the table when it is new. */
static int label_string(struct edge_sink *sink, uint32_t offset, uint64_t *ret_number)
{
	if (sink->string_count * 2 >= sink->string_slots && strings_grow(sink) < 0)
		return -ENOMEM;
	for (uint64_t at = offset * 0x9e3779b1ull;; at++) {
		struct label_string *string = &sink->strings[at & (sink->string_slots - 1)];

		if (!string->used) {
			*string = (struct label_string){ offset, (uint32_t)sink->string_count++, true };
			store_put(sink->writer, "strings", "is", (int64_t)string->number,
				  stream_string(sink->stream, offset));
		}
		if (string->offset == offset) {
			*ret_number = string->number;
			return 0;
		}
	}
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
			struct types *types, const struct ingest_stacks *stacks,
			const struct ingest_roots *roots,
			void (*progress)(uint64_t done, uint64_t total, void *data),
			void *progress_data, struct ingest_census *ret_census)
{
	struct naming naming = { .stream = stream, .code = code, .types = types, .stacks = stacks };
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
	free(sites.index);
	return r;
}
