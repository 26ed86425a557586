/* SPDX-License-Identifier: Apache-2.0
 * L0  symbols_fetch.h - debug information from a debuginfod server, for whoever asked for it. */
#ifndef LEAKDIFF_SYMBOLS_FETCH_H
#define LEAKDIFF_SYMBOLS_FETCH_H

#include <stdint.h>

/* The path of a build's debug file, fetched by debuginfod-find(1); the caller frees it. NULL if there is none, or
 * if the user has not set DEBUGINFOD_URLS: then nothing is started. */
char *symbols_fetch(const uint8_t *build_id, uint32_t build_id_bytes);

#endif
