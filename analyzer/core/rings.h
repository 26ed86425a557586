/* SPDX-License-Identifier: Apache-2.0
 * L1  rings.h - the event rings that a process left behind: its last allocations and frees.
 *
 * The file is written by a process that may have ended in any way, or by somebody else: every number is
 * checked before it is used, and nothing is mapped, so a file that is cut meanwhile is an error and no
 * signal. Only the shape of the file can be refused; an event that cannot be one is left out and counted. */
#ifndef LEAKDIFF_RINGS_H
#define LEAKDIFF_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/ring_file.h"

struct rings;

struct rings_facts {
	uint32_t pid;			/* as the process saw itself */
	uint32_t rings;			/* in the file; some may never have been used */
	uint32_t slots;			/* events that one ring keeps */
	uint64_t recorded;		/* events ever published in all of them */
	uint64_t not_drained;		/* of these, not yet in the table of live blocks */
	uint64_t start_clock, last_clock;	/* birth clock at the start, at the last event */
	int64_t start_realtime_ns;
	bool clock_is_time;
};

struct rings_events {			/* of one ring */
	struct event *events;		/* oldest first; zero-initialised is empty */
	size_t count;
	uint64_t recorded, not_drained;	/* as above, of this ring */
	uint64_t unreadable;		/* slots that hold no event and are left out */
};

/* Read the shape of an open ring file and check it. fd stays the caller's and must outlive the rings;
 * path is for messages. ret_error: one sentence, the caller's.
 * Returns 0 or -EBADMSG (truncated, corrupt or foreign), -EPROTO (newer), -EIO, -ENOMEM. */
int rings_open(int fd, const char *path, struct rings **ret_rings, char **ret_error)
	__attribute__((warn_unused_result));
const struct rings_facts *rings_facts(const struct rings *rings);

/* The last `most` events of ring number `index`. Returns 0 with *ret_events (rings_events_done()), or as
 * rings_open(). */
int rings_read(const struct rings *rings, uint32_t index, size_t most, struct rings_events *ret_events,
	       char **ret_error) __attribute__((warn_unused_result));
void rings_events_done(struct rings_events *events);

/* "malloc", "free", "realloc (old block)": what an event was. */
const char *rings_event_name(uint32_t kind);

/* Accepts NULL, returns NULL. */
struct rings *rings_free(struct rings *rings);

#endif
