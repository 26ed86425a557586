/* SPDX-License-Identifier: Apache-2.0
 * ownmalloc.c - an executable that defines malloc itself: nothing can be put in front of that.
 * The compiler must not take these functions for those that it knows:
 * FLAGS -O1 -g -fno-builtin
 */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static char pool[1 << 24] __attribute__((aligned(16)));
static size_t used;

void *malloc(size_t bytes)
{
	size_t at = __atomic_fetch_add(&used, (bytes + 31) & ~(size_t)15, __ATOMIC_RELAXED);

	return at + bytes + 32 > sizeof(pool) ? NULL : pool + at;
}

void free(void *block)
{
	(void)block;
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *realloc(void *old, size_t bytes)
{
	char *block = malloc(bytes);

	if (old && block)
		memcpy(block, old, bytes);
	return block;
}

int main(void)
{
	char *p = malloc(100);

	return p >= pool && p < pool + sizeof(pool) && write(1, "own\n", 4) == 4 ? 0 : 1;
}
