/* SPDX-License-Identifier: Apache-2.0
 * fuzz_store.c - snapshot files from a hostile hand: opening, loading, checking and querying must
 * refuse or work, never crash. The page checksums are made right first, as a forger would. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/heap.h"
#include "core/store.h"
#include "core/store_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore_line(const char *line, void *data)
{
	(void)line, (void)data;
}

static int ignore_row(int columns, char **values, bool is_header, void *data)
{
	uint64_t *rows = data;

	(void)columns, (void)values, (void)is_header;
	return ++*rows > 1000;
}

static int ignore_reference(const struct heap_reference *ref, void *data)
{
	(void)ref, (void)data;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const queries[] = {
		"SELECT count(*), sum(size), max(type) FROM nodes", "SELECT count(*), max(label) FROM edges",
		"SELECT * FROM edges WHERE dst = 1", "SELECT * FROM nodes WHERE addr = 4096",
	};
	static char path[64];
	struct store *store = NULL;
	struct heap *heap = NULL;
	char *error = NULL;
	uint64_t rows = 0;
	int fd;

	if (!*path)
		snprintf(path, sizeof(path), "/dev/shm/fuzz-store-%d.snap", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)!store_seal(fd, 4096);
	close(fd);
	if (store_open(path, &store, &error) == 0) {
		if (store_load(store, &heap, &error) == 0) {
			for (uint32_t i = 0; i < heap->nodes + heap->roots; i++)
				if (heap_references(heap, i, ignore_reference, NULL) < 0)
					break;
			heap_free(heap);
		}
		free(error);
		error = NULL;
		(void)!store_check(store, ignore_line, NULL);
		for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
			(void)!store_query(store, queries[i], ignore_row, &rows, &error);
			free(error);
			error = NULL;
		}
	}
	free(error);
	store_free(store);
	unlink(path);
	return 0;
}
