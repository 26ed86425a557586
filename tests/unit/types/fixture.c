/* SPDX-License-Identifier: Apache-2.0
 * fixture.c - the part of the fixtures that is compiled without debug information. */
#define _GNU_SOURCE
#include "fixture.h"

#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char *pending;
static uintptr_t base, thread_start;

static int look(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	base = info->dlpi_addr;
	thread_start = (uintptr_t)info->dlpi_tls_data;
	return 1;
}

static uintptr_t in_file(const volatile void *address)
{
	if (!base)
		dl_iterate_phdr(look, NULL);
	return (uintptr_t)address - base;
}

void *fixture_new(size_t bytes, const void *caller)
{
	if (pending)
		printf("site %s %lx\n", pending, (unsigned long)in_file(caller));
	pending = NULL;
	return calloc(1, bytes);
}

__attribute__((noinline)) void *fixture_take(size_t bytes)
{
	return fixture_new(bytes, __builtin_return_address(0));
}

void fixture_name(const char *name)
{
	pending = name;
}

void fixture_address(const char *what, const char *name, const volatile void *address)
{
	printf("%s %s %lx\n", what, name, (unsigned long)in_file(address));
}

void fixture_thread(const char *name, const volatile void *address)
{
	in_file(NULL);
	printf("thread %s %lx\n", name, (unsigned long)((uintptr_t)address - thread_start));
}

__attribute__((noinline)) void fixture_local(const char *name, const volatile void *address, const void *cfa)
{
	printf("local %s %lx %ld\n", name, (unsigned long)in_file(__builtin_return_address(0)) - 1,
	       (long)((intptr_t)address - (intptr_t)cfa));
}
