/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_threads.c - `leakdiff threads SNAP`: where every thread, task and greenlet stood. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/threads.h"
#include "core/names.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/text.h"

static bool json, native;

static const struct cmd_option options[] = {
	{ "native", 0, CMD_FLAG, NULL, "show the native frames of threads that run Python, too", &native },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &json },
	{ 0 },
};

static void put(const char *text)
{
	char *safe = text_escape(text);

	fputs(safe ? safe : "?", stdout);
	free(safe);
}

static void print_frames(const struct threads_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct threads_frame *f = &frames[i];

		fputs("  ", stdout);
		put(*f->function ? f->function : *f->module ? f->module : "(unknown)");
		if (*f->file) {
			fputs("  ", stdout);
			put(f->file);
			if (f->line)
				printf(":%u", f->line);
		} else if (*f->module && *f->function && !names_are_place(f->function, f->module)) {
			fputs("  (", stdout);
			put(f->module);
			putchar(')');
		}
		if (f->locals && *f->locals) {
			fputs("\n      locals ", stdout);
			put(f->locals);
		}
		putchar('\n');
	}
}

static void print_list(const struct threads_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct threads_entry *entry = &list->entries[i];

		if (i)
			putchar('\n');
		put(entry->kind);
		if (*entry->name) {
			putchar(' ');
			put(entry->name);
		}
		if (entry->tid && !strstr(entry->name, "(tid "))
			printf(" (tid %llu)", (unsigned long long)entry->tid);
		if (*entry->state) {
			fputs(", ", stdout);
			put(entry->state);
		}
		putchar('\n');
		print_frames(entry->frames, entry->frame_count);
		if (native && entry->native_count) {
			puts("  native:");
			print_frames(entry->native, entry->native_count);
		}
	}
}

static int run(int argc, char **argv)
{
	struct threads_list list;
	struct store *store;
	char *error = NULL;
	int r, status = CMD_OK;

	if (argc != 1)
		return cmd_usage(&cmd_threads, "threads needs one snapshot file");
	if (snapshot_file_open(argv[0], &store, &error) < 0) {
		status = error ? cmd_trouble("%s", error) : cmd_trouble("not enough memory to open %s", argv[0]);
		free(error);
		return status;
	}
	r = threads_read(store, &list, &error);
	if (r < 0) {
		status = cmd_trouble("%s: %s", argv[0], error ? error : strerror(-r));
		free(error);
		store_free(store);
		return status;
	}
	if (!json)
		print_list(&list);
	else if (json_write_threads(&list) < 0)
		status = CMD_TROUBLE;
	threads_done(&list);
	store_free(store);
	return cmd_finish(status);
}

const struct cmd cmd_threads = {
	.name = "threads",
	.synopsis = "threads SNAP [--native] [--json]",
	.summary = "where threads, asyncio tasks and greenlets stood",
	.detail = "Innermost frame first. Frames of Python name their local variables; values are shown only if the\n"
		  "service ran with LEAKDIFF_VALUES=1.",
	.options = options,
	.run = run,
};
