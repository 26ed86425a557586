/* SPDX-License-Identifier: Apache-2.0
 * L2  jemalloc.c - the service's jemalloc, asked through mallctl: mode sample.
 *
 * Names in its tree are looked up at run time, since nothing of jemalloc may be linked. Those below
 * "experimental." have no promise of staying: without them the mode works with jemalloc's own stacks.
 *
 * The profile goes through a file of memory: no folder, no disk, and nothing left behind if the process
 * ends meanwhile. jemalloc opens it by name, so its name in /proc is what it gets. */
#include "preload/jemalloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "preload/arena.h"
#include "preload/kernel.h"
#include "preload/real.h"

#define PROFILE_MAX (256ul << 20)	/* bytes; ingest takes no more */

typedef int mallctl_function(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

static mallctl_function *mallctl_;
static atomic_bool used;
static bool our_stacks;

static bool read_flag(const char *name)
{
	bool flag = false;
	size_t bytes = sizeof(flag);

	return mallctl_(name, &flag, &bytes, NULL, 0) == 0 && flag;
}

/* Is it of the allocator that serves the program: the next after ours, or one in the program itself? */
static bool serves(void *symbol)
{
	void *first = ld__real_symbol("malloc");

	return ld__real_same_object(symbol, (void *)(uintptr_t)ld__real.malloc) ||
	       (first && ld__real_same_object(symbol, first));
}

bool ld__jemalloc_find(const char **ret_why)
{
	void *symbol = ld__real_symbol("mallctl");

	if (!symbol || !serves(symbol)) {
		*ret_why = "the program's malloc is not jemalloc's: start it with `leakdiff run --mode sample`, or "
			   "preload libjemalloc.so.2 after this library, with MALLOC_CONF=prof:true";
		return false;
	}
	mallctl_ = (mallctl_function *)(uintptr_t)symbol;
	if (!read_flag("config.prof")) {
		*ret_why = "this jemalloc was built without its profiler (--enable-prof)";
		return false;
	}
	if (!read_flag("opt.prof")) {
		*ret_why = "jemalloc's profiler can only be enabled at the start: set MALLOC_CONF=prof:true, or use "
			   "`leakdiff run --mode sample`";
		return false;
	}
	return true;
}

void ld__jemalloc_use(jemalloc_backtrace *backtrace, bool active)
{
	our_stacks = mallctl_("experimental.hooks.prof_backtrace", NULL, NULL, &backtrace, sizeof(backtrace)) == 0;
	atomic_store(&used, true);
	ld__jemalloc_set_active(active);
}

bool ld__jemalloc_used(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed);
}

bool ld__jemalloc_has_our_stacks(void)
{
	return our_stacks;
}

bool ld__jemalloc_is_active(void)
{
	return ld__jemalloc_used() && read_flag("prof.active");
}

void ld__jemalloc_set_active(bool active)
{
	mallctl_("prof.active", NULL, NULL, &active, sizeof(active));
}

uint64_t ld__jemalloc_allocated(void)
{
	size_t allocated = 0, bytes = sizeof(allocated);
	uint64_t epoch = 1;

	mallctl_("epoch", NULL, NULL, &epoch, sizeof(epoch));	/* statistics are of the last epoch */
	return mallctl_("stats.allocated", &allocated, &bytes, NULL, 0) == 0 ? allocated : 0;
}

uint64_t ld__jemalloc_sample_bytes(void)
{
	size_t lg = 0, bytes = sizeof(lg);

	return mallctl_("prof.lg_sample", &lg, &bytes, NULL, 0) == 0 && lg < 62 ? 1ull << lg : 0;
}

/* All of a file of memory, in memory of ours. */
static long read_all(int fd, char **ret_text, size_t *ret_room, const char **ret_why)
{
	long bytes = ld__sys3(SYS_lseek, fd, 0, SEEK_END), done = 0;
	char *text;

	if (bytes <= 0 || (size_t)bytes > PROFILE_MAX) {
		*ret_why = bytes > 0 ? "jemalloc's profile is larger than the 256 MiB that are read" :
				       "jemalloc wrote no profile";
		return bytes > 0 ? -E2BIG : -EIO;
	}
	text = ld__arena_map((size_t)bytes);
	while (text && done < bytes) {
		long n = kernel_pread(fd, text + done, (size_t)(bytes - done), (uint64_t)done);

		if (n <= 0)
			break;
		done += n;
	}
	if (!text || done < bytes) {
		if (text)
			ld__arena_unmap(text, (size_t)bytes);
		*ret_why = "there is no memory for jemalloc's profile";
		return -ENOMEM;
	}
	*ret_text = text;
	*ret_room = (size_t)bytes;
	return bytes;
}

long ld__jemalloc_profile(char **ret_text, size_t *ret_room, const char **ret_why)
{
	int fd = (int)ld__sys2(SYS_memfd_create, "leakdiff-profile", MFD_CLOEXEC);
	char name[64];
	const char *path = name;
	long r;

	if (fd < 0) {
		*ret_why = "there is no file of memory for jemalloc's profile (memfd_create)";
		return fd;
	}
	/* of this thread: the agent's descriptors are its own */
	ld__text_format(name, sizeof(name), 0, "/proc/thread-self/fd/%d", fd);
	r = -mallctl_("prof.dump", NULL, NULL, &path, sizeof(path));
	if (r == 0)
		r = read_all(fd, ret_text, ret_room, ret_why);
	else
		*ret_why = "jemalloc could not write its profile (is /proc mounted?)";
	kernel_close(fd);
	return r;
}
