/* SPDX-License-Identifier: Apache-2.0
 * test_ingest.c - capture stream to snapshot file to heap: names, stacks, roots, references, account. */
#include "test.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/heap.h"
#include "core/ingest.h"
#include "core/store.h"
#include "core/text.h"
#include "unit/stream_builder.h"
#include "unit/stream_file.h"

/* This program is its own specimen: a global, a static, a thread-local, and functions with lines. */
struct pair { void *a, *b; };
struct pair test_global_cache[4];
static void *test_hidden_list[3] __attribute__((used));
__thread long test_thread_slot[2] = { 1, 2 };

__attribute__((noinline)) static int allocate_here(int n)
{
	__asm__ volatile("" ::: "memory");
	return n + 1;
}

static struct {
	uint64_t base, start, end, tls_bytes;
	uint8_t build_id[32];
	uint32_t build_id_bytes;
	char path[512];
} self;

static int look_at_self(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	if (*info->dlpi_name)
		return 0;
	self.base = info->dlpi_addr;
	self.start = UINT64_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD) {
			self.start = at < self.start ? at : self.start;
			self.end = at + p->p_memsz > self.end ? at + p->p_memsz : self.end;
		} else if (p->p_type == PT_TLS) {
			self.tls_bytes = p->p_memsz;
		} else if (p->p_type == PT_NOTE) {
			for (uint64_t n = at; n + sizeof(ElfW(Nhdr)) <= at + p->p_memsz;) {
				const ElfW(Nhdr) *note = (const void *)n;

				if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= sizeof(self.build_id)) {
					self.build_id_bytes = note->n_descsz;
					memcpy(self.build_id, (const char *)(note + 1) + 4, note->n_descsz);
				}
				n += sizeof(*note) + (note->n_namesz + 3) / 4 * 4 + (note->n_descsz + 3) / 4 * 4;
			}
		}
	}
	return 1;
}

static uint32_t add_self(struct builder *b, uint32_t generation, uint64_t shift)
{
	struct stream_module module = {
		.last_birth = UINT64_MAX, .tls_offset = INT64_MIN, .generation = generation, .flags = STREAM_MODULE_EXE };

	if (!self.end) {
		dl_iterate_phdr(look_at_self, NULL);
		self.path[readlink("/proc/self/exe", self.path, sizeof(self.path) - 1)] = 0;
	}
	module.base = self.base + shift;
	module.start = self.start + shift;
	module.end = self.end + shift;
	module.path = builder_string(b, self.path);
	module.build_id_bytes = self.build_id_bytes;
	memcpy(module.build_id, self.build_id, sizeof(module.build_id));
	return builder_add(b, STREAM_MODULES, module);
}

/* Ingest what was built into a file of the test folder. Returns the result of ingest_run(). */
static int ingest_built(struct builder *b, const char *name, struct ingest_result *ret_result, char **ret_error)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	size_t size;
	uint8_t *bytes = builder_finish(b, &size);
	int fd = file_of(bytes, size);
	int r = ingest_run(fd, in_folder(name), &options, ret_result ? ret_result : &result, ret_error);

	close(fd);
	free(bytes);
	return r;
}

/* Ingest and load; prints the sentence when something fails. */
static struct heap *heap_of(struct builder *b, const char *name)
{
	struct store *store = NULL;
	struct heap *heap = NULL;
	char *error = NULL;

	if (ingest_built(b, name, NULL, &error) < 0 || store_open(in_folder(name), &store, &error) < 0 ||
	    store_load(store, &heap, &error) < 0) {
		fprintf(stderr, "%s: %s\n", name, error ? error : "no memory");
		free(error);
	}
	store_free(store);		/* the heap lives on */
	return heap;
}

static const struct heap_root *root_named(const struct heap *heap, const char *name)
{
	for (uint32_t i = 0; i < heap->roots; i++)
		if (!strcmp(heap->root[i].name, name))
			return &heap->root[i];
	return NULL;
}

TEST(nodes_keep_every_column)
{
	struct builder b = { 0 };
	struct heap *heap;

	builder_node(&b, &(struct stream_node){ .addr = 0x1000, .bytes = 8192, .birth = 3, .type = STREAM_NONE,
						.kind = STREAM_NODE_MAPPING | STREAM_NODE_FOLDED, .weight = 1 });
	builder_node(&b, &(struct stream_node){ .addr = 0x1000, .bytes = 0, .birth = UINT64_MAX, .type = STREAM_NONE,
						.thread = 77, .kind = STREAM_NODE_PYTHON, .weight = 1, .extra = 9 });
	builder_node(&b, &(struct stream_node){ .addr = 0x7fffffffffffff00, .bytes = 64, .birth = 0, .type = STREAM_NONE,
						.thread = UINT32_MAX, .kind = STREAM_NODE_CALLOC, .weight = 512 });
	heap = heap_of(&b, "columns.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->nodes, 3);
	EXPECT_U64_EQ(heap->addr[1], 0x1000);
	EXPECT_U64_EQ(heap->addr[2], 0x7fffffffffffff00);
	EXPECT_U64_EQ(heap->bytes[0], 8192);
	EXPECT_U64_EQ(heap->birth[1], UINT64_MAX);
	EXPECT_U64_EQ(heap->thread[1], 77);
	EXPECT_U64_EQ(heap->thread[2], UINT32_MAX);
	EXPECT_U64_EQ(heap->flags[0], HEAP_FOLDED | HEAP_MAPPING);
	EXPECT_U64_EQ(heap->flags[1], HEAP_PYTHON);
	ASSERT(heap->extra && heap->weight);
	EXPECT_U64_EQ(heap->extra[1], 9);
	EXPECT_U64_EQ(heap->weight[2], 512);
	EXPECT_U64_EQ(heap->stack[0], HEAP_NONE);
	EXPECT_U64_EQ(heap->meta.blocks, 512);
	EXPECT_U64_EQ(heap->meta.bytes, 512 * 64);
	EXPECT_U64_EQ(heap->meta.mappings, 0);		/* folded: counted as what is in it */
	EXPECT_U64_EQ(heap->meta.objects, 1);
	heap_free(heap);
}

TEST(an_empty_heap_is_a_heap)
{
	struct builder b = { 0 };
	struct heap *heap = heap_of(&b, "empty.snap");

	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->nodes, 0);
	EXPECT_U64_EQ(heap->roots, 0);
	EXPECT_U64_EQ(heap->edges, 0);
	EXPECT_U64_EQ(heap->edge_start[0], 0);
	heap_free(heap);
}

TEST(many_chunks_come_back_as_they_went_in)
{
	enum { NODES = 200000 };
	struct builder b = { 0 };
	struct heap *heap;
	uint64_t wrong = 0, edges = 0, large = 0;

	for (uint32_t i = 0; i < NODES; i++)
		builder_block(&b, 0x7f0000000000 + 48ull * i, i % 1000, i * 2654435761u, 0);
	for (uint32_t i = 0; i < NODES; i++)
		for (uint32_t k = 0; k < (i == 1000 ? 150000 : i % 3); k++) {
			uint32_t target = (i * 7919u + k * 31u) % NODES;

			builder_edge(&b, false, i, STREAM_LABEL_OFFSET, k * 8, target, k % 5 ? 0 : 24);
			edges += target != i;
			large += i == 1000 && target != i;
		}
	heap = heap_of(&b, "many.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->nodes, NODES);
	EXPECT_U64_EQ(heap->edges, edges);
	for (uint32_t i = 0; i < NODES; i++) {
		wrong += heap->addr[i] != 0x7f0000000000 + 48ull * i;
		wrong += heap->bytes[i] != i % 1000;
		wrong += heap->birth[i] != i * 2654435761u;
		for (uint64_t e = heap->edge_start[i] + 1; e < heap->edge_start[i + 1]; e++)
			wrong += heap->edge_to[e - 1] > heap->edge_to[e];
	}
	EXPECT_U64_EQ(wrong, 0);
	EXPECT_U64_EQ(heap->edge_start[1001] - heap->edge_start[1000], large);
	heap_free(heap);
}

struct seen { struct heap_reference refs[64]; uint32_t count; };

static int see(const struct heap_reference *ref, void *data)
{
	struct seen *seen = data;

	if (seen->count < 64)
		seen->refs[seen->count] = *ref;
	seen->count++;
	return 0;
}

TEST(labels_are_read_again_for_one_source)
{
	struct builder b = { 0 };
	struct seen seen = { 0 };
	struct heap *heap;
	uint32_t name = builder_string(&b, "_prefix"), key = builder_string(&b, "'user'");

	for (uint32_t i = 0; i < 4; i++)
		builder_block(&b, 0x1000 * (i + 1), 64, i, 0);
	builder_edge(&b, false, 1, STREAM_LABEL_OFFSET, 16, 2, 0);
	builder_edge(&b, false, 1, STREAM_LABEL_OFFSET, 24, 1, 0);	/* to itself: not in the graph */
	builder_edge(&b, false, 1, STREAM_LABEL_OFFSET, 32, 0, 40);
	builder_edge(&b, false, 1, STREAM_LABEL_KEY, key, 3, 0);
	builder_edge(&b, false, 1, STREAM_LABEL_ATTR, name, 3, 0);
	builder_edge(&b, false, 1, STREAM_LABEL_INDEX, 7, 3, 0);
	heap = heap_of(&b, "labels.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->edges, 5);
	EXPECT_INT_EQ(heap_references(heap, 1, see, &seen), 0);
	ASSERT_INT_EQ(seen.count, 5);
	EXPECT_U64_EQ(seen.refs[0].to, 2);
	EXPECT_U64_EQ(seen.refs[0].value, 16);
	EXPECT(!seen.refs[0].interior && seen.refs[1].interior);
	EXPECT_U64_EQ(seen.refs[1].target_offset, 40);
	EXPECT_STR_EQ(seen.refs[2].text, "'user'");
	EXPECT_INT_EQ(seen.refs[3].label, HEAP_LABEL_ATTR);
	EXPECT_STR_EQ(seen.refs[3].text, "_prefix");
	EXPECT_U64_EQ(seen.refs[4].value, 7);
	seen.count = 0;
	EXPECT_INT_EQ(heap_references(heap, 0, see, &seen), 0);
	EXPECT_INT_EQ(seen.count, 0);
	heap_free(heap);
}

TEST(globals_are_named_by_their_symbols)
{
	struct builder b = { 0 };
	uint32_t module = add_self(&b, 0, 0), region;
	uint64_t cache = (uintptr_t)test_global_cache, hidden = (uintptr_t)test_hidden_list;
	const struct heap_root *root;
	struct seen seen = { 0 };
	struct heap *heap;

	builder_block(&b, 0x10, 64, 1, 0);
	region = builder_root(&b, &(struct stream_root){ .start = self.start, .end = self.end,
		.kind = STREAM_ROOT_GLOBAL, .module = module, .thread = STREAM_NONE });
	/* slots out of order: the root of a variable is found again */
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, cache + 8, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, hidden, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, cache + 24, 0, 0);
	heap = heap_of(&b, "globals.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->roots, 2);
	root = root_named(heap, "test_global_cache");
	ASSERT_NOT_NULL(root);
	EXPECT_INT_EQ(root->kind, HEAP_ROOT_GLOBAL);
	EXPECT_U64_EQ(root->start, cache);
	EXPECT_U64_EQ(root->end, cache + sizeof(test_global_cache));
	EXPECT_CONTAINS(root->module, "test_ingest");
	EXPECT_INT_EQ(heap_references(heap, heap->nodes + (uint32_t)(root - heap->root), see, &seen), 0);
	ASSERT_INT_EQ(seen.count, 2);
	EXPECT_U64_EQ(seen.refs[1].value - root->start, 24);
	EXPECT(root_named(heap, "test_hidden_list") != NULL);
	heap_free(heap);
}

TEST(slots_without_a_symbol_belong_to_their_section)
{
	struct builder b = { 0 };
	uint32_t module = add_self(&b, 0, 0), region;
	struct heap *heap;

	builder_block(&b, 0x10, 64, 1, 0);
	region = builder_root(&b, &(struct stream_root){ .start = self.start, .end = self.end,
		.kind = STREAM_ROOT_GLOBAL, .module = module, .thread = STREAM_NONE });
	/* code is no variable: nothing but its section covers it */
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, (uintptr_t)allocate_here, 0, 0);
	heap = heap_of(&b, "section.snap");
	ASSERT_NOT_NULL(heap);
	ASSERT_INT_EQ(heap->roots, 1);
	EXPECT_CONTAINS(heap->root[0].name, ".text+0x");
	EXPECT_U64_EQ(heap->root[0].start, (uintptr_t)allocate_here);
	heap_free(heap);

	module = add_self(&b, 0, 0);
	builder_block(&b, 0x10, 64, 1, 0);
	region = builder_root(&b, &(struct stream_root){ .start = self.start, .end = self.end,
		.kind = STREAM_ROOT_GLOBAL, .module = module, .thread = STREAM_NONE });
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, (uintptr_t)allocate_here, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, (uintptr_t)allocate_here + 8, 0, 0);
	heap = heap_of(&b, "section.snap");
	ASSERT_NOT_NULL(heap);
	ASSERT_INT_EQ(heap->roots, 1);
	EXPECT_STR_EQ(heap->root[0].name, ".text");
	heap_free(heap);
}

TEST(stack_slots_belong_to_the_frame_that_holds_them)
{
	struct builder b = { 0 };
	uint32_t region, worker = builder_string(&b, "worker-3");
	uint64_t pc = (uintptr_t)allocate_here;
	const struct heap_root *root;
	struct heap *heap;

	add_self(&b, 0, 0);
	builder_add(&b, STREAM_THREADS, (struct stream_thread){ .sp = 0x7000, .tid = 4711, .name = worker,
		.stop = STREAM_STOP_PTRACE, .syscall = STREAM_NONE });
	builder_add(&b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = pc + 1, .cfa = 0x7100, .depth = 0 });
	builder_add(&b, STREAM_TRACEBACKS, (struct stream_frame){ .pc = 0x99, .cfa = 0x7200, .depth = 1 });
	builder_block(&b, 0x10, 64, 1, 0);
	region = builder_root(&b, &(struct stream_root){ .start = 0x7000, .end = 0x8000, .kind = STREAM_ROOT_STACK,
							 .module = STREAM_NONE });
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, 0x7010, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, 0x7100, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, 0x7208, 0, 0);
	heap = heap_of(&b, "stack.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->roots, 3);
	root = root_named(heap, "allocate_here()" HEAP_UNNAMED_SLOT);	/* its variables are known, and none lies there */
	if (!root)
		root = root_named(heap, "allocate_here()");	/* built without debug information */
	ASSERT_NOT_NULL(root);
	EXPECT_STR_EQ(root->thread, "worker-3 (tid 4711)");
	EXPECT_U64_EQ(root->start, 0x7000);
	EXPECT_U64_EQ(root->end, 0x7100);
	root = root_named(heap, "0x98");		/* no module: the call before the return address */
	ASSERT_NOT_NULL(root);
	EXPECT_U64_EQ(root->start, 0x7100);
	EXPECT(root_named(heap, "stack") != NULL);	/* beyond the last frame */
	heap_free(heap);
}

TEST(thread_locals_registers_and_mappings_have_their_own_roots)
{
	struct builder b = { 0 };
	uint32_t path = builder_string(&b, "/dev/shm/queue"), region;
	uint64_t pointer = 0x700000000000;
	struct stream_module *module;
	const struct heap_root *root;
	struct heap *heap;
	uint64_t block;

	add_self(&b, 0, 0);
	/* static TLS lies below the thread pointer on x86-64 */
	block = self.tls_bytes + 64;
	module = (struct stream_module *)b.sections[STREAM_MODULES].data;
	module->tls_offset = -(int64_t)block;
	module->tls_bytes = self.tls_bytes;
	builder_add(&b, STREAM_THREADS, (struct stream_thread){ .thread_pointer = pointer, .tid = 7, .flags = 1,
		.stop = STREAM_STOP_PTRACE });
	builder_block(&b, 0x10, 64, 1, 0);
	region = builder_root(&b, &(struct stream_root){ .start = pointer - block, .end = pointer + 0x900,
		.kind = STREAM_ROOT_TLS, .module = STREAM_NONE });
	builder_root(&b, &(struct stream_root){ .kind = STREAM_ROOT_REGISTER, .module = STREAM_NONE });
	builder_root(&b, &(struct stream_root){ .start = 0x5000, .end = 0x6000, .kind = STREAM_ROOT_MAPPING,
		.module = STREAM_NONE, .thread = STREAM_NONE, .name = path });
	builder_root(&b, &(struct stream_root){ .start = 0x8000, .end = 0x9000, .kind = STREAM_ROOT_MAPPING,
		.module = STREAM_NONE, .thread = STREAM_NONE });
	for (uint64_t at = 0; at < self.tls_bytes / 8 * 8; at += 8)
		builder_edge(&b, true, region, STREAM_LABEL_OFFSET, pointer - block + at, 0, 0);
	builder_edge(&b, true, region, STREAM_LABEL_OFFSET, pointer + 0x10, 0, 0);
	builder_edge(&b, true, region + 1, STREAM_LABEL_OFFSET, 3, 0, 0);
	builder_edge(&b, true, region + 1, STREAM_LABEL_OFFSET, 5, 0, 0);
	builder_edge(&b, true, region + 2, STREAM_LABEL_OFFSET, 0x5008, 0, 0);
	builder_edge(&b, true, region + 3, STREAM_LABEL_OFFSET, 0x8008, 0, 0);
	heap = heap_of(&b, "tls.snap");
	ASSERT_NOT_NULL(heap);
	root = root_named(heap, "test_thread_slot");
	ASSERT_NOT_NULL(root);
	EXPECT_INT_EQ(root->kind, HEAP_ROOT_TLS);
	EXPECT_STR_EQ(root->thread, "main");
	EXPECT_U64_EQ(root->end - root->start, sizeof(test_thread_slot));
	EXPECT(root_named(heap, "thread-local storage") != NULL);
	root = root_named(heap, "registers");
	ASSERT_NOT_NULL(root);
	EXPECT_INT_EQ(root->kind, HEAP_ROOT_REGISTER);
	EXPECT(root_named(heap, "/dev/shm/queue") != NULL);
	EXPECT(root_named(heap, "anonymous mapping at 0x8000") != NULL);
	heap_free(heap);
}

TEST(a_type_is_the_allocation_site_with_its_line)
{
	struct builder b = { 0 };
	struct heap *heap;
	const struct heap_stack *stack;
	uint32_t inner;

	add_self(&b, 0, 0);
	inner = builder_stack(&b, (uintptr_t)allocate_here + 2, 0, STREAM_STACK_TRUNCATED);
	builder_block(&b, 0x100, 64, 1, inner);
	builder_block(&b, 0x200, 64, 1, 0);
	builder_node(&b, &(struct stream_node){ .addr = 0x1000, .bytes = 4096, .stack = inner, .type = STREAM_NONE,
						.kind = STREAM_NODE_MAPPING, .weight = 1 });
	heap = heap_of(&b, "site.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_CONTAINS(heap->types[heap->type[0]].name, "allocate_here test_ingest.c:");
	EXPECT_INT_EQ(heap->types[heap->type[0]].source, HEAP_TYPE_SITE);
	EXPECT_STR_EQ(heap->types[heap->type[1]].name, "unknown site");
	EXPECT_INT_EQ(heap->types[heap->type[1]].source, HEAP_TYPE_KIND);
	EXPECT_CONTAINS(heap->types[heap->type[2]].name, "mapping allocate_here test_ingest.c:");
	ASSERT(heap->stack[0] < heap->stack_count);
	stack = &heap->stacks[heap->stack[0]];
	EXPECT(stack->truncated);
	ASSERT_INT_EQ(stack->frame_count, 1);
	EXPECT_STR_EQ(heap->frames[stack->frames[0]].function, "allocate_here");
	EXPECT_STR_EQ(heap->frames[stack->frames[0]].language, "c");
	EXPECT_CONTAINS(heap->frames[stack->frames[0]].file, "test_ingest.c");
	heap_free(heap);
}

static int collect_row(int columns, char **values, bool is_header, void *data)
{
	for (int i = 0; i < columns && !is_header; i++)
		text_printf(data, "%s%s", values[i] ? values[i] : "-", i + 1 < columns ? " " : "\n");
	return 0;
}

/* All rows of the table estimates. */
static char *estimates_of(const char *name)
{
	struct text text = { 0 };
	struct store *store = NULL;
	char *error = NULL;

	text_append(&text, "");
	if (store_open(in_folder(name), &store, &error) < 0 ||
	    store_query(store, "SELECT * FROM estimates", collect_row, &text, &error) < 0)
		fprintf(stderr, "%s: %s\n", name, error ? error : "no memory");
	free(error);
	store_free(store);
	return text_take(&text);
}

TEST(each_sampled_block_counts_for_what_its_own_interval_left_out)
{
	struct builder b = { 0 };
	uint32_t one, other;
	char *rows, *error = NULL;

	add_self(&b, 0, 0);
	one = builder_stack(&b, (uintptr_t)allocate_here + 2, 0, 0);
	other = builder_stack(&b, (uintptr_t)allocate_here + 2, one, 0);
	/* 1 / (1 - exp(-1024 / 8192)) = 8.510414, at 1 MiB 1024.500; a stack that was certain counts once */
	builder_node(&b, &(struct stream_node){ .addr = 0x10000, .bytes = 1024, .stack = one, .type = STREAM_NONE,
						.kind = STREAM_NODE_MALLOC, .weight = 1, .sample = 13 });
	builder_node(&b, &(struct stream_node){ .addr = 0x20000, .bytes = 1024, .stack = one, .type = STREAM_NONE,
						.kind = STREAM_NODE_MALLOC, .weight = 1, .sample = 20 });
	builder_node(&b, &(struct stream_node){ .addr = 0x30000, .bytes = 9000, .stack = other, .type = STREAM_NONE,
						.kind = STREAM_NODE_MALLOC, .weight = 1 });
	builder_block(&b, 0x40000, 64, 1, 0);
	EXPECT_INT_EQ(ingest_built(&b, "sampled.snap", NULL, &error), 0);
	rows = estimates_of("sampled.snap");
	EXPECT_STR_EQ(rows, "0 2 1033 1057803 1048608\n1 1 1 9000 0\n");
	free(rows);
}

TEST(a_snapshot_with_every_stack_estimates_nothing)
{
	struct builder b = { 0 };
	char *rows, *error = NULL;

	add_self(&b, 0, 0);
	builder_block(&b, 0x100, 64, 1, builder_stack(&b, (uintptr_t)allocate_here + 2, 0, 0));
	EXPECT_INT_EQ(ingest_built(&b, "unsampled.snap", NULL, &error), 0);
	rows = estimates_of("unsampled.snap");
	EXPECT_STR_EQ(rows, "");
	free(rows);
}

TEST(stacks_over_a_library_that_moved_are_one)
{
	struct builder b = { 0 };
	struct stream_stack *stacks;
	uint32_t first, second;
	struct heap *heap;

	add_self(&b, 0, 0);
	add_self(&b, 1, 0x10000000);
	first = builder_stack(&b, (uintptr_t)allocate_here + 2, 0, 0);
	second = builder_stack(&b, (uintptr_t)allocate_here + 2 + 0x10000000, 0, 0);
	stacks = (struct stream_stack *)b.sections[STREAM_STACKS].data;
	stacks[1].generation = 1;
	builder_block(&b, 0x100, 64, 1, first);
	builder_block(&b, 0x200, 64, 2, second);
	heap = heap_of(&b, "moved.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->stack_count, 1);
	EXPECT_U64_EQ(heap->stack[0], heap->stack[1]);
	heap_free(heap);
}

TEST(frames_of_shim_and_allocator_are_left_out)
{
	Dl_info info;
	struct builder b = { 0 };
	struct heap *heap;
	uint64_t real_malloc = (uintptr_t)dlsym(RTLD_DEFAULT, "malloc");
	uint32_t caller, allocator, shim, start;

	ASSERT(dladdr((void *)real_malloc, &info));
	add_self(&b, 0, 0);
	builder_add(&b, STREAM_MODULES, (struct stream_module){
		.base = 0x40000000, .start = 0x40000000, .end = 0x40100000, .last_birth = UINT64_MAX,
		.tls_offset = INT64_MIN, .path = builder_string(&b, "/gone/libleakdiff.so"), .flags = STREAM_MODULE_SELF });
	start = builder_stack(&b, 0x40000800, 0, 0);			/* thread start of the shim */
	caller = builder_stack(&b, (uintptr_t)allocate_here + 2, start, 0);
	shim = builder_stack(&b, 0x40000100, caller, 0);
	allocator = builder_stack(&b, 0x40000200, shim, 0);
	builder_block(&b, 0x100, 64, 1, allocator);
	builder_block(&b, 0x200, 64, 2, shim);
	builder_block(&b, 0x300, 64, 3, caller);
	heap = heap_of(&b, "shim.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->stack_count, 1);
	ASSERT_INT_EQ(heap->stacks[0].frame_count, 1);
	EXPECT_STR_EQ(heap->frames[heap->stacks[0].frames[0]].function, "allocate_here");
	heap_free(heap);
}

TEST(classes_are_demangled_and_shortened)
{
	struct builder b = { 0 };
	static const struct { const char *raw, *name; } types[] = {
		{ "N3app7SessionE", "app::Session" }, { "*4Node", "Node" },
		{ "St6vectorINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESaIS5_EE", "std::vector<std::string>" },
		{ "not a mangled name", "not a mangled name" },
	};
	struct heap *heap;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		uint32_t name = builder_string(&b, types[i].raw);
		uint32_t type = builder_add(&b, STREAM_TYPES, (struct stream_type_name){ .addr = i, .name = name,
											  .source = STREAM_TYPE_RTTI });

		builder_node(&b, &(struct stream_node){ .addr = 64 * (i + 1), .bytes = 8, .type = type,
							.kind = STREAM_NODE_MALLOC, .weight = 1 });
	}
	heap = heap_of(&b, "rtti.snap");
	ASSERT_NOT_NULL(heap);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		EXPECT_STR_EQ(heap->types[heap->type[i]].name, types[i].name);
		EXPECT_INT_EQ(heap->types[heap->type[i]].source, HEAP_TYPE_RTTI);
	}
	heap_free(heap);
}

TEST(a_relative_path_is_found_through_the_mappings)
{
	struct builder b = { 0 };
	struct stream_module *module;
	uint32_t relative = builder_string(&b, "./plugin.so"), index = add_self(&b, 0, 0);
	struct heap *heap;

	module = (struct stream_module *)b.sections[STREAM_MODULES].data;
	module->path = relative;
	builder_add(&b, STREAM_MAPS, (struct stream_map){ .start = self.start, .end = self.end, .module = index,
		.kind = STREAM_MAP_FILE, .name = builder_string(&b, self.path) });
	builder_block(&b, 0x100, 64, 1, builder_stack(&b, (uintptr_t)allocate_here + 2, 0, 0));
	heap = heap_of(&b, "relative.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_CONTAINS(heap->types[heap->type[0]].name, "allocate_here test_ingest.c:");
	heap_free(heap);
}

TEST(a_replaced_binary_gives_no_names_and_a_note)
{
	struct builder b = { 0 };
	struct stream_module *module;
	struct heap *heap;
	bool noted = false;

	add_self(&b, 0, 0);
	module = (struct stream_module *)b.sections[STREAM_MODULES].data;
	module->build_id[0] ^= 1;
	builder_block(&b, 0x100, 64, 1, builder_stack(&b, (uintptr_t)allocate_here + 2, 0, 0));
	heap = heap_of(&b, "replaced.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_CONTAINS(heap->types[heap->type[0]].name, "test_ingest+0x");
	for (size_t i = 0; i < heap->meta.note_count; i++)
		noted |= strstr(heap->meta.notes[i], "another build") != NULL;
	EXPECT(noted);
	heap_free(heap);
}

TEST(python_frames_stand_in_stacks_by_function_file_and_line)
{
	struct builder b = { 0 };
	uint32_t function = builder_string(&b, "Handler.get"), file = builder_string(&b, "/srv/app.py"), stack;
	const struct heap_frame *frame;
	struct heap *heap;

	builder_add(&b, STREAM_PYFRAMES, (struct stream_pyframe){ .function = function, .file = file, .line = 12 });
	stack = builder_stack(&b, 0, 0, STREAM_STACK_PYTHON);
	builder_block(&b, 0x100, 64, 1, stack);
	heap = heap_of(&b, "python.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_STR_EQ(heap->types[heap->type[0]].name, "Handler.get app.py:12");
	ASSERT(heap->stack_count == 1 && heap->stacks[0].frame_count == 1);
	frame = &heap->frames[heap->stacks[0].frames[0]];
	EXPECT_STR_EQ(frame->language, "python");
	EXPECT_STR_EQ(frame->file, "/srv/app.py");
	EXPECT_INT_EQ(frame->line, 12);
	heap_free(heap);
}

TEST(the_account_sums_to_resident_memory)
{
	static const struct { uint16_t kind; uint64_t rss, live; } maps[] = {
		{ STREAM_MAP_FILE, 100, 0 }, { STREAM_MAP_MODULE_DATA, 20, 0 }, { STREAM_MAP_HEAP, 5000, 4000 },
		{ STREAM_MAP_HEAP, 100, 300 }, { STREAM_MAP_STACK, 40, 0 }, { STREAM_MAP_SHARED, 8, 0 },
		{ STREAM_MAP_OWN, 64, 64 }, { STREAM_MAP_OTHER, 16, 0 }, { STREAM_MAP_PROGRAM, 600, 500 },
		{ STREAM_MAP_PYTHON, 1000, 900 },
	};
	struct builder b = { 0 };
	struct heap *heap;
	const struct heap_account *a;

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		builder_add(&b, STREAM_MAPS, (struct stream_map){ .start = i * 0x10000, .end = i * 0x10000 + 0x8000,
			.rss_bytes = maps[i].rss, .live_resident_bytes = maps[i].live, .kind = maps[i].kind,
			.module = STREAM_NONE });
	heap = heap_of(&b, "account.snap");
	ASSERT_NOT_NULL(heap);
	a = &heap->account;
	EXPECT_U64_EQ(a->live_bytes, 4000 + 100 + 500 + 900);
	EXPECT_U64_EQ(a->python_bytes, 100);
	EXPECT_U64_EQ(a->allocator_bytes, 1000);
	EXPECT_U64_EQ(a->stacks_bytes, 40);
	EXPECT_U64_EQ(a->files_bytes, 120);
	EXPECT_U64_EQ(a->shared_bytes, 8);
	EXPECT_U64_EQ(a->leakdiff_bytes, 64);
	EXPECT_U64_EQ(a->other_bytes, 16 + 100);
	EXPECT_U64_EQ(a->total_bytes, a->live_bytes + a->allocator_bytes + a->python_bytes + a->stacks_bytes +
				      a->files_bytes + a->shared_bytes + a->leakdiff_bytes + a->other_bytes);
	EXPECT_U64_EQ(a->total_bytes, heap->meta.rss_bytes);
	heap_free(heap);
}

TEST(the_allocators_part_is_what_its_arenas_say_and_never_more)
{
	struct builder b = { 0 };
	uint32_t why = builder_string(&b, "a chunk's header is broken");
	const struct heap_details *d;
	const struct heap_arena *a;
	struct heap *heap;

	builder_add(&b, STREAM_MAPS, (struct stream_map){ .start = 0x10000, .end = 0x20000, .rss_bytes = 0x8000,
		.live_resident_bytes = 0x3000, .kind = STREAM_MAP_HEAP, .module = STREAM_NONE });
	builder_add(&b, STREAM_ARENAS, (struct stream_arena){ .kind = STREAM_ARENA_GLIBC, .start = 0x7000, .read = 1, .threads = 2,
		.free_resident_bytes = 0x2000, .top_resident_bytes = 0x1000, .cached_bytes = 0x400, .unrecorded_bytes = 0x100,
		.metadata_bytes = 0x80, .dirty_bytes = UINT64_MAX, .muzzy_bytes = UINT64_MAX, .decay_ms = UINT64_MAX,
		.classes[5] = { 256, 0x2000, 3, 0x60 } });
	builder_add(&b, STREAM_ARENAS, (struct stream_arena){ .kind = STREAM_ARENA_GLIBC, .number = 1, .resident_bytes = 0x900,
		.live_bytes = 0x800, .threads = UINT32_MAX, .why = why });
	heap = heap_of(&b, "arenas.snap");
	ASSERT_NOT_NULL(heap);
	d = &heap->details;
	EXPECT_U64_EQ(d->allocator_free, 0x2000);
	EXPECT_U64_EQ(d->allocator_top, 0x1000);
	EXPECT_U64_EQ(d->allocator_cached, 0x400);
	EXPECT_U64_EQ(d->allocator_unread, 0x100);
	EXPECT_U64_EQ(d->allocator_dirty, 0);
	EXPECT_U64_EQ(d->allocator_overhead, 0x5000 - 0x2000 - 0x1000 - 0x400 - 0x100 - 0x100 - 0x80);
	EXPECT_U64_EQ(d->live_blocks, 0x3000);
	ASSERT(heap->arena_count == 2);
	a = heap->arenas;
	EXPECT_U64_EQ(a->dirty_bytes, HEAP_ARENA_UNKNOWN);
	EXPECT_U64_EQ(a->start, 0x7000);
	EXPECT_INT_EQ(a->threads, 2);
	EXPECT_U64_EQ(a->classes[5].free_count, 256);
	EXPECT_U64_EQ(a->classes[5].used_bytes, 0x60);
	EXPECT_STR_EQ(a[0].unread, "");
	EXPECT_STR_EQ(a[1].unread, "a chunk's header is broken");
	heap_free(heap);

	/* numbers of another moment: more than is there */
	b = (struct builder){ 0 };
	builder_add(&b, STREAM_MAPS, (struct stream_map){ .start = 0x10000, .end = 0x20000, .rss_bytes = 0x4000,
		.live_resident_bytes = 0x3000, .kind = STREAM_MAP_HEAP, .module = STREAM_NONE });
	builder_add(&b, STREAM_ARENAS, (struct stream_arena){ .kind = STREAM_ARENA_JEMALLOC_ALL, .read = 1,
		.free_resident_bytes = 0x800, .dirty_bytes = UINT64_MAX - 1, .metadata_bytes = 0x5000 });
	heap = heap_of(&b, "more.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->details.allocator_free, 0x800);
	EXPECT_U64_EQ(heap->details.allocator_dirty, 0x800);
	EXPECT_U64_EQ(heap->details.allocator_metadata, 0);
	EXPECT_U64_EQ(heap->details.allocator_overhead, 0);
	heap_free(heap);
}

TEST(facts_and_notes_are_kept)
{
	struct builder b = { 0 };
	struct heap *heap;

	builder_meta(&b, "pid", "4711");
	builder_meta(&b, "command", "./service --port 80");
	builder_meta(&b, "mode", "full");
	builder_meta(&b, "taken_realtime_ns", "1700000000000000000");
	builder_meta(&b, "process_start_realtime_ns", "1699999990000000000");
	builder_meta(&b, "pause_ns", "1234");
	builder_meta(&b, "consistent", "1");
	b.end.lost_events = 3;
	b.end.notes = builder_string(&b, "first reason\nsecond reason");
	heap = heap_of(&b, "facts.snap");
	ASSERT_NOT_NULL(heap);
	EXPECT_U64_EQ(heap->meta.pid, 4711);
	EXPECT_STR_EQ(heap->meta.command, "./service --port 80");
	EXPECT_INT_EQ(heap->meta.taken_ns, 1700000000000000000);
	EXPECT_U64_EQ(heap->meta.process_start_ns, 1699999990000000000);
	EXPECT(heap->meta.uptime_s > 9.9 && heap->meta.uptime_s < 10.1);
	EXPECT_U64_EQ(heap->meta.pause_ns, 1234);
	EXPECT_U64_EQ(heap->meta.lost_events, 3);
	EXPECT(heap->meta.consistent);
	EXPECT_INT_EQ(heap->meta.gc_enabled, -1);
	ASSERT(heap->meta.note_count == 3);
	EXPECT_STR_EQ(heap->meta.notes[0], "first reason");
	EXPECT_STR_EQ(heap->meta.notes[1], "second reason");
	EXPECT_CONTAINS(heap->meta.notes[2], "3 allocation events were lost");
	heap_free(heap);
}

TEST(a_refused_stream_leaves_nothing_behind_and_the_old_file_alone)
{
	struct builder b = { 0 };
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char *error = NULL;
	const char *path = in_folder("kept.snap");
	size_t size, before = 0, after = 0;
	uint8_t *stream, *old, *now;
	int files, fd;

	builder_block(&b, 0x1000, 16, 1, 0);
	stream = builder_finish(&b, &size);
	fd = file_of(stream, size);
	ASSERT_INT_EQ(ingest_run(fd, path, &options, &result, &error), 0);
	close(fd);
	EXPECT_U64_EQ(result.nodes, 1);
	files = files_in_folder();
	old = read_whole(path, &before);
	fd = file_of(stream, size - 1);
	EXPECT_INT_EQ(ingest_run(fd, path, &options, &result, &error), -EBADMSG);
	close(fd);
	EXPECT_CONTAINS(error, "truncated");
	free(error);
	EXPECT_INT_EQ(files_in_folder(), files);
	now = read_whole(path, &after);
	EXPECT(before == after && !memcmp(old, now, before));
	free(old);
	free(now);
	free(stream);
}

TEST(a_file_is_private_from_its_first_moment)
{
	struct builder b = { 0 };
	struct stat st;
	char *error = NULL;

	ASSERT_INT_EQ(ingest_built(&b, "private.snap", NULL, &error), 0);
	ASSERT_INT_EQ(stat(in_folder("private.snap"), &st), 0);
	EXPECT_INT_EQ(st.st_mode & 0777, 0600);
}

TEST(a_killed_writers_file_is_cleaned_up_and_a_living_ones_kept)
{
	struct builder b = { 0 };
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char *error = NULL;
	size_t size;
	uint8_t *stream = builder_finish(&b, &size);
	int fd = file_of(stream, size), living;

	write_whole(in_folder(".stale.snap.1.tmp"), stream, size);
	write_whole(in_folder(".stale.snap.2.tmp"), stream, size);
	living = open(in_folder(".stale.snap.2.tmp"), O_RDWR | O_CLOEXEC);
	ASSERT_INT_EQ(flock(living, LOCK_EX), 0);
	ASSERT_INT_EQ(ingest_run(fd, in_folder("stale.snap"), &options, &result, &error), 0);
	EXPECT_INT_EQ(access(in_folder(".stale.snap.1.tmp"), F_OK), -1);
	EXPECT_INT_EQ(access(in_folder(".stale.snap.2.tmp"), F_OK), 0);
	close(living);
	close(fd);
	free(stream);
}

TEST(a_folder_may_be_given_as_a_descriptor)
{
	struct builder b = { 0 };
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char *error = NULL, path[64];
	size_t size;
	uint8_t *stream = builder_finish(&b, &size);
	int fd = file_of(stream, size), folder;

	in_folder("");
	folder = open(test_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/by-descriptor.snap", folder);
	EXPECT_INT_EQ(ingest_run(fd, path, &options, &result, &error), 0);
	EXPECT_INT_EQ(access(in_folder("by-descriptor.snap"), F_OK), 0);
	close(folder);
	close(fd);
	free(stream);
}

TEST(a_missing_folder_is_said_before_the_stream_is_read)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct ingest_result result;
	char *error = NULL;

	EXPECT_INT_EQ(ingest_run(-1, "/nonexistent/folder/x.snap", &options, &result, &error), -ENOENT);
	EXPECT_CONTAINS(error, "/nonexistent/folder/x.snap");
	free(error);
}

TEST(a_file_that_cannot_grow_is_one_sentence_and_no_file)
{
	struct rlimit limit, small = { 65536, 65536 };
	struct builder b = { 0 };
	char *error = NULL;
	int files;

	getrlimit(RLIMIT_FSIZE, &limit);
	small.rlim_max = limit.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	files = files_in_folder();
	for (uint32_t i = 0; i < 100000; i++)
		builder_block(&b, 0x1000 + 64ull * i, 16, i * 2654435761u, 0);
	{
		struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
		struct ingest_result result;
		size_t size;
		uint8_t *bytes = builder_finish(&b, &size);
		int fd = file_of(bytes, size), r;

		setrlimit(RLIMIT_FSIZE, &small);
		r = ingest_run(fd, in_folder("big.snap"), &options, &result, &error);
		setrlimit(RLIMIT_FSIZE, &limit);
		EXPECT(r == -EFBIG || r == -ENOSPC);
		close(fd);
		free(bytes);
	}
	EXPECT_CONTAINS(error, "nothing was left behind");
	free(error);
	EXPECT_INT_EQ(files_in_folder(), files);
}

TEST_MAIN()
