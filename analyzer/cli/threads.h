/* SPDX-License-Identifier: Apache-2.0
 * L2  threads.h - where everything stood: threads, asyncio tasks, greenlets, read from a snapshot. */
#ifndef LEAKDIFF_CLI_THREADS_H
#define LEAKDIFF_CLI_THREADS_H

#include <stddef.h>
#include <stdint.h>

struct store;

struct threads_frame {
	char *function, *file, *module, *language;	/* "" when unknown */
	char *locals;			/* of a Python frame; NULL */
	uint32_t line;			/* 0 = unknown */
};

struct threads_entry {
	char *kind;			/* thread, task, greenlet */
	char *name, *state;
	uint64_t id;			/* threads.id or python_threads.id */
	uint64_t tid;			/* 0 = no thread */
	struct threads_frame *frames;	/* innermost first; Python's where there are some */
	size_t frame_count;
	struct threads_frame *native;	/* the native frames of a thread that runs Python */
	size_t native_count;
	size_t first;			/* the first entry of its kind that stands in the same place; itself for threads */
};

struct threads_list {
	struct threads_entry *entries;
	size_t count;
};

/* Read them. Returns 0 with *ret_list (threads_done()), or a negative errno with a sentence. */
int threads_read(struct store *store, struct threads_list *ret_list, char **ret_error)
	__attribute__((warn_unused_result));
void threads_done(struct threads_list *list);

/* As JSON on stdout. Returns 0, -ENOMEM or -EIO. */
int json_write_threads(const struct threads_list *list) __attribute__((warn_unused_result));

#endif
