/* SPDX-License-Identifier: Apache-2.0
 * L2  store_write.c - makes a snapshot file: rows in, a whole file or nothing out.
 *
 * (1) Everything goes to a temporary file in the folder of the target, mode 0600 from its first
 *     moment. rename() is the only step that touches the target, and the last that can fail. A device or a
 *     pipe is refused: the file would take its place.
 * (2) There is no journal: until the rename nobody else knows the file, and after a failure it is
 *     deleted, so there is nothing to roll back to.
 * (3) The first error wins; later rows are ignored and the commit reports it.
 * (4) A writer that is killed leaves its temporary file; the next one for the same target deletes it. */
#include "core/store_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/schema.h"
#include "core/store_internal.h"
#include "core/store_seal.h"
#include "core/temporary.h"
#include "core/text.h"

#define TABLES_MAX 32
#define TEXT_MAX (4ull << 30)		/* of all rows: a forged stream could name a long string in each */

struct store_writer {
	sqlite3 *db;
	char *path, *temporary, *folder;
	int fd;				/* of the temporary file; -1 */
	int uid, gid;
	int status;			/* 0, or the first error as negative errno */
	char *error;
	bool created;			/* the temporary file exists */
	uint64_t text_bytes;		/* written so far */
	struct insert { const char *table; sqlite3_stmt *statement; } insert[TABLES_MAX];
};

/* What went wrong in SQLite, as an errno: the system's own where there is one. The file remembers it
 * longer than the connection, which reads errno only after other calls. */
static int sqlite_errno(sqlite3 *db, int code)
{
	int system = 0;

	if (db && (code & 0xff) == SQLITE_IOERR)
		sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &system);
	if (db && system <= 0)
		system = sqlite3_system_errno(db);

	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_TOOBIG:
		return -EFBIG;
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return -EACCES;
	default:
		return system > 0 ? -system : -EIO;
	}
}

/* Remember the first error with its sentence. */
static int fail(struct store_writer *writer, int code, const char *doing)
{
	if (writer->status == 0) {
		writer->status = code;
		writer->error =
			code == -ENOSPC || code == -EDQUOT || code == -EFBIG ?
				text_format(
					"cannot write %s: %s; nothing was left behind, earlier snapshots are untouched",
					writer->path, strerror(-code)) :
				text_format("cannot %s %s: %s", doing, writer->path,
					    strerror(-code));
	}
	return writer->status;
}

static int execute(struct store_writer *writer, const char *sql)
{
	int code;

	if (writer->status < 0)
		return writer->status;
	code = sqlite3_exec(writer->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : fail(writer, sqlite_errno(writer->db, code), "write");
}

/* Delete temporary files of this target whose writer was killed: nobody holds their lock any more. */
static void remove_stale(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t length = strlen(prefix);

	while (dir && (entry = readdir(dir))) {
		const char *end = entry->d_name + strlen(entry->d_name);
		int fd;

		if (strncmp(entry->d_name, prefix, length) || end - entry->d_name < 5 ||
		    strcmp(end - 4, ".tmp"))
			continue;
		fd = openat(dirfd(dir), entry->d_name,
			    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Make "dir/.name.PID.tmp" for "dir/name", locked as long as we live. */
static int create_temporary(struct store_writer *writer)
{
	const char *slash = strrchr(writer->path, '/');
	const char *base = slash ? slash + 1 : writer->path;
	char *prefix;

	if (!*base)
		return -EISDIR;
	writer->folder = slash == writer->path ? strdup("/") :
			 slash ? strndup(writer->path, (size_t)(slash - writer->path)) :
				 strdup(".");
	prefix = text_format(".%.200s.", base);
	if (prefix && writer->folder) {
		remove_stale(writer->folder, prefix);
		writer->temporary =
			text_format("%s/%s%d.tmp", writer->folder, prefix, (int)getpid());
	}
	free(prefix);
	if (!writer->temporary)
		return -ENOMEM;
	writer->fd = temporary_create(writer->temporary, 0600);
	if (writer->fd < 0)
		return writer->fd;
	writer->created = true;
	flock(writer->fd, LOCK_EX | LOCK_NB);	/* only keeps others from deleting it: may fail */
	return 0;
}

static int open_database(struct store_writer *writer)
{
	int reserve = SEAL_BYTES, code;
	char *pragmas;
	int r;

	if (!store_vfs())
		return fail(writer, -ENOMEM, "create");
	code = sqlite3_open_v2(writer->temporary, &writer->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			       store_vfs());
	if (code != SQLITE_OK)
		return fail(writer, sqlite_errno(writer->db, code), "create");
	/* the tables nodes and edges are declared, not filled: any code that can declare them will do */
	if (store_vtab_register(writer->db, NULL) < 0)
		return fail(writer, -ENOMEM, "create");
	sqlite3_file_control(writer->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	pragmas = text_format(
		"PRAGMA page_size = %u; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
		"PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -8192;"
		"PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN",
		STORE_PAGE_BYTES, STORE_APPLICATION_ID, STORE_USER_VERSION);
	if (!pragmas)
		return fail(writer, -ENOMEM, "create");
	r = execute(writer, pragmas);
	free(pragmas);
	return r < 0 ? r : execute(writer, schema_sql);
}

int store_writer_open(const char *path, int uid, int gid, struct store_writer **ret_writer,
		      char **ret_error)
{
	struct store_writer *writer = calloc(1, sizeof(*writer));
	struct stat st;
	int r = -ENOMEM;

	if (!writer) {
		*ret_error = NULL;
		return -ENOMEM;
	}
	writer->fd = -1;
	writer->uid = uid;
	writer->gid = gid;
	writer->path = strdup(path);
	if (!writer->path)
		goto failed;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		r = -EISDIR;
	} else if (temporary_is_fixed(path)) {
		r = writer->status = -EINVAL;
		writer->error = text_format("%s is no regular file: a snapshot cannot be written there; name a file", path);
	} else {
		r = create_temporary(writer);
	}
	if (r < 0)
		goto failed;
	r = open_database(writer);
	if (r < 0)
		goto failed;
	*ret_writer = writer;
	return 0;
failed:
	if (writer->path)
		fail(writer, r, "create");
	*ret_error = writer->error;
	writer->error = NULL;
	store_writer_free(writer);
	return r;
}

/* The prepared INSERT of a table; tables are told apart by name. NULL after an error. */
static sqlite3_stmt *find_insert(struct store_writer *writer, const char *table, size_t columns)
{
	struct text sql = { 0 };
	struct insert *insert = writer->insert;
	char *string;
	int code;

	while (insert < writer->insert + TABLES_MAX && insert->table &&
	       strcmp(insert->table, table))
		insert++;
	if (insert == writer->insert + TABLES_MAX) {
		fail(writer, -EINVAL, "write");
		return NULL;
	}
	if (insert->table)
		return insert->statement;

	text_printf(&sql, "INSERT INTO %s VALUES (", table);
	for (size_t i = 0; i < columns; i++)
		text_append(&sql, i ? ", ?" : "?");
	text_append(&sql, ")");
	string = text_take(&sql);
	if (!string) {
		fail(writer, -ENOMEM, "write");
		return NULL;
	}
	code = sqlite3_prepare_v3(writer->db, string, -1, SQLITE_PREPARE_PERSISTENT,
				  &insert->statement, NULL);
	free(string);
	if (code != SQLITE_OK) {
		fail(writer, sqlite_errno(writer->db, code), "write");
		return NULL;
	}
	insert->table = table;
	return insert->statement;
}

void store_put(struct store_writer *writer, const char *table, const char *kinds, ...)
{
	sqlite3_stmt *statement;
	const char *string;
	const void *blob;
	uint64_t number;
	size_t length;
	uint32_t id;
	va_list args;
	int code = SQLITE_OK;

	if (writer->status < 0)
		return;
	statement = find_insert(writer, table, strlen(kinds));
	if (!statement)
		return;
	va_start(args, kinds);
	for (int column = 1; *kinds && code == SQLITE_OK; kinds++, column++)
		switch (*kinds) {
		case 'i':
			code = sqlite3_bind_int64(statement, column, va_arg(args, int64_t));
			break;
		case 'u':
			code = sqlite3_bind_int64(statement, column,
						  (int64_t)va_arg(args, uint64_t));
			break;
		case 'z':
			number = va_arg(args, uint64_t);
			code = number == UINT64_MAX ?
				       sqlite3_bind_null(statement, column) :
				       sqlite3_bind_int64(statement, column, (int64_t)number);
			break;
		case 'o':
			id = va_arg(args, uint32_t);
			code = id == UINT32_MAX ? sqlite3_bind_null(statement, column) :
						  sqlite3_bind_int64(statement, column, id);
			break;
		case 's':
			string = va_arg(args, const char *);
			length = string ? strlen(string) : 0;
			writer->text_bytes += length;
			if (length > INT32_MAX || writer->text_bytes > TEXT_MAX)
				code = SQLITE_TOOBIG;
			else
				code = sqlite3_bind_text(statement, column, string, (int)length, SQLITE_STATIC);
			break;
		case 'b':
			blob = va_arg(args, const void *);
			code = sqlite3_bind_blob64(statement, column, blob, va_arg(args, size_t),
						   SQLITE_STATIC);
			break;
		default:
			code = sqlite3_bind_null(statement, column);
			break;
		}
	va_end(args);
	if (code == SQLITE_OK) {
		code = sqlite3_step(statement);
		if (code == SQLITE_DONE)
			code = SQLITE_OK;
	}
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	if (code != SQLITE_OK)
		fail(writer, sqlite_errno(writer->db, code), "write");
}

int store_writer_status(const struct store_writer *writer)
{
	return writer->status;
}

/* Close the connection; what SQLite still buffers is written here. */
static int close_database(struct store_writer *writer)
{
	int code;

	for (struct insert *insert = writer->insert; insert < writer->insert + TABLES_MAX;
	     insert++) {
		sqlite3_finalize(insert->statement);
		*insert = (struct insert){ 0 };
	}
	code = sqlite3_close(writer->db);
	if (code != SQLITE_OK)
		return -EIO;
	writer->db = NULL;
	return 0;
}

static int sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;	/* a folder may be writable but not readable */
	if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	close(fd);
	return r;
}

int store_writer_commit(struct store_writer *writer, uint64_t *ret_bytes, char **ret_error)
{
	struct stat st;
	int r;

	r = execute(writer, "COMMIT");
	if (r >= 0) {
		r = close_database(writer);
		if (r < 0)
			fail(writer, r, "write");
	}
	if (r >= 0) {
		r = store_seal(writer->fd, STORE_PAGE_BYTES);
		if (r < 0)
			fail(writer, r, "write");
	}
	if (r >= 0 && (writer->uid >= 0 || writer->gid >= 0) &&
	    fchown(writer->fd, (uid_t)writer->uid, (gid_t)writer->gid) < 0)
		r = fail(writer, -errno, "give away");
	if (r >= 0 && (fsync(writer->fd) < 0 || fstat(writer->fd, &st) < 0))
		r = fail(writer, -errno, "write");
	if (r >= 0 && rename(writer->temporary, writer->path) < 0)
		r = fail(writer, -errno, "create");
	if (r >= 0) {
		writer->created = false;
		r = sync_folder(writer->folder);
		if (r < 0)
			fail(writer, r, "make sure of");
	}
	if (r < 0) {
		*ret_error = writer->error;
		writer->error = NULL;
		return writer->status;
	}
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

struct store_writer *store_writer_free(struct store_writer *writer)
{
	if (!writer)
		return NULL;
	if (writer->db)
		close_database(writer);
	if (writer->fd >= 0)
		close(writer->fd);
	if (writer->created)
		unlink(writer->temporary);
	if (writer->temporary)
		temporary_drop(writer->temporary);
	free(writer->path);
	free(writer->temporary);
	free(writer->folder);
	free(writer->error);
	free(writer);
	return NULL;
}
