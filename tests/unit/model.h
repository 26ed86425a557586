/* SPDX-License-Identifier: Apache-2.0
 * model.h - a heap that a test writes down node by node.
 *
 *   struct model m = { 0 };
 *   uint32_t site = model_type(&m, "cache_new cache.c:10", HEAP_TYPE_SITE);
 *   uint32_t table = model_block(&m, 0x1000, 64, 5, site, MODEL_NO_STACK);
 *   uint32_t root = model_root(&m, HEAP_ROOT_GLOBAL, "g_cache");
 *   model_edge(&m, MODEL_ROOT(root), table, 0);
 *   struct heap *heap = model_build(&m);      then heap_free(heap), model_done(&m)
 *
 * Blocks must be added in address order. Arrays grow by doubling; running out of memory ends the test. */
#ifndef LEAKDIFF_TEST_MODEL_H
#define LEAKDIFF_TEST_MODEL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/heap.h"

#define MODEL_NO_STACK HEAP_NONE
#define MODEL_ROOT(index) (0x80000000u | (index))	/* as the source of an edge */

struct model {
	struct heap heap;
	uint64_t *addr, *bytes, *birth;
	uint32_t *stack, *type, *thread;
	uint8_t *flags;
	struct heap_root *root;
	struct heap_type *types;
	struct heap_stack *stacks;
	struct heap_frame *frames;
	uint32_t stack_frame[64];
	struct heap_reference *refs;
	size_t ref_count;
};

static inline void *model_grow(void *array, size_t count, size_t size)
{
	if (count && (count & (count - 1)))
		return array;
	array = realloc(array, (count ? count * 2 : 1) * size);
	if (!array) {
		perror("model");
		exit(1);
	}
	return array;
}

static inline uint32_t model_type(struct model *m, const char *name, enum heap_type_source source)
{
	m->types = model_grow(m->types, m->heap.type_count, sizeof(*m->types));
	m->types[m->heap.type_count] = (struct heap_type){ name, source };
	return m->heap.type_count++;
}

/* A stack of one frame. */
static inline uint32_t model_stack(struct model *m, const char *function, const char *file, uint32_t line)
{
	m->frames = model_grow(m->frames, m->heap.frame_count, sizeof(*m->frames));
	m->stacks = model_grow(m->stacks, m->heap.stack_count, sizeof(*m->stacks));
	m->frames[m->heap.frame_count] = (struct heap_frame){ .function = function, .file = file,
		.module = "service", .language = "c", .line = line };
	m->stack_frame[m->heap.stack_count] = m->heap.frame_count;
	m->stacks[m->heap.stack_count] = (struct heap_stack){
		&m->stack_frame[m->heap.stack_count], 1, false };
	m->heap.frame_count++;
	return m->heap.stack_count++;
}

static inline uint32_t model_block(struct model *m, uint64_t addr, uint64_t bytes, uint64_t birth,
				   uint32_t type, uint32_t stack)
{
	uint32_t n = m->heap.nodes;

	m->addr = model_grow(m->addr, n, sizeof(*m->addr));
	m->bytes = model_grow(m->bytes, n, sizeof(*m->bytes));
	m->birth = model_grow(m->birth, n, sizeof(*m->birth));
	m->stack = model_grow(m->stack, n, sizeof(*m->stack));
	m->type = model_grow(m->type, n, sizeof(*m->type));
	m->thread = model_grow(m->thread, n, sizeof(*m->thread));
	m->flags = model_grow(m->flags, n, sizeof(*m->flags));
	m->addr[n] = addr;
	m->bytes[n] = bytes;
	m->birth[n] = birth;
	m->stack[n] = stack;
	m->type[n] = type;
	m->thread[n] = 100;
	m->flags[n] = 0;
	return m->heap.nodes++;
}

static inline void model_flag(struct model *m, uint32_t node, uint8_t flag)
{
	m->flags[node] |= flag;
}

static inline uint32_t model_root(struct model *m, enum heap_root_kind kind, const char *name)
{
	uint32_t n = m->heap.roots;

	m->root = model_grow(m->root, n, sizeof(*m->root));
	m->root[n] = (struct heap_root){ .kind = kind, .name = name, .module = "service",
		.thread = kind == HEAP_ROOT_GLOBAL || kind == HEAP_ROOT_PY_MODULE ? "" : "main",
		.start = kind == HEAP_ROOT_REGISTER ? 0 : 0x600000 + n * 0x1000,
		.end = kind == HEAP_ROOT_REGISTER ? 0 : 0x600000 + n * 0x1000 + 64 };
	return m->heap.roots++;
}

static inline void model_edge(struct model *m, uint32_t from, uint32_t to, uint64_t offset)
{
	m->refs = model_grow(m->refs, m->ref_count, sizeof(*m->refs));
	m->refs[m->ref_count++] = (struct heap_reference){ .from = from, .to = to,
		.label = HEAP_LABEL_OFFSET, .value = offset };
}

static inline int model_compare(const void *a, const void *b)
{
	const struct heap_reference *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

static inline struct heap *model_build(struct model *m)
{
	struct heap *heap = NULL;

	for (size_t i = 0; i < m->ref_count; i++) {
		struct heap_reference *ref = &m->refs[i];

		if (ref->from & 0x80000000u) {
			uint32_t root = ref->from & 0x7fffffffu;

			ref->from = m->heap.nodes + root;
			ref->value += m->root[root].start;
		}
	}
	if (m->ref_count)
		qsort(m->refs, m->ref_count, sizeof(*m->refs), model_compare);
	m->heap.addr = m->addr;
	m->heap.bytes = m->bytes;
	m->heap.birth = m->birth;
	m->heap.stack = m->stack;
	m->heap.type = m->type;
	m->heap.thread = m->thread;
	m->heap.flags = m->flags;
	m->heap.root = m->root;
	m->heap.types = m->types;
	m->heap.stacks = m->stacks;
	m->heap.frames = m->frames;
	if (!m->heap.meta.path) {
		m->heap.meta = (struct heap_meta){ .path = "service.1.snap", .command = "service", .exe = "/bin/service",
			.mode = "full", .python = "", .trigger = "", .allocator = "", .hostname = "", .pid = 100,
			.process_start_ns = 1, .consistent = true, .gc_enabled = -1 };
	}
	if (heap_build(&m->heap, m->refs, m->ref_count, &heap) < 0) {
		fprintf(stderr, "model: heap_build refused it\n");
		exit(1);
	}
	return heap;
}

static inline void model_done(struct model *m)
{
	free(m->addr);
	free(m->bytes);
	free(m->birth);
	free(m->stack);
	free(m->type);
	free(m->thread);
	free(m->flags);
	free(m->root);
	free(m->types);
	free(m->stacks);
	free(m->frames);
	free(m->refs);
	memset(m, 0, sizeof(*m));
}

#endif
