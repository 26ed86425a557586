/* SPDX-License-Identifier: Apache-2.0
 * test_stream.c - the reader of capture streams: what it accepts, and that it refuses the rest. */
#include "test.h"

#include <errno.h>

#include "core/crc32c.h"
#include "core/stream.h"
#include "core/varint.h"
#include "unit/stream_builder.h"
#include "unit/stream_file.h"

/* Three blocks, one root, references of every shape. */
static void fill(struct builder *b)
{
	uint32_t name, inner;

	builder_meta(b, "pid", "42");
	builder_meta(b, "command", "first");
	builder_meta(b, "command", "second");
	name = builder_string(b, "/bin/service");
	builder_add(b, STREAM_MODULES, (struct stream_module){
		.base = 0x1000, .start = 0x1000, .end = 0x9000, .last_birth = UINT64_MAX, .path = name });
	inner = builder_stack(b, 0x1234, builder_stack(b, 0x1111, 0, 0), 0);
	builder_block(b, 0x10000, 64, 5, inner);
	builder_block(b, 0x10050, 16, 7, 0);
	builder_block(b, 0x20000, 1048576, 6, inner);
	builder_root(b, &(struct stream_root){ .start = 0x3000, .end = 0x3010, .kind = STREAM_ROOT_GLOBAL,
					       .module = 0, .thread = STREAM_NONE });
	builder_edge(b, false, 0, STREAM_LABEL_OFFSET, 0, 1, 0);
	builder_edge(b, false, 0, STREAM_LABEL_OFFSET, 8, 2, 4096);
	builder_edge(b, false, 0, STREAM_LABEL_ATTR, name, 1, 0);
	builder_edge(b, false, 2, STREAM_LABEL_INDEX, 1000, 0, 0);
	builder_edge(b, false, 2, STREAM_LABEL_INDEX, 3, 2, 0);
	builder_edge(b, true, 0, STREAM_LABEL_OFFSET, 0x3008, 0, 0);
}

/* Read bytes; the error must be one sentence. */
static int read_bytes(const uint8_t *bytes, size_t size, struct stream **ret_stream, char **ret_error)
{
	int fd = file_of(bytes, size), r;

	*ret_error = NULL;
	*ret_stream = NULL;
	r = stream_read(fd, NULL, NULL, ret_stream, ret_error);
	close(fd);
	if (r < 0) {
		EXPECT(*ret_error && **ret_error && !strchr(*ret_error, '\n'));
		EXPECT(*ret_stream == NULL);
	} else {
		EXPECT(*ret_error == NULL);
	}
	return r;
}

/* Expect a refusal with these words. */
static void refuse_built(struct builder *b, int code, const char *words)
{
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes = builder_finish(b, &size);

	EXPECT_INT_EQ(read_bytes(bytes, size, &stream, &error), code);
	EXPECT_CONTAINS(error, words);
	stream_free(stream);
	free(error);
	free(bytes);
}

TEST(what_was_written_is_read)
{
	struct builder b = { 0 };
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(read_bytes(bytes, size, &stream, &error), 0);
	EXPECT_U64_EQ(stream->file_bytes, size);
	EXPECT_U64_EQ(stream->node_count, 3);
	EXPECT_U64_EQ(stream->node_addr[1], 0x10050);
	EXPECT_U64_EQ(stream->node_bytes[2], 1048576);
	EXPECT_U64_EQ(stream->node_birth[0], 5);
	EXPECT_U64_EQ(stream->node_stack[2], 2);
	EXPECT_U64_EQ(stream->node_type[0], STREAM_NONE);
	EXPECT(stream->node_extra == NULL && stream->node_weight == NULL);
	EXPECT_U64_EQ(stream->stack_count, 2);
	EXPECT_U64_EQ(stream->stacks[1].parent, 1);
	EXPECT_STR_EQ(stream_string(stream, stream->modules[0].path), "/bin/service");
	EXPECT_STR_EQ(stream_meta(stream, "pid"), "42");
	EXPECT(stream_meta(stream, "none") == NULL);
	stream_free(stream);
	free(bytes);
}

TEST(a_later_key_overrides_an_earlier_one)
{
	struct builder b = { 0 };
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(read_bytes(bytes, size, &stream, &error), 0);
	EXPECT_STR_EQ(stream_meta(stream, "command"), "second");
	stream_free(stream);
	free(bytes);
}

TEST(edges_come_back_with_labels_and_offsets)
{
	static const struct stream_edge want[] = {
		{ .source = 0, .target = 1, .label = STREAM_LABEL_OFFSET, .value = 0 },
		{ .source = 0, .target = 2, .label = STREAM_LABEL_OFFSET, .value = 8, .interior = true, .target_offset = 4096 },
		{ .source = 0, .target = 1, .label = STREAM_LABEL_ATTR, .value = 1 },
		{ .source = 2, .target = 0, .label = STREAM_LABEL_INDEX, .value = 1000 },
		{ .source = 2, .target = 2, .label = STREAM_LABEL_INDEX, .value = 3 },
	};
	struct builder b = { 0 };
	struct stream_cursor cursor;
	struct stream_edge edge;
	struct stream *stream;
	char *error;
	size_t size, i = 0;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(read_bytes(bytes, size, &stream, &error), 0);
	stream_cursor_start(stream, false, &cursor);
	while (stream_cursor_next(&cursor, &edge) > 0 && i < 5) {
		EXPECT_U64_EQ(edge.source, want[i].source);
		EXPECT_U64_EQ(edge.target, want[i].target);
		EXPECT_U64_EQ(edge.label, want[i].label);
		EXPECT_U64_EQ(edge.value, want[i].value);
		EXPECT_U64_EQ(edge.interior, want[i].interior);
		EXPECT_U64_EQ(edge.target_offset, want[i].target_offset);
		i++;
	}
	EXPECT_U64_EQ(i, 5);
	stream_cursor_start(stream, true, &cursor);
	EXPECT_INT_EQ(stream_cursor_next(&cursor, &edge), 1);
	EXPECT_U64_EQ(edge.value, 0x3008);
	EXPECT_INT_EQ(stream_cursor_next(&cursor, &edge), 0);
	stream_free(stream);
	free(bytes);
}

TEST(a_source_goes_on_in_the_next_chunk)
{
	struct builder b = { .chunk_max = 256 };
	struct stream_cursor cursor;
	struct stream_edge edge;
	struct stream *stream;
	char *error;
	size_t size, seen = 0;
	uint8_t *bytes;

	for (unsigned i = 0; i < 300; i++)
		builder_block(&b, 0x1000 + i * 32, 16, i, 0);
	for (unsigned i = 0; i < 1000; i++)
		builder_edge(&b, false, 7, STREAM_LABEL_OFFSET, i * 8, i % 300, 0);
	builder_edge(&b, false, 299, STREAM_LABEL_OFFSET, 0, 0, 0);
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(read_bytes(bytes, size, &stream, &error), 0);
	EXPECT(stream->edge_chunk_count > 3);
	stream_cursor_start(stream, false, &cursor);
	while (stream_cursor_next(&cursor, &edge) > 0) {
		if (seen < 1000) {
			EXPECT_U64_EQ(edge.source, 7);
			EXPECT_U64_EQ(edge.value, seen * 8);
			EXPECT_U64_EQ(edge.target, seen % 300);
		}
		seen++;
	}
	EXPECT_U64_EQ(seen, 1001);
	stream_free(stream);
	free(bytes);
}

TEST(rare_columns_appear_with_their_defaults_before_them)
{
	struct builder b = { .chunk_max = 96 };
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	for (unsigned i = 0; i < 10; i++)
		builder_node(&b, &(struct stream_node){ .addr = 64 * i, .bytes = 8, .type = STREAM_NONE,
			.kind = STREAM_NODE_MALLOC, .weight = i == 7 ? 100 : 1, .extra = i == 8 ? 3 : 0 });
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(read_bytes(bytes, size, &stream, &error), 0);
	ASSERT(stream->node_weight && stream->node_extra);
	EXPECT_U64_EQ(stream->node_weight[0], 1);
	EXPECT_U64_EQ(stream->node_weight[7], 100);
	EXPECT_U64_EQ(stream->node_weight[9], 1);
	EXPECT_U64_EQ(stream->node_extra[7], 0);
	EXPECT_U64_EQ(stream->node_extra[8], 3);
	stream_free(stream);
	free(bytes);
}

TEST(a_pipe_is_read_as_well_as_a_file)
{
	struct builder b = { 0 };
	struct stream *stream = NULL;
	char *error = NULL;
	size_t size;
	uint8_t *bytes;
	int ends[2];

	fill(&b);
	bytes = builder_finish(&b, &size);
	ASSERT_INT_EQ(pipe(ends), 0);
	ASSERT_INT_EQ(write(ends[1], bytes, size), (int64_t)size);
	/* the writer stays open: nothing after END may be waited for */
	EXPECT_INT_EQ(stream_read(ends[0], NULL, NULL, &stream, &error), 0);
	stream_free(stream);
	free(error);
	free(bytes);
	close(ends[0]);
	close(ends[1]);
}

TEST(every_truncation_is_refused_and_named_so)
{
	struct builder b = { 0 };
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	for (size_t cut = 0; cut < size; cut++) {
		EXPECT_INT_EQ(read_bytes(bytes, cut, &stream, &error), -EBADMSG);
		EXPECT_CONTAINS(error, cut ? "truncated" : "empty");
		free(error);
	}
	free(bytes);
}

TEST(no_flipped_bit_is_believed_or_harmful)
{
	struct builder b = { 0 };
	struct stream *stream;
	char *error;
	size_t size, accepted = 0;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	for (size_t at = 0; at < size; at++)
		for (int bit = 0; bit < 8; bit++) {
			bytes[at] ^= (uint8_t)(1 << bit);
			if (read_bytes(bytes, size, &stream, &error) == 0) {
				/* the header's minor and flags, and chunk types nobody needs, may differ */
				accepted++;
				EXPECT(at < 24 || stream->unknown_chunks);
				stream_free(stream);
			} else {
				free(error);
			}
			bytes[at] ^= (uint8_t)(1 << bit);
		}
	EXPECT(accepted < size);
	free(bytes);
}

TEST(foreign_newer_and_older_streams_are_told_apart)
{
	struct builder b = { .major = STREAM_MAJOR + 1 };
	struct stream *stream;
	char *error;

	fill(&b);
	refuse_built(&b, -EPROTO, "newer");
	EXPECT_INT_EQ(read_bytes((const uint8_t *)"hello, world, this is text", 26, &stream, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "not a leakdiff capture stream");
	free(error);
	EXPECT_INT_EQ(read_bytes((const uint8_t *)"SQLite format 3\0..........", 26, &stream, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "SQLite");
	free(error);
}

TEST(unknown_chunks_of_a_newer_minor_are_skipped_and_counted)
{
	struct builder b = { .minor = STREAM_MINOR + 3 };
	struct builder_bytes all = { 0 };
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	builder_append(&all, bytes, size - sizeof(struct stream_chunk) - sizeof(struct stream_end));
	builder_chunk(&all, 77, (const uint8_t *)"news", 4);
	builder_append(&all, bytes + size - sizeof(struct stream_chunk) - sizeof(struct stream_end),
		       sizeof(struct stream_chunk) + sizeof(struct stream_end));
	ASSERT_INT_EQ(read_bytes(all.data, all.count, &stream, &error), 0);
	EXPECT_U64_EQ(stream->unknown_chunks, 1);
	EXPECT_U64_EQ(stream->unknown_bytes, 4);
	EXPECT_U64_EQ(stream->unknown_type, 77);
	stream_free(stream);
	free(all.data);
	free(bytes);
}

TEST(nodes_out_of_order_are_refused)
{
	struct builder b = { 0 };

	builder_block(&b, 0x2000, 16, 1, 0);
	builder_block(&b, 0x1000, 16, 2, 0);
	refuse_built(&b, -EBADMSG, "comes after");
}

TEST(a_node_past_the_end_of_memory_is_refused)
{
	struct builder b = { 0 };

	builder_block(&b, INT64_MAX - 8, 16, 1, 0);
	refuse_built(&b, -EBADMSG, "end of memory");
	builder_block(&b, 0, INT64_MAX, 1, 0);
	builder_block(&b, 0, INT64_MAX, 1, 0);
	refuse_built(&b, -EBADMSG, "sizes pass the end of memory");
}

TEST(ids_out_of_range_are_refused)
{
	struct builder b = { 0 };

	builder_block(&b, 0x1000, 16, 1, 1);
	refuse_built(&b, -EBADMSG, "has stack 1 of 0");

	builder_node(&b, &(struct stream_node){ .addr = 1, .bytes = 1, .kind = STREAM_NODE_MALLOC, .type = 5 });
	refuse_built(&b, -EBADMSG, "has type 5 of 0");

	builder_node(&b, &(struct stream_node){ .addr = 1, .bytes = 1, .kind = 99, .type = STREAM_NONE });
	refuse_built(&b, -EBADMSG, "unknown kind");

	builder_block(&b, 0x1000, 16, 1, 0);
	builder_edge(&b, false, 0, STREAM_LABEL_OFFSET, 0, 9, 0);
	refuse_built(&b, -EBADMSG, "points at node 9 of 1");

	builder_block(&b, 0x1000, 16, 1, 0);
	builder_edge(&b, false, 3, STREAM_LABEL_OFFSET, 0, 0, 0);
	refuse_built(&b, -EBADMSG, "node 3, out of order or range");

	builder_block(&b, 0x1000, 16, 1, 0);
	builder_edge(&b, true, 0, STREAM_LABEL_OFFSET, 0, 0, 0);
	refuse_built(&b, -EBADMSG, "root 0, out of order or range");

	builder_block(&b, 0x1000, 16, 1, 0);
	builder_edge(&b, false, 0, STREAM_LABEL_ATTR, 4711, 0, 0);
	refuse_built(&b, -EBADMSG, "outside the string table");

	builder_add(&b, STREAM_MODULES, (struct stream_module){ .path = 4711 });
	refuse_built(&b, -EBADMSG, "module 0");

	builder_add(&b, STREAM_MODULES, (struct stream_module){ .build_id_bytes = 33 });
	refuse_built(&b, -EBADMSG, "module 0");

	builder_add(&b, STREAM_TRACEBACKS, (struct stream_frame){ .thread = 1 });
	refuse_built(&b, -EBADMSG, "traceback frame 0");

	builder_add(&b, STREAM_PYTHREADS, (struct stream_pythread){ .thread = 1 });
	refuse_built(&b, -EBADMSG, "Python thread 0");

	builder_add(&b, STREAM_PYTRACES, (struct stream_pytrace){ .owner = 0 });
	refuse_built(&b, -EBADMSG, "Python traceback frame 0");

	builder_add(&b, STREAM_PYCACHES, (struct stream_pycache){ .node = 0 });
	refuse_built(&b, -EBADMSG, "Python cache 0");

	builder_add(&b, STREAM_ARENAS, (struct stream_arena){ .why = 1000 });
	refuse_built(&b, -EBADMSG, "arena 0");
}

TEST(a_stack_that_is_its_own_caller_is_refused)
{
	struct builder b = { 0 };

	builder_stack(&b, 0x1000, 1, 0);
	refuse_built(&b, -EBADMSG, "parents come first");
}

TEST(a_cache_of_more_entries_than_can_be_is_refused)
{
	struct builder b = { 0 };

	fill(&b);
	builder_add(&b, STREAM_PYCACHES, (struct stream_pycache){ .node = 0, .entries = (uint64_t)INT64_MAX + 1 });
	refuse_built(&b, -EBADMSG, "more entries than can be");
}

TEST(totals_that_disagree_are_refused)
{
	struct builder b = { 0 };

	fill(&b);
	b.end.nodes++;
	refuse_built(&b, -EBADMSG, "its END mark says");
	fill(&b);
	b.end.edges--;
	refuse_built(&b, -EBADMSG, "its END mark says");
}

TEST(a_chunk_larger_than_allowed_is_refused_before_it_is_read)
{
	struct builder_bytes all = { 0 };
	struct stream_header header = { .magic = STREAM_MAGIC, .major = 1, .header_bytes = sizeof(header) };
	struct stream_chunk chunk = { STREAM_META, 0, UINT64_MAX };
	struct stream *stream;
	char *error;

	memcpy(header.magic, STREAM_MAGIC, 8);
	builder_append(&all, &header, sizeof(header));
	builder_append(&all, &chunk, sizeof(chunk));
	EXPECT_INT_EQ(read_bytes(all.data, all.count, &stream, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "more than the");
	free(error);
	free(all.data);
}

TEST(a_longer_header_of_a_newer_minor_is_skipped)
{
	struct builder b = { 0 };
	struct builder_bytes all = { 0 };
	struct stream_header header;
	struct stream *stream;
	char *error;
	size_t size;
	uint8_t *bytes;

	fill(&b);
	bytes = builder_finish(&b, &size);
	memcpy(&header, bytes, sizeof(header));
	header.header_bytes += 16;
	builder_append(&all, &header, sizeof(header));
	builder_append(&all, "0123456789abcdef", 16);
	builder_append(&all, bytes + sizeof(header), size - sizeof(header));
	EXPECT_INT_EQ(read_bytes(all.data, all.count, &stream, &error), 0);
	stream_free(stream);
	free(all.data);
	free(bytes);
}

TEST(the_checksum_is_castagnolis)
{
	uint8_t bytes[100];

	EXPECT_U64_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37);
	for (unsigned i = 0; i <= sizeof(bytes); i++)
		EXPECT_U64_EQ(crc32c(0, bytes, i), builder_crc(bytes, i));
	EXPECT_U64_EQ(crc32c(crc32c(0, bytes, 33), bytes + 33, 67), builder_crc(bytes, 100));
}

TEST(varints_survive_the_round_trip_and_nothing_longer_is_read)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX };
	static const uint8_t too_long[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02 };
	uint8_t buffer[VARINT_MAX];
	const uint8_t *at;
	uint64_t value;

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		uint8_t *end = varint_put(buffer, values[i]);

		at = buffer;
		EXPECT(varint_get(&at, end, &value) && value == values[i] && at == end);
		for (const uint8_t *cut = buffer; cut < end; cut++) {
			at = buffer;
			EXPECT(!varint_get(&at, cut, &value) && at == buffer);
		}
		EXPECT_U64_EQ(varint_unzigzag(varint_zigzag(values[i])), values[i]);
	}
	EXPECT_U64_EQ(varint_zigzag((uint64_t)-1), 1);
	at = too_long;
	EXPECT(!varint_get(&at, too_long + sizeof(too_long), &value));
}

TEST_MAIN()
