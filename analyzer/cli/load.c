/* SPDX-License-Identifier: Apache-2.0
 * L1  load.c - snapshot files named on the command line, as a series. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/load.h"
#include "core/store.h"

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

/* Load one file and make it the next of the series. Of all but the last only what the comparison asks for
 * stays in memory: two large heaps with all their columns at once would be twice as much. */
static int load_one(const char *path, struct loaded *loaded, size_t index, size_t count)
{
	struct store *store = NULL;
	struct heap **heap = &loaded->heaps[index];
	char *error = NULL;
	int r = store_open(path, &store, &error);

	if (r == 0)
		r = store_load_nodes(store, heap, &error);
	store_free(store);
	if (r < 0)
		return file_trouble(r, error);
	loaded->count++;
	r = series_add(loaded->series, *heap);
	if (r < 0)
		return load_trouble(r);
	for (size_t k = 0; k < index && index + 1 == count; k++)
		heap_drop(loaded->heaps[k], HEAP_PART_IDENTITY);
	r = store_load_edges(*heap, &error);
	if (r < 0)
		return file_trouble(r, error);
	r = series_flood(loaded->series, index);
	if (r == 0 && index + 1 < count) {
		r = series_leave(loaded->series, index);
		heap_drop(*heap, HEAP_PART_EDGES);
	}
	return r < 0 ? load_trouble(r) : 0;
}

int load_series(char **paths, size_t count, struct loaded *ret_loaded)
{
	struct loaded loaded = { 0 };
	int r;

	loaded.heaps = calloc(count + 1, sizeof(*loaded.heaps));
	if (!loaded.heaps)
		return load_trouble(-ENOMEM);
	r = series_new(count, &loaded.series);
	if (r < 0)
		r = load_trouble(r);
	for (size_t k = 0; k < count && r == 0; k++) {
		cmd_progress("loading", k, count);
		r = load_one(paths[k], &loaded, k, count);
	}
	cmd_progress(NULL, 0, 0);
	if (r != 0) {
		loaded_done(&loaded);
		return r;
	}
	*ret_loaded = loaded;
	return 0;
}

void loaded_done(struct loaded *loaded)
{
	series_free(loaded->series);
	for (size_t k = 0; k < loaded->count; k++)
		heap_free(loaded->heaps[k]);
	free(loaded->heaps);
	*loaded = (struct loaded){ 0 };
}
