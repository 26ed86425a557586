/* SPDX-License-Identifier: Apache-2.0
 * L0  temporary.h - files that appear under their name when they are whole, and leave nothing when a signal comes. */
#ifndef LEAKDIFF_TEMPORARY_H
#define LEAKDIFF_TEMPORARY_H

#include <stdbool.h>

/* From now on `path` (a file, or a folder that its files left before) goes when a signal ends this
 * process. A name that is too long, or one more than can be kept, is only not taken away then. */
void temporary_add(const char *path);

/* Make a new file, for reading and writing, and add its name before any signal can come. Returns a descriptor or a
 * negative errno. */
int temporary_create(const char *path, unsigned int mode) __attribute__((warn_unused_result));

/* It has its real name now, or is gone. A name that was not added is no error. */
void temporary_drop(const char *path);

/* Delete what is there, the latest first. For signal handlers: calls unlink, rmdir and getpid only. A forked
 * child has the names too, and deletes nothing. */
void temporary_clear(void);

/* Is it something that a new file must never take the place of? A device, a pipe, a folder, a descriptor by its
 * name (/dev/stdout). */
bool temporary_is_fixed(const char *path);

/* A file that is being written. */
struct temporary_file {
	int fd;
	char *name, *target;		/* beside `target`; NULL: `fd` is what stands there, written as it is */
};

/* Begin to write `path`: a file beside it, or beside what it is a link to, or that itself where it is fixed (where it is
 * our standard output, behind what was printed: flush that before). Returns 0 or a negative errno. */
int temporary_open(const char *path, struct temporary_file *ret_file) __attribute__((warn_unused_result));

/* Put it in its place, or take it away. Returns 0 or a negative errno; then nothing is left and what was there stays. */
int temporary_finish(struct temporary_file *file, bool is_whole) __attribute__((warn_unused_result));

#endif
