/* SPDX-License-Identifier: Apache-2.0
 * L8  jemalloc_stacks.c - our stacks for the blocks that jemalloc samples.
 *
 * jemalloc tells stacks apart by all their frames, the tag included. One of our stacks has one id, so each
 * has one tag, and stacks that differ in Python's frames alone stay apart. */
#include "preload/jemalloc_stacks.h"

#include <errno.h>
#include <stdint.h>

#include "preload/guard.h"
#include "preload/process.h"
#include "preload/record.h"
#include "preload/stacks.h"
#include "preload/stream.h"

void ld__jemalloc_stack(void **frames, unsigned *len, unsigned max)
{
	int saved_errno = errno;
	unsigned count = 0;
	uint32_t id = 0;

	/* A fork child whose malloc is not ours calls nobody else of us before: its rings are still its
	 * parent's, and not here. */
	if (ld__switch_is_wiped())
		ld__process_wake();
	if (!ld__switch_is_wiped() && !ld__capture_failed())
		id = ld__record_stack(&ld__guard, WHERE);

	if (!id && max) {		/* in a hook, or no room: the caller of jemalloc's profiler alone */
		frames[count++] = __builtin_return_address(0);
	}
	for (uint32_t at = id; at && count + 1 < max;) {
		struct stream_stack frame;

		ld__stacks_get(at, &frame);
		if (!(frame.flags & STREAM_STACK_PYTHON))
			frames[count++] = (void *)(uintptr_t)frame.pc;
		at = frame.parent;
	}
	if (id && count < max)
		frames[count++] = (void *)(uintptr_t)(STREAM_PROFILE_TAG | id);
	*len = count;
	errno = saved_errno;
}
