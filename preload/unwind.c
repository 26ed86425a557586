/* SPDX-License-Identifier: Apache-2.0
 * L2  unwind.c - the fence around libunwind.
 *
 * (1) unw_backtrace() is called: it remembers per return address how to step (about 14 ns a frame),
 *     where a cursor loop costs 5 us a frame. It remembers for ever: its flush does not reach that
 *     table (1.6.2 to 1.8), so code at an address that was other code's before needs the cursor.
 * (2) The library is opened with RTLD_LOCAL. Were it linked, its _Unwind_* would stand in front of
 *     libgcc's for every C++ library that the service opens later, and exceptions would break.
 * (3) No lock of ours is held here: libunwind takes the loader's lock for code it has not seen.
 * (4) The library is given other functions than it asks for (unwind_calls.c).
 * (5) The stack that is handed on starts at the caller of the hook, found by its address, so frames
 *     of ours are dropped however the compiler arranged them. A walk that does not meet the caller
 *     is not believed: the stack is then that one frame. */
#include "preload/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "preload/unwind_calls.h"

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#define CACHE_SIZE 1024
#define STRING(x) #x
#define SYMBOL(x) STRING(x)

static int (*backtrace_now)(void **buffer, int size);
static void (*flush_cache)(unw_addr_space_t space, unw_word_t low, unw_word_t high);
static unw_addr_space_t *local_space;
static int (*get_context)(unw_tdep_context_t *context);
static int (*init_local)(unw_cursor_t *cursor, unw_context_t *context);
static int (*step_cursor)(unw_cursor_t *cursor);
static int (*get_register)(unw_cursor_t *cursor, int which, unw_word_t *ret_value);

int ld__unwind_init(void)
{
	int (*set_policy)(unw_addr_space_t space, unw_caching_policy_t policy);
	int (*set_size)(unw_addr_space_t space, size_t size, int flag);
	int (*walk)(void **buffer, int size);
	void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		dlerror();
		return -ENOENT;
	}
	walk = (int (*)(void **, int))dlsym(library, "unw_backtrace");
	/* the header turns these names into the machine's: unw_set_caching_policy is
	 * _ULx86_64_set_caching_policy, unw_flush_cache is _Ux86_64_flush_cache */
	set_policy = (int (*)(unw_addr_space_t, unw_caching_policy_t))
		dlsym(library, SYMBOL(unw_set_caching_policy));
	set_size = (int (*)(unw_addr_space_t, size_t, int))dlsym(library, SYMBOL(unw_set_cache_size));
	flush_cache = (void (*)(unw_addr_space_t, unw_word_t, unw_word_t))
		dlsym(library, SYMBOL(unw_flush_cache));
	local_space = dlsym(library, SYMBOL(unw_local_addr_space));
	get_context = (int (*)(unw_tdep_context_t *))dlsym(library, SYMBOL(UNW_ARCH_OBJ(getcontext)));
	init_local = (int (*)(unw_cursor_t *, unw_context_t *))dlsym(library, SYMBOL(unw_init_local));
	step_cursor = (int (*)(unw_cursor_t *))dlsym(library, SYMBOL(unw_step));
	get_register = (int (*)(unw_cursor_t *, int, unw_word_t *))dlsym(library, SYMBOL(unw_get_reg));
	if (!walk || !local_space || ld__unwind_calls(library) < 0) {
		dlerror();
		return -ENOSYS;
	}
	if (set_policy)
		set_policy(*local_space, UNW_CACHE_PER_THREAD);
	if (set_size)
		set_size(*local_space, CACHE_SIZE, 0);
	dlerror();
	backtrace_now = walk;
	return 0;
}

/* Drop the frames inside of `caller`, and what is beyond `max`. 0 when the caller was not met. */
static int trim(void **pcs, int count, int max, void *caller, int *ret_truncated)
{
	int skip;

	for (skip = 0; skip < count && skip < UNWIND_EXTRA - 1; skip++) {
		if (pcs[skip] == caller)
			break;
	}
	if (skip >= count || pcs[skip] != caller)
		return 0;
	while (count > skip + 1 && !pcs[count - 1])
		count--;
	count -= skip;
	*ret_truncated = count > max;
	if (count > max)
		count = max;
	memmove(pcs, pcs + skip, (size_t)count * sizeof(*pcs));
	return count;
}

static int caller_only(void **pcs, void *caller, int *ret_truncated)
{
	pcs[0] = caller;
	*ret_truncated = 1;
	return 1;
}

int ld__unwind(void **pcs, int max, void *caller, int *ret_truncated)
{
	int saved_errno = errno, count;

	if (!backtrace_now || max <= 1)
		return caller_only(pcs, caller, ret_truncated);
	errno = 0;	/* it repeats calls while errno is EINTR, also after success */
	count = backtrace_now(pcs, max + UNWIND_EXTRA);
	errno = saved_errno;
	count = trim(pcs, count, max, caller, ret_truncated);
	return count ? count : caller_only(pcs, caller, ret_truncated);
}

int ld__unwind_slowly(void **pcs, int max, void *caller, int *ret_truncated)
{
	int saved_errno = errno, count = 0;
	unw_context_t context;
	unw_cursor_t cursor;
	unw_word_t pc;

	if (!get_context || !init_local || !step_cursor || !get_register)
		return ld__unwind(pcs, max, caller, ret_truncated);
	ld__unwind_flush();
	errno = 0;
	if (get_context(&context) == 0 && init_local(&cursor, &context) == 0) {
		while (count < max + UNWIND_EXTRA && step_cursor(&cursor) > 0 &&
		       get_register(&cursor, UNW_REG_IP, &pc) == 0)
			pcs[count++] = (void *)(uintptr_t)pc;
	}
	errno = saved_errno;
	count = trim(pcs, count, max, caller, ret_truncated);
	return count ? count : caller_only(pcs, caller, ret_truncated);
}

bool ld__unwind_warm(void)
{
	int saved_errno = errno;
	void *pcs[4];

	if (!backtrace_now)
		return false;
	errno = 0;
	backtrace_now(pcs, 4);
	errno = saved_errno;
	return true;
}

void ld__unwind_flush(void)
{
	int saved_errno = errno;

	if (flush_cache)
		flush_cache(*local_space, 0, 0);
	errno = saved_errno;
}
