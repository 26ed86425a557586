/* SPDX-License-Identifier: Apache-2.0
 * L4  ring.h - per-thread event rings between the hooks and whoever drains.
 *
 * All rings lie in one mapped file, "<folder>/<pid>.ring", so that the last events outlive a crash; its
 * layout is in ring_file.h. Where the file cannot be had, rings are anonymous memory and nothing else
 * changes. */
#ifndef LEAKDIFF_RING_H
#define LEAKDIFF_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "clock_inline.h"
#include "guard.h"
#include "ring_file.h"
#include "step.h"
#include "stream.h"

#define RING_SLACK 32u			/* slots kept for frees met inside a real allocator call */

/* What a drain must remember between two events of one thread. */
struct ring_pending {
	uint64_t addr, bytes, birth;
	uint32_t stack;
	uint32_t tid;
	uint32_t kind;			/* 0 = the old block was not known */
	uint32_t active;		/* 1 between BEGIN and END or FAIL */
	uint32_t sample;
};

struct stack_memo;
struct python_memo;

/* One ring. The owner writes head and everything in its part; whoever holds the drain lock writes
 * tail and pending. */
struct ring {
	/* read by everyone */
	uint64_t events_at;		/* byte offset of the events from here */
	uint32_t event_mask;
	uint32_t index;

	/* written by the owner; the first line is all that most events need */
	_Alignas(64) uint64_t head;	/* events ever published */
	uint64_t quick_limit;		/* below it there is room for an event and for RING_SLACK more, and no clock to read */
	uint64_t clock_base;		/* what to add to head for the least clock of the next event: one above the last's */
	uint64_t owner;			/* its tid, where an event's last word has it */
	uint32_t own_mask, own_index;	/* event_mask and index, in this line */
	struct step_head last_stack;	/* of step */
	struct step *step;		/* the stacks that were stepped by rules; NULL = never */
	uint64_t clock_due;		/* the first event from that one on reads the clock */
	uint64_t limit;			/* head may not pass it without looking at tail again */
	uint64_t wait_start;		/* ld__clock_mark() when an epoll_wait began; 0 = none is running */
	int64_t wait_timeout_ms;
	uint64_t timed_events, timed_ticks;	/* with a budget: see budget.h */

	/* written under the drain lock */
	_Alignas(64) uint64_t tail;	/* events ever drained */
	uint64_t asked;			/* see ld__live_apply_ring() */
	struct ring_pending realloc_pending, remap_pending;

	/* by the owner again */
	_Alignas(64) void **pcs;	/* room for one stack, in our arena */
	struct stack_memo *memo;	/* the last stack that libunwind walked */
	struct python_memo *python;	/* the last Python stack; made when there is one */
	uint64_t stack_ticks;		/* with a budget */
};

_Static_assert(sizeof(struct ring) <= RING_PAGE, "layout");
_Static_assert(offsetof(struct ring, events_at) == offsetof(struct ring_file_ring, events_at), "layout");
_Static_assert(offsetof(struct ring, event_mask) == offsetof(struct ring_file_ring, event_mask), "layout");
_Static_assert(offsetof(struct ring, head) == offsetof(struct ring_file_ring, head), "layout");
_Static_assert(offsetof(struct ring, tail) == offsetof(struct ring_file_ring, tail), "layout");
_Static_assert(offsetof(struct ring, timed_events) == 64 + 14 * 8, "tests/snapshot/test_budget.py reads it");

static inline struct event *ld__ring_events(struct ring *ring)
{
	return (struct event *)(void *)((char *)ring + RING_PAGE);
}

/* Set up the file for this process; without it (or when it fails) rings are anonymous.
 * event_count: power of two. Returns 0 or a negative errno (anonymous memory is used then). */
int ld__ring_open(const char *folder, uint32_t event_count);

/* Remove the file's name: normal end of the process. */
void ld__ring_unlink(void);

/* Forget all rings of the parent (their memory is not inherited). Fork child only. */
void ld__ring_after_fork_child(void);

/* Around a fork, with the drain lock held: what was interrupted by the signal handler that forks goes on in
 * the child with this thread's ring in hand. There it is memory that nobody reads. */
void ld__ring_before_fork(void);
void ld__ring_in_fork_child(void);

/* Give the calling thread a ring: one of a thread that is gone, or a new one. Sets ld__guard.ring
 * and ld__guard.tid. Inside the guard. NULL when memory or RING_MAX is exhausted. */
struct ring *ld__ring_acquire(void);

/* Are the short hooks of hooks.c right for this process, where libc or jemalloc is the allocator and no budget is kept?
 * Then the threads that get a ring from now on use them, and the calling one. */
void ld__ring_allow_quick(bool allow);

/* A fork child's thread has no ring. Its next event gets it one. */
void ld__ring_forget(void);

/* Leave the calling thread's ring for good: its next event gets it another one. */
void ld__ring_retire(void);

/* All rings, dead owners included; lock-free. Never shrinks but for a fork. */
uint32_t ld__ring_count(void);
struct ring *ld__ring_get(uint32_t index);

/* The ring of thread `tid`, NULL when it has none. */
struct ring *ld__ring_of_tid(uint32_t tid);

static inline void ld__ring_set_limit(struct ring *ring, uint64_t limit)
{
	ring->limit = limit;
	limit -= RING_SLACK;
	ring->quick_limit = limit < ring->clock_due ? limit : ring->clock_due;
}

/* From which event on does one read the clock? Owner only. */
static inline void ld__ring_set_clock_due(struct ring *ring, uint64_t due)
{
	ring->clock_due = due;
	ld__ring_set_limit(ring, ring->limit);
}

/* Is there room for `slots` more events? Looks at tail when the cached limit is reached. */
static inline bool ld__ring_has_room(struct ring *ring, uint32_t slots)
{
	if (__builtin_expect(ring->head + slots <= ring->limit, 1))
		return true;
	ld__ring_set_limit(ring, __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) + ring->event_mask + 1);
	return ring->head + slots <= ring->limit;
}

/* stack: its id, with the code of its sample (see budget.h) above 24 bits. */
#define RING_SAMPLE_SHIFT 24u

/* Which ring had the last event of an address: address << 16 | index, in a cell that many addresses share. An event
 * that finds its own ring there follows that ring's last event, whatever the others do, so it needs no clock.
 *
 * Why this is right though nobody locks: the events of one address happen one after the other, and each leaves its
 * word before the next can begin. So who finds address and ring has the last word on this address: another ring's
 * would stand behind it. What another address, or a thread that was long descheduled, has left there instead is
 * some other word, and then the clock is read. */
#define RING_CELL_BITS 16u
#define RING_CELLS (1u << RING_CELL_BITS)
extern LD_HIDDEN uint64_t ld__ring_cells[RING_CELLS];
_Static_assert(RING_MAX <= 1u << 16, "index");

/* Blocks that lie beside each other have cells beside each other. */
static inline uint64_t *ld__ring_cell(uint64_t addr)
{
	return &ld__ring_cells[((addr >> 4) ^ (addr >> (4 + RING_CELL_BITS)) * 0x9e3779b1u) & (RING_CELLS - 1)];
}

static inline int ld__ring_owns(const struct ring *ring, uint64_t addr)
{
	uint64_t *cell = ld__ring_cell(addr), mine = addr << 16 | ring->own_index;
	int is_own = __atomic_load_n(cell, __ATOMIC_RELAXED) == mine;

	if (!is_own)
		__atomic_store_n(cell, mine, __ATOMIC_RELAXED);
	return is_own;
}

/* The clock of event number `head`, the next one of a ring. */
static inline __attribute__((always_inline)) uint64_t ld__ring_clock(struct ring *ring, uint64_t head, uint32_t kind,
								     uint64_t addr, bool is_due)
{
	uint64_t least = ring->clock_base + head, clock;
	int is_own = 1;

	/* one thread alone, whose allocation is above the floor */
	if (__builtin_expect(!is_due && (kind == EVENT_FREE ? ld__clock_alone() : least >= ld__clock_floor_word()), 1))
		return least;
	/* the events of a range of memory are ordered by the clock alone */
	if (!ld__clock_alone())
		is_own = ld__clock_runs() && kind != STREAM_NODE_MAPPING && kind < EVENT_UNMAP && ld__ring_owns(ring, addr);
	clock = kind == EVENT_FREE ? ld__clock_order(least, is_own && !is_due) : ld__clock_birth(least, is_own, is_due);
	if (__builtin_expect(clock != least, 0))
		ring->clock_base = clock - head;
	return clock;
}

/* Publish one event in the calling thread's own ring, in PHASE_PUSH; the caller has made sure of room, and knows whether the
 * clock is due. The slot is written before head passes it (pairs with the acquire load of head in drain.c). */
static inline __attribute__((always_inline)) void ld__ring_write(struct ring *ring, uint32_t kind, uint64_t addr,
								 uint64_t bytes, uint32_t stack, bool is_due)
{
	uint64_t head = ring->head, clock = ld__ring_clock(ring, head, kind, addr, is_due);
	uint64_t last = ring->owner | (uint64_t)kind << 32 | stack;
	struct event *event = &ld__ring_events(ring)[head & ring->own_mask];

	event->clock = clock;
	event->addr = addr;
	event->bytes = bytes;
	/* stack to tid in one store: bit-fields would be read before they are written */
	memcpy((char *)event + sizeof(*event) - sizeof(last), &last, sizeof(last));
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

/* The same from any phase. */
static inline __attribute__((always_inline)) void ld__ring_push(struct guard *g, struct ring *ring, uint32_t kind,
								uint64_t addr, uint64_t bytes, uint32_t stack)
{
	uint64_t state = g->state;
	bool is_due;

	ld__guard_set_phase(g, PHASE_PUSH);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	is_due = ring->head >= ring->clock_due;
	if (__builtin_expect(is_due, 0))
		ld__ring_set_clock_due(ring, ring->head + CLOCK_READ_EVERY);
	ld__ring_write(ring, kind, addr, bytes, stack, is_due);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	g->state = state;
}

/* Is thread `tid` in an epoll_wait with a finite timeout? Then 1, since when, and its timeout. */
int ld__ring_wait_of(uint32_t tid, uint64_t *ret_waited_ns, int64_t *ret_timeout_ms);

/* Path of the ring file, "" when anonymous. */
const char *ld__ring_path(void);

#endif
