/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_cache.h - answers about files of a build, kept from one ingest to the next. */
#ifndef LEAKDIFF_SYMBOLS_CACHE_H
#define LEAKDIFF_SYMBOLS_CACHE_H

#include <stdint.h>

#include "core/symbols_answers.h"

#define SYMBOLS_CACHE_FILE_MAX (64u << 20)	/* bytes of answers for one file of a program */
#define SYMBOLS_CACHE_BYTES (256ull << 20)	/* all cache files together */
#define SYMBOLS_CACHE_FILES 4096u

struct symbols_cache;

/* The folder of this user's cache, made when it is not there. Returns NULL if there can be none. */
struct symbols_cache *symbols_cache_open(void);

/* The answers about a build, and what its state was. identity: what debug information there is, see
 * symbols_files_open(). Returns 1, 0 if there is nothing or nothing believable, -ENOMEM. */
int symbols_cache_load(struct symbols_cache *cache, const uint8_t *build_id, uint32_t build_id_bytes,
		       const char *identity, struct symbols_answers *answers, unsigned *ret_state)
	__attribute__((warn_unused_result));

void symbols_cache_save(struct symbols_cache *cache, const uint8_t *build_id, uint32_t build_id_bytes,
			const char *identity, const struct symbols_answers *answers, unsigned state);

/* Make room if much has been kept. Accepts NULL, returns NULL. */
struct symbols_cache *symbols_cache_close(struct symbols_cache *cache);

#endif
