/* SPDX-License-Identifier: Apache-2.0
 * L0  ring_file.h - layout of the event rings in their file, for who reads it after a crash.
 *
 *   struct ring_file, padded to RING_PAGE | ring 0 | ring 1 | ...      grown as threads come
 *   ring = struct ring_file_ring, padded to RING_PAGE | events * struct event
 *
 * (1) The file is written through its mapping, a store at a time, and belongs to this machine: nothing in
 *     it is ever swapped or summed. Whatever the process was doing when it ended, head was raised after
 *     its event was whole.
 * (2) Event n of a ring lies in slot n modulo event_count; the last event_count ones are there, but the
 *     oldest of them may be half overwritten by one that was not published any more.
 * (3) What a newer version adds to the header is 0 in an older file. */
#ifndef LEAKDIFF_RING_FILE_H
#define LEAKDIFF_RING_FILE_H

#include <stdint.h>

#define RING_MAGIC "LDRING\0"		/* 8 bytes with the final NUL */
#define RING_VERSION 1u
#define RING_PAGE 4096u
#define RING_MAX 65536u			/* rings, so threads alive at once */

enum event_kind {			/* 1..31: an allocation of that stream_node_kind */
	EVENT_FREE = 32,
	EVENT_REALLOC_BEGIN,		/* addr: the old block, about to be given up */
	EVENT_REALLOC_END,		/* addr, bytes, stack: what it became */
	EVENT_REALLOC_FAIL,		/* the old block lives on as it was */
	EVENT_UNMAP,			/* addr, bytes: the range */
	EVENT_REMAP_BEGIN,		/* addr, bytes: the old range */
	EVENT_REMAP_END,		/* addr, bytes, stack: the new range; recorded if the old one was */
	EVENT_REMAP_FAIL,
};

struct event {
	uint64_t clock;			/* birth clock; strictly grows within a ring */
	uint64_t addr;
	uint64_t bytes;
	uint32_t stack : 24;
	uint32_t sample : 8;		/* the process's own: how the stack was sampled */
	uint32_t kind : 8;		/* enum event_kind */
	uint32_t tid : 24;
};

struct ring_file {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;		/* RING_PAGE: where ring 0 begins */
	uint32_t pid;
	uint32_t ring_count;		/* rings in the file; grows */
	uint32_t ring_bytes;		/* from one ring to the next */
	uint32_t ring_header_bytes;	/* events begin there within a ring */
	uint32_t event_count;		/* slots of a ring, power of two */
	uint32_t event_bytes;		/* sizeof(struct event) */
	uint64_t start_clock;
	int64_t start_realtime_ns;
	uint32_t clock_is_time;		/* 1 = clocks are readings of the TSC; 0 = a count, or not said */
	uint32_t reserved;
};

/* What of a ring's header means something in the file; the rest is the process's own. */
struct ring_file_ring {
	uint64_t events_at;		/* RING_PAGE once the ring is in use */
	uint32_t event_mask;		/* event_count - 1 */
	uint32_t index;
	_Alignas(64) uint64_t head;	/* events ever published */
	uint64_t unused[15];
	_Alignas(64) uint64_t tail;	/* events ever drained into the table of live blocks */
};

_Static_assert(sizeof(struct event) == 32, "layout");
_Static_assert(sizeof(struct ring_file) == 64, "layout");

#endif
