/* SPDX-License-Identifier: Apache-2.0
 * L2  ingest.h - capture stream to snapshot file: read, symbolise, name types, store. */
#ifndef LEAKDIFF_INGEST_H
#define LEAKDIFF_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ingest_options {
	const char *root;		/* prefix for the module paths ("/proc/123/root"), or NULL */
	const char *capture_meta;	/* extra "key=value\n" lines for the meta table, or NULL */
	void (*progress)(const char *what, uint64_t done, uint64_t total, void *data);	/* or NULL */
	void *progress_data;
	const char *const *wrappers;	/* functions that only hand on what they allocate: their callers are the sites */
	size_t wrapper_count;
	const char *source;		/* what is read, for sentences about a heap profile; or NULL */
	int owner_uid, owner_gid;	/* the file is given to them; -1 = leave */
};

struct ingest_result {
	uint64_t nodes, edges, blocks, bytes, file_bytes, pause_ns, lost_events;
	bool consistent;
};

/* Read a capture stream from a descriptor up to its end and write the snapshot file. A file may also be a
 * heap profile of jemalloc or gperftools, see profile.h: that becomes a snapshot without references.
 *
 * fd        borrowed; a pipe or a file.
 * path      written under a temporary name beside it, fsync, rename; on failure nothing remains and
 *           an existing file at path is untouched.
 * ret_error one clear sentence on failure, owned by the caller.
 * Returns 0 or -EBADMSG (truncated, corrupt, foreign), -EPROTO (newer major), -ENOSPC, -EACCES,
 * -ENOMEM, or another negative errno from writing. */
int ingest_run(int fd, const char *path, const struct ingest_options *options,
	       struct ingest_result *ret_result, char **ret_error) __attribute__((warn_unused_result));

#endif
