/* SPDX-License-Identifier: Apache-2.0
 * L1  load.c - snapshot files named on the command line, as a series. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/load.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/task.h"

#define WORTH_A_THREAD 100000u		/* nodes */
#define NODES_SHARE 10u
#define EDGES_SHARE 9u
#define FLOOD_SHARE 8u
#define OUT_OF_ORDER (-1)		/* beside the exit statuses */
#define LEAVE_SHARE 20u			/* the first heap's tree */

int load_trouble(int error)
{
	switch (-error) {
	case ENOMEM:
		return cmd_trouble("there is not enough memory to analyse this");
	case EBADMSG:
		return cmd_trouble("the snapshot file is damaged: `leakdiff check` says where");
	case EOVERFLOW:
		return cmd_trouble("the snapshot has more blocks or references than can be numbered (about 4 billion)");
	}
	return cmd_trouble("%s", strerror(-error));
}

/* Say what is wrong with a file; returns CMD_TROUBLE. */
static int file_trouble(int error, char *sentence)
{
	if (sentence)
		cmd_trouble("%s", sentence);
	else
		load_trouble(error);
	free(sentence);
	return CMD_TROUBLE;
}

/* Work on one heap beside loading another, or another part of it. */
struct beside {
	struct task task;
	struct loaded *loaded;
	size_t index;
	bool runs;
};

struct loading {
	const struct load_plan *plan;
	struct loaded *loaded;
	bool ordered;			/* by load_files()'s caller, who has looked at their times */
	struct beside adding, flooding, leaving;
};

static int add(void *data)
{
	const struct beside *beside = data;

	return series_add(beside->loaded->series, beside->loaded->heaps[beside->index]);
}

static int flood(void *data)
{
	const struct beside *beside = data;

	return series_flood(beside->loaded->series, beside->index);
}

static int leave(void *data)
{
	const struct beside *beside = data;
	int r = series_leave(beside->loaded->series, beside->index);

	heap_drop(beside->loaded->heaps[beside->index], HEAP_PART_EDGES);
	return r;
}

static void begin(struct beside *beside, int (*run)(void *data), struct loaded *loaded, size_t index)
{
	beside->loaded = loaded;
	beside->index = index;
	beside->runs = true;
	task_start(&beside->task, run, beside, loaded->heaps[index]->nodes >= WORTH_A_THREAD);
}

static int end(struct beside *beside)
{
	bool runs = beside->runs;

	beside->runs = false;
	return runs ? task_finish(&beside->task) : 0;
}

static int load_nodes(const char *path, struct heap **ret_heap, char **ret_error)
{
	struct store *store = NULL;
	int r = snapshot_file_open(path, &store, ret_error);

	if (r == 0)
		r = store_load_nodes(store, ret_heap, ret_error);
	store_free(store);
	return r;
}

/* Was this heap taken before the one that stands before it? Two of different processes may be meant so: one
 * version against another. */
static bool is_out_of_order(const struct loaded *loaded, size_t index, size_t count)
{
	const struct heap *a = index ? loaded->heaps[index - 1] : NULL, *b = loaded->heaps[index];

	return a && a->meta.taken_ns > 0 && b->meta.taken_ns > 0 && b->meta.taken_ns < a->meta.taken_ns &&
	       (count > 2 || series_is_same_process(a, b));
}

struct taken_at { char *path; int64_t ns; size_t place; };

static int compare_times(const void *a, const void *b)
{
	const struct taken_at *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* Put the names in the order in which the files were taken. Only what a file says about itself is read. */
static int order_by_time(char **paths, size_t count)
{
	struct taken_at *list = calloc(count, sizeof(*list));
	int r = list ? 0 : load_trouble(-ENOMEM);

	for (size_t k = 0; k < count && r == 0; k++) {
		struct store *store = NULL;
		struct heap *facts = NULL;
		char *error = NULL;

		r = snapshot_file_open(paths[k], &store, &error);
		if (r == 0)
			r = store_load_facts(store, &facts, &error);
		store_free(store);
		if (r < 0)
			r = file_trouble(r, error);
		else
			list[k] = (struct taken_at){ paths[k], facts->meta.taken_ns, k };
		heap_free(facts);
	}
	if (r == 0) {
		qsort(list, count, sizeof(*list), compare_times);
		for (size_t k = 0; k < count; k++)
			paths[k] = list[k].path;
	}
	free(list);
	return r;
}

/* What nobody asks of the heaps so far, once the last of them is matched with the others. */
static void drop_matched(struct loading *l)
{
	struct loaded *loaded = l->loaded;

	for (size_t k = 0; k < loaded->count; k++) {
		if (k + 1 < loaded->count)
			heap_drop(loaded->heaps[k], HEAP_PART_IDENTITY);
		if (!l->plan->threads)
			heap_drop(loaded->heaps[k], HEAP_PART_THREAD);
	}
	if (!l->plan->paths)
		series_forget_paths(loaded->series);
}

/* Load one file and make it the next of the series. Of all but the last only what the comparison asks for
 * stays in memory: two large heaps with all their columns at once would be twice as much. What the heap before
 * is flooded for goes on while the nodes of this one are read, the tree of the first one from then on. */
static int load_one(struct loading *l, const char *path, size_t index, size_t count)
{
	struct loaded *loaded = l->loaded;
	struct heap **heap = &loaded->heaps[index];
	const char *slash = strrchr(path, '/');
	bool last = index + 1 == count;
	char *error = NULL;
	int r, done;

	cmd_bar_step(slash ? slash + 1 : path, NODES_SHARE + (index ? FLOOD_SHARE : 0));
	r = load_nodes(path, heap, &error);
	done = end(&l->flooding);
	if (r < 0)
		return file_trouble(r, error);
	loaded->count++;
	if (!l->ordered && is_out_of_order(loaded, index, count))
		return OUT_OF_ORDER;
	if (index && done == 0)
		done = end(&l->leaving);	/* of the first of more than two */
	if (index && done == 0) {
		begin(&l->leaving, leave, loaded, index - 1);
		if (index > 1)
			done = end(&l->leaving);	/* there is nothing to be done but to drop it */
	}
	begin(&l->adding, add, loaded, index);
	if (last && done == 0) {
		done = end(&l->adding);
		if (done == 0)
			drop_matched(l);
	}
	if (done < 0)
		return load_trouble(done);
	cmd_bar_step(NULL, EDGES_SHARE);
	r = store_load_edges(*heap, &error);
	done = end(&l->adding);
	if (r < 0)
		return file_trouble(r, error);
	if (done < 0)
		return load_trouble(done);
	cmd_bar_step(NULL, last ? FLOOD_SHARE : 0);
	begin(&l->flooding, flood, loaded, index);
	done = last ? end(&l->flooding) : 0;
	return done < 0 ? load_trouble(done) : 0;
}

static int load_files(char **paths, size_t count, const struct load_plan *plan, bool ordered, struct loaded *ret_loaded)
{
	struct loaded loaded = { 0 };
	struct loading l = { .plan = plan, .loaded = &loaded, .ordered = ordered };
	struct beside *tasks[] = { &l.adding, &l.flooding, &l.leaving };
	int r;

	loaded.heaps = calloc(count + 1, sizeof(*loaded.heaps));
	if (!loaded.heaps)
		return load_trouble(-ENOMEM);
	cmd_bar_expect((unsigned)count * (NODES_SHARE + EDGES_SHARE + FLOOD_SHARE) + (count > 1 ? LEAVE_SHARE : 0));
	r = series_new(count, &loaded.series);
	if (r < 0)
		r = load_trouble(r);
	else
		loaded.series->step = cmd_bar_step;
	for (size_t k = 0; k < count && r == 0; k++)
		r = load_one(&l, paths[k], k, count);
	if (r == 0 && count > 1)
		cmd_bar_step(NULL, LEAVE_SHARE);
	for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {	/* also after trouble */
		int done = end(tasks[i]);

		if (r == 0 && done < 0)
			r = load_trouble(done);
	}
	if (r != 0) {
		loaded_done(&loaded);
		return r;
	}
	loaded.series->reordered = ordered;
	cmd_bar_step(NULL, 0);		/* of commands that do no more long work the bar ends here */
	*ret_loaded = loaded;
	return 0;
}

/* Files that are given in the order of time, as nearly all are, need no look at their times before. */
int load_series_for(char **paths, size_t count, const struct load_plan *plan, struct loaded *ret_loaded)
{
	int r = load_files(paths, count, plan, false, ret_loaded);

	if (r != OUT_OF_ORDER)
		return r;
	r = order_by_time(paths, count);
	return r ? r : load_files(paths, count, plan, true, ret_loaded);
}

int load_series(char **paths, size_t count, struct loaded *ret_loaded)
{
	return load_series_for(paths, count, &(struct load_plan){ .threads = true, .paths = true }, ret_loaded);
}

void loaded_done(struct loaded *loaded)
{
	series_free(loaded->series);
	for (size_t k = 0; k < loaded->count; k++)
		heap_free(loaded->heaps[k]);
	free(loaded->heaps);
	*loaded = (struct loaded){ 0 };
}
