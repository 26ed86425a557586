/* SPDX-License-Identifier: Apache-2.0
 * L4  store_vtab.c - the tables `nodes` and `edges` of `leakdiff sql`: the two big arrays as SQL rows.
 *
 * They are declared in schema.sql, so an attached snapshot has its own as other.nodes and
 * other.edges. Look-ups by id, addr, src, root and dst are answered without a scan; the index from
 * targets back to sources is made when a query first asks for a dst.
 *
 *   nodes   rows are node ids; plain columns of the heap
 *   edges   rows are positions in a list of sources to visit: one (src = ?), those that refer to one
 *           target (dst = ?), or all. Of each source the references are read once, with labels.
 *
 * Read-only; one connection, one thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "core/store_internal.h"
#include "core/text.h"
#include "preload/stream.h"

#define SCHEMAS_MAX 16

struct schema {
	char *name;
	struct store_file *file;	/* borrowed: outlives store_vtab_clear() */
	struct heap *heap;		/* NULL until needed */
	uint64_t *back_start;		/* graph ids that refer to node v: back_from[back_start[v]] ... */
	uint32_t *back_from;
};

struct store_vtab_files {
	struct schema schema[SCHEMAS_MAX];
	unsigned count;
	unsigned users;			/* module registrations */
};

struct table {
	sqlite3_vtab base;
	struct store_vtab_files *files;
	char *schema;
};

static struct schema *find_schema(struct store_vtab_files *files, const char *name)
{
	for (unsigned i = 0; i < files->count; i++)
		if (!strcmp(files->schema[i].name, name))
			return &files->schema[i];
	return NULL;
}

/* The schema of a table with its heap; NULL with the table's error set. */
static struct schema *need_heap(struct table *table)
{
	struct schema *schema = find_schema(table->files, table->schema);
	char *error = NULL;

	if (!schema) {
		table->base.zErrMsg = sqlite3_mprintf("%s is no snapshot", table->schema);
		return NULL;
	}
	if (!schema->heap && store_file_load(schema->file, &schema->heap, &error) < 0) {
		table->base.zErrMsg = sqlite3_mprintf("%s", error ? error : "not enough memory");
		free(error);
		return NULL;
	}
	return schema;
}

/* Index from each node to the graph ids that refer to it, by counting. */
static int need_backward(struct schema *schema)
{
	const struct heap *heap = schema->heap;
	uint32_t sources = heap->nodes + heap->roots;
	uint64_t *start;

	if (schema->back_start)
		return 0;
	start = calloc((size_t)heap->nodes + 2, sizeof(*start));
	schema->back_from = reallocarray(NULL, heap->edges + 1, sizeof(*schema->back_from));
	if (!start || !schema->back_from) {
		free(start);
		free(schema->back_from);
		schema->back_from = NULL;
		return SQLITE_NOMEM;
	}
	/* counts go two places up, so that filling shifts them into starts */
	for (uint64_t e = 0; e < heap->edges; e++)
		start[heap->edge_to[e] + 2]++;
	for (uint32_t v = 0; v < heap->nodes; v++)
		start[v + 2] += start[v + 1];
	for (uint32_t from = 0; from < sources; from++)
		for (uint64_t e = heap->edge_start[from]; e < heap->edge_start[from + 1]; e++)
			schema->back_from[start[heap->edge_to[e] + 1]++] = from;
	schema->back_start = start;
	return 0;
}

/* ---- what both tables share ---- */

static int connect_table(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret_table, char **ret_error, const char *declaration)
{
	struct table *table;
	int code = sqlite3_declare_vtab(db, declaration);

	(void)ret_error;
	if (code != SQLITE_OK)
		return code;
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	table = sqlite3_malloc(sizeof(*table));
	if (!table)
		return SQLITE_NOMEM;
	memset(table, 0, sizeof(*table));
	table->files = aux;
	table->schema = sqlite3_mprintf("%s", argc > 1 ? argv[1] : "main");
	if (!table->schema) {
		sqlite3_free(table);
		return SQLITE_NOMEM;
	}
	*ret_table = &table->base;
	return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *base)
{
	struct table *table = (struct table *)base;

	sqlite3_free(table->schema);
	sqlite3_free(table);
	return SQLITE_OK;
}

/* A column that can be looked up, and what a look-up costs in rows that a scan would read. */
struct lookup { int column; double cost, rows; };

/* Take the first usable equality; the plan number is its index + 1, and 0 a scan. */
static int pick_lookup(sqlite3_index_info *info, const struct lookup *lookups, int count,
		       double scan)
{
	for (int k = 0; k < count; k++)
		for (int i = 0; i < info->nConstraint; i++) {
			const struct sqlite3_index_constraint *c = &info->aConstraint[i];

			if (!c->usable || c->op != SQLITE_INDEX_CONSTRAINT_EQ ||
			    c->iColumn != lookups[k].column)
				continue;
			info->aConstraintUsage[i].argvIndex = 1;
			info->idxNum = k + 1;
			info->estimatedCost = lookups[k].cost;
			info->estimatedRows = (sqlite3_int64)lookups[k].rows;
			return SQLITE_OK;
		}
	info->estimatedCost = scan;
	info->estimatedRows = (sqlite3_int64)scan;
	return SQLITE_OK;
}

/* ---- nodes ---- */

enum {
	NODE_ID,
	NODE_ADDR,
	NODE_SIZE,
	NODE_BIRTH,
	NODE_AGE,
	NODE_STACK,
	NODE_TYPE,
	NODE_THREAD,
	NODE_KIND,
	NODE_FLAGS,
	NODE_WEIGHT,
	NODE_EXTRA
};

static const char nodes_declaration[] =
	"CREATE TABLE nodes(id INTEGER, addr INTEGER, size INTEGER, birth INTEGER, age_s REAL, stack INTEGER,"
	" type TEXT, thread INTEGER, kind TEXT, flags INTEGER, weight INTEGER, extra INTEGER)";

struct node_cursor {
	sqlite3_vtab_cursor base;
	const struct schema *schema;
	const struct store_clock *clock;
	uint32_t clock_count;
	uint64_t at, end;
	uint64_t addr;			/* with by_addr only rows of this address */
	bool by_addr;
};

static int nodes_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret_table, char **ret_error)
{
	return connect_table(db, aux, argc, argv, ret_table, ret_error, nodes_declaration);
}

static int nodes_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
	static const struct lookup lookups[] = { { NODE_ID, 1, 1 }, { NODE_ADDR, 4, 1 } };

	(void)table;
	return pick_lookup(info, lookups, 2, 1e6);
}

static int nodes_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
	struct node_cursor *cursor = sqlite3_malloc(sizeof(*cursor));

	(void)table;
	if (!cursor)
		return SQLITE_NOMEM;
	memset(cursor, 0, sizeof(*cursor));
	*ret_cursor = &cursor->base;
	return SQLITE_OK;
}

static int nodes_close(sqlite3_vtab_cursor *base)
{
	sqlite3_free(base);
	return SQLITE_OK;
}

/* First node at or above an address. */
static uint64_t lower_bound(const struct heap *heap, uint64_t addr)
{
	uint64_t low = 0, high = heap->nodes;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (heap->addr[middle] < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int nodes_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
			sqlite3_value **argv)
{
	struct node_cursor *cursor = (struct node_cursor *)base;
	sqlite3_int64 value = argc ? sqlite3_value_int64(argv[0]) : 0;
	const struct heap *heap;

	(void)text;
	cursor->schema = need_heap((struct table *)base->pVtab);
	if (!cursor->schema)
		return SQLITE_ERROR;
	heap = cursor->schema->heap;
	cursor->clock = store_heap_clock(heap, &cursor->clock_count);
	cursor->at = 0;
	cursor->end = heap->nodes;
	cursor->by_addr = false;
	/* a plan only narrows the rows: SQLite compares the value again, with its own rules for types */
	if (plan && sqlite3_value_type(argv[0]) == SQLITE_NULL)
		cursor->at = cursor->end;	/* equal to nothing */
	if (plan && sqlite3_value_type(argv[0]) != SQLITE_INTEGER)
		return SQLITE_OK;
	if (plan == 1) {
		cursor->at = value >= 0 && value < heap->nodes ? (uint64_t)value : heap->nodes;
		cursor->end = cursor->at < heap->nodes ? cursor->at + 1 : cursor->at;
	} else if (plan == 2) {
		cursor->by_addr = true;
		cursor->addr = (uint64_t)value;
		cursor->at = lower_bound(heap, cursor->addr);
	}
	return SQLITE_OK;
}

static int nodes_next(sqlite3_vtab_cursor *base)
{
	((struct node_cursor *)base)->at++;
	return SQLITE_OK;
}

static int nodes_eof(sqlite3_vtab_cursor *base)
{
	const struct node_cursor *cursor = (struct node_cursor *)base;

	return cursor->at >= cursor->end ||
	       (cursor->by_addr && cursor->schema->heap->addr[cursor->at] != cursor->addr);
}

/* Seconds between a birth and the snapshot, by the clock samples around it; < 0 = unknown. */
static double age_seconds(const struct node_cursor *cursor, uint64_t birth)
{
	uint32_t low = 0, high = cursor->clock_count;
	const struct store_clock *before, *after;
	double born;

	if (high < 2 || !birth || birth < cursor->clock[0].birth)
		return -ENOMEM;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (cursor->clock[middle].birth <= birth)
			low = middle;
		else
			high = middle;
	}
	if (low + 1 == cursor->clock_count)
		low--;
	before = &cursor->clock[low];
	after = before + 1;
	born = (double)before->realtime_ns;
	if (after->birth > before->birth)
		born += (double)(after->realtime_ns - before->realtime_ns) *
			(double)(birth - before->birth) / (double)(after->birth - before->birth);
	born = ((double)cursor->schema->heap->meta.taken_ns - born) * 1e-9;
	return born < 0 ? 0 : born;
}

static int nodes_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	static const char *const kinds[] = {
		[STREAM_NODE_MALLOC] = "malloc", [STREAM_NODE_CALLOC] = "calloc", [STREAM_NODE_REALLOC] = "realloc",
		[STREAM_NODE_ALIGNED] = "aligned", [STREAM_NODE_NEW] = "new", [STREAM_NODE_MAPPING] = "mapping",
		[STREAM_NODE_PYTHON] = "python",
	};
	const struct node_cursor *cursor = (struct node_cursor *)base;
	const struct heap *heap = cursor->schema->heap;
	uint64_t at = cursor->at;
	double age;
	uint8_t kind;

	switch (column) {
	case NODE_ID:
		sqlite3_result_int64(context, (sqlite3_int64)at);
		break;
	case NODE_ADDR:
		sqlite3_result_int64(context, (sqlite3_int64)heap->addr[at]);
		break;
	case NODE_SIZE:
		sqlite3_result_int64(context, (sqlite3_int64)heap->bytes[at]);
		break;
	case NODE_BIRTH:
		sqlite3_result_int64(context, (sqlite3_int64)heap->birth[at]);
		break;
	case NODE_AGE:
		age = age_seconds(cursor, heap->birth[at]);
		if (age >= 0)
			sqlite3_result_double(context, age);
		break;
	case NODE_STACK:
		if (heap->stack[at] != HEAP_NONE)
			sqlite3_result_int64(context, heap->stack[at]);
		break;
	case NODE_TYPE:
		sqlite3_result_text(context, heap->types[heap->type[at]].name, -1,
				    SQLITE_TRANSIENT);
		break;
	case NODE_THREAD:
		if (heap->thread[at])
			sqlite3_result_int64(context, heap->thread[at]);
		break;
	case NODE_KIND:
		kind = store_heap_kinds(heap)[at];
		if (kind < sizeof(kinds) / sizeof(*kinds) && kinds[kind])
			sqlite3_result_text(context, kinds[kind], -1, SQLITE_STATIC);
		break;
	case NODE_FLAGS:
		sqlite3_result_int64(context, heap->flags[at]);
		break;
	case NODE_WEIGHT:
		sqlite3_result_int64(context, heap->weight ? heap->weight[at] : 1);
		break;
	case NODE_EXTRA:
		sqlite3_result_int64(context, heap->extra ? heap->extra[at] : 0);
		break;
	}
	return SQLITE_OK;
}

static int nodes_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid)
{
	*ret_rowid = (sqlite3_int64)((struct node_cursor *)base)->at;
	return SQLITE_OK;
}

/* ---- edges ---- */

enum {
	EDGE_SRC,
	EDGE_ROOT,
	EDGE_DST,
	EDGE_LABEL,
	EDGE_KIND,
	EDGE_VALUE,
	EDGE_INTERIOR,
	EDGE_OFFSET
};

static const char edges_declaration[] =
	"CREATE TABLE edges(src INTEGER, root INTEGER, dst INTEGER, label TEXT, kind TEXT, value INTEGER,"
	" interior INTEGER, \"offset\" INTEGER)";

struct edge_cursor {
	sqlite3_vtab_cursor base;
	struct schema *schema;
	uint64_t at, end;		/* sources still to visit: graph ids, or positions in back_from */
	bool backward;			/* sources come from back_from, references go to `target` only */
	uint32_t target;
	struct heap_reference *refs;	/* of the current source */
	uint64_t ref, ref_count, ref_capacity;
	sqlite3_int64 rowid;
};

static int edges_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret_table, char **ret_error)
{
	return connect_table(db, aux, argc, argv, ret_table, ret_error, edges_declaration);
}

static int edges_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
	/* a dst has sources anywhere, and each may have to be decompressed: 1 ms at worst */
	static const struct lookup lookups[] = { { EDGE_SRC, 20, 4 }, { EDGE_ROOT, 20, 4 }, { EDGE_DST, 4000, 4 } };

	(void)table;
	return pick_lookup(info, lookups, 3, 3e6);
}

static int edges_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
	struct edge_cursor *cursor = sqlite3_malloc(sizeof(*cursor));

	(void)table;
	if (!cursor)
		return SQLITE_NOMEM;
	memset(cursor, 0, sizeof(*cursor));
	*ret_cursor = &cursor->base;
	return SQLITE_OK;
}

static int edges_close(sqlite3_vtab_cursor *base)
{
	free(((struct edge_cursor *)base)->refs);
	sqlite3_free(base);
	return SQLITE_OK;
}

static int keep_reference(const struct heap_reference *ref, void *data)
{
	struct edge_cursor *cursor = data;

	if (cursor->backward && ref->to != cursor->target)
		return 0;
	if (cursor->ref_count == cursor->ref_capacity) {
		uint64_t capacity = cursor->ref_capacity ? cursor->ref_capacity * 2 : 16;
		struct heap_reference *refs = reallocarray(cursor->refs, capacity, sizeof(*refs));

		if (!refs)
			return SQLITE_NOMEM;
		cursor->refs = refs;
		cursor->ref_capacity = capacity;
	}
	cursor->refs[cursor->ref_count++] = *ref;
	return 0;
}

/* Read references of the next source that has any. */
static int next_source(struct edge_cursor *cursor)
{
	const struct heap *heap = cursor->schema->heap;

	cursor->ref = cursor->ref_count = 0;
	while (!cursor->ref_count && cursor->at < cursor->end) {
		uint64_t at = cursor->at++;
		uint32_t source = cursor->backward ? cursor->schema->back_from[at] : (uint32_t)at;
		int r;

		/* several references to one target: back_from names the source several times in a row */
		if (cursor->backward)
			while (cursor->at < cursor->end &&
			       cursor->schema->back_from[cursor->at] == source)
				cursor->at++;
		if (heap->edge_start[source] == heap->edge_start[source + 1])
			continue;
		r = heap_references(heap, source, keep_reference, cursor);
		if (r)
			return r == -EBADMSG ? SQLITE_CORRUPT_VTAB : SQLITE_NOMEM;
	}
	return SQLITE_OK;
}

static int edges_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
			sqlite3_value **argv)
{
	struct edge_cursor *cursor = (struct edge_cursor *)base;
	sqlite3_int64 value = argc ? sqlite3_value_int64(argv[0]) : 0;
	const struct heap *heap;

	(void)text;
	cursor->schema = need_heap((struct table *)base->pVtab);
	if (!cursor->schema)
		return SQLITE_ERROR;
	heap = cursor->schema->heap;
	cursor->backward = false;
	cursor->rowid = 0;
	cursor->at = 0;
	cursor->end = (uint64_t)heap->nodes + heap->roots;
	if (plan && sqlite3_value_type(argv[0]) == SQLITE_NULL)
		cursor->at = cursor->end;	/* equal to nothing */
	if (plan && sqlite3_value_type(argv[0]) != SQLITE_INTEGER)
		plan = 0;
	if (plan && (value < 0 || value >= (plan == 2 ? heap->roots : heap->nodes))) {
		cursor->at = cursor->end;
	} else if (plan == 1 || plan == 2) {
		cursor->at = (uint64_t)value + (plan == 2 ? heap->nodes : 0);
		cursor->end = cursor->at + 1;
	} else if (plan == 3) {
		if (need_backward(cursor->schema))
			return SQLITE_NOMEM;
		cursor->backward = true;
		cursor->target = (uint32_t)value;
		cursor->at = cursor->schema->back_start[value];
		cursor->end = cursor->schema->back_start[value + 1];
	}
	return next_source(cursor);
}

static int edges_next(sqlite3_vtab_cursor *base)
{
	struct edge_cursor *cursor = (struct edge_cursor *)base;

	cursor->rowid++;
	return ++cursor->ref < cursor->ref_count ? SQLITE_OK : next_source(cursor);
}

static int edges_eof(sqlite3_vtab_cursor *base)
{
	const struct edge_cursor *cursor = (struct edge_cursor *)base;

	return cursor->ref >= cursor->ref_count;
}

/* ".buckets[17]" or "+16" where that is all that is known; empty where a variable is the pointer: then "+0". */
static char *offset_label(const struct heap *heap, const struct heap_reference *ref)
{
	struct text text = { 0 };
	char *label = NULL;

	names_reference(&text, heap, ref);
	if (!text.broken)
		label = sqlite3_mprintf("%s", text.length ? text.data : "+0");
	text_done(&text);
	return label;
}

/* "+16", ".name", "['key']", "[3]": as a person would write the step. */
static void result_label(sqlite3_context *context, const struct heap *heap,
			 const struct heap_reference *ref)
{
	sqlite3_int64 value = (sqlite3_int64)ref->value;
	const char *text = ref->text ? ref->text : "";
	char *label;

	switch (ref->label) {
	case HEAP_LABEL_ATTR:
		label = sqlite3_mprintf(".%s", text);
		break;
	case HEAP_LABEL_KEY:
		label = sqlite3_mprintf("[%s]", text);
		break;
	case HEAP_LABEL_INDEX:
		label = sqlite3_mprintf("[%lld]", value);
		break;
	case HEAP_LABEL_LOCAL:
	case HEAP_LABEL_CELL:
		label = sqlite3_mprintf("%s", text);
		break;
	case HEAP_LABEL_DICT_KEY:
		label = sqlite3_mprintf("key %lld", value);
		break;
	case HEAP_LABEL_CACHE_KEY:
		label = sqlite3_mprintf("cache key %lld", value);
		break;
	case HEAP_LABEL_CACHE_RESULT:
		label = sqlite3_mprintf("cache result %lld", value);
		break;
	case HEAP_LABEL_NAMED:
		label = sqlite3_mprintf("->%s", text);
		break;
	case HEAP_LABEL_OFFSET:
	case HEAP_LABEL_CAPSULE:
		label = offset_label(heap, ref);
		break;
	default:
		if (ref->from >= heap->nodes && heap->root[ref->from - heap->nodes].start)
			value -= (sqlite3_int64)heap->root[ref->from - heap->nodes].start;
		label = sqlite3_mprintf("+%lld", value);
		break;
	}
	if (label)
		sqlite3_result_text(context, label, -1, sqlite3_free);
	else
		sqlite3_result_error_nomem(context);
}

static int edges_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	static const char *const kinds[] = { "offset", "attribute", "key", "index", "local", "cell", "dict-key",
					     "cache-key", "cache-result", "named", "owns", "capsule" };
	const struct edge_cursor *cursor = (struct edge_cursor *)base;
	const struct heap_reference *ref = &cursor->refs[cursor->ref];
	const struct heap *heap = cursor->schema->heap;
	bool of_root = ref->from >= heap->nodes;

	switch (column) {
	case EDGE_SRC:
		if (!of_root)
			sqlite3_result_int64(context, ref->from);
		break;
	case EDGE_ROOT:
		if (of_root)
			sqlite3_result_int64(context, ref->from - heap->nodes);
		break;
	case EDGE_DST:
		sqlite3_result_int64(context, ref->to);
		break;
	case EDGE_LABEL:
		result_label(context, heap, ref);
		break;
	case EDGE_KIND:
		if (ref->label < sizeof(kinds) / sizeof(*kinds))
			sqlite3_result_text(context, kinds[ref->label], -1, SQLITE_STATIC);
		break;
	case EDGE_VALUE:
		if (!ref->text)
			sqlite3_result_int64(context, (sqlite3_int64)ref->value);
		break;
	case EDGE_INTERIOR:
		sqlite3_result_int64(context, ref->interior);
		break;
	case EDGE_OFFSET:
		sqlite3_result_int64(context, (sqlite3_int64)ref->target_offset);
		break;
	}
	return SQLITE_OK;
}

static int edges_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid)
{
	*ret_rowid = ((struct edge_cursor *)base)->rowid;
	return SQLITE_OK;
}

/* ---- registration ---- */

static const sqlite3_module nodes_module = {
	.iVersion = 1, .xCreate = nodes_connect, .xConnect = nodes_connect, .xBestIndex = nodes_best_index,
	.xDisconnect = disconnect_table, .xDestroy = disconnect_table, .xOpen = nodes_open,
	.xClose = nodes_close, .xFilter = nodes_filter, .xNext = nodes_next, .xEof = nodes_eof,
	.xColumn = nodes_column, .xRowid = nodes_rowid,
};

static const sqlite3_module edges_module = {
	.iVersion = 1, .xCreate = edges_connect, .xConnect = edges_connect, .xBestIndex = edges_best_index,
	.xDisconnect = disconnect_table, .xDestroy = disconnect_table, .xOpen = edges_open,
	.xClose = edges_close, .xFilter = edges_filter, .xNext = edges_next, .xEof = edges_eof,
	.xColumn = edges_column, .xRowid = edges_rowid,
};

void store_vtab_clear(struct store_vtab_files *files)
{
	if (!files)
		return;
	for (unsigned i = 0; i < files->count; i++) {
		struct schema *schema = &files->schema[i];

		heap_free(schema->heap);
		free(schema->back_start);
		free(schema->back_from);
		free(schema->name);
	}
	files->count = 0;
}

/* SQLite lets go of a module: each registration holds the list. */
static void release_files(void *aux)
{
	struct store_vtab_files *files = aux;

	if (--files->users)
		return;
	store_vtab_clear(files);
	free(files);
}

int store_vtab_register(sqlite3 *db, struct store_vtab_files **ret_files)
{
	struct store_vtab_files *files = calloc(1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	/* a failed registration calls release_files() as well */
	files->users = 2;
	if (sqlite3_create_module_v2(db, "leakdiff_nodes", &nodes_module, files, release_files) !=
	    SQLITE_OK) {
		release_files(files);
		return -ENOMEM;
	}
	if (sqlite3_create_module_v2(db, "leakdiff_edges", &edges_module, files, release_files) !=
	    SQLITE_OK)
		return -ENOMEM;
	if (ret_files)
		*ret_files = files;
	return 0;
}

int store_vtab_add(struct store_vtab_files *files, const char *schema, struct store_file *file)
{
	char *name;

	if (files->count == SCHEMAS_MAX)
		return -ENOMEM;
	name = strdup(schema);
	if (!name)
		return -ENOMEM;
	files->schema[files->count++] = (struct schema){ .name = name, .file = file };
	return 0;
}
