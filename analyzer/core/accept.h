/* SPDX-License-Identifier: Apache-2.0
 * L10  accept.h - growth that is accepted: by a suppression, or because a baseline allows so much of it.
 *
 *   suspects - what suppressions match - what the baseline allows = what the exit status is about
 *
 * (1) Suspects are looked at site by site. A suspect of which nothing is left is taken from the list; of
 *     one that is left in part, counts, bytes and sites are what is left. The table of growth stays whole.
 * (2) A baseline names growth by type and site without sizes and line numbers, so that it outlives an edit
 *     above the line: "handle_put http_cache.c", "handle_put < handle_head < step < on_ready". What it
 *     allows is allowed once, for all suspects together.
 * (3) What is accepted is counted, and so is what no pattern or allowance met. */
#ifndef LEAKDIFF_ACCEPT_H
#define LEAKDIFF_ACCEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/suppress.h"
#include "core/suspects.h"

struct allowance {			/* one entry of a baseline */
	char *type, *site;		/* equal, or a glob with *; NULL = any */
	char *comment;			/* a person's, kept; or NULL */
	uint64_t bytes, count;		/* allowed; UINT64_MAX = not limited by it */
	uint64_t used_bytes, used_count;
};

struct baseline {
	char *path;
	struct allowance *list;
	size_t count;
};

struct acceptance {
	struct suppressions *suppressions;	/* what each suppressed is added to it; or NULL */
	struct baseline *baseline;		/* likewise; or NULL */
	uint64_t fail_above;			/* unaccepted bytes that are still no failure */
	uint64_t suppressed_count, suppressed_bytes, allowed_count, allowed_bytes;
	size_t whole;				/* suspects of which nothing is left */
	uint64_t unaccepted_bytes;		/* growth of the suspects that count for the exit status */
};

/* Take from the suspects what is accepted, and decide anew whether they are growth (suspects->grew).
 * Returns 0 or -ENOMEM; then the suspects are only good to be freed. */
int accept_apply(struct acceptance *acceptance, struct suspects *suspects) __attribute__((warn_unused_result));

/* Add to a baseline what the suspects that count for the exit status hold, where it allows less: a later
 * run that grows as much is accepted. Amounts are rounded up by at most a quarter. Returns 0 or -ENOMEM. */
int accept_learn(struct baseline *baseline, const struct suspects *suspects) __attribute__((warn_unused_result));

/* In the order of the file, so that it is the same whatever came first: type, then site. */
void accept_sort(struct baseline *baseline);

struct baseline *baseline_free(struct baseline *baseline);

/* Does this suspect count for the exit status? Its grown bytes without those that only
 * took the place of others, companions included. */
bool accept_counts(const struct suspect *suspect);
uint64_t accept_bytes(const struct suspect *suspect);

/* The names of a baseline: owned strings, NULL = no memory. */
char *accept_type_name(const char *shown_type);
char *accept_site_name(const struct heap *heap, uint32_t stack);

#endif
