/* SPDX-License-Identifier: Apache-2.0
 * L1  retained.c - what each row of a table retains. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/retained.h"
#include "core/dominators.h"
#include "core/large.h"

int retained_tree(const struct series *series, struct dominators **ret_tree)
{
	const struct series_heap *h = series_last(series);
	struct reach_leaks *leaks = NULL;
	int r = reach_find_leaks(h->heap, h->reach, &leaks);

	if (r == 0)
		r = dominators_compute(h->heap, h->reach, leaks, ret_tree);
	reach_leaks_free(leaks);
	return r;
}

/* Retained bytes of a row: of its members that no other member of the row holds, so that nothing is
 * counted twice. One walk over the tree with a stack of open rows would need depth; the nearest
 * dominator of the same row is found from `above`, the last one seen on the way down. */
int retained_add(const struct series *series, const struct dominators *tree, struct diff *diff)
{
	const struct series_heap *h = series_last(series);
	uint32_t *row_of = diff->row_of, nodes = h->heap->nodes;
	uint32_t *open_until = NULL;
	uint64_t *retained = NULL;
	int r = -ENOMEM;

	retained = large_array(tree->count, sizeof(*retained));
	open_until = calloc((size_t)diff->made_rows + 1, sizeof(*open_until));
	if (!retained || !open_until)
		goto out;
	r = 0;
	for (uint32_t id = 0; id < tree->count; id++)
		retained[id] = id < nodes ? series_bytes(h, id) : 0;
	dominators_retain(tree, retained);
	/* In this order a subtree is one interval: while a row is open, its members are inside one. */
	for (uint32_t i = 0; i < tree->count; i++) {
		uint32_t v = tree->order[i];

		if (v >= nodes || row_of[v] == HEAP_NONE || diff->place[row_of[v]] == HEAP_NONE ||
		    i < open_until[row_of[v]])
			continue;
		open_until[row_of[v]] = tree->last[v];
		diff->rows[diff->place[row_of[v]]].retained_bytes += retained[v];
	}
out:
	large_free(retained);
	free(open_until);
	return r;
}
