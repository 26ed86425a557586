/* SPDX-License-Identifier: Apache-2.0
 * L7  chain_set.h - which objects a person asked for, and how each is held. */
#ifndef LEAKDIFF_CHAIN_SET_H
#define LEAKDIFF_CHAIN_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/chains.h"
#include "core/series.h"

struct chain_query {			/* all that are set must agree */
	const char *type;		/* pattern or NULL */
	const char *site;		/* pattern over "function file:line" of any frame, or NULL */
	uint64_t addr;			/* an address inside the block; 0 = any */
	uint64_t size;			/* UINT64_MAX = any */
};

struct chain_entry {
	uint32_t node;
	uint32_t root;			/* index of the holder in the heap's roots; HEAP_NONE = none */
	bool unreachable;
	char *type;			/* as shown */
	struct chain chain;		/* of an unreachable object: what refers to it, from a head of its part */
};

struct chain_set {
	const struct heap *heap;
	struct chain_entry *entries;	/* by address */
	size_t count;
	uint64_t matched;		/* blocks that match; more than `count` when limited */
	uint64_t matched_bytes, unreachable;
};

/* The nodes that match, ascending. Returns their number with *ret_nodes (the caller frees), or
 * -ENOMEM. A node is counted even where it is folded into its owner, when it is asked for by address. */
int64_t chain_query_run(const struct heap *heap, const struct chain_query *query, uint32_t **ret_nodes)
	__attribute__((warn_unused_result));

/* Chains of at most `limit` of the nodes. Returns 0 with *ret_set (chain_set_free()), -ENOMEM, -EBADMSG. */
int chain_set_make(const struct series *series, const uint32_t *nodes, size_t count, size_t limit,
		   struct chain_set **ret_set) __attribute__((warn_unused_result));
struct chain_set *chain_set_free(struct chain_set *set);

#endif
