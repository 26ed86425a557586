/* SPDX-License-Identifier: Apache-2.0
 * tls_held.c - worker threads, each with its own cache behind a thread-local variable.
 *
 *   RESOLVE name     an answer from the cache of the worker whose turn it is
 *
 * A cache for each thread needs no lock, and nobody sees how large they are together: each keeps all
 * that its thread was ever asked. The way to the entries begins in a thread's own storage.
 *
 *   t_cache (of "worker-0", "worker-1") -> slots[*] -> answer -> next -> ...
 *
 * DRIVE before   20 RESOLVE early-{n}.example
 * DRIVE between  80 RESOLVE host-{n}.example
 * DRIVE during   RESOLVE early-1.example; RESOLVE early-1.example; RESOLVE early-2.example; RESOLVE early-2.example
 * EXPECT grow site=answer_new size=1544 count>=+80 bytes>=+123520 row=1
 * EXPECT suspect verdict=growing kind=tls holder=t_cache thread~worker- site=answer_new count>=40
 * EXPECT chain t_cache -> struct cache \.slots\[\*\] -> struct answer
 * EXPECT leaks none
 * EXPECT exit 1 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "../line_server.h"

#define WORKERS 2
#define SLOTS   61

struct answer {
	struct answer *next;
	char name[256];
	unsigned char records[1280];
};

struct cache {
	size_t count;
	struct answer *slots[SLOTS];
};

struct worker {
	pthread_t thread;
	sem_t asked, answered;
	char name[256];			/* empty = the end */
	size_t known;			/* the reply: how many answers its cache holds */
};

static struct worker g_workers[WORKERS];
static __thread struct cache *t_cache;

static struct answer *answer_new(const char *name)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	if (answer)
		snprintf(answer->name, sizeof(answer->name), "%s", name);
	return answer;
}

static struct cache *cache_new(void)
{
	return calloc(1, sizeof(struct cache));
}

static void cache_free(struct cache *cache)
{
	for (size_t i = 0; i < SLOTS; i++)
		while (cache->slots[i]) {
			struct answer *answer = cache->slots[i];

			cache->slots[i] = answer->next;
			free(answer);
		}
	free(cache);
}

/* Returns how many answers this thread knows now, 0 without memory. */
static size_t resolve(const char *name)
{
	struct answer **at, *answer;
	unsigned hash = 5381;

	if (!t_cache)
		t_cache = cache_new();
	if (!t_cache)
		return 0;
	for (const char *c = name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	at = &t_cache->slots[hash % SLOTS];
	for (answer = *at; answer; answer = answer->next)
		if (!strcmp(answer->name, name))
			return t_cache->count;
	answer = answer_new(name);
	if (!answer)
		return 0;
	answer->next = *at;
	*at = answer;
	return ++t_cache->count;
}

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) < 0)	/* EINTR */
		;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (;;) {
		wait_for(&worker->asked);
		if (!*worker->name)
			break;
		worker->known = resolve(worker->name);
		sem_post(&worker->answered);
	}
	if (t_cache)
		cache_free(t_cache);
	return NULL;
}

static void handle(char *request, char *reply, size_t size)
{
	static unsigned turn;
	struct worker *worker;

	if (strncmp(request, "RESOLVE ", 8) || !request[8]) {
		snprintf(reply, size, "ERROR what?");
		return;
	}
	worker = &g_workers[turn++ % WORKERS];
	snprintf(worker->name, sizeof(worker->name), "%s", request + 8);
	sem_post(&worker->asked);
	wait_for(&worker->answered);
	snprintf(reply, size, worker->known ? "OK %zu" : "ERROR no memory", worker->known);
}

int main(void)
{
	char name[16];

	if (line_server_open())
		return 1;
	for (int i = 0; i < WORKERS; i++) {
		struct worker *worker = &g_workers[i];

		sem_init(&worker->asked, 0, 0);
		sem_init(&worker->answered, 0, 0);
		if (pthread_create(&worker->thread, NULL, work, worker))
			return 1;
		snprintf(name, sizeof(name), "worker-%d", i);
		pthread_setname_np(worker->thread, name);
	}
	line_server_run(handle);

	for (int i = 0; i < WORKERS; i++) {
		g_workers[i].name[0] = '\0';
		sem_post(&g_workers[i].asked);
		pthread_join(g_workers[i].thread, NULL);
	}
	return 0;
}
