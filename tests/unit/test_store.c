/* SPDX-License-Identifier: Apache-2.0
 * test_store.c - snapshot files: what is refused and in which words, and queries over what is not. */
#include "test.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "core/chunks.h"
#include "core/heap.h"
#include "core/layout.h"
#include "core/ingest.h"
#include "core/store.h"
#include "core/store_seal.h"
#include "core/text.h"
#include "unit/stream_builder.h"
#include "unit/stream_file.h"

#define PAGE 4096u

/* A snapshot with some of everything. Returns its path. */
static const char *make_snapshot(const char *name, uint32_t blocks)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	const char *path = in_folder(name);
	struct ingest_result result;
	struct builder b = { 0 };
	uint32_t label, stack, thread;
	char *error = NULL;
	uint8_t *bytes;
	size_t size;
	int fd;

	builder_meta(&b, "pid", "42");
	label = builder_string(&b, "attribute");
	thread = builder_string(&b, "worker");
	builder_add(&b, STREAM_THREADS, (struct stream_thread){ .tid = 9, .name = thread, .stop = STREAM_STOP_PTRACE });
	builder_add(&b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = 0x77, .cfa = 0x200 });
	builder_add(&b, STREAM_CLOCK, (struct stream_clock){ 0, 1000000000000, 0 });
	builder_add(&b, STREAM_CLOCK, (struct stream_clock){ blocks, 1010000000000, 10000000000 });
	builder_add(&b, STREAM_MAPS, (struct stream_map){ .start = 0x1000, .end = 0x9000, .rss_bytes = 0x3000,
		.live_resident_bytes = 0x1000, .kind = STREAM_MAP_HEAP, .module = STREAM_NONE });
	stack = builder_stack(&b, 0x1234, builder_stack(&b, 0x99, 0, 0), 0);
	for (uint32_t i = 0; i < blocks; i++)
		builder_block(&b, 0x10000 + 64ull * i, 16 + i % 4, i, i % 2 ? stack : 0);
	builder_root(&b, &(struct stream_root){ .start = 0x5000, .end = 0x6000, .kind = STREAM_ROOT_MAPPING,
		.module = STREAM_NONE, .thread = STREAM_NONE });
	for (uint32_t i = 0; i + 1 < blocks; i++)
		builder_edge(&b, false, i, STREAM_LABEL_OFFSET, 8, i + 1, i % 10 ? 0 : 4);
	builder_edge(&b, false, blocks - 1, STREAM_LABEL_ATTR, label, 0, 0);
	builder_edge(&b, true, 0, STREAM_LABEL_OFFSET, 0x5010, 0, 0);
	bytes = builder_finish(&b, &size);
	fd = file_of(bytes, size);
	if (ingest_run(fd, path, &options, &result, &error) < 0) {
		fprintf(stderr, "%s\n", error);
		exit(2);
	}
	close(fd);
	free(bytes);
	return path;
}

/* Open must fail with this code and these words. */
static void expect_refused(const char *path, int code, const char *words)
{
	struct store *store = NULL;
	char *error = NULL;

	EXPECT_INT_EQ(store_open(path, &store, &error), code);
	EXPECT_CONTAINS(error, words);
	EXPECT(!error || !strchr(error, '\n'));
	free(error);
	store_free(store);
}

/* Make the page checksums right again after a change: what a forger would do. */
static void reseal(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	EXPECT_INT_EQ(store_seal(fd, PAGE), 0);
	close(fd);
}

/* Change a snapshot with SQL of SQLite's own, as another program would. Triggers and virtual tables of
 * unknown modules are no obstacle. */
static void change(const char *path, const char *sql)
{
	sqlite3 *db;
	char *error = NULL;

	EXPECT_INT_EQ(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
	EXPECT_INT_EQ(sqlite3_exec(db, sql, NULL, NULL, &error), SQLITE_OK);
	if (error)
		fprintf(stderr, "%s: %s\n", sql, error);
	sqlite3_free(error);
	sqlite3_close(db);
}

/* Rows of a query as "a|b\n" lines; NULL values are "-". */
static int collect(int columns, char **values, bool is_header, void *data)
{
	if (is_header)
		return 0;
	for (int i = 0; i < columns; i++) {
		text_append(data, i ? "|" : "");
		text_append(data, values[i] ? values[i] : "-");
	}
	text_append(data, "\n");
	return 0;
}

static void expect_rows(struct store *store, const char *sql, const char *want)
{
	struct text text = { 0 };
	char *error = NULL, *got;

	EXPECT_INT_EQ(store_query(store, sql, collect, &text, &error), 0);
	if (error)
		fprintf(stderr, "%s: %s\n", sql, error);
	free(error);
	text_append(&text, "");
	got = text_take(&text);
	EXPECT_STR_EQ(got ? got : "", want);
	free(got);
}

static void keep_line(const char *line, void *data)
{
	char **last = data;

	if (getenv("TEST_VERBOSE"))
		fprintf(stderr, "%s\n", line);
	free(*last);
	*last = strdup(line);
}

TEST(nodes_and_edges_are_tables)
{
	const char *path = make_snapshot("tables.snap", 1000);
	struct store *store;
	char *error = NULL;

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	expect_rows(store, "SELECT count(*), min(addr), max(id) FROM nodes", "1000|65536|999\n");
	expect_rows(store, "SELECT id, addr, size, birth, stack, thread, kind FROM nodes WHERE id = 7",
		    "7|65984|19|7|0|1|malloc\n");
	expect_rows(store, "SELECT id FROM nodes WHERE addr = 65984", "7\n");
	expect_rows(store, "SELECT id FROM nodes WHERE addr = 65985", "");
	expect_rows(store, "SELECT id FROM nodes WHERE id = 1000 OR id = -1", "");
	expect_rows(store, "SELECT id FROM nodes WHERE id = '7'", "7\n");
	expect_rows(store, "SELECT count(*) FROM nodes WHERE id = 'seven'", "0\n");
	expect_rows(store, "SELECT id FROM nodes WHERE id = 7.0", "7\n");
	expect_rows(store, "SELECT count(*) FROM nodes WHERE id = NULL", "0\n");
	expect_rows(store, "SELECT count(*) FROM edges WHERE src = NULL OR dst = NULL", "0\n");
	expect_rows(store, "SELECT count(*) FROM edges JOIN nodes ON nodes.id = edges.src", "1000\n");
	expect_rows(store, "SELECT age_s FROM nodes WHERE id = 500", "5.0\n");
	expect_rows(store, "SELECT age_s FROM nodes WHERE id = 0", "-\n");
	expect_rows(store, "SELECT src, root, dst, label, kind, interior, offset FROM edges WHERE src = 10",
		    "10|-|11|+8|offset|1|4\n");
	expect_rows(store, "SELECT src, dst, label, kind, value FROM edges WHERE src = 999", "999|0|.attribute|attribute|-\n");
	expect_rows(store, "SELECT src, root FROM edges WHERE dst = 0", "999|-\n-|0\n");
	expect_rows(store, "SELECT src, dst, label FROM edges WHERE root = 0", "-|0|+16\n");
	expect_rows(store, "SELECT count(*) FROM edges", "1001\n");
	expect_rows(store, "SELECT count(*) FROM edges JOIN nodes ON nodes.id = dst WHERE nodes.size = 19", "250\n");
	store_free(store);
}

TEST(views_read_well)
{
	const char *path = make_snapshot("views.snap", 100);
	struct store *store;
	char *error = NULL;

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	expect_rows(store, "SELECT text FROM v_stacks", "0x1233 <- 0x98\n");
	expect_rows(store, "SELECT stack, depth, frame FROM stack_frames", "0|0|1\n0|1|0\n");
	expect_rows(store, "SELECT type, size, count, bytes, stack_text FROM v_sites WHERE size = 17",
		    "0x1233|17|25|425|0x1233 <- 0x98\n");
	expect_rows(store, "SELECT sum(count), sum(bytes) FROM v_types", "100|1750\n");
	expect_rows(store, "SELECT kind, rss_bytes, live_resident_bytes FROM v_rss", "heap|12288|4096\n");
	expect_rows(store, "SELECT thread, depth, function FROM v_tracebacks", "worker (tid 9)|0|0x77\n");
	expect_rows(store, "SELECT bytes FROM account WHERE part IN ('live', 'allocator', 'total') ORDER BY 1",
		    "4096\n8192\n12288\n");
	store_free(store);
}

TEST(facts_come_without_nodes)
{
	const char *path = make_snapshot("facts.snap", 100);
	struct store *store;
	struct heap *heap, *whole;
	char *error = NULL;

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load_facts(store, &heap, &error), 0);
	ASSERT_INT_EQ(store_load(store, &whole, &error), 0);
	EXPECT_U64_EQ(heap->nodes, 0);
	EXPECT_INT_EQ(memcmp(&heap->account, &whole->account, sizeof(heap->account)), 0);
	EXPECT_U64_EQ(heap->account.total_bytes, 12288);
	EXPECT_STR_EQ(heap->meta.command, whole->meta.command);
	EXPECT_U64_EQ(heap->meta.note_count, whole->meta.note_count);
	for (size_t i = 0; i < heap->meta.note_count; i++)
		EXPECT_STR_EQ(heap->meta.notes[i], whole->meta.notes[i]);
	heap_free(heap);
	heap_free(whole);
	store_free(store);
}

TEST(caches_are_read_by_node_and_an_older_minor_has_none)
{
	const char *path = make_snapshot("caches.snap", 100);
	const struct heap_cache *cache;
	struct store *store;
	struct heap *heap;
	char *error = NULL;

	change(path, "INSERT INTO python_caches VALUES (0, 70, 5, 128, 1, 9), (1, 3, 6, -1, NULL, NULL), (2, 8, 7, NULL, 1, 2)");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	EXPECT_U64_EQ(heap->cache_count, 3);
	cache = heap_cache_of(heap, 70);
	ASSERT_NOT_NULL(cache);
	EXPECT(cache->entries == 5 && cache->maxsize == 128 && cache->hits == 1 && cache->misses == 9);
	cache = heap_cache_of(heap, 3);
	ASSERT_NOT_NULL(cache);
	EXPECT(cache->maxsize == -1 && cache->hits == HEAP_UNKNOWN);
	cache = heap_cache_of(heap, 8);
	ASSERT_NOT_NULL(cache);
	EXPECT(cache->maxsize == HEAP_UNKNOWN);
	EXPECT(!heap_cache_of(heap, 4));
	heap_free(heap);
	store_free(store);

	change(path, "INSERT INTO python_caches VALUES (3, 100, 5, 128, 1, 9)");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	EXPECT_INT_EQ(store_load(store, &heap, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "python_caches");
	free(error);
	error = NULL;
	store_free(store);

	change(path, "DROP TABLE python_caches; PRAGMA user_version = 1001");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	EXPECT_U64_EQ(heap->cache_count, 0);
	heap_free(heap);
	store_free(store);
}

TEST(layouts_are_read_with_what_has_them_and_an_older_minor_has_none)
{
	const char *path = make_snapshot("layouts.snap", 100);
	struct store *store;
	struct heap *heap;
	char *error = NULL;

	change(path, "DELETE FROM layouts; DELETE FROM layout_members; DELETE FROM type_evidence;"
		     "UPDATE roots SET layout = NULL; UPDATE types SET layout = NULL;"
		     "INSERT INTO layouts VALUES (0, 'void', 'void', 0, 0, 0, '', 0), (1, 'struct entry', 'struct', 16, 0, 0, 'e.c', 7),"
		     " (2, 'struct entry *', 'pointer', 8, 1, 0, '', 0);"
		     "INSERT INTO layout_members VALUES (0, 1, 'next', 0, 2, 0), (1, 1, 'last', 8, 2, 0);"
		     "UPDATE roots SET layout = 2, file = 'e.c', line = 9 WHERE id = 0; UPDATE types SET layout = 1 WHERE id = 0");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	ASSERT_NOT_NULL(heap->layouts);
	EXPECT_U64_EQ(heap->layouts->count, 3);
	EXPECT_U64_EQ(heap->layouts->layouts[1].member_count, 2);
	EXPECT_U64_EQ(layouts_pointer_at(heap->layouts, heap->types[0].layout, 16, 8), 2);
	EXPECT(heap->root[0].layout == 2 && heap->root[0].line == 9);
	EXPECT_STR_EQ(heap->root[0].file, "e.c");
	heap_free(heap);
	store_free(store);

	for (int i = 0; i < 4; i++) {
		static const char *const damage[] = {
			"UPDATE layouts SET target = 3 WHERE id = 2", "UPDATE layouts SET target = 1, kind = 'thing' WHERE id = 2",
			"UPDATE layouts SET kind = 'pointer' WHERE id = 2; UPDATE layout_members SET offset = 9 WHERE id = 0",
			"UPDATE layout_members SET offset = 0 WHERE id = 0; UPDATE roots SET layout = 3 WHERE id = 0" };

		change(path, damage[i]);
		reseal(path);
		ASSERT_INT_EQ(store_open(path, &store, &error), 0);
		EXPECT_INT_EQ(store_load(store, &heap, &error), -EBADMSG);
		EXPECT_CONTAINS(error, "is corrupt");
		free(error);
		error = NULL;
		store_free(store);
	}

	change(path, "DROP TABLE layouts; DROP TABLE layout_members; DROP TABLE type_evidence;"
		     "PRAGMA writable_schema = ON;"
		     "UPDATE sqlite_schema SET sql = 'CREATE TABLE types (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "
		     "source INTEGER NOT NULL)' WHERE name = 'types';"
		     "UPDATE sqlite_schema SET sql = 'CREATE TABLE roots (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, "
		     "module TEXT NOT NULL, thread TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL)' WHERE name = 'roots';"
		     "PRAGMA user_version = 1003");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	EXPECT(!heap->layouts && heap->types[0].layout == 0);
	heap_free(heap);
	store_free(store);
}

TEST(an_attached_snapshot_has_its_own_nodes)
{
	const char *one = make_snapshot("one.snap", 10), *two = make_snapshot("it's two %.snap", 20);
	struct store *store;
	char *error = NULL;

	ASSERT_INT_EQ(store_open(one, &store, &error), 0);
	ASSERT_INT_EQ(store_attach(store, two, "b", &error), 0);
	expect_rows(store, "SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM b.nodes)", "10|20\n");
	expect_rows(store, "SELECT count(*) FROM b.nodes y LEFT JOIN main.nodes x ON x.addr = y.addr AND x.birth = y.birth "
			   "WHERE x.id IS NULL", "10\n");
	expect_rows(store, "SELECT sum(count_growth), sum(bytes_growth) FROM v_growth", "10|177\n");
	EXPECT_INT_EQ(store_attach(store, "/nonexistent.snap", "c", &error), -ENOENT);
	free(error);
	store_free(store);
}

TEST(queries_cannot_write)
{
	const char *path = make_snapshot("readonly.snap", 10);
	struct text text = { 0 };
	struct store *store;
	char *error = NULL;

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	EXPECT_INT_EQ(store_query(store, "DELETE FROM meta", collect, &text, &error), -EINVAL);
	EXPECT_CONTAINS(error, "readonly");
	free(error);
	EXPECT_INT_EQ(store_query(store, "DELETE FROM nodes", collect, &text, &error), -EINVAL);
	free(error);
	EXPECT_INT_EQ(store_query(store, "SELECT * FROM nowhere", collect, &text, &error), -EINVAL);
	EXPECT_CONTAINS(error, "no such table");
	free(error);
	expect_rows(store, "SELECT 1; -- a comment\n SELECT 2;", "1\n2\n");
	text_done(&text);
	store_free(store);
}

TEST(a_heap_outlives_its_store)
{
	const char *path = make_snapshot("outlive.snap", 100);
	struct heap *heap = NULL;
	struct store *store;
	char *error = NULL, *got;
	struct text text = { 0 };

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	/* the tables use a heap of their own */
	EXPECT_INT_EQ(store_query(store, "SELECT count(*) FROM nodes", collect, &text, &error), 0);
	store_free(store);
	EXPECT_U64_EQ(heap->nodes, 100);
	EXPECT_U64_EQ(heap->edges, 101);
	EXPECT_STR_EQ(heap->root[0].name, "anonymous mapping at 0x5000");
	heap_free(heap);
	got = text_take(&text);
	EXPECT_STR_EQ(got, "100\n");
	free(got);
}

TEST(files_that_are_no_snapshots_are_refused_with_the_way_out)
{
	struct builder b = { 0 };
	size_t size;
	uint8_t *stream = builder_finish(&b, &size);
	sqlite3 *db;

	expect_refused(in_folder("none.snap"), -ENOENT, "there is no snapshot");
	write_whole(in_folder("x"), (const uint8_t *)"", 0);
	expect_refused(in_folder("x"), -EBADMSG, "empty");
	write_whole(in_folder("x"), (const uint8_t *)"hello", 5);
	expect_refused(in_folder("x"), -EBADMSG, "is neither a leakdiff snapshot nor a heap profile");
	write_whole(in_folder("x"), stream, size);
	expect_refused(in_folder("x"), -EBADMSG, "run leakdiff ingest");
	expect_refused("/dev/null", -EBADMSG, "no regular file");
	expect_refused("/", -EBADMSG, "a folder");
	sqlite3_open(in_folder("other.db"), &db);
	sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL);
	sqlite3_close(db);
	expect_refused(in_folder("other.db"), -EBADMSG, "another program");
	free(stream);
}

TEST(a_newer_major_is_refused_and_a_newer_minor_read)
{
	const char *path = make_snapshot("newer.snap", 10);
	struct store *store;
	char *error = NULL;

	change(path, "PRAGMA user_version = 2000");
	expect_refused(path, -EPROTO, "newer");
	change(path, "PRAGMA user_version = 1007; CREATE TABLE later (a); CREATE TABLE aaa (b)");
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	store_free(store);
}

TEST(every_truncation_of_a_file_is_refused)
{
	const char *path = make_snapshot("cut.snap", 10);
	size_t size = 0;
	uint8_t *bytes = read_whole(path, &size);

	for (size_t cut = 0; cut < size; cut += cut < 200 ? 1 : 997) {
		struct store *store = NULL;
		char *error = NULL;

		write_whole(path, bytes, cut);
		EXPECT_INT_EQ(store_open(path, &store, &error), -EBADMSG);
		if (cut >= 100)
			EXPECT_CONTAINS(error, "truncated");
		free(error);
	}
	write_whole(path, bytes, size);
	bytes = realloc(bytes, size + PAGE);
	memset(bytes + size, 0, PAGE);
	write_whole(path, bytes, size + PAGE);
	expect_refused(path, -EBADMSG, "corrupt");
	free(bytes);
}

TEST(every_flipped_bit_of_a_file_is_noticed)
{
	const char *path = make_snapshot("flip.snap", 10);
	size_t size = 0, unnoticed = 0;
	uint8_t *bytes = read_whole(path, &size);

	for (size_t at = 0; at < size; at += at < 200 ? 1 : 61) {
		struct store *store = NULL;
		char *error = NULL;

		bytes[at] ^= (uint8_t)(1u << at % 8);
		write_whole(path, bytes, size);
		unnoticed += store_open(path, &store, &error) == 0;
		store_free(store);
		free(error);
		bytes[at] ^= (uint8_t)(1u << at % 8);
	}
	EXPECT_U64_EQ(unnoticed, 0);
	free(bytes);
}

TEST(another_programs_change_breaks_the_seal)
{
	const char *path = make_snapshot("changed.snap", 10);

	change(path, "UPDATE meta SET value = '43' WHERE key = 'pid'");
	expect_refused(path, -EBADMSG, "corrupt");
}

/* What a forger with the right checksums can do is found when the file is loaded or checked. */
static void expect_damage(const char *sql, bool loads)
{
	const char *path = make_snapshot("forged.snap", 200000);
	struct store *store = NULL;
	struct heap *heap = NULL;
	char *error = NULL, *last = NULL;

	change(path, sql);
	reseal(path);
	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	if (loads) {
		EXPECT_INT_EQ(store_load(store, &heap, &error), 0);
	} else {
		EXPECT_INT_EQ(store_load(store, &heap, &error), -EBADMSG);
		EXPECT_CONTAINS(error, "corrupt");
	}
	EXPECT_INT_EQ(store_check(store, keep_line, &last), -EBADMSG);
	EXPECT_CONTAINS(last, "damaged");
	free(last);
	free(error);
	heap_free(heap);
	store_free(store);
}

TEST(forged_contents_are_found)
{
	expect_damage("DELETE FROM node_chunks WHERE id = 1", false);
	expect_damage("UPDATE node_chunks SET count = count - 1 WHERE id = 0", false);
	expect_damage("UPDATE node_chunks SET data = (SELECT data FROM node_chunks WHERE id = 1) WHERE id = 3", false);
	expect_damage("UPDATE edge_chunks SET targets = labels WHERE id = 2", false);
	expect_damage("UPDATE edge_chunks SET labels = targets WHERE id = 2", true);
	expect_damage("UPDATE edge_chunks SET count = 1e9", false);
	expect_damage("UPDATE meta SET value = '99999999999' WHERE key = 'nodes'", false);
	expect_damage("UPDATE meta SET value = 'x' WHERE key = 'nodes'", false);
	expect_damage("DELETE FROM meta WHERE key = 'edges'", false);
	expect_damage("DELETE FROM types", false);
	expect_damage("UPDATE types SET id = id + 5", false);
	expect_damage("UPDATE types SET source = 77", false);
	expect_damage("UPDATE stacks SET frames = '[0,99]'", false);
	expect_damage("UPDATE stacks SET frames = '[0'", false);
	expect_damage("UPDATE stacks SET type = -1", false);
	expect_damage("UPDATE stacks SET depth = 9", true);
	expect_damage("UPDATE roots SET kind = 'x'", false);
	expect_damage("DELETE FROM roots", false);
	expect_damage("DELETE FROM strings", true);
	expect_damage("UPDATE sites SET count = count + 1 WHERE id = 0", true);
	expect_damage("UPDATE account SET bytes = 5 WHERE part = 'total'", true);
	expect_damage("UPDATE account_details SET bytes = bytes + 1 WHERE part = 'allocator' AND name = 'free'", true);
	expect_damage("INSERT INTO arena_classes VALUES (0, 16, 1, 16, 0, 0)", false);
	expect_damage("INSERT INTO arenas (id, kind, number, unread, start) VALUES (7, 1, 0, '', 0)", false);
	expect_damage("UPDATE tracebacks SET frame = 4711", true);
}

TEST(tables_that_are_not_ours_are_refused)
{
	static const char *const changes[] = {
		"DROP TABLE sites",
		"DROP TABLE frames; CREATE VIEW frames AS SELECT 0 AS id, '' AS function, '' AS file, 0 AS line, "
		"'' AS module, '' AS language, 0 AS inlined",
		"ALTER TABLE notes DROP COLUMN note; ALTER TABLE notes ADD COLUMN note TEXT AS (hex(zeroblob(id)))",
		"ALTER TABLE types RENAME COLUMN name TO title",
		"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE nodes USING "
		"fts5(id)' WHERE name = 'nodes'",
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		const char *path = make_snapshot("schema.snap", 10);

		change(path, changes[i]);
		reseal(path);
		expect_refused(path, -EBADMSG, "tables are not those of a snapshot");
	}
}

TEST(what_a_newer_minor_or_a_person_adds_is_no_harm)
{
	static const char *const changes[] = {
		"CREATE TABLE extra (a); CREATE INDEX i ON sites (type)",
		"ALTER TABLE types ADD COLUMN origin TEXT",
		"CREATE VIEW v_mine AS SELECT 1; CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT 1; END",
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		const char *path = make_snapshot("schema.snap", 10);
		struct store *store = NULL;
		struct heap *heap = NULL;
		char *error = NULL;

		change(path, changes[i]);
		reseal(path);
		ASSERT_INT_EQ(store_open(path, &store, &error), 0);
		EXPECT_INT_EQ(store_load(store, &heap, &error), 0);
		heap_free(heap);
		store_free(store);
	}
}

TEST(check_finds_a_whole_file_whole)
{
	const char *path = make_snapshot("whole.snap", 70000);
	struct store *store;
	char *error = NULL, *last = NULL;

	ASSERT_INT_EQ(store_open(path, &store, &error), 0);
	EXPECT_INT_EQ(store_check(store, keep_line, &last), 0);
	EXPECT_CONTAINS(last, "whole.snap: whole");
	free(last);
	store_free(store);
}

TEST(a_chunk_with_a_byte_too_many_or_too_few_is_damage)
{
	struct chunk_coder *coder = chunk_coder_new();
	struct chunk_edges *edges = calloc(1, sizeof(*edges)), *back = calloc(1, sizeof(*back));
	const void *targets, *labels;
	size_t targets_bytes, labels_bytes;

	ASSERT(coder && edges && back);
	edges->source_count = 2;
	edges->edge_count = 3;
	edges->source[0] = 5;
	edges->source[1] = 9;
	edges->start[1] = 2;
	edges->start[2] = 3;
	edges->target[0] = 7;
	edges->target[1] = 1;
	edges->target[2] = 8;
	edges->label[1] = 1;
	edges->value[1] = 64;
	edges->offset[1] = 12;
	ASSERT_INT_EQ(chunk_encode_edges(coder, edges, &targets, &targets_bytes, &labels, &labels_bytes), 0);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes, 3, 10, 10, back), 0);
	EXPECT_U64_EQ(back->target[1], 1);
	EXPECT_INT_EQ(chunk_decode_labels(coder, labels, labels_bytes, 0, back), 0);
	EXPECT_U64_EQ(back->offset[1], 12);
	EXPECT_U64_EQ(back->value[1], 64);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes, 2, 10, 10, back), -EBADMSG);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes, 4, 10, 10, back), -EBADMSG);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes, 3, 9, 10, back), -EBADMSG);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes, 3, 10, 8, back), -EBADMSG);
	EXPECT_INT_EQ(chunk_decode_targets(coder, targets, targets_bytes - 1, 3, 10, 10, back), -EBADMSG);
	free(edges);
	free(back);
	chunk_coder_free(coder);
}

TEST_MAIN()
