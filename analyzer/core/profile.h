/* SPDX-License-Identifier: Apache-2.0
 * L1  profile.h - heap profiles that allocators write themselves, read and checked.
 *
 *   jemalloc    heap_v2/RATE              prof.dump, prof_final, jeprof's input
 *   gperftools  heap profile: ... @ WORD  HEAPPROFILE=..., and what tcmalloc's sampler prints
 *
 * Both are text: stacks of return addresses, each with what is live from it, then the process's mappings.
 * They know no single block: counts and bytes are sums by stack. After profile_parse() every number is in
 * range and every index points where it should; later stages need no checks. */
#ifndef LEAKDIFF_PROFILE_H
#define LEAKDIFF_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROFILE_FILE_MAX (256u << 20)	/* bytes; real ones have a few MiB */

struct profile_entry {
	uint64_t count, bytes;		/* live, un-biased */
	uint64_t first;			/* its frames: pcs[first] .. pcs[first + frames - 1], innermost first */
	uint32_t frames;
};

struct profile_mapping {
	uint64_t start, end, offset, inode;
	bool executable;
	const char *path;		/* "" = none */
};

struct profile {
	const char *format;		/* "jemalloc heap_v2", "gperftools" */
	uint64_t sample_bytes;		/* one block for so many bytes was sampled on average; 0 = all were */
	uint64_t samples;		/* live sampled blocks */
	struct profile_entry *entries;
	uint64_t entry_count;
	uint64_t *pcs;
	uint64_t pc_count;
	struct profile_mapping *mappings;	/* ascending */
	uint64_t mapping_count;
	char *text;			/* what the paths point into */
};

/* Do these first bytes of a file look like such a profile? Eight bytes are enough. */
bool profile_is(const void *head, size_t bytes);

/* Parse a whole profile.
 *
 * text        borrowed, need not end with a NUL.
 * name        the file's, for the sentence.
 * need_maps   refuse one without its section of mappings: a file without it was cut.
 * ret_error   on failure one clear sentence, owned by the caller.
 *
 * Un-biasing: a block of s bytes is sampled with probability 1 - exp(-s / rate), so each sampled one stands
 * for the inverse of that. Both allocators print sums by stack; jemalloc since 5.3 un-biases every block
 * before it sums, and prints numbers for which this formula, used with a stack's mean size, gives exactly
 * those sums. It is used for each stack, never for the total.
 *
 * Returns 0 or -EBADMSG (foreign, truncated, corrupt), -EPROTO (newer format), -ENOMEM. */
int profile_parse(const char *text, size_t bytes, const char *name, bool need_maps,
		  struct profile **ret_profile, char **ret_error) __attribute__((warn_unused_result));

/* Accepts NULL, returns NULL. */
struct profile *profile_free(struct profile *profile);

#endif
