/* SPDX-License-Identifier: Apache-2.0
 * L6  snapshot_file.h - open what a person named: a snapshot, or a heap profile as one.
 *
 * A heap profile (profile.h) is made a snapshot in a private temporary file, which is gone again before the
 * call returns; it is read where it can be named, so where the binaries are. */
#ifndef LEAKDIFF_SNAPSHOT_FILE_H
#define LEAKDIFF_SNAPSHOT_FILE_H

struct store;

/* As store_open() and store_attach(). */
int snapshot_file_open(const char *path, struct store **ret_store, char **ret_error)
	__attribute__((warn_unused_result));
int snapshot_file_attach(struct store *store, const char *path, const char *name, char **ret_error)
	__attribute__((warn_unused_result));

#endif
