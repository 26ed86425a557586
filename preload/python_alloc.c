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
 * (3) What is recorded lies in a table of its own (python_small.h), where a free finds it or finds nothing:
 *     what pymalloc got from malloc is the affair of malloc's hooks. realloc keeps the birth.
 * (4) A block is entered after the real allocation and taken out before the real free, as in the hooks,
 *     whether recording is on or off: nothing that was freed stays.
 * (5) In mode lite a count of bytes, for all threads together, says which blocks are sampled. Such a call must
 *     cost a few instructions and a free none at all. So an object that is sampled is asked for as a
 *     larger one: pymalloc hands that on to malloc, whose hooks see it come and go. The snapshot finds the
 *     others by itself, without birth and stack. */
#include "preload/python_alloc.h"

#include <stdbool.h>

#include "preload/clock.h"
#include "preload/clock_inline.h"
#include "preload/budget.h"
#include "preload/config.h"
#include "preload/drain.h"
#include "preload/python_frames.h"
#include "preload/python_private.h"
#include "preload/python_small.h"
#include "preload/record.h"

#define DOMAIN_MEM 1
#define DOMAIN_OBJ 2
#define SMALL 512u			/* pymalloc's SMALL_REQUEST_THRESHOLD since 3.3 */
#define SMALL_DEBUG 480u		/* of a debug build, which adds its own marks around a block */
#define BIRTHS_BETWEEN 7u

static struct py_allocator originals[3];
static uint32_t small_bytes = SMALL;
static int64_t bytes_left;		/* mode lite: to the next sampled block ... */
static uint32_t drawn_for;		/* ... with this interval */
static uint64_t last_birth;
static uint32_t births_left, births_between;
static bool installed;

/* ---- every block ---- */

/* Reading the processor's clock takes as long as walking the stack does. So it is read for each eighth block,
 * and those between are born one tick after the other: in their order, each at a time of its own. The first
 * after a snapshot reads it, see ld__python_alloc_check(). */
static inline uint64_t next_birth(void)
{
	uint64_t now;

	if (LIKELY(births_left)) {
		births_left--;
		return ++last_birth;
	}
	births_left = births_between;
	now = ld__clock_read();
	last_birth = now > last_birth ? now : last_birth + 1;
	return last_birth;
}

/* birth: of the block that it was, 0 = it is new. */
static inline __attribute__((always_inline)) void enter(void *block, size_t bytes, uint64_t birth)
{
	struct guard *g = &ld__guard;
	uint32_t stack;
	enum enter how;

	if (!block || bytes - 1 >= small_bytes)	/* none of 0 bytes either: malloc gives that */
		return;
	how = ld__hook_enter(g);
	if (UNLIKELY(how == ENTER_FORWARD))
		return;
	stack = ld__record_python_stack(g, how);
	if (!birth)
		birth = next_birth();
	if (UNLIKELY(!ld__python_small_put((uint64_t)(uintptr_t)block, (uint32_t)bytes, birth, stack, g->tid)))
		ld__drain_count_lost(1);
	ld__hook_leave(g, how);
}

static void *ours_malloc(void *ctx, size_t bytes)
{
	const struct py_allocator *real = ctx;
	void *block = real->malloc(real->ctx, bytes);

	enter(block, bytes, 0);
	return block;
}

static void *ours_calloc(void *ctx, size_t count, size_t bytes)
{
	const struct py_allocator *real = ctx;
	void *block = real->calloc(real->ctx, count, bytes);

	enter(block, count * bytes, 0);
	return block;
}

static void ours_free(void *ctx, void *block)
{
	const struct py_allocator *real = ctx;

	if (LIKELY(block))
		ld__python_small_take((uint64_t)(uintptr_t)block);
	real->free(real->ctx, block);
}

static void *ours_realloc(void *ctx, void *old, size_t bytes)
{
	const struct py_allocator *real = ctx;
	uint64_t birth = old ? ld__python_small_take((uint64_t)(uintptr_t)old) : 0;
	void *block = real->realloc(real->ctx, old, bytes);

	if (!block && birth)
		ld__python_small_put_back((uint64_t)(uintptr_t)old, birth);
	else if (!old || birth)		/* what malloc handed out stays malloc's */
		enter(block, bytes, birth);
	return block;
}

/* ---- mode lite: one set of functions for both domains, with their own context ---- */

/* What to ask for instead of `bytes`: as much as goes to malloc, where it is sampled. */
static __attribute__((noinline)) size_t sample(size_t bytes)
{
	uint32_t lg = drawn_for;

	drawn_for = ld__sample_lg;
	bytes_left = (int64_t)ld__record_next_sample(&ld__guard, drawn_for);
	if (bytes - 1 >= SMALL)
		return bytes;		/* it goes there anyhow, and is sampled as others of its size */
	ld__record_sample_next(&ld__guard, lg);
	return SMALL + 1;
}

static void *lite_malloc(void *ctx, size_t bytes)
{
	bytes_left -= (int64_t)bytes;
	if (UNLIKELY(bytes_left < 0))
		bytes = sample(bytes);
	return originals[DOMAIN_OBJ].malloc(ctx, bytes);
}

static void *lite_calloc(void *ctx, size_t count, size_t bytes)
{
	bytes_left -= (int64_t)(count * bytes);
	if (UNLIKELY(bytes_left < 0)) {
		bytes = sample(count * bytes);
		count = 1;
	}
	return originals[DOMAIN_OBJ].calloc(ctx, count, bytes);
}

static void *lite_realloc(void *ctx, void *old, size_t bytes)
{
	return old ? originals[DOMAIN_OBJ].realloc(ctx, old, bytes) : lite_malloc(ctx, bytes);
}

/* ---- putting in place ---- */

static void install(int domain)
{
	const struct py_allocator *real = &originals[domain], *objects = &originals[DOMAIN_OBJ];
	struct py_allocator ours = { &originals[domain], ours_malloc, ours_calloc, ours_realloc, ours_free };

	if (ld__sample_lg) {
		if (real->malloc != objects->malloc || real->calloc != objects->calloc ||
		    real->realloc != objects->realloc)
			return;
		ours = (struct py_allocator){ real->ctx, lite_malloc, lite_calloc, lite_realloc, real->free };
	}
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
	drawn_for = ld__sample_lg;
	if (drawn_for)
		bytes_left = (int64_t)ld__record_next_sample(&ld__guard, drawn_for);
	if (ld__clock_is_time())
		births_between = BIRTHS_BETWEEN;
	for (int domain = DOMAIN_MEM; domain <= DOMAIN_OBJ; domain++)
		ld__py.PyMem_GetAllocator(domain, &originals[domain]);
	for (int domain = DOMAIN_MEM; domain <= DOMAIN_OBJ; domain++)
		install(domain);
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
	births_left = 0;	/* with the lock: what is born from now on is born after this snapshot */
	ld__py.PyMem_GetAllocator(DOMAIN_OBJ, &now);
	return now.malloc == ours_malloc || now.malloc == lite_malloc ? NULL
		: "small Python objects have no stacks: PYTHONMALLOC, -X dev or the program chose another allocator";
}
