/* SPDX-License-Identifier: Apache-2.0
 * L1  symbols_wire.h - what the one who asks for names and the process that reads files say to each other.
 *
 *   request   symbols_request, then `bytes` bytes: of OPEN the strings of symbols_files_open(), of CLASS the name
 *   reply     symbols_reply, then `bytes` bytes: records
 *   record    length (varint), kind (one byte), payload
 *
 * Records are also what the cache keeps, so neither a reader that was taken over by its input nor a cache file
 * of somebody else's making is believed: every number and length is checked where it is read. Numbers are
 * varints, strings a length and bytes without NUL. */
#ifndef LEAKDIFF_SYMBOLS_WIRE_H
#define LEAKDIFF_SYMBOLS_WIRE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "core/text.h"
#include "core/varint.h"

#define WIRE_REPLY_MAX (64u << 20)	/* bytes; more is not believed */

enum wire_op {
	WIRE_OPEN = 1,		/* find the file and its debug file; number is the caller's */
	WIRE_READ,		/* read its tables; a: 1 = leave the debug information alone */
	WIRE_FRAMES,		/* a: address */
	WIRE_VARIABLE,		/* a: address */
	WIRE_TLS,		/* a: offset */
	WIRE_SITE_TYPE,		/* a: return address */
	WIRE_VARIABLE_TYPE,	/* a: address */
	WIRE_TLS_TYPE,		/* a: offset */
	WIRE_LOCAL_TYPE,	/* a: pc, b: offset from the frame's cfa */
	WIRE_CLASS_TYPE,	/* the name follows */
	WIRE_OP_END,
};

enum wire_record {
	WIRE_SESSION = 'S',	/* layouts are numbered anew, from 1 */
	WIRE_LAYOUT = 'L',	/* the next layout */
	WIRE_MEMBERS = 'M',	/* the members of a layout */
	WIRE_ANSWER = 'A',	/* op, a, b, name; then the answer */
	WIRE_RANGE = 'R',	/* op, from, to; then the answer for every address in between */
};

struct symbols_request {
	uint32_t op, file;
	uint32_t cpu_ms, wall_ms;	/* the reader ends itself when it needs more for this */
	uint64_t a;
	int64_t b;
	uint32_t bytes, unused;
};

struct symbols_reply {
	int32_t result;			/* of OPEN and READ: a state. -ENOMEM: memory is short */
	uint32_t used_ms;		/* of processor time */
	uint32_t bytes, unused;
};

static inline void wire_number(struct text *out, uint64_t value)
{
	uint8_t bytes[VARINT_MAX];

	text_append_bytes(out, (const char *)bytes, (size_t)(varint_put(bytes, value) - bytes));
}

static inline void wire_string(struct text *out, const char *string)
{
	size_t length = string ? strlen(string) : 0;

	wire_number(out, length);
	text_append_bytes(out, string ? string : "", length);
}

/* Append a record of a kind, whose payload was put together apart. */
static inline void wire_record(struct text *out, enum wire_record kind, const struct text *payload)
{
	char letter = (char)kind;

	wire_number(out, payload->length + 1);
	text_append_bytes(out, &letter, 1);
	text_append_bytes(out, payload->data ? payload->data : "", payload->length);
	out->broken |= payload->broken;
}

/* Reads from [at, end); after the first thing that is not there it is `bad`, and gives 0 and "". */
struct wire { const uint8_t *at, *end; bool bad; };

static inline uint64_t wire_get(struct wire *wire)
{
	uint64_t value = 0;

	if (wire->bad || !varint_get(&wire->at, wire->end, &value)) {
		wire->bad = true;
		return 0;
	}
	return value;
}

/* A string, not terminated. */
static inline const char *wire_get_string(struct wire *wire, size_t *ret_length)
{
	uint64_t length = wire_get(wire);
	const char *string = (const char *)wire->at;

	if (wire->bad || length > (uint64_t)(wire->end - wire->at)) {
		wire->bad = true;
		*ret_length = 0;
		return "";
	}
	wire->at += length;
	*ret_length = (size_t)length;
	return string;
}

/* All of it, or false: the other side is gone. */
static inline bool wire_take(int fd, void *bytes, size_t count)
{
	for (size_t at = 0; at < count;) {
		ssize_t n = recv(fd, (char *)bytes + at, count - at, 0);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static inline bool wire_give(int fd, const void *bytes, size_t count)
{
	for (size_t at = 0; at < count;) {
		ssize_t n = send(fd, (const char *)bytes + at, count - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

#endif
