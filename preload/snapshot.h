/* SPDX-License-Identifier: Apache-2.0
 * L0  snapshot.h - take a snapshot: lock, stop, drain, fork, resume; the child does the rest. */
#ifndef LEAKDIFF_SNAPSHOT_H
#define LEAKDIFF_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

enum snapshot_trigger {
	SNAPSHOT_SOCKET,
	SNAPSHOT_TIMER,
	SNAPSHOT_RSS,
	SNAPSHOT_EXIT,
	SNAPSHOT_SIGNAL
};

struct snapshot_request {
	enum snapshot_trigger trigger;
	int fd;				/* where the stream goes; -1 = the library finds a way (ingest, else a file) */
	uint64_t max_pause_ns;		/* 0 = no limit */
	uint64_t timeout_ns;		/* for bounded waits; 0 = default (10 s) */
};

struct snapshot_result {
	uint64_t pause_ns;		/* first thread asked to stop .. all resumed */
	uint64_t stop_ns, drain_ns, fork_ns;
	uint64_t blocks, bytes, lost_events;
	uint32_t number;		/* 1, 2, ... within the process */
	bool consistent;
	int child;			/* pid of the walking child, to be waited for with __WALL */
	char error[256];		/* one sentence when the call fails */
};

/* Take a snapshot. Agent thread only, one at a time. Returns 0 when the service runs again (the child
 * may still be writing), or a negative errno with a sentence in ret_result->error:
 * -EBUSY, -E2BIG (predicted pause above the limit), -EAGAIN (fork refused), -ETIMEDOUT. */
int ld__snapshot_take(const struct snapshot_request *request, struct snapshot_result *ret_result);

/* Pause to expect now, from the resident size. */
uint64_t ld__snapshot_predict_ns(void);

#endif
