/* SPDX-License-Identifier: Apache-2.0
 * kinds.c - one way to use memory in a run, and what is right to say about it is known.
 *
 *   kinds KIND [BYTES] [LOAD]      BYTES: of one object (default 1024); LOAD: threads that do other work meanwhile
 *
 * Commands come on stdin, a line each, and are answered with one line: a number N does N steps of the kind;
 * "drain" undoes what can be undone. The driver, test_verdicts.py, takes snapshots between them and knows
 * what must be said. Every kind has its variables, so that a holder can be told by its name. */
#include <alloca.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUCKETS 1024
#define BOUND 256
#define ARENA (1 << 20)

static size_t object_bytes = 1024;

static void *xmalloc(size_t bytes)
{
	void *block = malloc(bytes);

	if (!block)
		abort();
	memset(block, 0, bytes);
	return block;
}

/* ---- caches ---------------------------------------------------------------------------------- */

struct entry {
	struct entry *next;		/* in the bucket */
	struct entry *newer;		/* in the order of age */
	void *body;
};

struct table {
	struct entry *buckets[BUCKETS];
	struct entry *oldest, *newest;
	size_t count;
};

static struct table *g_cache, *g_bounded;

static void put_entry(struct table *table)
{
	struct entry *entry = xmalloc(sizeof(*entry));
	static unsigned key;
	struct entry **bucket = &table->buckets[key++ * 2654435761u % BUCKETS];

	entry->body = xmalloc(object_bytes);
	entry->next = *bucket;
	*bucket = entry;
	if (table->newest)
		table->newest->newer = entry;
	else
		table->oldest = entry;
	table->newest = entry;
	table->count++;
}

static void drop_oldest(struct table *table)
{
	struct entry *entry = table->oldest;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry **at = &table->buckets[i]; *at; at = &(*at)->next)
			if (*at == entry) {
				*at = entry->next;
				break;
			}
	table->oldest = entry->newer;
	if (!table->oldest)
		table->newest = NULL;
	table->count--;
	free(entry->body);
	free(entry);
}

static void step_cache(void)
{
	if (!g_cache)
		g_cache = xmalloc(sizeof(*g_cache));
	put_entry(g_cache);
}

/* 256 entries and no more. */
static void step_bounded(void)
{
	if (!g_bounded)
		g_bounded = xmalloc(sizeof(*g_bounded));
	put_entry(g_bounded);
	if (g_bounded->count > BOUND)
		drop_oldest(g_bounded);
}

/* Two variables hold the same objects: an index beside the list. */
static struct entry *g_list;
static void **g_index;
static size_t g_indexed;

static void step_shared(void)
{
	struct entry *entry = xmalloc(sizeof(*entry));

	if (!g_index)
		g_index = xmalloc(65536 * sizeof(*g_index));
	entry->body = xmalloc(object_bytes);
	entry->next = g_list;
	g_list = entry;
	g_index[g_indexed++ % 65536] = entry;
}

/* ---- a queue --------------------------------------------------------------------------------- */

struct job {
	struct job *next;
	void *payload;
};

static struct job *g_queue;

static void step_queue(void)
{
	struct job *job = xmalloc(sizeof(*job));

	job->payload = xmalloc(object_bytes);
	job->next = g_queue;
	g_queue = job;
}

static void drain_queue(void)
{
	while (g_queue) {
		struct job *next = g_queue->next;

		free(g_queue->payload);
		free(g_queue);
		g_queue = next;
	}
}

/* ---- one array that is made larger ----------------------------------------------------------- */

static struct { char *log; size_t used, room; } g_journal;

static void step_array(void)
{
	if (g_journal.used + object_bytes > g_journal.room) {
		g_journal.room = g_journal.room ? g_journal.room * 3 / 2 : 65536;
		if (g_journal.room < g_journal.used + object_bytes)
			g_journal.room = g_journal.used + object_bytes;
		g_journal.log = realloc(g_journal.log, g_journal.room);
		if (!g_journal.log)
			abort();
	}
	memset(g_journal.log + g_journal.used, 0, object_bytes);
	g_journal.used += object_bytes;
}

/* ---- held by a stack ------------------------------------------------------------------------- */

static pthread_mutex_t worker_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t worker_turn = PTHREAD_COND_INITIALIZER;
static unsigned worker_asked, worker_done;

static __attribute__((noinline)) void hold_sessions(struct job *volatile *sessions)
{
	struct job *session = xmalloc(sizeof(*session));

	session->payload = xmalloc(object_bytes);
	session->next = *sessions;
	*sessions = session;
}

static __attribute__((noinline)) void take_turns(struct job *volatile *sessions)
{
	pthread_mutex_lock(&worker_lock);
	for (;;) {
		while (worker_asked == worker_done)
			pthread_cond_wait(&worker_turn, &worker_lock);
		hold_sessions(sessions);
		worker_done++;
		pthread_cond_broadcast(&worker_turn);
	}
}

static void *work(void *unused)
{
	struct job *volatile sessions = NULL;	/* nobody else knows of them */

	prctl(PR_SET_NAME, "holder");
	take_turns(&sessions);
	return unused;
}

/* The same in a word of the frame that belongs to none of the function's variables. */
static void *work_unnamed(void *unused)
{
	char name[] = "holder";
	struct job *volatile *sessions = alloca(sizeof(*sessions));

	*sessions = NULL;
	prctl(PR_SET_NAME, name);
	take_turns(sessions);
	return unused;
}

static void ask_worker(void *(*work_of)(void *))
{
	static pthread_t worker;

	if (!worker && pthread_create(&worker, NULL, work_of, NULL))
		abort();
	pthread_mutex_lock(&worker_lock);
	worker_asked++;
	pthread_cond_broadcast(&worker_turn);
	while (worker_asked != worker_done)
		pthread_cond_wait(&worker_turn, &worker_lock);
	pthread_mutex_unlock(&worker_lock);
}

static void step_stack(void)
{
	ask_worker(work);
}

static void step_slot(void)
{
	ask_worker(work_unnamed);
}

/* ---- far from its root ----------------------------------------------------------------------- */

struct link {
	uint64_t padding[2];
	void *next;
};

static struct link *g_server;

/* Ten blocks of ten sizes, then a vector of objects; the way is gone each time, nothing else points there. */
static void step_chain(void)
{
	struct link **at = &g_server;
	static size_t count;
	void **vector;

	for (size_t i = 0; i < 10; i++) {
		if (!*at)
			*at = xmalloc(sizeof(struct link) + i * 16);
		at = (struct link **)&(*at)->next;
	}
	if (!*at)
		*at = xmalloc(65536 * sizeof(*vector));
	vector = (void **)*at;
	vector[count++ % 65536] = xmalloc(object_bytes);
}

/* ---- lost ------------------------------------------------------------------------------------ */

/* Let the compiler believe that somebody has seen it. */
static void forget(void *block)
{
	__asm__ volatile("" : : "r"(block) : "memory");
}

static void step_lost(void)
{
	forget(xmalloc(object_bytes));
}

struct peer {
	struct peer *other;
	char text[];
};

static void step_cycle(void)
{
	struct peer *a = xmalloc(sizeof(*a) + object_bytes), *b = xmalloc(sizeof(*b) + object_bytes);

	a->other = b;
	b->other = a;
	forget(a);
}

/* A stack of blocks that hides its pointers, and uses them: each step pushes two and pops one. */
static uint64_t g_hidden;

static void push_hidden(void)
{
	uint64_t *block = xmalloc(object_bytes);

	block[0] = g_hidden;
	g_hidden = (uint64_t)block ^ 0xa5a5a5a5a5a5a5a5u;
}

static void step_hidden(void)
{
	uint64_t *top;

	push_hidden();
	push_hidden();
	push_hidden();
	for (int i = 0; i < 2; i++) {
		top = (uint64_t *)(g_hidden ^ 0xa5a5a5a5a5a5a5a5u);
		g_hidden = top[0];
		free(top);
	}
}

static void drain_hidden(void)
{
	for (int i = 0; i < 40 && g_hidden; i++) {
		uint64_t *top = (uint64_t *)(g_hidden ^ 0xa5a5a5a5a5a5a5a5u);

		g_hidden = top[0];
		free(top);
	}
}

/* ---- resident memory, not live memory -------------------------------------------------------- */

static void *g_kept[4096];

/* First blocks side by side; then each second one is freed and larger ones are asked for, half as many: as many
 * bytes live as before, and none of them lies where the others were. */
static void step_fragments(void)
{
	enum { KEPT = sizeof(g_kept) / sizeof(g_kept[0]) };

	if (!g_kept[0]) {
		for (int i = 0; i < KEPT; i++)
			g_kept[i] = xmalloc(object_bytes);
		return;
	}
	for (int i = 0; i < KEPT; i += 2) {
		free(g_kept[i]);
		g_kept[i] = NULL;
	}
	for (int i = 0; i < KEPT; i += 4)
		g_kept[i] = xmalloc(object_bytes * 2);
}

/* A burst that is freed; a small block above it keeps it from going back to the system. */
static void step_kept(void)
{
	enum { BURST = 8192 };
	static void *top;
	void **block = xmalloc(BURST * sizeof(*block));

	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 25);
	for (int i = 0; i < BURST; i++)
		block[i] = xmalloc(object_bytes);
	if (!top)
		top = xmalloc(64);
	for (int i = 0; i < BURST; i++)
		free(block[i]);
	free(block);
}

/* ---- memory of its own ----------------------------------------------------------------------- */

struct arena {
	struct arena *next;
	size_t used;
	char room[];
};

static struct arena *g_arenas;

static void step_arena(void)
{
	if (!g_arenas || g_arenas->used + object_bytes > ARENA - sizeof(struct arena)) {
		struct arena *arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (arena == MAP_FAILED)
			abort();
		arena->next = g_arenas;
		g_arenas = arena;
	}
	memset(g_arenas->room + g_arenas->used, 1, object_bytes);
	g_arenas->used += object_bytes;
}

/* ---- load ------------------------------------------------------------------------------------ */

static long busy_threads;		/* those whose window is full */

/* Requests that come and go: a window of blocks of many sizes, each freed in its turn. */
static void *load(void *number)
{
	void *window[64] = { 0 };
	unsigned seed = 12345 + (unsigned)(uintptr_t)number;

	prctl(PR_SET_NAME, "load");
	for (unsigned i = 0;; i++) {
		seed = seed * 1103515245 + 12345;
		free(window[i % 64]);
		window[i % 64] = malloc(16 + seed / 65536 % 2048);
		if (i == 256)
			__atomic_add_fetch(&busy_threads, 1, __ATOMIC_RELEASE);
		if (i % 256 == 0)
			usleep(2000);
	}
	return NULL;
}

/* ---- commands -------------------------------------------------------------------------------- */

static void nothing(void)
{
}

static const struct kind {
	const char *name;
	void (*step)(void), (*drain)(void);
} kinds[] = {
	{ "cache", step_cache, nothing },		{ "bounded", step_bounded, nothing },
	{ "shared", step_shared, nothing },		{ "queue", step_queue, drain_queue },
	{ "array", step_array, nothing },		{ "stack", step_stack, nothing },
	{ "chain", step_chain, nothing },		{ "lost", step_lost, nothing },
	{ "cycle", step_cycle, nothing },		{ "hidden", step_hidden, drain_hidden },
	{ "fragments", step_fragments, nothing },	{ "kept", step_kept, nothing },
	{ "arena", step_arena, nothing },		{ "clean", nothing, nothing },
	{ "worker", step_cache, nothing },		{ "slot", step_slot, nothing },
};

/* The steps are done in a frame of their own, and the stack below is wiped: no word of them stays behind. */
static __attribute__((noinline)) void do_steps(const struct kind *kind, long steps)
{
	for (long i = 0; i < steps; i++)
		kind->step();
}

static __attribute__((noinline)) void wipe_stack(void)
{
	volatile char below[8192];

	memset((char *)below, 0, sizeof(below));
	forget((char *)below);
}

static void serve(const struct kind *kind)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "drain\n"))
			kind->drain();
		else
			do_steps(kind, atol(line));
		wipe_stack();
		puts("done");
	}
}

int main(int argc, char **argv)
{
	const struct kind *kind = NULL;
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (argc > 1 && !strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind)
		return 2;
	if (argc > 2)
		object_bytes = strtoul(argv[2], NULL, 10);
	if (object_bytes < 16)
		object_bytes = 16;
	if (!strcmp(kind->name, "worker")) {	/* the worker serves; its parent only waits for it */
		pid_t pid = fork();

		if (pid) {
			printf("worker %d\n", (int)pid);
			return waitpid(pid, NULL, 0) == pid ? 0 : 1;
		}
		prctl(PR_SET_PDEATHSIG, 9);
	}
	long threads = argc > 3 ? atol(argv[3]) : 0;

	for (long i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, load, (void *)i))
			return 1;
	while (__atomic_load_n(&busy_threads, __ATOMIC_ACQUIRE) < threads)
		usleep(1000);
	printf("ready %d\n", (int)getpid());
	serve(kind);
	return 0;
}
