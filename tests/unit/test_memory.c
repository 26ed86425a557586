/* SPDX-License-Identifier: Apache-2.0
 * test_memory.c - allocations of ingest, open, load, query and check fail, one a run: each time a
 * clean refusal, nothing left behind, nothing lost.
 *
 * Most of the thousands of allocations are SQLite's, parsing the same kind of statement again, so
 * from the 200th on only some are made to fail; LEAKDIFF_TEST_LONG=1 takes every one.
 *
 * This program defines malloc itself and counts, so that SQLite's and zstd's allocations fail as well. */
#include <stdio.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "test.h"

#include <errno.h>

#include "core/heap.h"
#include "core/ingest.h"
#include "core/store.h"
#include "unit/stream_builder.h"
#include "unit/stream_file.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static uint64_t allocations, fail_at;	/* fail_at 0 = never */

static bool fails(void)
{
	return fail_at && ++allocations == fail_at;
}

void *malloc(size_t size)
{
	return fails() ? (errno = ENOMEM, NULL) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? (errno = ENOMEM, NULL) : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return fails() ? (errno = ENOMEM, NULL) : __libc_realloc(block, size);
}

void *reallocarray(void *block, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(block, bytes);
}

static uint64_t next_failure(uint64_t n)
{
	return n + 1 + (getenv("LEAKDIFF_TEST_LONG") ? 0 : n / 200);
}

/* No modules: libdw ends the process when it is out of memory, which is not ours to test. */
static uint8_t *make_stream(size_t *ret_size)
{
	struct builder b = { 0 };
	uint32_t name = builder_string(&b, "name"), type, stack, thread;

	builder_meta(&b, "pid", "42");
	thread = builder_string(&b, "worker");
	type = builder_string(&b, "N3app7SessionE");
	builder_add(&b, STREAM_TYPES, (struct stream_type_name){ .name = type, .source = STREAM_TYPE_RTTI });
	builder_add(&b, STREAM_THREADS, (struct stream_thread){ .tid = 9, .name = thread, .stop = STREAM_STOP_PTRACE });
	builder_add(&b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = 0x77, .cfa = 0x200 });
	stack = builder_stack(&b, 0x1234, builder_stack(&b, 0x99, 0, 0), 0);
	for (uint32_t i = 0; i < 50; i++)
		builder_node(&b, &(struct stream_node){ .addr = 0x1000 + 64 * i, .bytes = i, .birth = i,
			.stack = i % (stack + 1), .type = i % 5 ? STREAM_NONE : 0, .kind = 1 + i % 7, .weight = 1 + i % 2,
			.extra = i % 3 });
	builder_root(&b, &(struct stream_root){ .start = 0x100, .end = 0x300, .kind = STREAM_ROOT_STACK, .module = STREAM_NONE });
	builder_root(&b, &(struct stream_root){ .start = 0x5000, .end = 0x6000, .kind = STREAM_ROOT_MAPPING,
		.module = STREAM_NONE, .thread = STREAM_NONE });
	for (uint32_t i = 0; i < 50; i++)
		builder_edge(&b, false, i, i % 3 ? STREAM_LABEL_OFFSET : STREAM_LABEL_ATTR, i % 3 ? 8 : name, (i * 7) % 50, i % 2);
	builder_edge(&b, true, 0, STREAM_LABEL_OFFSET, 0x110, 0, 0);
	builder_edge(&b, true, 1, STREAM_LABEL_OFFSET, 0x5010, 1, 0);
	return builder_finish(&b, ret_size);
}

static void ignore_line(const char *line, void *data)
{
	(void)line, (void)data;
}

static int ignore_row(int columns, char **values, bool is_header, void *data)
{
	(void)columns, (void)values, (void)is_header, (void)data;
	return 0;
}

static int ignore_reference(const struct heap_reference *ref, void *data)
{
	(void)ref, (void)data;
	return 0;
}

TEST(ingest_survives_failing_allocations)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1, .capture_meta = "a=b\nc=d\n" };
	struct ingest_result result;
	size_t size;
	uint8_t *stream = make_stream(&size);
	uint64_t n;
	int fd = file_of(stream, size), r = -1, files;
	char path[256];

	strcpy(path, in_folder("memory.snap"));
	files = files_in_folder();
	for (n = 1; r < 0 && n < 20000 && !test_failures; n = next_failure(n)) {
		char *error = NULL;

		lseek(fd, 0, SEEK_SET);
		allocations = 0;
		fail_at = n;
		r = ingest_run(fd, path, &options, &result, &error);
		fail_at = 0;
		if (r < 0) {
			EXPECT_INT_EQ(r, -ENOMEM);
			EXPECT_INT_EQ(files_in_folder(), files);
		} else if (allocations >= n) {
			r = -1;		/* some failures are survived (a cache, a scan for stale files) */
			unlink(path);
		}
		free(error);
	}
	EXPECT_INT_EQ(r, 0);
	EXPECT(n > 100);
	close(fd);
	free(stream);
}

TEST(reading_survives_failing_allocations)
{
	static const char *const queries[] = {
		"SELECT type, sum(size) FROM nodes GROUP BY 1", "SELECT label FROM edges WHERE dst = 7",
		"SELECT * FROM v_sites",
	};
	bool whole = false;
	uint64_t n;

	for (n = 1; !whole && n < 20000 && !test_failures; n = next_failure(n)) {
		struct store *store = NULL;
		struct heap *heap = NULL;
		char *error = NULL;
		int r;

		allocations = 0;
		fail_at = n;
		r = store_open(in_folder("memory.snap"), &store, &error);
		if (r == 0) {
			free(error);
			error = NULL;
			r = store_load(store, &heap, &error);
			for (uint32_t i = 0; r == 0 && i < heap->nodes + heap->roots; i++)
				r = heap_references(heap, i, ignore_reference, NULL);
			for (size_t q = 0; q < sizeof(queries) / sizeof(*queries) && r == 0; q++) {
				free(error);
				error = NULL;
				r = store_query(store, queries[q], ignore_row, NULL, &error);
			}
			if (r == 0)
				r = store_check(store, ignore_line, NULL);
		}
		whole = r == 0 && allocations < n;
		fail_at = 0;
		if (r < 0 && r != -ENOMEM && r != -EINVAL && r != -EBADMSG) {
			fprintf(stderr, "allocation %" PRIu64 ": %d %s\n", n, r, error ? error : "");
			test_failures++;
		}
		heap_free(heap);
		store_free(store);
		free(error);
	}
	EXPECT(whole);
	EXPECT(n > 100);
}

TEST_MAIN()

#else
int main(void)
{
	puts("a sanitizer has its own malloc: run without one");
	return 0;
}
#endif
