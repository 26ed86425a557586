/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_recover.c - `leakdiff recover DIR|PID`: what a crashed or killed process left behind. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/load.h"
#include "cli/recover.h"
#include "cli/table.h"
#include "cli/target.h"
#include "core/text.h"

#define EVENTS_OF_A_SCREEN 10

static struct {
	uint64_t events;
	bool json, clear;
} options = { .events = UINT64_MAX };

/* ---- text ---- */

static void put(const char *text)
{
	char *safe = text_escape(text);

	fputs(safe ? safe : "?", stdout);
	free(safe);
}

static void put_time(int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char date[40];
	struct tm tm;

	if (ns > 0 && localtime_r(&seconds, &tm) && strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm))
		fputs(date, stdout);
	else
		fputs("an unknown time", stdout);
}

/* "-1.250 ms" before the last event; ticks where no time is known. */
static void before_end(const struct rings_facts *facts, double tick_s, uint64_t clock, char *buffer, size_t capacity)
{
	uint64_t ticks = facts->last_clock > clock ? facts->last_clock - clock : 0;
	double seconds = (double)ticks * tick_s;

	if (!ticks)
		snprintf(buffer, capacity, "last");
	else if (!tick_s)
		snprintf(buffer, capacity, "-%" PRIu64 " ticks", ticks);
	else if (seconds < 1e-3)
		snprintf(buffer, capacity, "-%.1f us", seconds * 1e6);
	else if (seconds < 1)
		snprintf(buffer, capacity, "-%.3f ms", seconds * 1e3);
	else
		snprintf(buffer, capacity, "-%.3f s", seconds);
}

static int print_events(const struct rings_facts *facts, const struct rings_events *events, double tick_s)
{
	static const char *const headers[] = { "time", "thread", "event", "bytes", "address", "stack" };
	struct table *table = table_new(headers, "rrlrrr");
	int r;

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < events->count; i++) {
		const struct event *e = &events->events[i];
		char time[40], thread[16], bytes[24] = "", addr[24], stack[16] = "";
		const char *cells[] = { time, thread, rings_event_name(e->kind), bytes, addr, stack };

		before_end(facts, tick_s, e->clock, time, sizeof(time));
		snprintf(thread, sizeof(thread), "%u", (unsigned)e->tid);
		if (e->kind != EVENT_FREE && e->kind != EVENT_REALLOC_BEGIN && e->kind != EVENT_REALLOC_FAIL)
			snprintf(bytes, sizeof(bytes), "%" PRIu64, e->bytes);
		snprintf(addr, sizeof(addr), "0x%" PRIx64, e->addr);
		if (e->stack)
			snprintf(stack, sizeof(stack), "#%" PRIu32, e->stack);
		table_add(table, cells);
	}
	r = table_print(table, stdout, 4);
	table_free(table);
	return r;
}

static int print_ring(struct recover_process *process, uint32_t index, size_t most, double tick_s, uint64_t *unreadable)
{
	const struct rings_facts *facts = rings_facts(process->rings);
	struct rings_events events;
	char count[TEXT_SIZE], waiting[TEXT_SIZE];
	char *error = NULL;
	int r = rings_read(process->rings, index, most, &events, &error);

	if (r < 0) {
		r = error ? cmd_trouble("%s", error) : load_trouble(r);
		free(error);
		return r;
	}
	if (events.recorded) {
		printf("\n  ring %" PRIu32 ": %s events, %s not drained; the last %zu:\n", index,
		       text_count((int64_t)events.recorded, count), text_count((int64_t)events.not_drained, waiting),
		       events.count);
		r = print_events(facts, &events, tick_s);
	}
	*unreadable += events.unreadable;
	rings_events_done(&events);
	return r < 0 ? load_trouble(r) : 0;
}

static int print_rings(struct recover_process *process, size_t most)
{
	const struct rings_facts *facts = rings_facts(process->rings);
	double tick_s = recover_tick_s(facts);
	char count[TEXT_SIZE], waiting[TEXT_SIZE];
	uint64_t unreadable = 0;
	int status = 0;

	fputs("  began at ", stdout);
	put_time(facts->start_realtime_ns);
	if (tick_s) {
		fputs(", last event at ", stdout);
		put_time(facts->start_realtime_ns + (int64_t)((double)(facts->last_clock - facts->start_clock) * tick_s * 1e9));
	}
	printf("\n  %s events recorded, %s of them not yet drained into the table of live blocks\n",
	       text_count((int64_t)facts->recorded, count), text_count((int64_t)facts->not_drained, waiting));
	for (uint32_t i = 0; i < facts->rings && status == 0; i++)
		status = print_ring(process, i, most, tick_s, &unreadable);
	if (status)
		return status;
	fputs("\n  note: times are before the last event that was recorded; when the process itself ended is not known\n"
	      "  note: an allocation is recorded when it is done: one that was under way is not here\n"
	      "  note: stacks were in the process's own memory and went with it: equal numbers are equal stacks, and no more\n",
	      stdout);
	if (!tick_s)
		fputs("  note: the rings are of another machine or boot, or their clock only counts: ticks are no time\n", stdout);
	if (unreadable)
		printf("  note: %" PRIu64 " slots hold no event and are left out\n", unreadable);
	return 0;
}

static int print_process(const struct recovery *recovery, struct recover_process *process, size_t most)
{
	char blocks[TEXT_SIZE], bytes[TEXT_SIZE];
	size_t snapshots = 0, removable = 0;

	printf("process %" PRIu32 " (%s)\n", process->pid, process->running ? "still runs: leakdiff snap takes a snapshot" :
	       "ended");
	for (size_t i = 0; i < process->count; i++) {
		const struct recover_file *file = &process->files[i];

		snapshots += file->kind == RECOVER_SNAPSHOT;
		removable += recover_is_removable(process, file);
		if (file->kind == RECOVER_STREAM) {
			fputs("  stream         ", stdout);
			put(file->name);
			fputs(file->made ? " -> " : process->running ? " (not ingested: it still runs)" : " (cannot be ingested)", stdout);
			if (file->made)
				put(file->made);
			putchar('\n');
		} else if (file->kind == RECOVER_LEFTOVER && !process->running) {
			fputs("  left over      ", stdout);
			put(file->name);
			putchar('\n');
		}
	}
	fputs("  last snapshot  ", stdout);
	if (process->snapshot_path) {
		put(process->snapshot_path);
		printf("\n                 (%s blocks, %s, taken at ", text_count((int64_t)process->snapshot_blocks, blocks),
		       text_size((int64_t)process->snapshot_bytes, bytes));
		put_time(process->snapshot_ns);
		if (snapshots > 1)
			printf("; %zu in all", snapshots);
		puts(")");
	} else {
		puts(snapshots ? "none that can be read" : "none");
	}
	if (process->rings) {
		int status = print_rings(process, most);

		if (status)
			return status;
	}
	if (removable && !options.clear) {
		printf("  to remove %zu %s, not the snapshots: leakdiff recover --remove ", removable,
		       removable == 1 ? "file" : "files");
		put(recovery->folder);
		putchar('\n');
	}
	return 0;
}

static int print(const struct recovery *recovery, size_t most)
{
	int status = 0;

	for (size_t i = 0; i < recovery->count && status == 0; i++) {
		if (i)
			putchar('\n');
		status = print_process(recovery, &recovery->processes[i], most);
	}
	return status;
}

/* ---- the rest ---- */

/* Say what was refused; nothing else is wrong with an answer that lacks it. */
static int tell_errors(const struct recovery *recovery)
{
	int status = CMD_OK;

	for (size_t i = 0; i < recovery->count; i++)
		for (size_t k = 0; k < recovery->processes[i].count; k++)
			if (recovery->processes[i].files[k].error)
				status = cmd_trouble("%s", recovery->processes[i].files[k].error);
	return status;
}

static bool only_refused(const struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->count; i++)
		for (size_t k = 0; k < recovery->processes[i].count; k++)
			if (!recovery->processes[i].files[k].error)
				return false;
	return true;
}

static int remove_files(const struct recovery *recovery)
{
	int status = CMD_OK;

	for (size_t i = 0; i < recovery->count; i++) {
		const struct recover_process *process = &recovery->processes[i];

		for (size_t k = 0; k < process->count; k++) {
			char *path;

			if (!recover_is_removable(process, &process->files[k]))
				continue;
			path = recover_path(recovery, &process->files[k]);
			if (!path)
				return load_trouble(-ENOMEM);
			if (unlink(path) < 0 && errno != ENOENT)
				status = cmd_trouble("cannot remove %s: %s", path, strerror(errno));
			else if (!options.json)
				fprintf(stderr, "removed %s\n", process->files[k].name);
			free(path);
		}
	}
	return status;
}

static void show_progress(const char *what, uint64_t done, uint64_t total, void *data)
{
	(void)data;
	cmd_progress(what, done, total);
}

static int look_into(const char *folder, uint32_t pid, struct recovery **ret_recovery)
{
	struct recovery *recovery = NULL;
	int r = recovery_make(folder, pid, &recovery);

	if (r == -ENOMEM)
		return load_trouble(r);
	if (r < 0)
		return cmd_trouble("%s cannot be looked into: %s", folder, strerror(-r));
	*ret_recovery = recovery;
	return 0;
}

/* Where a process that is gone had its folder is written nowhere: the places that the library tries. */
static int find_process(uint32_t pid, struct recovery **ret_recovery)
{
	const char *wanted = getenv("LEAKDIFF_DIR"), *runtime = getenv("XDG_RUNTIME_DIR");
	char *folders[3] = {
		wanted && *wanted ? strdup(wanted) : NULL,
		runtime && *runtime == '/' ? text_format("%s/leakdiff", runtime) : NULL,
		text_format("/tmp/leakdiff-%u", (unsigned)geteuid()),
	};
	struct recovery *found = NULL;
	int status = CMD_OK;

	for (size_t i = 0; i < 3; i++) {
		if (folders[i] && !found && status == CMD_OK && access(folders[i], F_OK) == 0) {
			status = look_into(folders[i], pid, &found);
			if (found && !found->count)
				found = recovery_free(found);
		}
		free(folders[i]);
	}
	if (status == CMD_OK && !found && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		status = cmd_trouble("process %" PRIu32 " still runs: what a process leaves behind is there when it has ended; "
				     "leakdiff snap %" PRIu32 " takes a snapshot of one that runs", pid, pid);
	else if (status == CMD_OK && !found)
		status = cmd_trouble("process %" PRIu32 " left nothing where the library keeps its files; if it ran with "
				     "LEAKDIFF_DIR or as another user, give that folder", pid);
	*ret_recovery = found;
	return status;
}

static int answer(struct recovery *recovery)
{
	int r = recovery_ingest(recovery, show_progress), status = CMD_OK;

	cmd_progress(NULL, 0, 0);
	if (r < 0)
		return load_trouble(r);
	if (options.json) {
		r = json_write_recovery(recovery, options.events == UINT64_MAX ? SIZE_MAX : options.events);
		if (r < 0)
			return load_trouble(r);
	} else if (!only_refused(recovery)) {
		status = print(recovery, options.events == UINT64_MAX ? EVENTS_OF_A_SCREEN : options.events);
	}
	fflush(stdout);
	r = tell_errors(recovery);
	status = status ? status : r;
	r = options.clear ? remove_files(recovery) : CMD_OK;
	return status ? status : r;
}

static int run(int argc, char **argv)
{
	struct recovery *recovery = NULL;
	pid_t pid = 0;
	int status;

	if (argc != 1)
		return cmd_usage(&cmd_recover, "recover takes a folder or a process id");
	if (target_parse_pid(argv[0], &pid) == 0)
		status = find_process((uint32_t)pid, &recovery);
	else
		status = look_into(argv[0], 0, &recovery);
	if (status == CMD_OK && !recovery->count)
		status = cmd_trouble("%s: no process that crashed or was killed left anything there", argv[0]);
	else if (status == CMD_OK && pid && recovery->processes[0].running)
		status = cmd_trouble("process %d still runs: leakdiff snap %d takes a snapshot of it", (int)pid, (int)pid);
	else if (status == CMD_OK)
		status = answer(recovery);
	recovery_free(recovery);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "events", 'n', CMD_NUMBER, "N", "the last N events of each ring (text: 10, JSON: all that it kept)", &options.events },
	{ "remove", 0, CMD_FLAG, NULL, "afterwards remove the files, but no snapshot", &options.clear },
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &options.json },
	{ 0 },
};

const struct cmd cmd_recover = {
	.name = "recover",
	.synopsis = "recover DIR|PID [--events N] [--remove] [--json]",
	.summary = "what processes that were killed left: last snapshot, last events",
	.detail = "A process that ends in order takes its event rings away; those of one that was killed stay in its\n"
		  "folder, DIR. They hold the last allocations and frees of each thread: size, address, time before\n"
		  "the last one. A capture stream that nobody read becomes a snapshot. Exit status: 0; 2 when there is\n"
		  "nothing, or a file is refused.",
	.options = cmd_options,
	.run = run,
};
