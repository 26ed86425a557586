/* SPDX-License-Identifier: Apache-2.0
 * L2  threads.c - see threads.h. Rows of two pairs of tables become one list. */
#include "cli/threads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash_index.h"
#include "core/store.h"
#include "core/text.h"

/* Names of the calls that threads are found in; x86-64. */
static const struct { uint64_t number; const char *name; } calls[] = {
	{ 0, "read" }, { 1, "write" }, { 7, "poll" }, { 17, "pread64" }, { 18, "pwrite64" }, { 19, "readv" },
	{ 20, "writev" }, { 23, "select" }, { 34, "pause" }, { 35, "nanosleep" }, { 40, "sendfile" },
	{ 42, "connect" }, { 43, "accept" }, { 44, "sendto" }, { 45, "recvfrom" }, { 46, "sendmsg" },
	{ 47, "recvmsg" }, { 61, "wait4" }, { 65, "semop" }, { 70, "msgrcv" }, { 72, "fcntl" }, { 73, "flock" },
	{ 74, "fsync" }, { 75, "fdatasync" }, { 128, "rt_sigtimedwait" }, { 130, "rt_sigsuspend" },
	{ 202, "futex" }, { 208, "io_getevents" }, { 219, "restart_syscall" }, { 220, "semtimedop" },
	{ 230, "clock_nanosleep" }, { 232, "epoll_wait" }, { 243, "mq_timedreceive" }, { 247, "waitid" },
	{ 270, "pselect6" }, { 271, "ppoll" }, { 281, "epoll_pwait" }, { 288, "accept4" }, { 299, "recvmmsg" },
	{ 333, "io_pgetevents" }, { 426, "io_uring_enter" }, { 441, "epoll_pwait2" }, { 449, "futex_waitv" },
};

struct reading {
	struct threads_list *list;
	size_t met;			/* where the last one was: rows come in the order of the list */
};

static char *copy(const char *text)
{
	return strdup(text ? text : "");
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 0;
}

static struct threads_entry *find(struct reading *reading, bool python, uint64_t id)
{
	struct threads_list *list = reading->list;

	for (size_t i = 0; i < list->count; i++) {
		size_t at = (reading->met + i) % list->count;

		if (list->entries[at].id == id && python == (strcmp(list->entries[at].kind, "thread") != 0)) {
			reading->met = at;
			return &list->entries[at];
		}
	}
	return NULL;
}

static struct threads_entry *add(struct threads_list *list, uint64_t id, const char *kind, const char *name,
				 char *state, uint64_t tid)
{
	struct threads_entry *grown = list->entries, *entry;

	if (!(list->count & (list->count - 1)))		/* 0 or a power of two: full */
		grown = reallocarray(list->entries, list->count ? list->count * 2 : 1, sizeof(*grown));
	if (!grown || !state)
		goto fail;
	list->entries = grown;
	entry = &grown[list->count];
	*entry = (struct threads_entry){ .id = id, .tid = tid, .kind = copy(kind), .name = copy(name), .state = state };
	list->count++;
	return entry->kind && entry->name ? entry : NULL;
fail:
	if (grown)
		list->entries = grown;
	free(state);
	return NULL;
}

static char *state_of(const char *call, const char *stop)
{
	uint64_t n = number(call);

	if (stop && !strcmp(stop, "self"))
		return strdup("leakdiff's own thread");
	if (!call || n >= UINT32_MAX)
		return strdup("running");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].number == n)
			return text_format("in %s()", calls[i].name);
	return text_format("in system call %llu", (unsigned long long)n);
}

static int take_thread(int columns, char **values, bool is_header, void *data)
{
	struct reading *reading = data;

	(void)columns;
	if (is_header || (values[4] && !strcmp(values[4], "self")))	/* ours */
		return 0;
	return add(reading->list, number(values[0]), "thread", values[2], state_of(values[3], values[4]),
		   number(values[1])) ? 0 : -ENOMEM;
}

/* id, kind, name, thread, state */
static int take_python(int columns, char **values, bool is_header, void *data)
{
	struct reading *reading = data;
	struct threads_entry *entry;

	(void)columns;
	if (is_header)
		return 0;
	if (!strcmp(values[1], "thread")) {
		entry = values[3] ? find(reading, false, number(values[3])) : NULL;
		if (!entry || !*values[2])
			return 0;
		free(entry->name);	/* the name that the program gave says more than the kernel's */
		entry->name = copy(values[2]);
		return entry->name ? 0 : -ENOMEM;
	}
	return add(reading->list, number(values[0]), values[1], values[2], copy(values[4]), 0) ? 0 : -ENOMEM;
}

static int add_frame(struct threads_frame **frames, size_t *count, char **values)
{
	struct threads_frame *grown;

	if (!(*count & (*count - 1))) {		/* 0 or a power of two: full */
		grown = reallocarray(*frames, *count ? *count * 2 : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		*frames = grown;
	}
	(*frames)[(*count)++] = (struct threads_frame){
		.function = copy(values[1]), .file = copy(values[2]), .line = (uint32_t)number(values[3]),
		.module = copy(values[4]), .language = copy(values[5]),
		.locals = values[6] ? strdup(values[6]) : NULL };
	return 0;
}

/* thread, function, file, line, module, language, NULL */
static int take_native_frame(int columns, char **values, bool is_header, void *data)
{
	struct reading *reading = data;
	struct threads_entry *entry;

	(void)columns;
	if (is_header)
		return 0;
	entry = find(reading, false, number(values[0]));
	return entry ? add_frame(&entry->native, &entry->native_count, values) : 0;
}

/* owner, function, file, line, "", "python", locals, kind, thread */
static int take_python_frame(int columns, char **values, bool is_header, void *data)
{
	struct reading *reading = data;
	struct threads_entry *entry;

	(void)columns;
	if (is_header)
		return 0;
	if (!strcmp(values[7], "thread"))
		entry = values[8] ? find(reading, false, number(values[8])) : NULL;
	else
		entry = find(reading, true, number(values[0]));
	return entry ? add_frame(&entry->frames, &entry->frame_count, values) : 0;
}

static bool same_text(const char *a, const char *b)
{
	return !a || !b ? a == b : !strcmp(a, b);
}

static bool are_alike(const struct threads_entry *a, const struct threads_entry *b)
{
	if (a->frame_count != b->frame_count || strcmp(a->kind, b->kind) != 0 || strcmp(a->state, b->state) != 0)
		return false;
	for (size_t i = 0; i < a->frame_count; i++) {
		const struct threads_frame *x = &a->frames[i], *y = &b->frames[i];

		if (x->line != y->line || strcmp(x->function, y->function) != 0 || strcmp(x->file, y->file) != 0 ||
		    !same_text(x->locals, y->locals))
			return false;
	}
	return true;
}

static uint32_t hash_of(const struct threads_entry *entry)
{
	uint64_t hash = entry->frame_count;

	for (size_t i = 0; i < entry->frame_count; i++) {
		hash = hash_mix(hash, entry->frames[i].line);
		for (const char *c = entry->frames[i].function; *c; c++)
			hash = hash_mix(hash, (unsigned char)*c);
	}
	return hash_fold(hash);
}

static bool stands_there(const void *owner, uint32_t number, const void *key)
{
	return are_alike(&((const struct threads_list *)owner)->entries[number], key);
}

/* Thousands of tasks in one place are one thing to read. */
static int find_alike(struct threads_list *list)
{
	struct hash_index index = { 0 };
	int r = 0;

	for (size_t i = 0; i < list->count && r == 0; i++) {
		struct threads_entry *entry = &list->entries[i];
		uint32_t hash, found;

		entry->first = i;
		if (!strcmp(entry->kind, "thread"))
			continue;
		hash = hash_of(entry);
		found = hash_index_find(&index, hash, stands_there, list, entry);
		if (found == HASH_NONE)
			r = hash_index_add(&index, hash, (uint32_t)i);
		else
			entry->first = found;
	}
	hash_index_done(&index);
	return r;
}

int threads_read(struct store *store, struct threads_list *ret_list, char **ret_error)
{
	static const struct {
		const char *sql;
		int (*row)(int columns, char **values, bool is_header, void *data);
	} queries[] = {
		{ "SELECT id, tid, name, syscall, stop FROM threads ORDER BY id", take_thread },
		{ "SELECT id, kind, name, thread, state FROM python_threads ORDER BY id", take_python },
		{ "SELECT thread, function, file, line, module, language, NULL FROM tracebacks "
		  "JOIN frames ON frames.id = frame ORDER BY thread, depth", take_native_frame },
		{ "SELECT owner, function, file, line, '', 'python', locals, kind, thread FROM python_frames "
		  "JOIN python_threads ON python_threads.id = owner ORDER BY owner, depth", take_python_frame },
	};
	struct reading reading = { .list = ret_list };
	int r = 0;

	*ret_list = (struct threads_list){ 0 };
	*ret_error = NULL;
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]) && r == 0; i++)
		r = store_query(store, queries[i].sql, queries[i].row, &reading, ret_error);
	for (size_t i = 0; i < ret_list->count; i++) {
		struct threads_entry *entry = &ret_list->entries[i];

		if (entry->frame_count)
			continue;
		entry->frames = entry->native;		/* a thread without Python */
		entry->frame_count = entry->native_count;
		entry->native = NULL;
		entry->native_count = 0;
	}
	if (r == 0)
		r = find_alike(ret_list);
	if (r < 0)
		threads_done(ret_list);
	return r;
}

static void free_frames(struct threads_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(frames[i].function);
		free(frames[i].file);
		free(frames[i].module);
		free(frames[i].language);
		free(frames[i].locals);
	}
	free(frames);
}

void threads_done(struct threads_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct threads_entry *entry = &list->entries[i];

		free_frames(entry->frames, entry->frame_count);
		free_frames(entry->native, entry->native_count);
		free(entry->kind);
		free(entry->name);
		free(entry->state);
	}
	free(list->entries);
	*list = (struct threads_list){ 0 };
}
