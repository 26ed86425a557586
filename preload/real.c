/* SPDX-License-Identifier: Apache-2.0
 * L1  real.c - the only caller of dlsym() for what we interpose.
 *
 * RTLD_NEXT, not libc's private __libc_malloc names: the service may have brought jemalloc, tcmalloc
 * or its own allocator, and that one must go on serving it.
 *
 * The pool is a bump allocator in .bss: dlsym() allocates (its error text) and the loader may have to
 * be asked for malloc by a malloc. A block's size stands in front of it. */
#include "preload/real.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>

_Alignas(64) struct real ld__real;
char ld__pool[POOL_BYTES] __attribute__((aligned(64)));
static _Atomic size_t pool_used;

void ld__real_resolve(void)
{
	if (ld__real.epoll_pwait)
		return;
#define X(type, name, parameters)                                                                   \
	if (!ld__real.name)                                                                         \
		ld__real.name = (__typeof__(ld__real.name))dlsym(RTLD_NEXT, #name);
	REAL_FUNCTIONS(X)
#undef X
	dlerror();
}

void *ld__real_find(const char *name, void *caller)
{
	void *symbol = dlsym(RTLD_NEXT, name), *library;
	Dl_info info;

	if (!symbol && dladdr(caller, &info) && info.dli_fname) {
		/* the handle is kept: it pins what we are going to jump to */
		library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
		if (library)
			symbol = dlsym(library, name);
	}
	dlerror();
	return symbol;
}

void *ld__real_symbol(const char *name)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	if (!symbol)
		dlerror();
	return symbol;
}

void *ld__real_next(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		dlerror();
	return symbol;
}

bool ld__real_is_defined(void *address)
{
	void *symbol = NULL;
	Dl_info info;

	return !dladdr1(address, &info, &symbol, RTLD_DL_SYMENT) || !symbol ||
	       ((const ElfW(Sym) *)symbol)->st_shndx != SHN_UNDEF;
}

bool ld__real_same_object(const void *a, const void *b)
{
	Dl_info of_a, of_b;

	return dladdr(a, &of_a) && dladdr(b, &of_b) && of_a.dli_fbase == of_b.dli_fbase;
}

bool ld__real_serves(void *symbol)
{
	void *first = ld__real_symbol("malloc");
	bool is_ours = !first || ld__real_same_object(first, (void *)(uintptr_t)ld__real_serves) || !ld__real_is_defined(first);

	return ld__real_same_object(symbol, is_ours ? (void *)(uintptr_t)ld__real.malloc : first);
}

void *ld__pool_alloc(size_t align, size_t bytes)
{
	size_t at, start;
	char *block;

	if (align < 16)
		align = 16;
	if (bytes > POOL_BYTES || align > POOL_BYTES)
		return NULL;
	at = atomic_load(&pool_used);
	do {
		start = (at + 16 + align - 1) & ~(align - 1);
		if (start + bytes > POOL_BYTES)
			return NULL;
	} while (!atomic_compare_exchange_weak(&pool_used, &at, start + bytes));
	block = ld__pool + start;
	memcpy(block - sizeof(size_t), &bytes, sizeof(bytes));
	return block;
}

size_t ld__pool_bytes(const void *block)
{
	size_t bytes;

	memcpy(&bytes, (const char *)block - sizeof(size_t), sizeof(bytes));
	return bytes;
}
