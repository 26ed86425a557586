/* SPDX-License-Identifier: Apache-2.0
 * L8  hooks.h - what the files of interposed names share. */
#ifndef LEAKDIFF_HOOKS_H
#define LEAKDIFF_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

#define LD_EXPORT __attribute__((visibility("default")))
/* For what a hook hands its WHERE to: were it called last, the call would be a jump and the frame gone. */
#define LD_IN_HOOK inline __attribute__((always_inline))
/* The same for one that is not inlined: the frame stands until its result is here. */
#define LD_STANDS(result) ({ __typeof__(result) result_ = (result); __asm__ volatile("" : "+r"(result_)); result_; })
/* One of the few that a service calls all the time: they lie beside each other, each on as few cache lines as it can. */
#define LD_NEAR_ATTRIBUTES hot, noinline, aligned(64)
#define LD_NEAR __attribute__((LD_NEAR_ATTRIBUTES))
#define LD_HOOK_ATTRIBUTES visibility("hidden"), LD_NEAR_ATTRIBUTES

/* Our malloc under a name that nobody can stand in front of: does the service really call it? */
void *ld__hook_malloc(size_t bytes);

/* From now on malloc takes the short way of hooks.c, in mode lite if samples; or not. Until then it does not. */
void ld__hooks_choose(bool quick, bool samples);

/* Look up the C++ operators that the process has from the start. Constructor only. */
void ld__operators_resolve(void);

/* Names that libc's headers do not declare in every version. */
void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t align, size_t bytes);
void *aligned_alloc(size_t align, size_t bytes);
void *memalign(size_t align, size_t bytes);
void *valloc(size_t bytes);
void *pvalloc(size_t bytes);
size_t malloc_usable_size(void *block);
void *malloc(size_t bytes);
void free(void *block);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t bytes);
void *reallocarray(void *old, size_t count, size_t size);
int posix_memalign(void **ret_block, size_t align, size_t bytes);

#endif
