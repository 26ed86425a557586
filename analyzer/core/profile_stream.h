/* SPDX-License-Identifier: Apache-2.0
 * L2  profile_stream.h - a heap profile as a capture stream without references.
 *
 * What a profile does not know is left out, not invented: there are no addresses, births, threads or
 * references. One root holds everything, so that nothing of it is ever called unreachable; META's `profile`
 * says that it is none. */
#ifndef LEAKDIFF_PROFILE_STREAM_H
#define LEAKDIFF_PROFILE_STREAM_H

#include <stdint.h>

#include "core/profile.h"
#include "core/stream.h"

/* The name of the root that stands for what nobody knows. */
#define PROFILE_HOLDER "(not recorded: a heap profile holds no references)"

/* Add a profile's stacks, and its blocks as nodes that stand for many, to a stream without nodes. A stack
 * whose outermost frame is STREAM_PROFILE_TAG is the stream's own of that number. Returns 0, -ENOMEM, or -EBADMSG
 * with a sentence when that stream has nodes, or the sizes pass the end of memory. */
int profile_into_stream(const struct profile *profile, struct stream *stream, char **ret_error)
	__attribute__((warn_unused_result));

/* Make a stream of a profile alone: modules from its mappings, and notes about what it cannot tell.
 *
 * dumped_ns when the profile was written, since 1970.
 * root      prefix of the modules' paths, or NULL.
 * Returns as profile_into_stream(). */
int profile_make_stream(const struct profile *profile, int64_t dumped_ns, const char *root,
			struct stream **ret_stream, char **ret_error) __attribute__((warn_unused_result));

#endif
