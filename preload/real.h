/* SPDX-License-Identifier: Apache-2.0
 * L1  real.h - the functions that our hooks stand in front of, and memory for before they are known. */
#ifndef LEAKDIFF_REAL_H
#define LEAKDIFF_REAL_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "guard.h"

/* X(return type, name, parameters). The order is that of resolving: dlsym() may call the first ones. */
#define REAL_FUNCTIONS(X)                                                                           \
	X(void *, malloc, (size_t))                                                                 \
	X(void, free, (void *))                                                                     \
	X(void *, calloc, (size_t, size_t))                                                         \
	X(void *, realloc, (void *, size_t))                                                        \
	X(size_t, malloc_usable_size, (void *))                                                     \
	X(int, posix_memalign, (void **, size_t, size_t))                                           \
	X(void *, aligned_alloc, (size_t, size_t))                                                  \
	X(void *, memalign, (size_t, size_t))                                                       \
	X(void *, valloc, (size_t))                                                                 \
	X(void *, pvalloc, (size_t))                                                                \
	X(void *, mmap, (void *, size_t, int, int, int, off_t))                                     \
	X(int, munmap, (void *, size_t))                                                            \
	X(void *, mremap, (void *, size_t, size_t, int, ...))                                       \
	X(pid_t, fork, (void))                                                                      \
	X(FILE *, fopen, (const char *, const char *))                                              \
	X(FILE *, fopen64, (const char *, const char *))                                            \
	X(FILE *, fdopen, (int, const char *))                                                      \
	X(int, dlclose, (void *))                                                                   \
	X(int, unshare, (int))                                                                      \
	X(int, setns, (int, int))                                                                   \
	X(int, setuid, (uid_t))                                                                     \
	X(int, setgid, (gid_t))                                                                     \
	X(int, seteuid, (uid_t))                                                                    \
	X(int, setegid, (gid_t))                                                                    \
	X(int, setreuid, (uid_t, uid_t))                                                            \
	X(int, setregid, (gid_t, gid_t))                                                            \
	X(int, setresuid, (uid_t, uid_t, uid_t))                                                    \
	X(int, setresgid, (gid_t, gid_t, gid_t))                                                    \
	X(int, setgroups, (size_t, const gid_t *))                                                  \
	X(int, initgroups, (const char *, gid_t))                                                   \
	X(int, prctl, (int, ...))                                                                   \
	X(int, capset, (void *, const void *))                                                      \
	X(int, epoll_wait, (int, struct epoll_event *, int, int))                                   \
	X(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))

struct real {
#define X(type, name, parameters) type(*name) parameters;
	REAL_FUNCTIONS(X)
#undef X
};

extern LD_HIDDEN struct real ld__real;

/* Look all of them up. The calling thread is inside the guard (what dlsym() allocates meanwhile comes
 * from the pool). Idempotent. */
void ld__real_resolve(void);

/* Next definition of `name` after ours as the module of `caller` would find it: first along the
 * global scope, then in that module and what it needs (a C program's plugin brings its own libstdc++,
 * which RTLD_NEXT does not see). NULL when there is none. */
void *ld__real_find(const char *name, void *caller);

/* First definition of `name` that the program sees, and the next one after ours; NULL when there is
 * none. Names of libc and of what the service may have loaded (an interpreter). */
void *ld__real_symbol(const char *name);
void *ld__real_next(const char *name);

/* Is `address`, which the program finds under the name of a function, defined by the program? One that
 * only takes a function's address has an undefined symbol with the address of its PLT entry. */
bool ld__real_is_defined(void *address);

/* Is `symbol` of the allocator that serves the program: the next after ours, or one in the program itself? */
bool ld__real_serves(void *symbol);

/* Do two addresses lie in the same ELF object? */
bool ld__real_same_object(const void *a, const void *b);

/* The pool: blocks for who allocates before the real functions are known. Never given back. */
void *ld__pool_alloc(size_t align, size_t bytes);
size_t ld__pool_bytes(const void *block);

extern LD_HIDDEN char ld__pool[];
#define POOL_BYTES (128u * 1024u)

static inline bool ld__pool_has(const void *block)
{
	return (uintptr_t)block - (uintptr_t)ld__pool < POOL_BYTES;
}

#endif
