/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_answers.c - what is known of one file: records of the reader, or of the cache, by request.
 *
 * Nothing here is believed: a record lies within its bytes, a layout's number within its session, and types
 * that contain each other in a circle without a pointer in between end as `void`. Layouts become the caller's
 * when an answer leads to them, not before: a cache holds more than one snapshot needs. */
#include "core/symbols_answers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "core/strings.h"

#define DEPTH_MAX 64			/* pointers to pointers, arrays of arrays */
#define NOT_YET UINT32_MAX		/* numbers of layouts in the caller's */
#define IN_WORK (UINT32_MAX - 1)

void symbols_answers_done(struct symbols_answers *answers)
{
	free(answers->bytes);
	free(answers->answers);
	free(answers->ranges[0]);
	free(answers->ranges[1]);
	free(answers->layouts);
	free(answers->sessions);
	free(answers->work);
	hash_index_done(&answers->index);
	memset(answers, 0, sizeof(*answers));
}

/* ---- adding ---- */

static uint32_t hash_key(const uint8_t *key, size_t bytes)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	while (bytes--)
		hash = (hash ^ *key++) * 0x100000001b3u;
	return hash_fold(hash);
}

struct key { const uint8_t *bytes; size_t count; };

static bool same_key(const void *owner, uint32_t number, const void *key)
{
	const struct symbols_answers *answers = owner;
	const struct answer *answer = &answers->answers[number];
	const struct key *wanted = key;

	return answer->key_bytes == wanted->count && !memcmp(answers->bytes + answer->at, wanted->bytes, wanted->count);
}

static uint32_t this_session(const struct symbols_answers *answers)
{
	return answers->session_count ? answers->session_count - 1 : 0;
}

/* An answer; one that is there already stays. */
static int add_answer(struct symbols_answers *answers, struct wire payload)
{
	struct key key = { payload.at, 0 };
	uint64_t at = (uint64_t)(payload.at - answers->bytes);
	uint32_t hash, bytes = (uint32_t)(payload.end - payload.at);
	size_t length;
	int r;

	wire_get(&payload);
	wire_get(&payload);
	wire_get(&payload);
	wire_get_string(&payload, &length);
	if (payload.bad)
		return -EBADMSG;
	key.count = (size_t)(payload.at - key.bytes);
	hash = hash_key(key.bytes, key.count);
	if (hash_index_find(&answers->index, hash, same_key, answers, &key) != HASH_NONE)
		return 0;
	r = grow_array(&answers->answers, &answers->answer_room, answers->answer_count + 1ull, sizeof(*answers->answers));
	if (r >= 0)
		r = hash_index_add(&answers->index, hash, answers->answer_count);
	if (r >= 0)
		answers->answers[answers->answer_count++] = (struct answer){
			at, (uint32_t)key.count, bytes, this_session(answers) };
	return r;
}

/* The first range that ends after an address. */
static size_t find_range(const struct symbols_answers *answers, int table, uint64_t addr)
{
	size_t low = 0, high = answers->range_count[table];

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (answers->ranges[table][middle].to <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* An answer for a range of addresses; one that overlaps what is there is left out. */
static int add_range(struct symbols_answers *answers, struct wire payload)
{
	uint64_t op = wire_get(&payload);
	struct answer_range range, *ranges;
	int table = op == WIRE_TLS, r;
	size_t at;

	range.from = wire_get(&payload);
	range.to = wire_get(&payload);
	if (payload.bad || (op != WIRE_VARIABLE && op != WIRE_TLS) || range.to <= range.from)
		return -EBADMSG;
	range.at = (uint64_t)(payload.at - answers->bytes);
	range.bytes = (uint32_t)(payload.end - payload.at);
	at = find_range(answers, table, range.from);
	if (at < answers->range_count[table] && answers->ranges[table][at].from < range.to)
		return 0;
	r = grow_array(&answers->ranges[table], &answers->range_room[table], answers->range_count[table] + 1ull,
		       sizeof(*answers->ranges[table]));
	if (r < 0)
		return r;
	ranges = answers->ranges[table];
	memmove(ranges + at + 1, ranges + at, (answers->range_count[table] - at) * sizeof(*ranges));
	ranges[at] = range;
	answers->range_count[table]++;
	return 0;
}

int symbols_answers_session(struct symbols_answers *answers)
{
	static const uint8_t record[] = { 1, WIRE_SESSION };

	return symbols_answers_add(answers, record, sizeof(record));
}

static int add_session(struct symbols_answers *answers)
{
	int r = grow_array(&answers->sessions, &answers->session_room, answers->session_count + 1ull,
			   sizeof(*answers->sessions));

	if (r >= 0)
		answers->sessions[answers->session_count++] = answers->layout_count;
	return r;
}

static int add_layout(struct symbols_answers *answers, struct wire payload)
{
	int r = answers->session_count ? 0 : add_session(answers);

	if (r >= 0)
		r = grow_array(&answers->layouts, &answers->layout_room, answers->layout_count + 1ull,
			       sizeof(*answers->layouts));
	if (r >= 0)
		answers->layouts[answers->layout_count++] = (struct answer_layout){
			.at = (uint64_t)(payload.at - answers->bytes), .bytes = (uint32_t)(payload.end - payload.at),
			.number = NOT_YET };
	return r;
}

/* The layout of a number in a session; NULL = none. */
static struct answer_layout *layout_of(const struct symbols_answers *answers, uint32_t session, uint64_t number)
{
	uint32_t first, end;

	if (session >= answers->session_count)
		return NULL;
	first = answers->sessions[session];
	end = session + 1 < answers->session_count ? answers->sessions[session + 1] : answers->layout_count;
	return number && number <= end - first ? &answers->layouts[first + number - 1] : NULL;
}

static int add_members(struct symbols_answers *answers, struct wire payload)
{
	struct answer_layout *layout = layout_of(answers, this_session(answers), wire_get(&payload));

	if (payload.bad || !layout)
		return -EBADMSG;
	layout->members_at = (uint64_t)(payload.at - answers->bytes);
	layout->members_bytes = (uint32_t)(payload.end - payload.at);
	return 0;
}

static int add_record(struct symbols_answers *answers, struct wire payload)
{
	switch (*payload.at++) {
	case WIRE_ANSWER:
		return add_answer(answers, payload);
	case WIRE_RANGE:
		return add_range(answers, payload);
	case WIRE_SESSION:
		return add_session(answers);
	case WIRE_LAYOUT:
		return add_layout(answers, payload);
	case WIRE_MEMBERS:
		return add_members(answers, payload);
	}
	return -EBADMSG;
}

int symbols_answers_add(struct symbols_answers *answers, const uint8_t *records, size_t bytes)
{
	struct wire wire;
	int r;

	if (!bytes)
		return 0;
	r = grow_array(&answers->bytes, &answers->room, answers->used + bytes, 1);
	if (r < 0)
		return r;
	memcpy(answers->bytes + answers->used, records, bytes);
	wire = (struct wire){ answers->bytes + answers->used, answers->bytes + answers->used + bytes, false };
	while (wire.at < wire.end) {
		uint64_t length = wire_get(&wire);

		if (wire.bad || !length || length > (uint64_t)(wire.end - wire.at) || length > WIRE_REPLY_MAX)
			return -EBADMSG;
		r = add_record(answers, (struct wire){ wire.at, wire.at + length, false });
		if (r < 0)
			return r;
		wire.at += length;
		answers->used = (uint64_t)(wire.at - answers->bytes);
	}
	return 0;
}

/* ---- finding ---- */

bool symbols_answers_find(const struct symbols_answers *answers, const struct symbols_request *request,
			  const char *name, struct wire *ret_wire, uint32_t *ret_session)
{
	uint8_t head[3 * VARINT_MAX + VARINT_MAX], *at = head;
	struct key key = { head, 0 };
	struct text long_key = { 0 };
	const struct answer *answer;
	uint32_t number;

	if (request->op == WIRE_VARIABLE || request->op == WIRE_TLS) {
		int table = request->op == WIRE_TLS;
		size_t place = find_range(answers, table, request->a);
		const struct answer_range *range;

		if (place == answers->range_count[table])
			return false;
		range = &answers->ranges[table][place];
		if (range->from > request->a)
			return false;
		*ret_wire = (struct wire){ answers->bytes + range->at, answers->bytes + range->at + range->bytes, false };
		*ret_session = 0;
		return true;
	}
	at = varint_put(at, request->op);
	at = varint_put(at, request->a);
	at = varint_put(at, varint_zigzag((uint64_t)request->b));
	at = varint_put(at, strlen(name));
	key.count = (size_t)(at - head);
	if (*name) {
		text_append_bytes(&long_key, (const char *)head, key.count);
		text_append(&long_key, name);
		if (long_key.broken)
			return false;
		key = (struct key){ (const uint8_t *)long_key.data, long_key.length };
	}
	number = hash_index_find(&answers->index, hash_key(key.bytes, key.count), same_key, answers, &key);
	text_done(&long_key);
	if (number == HASH_NONE)
		return false;
	answer = &answers->answers[number];
	*ret_wire = (struct wire){ answers->bytes + answer->at + answer->key_bytes,
				   answers->bytes + answer->at + answer->payload_bytes, false };
	*ret_session = answer->session;
	return true;
}

/* ---- layouts ---- */

struct import {
	struct symbols_answers *answers;
	uint32_t session;
	struct layouts *layouts;
	struct strings *strings;
};

static const char *get_interned(struct wire *wire, struct strings *strings)
{
	size_t length;
	const char *string = wire_get_string(wire, &length);

	return strings_intern_bytes(strings, string, length);
}

static int import_layout(struct import *import, uint64_t number, unsigned depth, uint32_t *ret_layout)
{
	struct symbols_answers *answers = import->answers;
	struct answer_layout *from = layout_of(answers, import->session, number);
	struct layout layout = { 0 };
	struct wire wire;
	uint64_t kind, target;
	uint32_t made;
	int r = 0;

	*ret_layout = LAYOUT_VOID;
	if (!from || from->number == IN_WORK || depth > DEPTH_MAX)
		return 0;
	if (from->number != NOT_YET) {
		*ret_layout = from->number;
		return 0;
	}
	from->number = IN_WORK;
	wire = (struct wire){ answers->bytes + from->at, answers->bytes + from->at + from->bytes, false };
	layout.name = get_interned(&wire, import->strings);
	kind = wire_get(&wire);
	layout.kind = kind <= LAYOUT_KIND_FUNCTION ? (enum layout_kind)kind : LAYOUT_KIND_BASE;
	layout.bytes = wire_get(&wire);
	target = wire_get(&wire);
	layout.count = wire_get(&wire);
	layout.file = get_interned(&wire, import->strings);
	layout.line = (uint32_t)wire_get(&wire);
	if (!layout.name || !layout.file)
		return -ENOMEM;
	if (layout.kind == LAYOUT_KIND_POINTER || layout.kind == LAYOUT_KIND_ARRAY)
		r = import_layout(import, target, depth + 1, &layout.target);
	if (r >= 0)
		r = layouts_add(import->layouts, &layout, &made);
	if (r >= 0 && from->members_bytes)
		r = grow_array(&answers->work, &answers->work_room, answers->work_count + 1ull, sizeof(*answers->work));
	if (r < 0)
		return r;
	from->number = *ret_layout = made;
	if (from->members_bytes)
		answers->work[answers->work_count++] = (uint32_t)(from - answers->layouts);
	return 0;
}

static int import_members(struct import *import, const struct answer_layout *from)
{
	const struct symbols_answers *answers = import->answers;
	struct wire wire = { answers->bytes + from->members_at, answers->bytes + from->members_at + from->members_bytes,
			     false };
	uint64_t count = wire_get(&wire), last = 0;
	struct layout_member *members;
	uint32_t made = 0;
	int r = 0;

	if (count > (uint64_t)(wire.end - wire.at))	/* each takes some bytes */
		return 0;
	members = calloc(count + 1, sizeof(*members));
	if (!members)
		return -ENOMEM;
	for (; r >= 0 && made < count; made++) {
		struct layout_member *member = &members[made];
		uint64_t type;

		member->name = get_interned(&wire, import->strings);
		member->offset = wire_get(&wire);
		type = wire_get(&wire);
		member->is_base = wire_get(&wire) != 0;
		if (!member->name)
			r = -ENOMEM;
		if (r < 0 || wire.bad || member->offset < last)
			break;
		last = member->offset;
		r = import_layout(import, type, 0, &member->type);
	}
	if (r >= 0)
		r = layouts_set_members(import->layouts, from->number, members, made);
	free(members);
	return r;
}

int symbols_answers_layout(struct symbols_answers *answers, uint32_t session, uint64_t number,
			   struct layouts *layouts, struct strings *strings, uint32_t *ret_layout)
{
	struct import import = { answers, session, layouts, strings };
	int r = import_layout(&import, number, 0, ret_layout);

	while (r >= 0 && answers->work_count) {
		const struct answer_layout *from = &answers->layouts[answers->work[--answers->work_count]];

		r = import_members(&import, from);
	}
	return r;
}
