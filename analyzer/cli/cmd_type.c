/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_type.c - `leakdiff type SNAP NAME`: a type, what it is made of, and who points at it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd.h"
#include "cli/json_types.h"
#include "cli/load.h"
#include "cli/table.h"
#include "core/layout.h"
#include "core/names.h"
#include "core/text.h"
#include "core/type_view.h"

#define USERS_SHOWN 12

static bool as_json;

static int print_fields(const struct type_view *view)
{
	static const char *const headers[] = { "offset", "size", "all", "pointers", "field", "type" };
	struct table *table = table_new(headers, "rrrrll");
	int r;

	for (size_t i = 0; table && i < view->field_count; i++) {
		const struct type_field *field = &view->fields[i];
		char size[TEXT_SIZE], all[TEXT_SIZE], references[TEXT_SIZE], offset[24];
		char *name = text_escape(field->name), *type = text_escape(field->type);

		snprintf(offset, sizeof(offset), "%" PRIu64, field->offset);
		if (name && type)
			table_add(table, (const char *const[]){
				offset, text_size((int64_t)field->bytes, size), text_size((int64_t)field->live_bytes, all),
				field->references ? text_count((int64_t)field->references, references) : "", name, type });
		free(name);
		free(type);
	}
	r = table ? table_print(table, stdout, 2) : -ENOMEM;
	table_free(table);
	return r;
}

static int print_users(const struct type_view *view)
{
	static const char *const headers[] = { "references", "to", "referenced by" };
	struct table *table = table_new(headers, "rrl");
	uint64_t rest = view->users_left_out + view->unlabelled;
	char count[TEXT_SIZE];
	int r;

	for (size_t i = 0; table && i < view->user_count; i++) {
		char bytes[TEXT_SIZE], *holder = text_escape(view->users[i].holder);

		if (i < USERS_SHOWN && holder)
			table_add(table, (const char *const[]){ text_count((int64_t)view->users[i].references, count),
								text_size((int64_t)view->users[i].targets, bytes), holder });
		else
			rest += view->users[i].references;
		free(holder);
	}
	r = table ? table_print(table, stdout, 2) : -ENOMEM;
	table_free(table);
	if (r == 0 && rest)
		printf("  and %s more references (--json shows those whose field was read)\n", text_count((int64_t)rest, count));
	return r;
}

static int print_view(const struct heap *heap, const struct type_view *view)
{
	const struct layout *layout = view->layout ? &heap->layouts->layouts[view->layout] : NULL;
	char *name = text_escape(view->name), *file = text_escape(layout ? layout->file : "");
	char count[TEXT_SIZE], bytes[TEXT_SIZE], elements[TEXT_SIZE];
	int r = name && file ? 0 : -ENOMEM;

	if (r == 0) {
		printf("%s: %s live blocks, %s", name, text_count((int64_t)view->count, count),
		       text_size((int64_t)view->bytes, bytes));
		if (layout && view->elements != view->count)
			printf(", %s elements", text_count((int64_t)view->elements, elements));
		putchar('\n');
		if (layout) {
			printf("  %s", text_size((int64_t)view->element_bytes, bytes));
			if (*file)
				printf(", declared in %s:%" PRIu32, file, layout->line);
			putchar('\n');
		} else {
			printf("  how it lies in memory is not known: there is no debug information about it (type source: %s)\n",
			       names_type_source(view->source));
		}
		putchar('\n');
	}
	if (r == 0 && view->field_count) {
		r = print_fields(view);
		putchar('\n');
	}
	if (r == 0)
		r = print_users(view);
	free(name);
	free(file);
	return r;
}

static int run(int argc, char **argv)
{
	struct type_view *view = NULL;
	struct loaded loaded;
	int status, r;

	if (argc != 2)
		return cmd_usage(&cmd_type, "type takes a snapshot and the name of a type");
	status = load_series(argv, 1, &loaded);
	if (status)
		return status;
	r = type_view_make(series_last(loaded.series)->heap, argv[1], &view);
	if (r == -ENOENT)
		status = cmd_trouble("no live block in %s is of a type %s: `leakdiff top %s` lists the types", argv[0], argv[1],
				     argv[0]);
	else if (r == 0)
		r = as_json ? json_write_type(series_last(loaded.series)->heap, view) :
			      print_view(series_last(loaded.series)->heap, view);
	if (r < 0 && r != -ENOENT)
		status = load_trouble(r);
	type_view_free(view);
	loaded_done(&loaded);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &as_json },
	{ 0 },
};

const struct cmd cmd_type = {
	.name = "type",
	.synopsis = "type SNAP NAME [--json]",
	.summary = "a type: how many live, what it is made of, who points at it",
	.detail = "NAME is a type as the tables show it, with or without struct, or a glob.",
	.options = cmd_options,
	.run = run,
};
