/* SPDX-License-Identifier: Apache-2.0
 * L2  json_recover.c - what processes left behind as JSON. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_value.h"
#include "cli/recover.h"

static json_t *event_object(const struct rings_facts *facts, const struct event *e, double tick_s)
{
	uint64_t ticks = facts->last_clock > e->clock ? facts->last_clock - e->clock : 0;
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string(rings_event_name(e->kind)));
	json_object_set_new(o, "tid", json_integer(e->tid));
	json_object_set_new(o, "addr", json_value_address(e->addr));
	json_object_set_new(o, "bytes", json_integer((json_int_t)(e->bytes & INT64_MAX)));
	json_object_set_new(o, "before_end_s", tick_s ? json_real((double)ticks * tick_s) : json_null());
	json_object_set_new(o, "clock", json_integer((json_int_t)(e->clock & INT64_MAX)));
	json_object_set_new(o, "stack", e->stack ? json_integer(e->stack) : json_null());
	return o;
}

static json_t *ring_list(struct recover_process *process, size_t most, double tick_s)
{
	const struct rings_facts *facts = rings_facts(process->rings);
	json_t *rings = json_array();

	for (uint32_t i = 0; i < facts->rings; i++) {
		struct rings_events found;
		char *error = NULL;
		json_t *o, *list;

		if (rings_read(process->rings, i, most, &found, &error) < 0) {
			o = json_pack("{s:i}", "ring", (int)i);
			json_object_set_new(o, "error", json_value_name(error ? error : "not enough memory"));
			json_array_append_new(rings, o);
			free(error);
			continue;
		}
		if (found.recorded) {
			o = json_object();
			list = json_array();
			for (size_t k = 0; k < found.count; k++)
				json_array_append_new(list, event_object(facts, &found.events[k], tick_s));
			json_object_set_new(o, "ring", json_integer(i));
			json_object_set_new(o, "recorded", json_integer((json_int_t)(found.recorded & INT64_MAX)));
			json_object_set_new(o, "not_drained", json_integer((json_int_t)found.not_drained));
			json_object_set_new(o, "unreadable", json_integer((json_int_t)found.unreadable));
			json_object_set_new(o, "error", json_null());
			json_object_set_new(o, "events", list);
			json_array_append_new(rings, o);
		}
		rings_events_done(&found);
	}
	return rings;
}

static json_t *file_list(const struct recovery *recovery, const struct recover_process *process)
{
	static const char *const kinds[] = {
		[RECOVER_SNAPSHOT] = "snapshot", [RECOVER_STREAM] = "stream", [RECOVER_LEFTOVER] = "leftover",
		[RECOVER_RING] = "ring",
	};
	json_t *files = json_array();

	for (size_t i = 0; i < process->count; i++) {
		const struct recover_file *file = &process->files[i];
		char *path = recover_path(recovery, file);
		json_t *o = json_object();

		json_object_set_new(o, "path", json_value_name(path));
		json_object_set_new(o, "kind", json_string(kinds[file->kind]));
		json_object_set_new(o, "snapshot", json_value_name(file->made));
		json_object_set_new(o, "error", json_value_name(file->error));
		json_object_set_new(o, "removable", json_boolean(recover_is_removable(process, file)));
		json_array_append_new(files, o);
		free(path);
	}
	return files;
}

static json_t *process_object(const struct recovery *recovery, struct recover_process *process, size_t most)
{
	const struct rings_facts *facts = process->rings ? rings_facts(process->rings) : NULL;
	double tick_s = facts ? recover_tick_s(facts) : 0;
	int64_t began = facts ? facts->start_realtime_ns : 0, last = 0;
	json_t *o = json_object(), *snapshot = json_null();

	if (tick_s)
		last = began + (int64_t)((double)(facts->last_clock - facts->start_clock) * tick_s * 1e9);
	if (process->snapshot_path) {
		snapshot = json_object();
		json_object_set_new(snapshot, "path", json_value_name(process->snapshot_path));
		json_object_set_new(snapshot, "taken", json_value_time(process->snapshot_ns));
		json_object_set_new(snapshot, "blocks", json_integer((json_int_t)process->snapshot_blocks));
		json_object_set_new(snapshot, "bytes", json_integer((json_int_t)process->snapshot_bytes));
	}
	json_object_set_new(o, "pid", json_integer(process->pid));
	json_object_set_new(o, "state", json_string(process->running ? "running" : "ended"));
	json_object_set_new(o, "began", json_value_time(began));
	json_object_set_new(o, "last_event", json_value_time(last));
	json_object_set_new(o, "recorded", facts ? json_integer((json_int_t)(facts->recorded & INT64_MAX)) : json_null());
	json_object_set_new(o, "not_drained", facts ? json_integer((json_int_t)(facts->not_drained & INT64_MAX)) : json_null());
	json_object_set_new(o, "last_snapshot", snapshot);
	json_object_set_new(o, "files", file_list(recovery, process));
	json_object_set_new(o, "rings", facts ? ring_list(process, most, tick_s) : json_array());
	return o;
}

int json_write_recovery(const struct recovery *recovery, size_t most)
{
	json_t *answer = json_pack("{s:i}", "schema", 1), *list = json_array();
	int r = 0;

	json_object_set_new(answer, "folder", json_value_name(recovery->folder));
	for (size_t i = 0; i < recovery->count; i++)
		json_array_append_new(list, process_object(recovery, &recovery->processes[i], most));
	json_object_set_new(answer, "processes", list);
	if (!answer || (json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0 && !ferror(stdout)))
		r = -ENOMEM;
	putchar('\n');
	json_decref(answer);
	return r;
}
