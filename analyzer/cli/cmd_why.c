/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_why.c - `leakdiff why SNAP ADDR`: why a block has its type, where it came from, what holds it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/json_types.h"
#include "cli/load.h"
#include "cli/report.h"
#include "core/chain_set.h"
#include "core/chains.h"
#include "core/names.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/text.h"
#include "core/why.h"

#define ROOTS_SHOWN 12

static bool as_json;

static void print_evidence(const struct heap *heap, const struct why *why)
{
	static const char *const otherwise[] = {
		[HEAP_TYPE_KIND] = "nothing is known about it but what it is",
		[HEAP_TYPE_SITE] = "no type was found: it is called by where it was allocated",
		[HEAP_TYPE_DWARF] = "debug information", [HEAP_TYPE_RTTI] = "its vtable names the class",
		[HEAP_TYPE_PYTHON] = "the Python object names its type" };

	for (size_t i = 0; i < why->evidence_count; i++) {
		const struct why_evidence *e = &why->evidence[i];
		char *text = text_escape(e->evidence), agree[TEXT_SIZE], all[TEXT_SIZE];

		printf("  %s (%s, by %s)", text ? text : "", e->confidence, e->method);
		if (e->agree + e->disagree)
			printf("; %s of %s typed pointers agree", text_count((int64_t)e->agree, agree),
			       text_count((int64_t)(e->agree + e->disagree), all));
		putchar('\n');
		free(text);
	}
	if (!why->evidence_count)
		printf("  %s\n", otherwise[heap->types[heap->type[why->node]].source]);
}

static void print_roots(const struct heap *heap, const struct why *why)
{
	char count[TEXT_SIZE];

	if (!why->root_count)
		puts("held by nothing: no root was found that leads to it (hidden pointers look the same)");
	else
		printf("held by %s root%s\n", text_count((int64_t)why->root_count, count), why->root_count == 1 ? "" : "s");
	for (size_t i = 0; i < why->root_count && i < ROOTS_SHOWN; i++) {
		const struct heap_root *root = &heap->root[why->roots[i].root];
		char *name = text_escape(root->name), *edge = text_escape(why->roots[i].edge);
		char *file = text_escape(root->file ? root->file : ""), *thread = text_escape(root->thread);

		if (name && edge && file && thread) {
			printf("  %s %s%s", names_root_kind(root->kind), name, *edge == '.' || *edge == '[' ? edge : "");
			if (*thread)
				printf(", thread %s", thread);
			if (*file)
				printf(", declared in %s:%" PRIu32, file, root->line);
			printf(", %s step%s away\n", text_count(why->roots[i].steps, count), why->roots[i].steps == 1 ? "" : "s");
		}
		free(name);
		free(edge);
		free(file);
		free(thread);
	}
	if (why->root_count > ROOTS_SHOWN)
		printf("  and %s more (--json shows all)\n", text_count((int64_t)(why->root_count - ROOTS_SHOWN), count));
}

static int print_why(const struct heap *heap, const struct why *why)
{
	char *type = chain_type_of(heap, why->node), *shown = type ? text_escape(type) : NULL, size[TEXT_SIZE];
	int r = shown ? 0 : -ENOMEM;

	if (r == 0) {
		printf("0x%" PRIx64 ": %s, %s\n", heap->addr[why->node], shown, text_size((int64_t)heap->bytes[why->node], size));
		print_evidence(heap, why);
		if (heap->stack[why->node] != HEAP_NONE) {
			fputs("allocated by ", stdout);
			report_stack(stdout, heap, heap->stack[why->node], 2, strlen("allocated by "));
		}
		print_roots(heap, why);
	}
	free(type);
	free(shown);
	return r;
}

/* The node at an address; HEAP_NONE and a status when there is none. */
static int find_node(const struct heap *heap, const char *path, const char *word, uint32_t *ret_node)
{
	struct chain_query query = { .size = UINT64_MAX };
	uint32_t *nodes = NULL;
	char *rest;
	int64_t count;

	errno = 0;
	query.addr = strtoull(word, &rest, 16);
	if (errno || rest == word || *rest || !query.addr)
		return cmd_usage(&cmd_why, "%s is no address", word);
	count = chain_query_run(heap, &query, &nodes);
	if (count > 0)
		*ret_node = nodes[0];
	free(nodes);
	if (count < 0)
		return load_trouble((int)count);
	return count ? CMD_OK : cmd_trouble("no live block in %s has the address 0x%" PRIx64 " (addresses are read as hexadecimal)",
						 path, query.addr);
}

static int run(int argc, char **argv)
{
	struct store *store = NULL;
	struct why *why = NULL;
	struct loaded loaded;
	const struct heap *heap;
	uint32_t node = HEAP_NONE;
	char *error = NULL;
	int status, r;

	if (argc != 2)
		return cmd_usage(&cmd_why, "why takes a snapshot and an address");
	status = load_series(argv, 1, &loaded);
	if (status)
		return status;
	heap = series_last(loaded.series)->heap;
	status = find_node(heap, argv[0], argv[1], &node);
	if (status == CMD_OK) {
		r = snapshot_file_open(argv[0], &store, &error);
		if (r == 0)
			r = why_make(store, heap, node, &why);
		if (r == 0)
			r = as_json ? json_write_why(heap, why) : print_why(heap, why);
		if (r < 0)
			status = error ? cmd_trouble("%s", error) : load_trouble(r);
	}
	free(error);
	why_free(why);
	store_free(store);
	loaded_done(&loaded);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "json", 0, CMD_FLAG, NULL, "write one JSON object", &as_json },
	{ 0 },
};

const struct cmd cmd_why = {
	.name = "why",
	.synopsis = "why SNAP ADDR [--json]",
	.summary = "a block: why it has its type, its stack, every root that holds it",
	.detail = "ADDR is an address in the block, hexadecimal, with or without 0x.",
	.options = cmd_options,
	.run = run,
};
