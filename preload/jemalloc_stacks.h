/* SPDX-License-Identifier: Apache-2.0
 * L1  jemalloc_stacks.h - our stacks for the blocks that jemalloc samples. */
#ifndef LEAKDIFF_JEMALLOC_STACKS_H
#define LEAKDIFF_JEMALLOC_STACKS_H

/* A jemalloc_backtrace. jemalloc gets the return addresses, so that its own tools go on working, and as the
 * outermost one STREAM_PROFILE_TAG with our stack id, by which ingest finds the stack with Python's frames. */
void ld__jemalloc_stack(void **frames, unsigned *len, unsigned max);

#endif
