/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_answers.h - what is known of one file: records of the reader, or of the cache, by request. */
#ifndef LEAKDIFF_SYMBOLS_ANSWERS_H
#define LEAKDIFF_SYMBOLS_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash_index.h"
#include "core/layout.h"
#include "core/symbols_wire.h"

struct strings;

struct symbols_answers {		/* zero-initialised is empty */
	uint8_t *bytes;			/* the records, in order of arrival */
	uint64_t used, room;

	struct answer { uint64_t at; uint32_t key_bytes, payload_bytes; uint32_t session; } *answers;
	uint64_t answer_room;
	uint32_t answer_count;
	struct hash_index index;	/* answers by key: the first bytes of their payload */

	struct answer_range { uint64_t from, to, at; uint32_t bytes; } *ranges[2];	/* VARIABLE, TLS; sorted */
	uint64_t range_room[2];
	size_t range_count[2];

	struct answer_layout { uint64_t at, members_at; uint32_t bytes, members_bytes, number; } *layouts;
	uint64_t layout_room;
	uint32_t layout_count;
	uint32_t *sessions;		/* first of `layouts` of each session */
	uint64_t session_room;
	uint32_t session_count;
	uint32_t *work;			/* layouts whose members are still to come */
	uint64_t work_room;
	uint32_t work_count;
};

void symbols_answers_done(struct symbols_answers *answers);

/* Add records. What is malformed is refused as a whole, with what went before it kept.
 * Returns 0, -EBADMSG, or -ENOMEM. */
int symbols_answers_add(struct symbols_answers *answers, const uint8_t *records, size_t bytes)
	__attribute__((warn_unused_result));

/* Layouts that come now are numbered from 1 again. Returns 0 or -ENOMEM. */
int symbols_answers_session(struct symbols_answers *answers) __attribute__((warn_unused_result));

/* The answer to a request, and the session that it is of. */
bool symbols_answers_find(const struct symbols_answers *answers, const struct symbols_request *request,
			  const char *name, struct wire *ret_wire, uint32_t *ret_session);

/* A layout of an answer, with everything that it leads to, in `layouts`. Returns 0 or -ENOMEM; a layout that
 * was never described is LAYOUT_VOID. */
int symbols_answers_layout(struct symbols_answers *answers, uint32_t session, uint64_t number,
			   struct layouts *layouts, struct strings *strings, uint32_t *ret_layout)
	__attribute__((warn_unused_result));

#endif
