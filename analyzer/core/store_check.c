/* SPDX-License-Identifier: Apache-2.0
 * L2  store_check.c - verifies what opening a snapshot does not: everything in it.
 *
 * Opening has compared every page with its checksum. What is left is what a wrong writer, or a
 * skilful forger, could have done: SQLite's own structure, every chunk with its labels, and that the
 * tables agree with each other. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/store_internal.h"
#include "core/text.h"

struct check {
	struct store_file *file;
	void (*print)(const char *line, void *data);
	void *data;
	uint64_t damage;		/* findings */
};

__attribute__((format(printf, 2, 3))) static void say(struct check *check, const char *format, ...)
{
	char *line = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&line, format, args) < 0)
		line = NULL;
	va_end(args);
	if (line)
		check->print(line, check->data);
	free(line);
}

/* Queries whose every row is a finding: the text says what, the first column where. NULL is in no table, and
 * NOT IN an empty one. */
static const struct { const char *what, *sql, *table; /* that an older minor has not */ } rules[] = {
	{ "a site of an unknown type", "SELECT id FROM sites WHERE type NOT IN (SELECT id FROM types)", NULL },
	{ "a site of an unknown stack", "SELECT id FROM sites WHERE stack IS NOT NULL AND stack NOT IN (SELECT id FROM stacks)", NULL },
	{ "a stack whose depth is not its number of frames",
	  "SELECT id FROM stacks WHERE NOT json_valid(frames) OR depth <> json_array_length(frames)", NULL },
	{ "a traceback of an unknown thread or frame",
	  "SELECT thread FROM tracebacks WHERE thread NOT IN (SELECT id FROM threads) OR frame NOT IN (SELECT id FROM frames)", NULL },
	{ "a mapping of an unknown module", "SELECT id FROM maps WHERE module IS NOT NULL AND module NOT IN (SELECT id FROM modules)", NULL },
	{ "a type of an unknown layout", "SELECT id FROM types WHERE layout IS NOT NULL AND layout NOT IN (SELECT id FROM layouts)", "layouts" },
	{ "a root of an unknown layout", "SELECT id FROM roots WHERE layout IS NOT NULL AND layout NOT IN (SELECT id FROM layouts)", "layouts" },
	{ "evidence for an unknown type or stack",
	  "SELECT id FROM type_evidence WHERE type NOT IN (SELECT id FROM types) OR "
	  "(stack IS NOT NULL AND stack NOT IN (SELECT id FROM stacks))",
	  "type_evidence" },
	{ "evidence for more nodes of a type than there are",
	  "SELECT e.type FROM (SELECT type, sum(count) AS n FROM type_evidence GROUP BY type) AS e "
	  "JOIN (SELECT type, sum(count) AS n FROM sites GROUP BY type) AS s ON s.type = e.type WHERE e.n > s.n",
	  "type_evidence" },
	{ "sites do not sum to the blocks, mappings and objects of meta",
	  "SELECT 0 WHERE (SELECT ifnull(sum(count), 0) FROM sites) <> "
	  "(SELECT sum(CAST(value AS INTEGER)) FROM meta WHERE key IN ('blocks', 'mappings', 'objects'))", NULL },
	{ "sites do not sum to the bytes of meta",
	  "SELECT 0 WHERE (SELECT ifnull(sum(bytes), 0) FROM sites) <> "
	  "(SELECT sum(CAST(value AS INTEGER)) FROM meta WHERE key IN ('bytes', 'mapped_bytes', 'object_bytes'))", NULL },
	{ "the parts of the memory account do not sum to its total",
	  "SELECT 0 WHERE (SELECT ifnull(sum(bytes), 0) FROM account WHERE part <> 'total') <> "
	  "(SELECT ifnull(sum(bytes), 0) FROM account WHERE part = 'total')", NULL },
	{ "what a part of the memory account is made of does not sum to it",
	  "SELECT 0 FROM account_details d LEFT JOIN account a USING (part) GROUP BY d.part HAVING sum(d.bytes) <> ifnull(a.bytes, 0)",
	  "arenas" },
	{ "sizes of an unknown arena", "SELECT arena FROM arena_classes WHERE arena NOT IN (SELECT id FROM arenas)",
	  "arenas" },
	{ "the number of roots is not that of meta",
	  "SELECT 0 WHERE (SELECT count(*) FROM roots) <> (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'roots')", NULL },
};

static void check_rules(struct check *check)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		sqlite3_stmt *statement = NULL;
		uint64_t rows = 0;
		int64_t first = 0;

		if (rules[i].table && !store_file_has(check->file, rules[i].table, "id"))
			continue;
		if (sqlite3_prepare_v2(check->file->db, rules[i].sql, -1, &statement, NULL) ==
		    SQLITE_OK)
			while (sqlite3_step(statement) == SQLITE_ROW)
				if (!rows++)
					first = sqlite3_column_int64(statement, 0);
		if (!statement || sqlite3_reset(statement) != SQLITE_OK) {
			say(check, "damaged: cannot check for %s: %s", rules[i].what,
			    sqlite3_errmsg(check->file->db));
			check->damage++;
		}
		sqlite3_finalize(statement);
		if (rows) {
			say(check, "damaged: %s (%" PRIu64 " times, first at id %" PRId64 ")",
			    rules[i].what, rows, first);
			check->damage++;
		}
	}
}

static void check_structure(struct check *check)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(check->file->db, "PRAGMA quick_check(20)", -1, &statement, NULL) ==
	    SQLITE_OK)
		while (sqlite3_step(statement) == SQLITE_ROW) {
			const char *line = (const char *)sqlite3_column_text(statement, 0);

			if (!line || sqlite3_stricmp(line, "ok")) {
				say(check, "damaged: %s", line ? line : "out of memory");
				check->damage++;
			}
		}
	if (sqlite3_finalize(statement) != SQLITE_OK) {
		say(check, "damaged: %s", sqlite3_errmsg(check->file->db));
		check->damage++;
	}
}

static int ignore_reference(const struct heap_reference *ref, void *data)
{
	(void)ref;
	++*(uint64_t *)data;
	return 0;
}

/* Every label of every reference: loading the heap has seen only their targets. */
static void check_references(struct check *check, const struct heap *heap)
{
	uint64_t seen = 0;

	for (uint32_t source = 0; source < heap->nodes + heap->roots; source++) {
		int r;

		if (heap->edge_start[source] == heap->edge_start[source + 1])
			continue;
		r = heap_references(heap, source, ignore_reference, &seen);
		if (r < 0) {
			say(check, "damaged: the references of %s %u cannot be read",
			    source < heap->nodes ? "node" : "root",
			    source < heap->nodes ? source : source - heap->nodes);
			check->damage++;
			return;
		}
	}
	if (seen != heap->edges) {
		say(check, "damaged: %" PRIu64 " references with labels, %" PRIu64 " without", seen,
		    heap->edges);
		check->damage++;
	}
}

static void describe(struct check *check, const struct heap *heap)
{
	const struct heap_meta *meta = &heap->meta;
	char count[TEXT_SIZE], bytes[TEXT_SIZE], edges[TEXT_SIZE], when[64] = "at an unknown time";
	time_t seconds = (time_t)(meta->taken_ns / 1000000000);
	struct tm tm;

	if (meta->taken_ns && gmtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	say(check, "process %u, %s, taken %s, mode %s%s", meta->pid,
	    *meta->command ? meta->command : "command unknown", when,
	    *meta->mode ? meta->mode : "unknown",
	    meta->consistent ? "" : ", not every thread stood still");
	say(check, "%s live blocks, %s", text_count((int64_t)meta->blocks, count),
	    text_size((int64_t)meta->bytes, bytes));
	if (meta->mappings)
		say(check, "%s mappings made by the program, %s",
		    text_count((int64_t)meta->mappings, count),
		    text_size((int64_t)meta->mapped_bytes, bytes));
	if (meta->objects)
		say(check, "%s Python objects, %s", text_count((int64_t)meta->objects, count),
		    text_size((int64_t)meta->object_bytes, bytes));
	say(check, "%s references, %u roots, %u allocation stacks, %u types",
	    text_count((int64_t)heap->edges, edges), heap->roots, heap->stack_count,
	    heap->type_count);
	if (meta->lost_events)
		say(check, "%s allocation events were lost",
		    text_count((int64_t)meta->lost_events, count));
	for (size_t i = 0; i < meta->note_count; i++)
		say(check, "note: %s", meta->notes[i]);
}

int store_check(struct store *store, void (*print)(const char *line, void *data), void *data)
{
	struct check check = { .file = store_main_file(store), .print = print, .data = data };
	struct heap *heap = NULL;
	char *error = NULL;
	int r;

	check_structure(&check);
	r = store_file_load(check.file, &heap, &error);
	if (r < 0) {
		say(&check, "damaged: %s", error ? error : "not enough memory");
		check.damage++;
	} else {
		describe(&check, heap);
		check_references(&check, heap);
	}
	check_rules(&check);
	if (check.damage)
		say(&check, "%s: damaged in %" PRIu64 " ways", check.file->path, check.damage);
	else
		say(&check, "%s: whole", check.file->path);
	heap_free(heap);
	free(error);
	return check.damage ? -EBADMSG : 0;
}
