/* SPDX-License-Identifier: Apache-2.0
 * fuzz_stream.c - capture streams from a hostile service: ingest must refuse or make a whole snapshot.
 *
 * A mutated stream hardly ever passes its checksums, so they are made right first; what is left to
 * the fuzzer is everything behind them. Accepted streams are ingested, loaded and checked. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../preload/stream.h"
#include "core/crc32c.h"
#include "core/heap.h"
#include "core/ingest.h"
#include "core/store.h"
#include "core/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_damage(const char *line, void *data)
{
	(void)data;
	if (!strncmp(line, "damaged", 7))
		fprintf(stderr, "%s\n", line);
}

/* Give every chunk that is there the checksum of its payload. */
static void repair(uint8_t *bytes, size_t size)
{
	size_t at = sizeof(struct stream_header);

	while (at + sizeof(struct stream_chunk) <= size) {
		struct stream_chunk chunk;

		memcpy(&chunk, bytes + at, sizeof(chunk));
		at += sizeof(chunk);
		if (chunk.payload_bytes > size - at)
			break;
		chunk.crc32c = crc32c(0, bytes + at, chunk.payload_bytes);
		memcpy(bytes + at - sizeof(chunk), &chunk, sizeof(chunk));
		at += chunk.payload_bytes;
	}
}

/* What was accepted must be a snapshot that loads and is whole. */
static void read_back(const char *path)
{
	struct store *store = NULL;
	struct heap *heap = NULL;
	char *error = NULL;

	if (store_open(path, &store, &error) < 0 || store_load(store, &heap, &error) < 0 ||
	    store_check(store, print_damage, NULL) < 0) {
		fprintf(stderr, "ingest made a snapshot that is refused: %s\n", error ? error : "check");
		abort();
	}
	heap_free(heap);
	store_free(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	struct stream *stream = NULL;
	char *error = NULL;
	uint8_t *bytes = malloc(size + 1);
	int fd = memfd_create("stream", MFD_CLOEXEC);

	if (!*path)
		snprintf(path, sizeof(path), "/dev/shm/fuzz-stream-%d.snap", (int)getpid());
	memcpy(bytes, data, size);
	repair(bytes, size);
	if (write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	/* most inputs end here, which is a hundred times faster than making a database for each */
	if (stream_read(fd, NULL, NULL, &stream, &error) < 0) {
		if (!error || !*error)
			abort();
	} else {
		bool may_refuse = stream->profile;	/* text with a reader of its own */

		stream_free(stream);
		lseek(fd, 0, SEEK_SET);
		if (ingest_run(fd, path, &options, &result, &error) >= 0) {
			read_back(path);
			unlink(path);
		} else if (!may_refuse || !error) {
			fprintf(stderr, "a stream that was read is refused: %s\n", error ? error : "");
			abort();
		}
	}
	free(error);
	free(bytes);
	close(fd);
	return 0;
}
