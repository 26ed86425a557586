/* SPDX-License-Identifier: Apache-2.0
 * L0  task.h - one piece of work beside another.
 *
 *   task_start(&task, run, data, worth it);  ... other work ...;  r = task_finish(&task);
 *
 * Where a thread is not worth it or cannot be had, run() is called by task_start() itself: whoever starts
 * a task must not rely on it running beside. The two pieces share nothing that either of them writes. */
#ifndef LEAKDIFF_TASK_H
#define LEAKDIFF_TASK_H

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

struct task {
	int (*run)(void *data);
	void *data;
	int result;
	bool beside;
	pthread_t thread;
};

static inline void *task_main(void *arg)
{
	struct task *task = arg;

	task->result = task->run(task->data);
	return NULL;
}

static inline void task_start(struct task *task, int (*run)(void *data), void *data, bool worth_it)
{
	*task = (struct task){ .run = run, .data = data };
	task->beside = worth_it && sysconf(_SC_NPROCESSORS_ONLN) > 1 &&
		       pthread_create(&task->thread, NULL, task_main, task) == 0;
	if (!task->beside)
		task_main(task);
}

/* Wait for it; returns what run() returned. */
static inline int task_finish(struct task *task)
{
	if (task->beside)
		pthread_join(task->thread, NULL);
	return task->result;
}

#endif
