/* SPDX-License-Identifier: Apache-2.0
 * make_seeds.c - writes the seeds of the fuzz targets: DIR/stream/..., DIR/store/..., DIR/profile/..., DIR/ring/...
 *
 *   make_seeds DIR
 *
 * Small streams that together have every chunk type, label, root kind and node kind; and the snapshot
 * of each. Made when needed, so no binaries lie in the repository. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/stream_builder.h"
#include "core/ingest.h"
#include "../../preload/ring_file.h"

static const char *folder;

static void save(const char *kind, const char *name, struct builder *b)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char path[2][512], *error = NULL;
	size_t size;
	uint8_t *bytes = builder_finish(b, &size);
	int fd;

	snprintf(path[0], sizeof(path[0]), "%s/stream/%s", folder, name);
	snprintf(path[1], sizeof(path[1]), "%s/store/%s", folder, name);
	fd = open(path[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0) {
		perror(path[0]);
		exit(2);
	}
	if (ingest_run(fd, path[1], &options, &result, &error) < 0) {
		fprintf(stderr, "%s %s: %s\n", kind, name, error);
		exit(2);
	}
	close(fd);
	free(bytes);
}

/* One of everything. */
static void everything(struct builder *b)
{
	uint32_t path, name, type, python, thread, stack;

	builder_meta(b, "pid", "42");
	builder_meta(b, "taken_realtime_ns", "1700000000000000000");
	path = builder_string(b, "/bin/true");
	name = builder_string(b, "N3app7SessionE");
	python = builder_string(b, "module.Class");
	thread = builder_string(b, "worker");
	builder_add(b, STREAM_MODULES, (struct stream_module){ .base = 0x1000, .start = 0x1000, .end = 0x9000,
		.last_birth = UINT64_MAX, .path = path, .tls_offset = -64, .tls_bytes = 32 });
	builder_add(b, STREAM_MODULES, (struct stream_module){ .base = 0x20000, .start = 0x20000, .end = 0x29000,
		.last_birth = 9, .path = path, .generation = 1, .flags = STREAM_MODULE_SELF, .tls_offset = INT64_MIN });
	builder_add(b, STREAM_SEGMENTS, (struct stream_segment){ 0x1000, 0x2000, 0, 5 });
	for (uint16_t kind = STREAM_MAP_FILE; kind <= STREAM_MAP_KERNEL; kind++)
		builder_add(b, STREAM_MAPS, (struct stream_map){ .start = 0x1000ull * kind, .end = 0x1000ull * kind + 0x800,
			.rss_bytes = 0x400, .live_resident_bytes = 64, .kind = kind, .name = path, .module = 0 });
	builder_add(b, STREAM_THREADS, (struct stream_thread){ .tid = 9, .name = thread, .thread_pointer = 0x70000,
		.stop = STREAM_STOP_NONE });
	builder_add(b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = 0x1234, .cfa = 0x200 });
	builder_add(b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = 0x99, .cfa = 0x300, .depth = 1 });
	builder_add(b, STREAM_PYFRAMES, (struct stream_pyframe){ .function = python, .file = path, .line = 12 });
	builder_add(b, STREAM_PYTHREADS, (struct stream_pythread){ .kind = STREAM_PYTHREAD_THREAD, .name = thread });
	builder_add(b, STREAM_PYTHREADS, (struct stream_pythread){ .object = 0x10180, .kind = STREAM_PYTHREAD_TASK,
		.thread = STREAM_NONE, .name = python, .state = path });
	for (uint32_t i = 0; i < 4; i++)
		builder_add(b, STREAM_PYTRACES, (struct stream_pytrace){ .owner = i / 2, .function = python, .file = path,
			.locals = thread, .line = i });
	builder_add(b, STREAM_CLOCK, (struct stream_clock){ 0, 1, 1 });
	builder_add(b, STREAM_CLOCK, (struct stream_clock){ 100, 1000000000, 1000000000 });
	type = builder_add(b, STREAM_TYPES, (struct stream_type_name){ .name = name, .source = STREAM_TYPE_RTTI });
	builder_add(b, STREAM_TYPES, (struct stream_type_name){ .name = python, .source = STREAM_TYPE_PYTHON });
	stack = builder_stack(b, 0x1234, 0, STREAM_STACK_TRUNCATED);
	stack = builder_stack(b, 0x20100, stack, 0);
	stack = builder_stack(b, 0, stack, STREAM_STACK_PYTHON);
	for (uint16_t kind = STREAM_NODE_MALLOC; kind <= STREAM_NODE_PYTHON; kind++)
		builder_node(b, &(struct stream_node){ .addr = 0x10000 + 64u * kind, .bytes = kind * 8u, .birth = kind * 3u,
			.stack = kind % (stack + 1), .type = kind > 5 ? type + kind % 2 : STREAM_NONE, .thread = 9,
			.kind = kind | (kind == 6 ? STREAM_NODE_FOLDED : 0), .extra = kind == 7, .weight = kind });
	for (uint32_t kind = STREAM_ROOT_GLOBAL; kind <= STREAM_ROOT_PY_C; kind++)
		builder_root(b, &(struct stream_root){ .start = kind == 3 ? 0x70000 - 64 : 0x1000, .end = 0x80000,
			.kind = kind, .name = python });
	for (uint32_t label = 0; label < STREAM_LABELS; label++)
		builder_edge(b, false, label / 2, label, label % 3 ? name : path, label % 7, label % 4 ? 0 : 3);
	for (uint32_t root = 0; root < 8; root++) {
		builder_edge(b, true, root, STREAM_LABEL_OFFSET, root == 2 ? 0x70000 - 60 : 0x1100 + root, root % 7, 0);
		builder_edge(b, true, root, STREAM_LABEL_OFFSET, 0x210, (root + 1) % 7, 5);
	}
	builder_add(b, STREAM_PYCACHES, (struct stream_pycache){ .node = 6, .entries = 3, .maxsize = 128, .misses = 3 });
	builder_add(b, STREAM_PYCACHES, (struct stream_pycache){ .node = 2, .entries = 5, .maxsize = INT64_MIN,
		.hits = UINT64_MAX, .misses = UINT64_MAX });
	builder_add(b, STREAM_ARENAS, (struct stream_arena){ .kind = STREAM_ARENA_GLIBC, .read = 1, .resident_bytes = 0x500,
		.free_bytes = 64, .free_count = 1, .classes[6] = { .free_count = 1, .free_bytes = 64 } });
	builder_add(b, STREAM_ARENAS, (struct stream_arena){ .kind = STREAM_ARENA_JEMALLOC, .number = 3, .dirty_bytes = UINT64_MAX,
		.why = thread });
	b->end.lost_events = 1;
	b->end.notes = thread;
}

#define MAPS "\nMAPPED_LIBRARIES:\n10000-20000 r-xp 00001000 fe:00 42   /nowhere/service\n" \
	     "30000-40000 rw-p 00000000 00:00 0 \n"
#define JEMALLOC "heap_v2/4096\n  t*: 13: 13000 [0: 0]\n  t0: 13: 13000 [0: 0]\n@ 0x1234 0x20100\n" \
		 "  t*: 10: 10240 [0: 0]\n  t0: 10: 10240 [0: 0]\n@ 0x10300 0x4c446b5400000002\n  t*: 3: 9 [1: 2]\n" MAPS
#define GPERFTOOLS "heap profile:      3:      96 [     5:      160] @ heapprofile\n" \
		   "     2:      64 [     2:       64] @ 0x10100 0x10200\n     1:      32 [     3:       96] @ 0x1\n" MAPS
#define TCMALLOC "heap profile: 1: 100 [1: 100] @ heap_v2/8192\n1: 100 [1: 100] @ 0x10100\n" MAPS

static void save_text(const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/profile/%s", folder, name);
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file)) {
		perror(path);
		exit(2);
	}
}

/* Two rings of 16 slots, the first of which has gone round, and one that was never used. */
static void save_rings(void)
{
	struct ring_file file = { .magic = RING_MAGIC, .version = RING_VERSION, .header_bytes = RING_PAGE, .pid = 42,
		.ring_count = 3, .ring_bytes = RING_PAGE + 16 * sizeof(struct event), .ring_header_bytes = RING_PAGE,
		.event_count = 16, .event_bytes = sizeof(struct event), .start_clock = 5, .clock_is_time = 1 };
	size_t size = RING_PAGE + 3 * (size_t)file.ring_bytes;
	char *bytes = calloc(1, size), path[512];
	FILE *out;

	snprintf(path, sizeof(path), "%s/ring/rings", folder);
	out = fopen(path, "w");
	if (!bytes || !out)
		exit(2);
	memcpy(bytes, &file, sizeof(file));
	for (uint32_t i = 0; i < 2; i++) {
		struct ring_file_ring ring = { .events_at = RING_PAGE, .event_mask = 15, .index = i, .head = i ? 7 : 40,
			.tail = i ? 2 : 30 };
		char *at = bytes + RING_PAGE + (size_t)i * file.ring_bytes;

		memcpy(at, &ring, sizeof(ring));
		for (uint32_t n = 0; n < ring.head; n++) {
			struct event e = { .clock = 10 + 2 * n + i, .addr = 0x1000 + 16 * n, .bytes = n, .stack = n,
				.kind = n % 2 ? EVENT_FREE + n % 8 : 1 + n % 7, .tid = 42 + i };

			memcpy(at + RING_PAGE + n % 16 * sizeof(e), &e, sizeof(e));
		}
	}
	if (fwrite(bytes, 1, size, out) != size || fclose(out))
		exit(2);
	free(bytes);
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = { "stream", "store", "profile", "ring" };
	struct builder b = { 0 };
	char path[512];

	if (argc != 2) {
		fprintf(stderr, "usage: make_seeds DIR\n");
		return 64;
	}
	folder = argv[1];
	mkdir(folder, 0755);
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, kinds[i]);
		mkdir(path, 0755);
	}
	save("seed", "empty", &b);
	builder_block(&b, 0x1000, 16, 1, 0);
	save("seed", "one", &b);
	everything(&b);
	save("seed", "everything", &b);
	b.chunk_max = 256;
	everything(&b);
	save("seed", "small-chunks", &b);
	for (uint32_t i = 0; i < 200; i++)
		builder_block(&b, 0x1000 + 48ull * i, 16 + i % 5, i * 7, builder_stack(&b, 0x1000 + i, i % 9 < i ? i % 9 : 0, 0));
	for (uint32_t i = 0; i < 200; i++)
		builder_edge(&b, false, i, STREAM_LABEL_OFFSET, 8, (i * 7) % 200, 0);
	save("seed", "blocks", &b);
	builder_stack(&b, 0x1234, 0, 0);
	builder_stack(&b, 0x20100, 1, 0);
	builder_append(&b.sections[STREAM_PROFILE], JEMALLOC, sizeof(JEMALLOC) - 1);
	save("seed", "profile", &b);
	save_text("jemalloc", JEMALLOC);
	save_text("gperftools", GPERFTOOLS);
	save_text("tcmalloc", TCMALLOC);
	save_rings();
	return 0;
}
