/* SPDX-License-Identifier: Apache-2.0
 * L1  unwind.c - the fence around libunwind.
 *
 * (1) Only unw_backtrace() is called: it remembers per return address how to step (about 14 ns a
 *     frame), where a cursor loop costs 5 us a frame.
 * (2) The library is opened with RTLD_LOCAL. Were it linked, its _Unwind_* would stand in front of
 *     libgcc's for every C++ library that the service opens later, and exceptions would break.
 * (3) No lock of ours is held here: libunwind takes the loader's lock for code it has not seen.
 * (4) The stack that is handed on starts at the caller of the hook, found by its address, so frames
 *     of ours are dropped however the compiler arranged them. A walk that does not meet the caller
 *     is not believed: the stack is then that one frame. */
#include "preload/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#define CACHE_SIZE 1024
#define STRING(x) #x
#define SYMBOL(x) STRING(x)

static int (*backtrace_now)(void **buffer, int size);
static void (*flush_cache)(unw_addr_space_t space, unw_word_t low, unw_word_t high);
static unw_addr_space_t *local_space;

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
	if (!walk || !local_space) {
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

int ld__unwind(void **pcs, int max, void *caller, int *ret_truncated)
{
	int saved_errno = errno, wanted = max + UNWIND_EXTRA, count, skip;

	*ret_truncated = 0;
	if (!backtrace_now || max <= 1)
		goto caller_only;
	count = backtrace_now(pcs, wanted);
	errno = saved_errno;
	for (skip = 0; skip < count && skip < UNWIND_EXTRA - 1; skip++) {
		if (pcs[skip] == caller)
			break;
	}
	if (skip >= count || pcs[skip] != caller)
		goto caller_only;
	while (count > skip + 1 && !pcs[count - 1])
		count--;
	count -= skip;
	if (count > max) {
		count = max;
		*ret_truncated = 1;
	}
	memmove(pcs, pcs + skip, (size_t)count * sizeof(*pcs));
	return count;

caller_only:
	pcs[0] = caller;
	*ret_truncated = 1;
	return 1;
}

void ld__unwind_warm(void)
{
	int saved_errno = errno;
	void *pcs[4];

	if (backtrace_now)
		backtrace_now(pcs, 4);
	errno = saved_errno;
}

void ld__unwind_flush(void)
{
	int saved_errno = errno;

	if (flush_cache)
		flush_cache(*local_space, 0, 0);
	errno = saved_errno;
}
