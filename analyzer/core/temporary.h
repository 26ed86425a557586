/* SPDX-License-Identifier: Apache-2.0
 * L0  temporary.h - names of unfinished files, so that a signal can take them away. */
#ifndef LEAKDIFF_TEMPORARY_H
#define LEAKDIFF_TEMPORARY_H

/* From now on `path` (a file, or a folder that its files left before) goes when a signal ends this
 * process. A name that is too long, or one more than can be kept, is only not taken away then. */
void temporary_add(const char *path);

/* It has its real name now, or is gone. A name that was not added is no error. */
void temporary_drop(const char *path);

/* Delete what is there, the latest first. For signal handlers: calls unlink, rmdir and getpid only. A forked
 * child has the names too, and deletes nothing. */
void temporary_clear(void);

#endif
