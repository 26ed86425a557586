/* SPDX-License-Identifier: Apache-2.0
 * pairs.c - what one malloc and one free cost, called from deep stacks.
 *
 *   bench_pairs pairs OPS         malloc(64) + free in a tight loop, 20 frames below main's caller
 *   bench_pairs churn OPS         each batch of 16 pairs comes from one of 200 stacks of 17 to 21
 *                                 frames; the freed block is a random one of 100 000 live ones
 *   bench_pairs threads OPS [N]   churn in N threads (4); one free in four is another thread's block
 *
 * The time is that of OPS pairs, after the live blocks have been made. Prints "ns_per_pair=F cpu_ns_per_pair=F
 * sum=N"; sum depends on the work alone. Functions keep frames of different sizes and no frame pointer, as
 * optimised services do. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 16, STACKS = 200, DEPTH_MAX = 24, FUNCTIONS = 32, WINDOW = 100000, THREADS_MAX = 4 };

struct worker {
	void **window;
	uint32_t window_count, filled;
	uint64_t random, pairs, ops, want, sum;
	_Atomic(void *) inbox;		/* blocks that another thread gave us to free, linked by first word */
	struct worker *next;		/* whom we give blocks to; NULL alone */
};

static uint8_t paths[STACKS][DEPTH_MAX], depths[STACKS];
static int tight;
static pthread_barrier_t full, go;	/* the windows; the clocks have been read */

static uint64_t draw(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void give(struct worker *to, void *block)
{
	void *head = atomic_load_explicit(&to->inbox, memory_order_relaxed);

	do {
		*(void **)block = head;
	} while (!atomic_compare_exchange_weak_explicit(&to->inbox, &head, block, memory_order_release,
							memory_order_relaxed));
}

static void free_inbox(struct worker *worker)
{
	void *block = atomic_exchange_explicit(&worker->inbox, NULL, memory_order_acquire);

	while (block) {
		void *next = *(void **)block;

		free(block);
		block = next;
	}
}

static __attribute__((noinline)) void tight_pairs(struct worker *worker)
{
	for (; worker->ops < worker->want; worker->ops++) {
		char *block = malloc(64);

		__asm__ volatile("" : : "r"(block) : "memory");
		worker->sum += block != NULL;
		free(block);
	}
}

static __attribute__((noinline)) void batch(struct worker *worker)
{
	for (int i = 0; i < BATCH; i++) {
		uint64_t r = draw(&worker->random);
		uint32_t slot = worker->filled < worker->window_count ? worker->filled++ :
				(uint32_t)(((r & 0xffffffffu) * worker->window_count) >> 32);
		size_t bytes = 16 + (size_t)((uint32_t)(r >> 32) % 64) * 16;
		uint64_t *old = worker->window[slot], *block;

		if (old) {
			worker->sum += old[1];
			if (worker->next && (r >> 60) < 4)
				give(worker->next, old);
			else
				free(old);
		}
		block = malloc(bytes);
		if (!block)
			exit(2);
		block[1] = bytes;
		worker->window[slot] = block;
		worker->ops++;
	}
	if (worker->next && worker->ops % (BATCH * 16) == 0)
		free_inbox(worker);
}

typedef void chain_function(struct worker *worker, unsigned level, const uint8_t *path);
static chain_function *const functions[FUNCTIONS];

#define FUNCTION(n)                                                                              \
	static __attribute__((noinline)) void call_##n(struct worker *worker, unsigned level,      \
						       const uint8_t *path)                        \
	{                                                                                          \
		char pad[16 + 8 * ((n) % 9)];                                                      \
		__asm__ volatile("# %1" : : "r"(pad), "i"(n) : "memory");                          \
		if (level)                                                                         \
			functions[path[level]](worker, level - 1, path);                           \
		else if (tight)                                                                    \
			tight_pairs(worker);                                                       \
		else                                                                               \
			batch(worker);                                                             \
		__asm__ volatile("# %1" : : "r"(pad), "i"(n) : "memory");                          \
	}
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
	X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
EACH(FUNCTION)
#define ENTRY(n) call_##n,
static chain_function *const functions[FUNCTIONS] = { EACH(ENTRY) };

static void call(struct worker *worker, uint64_t pairs)
{
	for (worker->ops = worker->sum = 0, worker->want = pairs; worker->ops < pairs;) {
		unsigned stack = (unsigned)(draw(&worker->random) % STACKS);

		functions[paths[stack][depths[stack]]](worker, depths[stack] - 1u, paths[stack]);
	}
}

static void fill(struct worker *worker)
{
	if (!tight)
		call(worker, worker->window_count);
}

static void *work(void *data)
{
	struct worker *worker = data;

	fill(worker);
	pthread_barrier_wait(&full);
	pthread_barrier_wait(&go);
	call(worker, worker->pairs);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	const char *kind = argc > 1 ? argv[1] : "pairs";
	uint64_t ops = argc > 2 ? strtoull(argv[2], NULL, 0) : 5000000, seed = 0x9e3779b97f4a7c15u;
	uint64_t wall, cpu, done = 0, sum = 0;
	int count = strcmp(kind, "threads") ? 1 : argc > 3 ? atoi(argv[3]) : THREADS_MAX;

	if (count < 1 || count > THREADS_MAX)
		return 64;
	tight = !strcmp(kind, "pairs");
	for (int s = 0; s < STACKS; s++) {
		depths[s] = tight ? 16 : (uint8_t)(14 + draw(&seed) % 5);	/* and main, work, the leaf, libc */
		for (int l = 0; l < DEPTH_MAX; l++)
			paths[s][l] = (uint8_t)(draw(&seed) % FUNCTIONS);
	}
	for (int i = 0; i < count; i++) {
		workers[i].window_count = (uint32_t)(WINDOW / count);
		workers[i].window = calloc(workers[i].window_count, sizeof(void *));
		workers[i].random = 88172645463325252u + (uint64_t)i * 7919;
		workers[i].pairs = ops / (uint64_t)count;
		workers[i].next = count > 1 ? &workers[(i + 1) % count] : NULL;
	}
	free(malloc(64));		/* the first call sets things up: not counted */
	pthread_barrier_init(&full, NULL, (unsigned)count + 1);
	pthread_barrier_init(&go, NULL, (unsigned)count + 1);
	if (count == 1)
		fill(&workers[0]);
	for (int i = 0; count > 1 && i < count; i++)
		pthread_create(&threads[i], NULL, work, &workers[i]);
	if (count > 1)
		pthread_barrier_wait(&full);
	wall = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (count > 1)
		pthread_barrier_wait(&go);
	else
		call(&workers[0], ops);
	for (int i = 0; count > 1 && i < count; i++)
		pthread_join(threads[i], NULL);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = clock_ns(CLOCK_MONOTONIC) - wall;
	for (int i = 0; i < count; i++) {
		done += workers[i].ops;
		sum += workers[i].sum;
	}
	printf("ns_per_pair=%.2f cpu_ns_per_pair=%.2f sum=%llu\n", (double)wall / (double)done,
	       (double)cpu / (double)done, (unsigned long long)sum);
	return 0;
}
