/* SPDX-License-Identifier: Apache-2.0
 * L2  unwind_calls.c - what libunwind calls instead of the functions that it asks for.
 *
 * (1) It tests addresses by writing a byte of them into a pipe of its own. Two descriptors of the
 *     service's would be taken for that, and a service that closes all descriptors and opens its
 *     own would then have a byte of a socket stolen and another sent. It gets a pipe that is none,
 *     and the kernel's own test of an address.
 * (2) dl_iterate_phdr() takes the loader's lock, and whoever holds that may be waiting for a lock
 *     that the caller of malloc holds. It gets one that asks _dl_find_object(), which takes none.
 * (3) A thread's first use of a library that was opened late allocates its thread-local data, by
 *     malloc. We may be in a signal handler that interrupted malloc: the block would be given out
 *     twice. It gets data of ours, which every thread has from its start, and for the same reason
 *     a key (pthread_key_create) of the first ones, whose values need no allocation. */
#include "preload/unwind_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "preload/rebind.h"
#include "preload/sys.h"

#ifdef DLFO_STRUCT_HAS_EH_DBASE
static int (*find_object)(void *pc, struct dl_find_object *ret);	/* glibc 2.35 and later */
#endif

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

static __thread char thread_data[64] __attribute__((aligned(16)));
static pthread_key_t early_key;
static void (*at_thread_end)(void *value);

struct tls_index {
	unsigned long module, offset;
};

static void *thread_data_of(const struct tls_index *index)
{
	return thread_data + index->offset;
}

static void end_of_thread(void *value)
{
	if (at_thread_end)
		at_thread_end(value);
}

static int give_early_key(pthread_key_t *ret_key, void (*at_end)(void *value))
{
	if (at_thread_end)
		return pthread_key_create(ret_key, at_end);
	at_thread_end = at_end;
	*ret_key = early_key;
	return 0;
}

struct tls_size {
	ElfW(Addr) base;
	size_t bytes, filled;
};

static int find_tls(struct dl_phdr_info *info, size_t unused, void *data)
{
	struct tls_size *size = data;

	(void)unused;
	if (info->dlpi_addr != size->base)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type != PT_TLS)
			continue;
		size->bytes = info->dlpi_phdr[i].p_memsz;
		size->filled = info->dlpi_phdr[i].p_filesz;
	}
	return 1;
}

/* Is its thread-local data such that ours can stand for it: small, and zero at first? */
static bool fits_thread_data(void *library)
{
	struct link_map *map = NULL;
	struct tls_size size = { .filled = 1 };

	if (dlinfo(library, RTLD_DI_LINKMAP, &map) || !map)
		return false;
	size.base = map->l_addr;
	return dl_iterate_phdr(find_tls, &size) && size.bytes <= sizeof(thread_data) && !size.filled;
}

static const struct rebinding needed[] = {
	{ "pipe2", (void *)(uintptr_t)no_pipe },
	{ "read", (void *)(uintptr_t)read_or_nothing },
	{ "write", (void *)(uintptr_t)write_or_test },
	{ "syscall", (void *)(uintptr_t)call_or_test },
	{ "dl_iterate_phdr", (void *)(uintptr_t)iterate_one },
};
static const struct rebinding for_data = { "__tls_get_addr", (void *)(uintptr_t)thread_data_of };
static const struct rebinding for_key = { "pthread_key_create", (void *)(uintptr_t)give_early_key };

int ld__unwind_calls(void *library)
{
	int r = ld__rebind(library, needed, sizeof(needed) / sizeof(*needed));

#ifdef DLFO_STRUCT_HAS_EH_DBASE
	find_object = (int (*)(void *, struct dl_find_object *))dlsym(RTLD_DEFAULT, "_dl_find_object");
#endif
	if (r >= 0 && fits_thread_data(library))
		r = ld__rebind(library, &for_data, 1);
	if (r >= 0 && !pthread_key_create(&early_key, end_of_thread))
		r = ld__rebind(library, &for_key, 1);
	return r < 0 ? r : 0;
}
