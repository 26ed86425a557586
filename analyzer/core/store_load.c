/* SPDX-License-Identifier: Apache-2.0
 * L4  store_load.c - snapshot file to heap: small tables to arrays; columns and references come from
 * store_columns.c.
 *
 *   heap_references(): the one chunk that holds a source, decoded with labels, kept in a small cache
 *
 * (1) About 45 bytes a node and 4 bytes a reference stay in memory; labels stay in the file.
 * (2) Ids in every table are 0, 1, 2, ...: anything else is damage. Every id is compared with its
 *     limit before it is stored, so passes over the heap need no checks.
 * (3) The heap keeps the file open (a count of keepers), not the store that opened it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/chunks.h"
#include "core/heap_owner.h"
#include "core/large.h"
#include "core/layout.h"
#include "core/store_columns.h"
#include "core/store_internal.h"
#include "core/text.h"
#include "preload/stream.h"

#define CACHE_CHUNKS 16			/* 2 MiB each, made when first needed */
#define POOL_BLOCK_BYTES 65536u

struct cached_chunk { uint32_t chunk; uint64_t used; struct chunk_edges *edges; };

struct pool_block { struct pool_block *next; char bytes[]; };

/* Everything behind a heap that was read from a file; `owner` first, see heap_owner.h. */
struct loaded {
	struct heap_owner owner;
	struct heap heap;
	struct store_file *file;
	struct chunk_coder *coder;

	struct pool_block *pool;	/* all strings */
	char *pool_at;
	size_t pool_left;

	struct chunk_nodes columns;
	uint32_t *stack_type;
	struct store_edges edges;
	struct heap_type *types;
	struct heap_frame *frames;
	struct heap_stack *stacks;
	struct heap_root *roots;
	uint32_t *stack_frames;		/* all stacks' frames, one after the other */
	const char **notes;
	const char **strings;
	uint32_t string_count;
	struct store_clock *clock;
	uint32_t clock_count;
	struct heap_cache *caches;
	struct layouts layouts;
	bool has_layouts;		/* it is of a minor that knows them */
	struct heap_arena *arenas;

	uint64_t edges_claimed;		/* by the file's table meta */
	struct cached_chunk cache[CACHE_CHUNKS];
	uint64_t clock_hand;		/* uses so far: the least recently used chunk makes room */
	sqlite3_stmt *select_chunk;
};

/* A statement being read, and what it reads, for messages. */
struct scan {
	struct loaded *loaded;
	sqlite3_stmt *statement;
	const char *table;
	uint64_t row;
};

static const char *const root_kinds[] = {
	[HEAP_ROOT_GLOBAL] = "global", [HEAP_ROOT_STACK] = "stack", [HEAP_ROOT_TLS] = "tls",
	[HEAP_ROOT_REGISTER] = "register", [HEAP_ROOT_MAPPING] = "mapping",
	[HEAP_ROOT_PY_MODULE] = "python-module", [HEAP_ROOT_PY_FRAME] = "python-frame",
	[HEAP_ROOT_PY_C] = "python-c",
};

static int damaged(const struct loaded *loaded, char **ret_error, const char *what, uint64_t row)
{
	if (!*ret_error)
		*ret_error = text_format("%s is corrupt: in its table %s, row %" PRIu64
					 "; copy it again or take another snapshot",
					 loaded->file->path, what, row);
	return -EBADMSG;
}

/* ---- strings ---- */

/* A copy in the pool; NULL when memory is short. */
static const char *pool_copy(struct loaded *loaded, const char *string, size_t length)
{
	char *copy;

	if (!length)
		return "";
	if (length + 1 > loaded->pool_left) {
		size_t bytes = length + 1 > POOL_BLOCK_BYTES ? length + 1 : POOL_BLOCK_BYTES;
		struct pool_block *block = malloc(sizeof(*block) + bytes);

		if (!block)
			return NULL;
		block->next = loaded->pool;
		loaded->pool = block;
		loaded->pool_at = block->bytes;
		loaded->pool_left = bytes;
	}
	copy = loaded->pool_at;
	memcpy(copy, string, length);
	copy[length] = 0;
	loaded->pool_at += length + 1;
	loaded->pool_left -= length + 1;
	return copy;
}

/* ---- rows ---- */

static int scan_begin(struct scan *scan, struct loaded *loaded, const char *table, const char *sql,
		      char **ret_error)
{
	*scan = (struct scan){ .loaded = loaded, .table = table };
	if (sqlite3_prepare_v2(loaded->file->db, sql, -1, &scan->statement, NULL) != SQLITE_OK)
		return sqlite3_errcode(loaded->file->db) == SQLITE_NOMEM ?
			       -ENOMEM :
			       damaged(loaded, ret_error, table, 0);
	return 0;
}

/* 1 = a row, 0 = no more, or an error. */
static int scan_next(struct scan *scan, char **ret_error)
{
	int code = sqlite3_step(scan->statement);

	if (code == SQLITE_ROW) {
		scan->row++;
		return 1;
	}
	if (code == SQLITE_DONE)
		return 0;
	return code == SQLITE_NOMEM ? -ENOMEM :
				      damaged(scan->loaded, ret_error, scan->table, scan->row + 1);
}

static int64_t scan_int(struct scan *scan, int column)
{
	return sqlite3_column_int64(scan->statement, column);
}

/* A text column, copied; "" for NULL. Returns NULL only when memory is short. */
static const char *scan_text(struct scan *scan, int column)
{
	const char *text = (const char *)sqlite3_column_text(scan->statement, column);

	if (!text)
		return sqlite3_column_type(scan->statement, column) == SQLITE_NULL ? "" : NULL;
	return pool_copy(scan->loaded, text, strlen(text));
}

/* The number of a layout; NULL = 0. -EBADMSG where there is no such layout. */
static int scan_layout(struct scan *scan, int column, uint32_t *ret_layout)
{
	int64_t layout = scan_int(scan, column);

	if (layout < 0 || (layout && layout >= scan->loaded->layouts.count))
		return -EBADMSG;
	*ret_layout = (uint32_t)layout;
	return 0;
}

/* An array with one element a row, grown as rows come. */
static void *grown(void *array, uint64_t count, size_t element_bytes)
{
	if (count & (count - 1))		/* grows at 0, 1, 2, 4, 8, ... */
		return array;
	return reallocarray(array, count ? count * 2 : 1, element_bytes);
}

/* Read a table whose ids are 0, 1, 2, ...; `read` stores row number `id`. */
static int read_table(struct loaded *loaded, const char *table, const char *sql,
		      int (*read)(struct loaded *loaded, struct scan *scan, uint32_t id),
		      char **ret_error)
{
	struct scan scan;
	int r;

	r = scan_begin(&scan, loaded, table, sql, ret_error);
	while (r >= 0 && (r = scan_next(&scan, ret_error)) > 0) {
		if (scan_int(&scan, 0) != (int64_t)scan.row - 1 || scan.row > UINT32_MAX / 2)
			r = damaged(loaded, ret_error, table, scan.row);
		else
			r = read(loaded, &scan, (uint32_t)scan.row - 1);
		if (r == -EBADMSG)
			damaged(loaded, ret_error, table, scan.row);
	}
	sqlite3_finalize(scan.statement);
	return r;
}

static int read_type(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	int64_t source = scan_int(scan, 2);
	struct heap_type *types = grown(loaded->types, id, sizeof(*types));

	if (!types)
		return -ENOMEM;
	loaded->types = types;
	if (source < HEAP_TYPE_KIND || source > HEAP_TYPE_PYTHON)
		return -EBADMSG;
	types[id] = (struct heap_type){ .name = scan_text(scan, 1), .source = (enum heap_type_source)source };
	if (loaded->has_layouts && scan_layout(scan, 3, &types[id].layout) < 0)
		return -EBADMSG;
	types[id].header = loaded->has_layouts ? (uint32_t)scan_int(scan, 4) : 0;
	loaded->heap.type_count = id + 1;
	return types[id].name ? 0 : -ENOMEM;
}

static int read_frame(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	struct heap_frame *frames = grown(loaded->frames, id, sizeof(*frames)), *frame;
	int64_t line = scan_int(scan, 3);

	if (!frames)
		return -ENOMEM;
	loaded->frames = frames;
	frame = &frames[id];
	*frame = (struct heap_frame){
		.function = scan_text(scan, 1), .file = scan_text(scan, 2),
		.line = line < 0 || line > UINT32_MAX ? 0 : (uint32_t)line,
		.module = scan_text(scan, 4), .language = scan_text(scan, 5), .inlined = scan_int(scan, 6) != 0,
	};
	loaded->heap.frame_count = id + 1;
	return frame->function && frame->file && frame->module && frame->language ? 0 : -ENOMEM;
}

/* Parse "[3,1,2]" into frame ids. Returns their number, -EBADMSG, -ENOMEM. */
static int parse_frames(struct loaded *loaded, const char *text, uint64_t *at)
{
	uint64_t first = *at;

	if (*text++ != '[')
		return -EBADMSG;
	while (*text != ']') {
		uint64_t frame = 0;
		const char *digits = text;
		uint32_t *frames;

		for (; *text >= '0' && *text <= '9' && text - digits < 10; text++)
			frame = frame * 10 + (uint64_t)(*text - '0');
		if (text == digits || frame >= loaded->heap.frame_count)
			return -EBADMSG;
		frames = grown(loaded->stack_frames, *at, sizeof(*frames));
		if (!frames)
			return -ENOMEM;
		loaded->stack_frames = frames;
		frames[(*at)++] = (uint32_t)frame;
		if (*text == ',' && text[1] != ']')
			text++;
		else if (*text != ']')
			return -EBADMSG;
	}
	return *at - first > INT32_MAX ? -EBADMSG : (int)(*at - first);
}

static int read_stack(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	struct heap_stack *stacks = grown(loaded->stacks, id, sizeof(*stacks));
	uint32_t *types = stacks ? grown(loaded->stack_type, id, sizeof(*types)) : NULL;
	const char *text = (const char *)sqlite3_column_text(scan->statement, 3);
	uint64_t at = 0;
	int count;

	if (stacks)
		loaded->stacks = stacks;
	if (types)
		loaded->stack_type = types;
	if (!stacks || !types)
		return -ENOMEM;
	if (id)
		at = (uint64_t)(uintptr_t)stacks[id - 1].frames + stacks[id - 1].frame_count;
	if (!text || scan_int(scan, 1) < 0 || scan_int(scan, 1) >= loaded->heap.type_count)
		return -EBADMSG;
	types[id] = (uint32_t)scan_int(scan, 1);
	/* the array still moves: positions now, addresses in set_stack_frames() */
	stacks[id].frames = (const uint32_t *)(uintptr_t)at;
	count = parse_frames(loaded, text, &at);
	if (count < 0)
		return count;
	stacks[id].frame_count = (uint32_t)count;
	stacks[id].truncated = scan_int(scan, 2) != 0;
	loaded->heap.stack_count = id + 1;
	return 0;
}

static void set_stack_frames(struct loaded *loaded)
{
	for (uint32_t i = 0; i < loaded->heap.stack_count; i++)
		loaded->stacks[i].frames = loaded->stack_frames ?
			loaded->stack_frames + (uintptr_t)loaded->stacks[i].frames : NULL;
}

static int read_root(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	struct heap_root *roots = grown(loaded->roots, id, sizeof(*roots)), *root;
	const char *kind = (const char *)sqlite3_column_text(scan->statement, 1);

	if (!roots)
		return -ENOMEM;
	loaded->roots = roots;
	root = &roots[id];
	memset(root, 0, sizeof(*root));
	for (unsigned k = HEAP_ROOT_GLOBAL; kind && k <= HEAP_ROOT_PY_C; k++)
		if (!strcmp(kind, root_kinds[k]))
			root->kind = (enum heap_root_kind)k;
	if (!root->kind)
		return -EBADMSG;
	root->name = scan_text(scan, 2);
	root->module = scan_text(scan, 3);
	root->thread = scan_text(scan, 4);
	root->start = (uint64_t)scan_int(scan, 5);
	root->end = (uint64_t)scan_int(scan, 6);
	if (loaded->has_layouts) {
		int64_t line = scan_int(scan, 9);

		if (scan_layout(scan, 7, &root->layout) < 0)
			return -EBADMSG;
		root->file = scan_text(scan, 8);
		root->line = line < 0 || line > UINT32_MAX ? 0 : (uint32_t)line;
		if (!root->file)
			return -ENOMEM;
	}
	loaded->heap.roots = id + 1;
	return root->name && root->module && root->thread ? 0 : -ENOMEM;
}

static const char *copy_name(void *data, const char *string)
{
	return pool_copy(data, string, strlen(string));
}

/* What types are in memory: before everything that refers to them. */
static int read_layouts(struct loaded *loaded, char **ret_error)
{
	int r = store_file_layouts(loaded->file, copy_name, loaded, &loaded->layouts);

	if (r == -EBADMSG)
		return damaged(loaded, ret_error, "layouts", loaded->layouts.count);
	loaded->has_layouts = store_file_has(loaded->file, "types", "layout") &&
			      store_file_has(loaded->file, "roots", "layout");
	if (loaded->layouts.count)
		loaded->heap.layouts = &loaded->layouts;
	return r;
}

static int read_string(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	const char **strings = grown(loaded->strings, id, sizeof(*strings));

	if (!strings)
		return -ENOMEM;
	loaded->strings = strings;
	strings[id] = scan_text(scan, 1);
	loaded->string_count = id + 1;
	return strings[id] ? 0 : -ENOMEM;
}

static int read_note(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	const char **notes = grown(loaded->notes, id, sizeof(*notes));

	if (!notes)
		return -ENOMEM;
	loaded->notes = notes;
	notes[id] = scan_text(scan, 1);
	loaded->heap.meta.note_count = id + 1;
	return notes[id] ? 0 : -ENOMEM;
}

static int read_clock(struct loaded *loaded, struct scan *scan, uint32_t id)
{
	struct store_clock *clock = grown(loaded->clock, id, sizeof(*clock));

	if (!clock)
		return -ENOMEM;
	loaded->clock = clock;
	clock[id] = (struct store_clock){ (uint64_t)scan_int(scan, 1), scan_int(scan, 2) };
	if (id && clock[id].birth < clock[id - 1].birth)
		return -EBADMSG;
	loaded->clock_count = id + 1;
	return 0;
}

/* ---- facts ---- */

enum fact_kind { FACT_TEXT, FACT_U64, FACT_I64, FACT_U32, FACT_BOOL, FACT_INT, FACT_SECONDS };

/* META keys that have a place in struct heap_meta: one line each. */
static const struct fact {
	const char *key;
	enum fact_kind kind;
	size_t offset;
} facts[] = {
#define FACT(name, kind) { #name, kind, offsetof(struct heap_meta, name) }
	FACT(command, FACT_TEXT), FACT(exe, FACT_TEXT), FACT(mode, FACT_TEXT), FACT(python, FACT_TEXT),
	FACT(trigger, FACT_TEXT), FACT(allocator, FACT_TEXT), FACT(hostname, FACT_TEXT),
	FACT(profile, FACT_TEXT), FACT(sample_bytes, FACT_U64),
	FACT(pid, FACT_U32), FACT(taken_ns, FACT_I64), FACT(uptime_s, FACT_SECONDS),
	FACT(pause_ns, FACT_U64), FACT(stop_ns, FACT_U64), FACT(drain_ns, FACT_U64),
	FACT(fork_ns, FACT_U64), FACT(child_ns, FACT_U64), FACT(taken_birth, FACT_U64),
	FACT(capture_birth, FACT_U64), FACT(process_start_ns, FACT_U64),
	FACT(blocks, FACT_U64), FACT(bytes, FACT_U64), FACT(mappings, FACT_U64),
	FACT(mapped_bytes, FACT_U64), FACT(objects, FACT_U64), FACT(object_bytes, FACT_U64),
	FACT(pss_bytes, FACT_U64), FACT(private_bytes, FACT_U64), FACT(swap_bytes, FACT_U64),
	FACT(lazy_free_bytes, FACT_U64), FACT(huge_bytes, FACT_U64), FACT(page_table_bytes, FACT_U64),
	FACT(cgroup_current_bytes, FACT_U64), FACT(cgroup_max_bytes, FACT_U64), FACT(cgroup_anon_bytes, FACT_U64),
	FACT(cgroup_file_bytes, FACT_U64), FACT(cgroup_kernel_bytes, FACT_U64),
	FACT(rss_bytes, FACT_U64), FACT(own_bytes, FACT_U64), FACT(lost_events, FACT_U64),
	FACT(consistent, FACT_BOOL), FACT(gc_enabled, FACT_INT),
#undef FACT
};

static int set_fact(struct heap_meta *meta, const struct fact *fact, const char *value)
{
	void *at = (char *)meta + fact->offset;

	if (!value)
		return -ENOMEM;
	switch (fact->kind) {
	case FACT_TEXT:
		*(const char **)at = value;
		break;
	case FACT_U64:
		*(uint64_t *)at = strtoull(value, NULL, 10);
		break;
	case FACT_I64:
		*(int64_t *)at = strtoll(value, NULL, 10);
		break;
	case FACT_U32:
		*(uint32_t *)at = (uint32_t)strtoul(value, NULL, 10);
		break;
	case FACT_BOOL:
		*(bool *)at = strtol(value, NULL, 10) != 0;
		break;
	case FACT_INT:
		*(int *)at = (int)strtol(value, NULL, 10);
		break;
	case FACT_SECONDS:
		*(double *)at = strtod(value, NULL);
		break;
	}
	return 0;
}

static int read_facts(struct loaded *loaded, uint64_t *ret_nodes, uint64_t *ret_edges,
		      char **ret_error)
{
	struct heap_meta *meta = &loaded->heap.meta;
	struct scan scan;
	int r;

	meta->command = meta->exe = meta->mode = meta->python = meta->trigger = meta->allocator =
		meta->hostname = meta->profile = "";
	meta->gc_enabled = -1;
	meta->path = pool_copy(loaded, loaded->file->path, strlen(loaded->file->path));
	if (!meta->path)
		return -ENOMEM;
	*ret_nodes = *ret_edges = UINT64_MAX;
	r = scan_begin(&scan, loaded, "meta", "SELECT key, value FROM meta", ret_error);
	while (r >= 0 && (r = scan_next(&scan, ret_error)) > 0) {
		const char *key = (const char *)sqlite3_column_text(scan.statement, 0);

		if (!key)
			r = -ENOMEM;
		else if (!strcmp(key, "nodes"))
			*ret_nodes = (uint64_t)scan_int(&scan, 1);
		else if (!strcmp(key, "edges"))
			*ret_edges = (uint64_t)scan_int(&scan, 1);
		for (size_t i = 0; r > 0 && i < sizeof(facts) / sizeof(*facts); i++)
			if (!strcmp(key, facts[i].key))
				r = set_fact(meta, &facts[i], scan_text(&scan, 1)) < 0 ? -ENOMEM :
											 1;
	}
	sqlite3_finalize(scan.statement);
	if (r < 0)
		return r;
	if (*ret_nodes > UINT32_MAX / 2 || *ret_edges == UINT64_MAX)
		return damaged(loaded, ret_error, "meta", 0);
	if (meta->uptime_s == 0 && meta->process_start_ns &&
	    (uint64_t)meta->taken_ns > meta->process_start_ns)
		meta->uptime_s = (double)((uint64_t)meta->taken_ns - meta->process_start_ns) * 1e-9;

	r = store_file_account(loaded->file, &loaded->heap.account, &loaded->heap.details, &loaded->arenas,
			       &loaded->heap.arena_count);
	loaded->heap.arenas = loaded->arenas;
	return r == -EBADMSG ? damaged(loaded, ret_error, "account", 0) : r;
}

static int read_tables(struct loaded *loaded, char **ret_error)
{
	int r = read_layouts(loaded, ret_error);
	const struct {
		const char *table, *sql;
		int (*read)(struct loaded *loaded, struct scan *scan, uint32_t id);
	} tables[] = {
		{ "types", loaded->has_layouts ? "SELECT id, name, source, layout, header FROM types ORDER BY id" :
						 "SELECT id, name, source FROM types ORDER BY id", read_type },
		{ "frames", "SELECT id, function, file, line, module, language, inlined FROM frames ORDER BY id",
		  read_frame },
		{ "stacks", "SELECT id, type, truncated, frames FROM stacks ORDER BY id", read_stack },
		{ "roots", loaded->has_layouts ?
			"SELECT id, kind, name, module, thread, start, end, layout, file, line FROM roots ORDER BY id" :
			"SELECT id, kind, name, module, thread, start, end FROM roots ORDER BY id", read_root },
		{ "strings", "SELECT id, text FROM strings ORDER BY id", read_string },
		{ "notes", "SELECT id, note FROM notes ORDER BY id", read_note },
		{ "clock", "SELECT id, birth, realtime_ns FROM clock ORDER BY id", read_clock },
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && r >= 0; i++)
		r = read_table(loaded, tables[i].table, tables[i].sql, tables[i].read, ret_error);
	if (r < 0)
		return r;
	if (!loaded->heap.type_count)
		return damaged(loaded, ret_error, "types", 0);
	set_stack_frames(loaded);
	return 0;
}

/* ---- nodes and references ---- */

static int read_nodes(struct loaded *loaded, uint64_t nodes, bool kinds, char **ret_error)
{
	struct chunk_nodes *c = &loaded->columns;
	struct heap *heap = &loaded->heap;
	uint64_t row;
	int r;

	c->stack_type = loaded->stack_type;
	c->stack_count = heap->stack_count;
	c->type_count = heap->type_count;
	r = store_columns_nodes(loaded->file, nodes, kinds, c, &row);
	if (r == -EBADMSG)
		damaged(loaded, ret_error, "node_chunks", row);
	if (r < 0)
		return r;
	heap->nodes = (uint32_t)nodes;
	heap->addr = c->addr;
	heap->bytes = c->bytes;
	heap->birth = c->birth;
	heap->stack = c->stack;
	heap->type = c->type;
	heap->thread = c->thread;
	heap->extra = c->extra;
	heap->weight = c->weight;
	heap->flags = c->flags;
	return 0;
}

static int read_edges(struct loaded *loaded, char **ret_error)
{
	struct heap *heap = &loaded->heap;
	uint64_t row, total = loaded->edges_claimed;
	int r;

	if (total >= HEAP_NONE) {
		*ret_error = text_format("%s has %" PRIu64 " references, more than the 4 billion that can be numbered",
					 loaded->file->path, total);
		return -EOVERFLOW;
	}
	r = store_columns_edges(loaded->file, heap->nodes, heap->roots, total, &loaded->edges, &row);
	if (r == -EBADMSG)
		damaged(loaded, ret_error, "edge_chunks", row);
	if (r < 0)
		return r;
	heap->edges = loaded->edges.count;
	heap->edge_start = loaded->edges.start;
	heap->edge_to = loaded->edges.to;
	return 0;
}

/* ---- labels ---- */

static int decode_chunk(struct loaded *loaded, uint32_t chunk, struct chunk_edges *edges)
{
	sqlite3_stmt *select = loaded->select_chunk;
	uint32_t sources = loaded->heap.nodes + loaded->heap.roots;
	int r = -EBADMSG;

	sqlite3_bind_int64(select, 1, loaded->edges.chunks[chunk].id);
	if (sqlite3_step(select) == SQLITE_ROW) {
		r = chunk_decode_targets(loaded->coder, sqlite3_column_blob(select, 0),
					 (size_t)sqlite3_column_bytes(select, 0),
					 loaded->edges.chunks[chunk].count, sources, loaded->heap.nodes,
					 edges);
		if (r >= 0)
			r = chunk_decode_labels(loaded->coder, sqlite3_column_blob(select, 1),
						(size_t)sqlite3_column_bytes(select, 1),
						loaded->string_count, edges);
	}
	sqlite3_reset(select);
	return r;
}

/* A decoded chunk, from the cache if it is there. */
static int find_chunk(struct loaded *loaded, uint32_t chunk, const struct chunk_edges **ret_edges)
{
	struct cached_chunk *slot = &loaded->cache[0];
	int r;

	for (struct cached_chunk *c = loaded->cache; c < loaded->cache + CACHE_CHUNKS; c++) {
		if (c->edges && c->used && c->chunk == chunk) {
			c->used = ++loaded->clock_hand;
			*ret_edges = c->edges;
			return 0;
		}
		if (c->used < slot->used)
			slot = c;
	}
	if (!slot->edges) {
		slot->edges = malloc(sizeof(*slot->edges));
		if (!slot->edges)
			return -ENOMEM;
	}
	slot->used = 0;
	r = decode_chunk(loaded, chunk, slot->edges);
	if (r < 0)
		return r;
	slot->chunk = chunk;
	slot->used = ++loaded->clock_hand;
	*ret_edges = slot->edges;
	return 0;
}

/* First chunk that may hold a source. */
static uint32_t first_chunk(const struct loaded *loaded, uint32_t source)
{
	uint32_t low = 0, high = loaded->edges.chunk_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (loaded->edges.chunks[middle].last_source < source)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int references(const struct heap *heap, uint32_t source,
		      int (*visit)(const struct heap_reference *ref, void *data), void *data)
{
	struct loaded *loaded = heap->owner;
	const struct chunk_edges *edges;

	if (!loaded->select_chunk &&
	    sqlite3_prepare_v2(loaded->file->db,
			       "SELECT targets, labels FROM edge_chunks WHERE id = ?", -1,
			       &loaded->select_chunk, NULL) != SQLITE_OK)
		return -ENOMEM;
	for (uint32_t chunk = first_chunk(loaded, source);
	     chunk < loaded->edges.chunk_count && loaded->edges.chunks[chunk].first_source <= source; chunk++) {
		uint32_t low = 0, high;
		int r = find_chunk(loaded, chunk, &edges);

		if (r < 0)
			return r;
		high = edges->source_count;
		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (edges->source[middle] < source)
				low = middle + 1;
			else
				high = middle;
		}
		if (low == edges->source_count || edges->source[low] != source)
			continue;
		/* the visitor may ask for other sources and push this chunk out of the cache: positions
		 * are looked up again through `edges` only while it is known to be there */
		for (uint32_t e = edges->start[low], end = edges->start[low + 1]; e < end; e++) {
			struct heap_reference ref = {
				.from = source, .to = edges->target[e],
				.label = (enum heap_label)(edges->label[e] >> 1), .value = edges->value[e],
				.interior = edges->label[e] & 1, .target_offset = edges->offset[e],
			};

			if (ref.to == source)
				continue;
			if (ref.label == HEAP_LABEL_ATTR || ref.label == HEAP_LABEL_KEY ||
			    ref.label == HEAP_LABEL_LOCAL || ref.label == HEAP_LABEL_CELL ||
			    ref.label == HEAP_LABEL_NAMED)
				ref.text = loaded->strings[ref.value];
			r = visit(&ref, data);
			if (r)
				return r;
			r = find_chunk(loaded, chunk, &edges);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- the whole ---- */

static void drop_parts(struct heap *heap, unsigned parts)
{
	struct loaded *loaded = heap->owner;

	if (parts & HEAP_PART_EDGES) {
		large_free(loaded->edges.start);
		large_free(loaded->edges.to);
		loaded->edges.start = loaded->edges.to = NULL;
	}
	if (parts & HEAP_PART_IDENTITY) {
		large_free(loaded->columns.addr);
		large_free(loaded->columns.birth);
		loaded->columns.addr = loaded->columns.birth = NULL;
	}
	if (parts & HEAP_PART_THREAD) {
		large_free(loaded->columns.thread);
		large_free(loaded->columns.kind);
		loaded->columns.thread = NULL;
		loaded->columns.kind = NULL;
	}
}

static void free_loaded(struct heap *heap)
{
	struct loaded *loaded = heap->owner;

	sqlite3_finalize(loaded->select_chunk);
	chunk_coder_free(loaded->coder);
	store_file_drop(loaded->file);
	large_free(loaded->columns.addr);
	large_free(loaded->columns.bytes);
	large_free(loaded->columns.birth);
	large_free(loaded->columns.stack);
	large_free(loaded->columns.type);
	large_free(loaded->columns.thread);
	free(loaded->columns.extra);
	large_free(loaded->columns.weight);
	large_free(loaded->columns.flags);
	large_free(loaded->columns.kind);
	free(loaded->stack_type);
	large_free(loaded->edges.start);
	large_free(loaded->edges.to);
	free(loaded->types);
	free(loaded->frames);
	free(loaded->stacks);
	free(loaded->roots);
	free(loaded->stack_frames);
	free(loaded->notes);
	free(loaded->strings);
	free(loaded->clock);
	free(loaded->caches);
	layouts_done(&loaded->layouts);
	store_arenas_free(loaded->arenas, loaded->heap.arena_count);
	free(loaded->edges.chunks);
	for (unsigned i = 0; i < CACHE_CHUNKS; i++)
		free(loaded->cache[i].edges);
	while (loaded->pool) {
		struct pool_block *next = loaded->pool->next;

		free(loaded->pool);
		loaded->pool = next;
	}
	free(loaded);
}

static struct loaded *new_loaded(struct store_file *file)
{
	struct loaded *loaded = calloc(1, sizeof(*loaded));

	if (!loaded)
		return NULL;
	loaded->owner = (struct heap_owner){ .free = free_loaded, .drop = drop_parts, .references = references };
	loaded->heap.owner = loaded;
	loaded->file = store_file_keep(file);
	return loaded;
}

static int fail(struct loaded *loaded, const struct store_file *file, int r, char **ret_error)
{
	if (loaded)
		free_loaded(&loaded->heap);
	if (!*ret_error)
		*ret_error = text_format("not enough memory to load %s", file->path);
	return r;
}

int store_file_load_facts(struct store_file *file, struct heap **ret_heap, char **ret_error)
{
	struct loaded *loaded = new_loaded(file);
	uint64_t nodes;
	int r = loaded ? 0 : -ENOMEM;

	*ret_error = NULL;
	if (r >= 0)
		r = read_facts(loaded, &nodes, &loaded->edges_claimed, ret_error);
	if (r >= 0)
		r = read_table(loaded, "notes", "SELECT id, note FROM notes ORDER BY id", read_note, ret_error);
	if (r < 0)
		return fail(loaded, file, r, ret_error);
	loaded->heap.meta.notes = loaded->notes;
	*ret_heap = &loaded->heap;
	return 0;
}

static int load_nodes(struct store_file *file, bool kinds, struct heap **ret_heap, char **ret_error)
{
	struct loaded *loaded = new_loaded(file);
	uint64_t nodes;
	int r;

	*ret_error = NULL;
	if (!loaded)
		return fail(NULL, file, -ENOMEM, ret_error);
	loaded->coder = chunk_coder_new();
	r = loaded->coder ? 0 : -ENOMEM;
	if (r >= 0)
		r = read_facts(loaded, &nodes, &loaded->edges_claimed, ret_error);
	if (r >= 0)
		r = read_tables(loaded, ret_error);
	if (r >= 0)
		r = read_nodes(loaded, nodes, kinds, ret_error);
	if (r >= 0)
		r = store_file_caches(file, loaded->heap.nodes, &loaded->caches, &loaded->heap.cache_count);
	if (r == -EBADMSG)
		damaged(loaded, ret_error, "python_caches", 0);
	if (r < 0)
		return fail(loaded, file, r, ret_error);
	loaded->heap.caches = loaded->caches;
	loaded->heap.types = loaded->types;
	loaded->heap.frames = loaded->frames;
	loaded->heap.stacks = loaded->stacks;
	loaded->heap.root = loaded->roots;
	loaded->heap.meta.notes = loaded->notes;
	*ret_heap = &loaded->heap;
	return 0;
}

int store_file_load_nodes(struct store_file *file, struct heap **ret_heap, char **ret_error)
{
	return load_nodes(file, false, ret_heap, ret_error);
}

int store_load_edges(struct heap *heap, char **ret_error)
{
	struct loaded *loaded = heap->owner;
	int r;

	*ret_error = NULL;
	r = read_edges(loaded, ret_error);
	if (r < 0 && !*ret_error)
		*ret_error = text_format("not enough memory to load %s", loaded->file->path);
	return r;
}

int store_file_load(struct store_file *file, struct heap **ret_heap, char **ret_error)
{
	struct heap *heap;
	int r = load_nodes(file, true, &heap, ret_error);

	if (r < 0)
		return r;
	r = store_load_edges(heap, ret_error);
	if (r < 0) {
		heap_free(heap);
		return r;
	}
	*ret_heap = heap;
	return 0;
}

const uint8_t *store_heap_kinds(const struct heap *heap)
{
	return ((const struct loaded *)heap->owner)->columns.kind;
}

const struct store_clock *store_heap_clock(const struct heap *heap, uint32_t *ret_count)
{
	const struct loaded *loaded = heap->owner;

	*ret_count = loaded->clock_count;
	return loaded->clock;
}
