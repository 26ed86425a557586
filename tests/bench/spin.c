/* SPDX-License-Identifier: Apache-2.0
 * spin.c - a profiler that only counts to 40 in each malloc and free, and records nothing.
 * SHARED
 *
 * What it adds to a loop is what counting takes; what it adds to a program that waits for memory is more,
 * since less of the program is under way while it waits. No profiler that does anything can add less. */
#include <dlfcn.h>
#include <stddef.h>

static void *(*real_malloc)(size_t);
static void (*real_free)(void *);
static char pool[65536];	/* what dlsym() asks for */
static size_t pool_used;

__attribute__((constructor)) static void find_real(void)
{
	*(void **)&real_free = dlsym(RTLD_NEXT, "free");
	*(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
}

static inline void count(void)
{
	size_t n = 0;

	for (int i = 0; i < 40; i++)
		__asm__ volatile("" : "+r"(n));
}

void *malloc(size_t bytes)
{
	void *block;

	if (!real_malloc) {
		block = pool + pool_used;
		pool_used += (bytes + 15) & ~(size_t)15;
		return pool_used <= sizeof(pool) ? block : NULL;
	}
	block = real_malloc(bytes);
	count();
	return block;
}

void free(void *block)
{
	if ((char *)block >= pool && (char *)block < pool + sizeof(pool))
		return;
	count();
	if (real_free)
		real_free(block);
}
