/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_reader.h - the process that reads files of others, so that only it crashes. */
#ifndef LEAKDIFF_SYMBOLS_READER_H
#define LEAKDIFF_SYMBOLS_READER_H

#include <stdint.h>

#include "core/symbols.h"
#include "core/symbols_wire.h"

/* What ended a request without an answer. */
enum symbols_end {
	SYMBOLS_END_CRASH = 1,		/* ret_signal says how; 0 = it exited */
	SYMBOLS_END_TIME,
	SYMBOLS_END_MEMORY,
	SYMBOLS_END_GONE,		/* no process can be had */
};

/* Send a request and wait for the reply. Processes are started, and replaced when they died, as needed;
 * *ret_session changes with the process: it has no files open then.
 *
 * payload    `request->bytes` bytes that follow the request.
 * ret_bytes  the records of the reply, good until the next call.
 * Returns 0 or minus one of symbols_end, then the process is gone. */
int symbols_reader_ask(struct symbols_reader *reader, const struct symbols_request *request, const void *payload,
		       struct symbols_reply *ret_reply, const uint8_t **ret_bytes, int *ret_signal)
	__attribute__((warn_unused_result));

/* Number of the process that would be asked, from 1; one is started if there is none. 0 = none can be had. */
uint32_t symbols_reader_session(struct symbols_reader *reader) __attribute__((warn_unused_result));

const struct symbols_limits *symbols_reader_limits(const struct symbols_reader *reader);

/* symbols_serve.c: read requests from a descriptor and answer them until it ends. */
void symbols_serve(int fd);

#endif
