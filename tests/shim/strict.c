/* SPDX-License-Identifier: Apache-2.0
 * strict.c - an allocator that may not be entered while the program says so, as one that a signal has interrupted.
 * SHARED
 * FLAGS -O1 -g -fno-builtin
 */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

_Thread_local int strict_forbidden __attribute__((tls_model("initial-exec")));

void strict_forbid(int forbidden);

void strict_forbid(int forbidden)
{
	strict_forbidden = forbidden;
}

static void enter(void)
{
	if (strict_forbidden)
		_exit(99);
}

void *malloc(size_t bytes)
{
	enter();
	return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t size)
{
	enter();
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t bytes)
{
	enter();
	return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	enter();
	return __libc_memalign(alignment, bytes);
}

void free(void *block)
{
	enter();
	__libc_free(block);
}
