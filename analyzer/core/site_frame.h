/* SPDX-License-Identifier: Apache-2.0
 * L2  site_frame.h - which frame of an allocation stack speaks for it.
 *
 * The innermost frame is often xmalloc() or a container of the standard library: all of a program's memory comes
 * from there. A person means the frame that called it. */
#ifndef LEAKDIFF_SITE_FRAME_H
#define LEAKDIFF_SITE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"

/* A frame of the C++ standard library. */
bool site_frame_is_library(const struct heap_frame *frame);

/* A function that allocates for others, by its name: xmalloc, zcalloc, g_strdup, ngx_palloc. */
bool site_frame_is_wrapper(const struct heap_frame *frame);

/* The place, in the stack, of the first frame that is neither; 0 where all are. */
uint32_t site_frame_telling(const struct heap *heap, uint32_t stack);

/* Like it, and of the application itself: not of a shared library, nor of Python's own or installed packages.
 * Where there is none, the telling one. */
uint32_t site_frame_application(const struct heap *heap, uint32_t stack);

#endif
