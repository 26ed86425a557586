/* SPDX-License-Identifier: Apache-2.0
 * L1  stream.c - reads and checks a capture stream: bytes -> chunks -> columns -> cross references.
 *
 *   read_header -> read_chunk* -> (END) -> check_references -> check_edges
 *
 * (1) Hostile until proven: every length is compared before it is used, every sum is made in 64 bits,
 *     and memory grows with what has arrived, never with what a number in the stream claims.
 * (2) A payload's checksum is verified before anything in it is believed.
 * (3) Every refusal is one sentence naming what was read and where; truncated, corrupt, foreign and
 *     newer are different sentences.
 * (4) Edges stay coded (3 to 6 bytes each instead of 32); they are decoded once here to check them
 *     and again by whoever walks them.
 * Never prints, never writes, keeps no descriptor. */
#include "core/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/crc32c.h"
#include "core/varint.h"

#define HEADER_MAX 4096u		/* of a header that a newer minor made longer */
#define CHUNKS_MAX (1u << 24)		/* edge chunks; an edge chunk is up to 1 MiB */
#define PROFILE_MAX (256u << 20)		/* bytes of an allocator's profile */
#define META_MAX (1u << 20)		/* bytes of all keys and values */
#define MEMORY_MAX (1ull << 63)		/* end of a node, and sum of all sizes: signed columns hold them */
#define SAMPLE_MAX 62u			/* log2 of an interval in bytes */

struct reader {
	int fd;
	struct stream *stream;
	char **ret_error;
	void (*progress)(uint64_t bytes, void *data);
	void *progress_data;
	uint8_t *payload;		/* STREAM_CHUNK_MAX bytes, of the chunk being read */
	uint64_t chunk_offset;		/* of the chunk's header */
	uint32_t chunk_type;
	uint64_t chunks;
	uint64_t node_bytes;		/* sum of sizes so far */
	uint64_t strings_capacity, node_capacity, meta_capacity, profile_capacity;
	uint64_t edge_capacity, root_edge_capacity;
	uint64_t section_capacity[16];
	bool ended;
};

/* The sections that are arrays of one struct: one line each instead of a case each. */
static const struct section {
	uint32_t type;
	uint32_t element_bytes;
	size_t array, count;		/* offsets in struct stream */
	uint32_t max;
} sections[] = {
#define SECTION(TYPE, array_, count_, max_)                                                         \
	{ STREAM_##TYPE, sizeof(*((struct stream *)0)->array_), offsetof(struct stream, array_),    \
	  offsetof(struct stream, count_), max_ }
	SECTION(MODULES, modules, module_count, 1u << 20),
	SECTION(SEGMENTS, segments, segment_count, 1u << 24),
	SECTION(MAPS, maps, map_count, 1u << 26),
	SECTION(THREADS, threads, thread_count, 1u << 22),
	SECTION(TRACEBACKS, tracebacks, traceback_count, 1u << 28),
	SECTION(STACKS, stacks, stack_count, UINT32_MAX - 2),
	SECTION(TYPES, types, type_count, 1u << 28),
	SECTION(ROOTS, roots, root_count, 1u << 28),
	SECTION(CLOCK, clock, clock_count, 1u << 24),
	SECTION(PYFRAMES, pyframes, pyframe_count, 1u << 28),
	SECTION(PYTHREADS, pythreads, pythread_count, 1u << 28),
	SECTION(PYTRACES, pytraces, pytrace_count, 1u << 28),
	SECTION(PYCACHES, pycaches, pycache_count, 1u << 28),
	SECTION(ARENAS, arenas, arena_count, 1u << 16),
#undef SECTION
};
#define NODES_MAX (UINT32_MAX - (1u << 29))	/* roots and nodes share 32-bit graph ids */

static const char *type_name(uint32_t type)
{
	switch (type) {
#define X(name, number, text)                                                                       \
	case number:                                                                                \
		return #name;
		STREAM_TYPES(X)
#undef X
	}
	return "unknown";
}

/* Set the sentence (the first one wins) and return `code`. */
__attribute__((format(printf, 3, 4))) static int refuse(struct reader *reader, int code,
							const char *format, ...)
{
	va_list args;

	if (*reader->ret_error)
		return code;
	va_start(args, format);
	if (vasprintf(reader->ret_error, format, args) < 0)
		*reader->ret_error = NULL;
	va_end(args);
	return code;
}

/* A damaged chunk: says which and where. */
#define DAMAGED(reader, format, ...)                                                               \
	refuse(reader, -EBADMSG,                                                                   \
	       "the capture stream is damaged: in the %s chunk at byte %llu, " format,             \
	       type_name((reader)->chunk_type), (unsigned long long)(reader)->chunk_offset,        \
	       ##__VA_ARGS__)

static int no_memory(struct reader *reader)
{
	return refuse(reader, -ENOMEM,
		      "not enough memory to read the capture stream (%llu MiB so far)",
		      (unsigned long long)(reader->stream->file_bytes >> 20));
}

/* Make room for `need` elements in an array that doubles. */
static int grow(struct reader *reader, void *array, size_t element_bytes, uint64_t need,
		uint64_t *capacity)
{
	uint64_t wanted = *capacity;
	void *moved;

	if (need <= *capacity)
		return 0;
	if (wanted < 64)
		wanted = 64;
	while (wanted < need)
		wanted *= 2;
	moved = reallocarray(*(void **)array, wanted, element_bytes);
	if (!moved)
		return no_memory(reader);
	*(void **)array = moved;
	*capacity = wanted;
	return 0;
}

/* Read exactly `count` bytes. Returns 1, 0 at end of file before the first byte, or an error; an end
 * in the middle is described by `what`. */
static int read_exactly(struct reader *reader, void *buffer, size_t count, const char *what)
{
	size_t done = 0;

	while (done < count) {
		ssize_t n = read(reader->fd, (char *)buffer + done, count - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return refuse(reader, -errno,
				      "cannot read the capture stream at byte %llu: %s",
				      (unsigned long long)(reader->stream->file_bytes + done),
				      strerror(errno));
		if (n == 0 && done == 0)
			return 0;
		if (n == 0)
			return refuse(
				reader, -EBADMSG,
				"the capture stream is truncated: it ends at byte %llu, in the middle of %s; "
				"the snapshot was interrupted, take it again",
				(unsigned long long)(reader->stream->file_bytes + done), what);
		done += (size_t)n;
	}
	reader->stream->file_bytes += count;
	return 1;
}

static int read_header(struct reader *reader)
{
	struct stream *stream = reader->stream;
	struct stream_header header;
	char skipped[HEADER_MAX];
	int r;

	r = read_exactly(reader, &header.magic, sizeof(header.magic), "its header");
	if (r < 0)
		return r;
	if (r == 0)
		return refuse(reader, -EBADMSG,
			      "the capture stream is empty: the process wrote nothing before it ended");
	if (memcmp(header.magic, STREAM_MAGIC, sizeof(header.magic)))
		return refuse(reader, -EBADMSG,
			      memcmp(header.magic, "SQLite f", 8) ?
				      "this is not a leakdiff capture stream" :
				      "this is an SQLite file, not a capture stream; a snapshot needs no ingest");
	r = read_exactly(reader, &header.major, sizeof(header) - sizeof(header.magic),
			 "its header");
	if (r == 0)
		return refuse(reader, -EBADMSG,
			      "the capture stream is truncated: it ends in its header");
	if (r < 0)
		return r;
	if (header.major > STREAM_MAJOR)
		return refuse(reader, -EPROTO,
			      "the capture stream has format %u.%u, newer than the %u.x that this leakdiff reads: "
			      "use the leakdiff that came with the library in the service",
			      header.major, header.minor, STREAM_MAJOR);
	if (header.major < STREAM_MAJOR)
		return refuse(reader, -EPROTO,
			      "the capture stream has format %u.%u, which never existed",
			      header.major, header.minor);
	if (header.header_bytes < sizeof(header) || header.header_bytes > HEADER_MAX)
		return refuse(reader, -EBADMSG,
			      "the capture stream is damaged: its header claims %u bytes",
			      header.header_bytes);
	if (header.header_bytes > sizeof(header)) {
		r = read_exactly(reader, skipped, header.header_bytes - sizeof(header),
				 "its header");
		if (r == 0)
			return refuse(reader, -EBADMSG,
				      "the capture stream is truncated: it ends in its header");
		if (r < 0)
			return r;
	}
	stream->major = header.major;
	stream->minor = header.minor;
	return 0;
}

static int take_meta(struct reader *reader, const uint8_t *payload, uint32_t count)
{
	struct stream *stream = reader->stream;
	int r;

	if (!count)
		return 0;
	if (payload[count - 1])
		return DAMAGED(reader, "the last value is not terminated");
	if ((uint64_t)stream->meta_bytes + count > META_MAX)
		return DAMAGED(reader, "keys and values pass %u bytes", META_MAX);
	r = grow(reader, &stream->meta_text, 1, (uint64_t)stream->meta_bytes + count,
		 &reader->meta_capacity);
	if (r < 0)
		return r;
	memcpy(stream->meta_text + stream->meta_bytes, payload, count);
	stream->meta_bytes += count;
	return 0;
}

static int take_strings(struct reader *reader, const uint8_t *payload, uint32_t count)
{
	struct stream *stream = reader->stream;
	uint64_t total = (uint64_t)stream->strings_bytes + count;
	int r;

	if (total >= UINT32_MAX)
		return DAMAGED(reader, "the string table passes 4 GiB");
	r = grow(reader, &stream->strings, 1, total + 1, &reader->strings_capacity);
	if (r < 0)
		return r;
	if (count)
		memcpy(stream->strings + stream->strings_bytes, payload, count);
	stream->strings_bytes = (uint32_t)total;
	stream->strings[total] = 0;
	return 0;
}

static int grow_nodes(struct reader *reader, uint64_t need)
{
	struct stream *stream = reader->stream;
	uint64_t capacity;
	int r;

#define COLUMN(column)                                                                              \
	capacity = reader->node_capacity;                                                           \
	r = grow(reader, &stream->column, sizeof(*stream->column), need, &capacity);                \
	if (r < 0)                                                                                  \
		return r;
	COLUMN(node_addr)
	COLUMN(node_bytes)
	COLUMN(node_birth)
	COLUMN(node_stack)
	COLUMN(node_type)
	COLUMN(node_thread)
	COLUMN(node_kind)
	if (stream->node_extra) {
		COLUMN(node_extra)
	}
	if (stream->node_weight) {
		COLUMN(node_weight)
	}
	if (stream->node_sample) {
		COLUMN(node_sample)
	}
#undef COLUMN
	reader->node_capacity = capacity;
	return 0;
}

/* The first node that differs from the default makes the column; earlier nodes get the default. */
static int make_column(struct reader *reader, uint32_t **column, uint32_t value)
{
	*column = reallocarray(NULL, reader->node_capacity, sizeof(**column));
	if (!*column)
		return no_memory(reader);
	for (uint32_t i = 0; i < reader->stream->node_count; i++)
		(*column)[i] = value;
	return 0;
}

static int take_nodes(struct reader *reader, const uint8_t *payload, uint32_t byte_count)
{
	struct stream *stream = reader->stream;
	uint32_t count = byte_count / sizeof(struct stream_node);
	uint64_t previous;
	int r;

	if (byte_count % sizeof(struct stream_node))
		return DAMAGED(reader, "%u bytes are no whole number of nodes", byte_count);
	if ((uint64_t)stream->node_count + count > NODES_MAX)
		return DAMAGED(reader, "there are more than %u nodes", NODES_MAX);
	r = grow_nodes(reader, (uint64_t)stream->node_count + count);
	if (r < 0)
		return r;
	previous = stream->node_count ? stream->node_addr[stream->node_count - 1] : 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t id = stream->node_count;
		uint64_t weighed;
		uint32_t kind;
		struct stream_node node;

		memcpy(&node, payload + (size_t)i * sizeof(node), sizeof(node));
		kind = STREAM_NODE_KIND(node.kind);
		if (node.addr < previous)
			return DAMAGED(reader, "node %u at 0x%llx comes after one at 0x%llx", id,
				       (unsigned long long)node.addr, (unsigned long long)previous);
		if (node.addr > MEMORY_MAX || node.bytes > MEMORY_MAX - node.addr)
			return DAMAGED(reader, "node %u passes the end of memory", id);
		if (__builtin_mul_overflow(node.bytes, node.weight ? node.weight : 1u, &weighed) ||
		    weighed > MEMORY_MAX - reader->node_bytes)
			return DAMAGED(reader, "with node %u the sizes pass the end of memory", id);
		reader->node_bytes += weighed;
		if (kind < STREAM_NODE_MALLOC || kind > STREAM_NODE_PYTHON)
			return DAMAGED(reader, "node %u has the unknown kind %u", id, kind);
		if (node.extra && !stream->node_extra) {
			r = make_column(reader, &stream->node_extra, 0);
			if (r < 0)
				return r;
		}
		if (node.weight > 1 && !stream->node_weight) {
			r = make_column(reader, &stream->node_weight, 1);
			if (r < 0)
				return r;
		}
		if (node.sample > SAMPLE_MAX)
			return DAMAGED(reader, "node %u was sampled once in 2^%u bytes", id, node.sample);
		if (node.sample && !stream->node_sample) {
			r = make_column(reader, &stream->node_sample, 0);
			if (r < 0)
				return r;
		}
		stream->node_addr[id] = previous = node.addr;
		stream->node_bytes[id] = node.bytes;
		stream->node_birth[id] = node.birth;
		stream->node_stack[id] = node.stack;
		stream->node_type[id] = node.type;
		stream->node_thread[id] = node.thread;
		stream->node_kind[id] = node.kind;
		if (stream->node_extra)
			stream->node_extra[id] = node.extra;
		if (stream->node_weight)
			stream->node_weight[id] = node.weight ? node.weight : 1;
		if (stream->node_sample)
			stream->node_sample[id] = node.sample;
		stream->node_count++;
	}
	return 0;
}

static int take_edges(struct reader *reader, const uint8_t *payload, uint32_t byte_count,
		      bool of_roots)
{
	struct stream *stream = reader->stream;
	struct stream_coded **chunks = of_roots ? &stream->root_edges : &stream->edges;
	uint32_t *count = of_roots ? &stream->root_edge_chunk_count : &stream->edge_chunk_count;
	uint8_t *copy;
	int r;

	if (!byte_count)
		return 0;
	if (*count == CHUNKS_MAX)
		return DAMAGED(reader, "there are more than %u such chunks", CHUNKS_MAX);
	r = grow(reader, chunks, sizeof(**chunks), *count + 1ull,
		 of_roots ? &reader->root_edge_capacity : &reader->edge_capacity);
	if (r < 0)
		return r;
	copy = malloc(byte_count);
	if (!copy)
		return no_memory(reader);
	memcpy(copy, payload, byte_count);
	(*chunks)[(*count)++] = (struct stream_coded){
		.bytes = copy, .byte_count = byte_count,
		.file_offset = reader->chunk_offset + sizeof(struct stream_chunk),
	};
	return 0;
}

static int take_profile(struct reader *reader, const uint8_t *payload, uint32_t count)
{
	struct stream *stream = reader->stream;
	int r;

	if ((uint64_t)stream->profile_bytes + count > PROFILE_MAX)
		return DAMAGED(reader, "the heap profile passes %u bytes", PROFILE_MAX);
	r = grow(reader, &stream->profile, 1, stream->profile_bytes + count + 1ull, &reader->profile_capacity);
	if (r < 0)
		return r;
	if (count)
		memcpy(stream->profile + stream->profile_bytes, payload, count);
	stream->profile_bytes += count;
	stream->profile[stream->profile_bytes] = 0;
	return 0;
}

static int take_section(struct reader *reader, const struct section *section, uint32_t slot,
			const uint8_t *payload, uint32_t byte_count)
{
	void **array = (void **)((char *)reader->stream + section->array);
	uint32_t *have = (uint32_t *)((char *)reader->stream + section->count);
	uint32_t count = byte_count / section->element_bytes;
	int r;

	if (byte_count % section->element_bytes)
		return DAMAGED(reader, "%u bytes are no whole number of %u-byte elements",
			       byte_count, section->element_bytes);
	if ((uint64_t)*have + count > section->max)
		return DAMAGED(reader, "there are more than %u elements", section->max);
	r = grow(reader, array, section->element_bytes, (uint64_t)*have + count,
		 &reader->section_capacity[slot]);
	if (r < 0)
		return r;
	if (count)
		memcpy((char *)*array + (size_t)*have * section->element_bytes, payload,
		       byte_count);
	*have += count;
	return 0;
}

static int take_chunk(struct reader *reader, const uint8_t *payload, uint32_t byte_count)
{
	struct stream *stream = reader->stream;

	switch (reader->chunk_type) {
	case STREAM_META:
		return take_meta(reader, payload, byte_count);
	case STREAM_STRINGS:
		return take_strings(reader, payload, byte_count);
	case STREAM_NODES:
		return take_nodes(reader, payload, byte_count);
	case STREAM_EDGES:
		return take_edges(reader, payload, byte_count, false);
	case STREAM_ROOT_EDGES:
		return take_edges(reader, payload, byte_count, true);
	case STREAM_PROFILE:
		return take_profile(reader, payload, byte_count);
	case STREAM_END:
		if (byte_count < sizeof(stream->end))
			return DAMAGED(reader, "%u bytes are too few", byte_count);
		memcpy(&stream->end, payload, sizeof(stream->end));
		reader->ended = true;
		return 0;
	}
	for (uint32_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		if (sections[i].type == reader->chunk_type)
			return take_section(reader, &sections[i], i, payload, byte_count);

	if (!stream->unknown_chunks++)
		stream->unknown_type = reader->chunk_type;
	stream->unknown_bytes += byte_count;
	return 0;
}

static int read_chunk(struct reader *reader)
{
	struct stream *stream = reader->stream;
	struct stream_chunk chunk;
	char what[64];
	int r;

	reader->chunk_offset = stream->file_bytes;
	r = read_exactly(reader, &chunk, sizeof(chunk), "a chunk header");
	if (r == 0)
		return refuse(reader, -EBADMSG,
			      "the capture stream is truncated: it stops after %llu bytes without its END mark; "
			      "the snapshot was interrupted, take it again",
			      (unsigned long long)stream->file_bytes);
	if (r < 0)
		return r;
	reader->chunk_type = chunk.type;
	if (chunk.payload_bytes > STREAM_CHUNK_MAX)
		return DAMAGED(reader, "the header claims %llu bytes, more than the %u allowed",
			       (unsigned long long)chunk.payload_bytes, STREAM_CHUNK_MAX);
	if (!reader->chunks++ && chunk.type != STREAM_META)
		return DAMAGED(reader, "a META chunk had to come first");

	if (chunk.payload_bytes) {
		snprintf(what, sizeof(what), "a %s chunk", type_name(chunk.type));
		r = read_exactly(reader, reader->payload, chunk.payload_bytes, what);
		if (r == 0)
			return refuse(reader, -EBADMSG,
				      "the capture stream is truncated: it ends at byte %llu, in the middle of %s; "
				      "the snapshot was interrupted, take it again",
				      (unsigned long long)stream->file_bytes, what);
		if (r < 0)
			return r;
	}
	if (crc32c(0, reader->payload, chunk.payload_bytes) != chunk.crc32c)
		return DAMAGED(reader, "the checksum does not match");
	return take_chunk(reader, reader->payload, (uint32_t)chunk.payload_bytes);
}

/* ---- what can only be checked when everything is there ---- */

#define REFUSE(reader, format, ...)                                                                 \
	refuse(reader, -EBADMSG, "the capture stream is damaged: " format, ##__VA_ARGS__)

static bool string_ok(const struct stream *stream, uint32_t offset)
{
	return offset < stream->strings_bytes || offset == 0;
}

static bool index_ok(uint32_t index, uint32_t count)
{
	return index < count || index == STREAM_NONE;
}

static int check_tables(struct reader *reader)
{
	const struct stream *s = reader->stream;

	for (uint32_t i = 0; i < s->module_count; i++) {
		const struct stream_module *m = &s->modules[i];

		if (!string_ok(s, m->path) || m->build_id_bytes > sizeof(m->build_id) ||
		    m->start > m->end)
			return REFUSE(reader,
				      "module %u has a path, build-id or range that cannot be", i);
	}
	for (uint32_t i = 0; i < s->segment_count; i++)
		if (s->segments[i].module >= s->module_count ||
		    s->segments[i].start > s->segments[i].end)
			return REFUSE(reader, "segment %u has a module or range that cannot be", i);
	for (uint32_t i = 0; i < s->map_count; i++) {
		const struct stream_map *m = &s->maps[i];

		if (!string_ok(s, m->name) || m->start > m->end ||
		    !index_ok(m->module, s->module_count))
			return REFUSE(reader,
				      "mapping %u has a name, module or range that cannot be", i);
	}
	for (uint32_t i = 0; i < s->thread_count; i++)
		if (!string_ok(s, s->threads[i].name))
			return REFUSE(reader, "the name of thread %u lies outside the string table",
				      i);
	for (uint32_t i = 0; i < s->traceback_count; i++)
		if (s->tracebacks[i].thread >= s->thread_count)
			return REFUSE(reader, "traceback frame %u belongs to no thread", i);
	for (uint32_t i = 0; i < s->pyframe_count; i++)
		if (!string_ok(s, s->pyframes[i].function) || !string_ok(s, s->pyframes[i].file))
			return REFUSE(reader,
				      "the names of Python frame %u lie outside the string table",
				      i);
	for (uint32_t i = 0; i < s->pythread_count; i++)
		if (!string_ok(s, s->pythreads[i].name) || !string_ok(s, s->pythreads[i].state) ||
		    !index_ok(s->pythreads[i].thread, s->thread_count))
			return REFUSE(reader,
				      "Python thread %u has a name or thread that cannot be", i);
	for (uint32_t i = 0; i < s->pytrace_count; i++)
		if (!string_ok(s, s->pytraces[i].function) || !string_ok(s, s->pytraces[i].file) ||
		    !string_ok(s, s->pytraces[i].locals) ||
		    s->pytraces[i].owner >= s->pythread_count ||
		    (i && s->pytraces[i].owner < s->pytraces[i - 1].owner))
			return REFUSE(
				reader,
				"Python traceback frame %u has a name or owner that cannot be", i);
	for (uint32_t i = 0; i < s->pycache_count; i++) {
		if (s->pycaches[i].node >= s->node_count)
			return REFUSE(reader, "Python cache %u is no node", i);
		if (s->pycaches[i].entries > INT64_MAX)
			return REFUSE(reader, "Python cache %u has more entries than can be", i);
	}
	for (uint32_t i = 0; i < s->arena_count; i++)
		if (!string_ok(s, s->arenas[i].why))
			return REFUSE(reader, "the reason of arena %u lies outside the string table", i);
	for (uint32_t i = 0; i < s->stack_count; i++) {
		const struct stream_stack *stack = &s->stacks[i];

		if (stack->parent > i)
			return REFUSE(reader, "stack %u has parent %u, but parents come first",
				      i + 1, stack->parent);
		if (stack->flags & STREAM_STACK_PYTHON && stack->pc >= s->pyframe_count)
			return REFUSE(reader, "stack %u names a Python frame that does not exist",
				      i + 1);
	}
	for (uint32_t i = 0; i < s->type_count; i++)
		if (!string_ok(s, s->types[i].name))
			return REFUSE(reader, "the name of type %u lies outside the string table",
				      i);
	for (uint32_t i = 0; i < s->root_count; i++) {
		const struct stream_root *root = &s->roots[i];

		if (!string_ok(s, root->name) || root->start > root->end ||
		    !index_ok(root->module, s->module_count) ||
		    !index_ok(root->thread, s->thread_count))
			return REFUSE(reader,
				      "root %u has a name, range, module or thread that cannot be",
				      i);
	}
	for (uint32_t i = 1; i < s->clock_count; i++)
		if (s->clock[i].birth < s->clock[i - 1].birth)
			return REFUSE(reader, "clock sample %u goes backwards", i);
	return 0;
}

/* Cut the META text into pairs. */
static int pair_meta(struct reader *reader)
{
	struct stream *stream = reader->stream;
	char *at = stream->meta_text, *end = at + stream->meta_bytes;
	uint32_t strings = 0;

	for (uint32_t i = 0; i < stream->meta_bytes; i++)
		strings += !stream->meta_text[i];
	if (strings % 2)
		return REFUSE(reader, "the last key of META has no value");
	stream->meta = calloc(strings / 2 + 1, sizeof(*stream->meta));
	if (!stream->meta)
		return no_memory(reader);
	while (at < end) {
		struct stream_pair *pair = &stream->meta[stream->meta_count++];

		pair->key = at;
		pair->value = at += strlen(at) + 1;
		at += strlen(at) + 1;
	}
	return 0;
}

static int check_references(struct reader *reader)
{
	const struct stream *s = reader->stream;
	const struct stream_end *end = &s->end;

	if (end->nodes != s->node_count || end->roots != s->root_count ||
	    end->stacks != s->stack_count)
		return REFUSE(
			reader,
			"it holds %u nodes, %u roots and %u stacks, its END mark says %llu, %llu and %llu",
			s->node_count, s->root_count, s->stack_count,
			(unsigned long long)end->nodes, (unsigned long long)end->roots,
			(unsigned long long)end->stacks);
	if (s->strings_bytes && s->strings[0])
		return REFUSE(reader, "the string table does not begin with the empty string");
	if (!string_ok(s, end->notes))
		return REFUSE(reader, "the notes lie outside the string table");
	for (uint32_t i = 0; i < s->node_count; i++) {
		if (s->node_stack[i] > s->stack_count)
			return REFUSE(reader, "node %u has stack %u of %u", i, s->node_stack[i],
				      s->stack_count);
		if (!index_ok(s->node_type[i], s->type_count))
			return REFUSE(reader, "node %u has type %u of %u", i, s->node_type[i],
				      s->type_count);
	}
	return check_tables(reader);
}

static int check_edges(struct reader *reader, bool of_roots)
{
	const struct stream *s = reader->stream;
	const char *whose = of_roots ? "root" : "node";
	uint64_t claimed = of_roots ? s->end.root_edges : s->end.edges;
	uint32_t sources = of_roots ? s->root_count : s->node_count;
	struct stream_cursor cursor;
	struct stream_edge edge;
	uint64_t seen = 0;
	uint32_t last = 0;
	int r;

	stream_cursor_start(s, of_roots, &cursor);
	while ((r = stream_cursor_next(&cursor, &edge)) > 0) {
		if (edge.source >= sources || edge.source < last)
			return REFUSE(reader,
				      "reference %llu comes from %s %u, out of order or range",
				      (unsigned long long)seen, whose, edge.source);
		if (edge.target >= s->node_count)
			return REFUSE(reader, "a reference of %s %u points at node %u of %u", whose,
				      edge.source, edge.target, s->node_count);
		if (stream_label_is_string(edge.label) &&
		    (edge.value > UINT32_MAX || !string_ok(s, (uint32_t)edge.value)))
			return REFUSE(reader, "a label of %s %u lies outside the string table",
				      whose, edge.source);
		last = edge.source;
		seen++;
	}
	if (r < 0)
		return REFUSE(reader, "the references at byte %llu (%s chunk) cannot be decoded",
			      (unsigned long long)(cursor.chunk->file_offset +
						   (uint64_t)(cursor.at - cursor.chunk->bytes)),
			      of_roots ? "ROOT_EDGES" : "EDGES");
	if (seen != claimed)
		return REFUSE(reader, "it holds %llu references of %ss, its END mark says %llu",
			      (unsigned long long)seen, whose, (unsigned long long)claimed);
	return 0;
}

int stream_read(int fd, void (*progress)(uint64_t bytes, void *data), void *data,
		struct stream **ret_stream, char **ret_error)
{
	struct reader *reader;
	char *error = NULL;
	uint64_t reported = 0;
	int r = -ENOMEM;

	reader = calloc(1, sizeof(*reader));
	if (!reader)
		goto fail;
	reader->fd = fd;
	reader->ret_error = &error;
	reader->stream = calloc(1, sizeof(*reader->stream));
	reader->payload = malloc(STREAM_CHUNK_MAX);
	if (!reader->stream || !reader->payload)
		goto fail;
	r = take_strings(reader, NULL, 0);	/* so that `strings` is never NULL */
	if (r < 0)
		goto fail;

	r = read_header(reader);
	while (r >= 0 && !reader->ended) {
		r = read_chunk(reader);
		if (progress && reader->stream->file_bytes - reported >= 4u << 20) {
			reported = reader->stream->file_bytes;
			progress(reported, data);
		}
	}
	if (r >= 0)
		r = pair_meta(reader);
	if (r >= 0)
		r = check_references(reader);
	if (r >= 0)
		r = check_edges(reader, false);
	if (r >= 0)
		r = check_edges(reader, true);
	if (r < 0)
		goto fail;

	*ret_stream = reader->stream;
	free(reader->payload);
	free(reader);
	return 0;
fail:
	if (reader) {
		stream_free(reader->stream);
		free(reader->payload);
		free(reader);
	}
	*ret_error = error ? error : strdup("not enough memory to read the capture stream");
	return r;
}

const char *stream_meta(const struct stream *stream, const char *key)
{
	for (uint32_t i = stream->meta_count; i-- > 0;)
		if (!strcmp(stream->meta[i].key, key))
			return stream->meta[i].value;
	return NULL;
}

/* ---- coded edges ---- */

void stream_cursor_start(const struct stream *stream, bool of_roots,
			 struct stream_cursor *ret_cursor)
{
	const struct stream_coded *first = of_roots ? stream->root_edges : stream->edges;
	uint32_t count = of_roots ? stream->root_edge_chunk_count : stream->edge_chunk_count;

	memset(ret_cursor, 0, sizeof(*ret_cursor));
	ret_cursor->stream = stream;
	ret_cursor->of_roots = of_roots;
	ret_cursor->chunk = first;
	ret_cursor->chunk_end = count ? first + count : first;
	if (count) {
		ret_cursor->at = first->bytes;
		ret_cursor->end = first->bytes + first->byte_count;
	}
	ret_cursor->first_source = true;
}

/* Position at the next source that has references. Returns 1, 0 at the end, -EBADMSG. */
static int next_source(struct stream_cursor *cursor)
{
	uint64_t step, source;

	while (cursor->at == cursor->end) {
		if (cursor->chunk == cursor->chunk_end || ++cursor->chunk == cursor->chunk_end)
			return 0;
		cursor->at = cursor->chunk->bytes;
		cursor->end = cursor->at + cursor->chunk->byte_count;
		cursor->first_source = true;
	}
	if (!varint_get(&cursor->at, cursor->end, &step) ||
	    !varint_get(&cursor->at, cursor->end, &cursor->left))
		return -EBADMSG;
	if (!cursor->first_source && step == 0)
		return -EBADMSG;
	source = cursor->first_source ? step : cursor->edge.source + step;
	if (step > UINT32_MAX || source >= STREAM_NONE)
		return -EBADMSG;
	cursor->first_source = false;
	cursor->edge.source = (uint32_t)source;
	cursor->edge.target = cursor->of_roots ? 0 : (uint32_t)source;
	cursor->edge.value = 0;
	cursor->last_label = STREAM_LABELS;
	return 1;
}

int stream_cursor_next(struct stream_cursor *cursor, struct stream_edge *ret_edge)
{
	struct stream_edge *edge = &cursor->edge;
	uint64_t label, value, target, offset = 0;

	while (cursor->left == 0) {
		int r = next_source(cursor);

		if (r <= 0)
			return r;
	}
	if (!varint_get(&cursor->at, cursor->end, &label) || label >> 1 >= STREAM_LABELS ||
	    !varint_get(&cursor->at, cursor->end, &value) ||
	    !varint_get(&cursor->at, cursor->end, &target))
		return -EBADMSG;
	edge->interior = label & 1;
	edge->label = (uint32_t)(label >> 1);
	if (edge->interior && !varint_get(&cursor->at, cursor->end, &offset))
		return -EBADMSG;
	target = edge->target + varint_unzigzag(target);
	if (target >= STREAM_NONE)
		return -EBADMSG;
	edge->value =
		varint_unzigzag(value) + (edge->label == cursor->last_label ? edge->value : 0);
	edge->target = (uint32_t)target;
	edge->target_offset = offset;
	cursor->last_label = edge->label;
	cursor->left--;
	*ret_edge = *edge;
	return 1;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	for (uint32_t i = 0; i < stream->edge_chunk_count; i++)
		free(stream->edges[i].bytes);
	for (uint32_t i = 0; i < stream->root_edge_chunk_count; i++)
		free(stream->root_edges[i].bytes);
	free(stream->edges);
	free(stream->root_edges);
	free(stream->meta);
	free(stream->meta_text);
	free(stream->profile);
	free(stream->strings);
	for (uint32_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		free(*(void **)((char *)stream + sections[i].array));
	free(stream->node_addr);
	free(stream->node_bytes);
	free(stream->node_birth);
	free(stream->node_stack);
	free(stream->node_type);
	free(stream->node_thread);
	free(stream->node_extra);
	free(stream->node_weight);
	free(stream->node_sample);
	free(stream->node_kind);
	free(stream);
	return NULL;
}
