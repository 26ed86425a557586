/* SPDX-License-Identifier: Apache-2.0
 * L2  unwind.c - the fence around libunwind.
 *
 * (1) unw_backtrace() is called: it remembers per return address how to step (about 14 ns a frame),
 *     where a cursor loop costs 5 us a frame. It remembers for ever: its flush does not reach that
 *     table (1.6.2 to 1.8), so code at an address that was other code's before needs the cursor.
 * (2) The library is opened with RTLD_LOCAL. Were it linked, its _Unwind_* would stand in front of
 *     libgcc's for every C++ library that the service opens later, and exceptions would break.
 * (3) No lock of ours is held here: libunwind takes the loader's lock for code it has not seen.
 * (4) The library is given other functions than it asks for, by its import slots:
 *     - It tests addresses by writing a byte of them into a pipe of its own. Two descriptors of the
 *       service's would be taken for that, and a service that closes all descriptors and opens its
 *       own would then have a byte of a socket stolen and another sent. It gets a pipe that is none,
 *       and the kernel's own test of an address.
 *     - dl_iterate_phdr() takes the loader's lock, and whoever holds that may be waiting for a lock
 *       that the caller of malloc holds. It gets one that asks _dl_find_object(), which takes none.
 * (5) The stack that is handed on starts at the caller of the hook, found by its address, so frames
 *     of ours are dropped however the compiler arranged them. A walk that does not meet the caller
 *     is not believed: the stack is then that one frame. */
#include "preload/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "preload/rebind.h"
#include "preload/sys.h"

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
#ifdef DLFO_STRUCT_HAS_EH_DBASE
static int (*find_object)(void *pc, struct dl_find_object *ret);	/* glibc 2.35 and later */
#endif

/* ---- what the library calls instead ---- */

#define NO_PIPE (-1)

static int no_pipe(int fds[2], int flags)
{
	(void)flags;
	fds[0] = fds[1] = NO_PIPE;
	return 0;
}

static ssize_t read_or_nothing(int fd, void *buffer, size_t bytes)
{
	long r = fd == NO_PIPE ? -EAGAIN : ld__sys3(SYS_read, fd, buffer, bytes);

	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* The kernel copies the new mask in before it looks at what to do with it: EFAULT says that the
 * address cannot be read, EINVAL (there is no such thing to do) that it can. */
static long test_address(const void *address, size_t bytes)
{
	uint64_t word = (uint64_t)(uintptr_t)address & ~7ull;

	return ld__sys4(SYS_rt_sigprocmask, -1, word, 0, 8) == -EFAULT ? -EFAULT : (long)bytes;
}

static ssize_t write_or_test(int fd, const void *buffer, size_t bytes)
{
	long r = fd == NO_PIPE ? test_address(buffer, bytes) : ld__sys3(SYS_write, fd, buffer, bytes);

	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* syscall(3): some versions write to the pipe through it. Fixed arguments: they are in registers. */
static long call_or_test(long number, long a, long b, long c, long d, long e, long f)
{
	long r = number == SYS_write && (int)a == NO_PIPE ? test_address((const void *)b, (size_t)c)
							  : ld__sys(number, a, b, c, d, e, f);

	if (!ld__sys_failed(r))
		return r;
	errno = (int)-r;
	return -1;
}

/* The visitor looks for the object of one address, which stands first in its data; that one object is
 * shown to it. If it does not want it (the data means something else), all are. */
static int iterate_one(int (*visit)(struct dl_phdr_info *info, size_t bytes, void *data), void *data)
{
#ifdef DLFO_STRUCT_HAS_EH_DBASE
	struct dl_find_object found;
	uint64_t address;

	memcpy(&address, data, sizeof(address));
	if (find_object && !find_object((void *)(uintptr_t)address, &found) && found.dlfo_link_map) {
		const ElfW(Ehdr) *header = found.dlfo_map_start;
		struct dl_phdr_info info = {
			.dlpi_addr = found.dlfo_link_map->l_addr,
			.dlpi_name = found.dlfo_link_map->l_name,
			.dlpi_phnum = header->e_phnum,
		};
		int r = 0;

		if (!memcmp(header->e_ident, ELFMAG, SELFMAG)) {
			info.dlpi_phdr = (const void *)((const char *)header + header->e_phoff);
			r = visit(&info, sizeof(info), data);
		}
		if (r)
			return r;
	}
#endif
	return dl_iterate_phdr(visit, data);
}

static const struct rebinding calls[] = {
	{ "pipe2", (void *)(uintptr_t)no_pipe },
	{ "read", (void *)(uintptr_t)read_or_nothing },
	{ "write", (void *)(uintptr_t)write_or_test },
	{ "syscall", (void *)(uintptr_t)call_or_test },
	{ "dl_iterate_phdr", (void *)(uintptr_t)iterate_one },
};

/* ---- the engine ---- */

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
#ifdef DLFO_STRUCT_HAS_EH_DBASE
	find_object = (int (*)(void *, struct dl_find_object *))dlsym(RTLD_DEFAULT, "_dl_find_object");
#endif
	if (!walk || !local_space || ld__rebind(library, calls, sizeof(calls) / sizeof(*calls)) < 0) {
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
