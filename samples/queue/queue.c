/* SPDX-License-Identifier: Apache-2.0
 * queue.c - a job queue that one thread fills faster than another drains it.
 *
 *   PUSH n     queues n jobs
 *   LENGTH     how many wait
 *
 * The queue is one array that doubles with realloc: the array is the same block before and after, it
 * only moved and grew. The jobs are what is new. A worker takes one job every few milliseconds.
 *
 *   g_queue -> items -> [*] -> job
 *
 * DRIVE before   1 PUSH 300
 * DRIVE between  8 PUSH 100
 * DRIVE during   LENGTH
 * EXPECT grow size=2064 count>=+500 row=1
 * EXPECT grow site=queue_push size=none count=+0 bytes>=+4096
 * EXPECT suspect verdict=growing kind=global holder=g_queue site=job_new count>=500
 * EXPECT accumulates children>=500
 * EXPECT chain g_queue global \.items -> struct job \*\[\] \[\*\] -> struct job
 * EXPECT leaks none
 * EXPECT exit 1 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "../line_server.h"

struct job {
	unsigned long number;
	size_t length;
	unsigned char payload[2048];
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct job **items;		/* a ring of `capacity` places */
	size_t head, count, capacity;
	int ends;
};

static struct queue g_queue = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER
};

static struct job *job_new(unsigned long number)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->number = number;
	job->length = sizeof(job->payload);
	return job;
}

/* The lock is held. Returns 0 or -ENOMEM. */
static int queue_push(struct queue *queue, struct job *job)
{
	if (queue->count == queue->capacity) {
		size_t capacity = queue->capacity ? queue->capacity * 2 : 64;
		struct job **items = realloc(queue->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		/* What wrapped around to the beginning continues behind the old end. */
		memcpy(items + queue->capacity, items, queue->head * sizeof(*items));
		queue->items = items;
		queue->capacity = capacity;
	}
	queue->items[(queue->head + queue->count++) % queue->capacity] = job;
	return 0;
}

/* The lock is held and the queue is not empty. */
static struct job *queue_pop(struct queue *queue)
{
	struct job *job = queue->items[queue->head];

	queue->items[queue->head] = NULL;
	queue->head = (queue->head + 1) % queue->capacity;
	queue->count--;
	return job;
}

static void *drain(void *argument)
{
	const struct timespec work = { .tv_nsec = 20 * 1000 * 1000 };
	struct queue *queue = argument;

	pthread_mutex_lock(&queue->lock);
	while (!queue->ends) {
		if (!queue->count) {
			pthread_cond_wait(&queue->filled, &queue->lock);
			continue;
		}
		struct job *job = queue_pop(queue);

		pthread_mutex_unlock(&queue->lock);
		nanosleep(&work, NULL);
		free(job);
		pthread_mutex_lock(&queue->lock);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

static void handle(char *request, char *reply, size_t size)
{
	static unsigned long number;

	pthread_mutex_lock(&g_queue.lock);
	if (!strncmp(request, "PUSH ", 5)) {
		for (int left = atoi(request + 5); left > 0; left--) {
			struct job *job = job_new(++number);

			if (!job || queue_push(&g_queue, job) < 0) {
				free(job);
				snprintf(reply, size, "ERROR no memory");
				break;
			}
		}
		pthread_cond_signal(&g_queue.filled);
	} else if (!strcmp(request, "LENGTH")) {
		snprintf(reply, size, "OK %zu", g_queue.count);
	} else {
		snprintf(reply, size, "ERROR what?");
	}
	pthread_mutex_unlock(&g_queue.lock);
}

int main(void)
{
	pthread_t worker;

	if (line_server_open() || pthread_create(&worker, NULL, drain, &g_queue))
		return 1;
	pthread_setname_np(worker, "drain");
	line_server_run(handle);

	pthread_mutex_lock(&g_queue.lock);
	g_queue.ends = 1;
	pthread_cond_signal(&g_queue.filled);
	pthread_mutex_unlock(&g_queue.lock);
	pthread_join(worker, NULL);
	while (g_queue.count)
		free(queue_pop(&g_queue));
	free(g_queue.items);
	return 0;
}
