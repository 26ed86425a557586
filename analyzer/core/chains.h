/* SPDX-License-Identifier: Apache-2.0
 * L6  chains.h - from a root to an object, in steps that a person can read.
 *
 *   g_cache --+0--> 64 B from cache_new --+8--> 4096 B from table_grow --[*]--> entry --+16--> body
 *
 * (1) A chain is a path of shortest references from the strongest kind of root (reach.h).
 * (2) Runs of alike nodes are folded: the run is one step whose edge says "+8 x 4095"; the run's last
 *     node follows as a step of its own. The same for two or three kinds that take turns.
 * (3) At most CHAIN_MAX steps; what is cut is one step that says how many. */
#ifndef LEAKDIFF_CHAINS_H
#define LEAKDIFF_CHAINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/labels.h"
#include "core/reach.h"

#define CHAIN_MAX 64
#define CHAIN_RUN 4			/* so many alike nodes in a row are folded */

enum chain_role { CHAIN_PLAIN = 0, CHAIN_ROOT, CHAIN_POINT, CHAIN_GREW, CHAIN_CUT };

struct chain_step {
	enum chain_role role;
	uint32_t id;			/* graph node id; HEAP_NONE for a step that stands for a cut */
	char *type;			/* as shown; of a root its kind */
	char *name;			/* "g_cache", "0x5581..", or NULL */
	char *detail;			/* "lru_cache, 128 of 128 entries: full", or NULL */
	uint64_t size;			/* of one of them */
	uint64_t count, bytes;		/* objects that the step stands for */
	char *edge;			/* label to the next step; NULL at the end */
	bool interior;			/* that reference points into the next one, not at its start */
	const char *quality;		/* of that reference: "exact" (the language says so), "typed" (a declared field
					 * lies there), "interior", "word" (it looks like an address), "stale?" (in a stack's
					 * frame, and no variable of the function lies there); NULL at the end */
};

struct chain {
	struct chain_step *steps;
	size_t count;
};

/* Make a chain of a path of graph ids, each referring to the next. Labels are read from the heap
 * through `labels`, which is of the same heap.
 * Returns 0 with *ret_chain (chain_done()), -ENOMEM, or -EBADMSG when the file is damaged. */
int chain_make(struct labels *labels, const struct heap *heap, const uint32_t *path, uint32_t length,
	       struct chain *ret_chain)
	__attribute__((warn_unused_result));
void chain_done(struct chain *chain);

/* The path from the root of a node to it; without a root where the dynamic linker holds it. Returns its length with *ret_path (the caller frees it),
 * 0 when nothing reaches it, or -ENOMEM. */
int64_t chain_path(const struct heap *heap, const struct reach *reach, uint32_t node, uint32_t **ret_path)
	__attribute__((warn_unused_result));

/* The label of the reference from one graph node to another, "" when the file knows none, as an owned
 * string; slots: how many references from `from` lead to it (may be NULL). -ENOMEM, -EBADMSG. */
int chain_label(const struct heap *heap, uint32_t from, uint32_t to, char **ret_label, bool *ret_interior,
		uint64_t *ret_slots) __attribute__((warn_unused_result));

/* The displayed type and name of one graph node. NULL when memory is short; the caller frees. */
char *chain_type_of(const struct heap *heap, uint32_t id);
char *chain_name_of(const struct heap *heap, uint32_t id);

/* What else is known of one graph node, see struct chain_step: an owned string in *ret_detail, or NULL
 * when there is nothing. Returns 0 or -ENOMEM. */
int chain_detail_of(const struct heap *heap, uint32_t id, char **ret_detail) __attribute__((warn_unused_result));

/* A root's own object (the module behind a Python module's root): it says nothing that the root does not,
 * and texts and pictures pass it over. */
bool chain_is_own(const struct chain *chain, size_t step);

/* What a person would search for at the root of a chain: the root's name, and for a Python module the
 * attributes that follow, "app.ApiHandler.header_for". Owned string, NULL = no memory. */
char *chain_holder_name(const struct heap *heap, uint32_t root, const struct chain *chain);

#endif
