/* SPDX-License-Identifier: Apache-2.0
 * L1  store.h - the snapshot file: an SQLite database, and the only door to it.
 *
 * store.c is the only user of sqlite3.h (store_vtab.c, its virtual tables nodes and edges, belongs
 * to it). The layout is analyzer/core/schema.sql, explained in docs/FORMAT.md: small tables and
 * views for what a person queries; nodes and edges as zstd-compressed column chunks in blobs. */
#ifndef LEAKDIFF_STORE_H
#define LEAKDIFF_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;
struct store;

/* Open a snapshot file read-only and check it: SQLite header, application id, format major, and
 * that it is complete.
 *
 * ret_error  on failure, one clear sentence with the way out; owned by the caller (free()).
 * Returns 0 or -ENOENT, -EACCES, -EBADMSG (truncated, corrupt or foreign), -EPROTO (newer major),
 * -ENOMEM. */
int store_open(const char *path, struct store **ret_store, char **ret_error)
	__attribute__((warn_unused_result));

/* Call the file something else in what is said of it. Returns 0 or -ENOMEM. */
int store_rename(struct store *store, const char *path) __attribute__((warn_unused_result));

/* Load the whole model. The store may be closed afterwards; the heap keeps its own handle for labels.
 * Returns 0 or -EBADMSG, -ENOMEM, with a sentence in ret_error. */
int store_load(struct store *store, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));

/* The same in two steps, for those who have no room for everything at once: a heap whose edge_start and
 * edge_to are NULL, and then these. */
int store_load_nodes(struct store *store, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));
int store_load_edges(struct heap *heap, char **ret_error) __attribute__((warn_unused_result));

/* Only what the snapshot says about itself: a heap without nodes whose meta and account are there. */
int store_load_facts(struct store *store, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));

/* Verify every chunk and cross-reference; what is found is described line by line through print.
 * Returns 0 when whole, -EBADMSG when not. */
int store_check(struct store *store, void (*print)(const char *line, void *data), void *data)
	__attribute__((warn_unused_result));

/* Run SQL (one or more statements) with the virtual tables nodes and edges.
 * row is called with the column names first (is_header true), then for each row.
 * Returns 0 or -EINVAL with SQLite's message in ret_error. */
int store_query(struct store *store, const char *sql,
		int (*row)(int columns, char **values, bool is_header, void *data), void *data,
		char **ret_error) __attribute__((warn_unused_result));

/* Attach another snapshot for store_query as schema `name`. Returns 0 or a negative errno. */
int store_attach(struct store *store, const char *path, const char *name, char **ret_error)
	__attribute__((warn_unused_result));

/* Close; accepts NULL, returns NULL. */
struct store *store_free(struct store *store);

#endif
