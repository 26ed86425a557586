/* SPDX-License-Identifier: Apache-2.0
 * L5  apply.c - what the events of the rings do to the live table.
 *
 * Mostly blocks die young. So events are gathered in the order of their clocks, some hundreds of them, before the table
 * hears of them: a free that finds its block among them takes it out, and neither of the two reaches the table.
 *
 *   rings -> | a b c a' d e c' ... | -> b d e -> live table
 *
 * Where blocks live longer that is work for nothing: while few events are undone, most go to the table as they come, and
 * some are gathered now and then to see whether it would pay again.
 *
 * (1) A cell, chosen by the address, tells which event of those that chose it came last. If that is the allocation of
 *     this very address, then nothing has been heard of the address since, and the free undoes it. A free whose cell
 *     another address took is gathered like any other event: that costs time, no more.
 * (2) An allocation where a block lives tells of a free that was never seen, and heals the table: undone, it would
 *     not. So nothing is undone any more after the first such sign, the first lost event, or a fork that left events
 *     behind. The sign itself may be undone a while; an allocation that is the last of a batch is not.
 * (3) Nothing is left over whenever the drain lock is free. What goes straight to the table finds nothing gathered. */
#include "preload/apply.h"

#include <stdatomic.h>
#include <string.h>

#include "preload/live.h"
#include "preload/ring.h"
#include "preload/stream.h"

#define BATCH 512u			/* events */
#define CELLS 1024u			/* power of two */
#define SOON 32u			/* events of another thread that are still in its processor's cache */
#define UNDONE_LEAST 8u			/* one event in so many must be undone, or */
#define STRAIGHT 16384u			/* this many are not gathered */

static struct event batch[BATCH];	/* kind 0: none */
static uint64_t hashes[BATCH];
static uint32_t count;
static uint16_t cells[CELLS];		/* places in the batch */
static struct { struct ring *ring; uint32_t place; } others[BATCH];	/* neither allocations nor frees, in their order */
static uint32_t other_count;
static uint32_t undone;			/* blocks of the batch whose free has taken them out again */
static uint64_t straight;		/* events to come that are not gathered */
static _Atomic bool distrusts;

/* ---- one event ---- */

static void begin(struct ring_pending *pending, const struct event *e, bool known,
		  const struct live_block *block)
{
	pending->active = 1;
	pending->addr = e->addr;
	pending->bytes = e->bytes;
	pending->kind = 0;
	if (known) {
		pending->birth = block->birth;
		pending->stack = block->stack;
		pending->tid = block->tid;
		pending->kind = block->kind;
		pending->sample = block->sample;
	}
}

static void realloc_end(struct ring_pending *pending, const struct event *e)
{
	bool known = pending->active && pending->kind;
	struct live_block block = ld__live_block_of(e, known ? pending->birth : e->clock);

	if (known)
		ld__live_realloc_end(pending->addr, pending->birth);
	pending->active = 0;
	block.kind = STREAM_NODE_REALLOC;
	if (e->addr)		/* 0: realloc(p, 0) that freed the block */
		ld__live_insert(&block);
}

static void remap_end(struct ring_pending *pending, const struct event *e)
{
	struct live_block block = ld__live_block_of(e, pending->birth);
	bool known = pending->active && pending->kind;

	pending->active = 0;
	block.kind = STREAM_NODE_MAPPING;
	if (known)
		ld__live_map(&block);
	else
		ld__live_unmap(e->addr, e->bytes, NULL);	/* a file's pages moved over it */
}

static void remap_fail(struct ring_pending *pending)
{
	struct live_block block = {
		.addr = pending->addr, .bytes = pending->bytes, .birth = pending->birth,
		.stack = pending->stack, .tid = pending->tid, .kind = STREAM_NODE_MAPPING,
		.sample = pending->sample & 0xf,
	};

	if (pending->active && pending->kind)
		ld__live_map(&block);
	pending->active = 0;
}

/* What is not of one block alone. */
static void apply(struct ring *ring, const struct event *e)
{
	struct live_block block;

	switch (e->kind) {
	case EVENT_REALLOC_BEGIN:
		begin(&ring->realloc_pending, e, ld__live_realloc_begin(e->addr, &block), &block);
		break;
	case EVENT_REALLOC_END:
		realloc_end(&ring->realloc_pending, e);
		break;
	case EVENT_REALLOC_FAIL:
		if (ring->realloc_pending.active && ring->realloc_pending.kind)
			ld__live_realloc_fail(e->addr, ring->realloc_pending.birth);
		ring->realloc_pending.active = 0;
		break;
	case STREAM_NODE_MAPPING:
		block = ld__live_block_of(e, e->clock);
		ld__live_map(&block);
		break;
	case EVENT_UNMAP:
		ld__live_unmap(e->addr, e->bytes, NULL);
		break;
	case EVENT_REMAP_BEGIN:
		begin(&ring->remap_pending, e, ld__live_unmap(e->addr, e->bytes, &block), &block);
		break;
	case EVENT_REMAP_END:
		remap_end(&ring->remap_pending, e);
		break;
	case EVENT_REMAP_FAIL:
		remap_fail(&ring->remap_pending);
		break;
	}
}

/* ---- many events ---- */

/* The free of a block that is in the batch? */
static inline bool undo(const struct event *e, uint32_t place, uint32_t events)
{
	struct event *born = &batch[place];

	if (born->addr != e->addr || place >= events || born->kind >= STREAM_NODE_MAPPING ||
	    atomic_load_explicit(&distrusts, memory_order_relaxed))
		return false;
	born->addr = 0;
	born->kind = 0;
	return true;
}

/* Allocations and frees alone. */
static void apply_stretch(uint32_t from, uint32_t to)
{
	static uint16_t order[BATCH + LIVE_AHEAD];
	uint32_t left = 0;

	for (uint32_t i = from; i < to; i++) {
		order[left] = (uint16_t)i;
		left += batch[i].kind != 0;
	}
	ld__live_apply(batch, hashes, order, left);
}

void ld__apply_finish(void)
{
	uint32_t from = 0;

	for (uint32_t i = 0; i < other_count; i++) {
		uint32_t place = others[i].place;

		apply_stretch(from, place);
		apply(others[i].ring, &batch[place]);
		from = place + 1;
	}
	if (from < count)
		apply_stretch(from, count);
	if (count == BATCH && undone < BATCH / UNDONE_LEAST)
		straight = STRAIGHT;
	count = other_count = undone = 0;
	if (ld__live_anomalies())
		ld__apply_distrust();
}

/* Those that lie side by side from `e` on, as far as before `end`. Returns the first that is left. */
static inline const struct event *gather_some(struct ring *ring, const struct event *e, const struct event *end, uint64_t limit)
{
	uint32_t n = count;

	do {
		uint64_t hash = ld__live_hash(e->addr);
		uint16_t *cell = &cells[hash & (CELLS - 1)];

		__builtin_prefetch(e + SOON);
		if (e->kind == EVENT_FREE) {
			if (undo(e, *cell, n)) {
				undone++;
				continue;
			}
		} else if (__builtin_expect(e->kind >= STREAM_NODE_MAPPING, 0)) {
			others[other_count].ring = ring;
			others[other_count++].place = n;
		}
		batch[n] = *e;
		hashes[n] = hash;
		*cell = (uint16_t)n;
		count = ++n;
		if (__builtin_expect(n == BATCH, 0)) {
			ld__apply_finish();
			return e + 1;
		}
	} while (++e < end && e->clock <= limit);
	return e;
}

static uint64_t gather(struct ring *ring, uint64_t at, uint64_t end, uint64_t limit)
{
	const struct event *first = &ld__ring_events(ring)[at & ring->event_mask];
	uint64_t side_by_side = ring->event_mask + 1ull - (at & ring->event_mask);

	if (side_by_side > end - at)
		side_by_side = end - at;
	return at + (uint64_t)(gather_some(ring, first, first + side_by_side, limit) - first);
}

static uint64_t go_straight(struct ring *ring, uint64_t at, uint64_t end, uint64_t limit)
{
	const struct event *events = ld__ring_events(ring);
	uint64_t first = at;

	if (end - at > straight)
		end = at + straight;
	at = ld__live_apply_ring(events, ring->event_mask, at, end, limit, &ring->asked);
	if (at == first || (at < end && events[at & ring->event_mask].clock <= limit))	/* it is neither of the two */
		apply(ring, &events[at++ & ring->event_mask]);
	straight -= at - first;
	if (!straight && ld__live_anomalies())
		ld__apply_distrust();
	return at;
}

uint64_t ld__apply_events(struct ring *ring, uint64_t at, uint64_t end, uint64_t limit)
{
	const struct event *events = ld__ring_events(ring);

	do {
		at = straight ? go_straight(ring, at, end, limit) : gather(ring, at, end, limit);
	} while (at < end && events[at & ring->event_mask].clock <= limit);
	return at;
}

void ld__apply_abandon(void)
{
	count = other_count = undone = 0;
	straight = 0;
}

void ld__apply_distrust(void)
{
	atomic_store_explicit(&distrusts, true, memory_order_relaxed);
}
