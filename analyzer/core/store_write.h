/* SPDX-License-Identifier: Apache-2.0
 * L1  store_write.h - makes a snapshot file: rows in, a whole file or nothing out.
 *
 *   writer = store_writer_open(path)    temporary file beside path, tables of schema.sql
 *   store_put(writer, table, ...)       rows, in any order
 *   store_writer_commit(writer)         checksums, fsync, rename, fsync of the folder
 *   store_writer_free(writer)           without a commit: nothing remains
 *
 * A writer remembers its first error and ignores rows after it, so callers check at the end of a
 * loop, or only at the commit. */
#ifndef LEAKDIFF_STORE_WRITE_H
#define LEAKDIFF_STORE_WRITE_H

#include <stdint.h>

struct store_writer;

/* ret_error  on failure one sentence, owned by the caller. uid, gid: owner of the file, -1 = leave.
 * Returns 0 or -EACCES, -ENOENT (no such folder), -ENOSPC, -ENOMEM or another negative errno. */
int store_writer_open(const char *path, int uid, int gid, struct store_writer **ret_writer,
		      char **ret_error) __attribute__((warn_unused_result));

/* Insert one row. kinds has one letter a column:
 *   i int64_t   u uint64_t (stored as the same 64 bits)   o uint32_t id, UINT32_MAX becomes NULL
 *   z uint64_t, UINT64_MAX becomes NULL
 *   s const char * (NULL becomes NULL)   b const void *, size_t   n NULL (no argument)
 * Integers narrower than these must be cast. Text that is not UTF-8 is stored byte for byte. */
void store_put(struct store_writer *writer, const char *table, const char *kinds, ...);

/* 0, or the first error so far as negative errno. */
int store_writer_status(const struct store_writer *writer);

/* Finish the file and put it in place of `path`. */
int store_writer_commit(struct store_writer *writer, uint64_t *ret_bytes, char **ret_error)
	__attribute__((warn_unused_result));

/* Accepts NULL, returns NULL. */
struct store_writer *store_writer_free(struct store_writer *writer);

#endif
