/* SPDX-License-Identifier: Apache-2.0
 * L2  account.c - the resident memory account. */
#include <stdbool.h>

#include "core/account.h"
#include "core/thresholds.h"

#define PART(name, label_) { #name, label_, offsetof(struct heap_account, name) }

const struct account_part account_parts[] = {
	PART(live_bytes, "live blocks and mappings"),
	PART(allocator_bytes, "allocator (free, overhead)"),
	PART(python_bytes, "Python arenas (free, overhead)"),
	PART(stacks_bytes, "thread stacks"),
	PART(files_bytes, "files (programs, libraries)"),
	PART(shared_bytes, "shared memory"),
	PART(leakdiff_bytes, "leakdiff itself"),
	PART(other_bytes, "other"),
	{ NULL, NULL, 0 },
};

const struct account_detail account_details[] = {
#define X(part, name, text) { offsetof(struct heap_account, part##_bytes), text, offsetof(struct heap_details, part##_##name) },
	HEAP_DETAILS(X)
#undef X
	{ 0, NULL, 0 },
};

static int64_t growth(uint64_t before, uint64_t after)
{
	return (int64_t)(after - before);
}

static int64_t only_growth(int64_t change)
{
	return change > 0 ? change : 0;
}

/* Headers, rounding and records of more blocks: what live memory costs, as long as it is not more than an allocator
 * needs for it. */
static int64_t cost_of_blocks(const struct heap *first, const struct heap *last)
{
	const struct heap_details *a = &first->details, *b = &last->details;
	int64_t cost = growth(a->allocator_overhead + a->allocator_metadata, b->allocator_overhead + b->allocator_metadata);
	int64_t most = only_growth(growth(first->meta.blocks, last->meta.blocks)) * ALLOCATOR_BLOCK_BYTES +
		       (int64_t)(ALLOCATOR_ROUNDING *
				 (double)only_growth(growth(first->account.live_bytes, last->account.live_bytes)));

	return cost < most ? only_growth(cost) : most;
}

uint64_t account_unexplained(const struct heap *first, const struct heap *last)
{
	const struct heap_account *a = &first->account, *b = &last->account;
	bool known = a->total_bytes && b->total_bytes;
	uint64_t before = known ? a->total_bytes : first->meta.rss_bytes;
	uint64_t after = known ? b->total_bytes : last->meta.rss_bytes;
	int64_t unexplained;

	if (!before || !after)
		return 0;
	unexplained = growth(before, after);
	if (known) {
		/* What shrank elsewhere does not make the allocator's growth smaller, nor the other way. */
		unexplained -= only_growth(growth(a->live_bytes, b->live_bytes)) +
			       only_growth(growth(a->leakdiff_bytes, b->leakdiff_bytes)) +
			       only_growth(growth(a->files_bytes, b->files_bytes)) +
			       only_growth(growth(a->stacks_bytes, b->stacks_bytes)) +
			       only_growth(growth(a->shared_bytes, b->shared_bytes)) + cost_of_blocks(first, last);
	} else {
		unexplained -= only_growth(growth(first->meta.bytes + first->meta.mapped_bytes,
						  last->meta.bytes + last->meta.mapped_bytes)) +
			       only_growth(growth(first->meta.own_bytes, last->meta.own_bytes));
	}
	if (unexplained <= ALLOCATOR_BYTES || (double)unexplained <= ALLOCATOR_SHARE * (double)before)
		return 0;
	return (uint64_t)unexplained;
}
