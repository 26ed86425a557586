/* SPDX-License-Identifier: Apache-2.0
 * L2  store_layouts.c - the layouts of a snapshot file.
 *
 * A row is believed only if what it names is there: ids in order, types that exist, members in the order of
 * their offsets. Circles of members in members are left to whoever walks them: layout.c counts its depth. */
#include <errno.h>
#include <string.h>

#include "core/grow.h"
#include "core/layout.h"
#include "core/store_internal.h"

struct reading {
	struct layouts *layouts;
	const char *(*copy)(void *data, const char *string);
	void *data;
};

static const char *text(struct reading *reading, sqlite3_stmt *statement, int column)
{
	const char *string = (const char *)sqlite3_column_text(statement, column);

	return string ? reading->copy(reading->data, string) : NULL;
}

static int read_layout(struct reading *reading, sqlite3_stmt *statement)
{
	const char *kind = (const char *)sqlite3_column_text(statement, 2);
	struct layouts *all = reading->layouts;
	struct layout layout = {
		.name = text(reading, statement, 1), .bytes = (uint64_t)sqlite3_column_int64(statement, 3),
		.target = (uint32_t)sqlite3_column_int64(statement, 4),
		.count = (uint64_t)sqlite3_column_int64(statement, 5), .file = text(reading, statement, 6),
		.line = (uint32_t)sqlite3_column_int64(statement, 7),
	};

	if (!layout.name || !layout.file || !kind)
		return -ENOMEM;
	if (!layouts_kind_parse(kind, &layout.kind) || sqlite3_column_int64(statement, 0) != all->count ||
	    all->count >= UINT32_MAX / 2 || (all->count == 0) != (layout.kind == LAYOUT_KIND_VOID) ||
	    layout.bytes > INT64_MAX)
		return -EBADMSG;
	if (grow_array(&all->layouts, &all->layout_room, all->count + 1ull, sizeof(layout)) < 0)
		return -ENOMEM;
	all->layouts[all->count++] = layout;
	return 0;
}

static int read_member(struct reading *reading, sqlite3_stmt *statement)
{
	struct layouts *all = reading->layouts;
	int64_t owner = sqlite3_column_int64(statement, 0), type = sqlite3_column_int64(statement, 3);
	struct layout_member member = {
		.name = text(reading, statement, 1), .offset = (uint64_t)sqlite3_column_int64(statement, 2),
		.type = (uint32_t)type, .is_base = sqlite3_column_int64(statement, 4) != 0,
	};
	struct layout *layout;

	if (!member.name)
		return -ENOMEM;
	if (owner < 0 || owner >= all->count || type < 0 || type >= all->count || all->member_count >= UINT32_MAX / 2)
		return -EBADMSG;
	layout = &all->layouts[owner];
	if (!layout->member_count)
		layout->first_member = all->member_count;
	else if (layout->first_member + layout->member_count != all->member_count ||
		 all->members[all->member_count - 1].offset > member.offset)
		return -EBADMSG;
	if ((layout->kind != LAYOUT_KIND_STRUCT && layout->kind != LAYOUT_KIND_UNION) || member.offset > layout->bytes)
		return -EBADMSG;
	if (grow_array(&all->members, &all->member_room, all->member_count + 1ull, sizeof(member)) < 0)
		return -ENOMEM;
	all->members[all->member_count++] = member;
	layout->member_count++;
	return 0;
}

static int read_rows(struct reading *reading, sqlite3 *db, const char *sql,
		     int (*read)(struct reading *reading, sqlite3_stmt *statement))
{
	sqlite3_stmt *statement = NULL;
	int r = 0, code;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		return sqlite3_errcode(db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	while (r == 0 && (code = sqlite3_step(statement)) != SQLITE_DONE)
		r = code == SQLITE_ROW ? read(reading, statement) : code == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	sqlite3_finalize(statement);
	return r;
}

int store_file_layouts(struct store_file *file, const char *(*copy)(void *data, const char *string), void *data,
		       struct layouts *ret_layouts)
{
	struct reading reading = { ret_layouts, copy, data };
	int r;

	memset(ret_layouts, 0, sizeof(*ret_layouts));
	if (!store_file_has(file, "layouts", "id"))
		return 0;
	r = read_rows(&reading, file->db, "SELECT id, name, kind, bytes, target, count, file, line FROM layouts ORDER BY id",
		      read_layout);
	for (uint32_t i = 0; r == 0 && i < ret_layouts->count; i++)
		if (ret_layouts->layouts[i].target >= ret_layouts->count)
			r = -EBADMSG;
	return r < 0 ? r : read_rows(&reading, file->db,
				     "SELECT layout, name, offset, type, is_base FROM layout_members ORDER BY id", read_member);
}
