/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_serve.c - answers requests for names in the process that reads files: a loop around symbols_files.c.
 *
 * Timers of the kernel end the process when one request needs more time than it may. Layouts of types go out
 * before the first answer that needs them, each once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "core/symbols_private.h"
#include "core/symbols_reader.h"
#include "core/symbols_wire.h"

#define NAME_MAX_BYTES (1u << 20)	/* of a request */
#define SITES_MAX 16

struct sent { uint32_t layouts, members; uint32_t *with_members; uint64_t room; };

struct server {
	int fd;
	struct strings *strings;
	struct symbols_files *files;
	struct sent *sent;		/* per file: what has gone out */
	uint32_t sent_count;
	struct text out, payload;
	char *name;
};

/* ---- time ---- */

static void set_timer(int which, uint32_t ms)
{
	const struct itimerval time = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	setitimer(which, &time, NULL);
}

static uint64_t used_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- answers ---- */

static void begin_answer(struct server *server, const struct symbols_request *request)
{
	server->payload.length = 0;
	wire_number(&server->payload, request->op);
	wire_number(&server->payload, request->a);
	wire_number(&server->payload, varint_zigzag((uint64_t)request->b));
	wire_string(&server->payload, server->name);
}

static void begin_range(struct server *server, uint32_t op, uint64_t from, uint64_t to)
{
	server->payload.length = 0;
	wire_number(&server->payload, op);
	wire_number(&server->payload, from);
	wire_number(&server->payload, to);
}

static int answer_frames(struct server *server, const struct symbols_request *request)
{
	struct symbols_frame frames[SYMBOLS_FRAMES_MAX];
	int count = symbols_files_frames(server->files, (int)request->file, request->a, frames, SYMBOLS_FRAMES_MAX);

	if (count < 0)
		return count;
	begin_answer(server, request);
	wire_number(&server->payload, (uint64_t)count);
	for (int i = 0; i < count; i++) {
		wire_string(&server->payload, frames[i].function);
		wire_string(&server->payload, frames[i].file);
		wire_string(&server->payload, frames[i].language);
		wire_number(&server->payload, frames[i].line);
		wire_number(&server->payload, frames[i].inlined);
	}
	wire_record(&server->out, WIRE_ANSWER, &server->payload);
	return 0;
}

static int answer_variable(struct server *server, const struct symbols_request *request)
{
	struct symbols_variable variable = { .name = "" };
	uint64_t from, to;
	int r = request->op == WIRE_TLS ?
			symbols_files_tls(server->files, (int)request->file, request->a, &variable, &from, &to) :
			symbols_files_variable(server->files, (int)request->file, request->a, &variable, &from, &to);

	if (r < 0)
		return r;
	begin_range(server, request->op, from, to);
	wire_number(&server->payload, (uint64_t)r);
	wire_string(&server->payload, variable.name);
	wire_number(&server->payload, variable.start);
	wire_number(&server->payload, variable.end);
	wire_number(&server->payload, variable.is_section);
	wire_record(&server->out, WIRE_RANGE, &server->payload);
	return 0;
}

/* ---- types ---- */

static int room_for(struct server *server, uint32_t file)
{
	uint32_t wanted = file + 1;
	struct sent *wider;

	if (file < server->sent_count)
		return 0;
	wider = reallocarray(server->sent, wanted, sizeof(*wider));
	if (!wider)
		return -ENOMEM;
	memset(wider + server->sent_count, 0, (wanted - server->sent_count) * sizeof(*wider));
	server->sent = wider;
	server->sent_count = wanted;
	return 0;
}

static void send_layout(struct server *server, const struct layout *layout)
{
	server->payload.length = 0;
	wire_string(&server->payload, layout->name);
	wire_number(&server->payload, layout->kind);
	wire_number(&server->payload, layout->bytes);
	wire_number(&server->payload, layout->target);
	wire_number(&server->payload, layout->count);
	wire_string(&server->payload, layout->file);
	wire_number(&server->payload, layout->line);
	wire_record(&server->out, WIRE_LAYOUT, &server->payload);
}

static void send_members(struct server *server, const struct layouts *layouts, uint32_t number)
{
	const struct layout *layout = &layouts->layouts[number];

	server->payload.length = 0;
	wire_number(&server->payload, number);
	wire_number(&server->payload, layout->member_count);
	for (uint32_t i = 0; i < layout->member_count; i++) {
		const struct layout_member *member = &layouts->members[layout->first_member + i];

		wire_string(&server->payload, member->name);
		wire_number(&server->payload, member->offset);
		wire_number(&server->payload, member->type);
		wire_number(&server->payload, member->is_base);
	}
	wire_record(&server->out, WIRE_MEMBERS, &server->payload);
}

/* What is new of a file's layouts: those that were added, and those that got their members. */
static int send_layouts(struct server *server, uint32_t file, const struct layouts *layouts)
{
	struct sent *sent;

	if (room_for(server, file) < 0)
		return -ENOMEM;
	sent = &server->sent[file];
	if (layouts->count > sent->room) {
		uint32_t *wider = reallocarray(sent->with_members, layouts->count * 2ull, sizeof(*wider));

		if (!wider)
			return -ENOMEM;
		memset(wider + sent->room, 0, (layouts->count * 2ull - sent->room) * sizeof(*wider));
		sent->with_members = wider;
		sent->room = layouts->count * 2ull;
	}
	for (; sent->layouts < layouts->count; sent->layouts++)
		if (sent->layouts)
			send_layout(server, &layouts->layouts[sent->layouts]);
	if (sent->members == layouts->member_count)
		return 0;
	for (uint32_t i = 0; i < layouts->count; i++)
		if (layouts->layouts[i].member_count && !sent->with_members[i]) {
			sent->with_members[i] = 1;
			send_members(server, layouts, i);
		}
	sent->members = layouts->member_count;
	return 0;
}

static void put_declaration(struct server *server, int r, const struct symbols_declaration *declaration)
{
	wire_number(&server->payload, (uint64_t)r);
	wire_string(&server->payload, declaration->name);
	wire_number(&server->payload, declaration->layout);
	wire_number(&server->payload, declaration->offset);
	wire_string(&server->payload, declaration->file);
	wire_number(&server->payload, declaration->line);
}

static int answer_type(struct server *server, const struct symbols_request *request)
{
	struct symbols_declaration declaration = { .name = "", .file = "" };
	struct symbols_site sites[SITES_MAX];
	struct symbols_files *files = server->files;
	struct symbols_file *file;
	uint32_t layout = LAYOUT_VOID;
	int number = (int)request->file, r = symbols_need_file(files, number, &file), added;

	if (r > 0) {
		switch (request->op) {
		case WIRE_SITE_TYPE:
			r = symbols_files_site_types(files, number, request->a, &file->layouts, sites, SITES_MAX);
			break;
		case WIRE_VARIABLE_TYPE:
			r = symbols_files_variable_type(files, number, request->a, &file->layouts, &declaration);
			break;
		case WIRE_TLS_TYPE:
			r = symbols_files_tls_type(files, number, request->a, &file->layouts, &declaration);
			break;
		case WIRE_LOCAL_TYPE:
			r = symbols_files_local_type(files, number, request->a, request->b, &file->layouts, &declaration);
			break;
		default:
			r = symbols_files_class_type(files, number, server->name, &file->layouts, &layout);
		}
		if (r < 0)
			return r;
		added = send_layouts(server, request->file, &file->layouts);
		if (added < 0)
			return added;
	}
	begin_answer(server, request);
	if (request->op == WIRE_CLASS_TYPE) {
		wire_number(&server->payload, (uint64_t)r);
		wire_number(&server->payload, layout);
	} else if (request->op == WIRE_SITE_TYPE) {
		wire_number(&server->payload, (uint64_t)r);
		for (int i = 0; i < r; i++) {
			wire_number(&server->payload, sites[i].layout);
			wire_number(&server->payload, sites[i].offset);
			wire_number(&server->payload, sites[i].how);
			wire_string(&server->payload, sites[i].evidence);
			wire_number(&server->payload, sites[i].confidence);
			wire_number(&server->payload, sites[i].passes_on);
		}
	} else {
		put_declaration(server, r, &declaration);
	}
	wire_record(&server->out, WIRE_ANSWER, &server->payload);
	return 0;
}

/* ---- files ---- */

/* The strings of a place, one after the other, each with its NUL; then the build-id. */
static int open_file(struct server *server, const struct symbols_request *request)
{
	const char *strings[4], *at = server->name, *end = at + request->bytes;
	struct symbols_place place;
	struct text identity = { 0 };
	int r;

	for (int i = 0; i < 4; i++) {
		size_t length = strnlen(at, (size_t)(end - at));

		if (at + length == end)
			return -EINVAL;
		strings[i] = at;
		at += length + 1;
	}
	place = (struct symbols_place){ .root = strings[0], .path = strings[1], .fallback = strings[2],
					.debug = strings[3], .build_id = (const uint8_t *)at,
					.build_id_bytes = (uint32_t)(end - at) };
	r = symbols_files_open(server->files, (int)request->file, &place, &identity);
	if (request->file < server->sent_count) {	/* opened anew */
		free(server->sent[request->file].with_members);
		server->sent[request->file] = (struct sent){ 0 };
	}
	server->payload.length = 0;
	wire_string(&server->payload, identity.data ? identity.data : "");
	text_append_bytes(&server->out, server->payload.data, server->payload.length);
	if (identity.broken)
		r = -ENOMEM;
	text_done(&identity);
	return r;
}

static int answer(struct server *server, const struct symbols_request *request)
{
	switch (request->op) {
	case WIRE_OPEN:
		return open_file(server, request);
	case WIRE_READ:
		return symbols_files_read(server->files, (int)request->file, request->a != 0);
	case WIRE_FRAMES:
		return answer_frames(server, request);
	case WIRE_VARIABLE:
	case WIRE_TLS:
		return answer_variable(server, request);
	default:
		return request->op < WIRE_OP_END ? answer_type(server, request) : -EINVAL;
	}
}

static bool serve_one(struct server *server)
{
	struct symbols_request request;
	struct symbols_reply reply = { 0 };
	uint64_t begun;

	if (!wire_take(server->fd, &request, sizeof(request)) || request.bytes > NAME_MAX_BYTES ||
	    !wire_take(server->fd, server->name, request.bytes))
		return false;
	server->name[request.bytes] = 0;
	set_timer(ITIMER_PROF, request.cpu_ms);
	set_timer(ITIMER_REAL, request.wall_ms);
	begun = used_us();
	server->out.length = 0;
	reply.result = answer(server, &request);
	set_timer(ITIMER_PROF, 0);
	set_timer(ITIMER_REAL, 0);
	if (reply.result == -ENOMEM || server->out.broken || server->payload.broken)
		_exit(SYMBOLS_EXIT_MEMORY);	/* the next process begins with all of it */
	reply.used_ms = (uint32_t)((used_us() - begun + 500) / 1000);
	reply.bytes = (uint32_t)server->out.length;
	return server->out.length <= WIRE_REPLY_MAX && wire_give(server->fd, &reply, sizeof(reply)) &&
	       wire_give(server->fd, server->out.data, server->out.length);
}

void symbols_serve(int fd)
{
	struct server server = { .fd = fd, .strings = strings_new(), .name = malloc(NAME_MAX_BYTES + 1) };

	server.files = server.strings ? symbols_files_new(server.strings) : NULL;
	while (server.files && server.name && serve_one(&server))
		;
	/* the process ends here: what it has goes with it */
}
