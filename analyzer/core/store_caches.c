/* SPDX-License-Identifier: Apache-2.0
 * L2  store_caches.c - the lru_caches of a snapshot file. */
#include <errno.h>
#include <stdlib.h>

#include "core/store_internal.h"

static int compare_nodes(const void *a, const void *b)
{
	const struct heap_cache *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

/* A number that is unknown where the column is NULL, or negative beyond `least`. */
static int64_t number(sqlite3_stmt *statement, int column, int64_t least)
{
	int64_t value = sqlite3_column_int64(statement, column);

	return sqlite3_column_type(statement, column) == SQLITE_NULL || value < least ? HEAP_UNKNOWN : value;
}

static bool is_there(struct store_file *file)
{
	sqlite3_stmt *statement = NULL;
	bool there = sqlite3_prepare_v2(file->db, "SELECT 1 FROM sqlite_schema WHERE name = 'python_caches'", -1,
					&statement, NULL) == SQLITE_OK &&
		     sqlite3_step(statement) == SQLITE_ROW;

	sqlite3_finalize(statement);
	return there;
}

int store_file_caches(struct store_file *file, uint32_t nodes, struct heap_cache **ret_caches,
		      uint32_t *ret_count)
{
	struct heap_cache *caches = NULL;
	sqlite3_stmt *statement = NULL;
	uint32_t count = 0;
	int r = 0, code;

	*ret_caches = NULL;
	*ret_count = 0;
	if (!is_there(file))
		return 0;
	if (sqlite3_prepare_v2(file->db, "SELECT node, entries, maxsize, hits, misses FROM python_caches", -1,
			       &statement, NULL) != SQLITE_OK)
		return sqlite3_errcode(file->db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	while (r == 0 && (code = sqlite3_step(statement)) != SQLITE_DONE) {
		int64_t node = sqlite3_column_int64(statement, 0), entries = number(statement, 1, 0);
		struct heap_cache *grown = caches;

		if (code != SQLITE_ROW || node < 0 || node >= nodes || entries < 0) {
			r = code == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
			break;
		}
		if (!(count & (count - 1)))	/* grows at 0, 1, 2, 4, 8, ... */
			grown = reallocarray(caches, count ? count * 2ull : 1, sizeof(*caches));
		if (!grown) {
			r = -ENOMEM;
			break;
		}
		caches = grown;
		caches[count++] = (struct heap_cache){
			.node = (uint32_t)node, .entries = (uint64_t)entries, .maxsize = number(statement, 2, -1),
			.hits = number(statement, 3, 0), .misses = number(statement, 4, 0),
		};
	}
	sqlite3_finalize(statement);
	if (r < 0) {
		free(caches);
		return r;
	}
	if (count)
		qsort(caches, count, sizeof(*caches), compare_nodes);
	*ret_caches = caches;
	*ret_count = count;
	return 0;
}
