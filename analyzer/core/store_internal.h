/* SPDX-License-Identifier: Apache-2.0
 * L2  store_internal.h - what the files of the store share; the only header that includes sqlite3.h. */
#ifndef LEAKDIFF_STORE_INTERNAL_H
#define LEAKDIFF_STORE_INTERNAL_H

#include <sqlite3.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/store.h"

#define STORE_APPLICATION_ID 0x4c6b4466	/* "LkDf" */
#define STORE_MAJOR 1
#define STORE_MINOR 4			/* 1.1: python_threads, python_frames; 1.2: python_caches; 1.3: estimates,
					 * account_details, arenas, arena_classes; 1.4: layouts */
#define STORE_USER_VERSION (STORE_MAJOR * 1000 + STORE_MINOR)
#define STORE_PAGE_BYTES 4096u

/* One snapshot that is open: the main file of a connection or one attached to it. Kept by the store
 * and by each heap that was loaded from it (for labels), released by the last. */
struct store_file {
	unsigned keepers;
	sqlite3 *db;
	char *path;
};

struct store_file *store_file_keep(struct store_file *file);
struct store_file *store_file_drop(struct store_file *file);	/* accepts NULL, returns NULL */

/* Name of the SQLite VFS that all our connections use: no locks (a snapshot is written by one process
 * under a private name and never changes afterwards), and paths as they are given: SQLite's own would
 * resolve /proc/self/fd/N/name into a path that may mean another folder in our mount namespace.
 * Returns NULL when SQLite cannot be started. */
const char *store_vfs(void);

/* Open and check one file; see store_open(). */
int store_file_open(const char *path, struct store_file **ret_file, char **ret_error)
	__attribute__((warn_unused_result));

/* The file that a store was opened for. */
struct store_file *store_main_file(struct store *store);

/* Load a heap from a file; see store_load(), store_load_nodes() and store_load_facts(). */
int store_file_load_facts(struct store_file *file, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));
int store_file_load_nodes(struct store_file *file, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));
int store_file_load(struct store_file *file, struct heap **ret_heap, char **ret_error)
	__attribute__((warn_unused_result));

/* The account of a file, and what it is made of; what an older minor does not have stays 0. The caller frees
 * *ret_arenas, and no string in it is freed before. Returns 0, -ENOMEM, or -EBADMSG when a row cannot be. */
int store_file_account(struct store_file *file, struct heap_account *ret_account, struct heap_details *ret_details,
		       struct heap_arena **ret_arenas, uint32_t *ret_count) __attribute__((warn_unused_result));
void store_arenas_free(struct heap_arena *arenas, uint32_t count);

/* The lru_caches of a file with `nodes` nodes, ascending by node; none when it is of an older minor. The
 * caller frees them. Returns 0, -ENOMEM, or -EBADMSG when a row cannot be. */
int store_file_caches(struct store_file *file, uint32_t nodes, struct heap_cache **ret_caches,
		      uint32_t *ret_count) __attribute__((warn_unused_result));

/* Does a table of the file have a column? One of an older minor may not. */
bool store_file_has(struct store_file *file, const char *table, const char *column);

struct layouts;

/* The layouts of a file, none when it is of an older minor. Names are kept by copy(data, string), which returns NULL
 * when memory is short. Returns 0, -ENOMEM, or -EBADMSG when a row cannot be; layouts_done() after either. */
int store_file_layouts(struct store_file *file, const char *(*copy)(void *data, const char *string), void *data,
		       struct layouts *ret_layouts) __attribute__((warn_unused_result));

/* enum stream_node_kind of each node of a heap that store_file_load() made. */
const uint8_t *store_heap_kinds(const struct heap *heap);

struct store_clock { uint64_t birth; int64_t realtime_ns; };

/* The clock of a loaded heap; births ascend. */
const struct store_clock *store_heap_clock(const struct heap *heap, uint32_t *ret_count);

/* The virtual tables of one connection. `schema` is "main" or the name of an attached file; each
 * schema's heap is loaded when the first query needs it and released by store_vtab_clear(), after
 * which the tables are empty. The list itself belongs to the connection. ret_files may be NULL. */
struct store_vtab_files;
int store_vtab_register(sqlite3 *db, struct store_vtab_files **ret_files)
	__attribute__((warn_unused_result));
int store_vtab_add(struct store_vtab_files *files, const char *schema, struct store_file *file)
	__attribute__((warn_unused_result));
void store_vtab_clear(struct store_vtab_files *files);		/* accepts NULL */

#endif
