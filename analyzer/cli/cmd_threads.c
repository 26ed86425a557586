/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_threads.c - `leakdiff threads SNAP`: where every thread, task and greenlet stood. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/load.h"
#include "cli/threads.h"
#include "core/names.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/text.h"

#define NAMES_SHOWN 4

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

/* Who stands in the same place as entry `first`: "task Task-2", "3 tasks: Task-2, Task-3, Task-4". */
static void print_names(const struct threads_list *list, size_t first, size_t count)
{
	char text[TEXT_SIZE];
	size_t shown = 0;

	if (count > 1)
		printf("%s ", text_count((int64_t)count, text));
	put(list->entries[first].kind);
	fputs(count > 1 ? "s:" : "", stdout);
	for (size_t i = first; i < list->count && shown < NAMES_SHOWN; i++) {
		if (list->entries[i].first != first || !*list->entries[i].name)
			continue;
		fputs(shown++ ? ", " : " ", stdout);
		put(list->entries[i].name);
	}
	if (count > 1 && count > shown)
		printf(" and %s more (--json names all)", text_count((int64_t)(count - shown), text));
}

static int print_list(const struct threads_list *list)
{
	size_t *count = calloc(list->count + 1, sizeof(*count));

	if (!count)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++)
		count[list->entries[i].first]++;
	for (size_t i = 0; i < list->count; i++) {
		const struct threads_entry *entry = &list->entries[i];

		if (entry->first != i)
			continue;
		if (i)
			putchar('\n');
		print_names(list, i, count[i]);
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
	free(count);
	return 0;
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
	r = json ? json_write_threads(&list) : print_list(&list);
	if (r == -ENOMEM)		/* what could not be written cmd_finish() says */
		status = load_trouble(r);
	threads_done(&list);
	store_free(store);
	return cmd_finish(status);
}

const struct cmd cmd_threads = {
	.name = "threads",
	.synopsis = "threads SNAP [--native] [--json]",
	.summary = "where threads, asyncio tasks and greenlets stood",
	.detail = "Innermost frame first; tasks and greenlets that stand in one place are shown together. Frames of\n"
		  "Python name their local variables; values are shown only if the service ran with LEAKDIFF_VALUES=1.",
	.options = options,
	.run = run,
};
