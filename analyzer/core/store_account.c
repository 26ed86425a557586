/* SPDX-License-Identifier: Apache-2.0
 * L3  store_account.c - the memory account of a snapshot file, and what it is made of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/store_internal.h"

#define ARENAS_MAX (1u << 16)

static const struct { const char *part; size_t offset; } parts[] = {
	{ "live", offsetof(struct heap_account, live_bytes) },
	{ "allocator", offsetof(struct heap_account, allocator_bytes) },
	{ "python", offsetof(struct heap_account, python_bytes) },
	{ "stacks", offsetof(struct heap_account, stacks_bytes) },
	{ "files", offsetof(struct heap_account, files_bytes) },
	{ "shared", offsetof(struct heap_account, shared_bytes) },
	{ "leakdiff", offsetof(struct heap_account, leakdiff_bytes) },
	{ "other", offsetof(struct heap_account, other_bytes) },
	{ "total", offsetof(struct heap_account, total_bytes) },
};

static const struct { const char *part, *name; size_t offset; } details[] = {
#define X(part, name, text) { #part, #name, offsetof(struct heap_details, part##_##name) },
	HEAP_DETAILS(X)
#undef X
};

struct reading {
	struct heap_account *account;
	struct heap_details *details;
	struct heap_arena *arenas;
	uint32_t arena_count;
};

static int take_part(sqlite3_stmt *row, struct reading *reading)
{
	const char *part = (const char *)sqlite3_column_text(row, 0);

	for (size_t i = 0; part && i < sizeof(parts) / sizeof(*parts); i++)
		if (!strcmp(part, parts[i].part))
			*(uint64_t *)(void *)((char *)reading->account + parts[i].offset) =
				(uint64_t)sqlite3_column_int64(row, 1);
	return 0;
}

static int take_detail(sqlite3_stmt *row, struct reading *reading)
{
	const char *part = (const char *)sqlite3_column_text(row, 0), *name = (const char *)sqlite3_column_text(row, 1);

	for (size_t i = 0; part && name && i < sizeof(details) / sizeof(*details); i++)
		if (!strcmp(part, details[i].part) && !strcmp(name, details[i].name))
			*(uint64_t *)(void *)((char *)reading->details + details[i].offset) =
				(uint64_t)sqlite3_column_int64(row, 2);
	return 0;
}

static int take_arena(sqlite3_stmt *row, struct reading *reading)
{
	uint32_t count = reading->arena_count;
	const char *unread = (const char *)sqlite3_column_text(row, 4);
	struct heap_arena *arena;
	int column = 5;

	if (sqlite3_column_int64(row, 0) != count || count == ARENAS_MAX || !unread)
		return -EBADMSG;
	if (!(count & (count - 1))) {		/* grows at 0, 1, 2, 4, 8, ... */
		arena = reallocarray(reading->arenas, count ? count * 2ull : 1, sizeof(*arena));
		if (!arena)
			return -ENOMEM;
		reading->arenas = arena;
	}
	arena = &reading->arenas[count];
	memset(arena, 0, sizeof(*arena));
	arena->kind = (uint32_t)sqlite3_column_int64(row, 1);
	arena->number = (uint32_t)sqlite3_column_int64(row, 2);
	arena->threads = sqlite3_column_type(row, 3) == SQLITE_NULL ? UINT32_MAX : (uint32_t)sqlite3_column_int64(row, 3);
#define X(name)                                                                                               \
	arena->name = sqlite3_column_type(row, column) == SQLITE_NULL ? HEAP_ARENA_UNKNOWN :                  \
			      (uint64_t)sqlite3_column_int64(row, column);                                    \
	column++;
	HEAP_ARENA_NUMBERS(X)
#undef X
	arena->unread = strdup(unread);
	if (!arena->unread)
		return -ENOMEM;
	reading->arena_count++;
	return 0;
}

static int take_class(sqlite3_stmt *row, struct reading *reading)
{
	int64_t arena = sqlite3_column_int64(row, 0), low = sqlite3_column_int64(row, 1);
	int class = low > 0 ? 63 - __builtin_clzll((uint64_t)low) : HEAP_ARENA_CLASSES;

	if (arena < 0 || arena >= reading->arena_count || class >= HEAP_ARENA_CLASSES)
		return -EBADMSG;
	reading->arenas[arena].classes[class] = (struct heap_arena_class){
		(uint64_t)sqlite3_column_int64(row, 2), (uint64_t)sqlite3_column_int64(row, 3),
		(uint64_t)sqlite3_column_int64(row, 4), (uint64_t)sqlite3_column_int64(row, 5),
	};
	return 0;
}

static bool is_there(struct store_file *file, const char *table)
{
	sqlite3_stmt *statement = NULL;
	bool there = sqlite3_prepare_v2(file->db, "SELECT 1 FROM sqlite_schema WHERE name = ?", -1, &statement, NULL) ==
			     SQLITE_OK &&
		     sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC) == SQLITE_OK &&
		     sqlite3_step(statement) == SQLITE_ROW;

	sqlite3_finalize(statement);
	return there;
}

static int read_table(struct store_file *file, const char *table, const char *sql,
		      int (*take)(sqlite3_stmt *row, struct reading *reading), struct reading *reading)
{
	sqlite3_stmt *statement = NULL;
	int r = 0, code;

	if (!is_there(file, table))
		return 0;
	if (sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return sqlite3_errcode(file->db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	while (r == 0 && (code = sqlite3_step(statement)) != SQLITE_DONE)
		r = code == SQLITE_ROW ? take(statement, reading) : code == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	sqlite3_finalize(statement);
	return r;
}

int store_file_account(struct store_file *file, struct heap_account *ret_account, struct heap_details *ret_details,
		       struct heap_arena **ret_arenas, uint32_t *ret_count)
{
	struct heap_account account = { 0 };
	struct heap_details split = { 0 };
	struct reading reading = { .account = &account, .details = &split };
	int r = read_table(file, "account", "SELECT part, bytes FROM account", take_part, &reading);

	if (r == 0)
		r = read_table(file, "account_details", "SELECT part, name, bytes FROM account_details", take_detail,
			       &reading);
	if (r == 0)
		r = read_table(file, "arenas", "SELECT * FROM arenas ORDER BY id", take_arena, &reading);
	if (r == 0)
		r = read_table(file, "arena_classes",
			       "SELECT arena, low_bytes, free_count, free_bytes, used_count, used_bytes FROM arena_classes",
			       take_class, &reading);
	if (r < 0) {
		store_arenas_free(reading.arenas, reading.arena_count);
		return r;
	}
	*ret_account = account;
	*ret_details = split;
	*ret_arenas = reading.arenas;
	*ret_count = reading.arena_count;
	return 0;
}

void store_arenas_free(struct heap_arena *arenas, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free((char *)(uintptr_t)arenas[i].unread);
	free(arenas);
}
