/* SPDX-License-Identifier: Apache-2.0
 * L8  jemalloc_events.c - `experimental.hooks.install`: each allocation of a jemalloc inside the program.
 *
 *   alloc    after the allocation, also of the new block of a realloc that moves
 *   dalloc   before the free, also of the old block of that realloc, right after its alloc
 *   expand   after a realloc in place
 *
 * (1) The struct is jemalloc's own affair and no header promises it. It was the same in every version from
 *     5.2.0 to 5.3.1, where 5.3.1 gave some functions other numbers; later versions do not have it. Other
 *     versions are refused.
 * (2) That it is so in this program is proven before anything is recorded: each function is called with sizes
 *     that nothing else has, and exactly that call, size and address must have been told. What is not proven
 *     is taken away again at once.
 * (3) The calls of (2) also show what jemalloc itself puts on the stack between the program and us, by return
 *     address: those frames are left out later. And they make it map memory: who asked for that is the
 *     allocator, whose mappings are no blocks of the program.
 * (4) jemalloc calls no hook from inside of a hook, and holds no lock of its own meanwhile. */
#include "preload/jemalloc_events.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "preload/guard.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/stacks.h"
#include "preload/stream.h"

#define INNER_MAX 128u			/* slots of return addresses inside jemalloc: some forty are known */
#define INNER_DEEPEST 8u		/* frames of jemalloc's on top of each other */
#define MAPPED_BYTES (16ul << 20)	/* more than jemalloc has at hand: it must map */
#define MAPPED_ALIGN (8ul << 20)

typedef int mallctl_function(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
typedef void alloc_hook(void *extra, int type, void *result, uintptr_t raw, uintptr_t args[3]);
typedef void dalloc_hook(void *extra, int type, void *address, uintptr_t args[3]);
typedef void expand_hook(void *extra, int type, void *address, size_t old_bytes, size_t new_bytes,
			 uintptr_t raw, uintptr_t args[4]);

struct jemalloc_hooks {			/* hooks_t of jemalloc 5.2.0 to 5.3.1 */
	alloc_hook *alloc;
	dalloc_hook *dalloc;
	expand_hook *expand;
	void *extra;
};

/* What the numbers of jemalloc's functions mean to us. */
enum call { CALL_MALLOC, CALL_POSIX_MEMALIGN, CALL_ALIGNED_ALLOC, CALL_CALLOC, CALL_MEMALIGN, CALL_VALLOC, CALL_PVALLOC,
	    CALL_MALLOCX, CALL_REALLOC, CALL_RALLOCX, CALLS };
enum { DALLOC_FREE, DALLOC_DALLOCX, DALLOC_SDALLOCX, DALLOC_REALLOC, DALLOC_RALLOCX };
enum { EXPAND_REALLOC, EXPAND_RALLOCX, EXPAND_XALLOCX };

#define NONE CALLS
static const uint8_t calls_520[] = { CALL_MALLOC, CALL_POSIX_MEMALIGN, CALL_ALIGNED_ALLOC, CALL_CALLOC, CALL_MEMALIGN,
				     CALL_VALLOC, CALL_MALLOCX, CALL_REALLOC, CALL_RALLOCX, NONE };
static const uint8_t calls_531[] = { CALL_MALLOC, CALL_POSIX_MEMALIGN, CALL_ALIGNED_ALLOC, CALL_CALLOC, CALL_MEMALIGN,
				     CALL_VALLOC, CALL_PVALLOC, CALL_MALLOCX, CALL_REALLOC, CALL_RALLOCX };
static const struct { const char *version; const uint8_t *calls; } versions[] = {
	{ "5.2.0-", calls_520 }, { "5.2.1-", calls_520 }, { "5.3.0-", calls_520 }, { "5.3.1-", calls_531 },
};

/* The last call that was told, while we prove that calls are. */
struct told {
	uint32_t allocs, dallocs, expands;
	uint32_t call, type;
	uint64_t bytes;
	void *result, *address, *extra;
	uint32_t stack;
};

static mallctl_function *mallctl_;
static const uint8_t *calls;		/* by jemalloc's number; NULL = there is none to ask */
static void *handle;			/* of our hooks; NULL = not installed */
static struct { void *(*malloc)(size_t); void (*free)(void *); void *(*calloc)(size_t, size_t);
		void *(*realloc)(void *, size_t); int (*posix_memalign)(void **, size_t, size_t);
		void *(*aligned_alloc)(size_t, size_t); void *(*memalign)(size_t, size_t); void *(*valloc)(size_t); } own;
static uint64_t inner[INNER_MAX];	/* (3), by hash */
static uint32_t inner_count;
static LD_TLS struct told *proving;
static LD_TLS void *moved;		/* old block of a realloc whose new one was just told */

/* ---- the hooks ---- */

static uint32_t slot_of(uint64_t pc)
{
	return (uint32_t)(pc * 0x9e3779b97f4a7c15ull >> 57);
}

static bool is_inner(uint64_t pc)
{
	for (uint32_t at = slot_of(pc); inner[at % INNER_MAX]; at++)
		if (inner[at % INNER_MAX] == pc)
			return true;
	return false;
}

static uint32_t without_inner(uint32_t stack)
{
	struct stream_stack frame;

	for (uint32_t i = 0; i < INNER_DEEPEST && stack; i++) {
		ld__stacks_get(stack, &frame);
		if (frame.flags & STREAM_STACK_PYTHON || !frame.parent || !is_inner(frame.pc))
			break;
		stack = frame.parent;
	}
	return stack;
}

static uint64_t bytes_of(uint32_t call, const uintptr_t *args)
{
	switch (call) {
	case CALL_POSIX_MEMALIGN:
		return args[2];
	case CALL_CALLOC:
		return args[0] * args[1];
	case CALL_ALIGNED_ALLOC:
	case CALL_MEMALIGN:
	case CALL_REALLOC:
	case CALL_RALLOCX:
		return args[1];
	default:
		return args[0];
	}
}

static uint32_t kind_of(uint32_t call)
{
	return call == CALL_CALLOC ? STREAM_NODE_CALLOC :
	       call == CALL_REALLOC || call == CALL_RALLOCX ? STREAM_NODE_REALLOC :
	       call == CALL_MALLOC || call == CALL_MALLOCX ? STREAM_NODE_MALLOC : STREAM_NODE_ALIGNED;
}

static void on_alloc(void *extra, int type, void *result, uintptr_t raw, uintptr_t args[3])
{
	struct guard *g = &ld__guard;
	uint32_t call = (uint32_t)type < CALLS ? calls[type] : NONE;
	bool moves = call == CALL_REALLOC || call == CALL_RALLOCX;
	enum enter how;

	if (UNLIKELY(proving != NULL)) {
		proving->allocs++;
		proving->call = call;
		proving->bytes = bytes_of(call, args);
		proving->result = result;
		proving->extra = extra;
		proving->stack = ld__record_stack(g, WHERE);
		return;
	}
	moved = NULL;
	if (UNLIKELY(!result || call == NONE || (call == CALL_POSIX_MEMALIGN && raw)))
		return;
	how = ld__hook_enter(g);
	if (UNLIKELY(how == ENTER_FORWARD))
		return;
	if (moves && args[0]) {
		moved = (void *)args[0];
		ld__record_realloc_begin(g, how, moved);
		ld__record_realloc_end(g, how, moved, result, bytes_of(call, args), WHERE);
	} else {
		ld__record_alloc(g, how, kind_of(call), result, bytes_of(call, args), WHERE);
	}
	ld__hook_leave(g, how);
}

static void on_dalloc(void *extra, int type, void *address, uintptr_t args[3])
{
	struct guard *g = &ld__guard;
	bool was_moved = (type == DALLOC_REALLOC || type == DALLOC_RALLOCX) && address == moved;
	enum enter how;

	(void)args;
	if (UNLIKELY(proving != NULL)) {
		proving->dallocs++;
		proving->type = (uint32_t)type;
		proving->address = address;
		proving->extra = extra;
		return;
	}
	moved = NULL;
	if (was_moved || !address)	/* it ended when the new one was told */
		return;
	how = ld__hook_enter(g);
	if (UNLIKELY(how == ENTER_FORWARD))
		return;
	ld__record_free(g, how, address);
	ld__hook_leave(g, how);
}

static void on_expand(void *extra, int type, void *address, size_t old_bytes, size_t new_bytes, uintptr_t raw,
		      uintptr_t args[4])
{
	struct guard *g = &ld__guard;
	size_t bytes = args[1];
	enum enter how;

	(void)raw;
	if (UNLIKELY(proving != NULL)) {
		proving->expands++;
		proving->type = (uint32_t)type;
		proving->address = address;
		proving->bytes = bytes;
		proving->extra = extra;
		return;
	}
	if (type == EXPAND_XALLOCX) {	/* told also when nothing changed; what it got may be less than asked for */
		if (old_bytes == new_bytes)
			return;
		bytes = bytes < new_bytes ? bytes : new_bytes;
	}
	how = ld__hook_enter(g);
	if (UNLIKELY(how == ENTER_FORWARD))
		return;
	ld__record_realloc_begin(g, how, address);
	ld__record_realloc_end(g, how, address, address, bytes, WHERE);
	ld__hook_leave(g, how);
}

/* ---- the proof ---- */

/* What lies on the stack between the function below and our hook is jemalloc's. */
static bool learn_inner(uint32_t stack)
{
	struct stream_stack frame;
	uint64_t pcs[INNER_DEEPEST];
	uint32_t count = 0;

	for (; stack; stack = frame.parent) {
		ld__stacks_get(stack, &frame);
		if (ld__real_same_object((void *)(uintptr_t)frame.pc, (void *)(uintptr_t)learn_inner))
			break;
		if (count == INNER_DEEPEST)
			return false;
		pcs[count++] = frame.pc;
	}
	for (uint32_t i = 0; stack && i < count; i++) {
		uint32_t at = slot_of(pcs[i]);

		if (is_inner(pcs[i]))
			continue;
		if (inner_count >= INNER_MAX / 2)
			return false;
		while (inner[at % INNER_MAX])
			at++;
		inner[at % INNER_MAX] = pcs[i];
		inner_count++;
	}
	return stack != 0;
}

/* Was just this allocation told, and nothing else? Begins anew. */
static bool told_alloc(struct told *told, uint32_t call, uint64_t bytes, const void *result, const void *moved_from)
{
	bool right = told->allocs == 1 && !told->expands && told->call == call && told->bytes == bytes &&
		     told->result == result && told->extra == &calls && result &&
		     told->dallocs == (moved_from ? 1 : 0) &&
		     (!moved_from || (told->type == DALLOC_REALLOC && told->address == moved_from)) &&
		     learn_inner(told->stack);

	*told = (struct told){ 0 };
	return right;
}

static bool told_free(struct told *told, const void *address)
{
	bool right = !told->allocs && !told->expands && told->dallocs == 1 && told->type == DALLOC_FREE &&
		     told->address == address && told->extra == &calls;

	*told = (struct told){ 0 };
	return right;
}

/* A realloc to a size of which jemalloc may think as it likes: in place or moved, one of them is told. */
static bool told_realloc(struct told *told, uint64_t bytes, const void *result, const void *old)
{
	bool right;

	if (told->allocs || result != old)
		return told_alloc(told, CALL_REALLOC, bytes, result, old);
	right = told->expands == 1 && !told->dallocs && told->type == EXPAND_REALLOC && told->address == old &&
		told->bytes == bytes && told->extra == &calls;
	*told = (struct told){ 0 };
	return right;
}

static bool prove_frees(struct told *told, void *block)
{
	own.free(block);
	return told_free(told, block);
}

static bool prove_reallocs(struct told *told)
{
	static const size_t sizes[] = { 24, 25, 1200, 3000, 40000, 41000, 300000, 5000000, 700000, 77 };
	void *block = own.realloc(NULL, 11), *next;

	if (!told_alloc(told, CALL_REALLOC, 11, block, NULL))
		return false;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		next = own.realloc(block, sizes[i]);
		if (!told_realloc(told, sizes[i], next, block))
			return false;
		block = next;
	}
	return prove_frees(told, block);
}

/* Call all that is there, with sizes small and large, which go different ways. */
static __attribute__((noinline)) bool prove_calls(struct told *told)
{
	static const size_t sizes[] = { 1361, 9, 150001 };
	void *block = NULL;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t bytes = sizes[i];

		block = own.malloc(bytes);
		if (!told_alloc(told, CALL_MALLOC, bytes, block, NULL) || !prove_frees(told, block))
			return false;
		block = own.calloc(3, bytes);
		if (!told_alloc(told, CALL_CALLOC, 3 * bytes, block, NULL) || !prove_frees(told, block))
			return false;
		if (own.posix_memalign(&block, 256, bytes) ||
		    !told_alloc(told, CALL_POSIX_MEMALIGN, bytes, block, NULL) || !prove_frees(told, block))
			return false;
		if (own.aligned_alloc) {
			block = own.aligned_alloc(64, bytes);
			if (!told_alloc(told, CALL_ALIGNED_ALLOC, bytes, block, NULL) || !prove_frees(told, block))
				return false;
		}
		if (own.memalign) {
			block = own.memalign(64, bytes);
			if (!told_alloc(told, CALL_MEMALIGN, bytes, block, NULL) || !prove_frees(told, block))
				return false;
		}
		if (own.valloc) {
			block = own.valloc(bytes);
			if (!told_alloc(told, CALL_VALLOC, bytes, block, NULL) || !prove_frees(told, block))
				return false;
		}
	}
	return prove_reallocs(told);
}

/* (3): have memory mapped, with and without an alignment that takes several tries. */
static bool prove_mappings(struct told *told)
{
	void *blocks[4] = { NULL };
	bool right = true;

	ld__process_learn_allocator(true);
	for (uint32_t i = 0; i < 4; i++)
		if (i % 2 || own.posix_memalign(&blocks[i], MAPPED_ALIGN, MAPPED_BYTES) != 0)
			blocks[i] = own.malloc(MAPPED_BYTES);
	for (uint32_t i = 0; i < 4; i++)
		own.free(blocks[i]);
	ld__process_learn_allocator(false);
	for (uint32_t i = 0; i < 4; i++)
		right = right && blocks[i];
	*told = (struct told){ 0 };
	return right;
}

/* The guard is left meanwhile: what is called is the service's own, and our hooks are to see it. */
static bool prove(void)
{
	uint64_t state = ld__guard.state;
	uint32_t quiet = ld__guard.quiet;
	struct told told = { 0 };
	bool right;

	ld__guard.state = ld__guard.quiet = 0;
	proving = &told;
	right = prove_calls(&told) && prove_mappings(&told);
	proving = NULL;
	ld__guard.state = state;
	ld__guard.quiet = quiet;
	return right;
}

/* ---- putting in place ---- */

/* A function of the executable's own malloc; NULL when it has no such. */
static void *own_function(const char *name)
{
	void *first = ld__real_symbol("malloc"), *symbol = ld__real_symbol(name);

	return symbol && first && ld__real_same_object(symbol, first) ? symbol : NULL;
}

bool ld__jemalloc_events_find(const char **ret_why)
{
	const char *version = NULL;
	size_t bytes = sizeof(version);
	void *symbol = own_function("mallctl");

	*ret_why = "the program defines malloc itself, which cannot be interposed";
	if (!symbol)
		return false;
	memcpy(&mallctl_, &symbol, sizeof(mallctl_));
	*ret_why = "the program defines malloc itself, and its jemalloc does not tell a version whose "
		   "experimental.hooks.install is known (5.2.0 to 5.3.1)";
	if (mallctl_("version", &version, &bytes, NULL, 0) != 0 || !version)
		return false;
#define OWN(name) symbol = own_function(#name), memcpy(&own.name, &symbol, sizeof(symbol))
	OWN(malloc), OWN(free), OWN(calloc), OWN(realloc), OWN(posix_memalign), OWN(aligned_alloc), OWN(memalign), OWN(valloc);
#undef OWN
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions) && !calls; i++)
		if (!strncmp(version, versions[i].version, strlen(versions[i].version)))
			calls = versions[i].calls;
	if (!own.free || !own.calloc || !own.realloc || !own.posix_memalign)
		calls = NULL;
	return calls != NULL;
}

bool ld__jemalloc_events_set(bool on, const char **ret_why)
{
	struct jemalloc_hooks hooks = { on_alloc, on_dalloc, on_expand, &calls };
	void *installed = NULL;
	size_t bytes = sizeof(installed);
	int saved_errno = errno;
	bool right = true;

	if (!calls || on == (handle != NULL))
		return true;
	if (!on) {
		mallctl_("experimental.hooks.remove", NULL, NULL, &handle, sizeof(handle));
		handle = NULL;
	} else if (mallctl_("experimental.hooks.install", &installed, &bytes, &hooks, sizeof(hooks)) != 0 || !installed) {
		*ret_why = "the program defines malloc itself, and its jemalloc refuses experimental.hooks.install";
		right = false;
	} else if (!prove()) {
		mallctl_("experimental.hooks.remove", NULL, NULL, &installed, sizeof(installed));
		*ret_why = "the program defines malloc itself, and its jemalloc's experimental.hooks.install did not tell "
			   "exactly what it was called with";
		right = false;
	} else {
		handle = installed;
		ld__record_set_trim(without_inner);
	}
	errno = saved_errno;
	return right;
}
