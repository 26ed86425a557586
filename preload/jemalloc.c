/* SPDX-License-Identifier: Apache-2.0
 * L2  jemalloc.c - the service's jemalloc, asked through mallctl: mode sample, and what its arenas hold.
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

bool ld__jemalloc_find(const char **ret_why)
{
	void *symbol = ld__real_symbol("mallctl");

	if (!symbol || !ld__real_serves(symbol)) {
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

/* ---- what its arenas hold ---- */

#define ALL_ARENAS 4096u		/* MALLCTL_ARENAS_ALL */
#define BINS_MAX 64u

static bool read_size(const char *name, uint64_t *ret)
{
	size_t value = 0, bytes = sizeof(value);

	if (mallctl_(name, &value, &bytes, NULL, 0) != 0 || bytes != sizeof(value))
		return false;
	*ret = value;
	return true;
}

static bool read_count(const char *name, uint64_t *ret)
{
	uint32_t value = 0;
	size_t bytes = sizeof(value);

	if (mallctl_(name, &value, &bytes, NULL, 0) != 0 || bytes != sizeof(value))
		return false;
	*ret = value;
	return true;
}

static uint64_t of_arena(uint32_t arena, const char *leaf)
{
	char name[96];
	uint64_t value = 0;

	ld__text_format(name, sizeof(name), 0, "stats.arenas.%u.%s", arena, leaf);
	return read_size(name, &value) ? value : 0;
}

/* Slabs: regions of one size, some of them free. */
static void read_bins(uint32_t index, uint64_t bins, struct stream_arena *arena)
{
	for (uint32_t i = 0; i < bins && i < BINS_MAX; i++) {
		struct stream_arena_class *class;
		uint64_t size = 0, regions = 0, slabs, taken, free;
		char name[96];

		ld__text_format(name, sizeof(name), 0, "arenas.bin.%u.size", i);
		read_size(name, &size);
		ld__text_format(name, sizeof(name), 0, "arenas.bin.%u.nregs", i);
		if (!read_count(name, &regions) || !size)
			continue;
		ld__text_format(name, sizeof(name), 0, "bins.%u.curslabs", i);
		slabs = of_arena(index, name);
		ld__text_format(name, sizeof(name), 0, "bins.%u.curregs", i);
		taken = of_arena(index, name);
		free = slabs * regions > taken ? slabs * regions - taken : 0;
		class = &arena->classes[63 - __builtin_clzll(size)];
		class->used_count += taken;
		class->used_bytes += taken * size;
		class->free_count += free;
		class->free_bytes += free * size;
		arena->free_count += free;
		if (free && size > arena->largest_free_bytes)
			arena->largest_free_bytes = size;
	}
}

static void read_arena(uint32_t index, uint64_t page, uint64_t bins, struct stream_arena *arena)
{
	uint64_t active = of_arena(index, "pactive") * page, decay = of_arena(index, "dirty_decay_ms");

	arena->mapped_bytes = of_arena(index, "mapped");
	arena->resident_bytes = of_arena(index, "resident");
	arena->used_bytes = of_arena(index, "small.allocated") + of_arena(index, "large.allocated");
	arena->cached_bytes = of_arena(index, "tcache_bytes");
	arena->free_bytes = active > arena->used_bytes ? active - arena->used_bytes : 0;
	arena->free_resident_bytes = arena->free_bytes;
	arena->used_bytes -= arena->cached_bytes < arena->used_bytes ? arena->cached_bytes : arena->used_bytes;
	arena->dirty_bytes = of_arena(index, "pdirty") * page;
	arena->muzzy_bytes = of_arena(index, "pmuzzy") * page;
	arena->metadata_bytes = of_arena(index, "base") + of_arena(index, "internal");
	arena->retained_bytes = of_arena(index, "retained");
	arena->trim_bytes = arena->dirty_bytes + arena->muzzy_bytes;
	arena->decay_ms = decay;
	arena->read = 1;
	read_bins(index, bins, arena);
}

uint32_t ld__jemalloc_arenas(struct stream_arena *ret_arenas, uint32_t most)
{
	void *symbol = ld__real_symbol("mallctl");
	uint64_t epoch = 1, page = 0, bins = 0, arenas = 0;
	uint32_t count = 0;

	if (!symbol || !ld__real_serves(symbol) || most < 2)
		return 0;
	mallctl_ = (mallctl_function *)(uintptr_t)symbol;
	if (!read_flag("config.stats") || !read_size("arenas.page", &page) || !read_count("arenas.narenas", &arenas))
		return 0;
	read_count("arenas.nbins", &bins);
	mallctl_("epoch", NULL, NULL, &epoch, sizeof(epoch));	/* statistics are of the last epoch */
	for (uint32_t i = 0; i < arenas && count + 1 < most; i++) {
		struct stream_arena *arena = &ret_arenas[count];
		uint64_t threads = UINT32_MAX;
		char name[96];

		ld__text_format(name, sizeof(name), 0, "stats.arenas.%u.nthreads", i);
		if (!read_count(name, &threads) || !of_arena(i, "mapped"))
			continue;		/* never used */
		read_arena(i, page, bins, arena);
		arena->kind = STREAM_ARENA_JEMALLOC;
		arena->number = i;
		arena->threads = (uint32_t)threads;
		count++;
	}
	read_arena(ALL_ARENAS, page, bins, &ret_arenas[count]);
	ret_arenas[count].kind = STREAM_ARENA_JEMALLOC_ALL;
	ret_arenas[count].threads = UINT32_MAX;
	read_size("stats.metadata", &ret_arenas[count].metadata_bytes);
	read_size("stats.resident", &ret_arenas[count].resident_bytes);
	read_size("stats.mapped", &ret_arenas[count].mapped_bytes);
	read_size("stats.retained", &ret_arenas[count].retained_bytes);
	read_size("arenas.dirty_decay_ms", &ret_arenas[count].decay_ms);
	return count + 1;
}
