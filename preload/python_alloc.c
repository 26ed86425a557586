/* SPDX-License-Identifier: Apache-2.0
 * L8  python_alloc.c - see python_alloc.h.
 *
 *   PyObject_Malloc, PyMem_Malloc -> ours -> pymalloc -> up to 512 bytes   a slot in a pool: recorded here
 *                                                     -> more              malloc: its hook records it
 *
 * (1) Pass-through: a block that was handed out before, or is freed after, is the same block. So it does not
 *     matter when these functions come and go.
 * (2) They are put in place by our constructor, before the interpreter has begun: it misses nothing then. The
 *     settings PYTHONMALLOC and -X dev replace them while it begins; that is noticed at a snapshot and said.
 * (3) A free is recorded only if the allocation was: what pymalloc got from malloc is the affair of
 *     malloc's hooks, and a realloc there must keep its birth. In mode lite only sampled blocks are
 *     recorded at all: the snapshot finds the others by itself, without birth and stack.
 * (4) An event is pushed after the real allocation and before the real free, as in the hooks. */
#include "preload/python_alloc.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "preload/arena.h"
#include "preload/config.h"
#include "preload/python_frames.h"
#include "preload/python_private.h"
#include "preload/record.h"
#include "preload/stream.h"

#define DOMAIN_MEM 1
#define DOMAIN_OBJ 2
#define SMALL 512u			/* pymalloc's SMALL_REQUEST_THRESHOLD since 3.3 */
#define SMALL_DEBUG 480u		/* of a debug build, which adds its own marks around a block */
#define TOP_SLOTS (1u << 17)		/* GiBs of user addresses */
#define SLOT_BITS (1u << 26)		/* units of 16 bytes in a GiB */

struct original {
	struct py_allocator calls;
};

static struct original originals[3];
static size_t small_bytes = SMALL;
static _Atomic(uint64_t) *_Atomic recorded[TOP_SLOTS];	/* one bit per 16 bytes of address space */
static bool installed;

/* ---- which blocks were recorded ---- */

static inline _Atomic(uint64_t) *word_of(uint64_t addr)
{
	_Atomic(uint64_t) *bits = atomic_load_explicit(&recorded[addr >> 30 & (TOP_SLOTS - 1)], memory_order_acquire);

	return bits ? &bits[(addr >> 4 & (SLOT_BITS - 1)) / 64] : NULL;
}

static __attribute__((noinline)) _Atomic(uint64_t) *make_word(uint64_t addr)
{
	_Atomic(uint64_t) *_Atomic *slot = &recorded[addr >> 30 & (TOP_SLOTS - 1)];
	_Atomic(uint64_t) *none = NULL, *fresh = ld__arena_map(SLOT_BITS / 8);

	if (fresh && !atomic_compare_exchange_strong(slot, &none, fresh))
		ld__arena_unmap(fresh, SLOT_BITS / 8);
	return word_of(addr);
}

/* Take the mark of a block away; was there one? */
static inline bool unmark(void *block)
{
	uint64_t addr = (uint64_t)(uintptr_t)block, bit = 1ull << (addr >> 4 & 63);
	_Atomic(uint64_t) *word = word_of(addr);

	uint64_t now = word ? atomic_load_explicit(word, memory_order_relaxed) : 0;

	if (!(now & bit))
		return false;
	atomic_store_explicit(word, now & ~bit, memory_order_relaxed);	/* the GIL is held: nobody else writes */
	return true;
}

static inline bool mark(void *block)
{
	uint64_t addr = (uint64_t)(uintptr_t)block;
	_Atomic(uint64_t) *word = word_of(addr);

	if (UNLIKELY(!word))
		word = make_word(addr);
	if (word)
		atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) |
					    1ull << (addr >> 4 & 63), memory_order_relaxed);
	return word != NULL;
}

/* ---- recording ---- */

static inline __attribute__((always_inline)) void allocated(void *block, size_t bytes)
{
	struct guard *g = &ld__guard;
	enum enter how;

	if (!block || bytes > small_bytes || !ld__record_sampled(g, bytes))
		return;
	how = ld__hook_enter(g);
	if (how == ENTER_FORWARD)
		return;
	if (how == ENTER_RECORD && mark(block))
		ld__record_alloc(g, how, STREAM_NODE_PYTHON, block, bytes, WHERE);
	ld__hook_leave(g, how);
}

static inline __attribute__((always_inline)) void given_up(void *block)
{
	struct guard *g = &ld__guard;
	enum enter how = ld__hook_enter(g);

	if (how == ENTER_FORWARD)
		return;
	ld__record_free(g, how, block);
	ld__hook_leave(g, how);
}

static void *ours_malloc(void *ctx, size_t bytes)
{
	const struct py_allocator *real = &((struct original *)ctx)->calls;
	void *block = real->malloc(real->ctx, bytes);

	allocated(block, bytes);
	return block;
}

static void *ours_calloc(void *ctx, size_t count, size_t bytes)
{
	const struct py_allocator *real = &((struct original *)ctx)->calls;
	void *block = real->calloc(real->ctx, count, bytes);

	allocated(block, count * bytes);
	return block;
}

static void ours_free(void *ctx, void *block)
{
	const struct py_allocator *real = &((struct original *)ctx)->calls;

	if (block && unmark(block))
		given_up(block);
	real->free(real->ctx, block);
}

static void *ours_realloc(void *ctx, void *old, size_t bytes)
{
	const struct py_allocator *real = &((struct original *)ctx)->calls;
	bool was_recorded = old && unmark(old);
	void *block;

	if (was_recorded)
		given_up(old);
	block = real->realloc(real->ctx, old, bytes);
	if (!old || was_recorded)	/* what malloc handed out stays malloc's */
		allocated(block ? block : old, block ? bytes : 1);
	return block;
}

/* ---- putting in place ---- */

static void install(int domain)
{
	struct py_allocator ours = {
		&originals[domain], ours_malloc, ours_calloc, ours_realloc, ours_free,
	};

	ld__py.PyMem_GetAllocator(domain, &originals[domain].calls);
	ld__py.PyMem_SetAllocator(domain, &ours);
}

#ifndef LEAKDIFF_PARTS
/* After that of process.c, by the order of the files' names. */
__attribute__((constructor)) static void install_early(void)
{
	if (ld__config()->python != CONFIG_PYTHON_STACKS || !ld__python_frames_on ||
	    !ld__py.PyMem_GetAllocator || ld__py.Py_IsInitialized())
		return;
	if (ld__py.debug_build)
		small_bytes = SMALL_DEBUG;
	install(DOMAIN_MEM);
	install(DOMAIN_OBJ);
	installed = true;
}
#endif

const char *ld__python_alloc_check(void)
{
	struct py_allocator now;

	if (ld__config()->python != CONFIG_PYTHON_STACKS)
		return NULL;
	if (!installed)
		return "small Python objects have no stacks: the interpreter was already there when recording began";
	ld__py.PyMem_GetAllocator(DOMAIN_OBJ, &now);
	return now.malloc == ours_malloc ? NULL
		: "small Python objects have no stacks: PYTHONMALLOC, -X dev or the program chose another allocator";
}
