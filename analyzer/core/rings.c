/* SPDX-License-Identifier: Apache-2.0
 * L1  rings.c - the event rings that a process left behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/rings.h"
#include "core/text.h"
#include "preload/stream.h"

#define SLOTS_MAX (1u << 20)		/* the library's own limit, LEAKDIFF_RING */

struct rings {
	int fd;
	char *path;
	struct ring_file file;
	struct rings_facts facts;
};

static int refuse(char **ret_error, int error, char *sentence)
{
	*ret_error = sentence;
	return sentence ? error : -ENOMEM;
}

/* Read all of [at, at + bytes): what is missing is an error. */
static int read_at(const struct rings *rings, void *to, size_t bytes, uint64_t at, char **ret_error)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pread(rings->fd, (char *)to + done, bytes - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return refuse(ret_error, -EIO, text_format("%s cannot be read: %s", rings->path, strerror(errno)));
		if (n == 0)
			return refuse(ret_error, -EBADMSG, text_format("%s is truncated: it ends at byte %" PRIu64
								       " in the middle of a ring", rings->path, at + done));
		done += (size_t)n;
	}
	return 0;
}

static int check_file(const struct rings *rings, uint64_t size, char **ret_error)
{
	const struct ring_file *f = &rings->file;

	if (memcmp(f->magic, RING_MAGIC, sizeof(f->magic)) != 0)
		return refuse(ret_error, -EBADMSG, text_format("%s is no file of event rings of leakdiff", rings->path));
	if (f->version > RING_VERSION)
		return refuse(ret_error, -EPROTO, text_format("%s was written by a newer leakdiff (rings %" PRIu32
							      "; this one reads up to %u): use that one's program",
							      rings->path, f->version, RING_VERSION));
	if (f->version == 0 || f->header_bytes != RING_PAGE || f->ring_header_bytes != RING_PAGE ||
	    f->event_bytes != sizeof(struct event) || f->event_count == 0 || f->event_count > SLOTS_MAX ||
	    (f->event_count & (f->event_count - 1)) || f->ring_count > RING_MAX ||
	    f->ring_bytes != RING_PAGE + f->event_count * (uint32_t)sizeof(struct event))
		return refuse(ret_error, -EBADMSG, text_format("%s is corrupt: its header cannot be", rings->path));
	if (size < RING_PAGE || (size - RING_PAGE) / f->ring_bytes < f->ring_count)
		return refuse(ret_error, -EBADMSG, text_format("%s is truncated: %" PRIu32 " rings need more than its %"
							       PRIu64 " bytes", rings->path, f->ring_count, size));
	return 0;
}

static uint64_t ring_at(const struct rings *rings, uint32_t index)
{
	return RING_PAGE + (uint64_t)index * rings->file.ring_bytes;
}

/* The header of one ring; one that nobody used is all zero but for what was being set up. */
static int read_header(const struct rings *rings, uint32_t index, struct ring_file_ring *ret_ring, char **ret_error)
{
	int r = read_at(rings, ret_ring, sizeof(*ret_ring), ring_at(rings, index), ret_error);

	if (r < 0)
		return r;
	if (ret_ring->tail > ret_ring->head || ret_ring->head - ret_ring->tail > rings->file.event_count ||
	    (ret_ring->head && (ret_ring->events_at != RING_PAGE || ret_ring->event_mask != rings->file.event_count - 1)))
		return refuse(ret_error, -EBADMSG, text_format("%s is corrupt: the numbers of its ring %" PRIu32
							       " cannot be", rings->path, index));
	return 0;
}

static bool is_event(const struct event *e)
{
	bool known = (e->kind >= STREAM_NODE_MALLOC && e->kind <= STREAM_NODE_PYTHON) ||
		     (e->kind >= EVENT_FREE && e->kind <= EVENT_REMAP_FAIL);

	return known && e->tid && e->clock;
}

static int survey(struct rings *rings, char **ret_error)
{
	struct rings_facts *facts = &rings->facts;

	for (uint32_t i = 0; i < rings->file.ring_count; i++) {
		struct ring_file_ring ring;
		struct event last;
		int r = read_header(rings, i, &ring, ret_error);

		if (r == 0 && ring.head)
			r = read_at(rings, &last, sizeof(last), ring_at(rings, i) + RING_PAGE +
				    ((ring.head - 1) & (rings->file.event_count - 1)) * sizeof(last), ret_error);
		if (r < 0)
			return r;
		facts->recorded += ring.head;
		facts->not_drained += ring.head - ring.tail;
		if (ring.head && is_event(&last) && last.clock > facts->last_clock)
			facts->last_clock = last.clock;
	}
	return 0;
}

int rings_open(int fd, const char *path, struct rings **ret_rings, char **ret_error)
{
	struct rings *rings = calloc(1, sizeof(*rings));
	struct stat st;
	int r;

	*ret_error = NULL;
	if (rings)
		rings->path = strdup(path);
	if (!rings || !rings->path) {
		rings_free(rings);
		return refuse(ret_error, -ENOMEM, text_format("not enough memory to read %s", path));
	}
	rings->fd = fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = refuse(ret_error, -EBADMSG, text_format("%s is no regular file", path));
	else if ((uint64_t)st.st_size < sizeof(rings->file))
		r = refuse(ret_error, -EBADMSG, text_format("%s is truncated: it has no whole header", path));
	else
		r = read_at(rings, &rings->file, sizeof(rings->file), 0, ret_error);
	if (r == 0)
		r = check_file(rings, (uint64_t)st.st_size, ret_error);
	rings->facts = (struct rings_facts){
		.pid = rings->file.pid, .rings = rings->file.ring_count, .slots = rings->file.event_count,
		.start_clock = rings->file.start_clock, .start_realtime_ns = rings->file.start_realtime_ns,
		.clock_is_time = rings->file.clock_is_time == 1,
	};
	if (r == 0)
		r = survey(rings, ret_error);
	if (r < 0) {
		rings_free(rings);
		return r;
	}
	*ret_rings = rings;
	return 0;
}

const struct rings_facts *rings_facts(const struct rings *rings)
{
	return &rings->facts;
}

int rings_read(const struct rings *rings, uint32_t index, size_t most, struct rings_events *ret_events,
	       char **ret_error)
{
	uint64_t slots = rings->file.event_count, first, base = ring_at(rings, index) + RING_PAGE;
	struct rings_events found = { 0 };
	struct ring_file_ring ring;
	size_t count;
	int r;

	*ret_error = NULL;
	r = read_header(rings, index, &ring, ret_error);
	if (r < 0)
		return r;
	/* the oldest one may be half overwritten: ring_file.h (2) */
	count = ring.head < slots ? (size_t)ring.head : (size_t)slots - 1;
	if (count > most)
		count = most;
	first = ring.head - count;
	found.recorded = ring.head;
	found.not_drained = ring.head - ring.tail;
	found.events = malloc((count + 1) * sizeof(*found.events));
	if (!found.events)
		return refuse(ret_error, -ENOMEM, text_format("not enough memory to read %s", rings->path));
	for (size_t done = 0; done < count;) {		/* at most two runs: the ring's end is in between */
		uint64_t slot = (first + done) & (slots - 1);
		size_t run = count - done < slots - slot ? count - done : (size_t)(slots - slot);

		r = read_at(rings, found.events + done, run * sizeof(*found.events), base + slot * sizeof(*found.events),
			    ret_error);
		if (r < 0) {
			free(found.events);
			return r;
		}
		done += run;
	}
	for (size_t i = 0; i < count; i++) {
		if (is_event(&found.events[i]))
			found.events[found.count++] = found.events[i];
		else
			found.unreadable++;
	}
	*ret_events = found;
	return 0;
}

void rings_events_done(struct rings_events *events)
{
	free(events->events);
	*events = (struct rings_events){ 0 };
}

const char *rings_event_name(uint32_t kind)
{
	static const char *const names[] = {
		[STREAM_NODE_MALLOC] = "malloc", [STREAM_NODE_CALLOC] = "calloc", [STREAM_NODE_REALLOC] = "realloc",
		[STREAM_NODE_ALIGNED] = "aligned_alloc", [STREAM_NODE_NEW] = "new", [STREAM_NODE_MAPPING] = "mmap",
		[STREAM_NODE_PYTHON] = "python", [EVENT_FREE] = "free", [EVENT_REALLOC_BEGIN] = "realloc from",
		[EVENT_REALLOC_END] = "realloc to", [EVENT_REALLOC_FAIL] = "realloc failed", [EVENT_UNMAP] = "munmap",
		[EVENT_REMAP_BEGIN] = "mremap from", [EVENT_REMAP_END] = "mremap to", [EVENT_REMAP_FAIL] = "mremap failed",
	};

	return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "unknown";
}

struct rings *rings_free(struct rings *rings)
{
	if (rings)
		free(rings->path);
	free(rings);
	return NULL;
}
