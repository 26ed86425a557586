/* SPDX-License-Identifier: Apache-2.0
 * L6  symbols.c - names for addresses: asks the cache, then the process that reads files.
 *
 *   request -> answers of this file -> (cache, when the file is first met) -> reader -> answers
 *
 * A file goes through stages: not looked at; opened (is it there, is it the right build); read; and, each
 * time the reader dies of it, one further: only its symbol table, then nothing. When the reader is replaced,
 * a file is opened again when something is asked of it that is not known yet. */
#include "core/symbols.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash_index.h"
#include "core/strings.h"
#include "core/symbols_answers.h"
#include "core/symbols_cache.h"
#include "core/symbols_fetch.h"
#include "core/symbols_reader.h"
#include "core/symbols_types.h"
#include "core/text.h"

#define LACKS (SYMBOLS_NO_DEBUG | SYMBOLS_NO_SPLIT | SYMBOLS_NO_ALT)
#define TABLES_CPU_MS 10000u		/* for the symbol table alone, of a file whose debug information is damaged */
#define SITES_MAX 16u

enum stage { STAGE_ALL, STAGE_TABLES, STAGE_NOTHING };

struct file {
	char *path;			/* as the service had it, without root */
	char *fallback, *debug;		/* where else to look; what was fetched; or NULL */
	uint8_t build_id[32];
	uint32_t build_id_bytes;
	enum symbols_state state;
	unsigned lacks;
	bool met;			/* state is known */
	enum stage stage;
	bool killed;			/* a reader was killed while it read this */
	char *trouble;			/* why it is no longer the first stage; or NULL */
	uint32_t opened_in, read_in;	/* sessions of the reader; 0 = none */
	uint64_t used_ms;		/* of the reader's time, in this stage */
	char *identity;			/* NULL = answers cannot be kept */
	bool news;			/* answers that the cache does not have */
	struct symbols_answers answers;
};

struct symbols {
	char *root;			/* "" or a prefix without trailing slash */
	struct strings *strings;
	struct file *files;
	int count, capacity;
	struct hash_index index;	/* by path and build-id */
	struct symbols_reader *reader;
	bool own_reader;
	struct symbols_cache *cache;
	uint32_t session;		/* the one that `opened` is about */
	uint32_t opened;		/* files that it was given */
};

/* ---- files ---- */

struct symbols *symbols_new(const char *root, struct strings *strings)
{
	struct symbols *symbols = calloc(1, sizeof(*symbols));
	size_t length;

	if (!symbols)
		return NULL;
	symbols->strings = strings;
	symbols->root = strdup(root ? root : "");
	if (!symbols->root)
		return symbols_free(symbols);
	for (length = strlen(symbols->root); length && symbols->root[length - 1] == '/'; length--)
		symbols->root[length - 1] = 0;
	return symbols;
}

struct symbols *symbols_free(struct symbols *symbols)
{
	if (!symbols)
		return NULL;
	for (int i = 0; i < symbols->count; i++) {
		struct file *file = &symbols->files[i];

		symbols_answers_done(&file->answers);
		free(file->path);
		free(file->fallback);
		free(file->debug);
		free(file->trouble);
		free(file->identity);
	}
	if (symbols->own_reader)
		symbols_reader_stop(symbols->reader);
	symbols_cache_close(symbols->cache);
	free(symbols->files);
	hash_index_done(&symbols->index);
	free(symbols->root);
	free(symbols);
	return NULL;
}

void symbols_use_reader(struct symbols *symbols, struct symbols_reader *reader)
{
	symbols->reader = reader;
}

void symbols_use_cache(struct symbols *symbols)
{
	if (!symbols->cache)
		symbols->cache = symbols_cache_open();
}

static uint32_t hash_file(const char *path, const uint8_t *build_id, uint32_t build_id_bytes)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
	while (build_id_bytes--)
		hash = (hash ^ *build_id++) * 0x100000001b3u;
	return hash_fold(hash);
}

/* Room for one more file. Numbers do not change. */
static int make_room(struct symbols *symbols)
{
	int capacity = symbols->capacity ? symbols->capacity * 2 : 32;
	struct file *files;

	if (symbols->count < symbols->capacity)
		return 0;
	files = reallocarray(symbols->files, (size_t)capacity, sizeof(*files));
	if (!files)
		return -ENOMEM;
	symbols->files = files;
	symbols->capacity = capacity;
	return 0;
}

struct file_key { const char *path; const uint8_t *build_id; uint32_t build_id_bytes; };

static bool same_file(const void *owner, uint32_t number, const void *key)
{
	const struct file *file = &((const struct symbols *)owner)->files[number];
	const struct file_key *wanted = key;

	return !strcmp(file->path, wanted->path) && file->build_id_bytes == wanted->build_id_bytes &&
	       !memcmp(file->build_id, wanted->build_id, wanted->build_id_bytes);
}

int symbols_add(struct symbols *symbols, const char *path, const uint8_t *build_id,
		uint32_t build_id_bytes)
{
	struct file_key key = { path, build_id, build_id_bytes };
	struct file *file;
	uint32_t hash, number;

	if (key.build_id_bytes > sizeof(file->build_id))
		key.build_id_bytes = sizeof(file->build_id);
	hash = hash_file(path, build_id, key.build_id_bytes);
	number = hash_index_find(&symbols->index, hash, same_file, symbols, &key);
	if (number != HASH_NONE)
		return (int)number;
	if (make_room(symbols) < 0)
		return -ENOMEM;
	file = &symbols->files[symbols->count];
	memset(file, 0, sizeof(*file));
	file->path = strdup(path);
	if (!file->path || hash_index_add(&symbols->index, hash, (uint32_t)symbols->count) < 0) {
		free(file->path);
		return -ENOMEM;
	}
	memcpy(file->build_id, build_id, key.build_id_bytes);
	file->build_id_bytes = key.build_id_bytes;
	return symbols->count++;
}

int symbols_add_fallback(struct symbols *symbols, int number, const char *path)
{
	struct file *file = &symbols->files[number];

	if (file->fallback || !file->build_id_bytes)
		return 0;
	file->fallback = strdup(path);
	return file->fallback ? 0 : -ENOMEM;
}

enum symbols_state symbols_state(const struct symbols *symbols, int file)
{
	return symbols->files[file].trouble ? SYMBOLS_DAMAGED : symbols->files[file].state;
}

const char *symbols_trouble(const struct symbols *symbols, int file)
{
	return symbols->files[file].trouble;
}

unsigned symbols_lacks(const struct symbols *symbols, int file)
{
	return symbols->files[file].lacks;
}

/* ---- when the reader dies ---- */

/* The reader died of a file: what is asked of it from now on? */
static void give_up(struct symbols *symbols, struct file *file, int end, int signal_number, bool all)
{
	const struct symbols_limits *limits = symbols_reader_limits(symbols->reader);
	bool tables = file->stage == STAGE_ALL && !all && end != SYMBOLS_END_GONE;
	const char *what = file->stage == STAGE_ALL && !all ? "its debug information" : "it",
		   *then = tables ? "only its symbol table is used" : "it gives no names";
	const char *abbreviation = signal_number ? sigabbrev_np(signal_number) : NULL;

	file->stage = tables ? STAGE_TABLES : STAGE_NOTHING;
	file->used_ms = 0;
	file->opened_in = file->read_in = 0;
	free(file->trouble);
	if (end == SYMBOLS_END_TIME)
		file->trouble = text_format("reading %s took more than %u s: %s", what, limits->cpu_ms / 1000, then);
	else if (end == SYMBOLS_END_MEMORY)
		file->trouble = text_format("reading %s took more than %llu MiB of memory: %s", what,
					    (unsigned long long)limits->memory_bytes >> 20, then);
	else if (end == SYMBOLS_END_GONE)
		file->trouble = strdup("no process could be started to read it");
	else
		file->trouble = text_format("reading %s ended the reader (%s%s): %s", what, abbreviation ? "SIG" : "",
					    abbreviation ? abbreviation : "exit", then);
	if (!file->trouble)			/* its state needs the word */
		file->trouble = strdup("");
}

/* ---- asking ---- */

/* One request. Returns 1; 0 when the reader died of it, and the file is one stage further or, where memory was short
 * for several files together, alone in the next reader. */
static int request(struct symbols *symbols, struct file *file, struct symbols_request *request, const void *payload,
		   struct symbols_reply *ret_reply, const uint8_t **ret_bytes)
{
	const struct symbols_limits *limits = symbols_reader_limits(symbols->reader);
	uint64_t budget = file->stage == STAGE_ALL || limits->cpu_ms < TABLES_CPU_MS ? limits->cpu_ms : TABLES_CPU_MS;
	int r, signal_number = 0;

	request->file = (uint32_t)(file - symbols->files);
	request->cpu_ms = file->used_ms < budget ? (uint32_t)(budget - file->used_ms) : 1;
	request->wall_ms = limits->wall_ms;
	r = symbols_reader_ask(symbols->reader, request, payload, ret_reply, ret_bytes, &signal_number);
	if (r == 0) {
		file->used_ms += ret_reply->used_ms;
		return 1;
	}
	if (r == -SYMBOLS_END_MEMORY && symbols->opened > 1)
		return 0;
	/* somebody ended it, or the kernel in need of memory: no file's fault unless it happens again */
	if (r == -SYMBOLS_END_CRASH && signal_number == SIGKILL && !file->killed) {
		file->killed = true;
		return 0;
	}
	give_up(symbols, file, -r, signal_number, request->op == WIRE_OPEN);
	return 0;
}

/* Let the reader open a file. Returns its state and what it lacks, 0 when the reader died, -ENOMEM. */
static int open_file(struct symbols *symbols, struct file *file)
{
	const char *strings[] = { symbols->root, file->path, file->fallback ? file->fallback : "",
				  file->debug ? file->debug : "" };
	struct symbols_request open = { .op = WIRE_OPEN };
	struct symbols_reply reply;
	struct text payload = { 0 };
	struct wire wire;
	const uint8_t *bytes;
	const char *identity;
	uint32_t session = symbols_reader_session(symbols->reader);
	size_t length;
	int r;

	if (session != symbols->session) {
		symbols->session = session;
		symbols->opened = 0;
	}
	symbols->opened++;
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		text_append_bytes(&payload, strings[i], strlen(strings[i]) + 1);
	text_append_bytes(&payload, (const char *)file->build_id, file->build_id_bytes);
	if (payload.broken) {
		text_done(&payload);
		return -ENOMEM;
	}
	open.bytes = (uint32_t)payload.length;
	r = request(symbols, file, &open, payload.data, &reply, &bytes);
	text_done(&payload);
	if (r <= 0)
		return r;
	if (reply.result < 0)
		return SYMBOLS_MISSING;
	file->opened_in = session;
	file->read_in = 0;
	wire = (struct wire){ bytes, bytes + reply.bytes, false };
	identity = wire_get_string(&wire, &length);
	free(file->identity);
	file->identity = strndup(identity, length);
	return file->identity ? reply.result : -ENOMEM;
}

/* Let the reader read the tables of an opened file. As open_file(). */
static int read_tables(struct symbols *symbols, struct file *file)
{
	struct symbols_request read = { .op = WIRE_READ, .a = file->stage != STAGE_ALL };
	struct symbols_reply reply;
	const uint8_t *bytes;
	int r = request(symbols, file, &read, "", &reply, &bytes);

	return r <= 0 ? r : reply.result < 0 ? SYMBOLS_NONE : reply.result;
}

/* Open a file, and note what it is. Returns 1 if it is there, 0, -ENOMEM. */
static int look_for(struct symbols *symbols, struct file *file)
{
	int r = 0;

	while (r == 0 && file->stage != STAGE_NOTHING)
		r = open_file(symbols, file);
	if (r <= 0)
		return r;
	file->state = (enum symbols_state)(r & 0xff);
	file->lacks = (unsigned)r & LACKS;
	if (file->state < SYMBOLS_NONE)
		file->stage = STAGE_NOTHING;
	return file->stage != STAGE_NOTHING;
}

/* The reader that is there has the file open and read. Returns 1, 0 if nothing can be asked of it, -ENOMEM. */
static int make_ready(struct symbols *symbols, struct file *file)
{
	while (file->stage != STAGE_NOTHING) {
		uint32_t session = symbols_reader_session(symbols->reader);
		int r;

		if (session && file->read_in == session)
			return 1;
		r = session && file->opened_in == session ? 1 : look_for(symbols, file);
		if (r > 0)
			r = read_tables(symbols, file);
		if (r < 0)
			return r;
		if (r > 0) {
			file->state = (enum symbols_state)(r & 0xff);
			file->lacks |= (unsigned)r & LACKS;
			file->read_in = file->opened_in;
			/* it numbers layouts anew, whatever the cache or the reader before had */
			if (file->answers.session_count && symbols_answers_session(&file->answers) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* When something is first asked of a file: is it there, and what is known of it already? */
static int meet(struct symbols *symbols, struct file *file)
{
	unsigned state;
	int r;

	file->met = true;
	file->state = SYMBOLS_MISSING;
	file->stage = *file->path == '/' ? STAGE_ALL : STAGE_NOTHING;	/* the kernel's own: linux-vdso.so.1 */
	if (file->stage == STAGE_NOTHING)
		return 0;
	if (!symbols->reader) {
		symbols->reader = symbols_reader_start(NULL);
		symbols->own_reader = true;
		if (!symbols->reader)
			return -ENOMEM;
	}
	r = look_for(symbols, file);
	if (r > 0 && file->lacks & SYMBOLS_NO_DEBUG) {
		file->debug = symbols_fetch(file->build_id, file->build_id_bytes);
		r = file->debug ? look_for(symbols, file) : r;
	}
	if (r > 0 && symbols->cache && file->build_id_bytes >= 8 && file->identity) {
		r = symbols_cache_load(symbols->cache, file->build_id, file->build_id_bytes, file->identity,
				       &file->answers, &state);
		if (r > 0 && state >= SYMBOLS_NONE && state <= SYMBOLS_DWARF) {
			file->state = (enum symbols_state)state;
			return 0;
		}
		r = r < 0 ? r : 1;
	}
	return r > 0 ? make_ready(symbols, file) : r;
}

/* The answer to a request about a file. Returns 1, 0 if there is none, -ENOMEM. */
static int ask(struct symbols *symbols, int number, enum wire_op op, uint64_t a, int64_t b, const char *name,
	       struct file **ret_file, struct wire *ret_wire, uint32_t *ret_session)
{
	struct file *file = &symbols->files[number];
	struct symbols_request wanted = { .op = op, .a = a, .b = b, .bytes = (uint32_t)strlen(name) };
	struct symbols_reply reply;
	const uint8_t *bytes;
	int r = file->met ? 0 : meet(symbols, file);

	*ret_file = file;
	while (r >= 0) {
		if (symbols_answers_find(&file->answers, &wanted, name, ret_wire, ret_session))
			return 1;
		/* types are in the debug information alone */
		if (file->stage == STAGE_NOTHING || (op >= WIRE_SITE_TYPE && file->stage != STAGE_ALL))
			return 0;
		r = make_ready(symbols, file);
		if (r <= 0 || (op >= WIRE_SITE_TYPE && file->stage != STAGE_ALL))
			return r < 0 ? r : 0;
		r = request(symbols, file, &wanted, name, &reply, &bytes);
		if (r <= 0)
			continue;
		if (reply.result < 0)
			return 0;
		r = symbols_answers_add(&file->answers, bytes, reply.bytes);
		file->news = true;
		if (r == -ENOMEM)
			return r;
		if (r < 0 || !symbols_answers_find(&file->answers, &wanted, name, ret_wire, ret_session)) {
			/* the reader says what no reader says: its input has taken it over */
			give_up(symbols, file, SYMBOLS_END_CRASH, 0, true);
			return 0;
		}
		return 1;
	}
	return r;
}

void symbols_keep(struct symbols *symbols)
{
	for (int i = 0; symbols->cache && i < symbols->count; i++) {
		struct file *file = &symbols->files[i];

		if (file->news && file->identity && file->build_id_bytes >= 8 && !file->trouble &&
		    !(file->lacks & (SYMBOLS_NO_SPLIT | SYMBOLS_NO_ALT)) && file->state >= SYMBOLS_NONE)
			symbols_cache_save(symbols->cache, file->build_id, file->build_id_bytes, file->identity,
					   &file->answers, file->state);
		file->news = false;
	}
}

/* ---- answers ---- */

static const char *get_string(const struct symbols *symbols, struct wire *wire)
{
	size_t length;
	const char *string = wire_get_string(wire, &length);

	return strings_intern_bytes(symbols->strings, string, length);
}

int symbols_frames(struct symbols *symbols, int number, uint64_t addr,
		   struct symbols_frame *ret_frames, int max)
{
	struct file *file;
	struct wire wire;
	uint32_t session;
	uint64_t count;
	int made = 0, r = ask(symbols, number, WIRE_FRAMES, addr, 0, "", &file, &wire, &session);

	if (r <= 0)
		return r;
	count = wire_get(&wire);
	for (; made < max && (uint64_t)made < count; made++) {
		struct symbols_frame *frame = &ret_frames[made];

		frame->function = get_string(symbols, &wire);
		frame->file = get_string(symbols, &wire);
		frame->language = get_string(symbols, &wire);
		frame->line = (uint32_t)wire_get(&wire);
		frame->inlined = wire_get(&wire) != 0;
		if (!frame->function || !frame->file || !frame->language)
			return -ENOMEM;
		if (wire.bad)
			break;
	}
	return made;
}

static int get_variable(struct symbols *symbols, int number, enum wire_op op, uint64_t addr,
			struct symbols_variable *ret_variable)
{
	struct file *file;
	struct wire wire;
	uint32_t session;
	int r = ask(symbols, number, op, addr, 0, "", &file, &wire, &session);

	if (r <= 0 || !wire_get(&wire))
		return r < 0 ? r : 0;
	ret_variable->name = get_string(symbols, &wire);
	ret_variable->start = wire_get(&wire);
	ret_variable->end = wire_get(&wire);
	ret_variable->is_section = wire_get(&wire) != 0;
	if (!ret_variable->name)
		return -ENOMEM;
	return !wire.bad && ret_variable->start <= addr && addr < ret_variable->end;
}

int symbols_variable(struct symbols *symbols, int number, uint64_t addr,
		     struct symbols_variable *ret_variable)
{
	return get_variable(symbols, number, WIRE_VARIABLE, addr, ret_variable);
}

int symbols_tls(struct symbols *symbols, int number, uint64_t offset,
		struct symbols_variable *ret_variable)
{
	return get_variable(symbols, number, WIRE_TLS, offset, ret_variable);
}

/* ---- types ---- */

int symbols_site_types(struct symbols *symbols, int number, uint64_t return_addr, struct layouts *layouts,
		       struct symbols_site *ret_sites, int max)
{
	struct file *file;
	struct wire wire;
	uint32_t session;
	uint64_t count, layout, how, confidence;
	int made = 0, r = ask(symbols, number, WIRE_SITE_TYPE, return_addr, 0, "", &file, &wire, &session);

	if (r <= 0)
		return r;
	count = wire_get(&wire);
	for (; made < max && (uint64_t)made < count && made < (int)SITES_MAX; made++) {
		struct symbols_site *site = &ret_sites[made];

		layout = wire_get(&wire);
		site->offset = wire_get(&wire);
		how = wire_get(&wire);
		site->evidence = get_string(symbols, &wire);
		confidence = wire_get(&wire);
		site->passes_on = wire_get(&wire) != 0;
		if (!site->evidence)
			return -ENOMEM;
		if (wire.bad || how > SYMBOLS_HOW_NEW || confidence > 3)
			break;
		site->how = (enum symbols_how)how;
		site->confidence = (unsigned)confidence;
		r = symbols_answers_layout(&file->answers, session, layout, layouts, symbols->strings, &site->layout);
		if (r < 0)
			return r;
	}
	return made;
}

int symbols_site_type(struct symbols *symbols, int file, uint64_t return_addr, struct layouts *layouts,
		      struct symbols_site *ret_site)
{
	return symbols_site_types(symbols, file, return_addr, layouts, ret_site, 1);
}

static int get_declaration(struct symbols *symbols, int number, enum wire_op op, uint64_t a, int64_t b,
			   struct layouts *layouts, struct symbols_declaration *ret_declaration)
{
	struct file *file;
	struct wire wire;
	uint32_t session;
	uint64_t layout;
	int r = ask(symbols, number, op, a, b, "", &file, &wire, &session);

	if (r <= 0 || !wire_get(&wire))
		return r < 0 ? r : 0;
	ret_declaration->name = get_string(symbols, &wire);
	layout = wire_get(&wire);
	ret_declaration->offset = wire_get(&wire);
	ret_declaration->file = get_string(symbols, &wire);
	ret_declaration->line = (uint32_t)wire_get(&wire);
	if (!ret_declaration->name || !ret_declaration->file)
		return -ENOMEM;
	r = symbols_answers_layout(&file->answers, session, layout, layouts, symbols->strings, &ret_declaration->layout);
	return r < 0 ? r : !wire.bad;
}

int symbols_variable_type(struct symbols *symbols, int file, uint64_t addr, struct layouts *layouts,
			  struct symbols_declaration *ret_declaration)
{
	return get_declaration(symbols, file, WIRE_VARIABLE_TYPE, addr, 0, layouts, ret_declaration);
}

int symbols_tls_type(struct symbols *symbols, int file, uint64_t offset, struct layouts *layouts,
		     struct symbols_declaration *ret_declaration)
{
	return get_declaration(symbols, file, WIRE_TLS_TYPE, offset, 0, layouts, ret_declaration);
}

int symbols_local_type(struct symbols *symbols, int file, uint64_t pc, int64_t cfa_offset, struct layouts *layouts,
		       struct symbols_declaration *ret_declaration)
{
	return get_declaration(symbols, file, WIRE_LOCAL_TYPE, pc, cfa_offset, layouts, ret_declaration);
}

int symbols_class_type(struct symbols *symbols, int number, const char *name, struct layouts *layouts,
		       uint32_t *ret_layout)
{
	struct file *file;
	struct wire wire;
	uint32_t session;
	int r = ask(symbols, number, WIRE_CLASS_TYPE, 0, 0, name, &file, &wire, &session);

	if (r <= 0 || !wire_get(&wire))
		return r < 0 ? r : 0;
	r = symbols_answers_layout(&file->answers, session, wire_get(&wire), layouts, symbols->strings, ret_layout);
	return r < 0 ? r : 1;
}
