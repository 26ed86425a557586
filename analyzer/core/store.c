/* SPDX-License-Identifier: Apache-2.0
 * L2  store.c - opens snapshot files, checks them, runs queries over them.
 *
 *   check_header (bytes) -> store_seal_check (every page) -> open -> schema_fits
 *
 * (1) A file is hostile: before SQLite sees it, its header, size and page checksums agree; then its
 *     tables must be ordinary ones with the columns of schema.sql, so that reading one runs no code
 *     from the file (a view or a computed column would).
 * (2) Opened read-only and immutable: no locks, no journal, no side files beside the snapshot.
 * (3) Each refusal is one sentence that says what to do next.
 * Only store*.c use sqlite3.h. */
#include "core/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/schema.h"
#include "core/store_internal.h"
#include "core/store_seal.h"
#include "core/text.h"
#include "preload/stream.h"

#define ATTACHED_MAX 8
#define RETAKE "copy it again or take another snapshot"

struct store {
	struct store_file *main;
	struct store_file *attached[ATTACHED_MAX];
	unsigned attached_count;
	struct store_vtab_files *tables;
};

/* ---- files ---- */

static int keep_path(sqlite3_vfs *vfs, const char *name, int size, char *ret_path)
{
	(void)vfs;
	if (strlen(name) >= (size_t)size)
		return SQLITE_CANTOPEN;
	strcpy(ret_path, name);
	return SQLITE_OK;
}

const char *store_vfs(void)
{
	static sqlite3_vfs vfs;
	sqlite3_vfs *base;

	if (vfs.zName)
		return vfs.zName;
	base = sqlite3_vfs_find("unix-none");
	if (!base)
		return NULL;
	vfs = *base;
	vfs.pNext = NULL;
	vfs.xFullPathname = keep_path;
	vfs.zName = "leakdiff";
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : NULL;
}

struct store_file *store_file_keep(struct store_file *file)
{
	file->keepers++;
	return file;
}

struct store_file *store_file_drop(struct store_file *file)
{
	if (!file || --file->keepers)
		return NULL;
	sqlite3_close_v2(file->db);
	free(file->path);
	free(file);
	return NULL;
}

static uint32_t big_endian(const uint8_t *bytes, unsigned count)
{
	uint32_t value = 0;

	while (count--)
		value = value << 8 | *bytes++;
	return value;
}

/* What the file says about itself in its first 100 bytes, against its real size. */
static int check_header(int fd, const char *path, uint64_t size, char **ret_error)
{
	uint8_t header[100] = { 0 };
	ssize_t got = pread(fd, header, sizeof(header), 0);
	uint32_t page_bytes, pages, version;

	if (got < 0) {
		int code = -errno;

		*ret_error = text_format("cannot read %s: %s", path, strerror(errno));
		return code;
	}
	if (got == 0) {
		*ret_error = text_format("%s is empty: the snapshot was never finished, take it again", path);
		return -EBADMSG;
	}
	if (got >= 8 && !memcmp(header, STREAM_MAGIC, 8)) {
		*ret_error = text_format("%s is a capture stream, not a snapshot yet: run leakdiff ingest %s -o FILE",
					 path, path);
		return -EBADMSG;
	}
	if (memcmp(header, "SQLite format 3", got < 16 ? (size_t)got : 16)) {
		*ret_error = text_format("%s is neither a leakdiff snapshot nor a heap profile", path);
		return -EBADMSG;
	}
	if (got < (ssize_t)sizeof(header)) {
		*ret_error = text_format("%s is truncated after %d bytes; " RETAKE, path, (int)got);
		return -EBADMSG;
	}
	if (big_endian(header + 68, 4) != STORE_APPLICATION_ID) {
		*ret_error = text_format("%s is an SQLite database of another program, not a leakdiff snapshot", path);
		return -EBADMSG;
	}
	version = big_endian(header + 60, 4);
	if (version / 1000 > STORE_MAJOR) {
		*ret_error = text_format("%s has format %u.%u, this leakdiff reads up to %u.x: use a newer leakdiff",
					 path, version / 1000, version % 1000, STORE_MAJOR);
		return -EPROTO;
	}
	if (version / 1000 < STORE_MAJOR) {
		*ret_error = text_format("%s has format %u.%u, which no leakdiff ever wrote; " RETAKE, path,
					 version / 1000, version % 1000);
		return -EBADMSG;
	}
	page_bytes = big_endian(header + 16, 2);
	pages = big_endian(header + 28, 4);
	if (page_bytes == STORE_PAGE_BYTES && size < (uint64_t)pages * page_bytes) {
		*ret_error = text_format("%s is truncated: %llu of %llu bytes are there; " RETAKE,
					 path, (unsigned long long)size,
					 (unsigned long long)pages * page_bytes);
		return -EBADMSG;
	}
	if (page_bytes != STORE_PAGE_BYTES || header[20] != SEAL_BYTES || !pages ||
	    size != (uint64_t)pages * page_bytes) {
		*ret_error = text_format("%s is corrupt, or another program rewrote it; " RETAKE, path);
		return -EBADMSG;
	}
	return 0;
}

/* Header, size and checksums, before SQLite sees a byte. */
static int check_file(const char *path, char **ret_error)
{
	struct stat st;
	uint64_t page = 0;
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		r = -errno;
		*ret_error = r == -ENOENT ? text_format("there is no snapshot %s", path) :
			     r == -EACCES ? text_format("%s may not be read by this user: "
							"run leakdiff as its owner or as root", path) :
					    text_format("cannot open %s: %s", path, strerror(-r));
		return r;
	}
	r = fstat(fd, &st) < 0 ? -errno : 0;
	if (r >= 0 && !S_ISREG(st.st_mode)) {
		*ret_error = text_format("%s is %s, not a snapshot file", path,
					 S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
		r = -EBADMSG;
	}
	if (r >= 0)
		r = check_header(fd, path, (uint64_t)st.st_size, ret_error);
	if (r >= 0) {
		r = store_seal_check(fd, STORE_PAGE_BYTES, &page);
		if (r == -EBADMSG)
			*ret_error = text_format(
				"%s is corrupt at byte %llu: a page does not match its checksum; " RETAKE,
				path, (unsigned long long)(page - 1) * STORE_PAGE_BYTES);
	}
	if (r < 0 && !*ret_error)
		*ret_error = text_format("cannot read %s: %s", path, strerror(-r));
	close(fd);
	return r;
}

/* file: URI of a path: everything but letters, digits and a few marks is %XX. Takes relative paths. */
static char *file_uri(const char *path)
{
	struct text uri = { 0 };

	text_append(&uri, *path == '/' ? "file://" : "file:");
	for (const char *p = path; *p; p++)
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= '0' && *p <= '9') || strchr("/._-~", *p))
			text_append_bytes(&uri, p, 1);
		else
			text_printf(&uri, "%%%02X", (unsigned char)*p);
	text_append(&uri, "?immutable=1&mode=ro");
	return text_take(&uri);
}

static int configure(sqlite3 *db)
{
	static const char *const modules[] = { "leakdiff_nodes", "leakdiff_edges", "json_each", "json_tree", NULL };

	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 256 << 20);
	sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
	if (sqlite3_drop_modules(db, (const char **)modules) != SQLITE_OK)
		return -ENOMEM;
	return sqlite3_exec(
		       db,
		       "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0",
		       NULL, NULL, NULL) == SQLITE_OK ?
		       0 :
		       -ENOMEM;
}

/* Does a table of the file begin with the columns of ours, all of them stored (not computed)? */
static bool columns_fit(sqlite3 *model, sqlite3 *db, const char *table, uint32_t version)
{
	char *sql = sqlite3_mprintf("PRAGMA table_xinfo(%Q)", table);
	sqlite3_stmt *want = NULL, *have = NULL;
	bool fit = sql && sqlite3_prepare_v2(model, sql, -1, &want, NULL) == SQLITE_OK &&
		   sqlite3_prepare_v2(db, sql, -1, &have, NULL) == SQLITE_OK;

	while (fit && sqlite3_step(want) == SQLITE_ROW) {	/* columns: cid, name, ..., hidden */
		if (sqlite3_step(have) != SQLITE_ROW) {		/* an older minor lacks those at the end */
			fit = version < STORE_USER_VERSION && sqlite3_column_int(want, 0) > 0;
			break;
		}
		fit = sqlite3_column_int(have, 6) == 0 &&
		      !sqlite3_stricmp((const char *)sqlite3_column_text(want, 1),
				       (const char *)sqlite3_column_text(have, 1));
	}
	sqlite3_finalize(want);
	sqlite3_finalize(have);
	sqlite3_free(sql);
	return fit;
}

/* Is this an ordinary table with our columns (or our virtual one), not a view that poses as it? A file
 * of an older minor need not have it. */
static bool table_fits(sqlite3 *model, sqlite3 *db, const char *table, const char *our_sql,
		       uint32_t version)
{
	sqlite3_stmt *find = NULL;
	bool fit = false;

	if (sqlite3_prepare_v2(db, "SELECT type, sql FROM sqlite_schema WHERE name = ?", -1, &find,
			       NULL) != SQLITE_OK)
		return false;
	sqlite3_bind_text(find, 1, table, -1, SQLITE_STATIC);
	if (sqlite3_step(find) != SQLITE_ROW) {
		fit = version < STORE_USER_VERSION;
	} else {
		const char *type = (const char *)sqlite3_column_text(find, 0);
		const char *sql = (const char *)sqlite3_column_text(find, 1);

		if (!type || !sql || strcmp(type, "table"))
			fit = false;
		else if (!sqlite3_strnicmp(sql, "CREATE VIRTUAL", 14) ||
			 !sqlite3_strnicmp(our_sql, "CREATE VIRTUAL", 14))
			fit = !strcmp(sql, our_sql);
		else
			fit = columns_fit(model, db, table, version);
	}
	sqlite3_finalize(find);
	return fit;
}

/* Are the tables what schema.sql makes, possibly with columns at their ends and further tables that a
 * newer minor added? Returns 1, 0 or -ENOMEM. */
static int schema_fits(sqlite3 *db, uint32_t version)
{
	static const char query[] = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' "
				    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
	sqlite3_stmt *tables = NULL;
	sqlite3 *model = NULL;
	int r = -ENOMEM;

	if (sqlite3_open(":memory:", &model) == SQLITE_OK &&
	    store_vtab_register(model, NULL) == 0 &&
	    sqlite3_exec(model, schema_sql, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(model, query, -1, &tables, NULL) == SQLITE_OK) {
		int step;

		r = 1;
		while (r == 1 && (step = sqlite3_step(tables)) == SQLITE_ROW)
			r = table_fits(model, db, (const char *)sqlite3_column_text(tables, 0),
				       (const char *)sqlite3_column_text(tables, 1), version);
		if (r == 1 && step != SQLITE_DONE)
			r = -ENOMEM;
	}
	sqlite3_finalize(tables);
	sqlite3_close(model);
	return r;
}

static uint32_t user_version(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;
	uint32_t version = 0;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		version = (uint32_t)sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return version;
}

bool store_file_has(struct store_file *file, const char *table, const char *column)
{
	sqlite3_stmt *statement = NULL;
	bool there = sqlite3_prepare_v2(file->db, "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", -1, &statement,
					NULL) == SQLITE_OK;

	sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, column, -1, SQLITE_STATIC);
	there = there && sqlite3_step(statement) == SQLITE_ROW;
	sqlite3_finalize(statement);
	return there;
}

int store_file_open(const char *path, struct store_file **ret_file, char **ret_error)
{
	struct store_file *file = NULL;
	char *uri = NULL;
	int r;

	*ret_error = NULL;
	r = check_file(path, ret_error);
	if (r < 0)
		return r;
	r = -ENOMEM;
	file = calloc(1, sizeof(*file));
	uri = file_uri(path);
	if (!file || !uri)
		goto fail;
	file->keepers = 1;
	file->path = strdup(path);
	if (!file->path || !store_vfs())
		goto fail;
	if (sqlite3_open_v2(uri, &file->db,
			    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
			    store_vfs()) != SQLITE_OK) {
		r = sqlite3_errcode(file->db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
		goto fail;
	}
	r = configure(file->db);
	if (r < 0)
		goto fail;
	r = schema_fits(file->db, user_version(file->db));
	if (r < 0)
		goto fail;
	if (r == 0) {
		*ret_error = text_format("%s is corrupt, or its tables are not those of a snapshot; " RETAKE, path);
		r = -EBADMSG;
		goto fail;
	}
	free(uri);
	*ret_file = file;
	return 0;
fail:
	if (!*ret_error)
		*ret_error = r == -ENOMEM ? text_format("not enough memory to open %s", path) :
					    text_format("cannot open %s: %s", path,
							sqlite3_errmsg(file->db));
	free(uri);
	store_file_drop(file);
	return r;
}

/* ---- stores ---- */

int store_open(const char *path, struct store **ret_store, char **ret_error)
{
	struct store *store = calloc(1, sizeof(*store));
	int r;

	*ret_error = NULL;
	if (!store)
		return -ENOMEM;
	r = store_file_open(path, &store->main, ret_error);
	if (r >= 0)
		r = store_vtab_register(store->main->db, &store->tables);
	if (r >= 0)
		r = store_vtab_add(store->tables, "main", store->main);
	if (r < 0) {
		if (!*ret_error)
			*ret_error = text_format("not enough memory to open %s", path);
		store_free(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

int store_rename(struct store *store, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(store->main->path);
	store->main->path = copy;
	return 0;
}

struct store_file *store_main_file(struct store *store)
{
	return store->main;
}

int store_load(struct store *store, struct heap **ret_heap, char **ret_error)
{
	*ret_error = NULL;
	return store_file_load(store->main, ret_heap, ret_error);
}

int store_load_facts(struct store *store, struct heap **ret_heap, char **ret_error)
{
	*ret_error = NULL;
	return store_file_load_facts(store->main, ret_heap, ret_error);
}

int store_load_nodes(struct store *store, struct heap **ret_heap, char **ret_error)
{
	*ret_error = NULL;
	return store_file_load_nodes(store->main, ret_heap, ret_error);
}

/* The view v_growth: what an attached, later snapshot has more than the first, by type and size. A
 * view over two files can only be temporary; without it (short memory) queries say so themselves. */
static void compare_with(struct store *store, const char *name)
{
	char *sql = sqlite3_mprintf(
		"CREATE TEMP VIEW v_growth AS SELECT type, size, sum(c1) AS count_before, sum(c2) AS count_after,"
		" sum(c2) - sum(c1) AS count_growth, sum(b1) AS bytes_before, sum(b2) AS bytes_after,"
		" sum(b2) - sum(b1) AS bytes_growth FROM ("
		"SELECT type, size, count AS c1, 0 AS c2, bytes AS b1, 0 AS b2 FROM main.v_types UNION ALL "
		"SELECT type, size, 0, count, 0, bytes FROM %Q.v_types) GROUP BY type, size ORDER BY 8 DESC", name);

	if (sql)
		sqlite3_exec(store->main->db, sql, NULL, NULL, NULL);
	sqlite3_free(sql);
}

int store_attach(struct store *store, const char *path, const char *name, char **ret_error)
{
	struct store_file *file = NULL;
	char *uri = NULL, *sql = NULL;
	int r;

	*ret_error = NULL;
	if (store->attached_count == ATTACHED_MAX) {
		*ret_error = text_format("at most %d snapshots can be attached", ATTACHED_MAX);
		return -E2BIG;
	}
	r = store_file_open(path, &file, ret_error);
	if (r < 0)
		return r;
	uri = file_uri(path);
	sql = uri ? sqlite3_mprintf("ATTACH %Q AS %Q", uri, name) : NULL;
	r = sql ? 0 : -ENOMEM;
	if (r >= 0)
		r = store_vtab_add(store->tables, name, file);
	if (r >= 0 && sqlite3_exec(store->main->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
		*ret_error = text_format("cannot attach %s as %s: %s", path, name, sqlite3_errmsg(store->main->db));
		r = -EINVAL;
	}
	sqlite3_free(sql);
	free(uri);
	if (r < 0) {
		store_file_drop(file);
		if (!*ret_error)
			*ret_error = text_format("not enough memory to attach %s", path);
		return r;
	}
	if (store->attached_count == 0)
		compare_with(store, name);
	store->attached[store->attached_count++] = file;
	return 0;
}

/* Text of one value; NULL stays NULL. A blob prints as what it is. */
static int value_text(sqlite3_stmt *statement, int column, char **ret_text)
{
	const char *text;

	*ret_text = NULL;
	switch (sqlite3_column_type(statement, column)) {
	case SQLITE_NULL:
		return 0;
	case SQLITE_BLOB:
		*ret_text = text_format("<blob of %d bytes>", sqlite3_column_bytes(statement, column));
		break;
	default:
		text = (const char *)sqlite3_column_text(statement, column);
		*ret_text = text ? strdup(text) : NULL;
		break;
	}
	return *ret_text ? 0 : -ENOMEM;
}

/* Hand all rows of a statement to `row`. */
static int run_statement(sqlite3_stmt *statement,
			 int (*row)(int columns, char **values, bool is_header, void *data),
			 void *data)
{
	int columns = sqlite3_column_count(statement), step, r = 0;
	char **values = calloc((size_t)columns + 1, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (int i = 0; i < columns; i++)
		values[i] = (char *)sqlite3_column_name(statement, i);
	if (columns)
		r = row(columns, values, true, data);
	memset(values, 0, (size_t)columns * sizeof(*values));
	while (r == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < columns && r == 0; i++)
			r = value_text(statement, i, &values[i]);
		if (r == 0)
			r = row(columns, values, false, data);
		for (int i = 0; i < columns; i++) {
			free(values[i]);
			values[i] = NULL;
		}
	}
	free(values);
	if (r == 0 && step != SQLITE_DONE)
		r = -EINVAL;
	return r;
}

int store_query(struct store *store, const char *sql,
		int (*row)(int columns, char **values, bool is_header, void *data), void *data,
		char **ret_error)
{
	sqlite3 *db = store->main->db;
	int r = 0;

	*ret_error = NULL;
	while (*sql && r == 0) {
		sqlite3_stmt *statement = NULL;
		const char *rest;

		if (sqlite3_prepare_v2(db, sql, -1, &statement, &rest) != SQLITE_OK) {
			*ret_error = text_format("%s", sqlite3_errmsg(db));
			return -EINVAL;
		}
		sql = rest;
		if (!statement)
			continue;		/* white space or a comment */
		r = run_statement(statement, row, data);
		if (r == -EINVAL)
			*ret_error = text_format("%s", sqlite3_errmsg(db));
		else if (r == -ENOMEM)
			*ret_error = strdup("not enough memory for the query");
		sqlite3_finalize(statement);
	}
	return r;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	store_vtab_clear(store->tables);	/* their heaps keep the files open */
	for (unsigned i = 0; i < store->attached_count; i++)
		store_file_drop(store->attached[i]);
	store_file_drop(store->main);
	free(store);
	return NULL;
}
