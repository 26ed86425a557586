/* SPDX-License-Identifier: Apache-2.0
 * stress.c - everything at once, with a list of what is allocated that is kept without the library.
 *   stress SECONDS LIST   eight threads take blocks out of shared boxes, free or resize them and put others
 *                         in, of random kinds and sizes; one of them forks, and its children do the same.
 *
 * Says "ready" when the threads exist and nothing has been allocated, and goes on with a line on stdin.
 * After SECONDS the threads rest, LIST holds a line "address bytes usable" for each block in the boxes, and the
 * program says "rests STEPS FORKS"; it ends with the next line. Every block is full of a number made from
 * its address and size, which is looked at before it is given up: 2 = somebody wrote over it. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "ledger.h"

#define THREADS 8
#define BOXES 30000u
#define CHILD_STEPS 3000
#define FORK_NS 150000000ll

struct parcel {
	uint64_t bytes, stamp;
};

static _Atomic(struct parcel *) boxes[BOXES];
static _Atomic int resting;
static _Atomic uint64_t all_steps, forks;
static pthread_barrier_t gate;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint64_t stamp_of(const struct parcel *p)
{
	return ((uint64_t)(uintptr_t)p ^ p->bytes) * 0x9e3779b97f4a7c15ull;
}

/* the last byte, too: the block must be ours to its end */
static struct parcel *mark(struct parcel *p, uint64_t bytes)
{
	if (!p)
		_exit(4);
	p->bytes = bytes;
	p->stamp = stamp_of(p);
	((unsigned char *)p)[bytes - 1] = (unsigned char)(bytes == sizeof(*p) ? p->stamp >> 56 : bytes);
	return p;
}

static void look(const struct parcel *p)
{
	if (p->stamp != stamp_of(p) ||
	    (p->bytes > sizeof(*p) && ((const unsigned char *)p)[p->bytes - 1] != (unsigned char)p->bytes))
		_exit(2);
}

/* mostly small, one in 64 up to 64 KiB, one in 4096 up to 2 MiB, which libc maps */
static uint64_t size_of(uint64_t r)
{
	uint64_t most = (r & 63) ? 700 : (r & 4095) ? 65536 : 2097152;

	return sizeof(struct parcel) + (r >> 12) % most;
}

static struct parcel *make(uint64_t r)
{
	uint64_t bytes = size_of(r >> 8);
	void *p = NULL;

	switch (r & 7) {
	case 0:
		return mark(calloc(1, bytes), bytes);
	case 1:
		if (posix_memalign(&p, 16ull << (r >> 3 & 7), bytes))
			_exit(4);
		return mark(p, bytes);
	case 2:
		return mark(realloc(NULL, bytes), bytes);
	default:
		return mark(malloc(bytes), bytes);
	}
}

static __attribute__((noinline)) void step(uint64_t *seed, unsigned deeper)
{
	uint64_t r = ledger_random(seed);
	_Atomic(struct parcel *) *box = &boxes[(r >> 32) % BOXES];
	struct parcel *p;

	if (deeper) {		/* stacks of many depths */
		step(seed, deeper - 1);
		__asm__ volatile("" : : : "memory");
		return;
	}
	p = atomic_exchange(box, NULL);
	if (p) {
		look(p);
		if ((r & 3) == 0) {
			uint64_t bytes = size_of(r >> 20);

			p = mark(realloc(p, bytes), bytes);
			p = atomic_exchange(box, p);
		}
		free(p);
	}
	if (r & 4) {
		p = atomic_exchange(box, make(r >> 3));
		if (p)
			look(p);
		free(p);
	}
}

static void fork_one(uint64_t *seed)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		for (int i = 0; i < CHILD_STEPS; i++)
			step(seed, i % 7);
		exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(5);
	if (status)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
	atomic_fetch_add(&forks, 1);
}

static void *work(void *data)
{
	uint64_t seed = 0x9e3779b97f4a7c15ull * ((uint64_t)(uintptr_t)data + 1), steps = 0;
	int64_t next_fork = now_ns() + FORK_NS;

	pthread_barrier_wait(&gate);
	while (!atomic_load_explicit(&resting, memory_order_relaxed)) {
		step(&seed, (unsigned)(steps % 23));
		if ((++steps & 255) == 0 && !data && now_ns() > next_fork) {
			fork_one(&seed);
			next_fork = now_ns() + FORK_NS;
		}
	}
	atomic_fetch_add(&all_steps, steps);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	return NULL;
}

static void wait_for_line(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
}

static void write_list(const char *path)
{
	static char buffer[1 << 16];
	FILE *list = fopen(path, "w");

	if (!list || setvbuf(list, buffer, _IOFBF, sizeof(buffer)))
		_exit(3);
	for (uint32_t i = 0; i < BOXES; i++) {
		if (boxes[i])
			fprintf(list, "%lu %lu %lu\n", (unsigned long)(uintptr_t)boxes[i],
				(unsigned long)boxes[i]->bytes, (unsigned long)malloc_usable_size(boxes[i]));
	}
	if (fclose(list))
		_exit(3);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	char text[80];

	if (argc != 3)
		return 64;
	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	say("ready\n");
	wait_for_line();
	pthread_barrier_wait(&gate);
	nanosleep(&(struct timespec){ .tv_sec = atol(argv[1]) }, NULL);
	atomic_store(&resting, 1);
	pthread_barrier_wait(&gate);
	write_list(argv[2]);
	snprintf(text, sizeof(text), "rests %lu %lu\n", (unsigned long)all_steps, (unsigned long)forks);
	say(text);
	wait_for_line();
	pthread_barrier_wait(&gate);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
