/* SPDX-License-Identifier: Apache-2.0
 * plugin.c - a library that allocates, also in its constructor and destructor.
 * SHARED */
#include <stdlib.h>

static void *kept;
void *plugin_alloc(size_t bytes);

__attribute__((constructor)) static void begin(void)
{
	kept = malloc(500);
}

__attribute__((destructor)) static void end(void)
{
	free(kept);
}

__attribute__((noinline)) void *plugin_alloc(size_t bytes)
{
	void *p = malloc(bytes);

	__asm__ volatile("" : : "r"(p) : "memory");
	return p;
}
