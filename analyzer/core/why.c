/* SPDX-License-Identifier: Apache-2.0
 * L7  why.c - one block: why it has its type, and every root that holds it.
 *
 * Roots are found against the references, breadth first from the block. The reversed references are made for
 * this one question: 4 bytes each, and gone afterwards. */
#include "core/why.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/chains.h"
#include "core/grow.h"
#include "core/large.h"
#include "core/store.h"
#include "core/text.h"

/* ---- evidence ---- */

struct reading { struct why *why; uint64_t room; int error; };

static int read_row(int columns, char **values, bool is_header, void *data)
{
	struct reading *reading = data;
	struct why_evidence row = { 0 };

	if (is_header || columns != 7)
		return 0;
	reading->error = grow_array(&reading->why->evidence, &reading->room, reading->why->evidence_count + 1ull, sizeof(row));
	if (reading->error < 0)
		return reading->error;
	row.method = strdup(values[0] ? values[0] : "");
	row.confidence = strdup(values[1] ? values[1] : "");
	row.evidence = strdup(values[2] ? values[2] : "");
	row.agree = strtoull(values[3] ? values[3] : "0", NULL, 10);
	row.disagree = strtoull(values[4] ? values[4] : "0", NULL, 10);
	row.count = strtoull(values[5] ? values[5] : "0", NULL, 10);
	row.bytes = strtoull(values[6] ? values[6] : "0", NULL, 10);
	reading->why->evidence[reading->why->evidence_count++] = row;
	if (!row.method || !row.confidence || !row.evidence)
		reading->error = -ENOMEM;
	return reading->error;
}

static int find_evidence(struct why *why, struct store *store, const struct heap *heap)
{
	struct reading reading = { .why = why };
	uint32_t stack = heap->stack[why->node];
	char *sql, *error = NULL;
	int r;

	if (!heap->layouts)
		return 0;
	sql = stack == HEAP_NONE ?
		text_format("SELECT method, confidence, evidence, agree, disagree, count, bytes FROM type_evidence "
			    "WHERE type = %" PRIu32 " AND stack IS NULL ORDER BY count DESC LIMIT 16", heap->type[why->node]) :
		text_format("SELECT method, confidence, evidence, agree, disagree, count, bytes FROM type_evidence "
			    "WHERE type = %" PRIu32 " AND stack = %" PRIu32 " ORDER BY count DESC LIMIT 16",
			    heap->type[why->node], stack);
	if (!sql)
		return -ENOMEM;
	r = store_query(store, sql, read_row, &reading, &error);
	free(sql);
	free(error);
	return reading.error < 0 ? reading.error : r < 0 ? -EBADMSG : 0;
}

/* ---- roots ---- */

struct reversed { uint32_t *start, *from; };

static int reverse(const struct heap *heap, struct reversed *back)
{
	uint32_t ids = heap->nodes + heap->roots;

	back->start = calloc((size_t)heap->nodes + 2, sizeof(*back->start));
	back->from = large_array(heap->edge_start[ids], sizeof(*back->from));
	if (!back->start || !back->from)
		return -ENOMEM;
	for (uint32_t e = 0; e < heap->edge_start[ids]; e++)
		back->start[heap->edge_to[e] + 2]++;
	for (uint32_t v = 2; v <= heap->nodes + 1; v++)
		back->start[v] += back->start[v - 1];
	for (uint32_t v = 0; v < ids; v++)
		for (uint32_t e = heap->edge_start[v]; e < heap->edge_start[v + 1]; e++)
			back->from[back->start[heap->edge_to[e] + 1]++] = v;
	return 0;
}

static int add_root(struct why *why, const struct heap *heap, uint32_t id, uint32_t to, uint32_t steps, uint64_t *room)
{
	struct why_root root = { .root = id - heap->nodes, .steps = steps };
	bool interior;
	int r = grow_array(&why->roots, room, why->root_count + 1ull, sizeof(root));

	if (r < 0)
		return r;
	r = chain_label(heap, id, to, &root.edge, &interior, NULL);
	if (r == 0)
		why->roots[why->root_count++] = root;
	return r;
}

static int find_roots(struct why *why, const struct heap *heap)
{
	uint32_t ids = heap->nodes + heap->roots;
	struct reversed back = { 0 };
	uint32_t *queue = malloc(((size_t)ids + 1) * sizeof(*queue)), *steps = calloc((size_t)ids + 1, sizeof(*steps));
	uint32_t count = 0;
	uint64_t room = 0;
	int r = queue && steps ? reverse(heap, &back) : -ENOMEM;

	if (r == 0) {
		queue[count++] = why->node;
		steps[why->node] = 1;
	}
	for (uint32_t at = 0; at < count && r == 0; at++) {
		uint32_t v = queue[at];

		for (uint32_t e = back.start[v]; e < back.start[v + 1] && r == 0; e++) {
			uint32_t u = back.from[e];

			if (steps[u])
				continue;
			steps[u] = steps[v] + 1;
			if (u >= heap->nodes)
				r = add_root(why, heap, u, v, steps[v], &room);
			else
				queue[count++] = u;
		}
	}
	free(queue);
	free(steps);
	free(back.start);
	large_free(back.from);
	return r;
}

int why_make(struct store *store, const struct heap *heap, uint32_t node, struct why **ret_why)
{
	struct why *why = calloc(1, sizeof(*why));
	int r = why ? 0 : -ENOMEM;

	if (r == 0) {
		why->node = node;
		r = find_evidence(why, store, heap);
	}
	if (r == 0)
		r = find_roots(why, heap);
	if (r < 0) {
		why_free(why);
		return r;
	}
	*ret_why = why;
	return 0;
}

struct why *why_free(struct why *why)
{
	if (!why)
		return NULL;
	for (size_t i = 0; i < why->evidence_count; i++) {
		free(why->evidence[i].method);
		free(why->evidence[i].confidence);
		free(why->evidence[i].evidence);
	}
	for (size_t i = 0; i < why->root_count; i++)
		free(why->roots[i].edge);
	free(why->evidence);
	free(why->roots);
	free(why);
	return NULL;
}
