/* SPDX-License-Identifier: Apache-2.0
 * test_writer.c - the capture stream, written and read back by a reader of its own. */
#include <sys/mman.h>
#include <unistd.h>

#include "preload/crc.h"
#include "preload/edges.h"
#include "preload/writer.h"
#include "test.h"

static unsigned char *stream;
static size_t stream_bytes;

static uint32_t slow_crc(const unsigned char *data, size_t bytes)
{
	uint32_t crc = 0xffffffffu;

	while (bytes--) {
		crc ^= *data++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void read_back(int fd)
{
	stream_bytes = (size_t)lseek(fd, 0, SEEK_END);
	stream = mmap(NULL, stream_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
}

/* The next chunk of `type` behind *at (0 = from the start); its payload, or NULL. */
static const unsigned char *next_chunk(uint32_t type, size_t *at, size_t *ret_bytes)
{
	size_t here = *at ? *at : sizeof(struct stream_header);

	while (here + sizeof(struct stream_chunk) <= stream_bytes) {
		struct stream_chunk head;
		const unsigned char *payload = stream + here + sizeof(head);

		memcpy(&head, stream + here, sizeof(head));
		EXPECT(head.payload_bytes <= STREAM_CHUNK_MAX);
		EXPECT_U64_EQ(head.crc32c, ld__crc32c(payload, head.payload_bytes));
		here += sizeof(head) + head.payload_bytes;
		*at = here;
		if (head.type == type) {
			*ret_bytes = head.payload_bytes;
			return payload;
		}
	}
	return NULL;
}

TEST(crc_agrees_with_the_definition)
{
	unsigned char data[300];

	EXPECT_U64_EQ(ld__crc32c("123456789", 9), 0xe3069283u);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + 3);
	for (size_t n = 0; n <= sizeof(data); n++)
		if (EXPECT_U64_EQ(ld__crc32c(data, n), slow_crc(data, n)))
			return;
}

TEST(equal_strings_are_entered_once_and_elements_do_not_straddle)
{
	int fd = memfd_create("stream", 0);
	struct writer *w = ld__writer_new(fd);
	struct stream_end end = { .nodes = 5 };
	uint64_t element[3] = { 0 }, seen = 0;
	uint32_t a, b;
	const unsigned char *payload;
	size_t at = 0, bytes, strings = 0;

	ASSERT_NOT_NULL(w);
	a = ld__writer_string(w, "one", -1);
	b = ld__writer_string(w, "two", 2);
	EXPECT_U64_EQ(ld__writer_string(w, "one", 3), a);
	EXPECT_U64_EQ(ld__writer_string(w, "tw", -1), b);
	EXPECT_U64_EQ(ld__writer_string(w, "", -1), 0);
	EXPECT(a != b);
	ld__writer_section(w, STREAM_ROOTS);
	for (uint64_t i = 0; i < 100000; i++) {
		element[0] = i;
		ld__writer_put(w, element, sizeof(element));
	}
	EXPECT_INT_EQ(ld__writer_finish(w, &end), 0);
	read_back(fd);

	EXPECT(!memcmp(stream, STREAM_MAGIC, 8));
	while ((payload = next_chunk(STREAM_ROOTS, &at, &bytes))) {
		EXPECT_U64_EQ(bytes % sizeof(element), 0);
		for (size_t i = 0; i < bytes; i += sizeof(element), seen++) {
			memcpy(element, payload + i, sizeof(element));
			if (element[0] != seen)
				EXPECT_U64_EQ(element[0], seen);
		}
	}
	EXPECT_U64_EQ(seen, 100000);
	at = 0;
	payload = next_chunk(STREAM_STRINGS, &at, &strings);
	ASSERT_NOT_NULL(payload);
	EXPECT_STR_EQ((const char *)payload + a, "one");
	EXPECT_STR_EQ((const char *)payload + b, "tw");
	at = 0;
	payload = next_chunk(STREAM_END, &at, &bytes);
	ASSERT_NOT_NULL(payload);
	EXPECT_U64_EQ(bytes, sizeof(end));
	EXPECT_U64_EQ(at, stream_bytes);
}

TEST(a_full_disk_is_an_error_and_leaves_no_end)
{
	int fd = memfd_create("stream", MFD_ALLOW_SEALING);
	struct writer *w;
	struct stream_end end = { 0 };
	char zeros[4096] = { 0 };
	size_t at = 0, bytes;

	ftruncate(fd, 0);
	w = ld__writer_new(fd);
	ASSERT_NOT_NULL(w);
	close(fd);			/* what is written now fails */
	ld__writer_section(w, STREAM_MAPS);
	for (int i = 0; i < 1000; i++)
		ld__writer_put(w, zeros, sizeof(zeros));
	EXPECT(ld__writer_finish(w, &end) < 0);
	EXPECT(ld__writer_error(w) < 0);
	stream_bytes = 0;
	EXPECT(next_chunk(STREAM_END, &at, &bytes) == NULL);
}

/* ---- references ---- */

static uint64_t varint(const unsigned char **at)
{
	uint64_t value = 0;

	for (int shift = 0;; shift += 7) {
		value |= (uint64_t)(**at & 0x7f) << shift;
		if (!(*(*at)++ & 0x80))
			return value;
	}
}

static int64_t signed_varint(const unsigned char **at)
{
	uint64_t value = varint(at);

	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

struct reference { uint32_t source, label, target; int64_t value; uint64_t offset; };

static uint64_t decode(enum stream_type type, bool of_roots, struct reference *out, uint64_t capacity)
{
	const unsigned char *payload;
	size_t at = 0, bytes;
	uint64_t count = 0;

	while ((payload = next_chunk(type, &at, &bytes))) {
		const unsigned char *p = payload, *end = payload + bytes;
		uint64_t source = 0;

		while (p < end) {
			uint64_t references;
			int64_t value = 0, target;
			uint32_t label = STREAM_LABELS;

			source += varint(&p);
			references = varint(&p);
			target = of_roots ? 0 : (int64_t)source;
			while (references--) {
				uint64_t head = varint(&p);
				int64_t step = signed_varint(&p);

				value = (uint32_t)(head >> 1) == label ? (int64_t)((uint64_t)value + (uint64_t)step) : step;
				label = (uint32_t)(head >> 1);
				target += signed_varint(&p);
				if (count < capacity)
					out[count] = (struct reference) { (uint32_t)source, label, (uint32_t)target, value,
									  head & 1 ? varint(&p) : 0 };
				count++;
			}
		}
		EXPECT(p == end);
	}
	return count;
}

static void round_trip(bool of_roots)
{
	enum { COUNT = 1200000 };
	struct reference *in = calloc(COUNT, sizeof(*in)), *out = calloc(COUNT, sizeof(*out));
	int fd = memfd_create("stream", 0);
	struct writer *w = ld__writer_new(fd);
	enum stream_type type = of_roots ? STREAM_ROOT_EDGES : STREAM_EDGES;
	struct stream_end end = { 0 };
	struct edges *edges = ld__edges_new(w, of_roots);
	uint64_t seed = 1, wrong = 0;

	ld__writer_section(w, type);
	for (uint32_t i = 0; i < COUNT; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		/* sources 0, 3, 6, ... with few references, and one with most of them */
		in[i].source = i < 3000 ? i / 10 * 3 : i < 1100000 ? 1000 : 1000 + (i - 1099999) * 7;
		in[i].label = seed >> 60 ? STREAM_LABEL_OFFSET : STREAM_LABEL_OWNS;
		in[i].value = of_roots ? (int64_t)(0x7f0000000000u + (seed >> 30)) : (int64_t)(seed >> 50);
		in[i].target = (uint32_t)(seed >> 33);
		in[i].offset = seed >> 62 ? 0 : seed >> 45;
		if (i == 0 || in[i].source != in[i - 1].source) {
			if (i)
				ld__edges_end(edges);
			ld__edges_begin(edges, in[i].source);
		}
		ld__edges_add(edges, in[i].label, in[i].value, in[i].target, in[i].offset);
	}
	ld__edges_end(edges);
	EXPECT_U64_EQ(ld__edges_count(edges), COUNT);
	EXPECT_INT_EQ(ld__writer_finish(w, &end), 0);
	read_back(fd);
	EXPECT_U64_EQ(decode(type, of_roots, out, COUNT), COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		wrong += memcmp(&in[i], &out[i], sizeof(in[i])) != 0;
	EXPECT_U64_EQ(wrong, 0);
	free(in);
	free(out);
}

TEST(references_of_nodes_survive_coding_over_many_chunks)
{
	round_trip(false);
}

TEST(references_of_roots_survive_coding_over_many_chunks)
{
	round_trip(true);
}

TEST_MAIN()
