/* SPDX-License-Identifier: Apache-2.0
 * L2  stacks.h - allocation stacks interned as a tree: a stack is (parent id, pc). */
#ifndef LEAKDIFF_STACKS_H
#define LEAKDIFF_STACKS_H

#include <stdint.h>

#include "stream.h"

#define STACKS_DEPTH_MAX 128		/* frames of one stack */

/* The last stack of one thread with the ids of its frames: what a thread allocates next mostly has
 * the same outer frames, and those need no look-up. NULL when memory is refused. One thread at a
 * time, and not from a signal handler that interrupts it. */
struct stack_memo;
struct stack_memo *ld__stacks_memo_new(void);

/* Intern a stack of return addresses, innermost first. Lock-free, any thread, no allocation but from
 * our arena. truncated: deeper frames were cut. Returns the stack id, 0 when the table is full
 * (counted, see ld__stacks_refused()) or the stack is empty. */
uint32_t ld__stacks_intern(void *const *pcs, int count, int truncated);
uint32_t ld__stacks_intern_with(struct stack_memo *memo, void *const *pcs, int count, int truncated);

/* The stack of `pc` (a return address) called from stack `parent`; parent 0 means that pc is the
 * outermost frame, and only then does truncated count. The step that ld__stacks_intern() repeats,
 * for an unwinder that knows the id of the outer frames already. Same rules, same returns. */
uint32_t ld__stacks_child(uint32_t parent, uint64_t pc, int truncated);

/* The same for a Python frame: `place` is an index in the stream's PYFRAMES. */
uint32_t ld__stacks_child_python(uint32_t parent, uint32_t place, int truncated);

/* Number of stacks; ids are 1..count. Nodes are immutable once counted. */
uint32_t ld__stacks_count(void);

/* Copy node `id` (1..count) in the stream's own layout. */
void ld__stacks_get(uint32_t id, struct stream_stack *ret_node);

/* Interning refusals because of the cap. */
uint64_t ld__stacks_refused(void);

#endif
