/* SPDX-License-Identifier: Apache-2.0
 * L5  leaks.h - what no root of one snapshot reaches, by type, size and stack.
 *
 * Python's cyclic garbage is no leak while its collector is on: it waits, and is counted apart with the
 * native blocks that hang from it. With the collector off nobody will ever free it.
 *
 * What a suppression means is left out and counted, together with what hangs from it, as LeakSanitizer does. */
#ifndef LEAKDIFF_LEAKS_H
#define LEAKDIFF_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reach.h"
#include "core/series.h"
#include "core/suppress.h"

struct leak_entry {
	char *type;			/* as shown */
	uint64_t size;
	uint64_t count, bytes;
	bool direct;			/* nothing unreachable refers to them */
	bool cycle;			/* members of cycles that nothing else refers to */
	bool python;			/* a Python object, or memory that hangs from one */
	uint32_t stack;			/* of the heap, or HEAP_NONE */
	uint64_t oldest_birth;		/* 0 = unknown */
};

struct leak_list {
	struct leak_entry *entries;	/* direct ones and cycles first, then by bytes */
	size_t count;
	uint64_t blocks, bytes, direct_blocks, direct_bytes;
	const char *confidence;		/* of all of them: "certain", "likely" */
	char *reason;
	const char *python_reason;	/* of those that are Python's */
	struct leak_entry *garbage;	/* what waits for Python's collector, by bytes */
	size_t garbage_count;
	uint64_t garbage_blocks, garbage_bytes;
	uint64_t suppressed_blocks, suppressed_bytes;
};

#define LEAKS_WAITING "unreachable, waiting for Python's collector: objects that refer to each other in a cycle and " \
		      "that nothing else refers to. It frees them when it runs next"

/* series: of one snapshot. pattern: of types, or NULL. suppressions: or NULL; what each one suppressed is
 * added to it. Returns 0 with *ret_list (leak_list_free()) or -ENOMEM. */
int leak_list_make(const struct series *series, const char *pattern, struct suppressions *suppressions,
		   struct leak_list **ret_list)
	__attribute__((warn_unused_result));
struct leak_list *leak_list_free(struct leak_list *list);

#endif
