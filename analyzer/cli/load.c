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

static int load_one(const char *path, struct heap **ret_heap)
{
	struct store *store = NULL;
	char *error = NULL;
	int r = store_open(path, &store, &error);

	if (r == 0)
		r = store_load(store, ret_heap, &error);
	store_free(store);
	if (r < 0) {
		if (error)
			cmd_trouble("%s", error);
		else
			load_trouble(r);
		free(error);
		return CMD_TROUBLE;
	}
	return 0;
}

int load_series(char **paths, size_t count, struct loaded *ret_loaded)
{
	struct loaded loaded = { 0 };
	int r = 0;

	loaded.heaps = calloc(count + 1, sizeof(*loaded.heaps));
	if (!loaded.heaps)
		return load_trouble(-ENOMEM);
	for (size_t k = 0; k < count && r == 0; k++) {
		cmd_progress("loading", k, count);
		r = load_one(paths[k], &loaded.heaps[k]);
		loaded.count += r == 0;
	}
	cmd_progress(NULL, 0, 0);
	if (r == 0) {
		r = series_make((const struct heap *const *)loaded.heaps, loaded.count, &loaded.series);
		if (r < 0)
			r = load_trouble(r);
	}
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
