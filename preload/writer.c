/* SPDX-License-Identifier: Apache-2.0
 * L2  writer.c - see writer.h.
 *
 *   section buffer   one chunk: header and up to STREAM_CHUNK_MAX bytes, written when full
 *   text             every string so far, [0 .. sent) already written as STRINGS chunks
 *   slots            open-addressed table of offsets into text
 *
 * The whole text stays in memory so that equal strings are found; names are few (paths, threads,
 * types), and TEXT_MAX bounds them. Runs in the snapshot child: mmap and write only. */
#include "writer.h"

#include <errno.h>
#include <string.h>
#include <sys/poll.h>

#include "crc.h"
#include "kernel.h"

#define TEXT_MAX (256ull << 20)		/* reserved, not committed */
#define SLOTS (1u << 20)
#define SLOTS_USED_MAX (SLOTS / 4 * 3)

struct writer {
	int fd;
	int error;
	enum stream_type type;		/* 0 = no section is open */
	size_t used;			/* payload bytes in buffer */
	size_t text_used, text_sent;
	uint32_t slots_used;
	uint64_t strings_refused;
	char *text;
	uint32_t *slots;
	_Alignas(16) unsigned char buffer[sizeof(struct stream_chunk) + STREAM_CHUNK_MAX];
	_Alignas(16) unsigned char strings[sizeof(struct stream_chunk) + STREAM_CHUNK_MAX];
};

static void write_all(struct writer *writer, const unsigned char *data, size_t bytes)
{
	while (bytes && !writer->error) {
		long n = kernel_write(writer->fd, data, bytes);

		if (n == -EAGAIN) {	/* the reader made it so */
			struct pollfd ready = { .fd = writer->fd, .events = POLLOUT };

			n = ld__sys3(SYS_poll, &ready, 1, -1);
			if (n > 0)
				continue;
		}
		if (n == -EINTR)	/* only the child's own time limit interrupts it */
			n = -ETIMEDOUT;
		if (n <= 0) {
			writer->error = n ? (int)n : -EIO;
			return;
		}
		data += n;
		bytes -= (size_t)n;
	}
}

/* chunk: room for the header, then the payload. */
static void write_chunk(struct writer *writer, enum stream_type type, unsigned char *chunk,
			size_t bytes)
{
	struct stream_chunk head = {
		.type = type,
		.crc32c = ld__crc32c(chunk + sizeof(head), bytes),
		.payload_bytes = bytes,
	};

	memcpy(chunk, &head, sizeof(head));
	write_all(writer, chunk, sizeof(head) + bytes);
}

static void flush_section(struct writer *writer)
{
	if (writer->used)
		write_chunk(writer, writer->type, writer->buffer, writer->used);
	writer->used = 0;
}

static void flush_strings(struct writer *writer)
{
	while (writer->text_sent < writer->text_used) {
		size_t bytes = writer->text_used - writer->text_sent;

		if (bytes > STREAM_CHUNK_MAX)
			bytes = STREAM_CHUNK_MAX;
		memcpy(writer->strings + sizeof(struct stream_chunk),
		       writer->text + writer->text_sent, bytes);
		write_chunk(writer, STREAM_STRINGS, writer->strings, bytes);
		writer->text_sent += bytes;
	}
}

struct writer *ld__writer_new(int fd)
{
	struct stream_header head = {
		.major = STREAM_MAJOR, .minor = STREAM_MINOR, .header_bytes = sizeof(head),
	};
	struct writer *writer = kernel_map(sizeof(*writer));
	char *text = kernel_map(TEXT_MAX);
	uint32_t *slots = kernel_map(SLOTS * sizeof(*slots));

	if (!writer || !text || !slots) {
		kernel_unmap(writer, sizeof(*writer));
		kernel_unmap(text, TEXT_MAX);
		kernel_unmap(slots, SLOTS * sizeof(*slots));
		return NULL;
	}
	writer->fd = fd;
	writer->text = text;
	writer->slots = slots;
	writer->text_used = 1;		/* offset 0 is the empty string */
	memcpy(head.magic, STREAM_MAGIC, sizeof(head.magic));
	write_all(writer, (unsigned char *)&head, sizeof(head));
	return writer;
}

void ld__writer_section(struct writer *writer, enum stream_type type)
{
	flush_section(writer);
	writer->type = type;
}

bool ld__writer_room(struct writer *writer, size_t bytes)
{
	if (writer->used + bytes > STREAM_CHUNK_MAX)
		flush_section(writer);
	return writer->used == 0;
}

void ld__writer_put(struct writer *writer, const void *element, size_t bytes)
{
	ld__writer_room(writer, bytes);
	memcpy(writer->buffer + sizeof(struct stream_chunk) + writer->used, element, bytes);
	writer->used += bytes;
}

static uint64_t hash(const char *text, size_t length)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

uint32_t ld__writer_string(struct writer *writer, const char *text, long known_length)
{
	size_t length;
	uint32_t slot, offset;

	if (!text)
		return 0;
	length = known_length < 0 ? text_length(text) : (size_t)known_length;
	if (!length)
		return 0;
	slot = (uint32_t)hash(text, length) & (SLOTS - 1);
	for (; (offset = writer->slots[slot]) != 0; slot = (slot + 1) & (SLOTS - 1)) {
		const char *other = writer->text + offset;

		if (!memcmp(other, text, length) && !other[length])
			return offset;
	}
	if (writer->text_used + length + 1 >= TEXT_MAX || writer->slots_used >= SLOTS_USED_MAX) {
		writer->strings_refused++;
		return 0;
	}
	offset = (uint32_t)writer->text_used;
	memcpy(writer->text + offset, text, length);
	writer->text_used += length + 1;
	writer->slots[slot] = offset;
	writer->slots_used++;
	return offset;
}

uint64_t ld__writer_strings_refused(const struct writer *writer)
{
	return writer->strings_refused;
}

void ld__writer_meta(struct writer *writer, const char *key, const char *value)
{
	size_t key_bytes = text_length(key) + 1, value_bytes = text_length(value) + 1;

	if (key_bytes + value_bytes > STREAM_CHUNK_MAX)
		return;
	ld__writer_room(writer, key_bytes + value_bytes);	/* a pair never straddles chunks */
	ld__writer_put(writer, key, key_bytes);
	ld__writer_put(writer, value, value_bytes);
}

void ld__writer_meta_number(struct writer *writer, const char *key, uint64_t value)
{
	char digits[24];

	ld__text_format(digits, sizeof(digits), 0, "%lu", (unsigned long)value);
	ld__writer_meta(writer, key, digits);
}

void ld__writer_flush(struct writer *writer)
{
	flush_section(writer);
	flush_strings(writer);
}

int ld__writer_error(const struct writer *writer)
{
	return writer->error;
}

int ld__writer_finish(struct writer *writer, const struct stream_end *end)
{
	ld__writer_flush(writer);
	ld__writer_section(writer, STREAM_END);
	ld__writer_put(writer, end, sizeof(*end));
	flush_section(writer);
	return writer->error;
}
