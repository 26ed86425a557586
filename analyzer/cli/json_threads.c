/* SPDX-License-Identifier: Apache-2.0
 * L3  json_threads.c - threads, tasks and greenlets as JSON. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/json_value.h"
#include "cli/threads.h"

static json_t *frame_list(const struct threads_frame *frames, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "function", json_value_known(frames[i].function));
		json_object_set_new(o, "file", json_value_known(frames[i].file));
		json_object_set_new(o, "line", frames[i].line ? json_integer(frames[i].line) : json_null());
		json_object_set_new(o, "module", json_value_known(frames[i].module));
		json_object_set_new(o, "language", json_value_known(frames[i].language));
		json_object_set_new(o, "locals", json_value_known(frames[i].locals));
		json_array_append_new(array, o);
	}
	return array;
}

int json_write_threads(const struct threads_list *list)
{
	json_t *answer = json_pack("{s:i}", "schema", 1), *array = json_array();
	char *text;
	int r;

	for (size_t i = 0; i < list->count; i++) {
		const struct threads_entry *entry = &list->entries[i];
		json_t *o = json_object();

		json_object_set_new(o, "kind", json_value_known(entry->kind));
		json_object_set_new(o, "name", json_value_known(entry->name));
		json_object_set_new(o, "tid", entry->tid ? json_integer((json_int_t)entry->tid) : json_null());
		json_object_set_new(o, "state", json_value_known(entry->state));
		json_object_set_new(o, "stack", frame_list(entry->frames, entry->frame_count));
		json_object_set_new(o, "native_stack", frame_list(entry->native, entry->native_count));
		json_array_append_new(array, o);
	}
	json_object_set_new(answer, "threads", array);
	text = json_dumps(answer, JSON_INDENT(2));
	json_decref(answer);
	if (!text)
		return -ENOMEM;
	r = puts(text) < 0 ? -EIO : 0;
	free(text);
	return r;
}
