/* SPDX-License-Identifier: Apache-2.0
 * memory.c - what makes the memory of a profiler explode.
 *
 *   bench_memory sizes N     N times one of 1009 sizes from one of 200 stacks, 100 000 of them live
 *   bench_memory stacks N    N blocks, each from a stack that no other one has; none stays
 *   bench_memory blocks N    N live blocks of 16 to 40 bytes
 *
 * Ends with its blocks live. Prints "peak_kb=N live=N", the process's own peak of resident memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { WINDOW = 100000, SIZES = 1009, STACKS = 200, DEPTH = 20 };

static void **blocks;
static uint64_t seed = 88172645463325252u;

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void *block_of(size_t bytes)
{
	char *block = malloc(bytes);

	if (!block)
		exit(2);
	block[0] = 1;
	return block;
}

static void *one(uint64_t path, unsigned level, size_t bytes);

/* two ways into the next level: a stack for each value of path */
static __attribute__((noinline)) void *left(uint64_t path, unsigned level, size_t bytes)
{
	void *block = one(path >> 1, level - 1, bytes);

	__asm__ volatile("# left" : : "r"(block) : "memory");
	return block;
}

static __attribute__((noinline)) void *right(uint64_t path, unsigned level, size_t bytes)
{
	void *block = one(path >> 1, level - 1, bytes);

	__asm__ volatile("# right" : : "r"(block) : "memory");
	return block;
}

static __attribute__((noinline)) void *one(uint64_t path, unsigned level, size_t bytes)
{
	void *block;

	if (!level)
		block = block_of(bytes);
	else
		block = path & 1 ? right(path, level, bytes) : left(path, level, bytes);
	__asm__ volatile("# one" : : "r"(block) : "memory");
	return block;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 0, live = 0;
	struct rusage usage;

	blocks = calloc(!strcmp(kind, "blocks") ? count : WINDOW, sizeof(*blocks));
	if (!blocks)
		return 2;
	for (uint64_t i = 0; i < count; i++) {
		if (!strcmp(kind, "sizes")) {
			uint64_t r = draw(), at = (r >> 40) % WINDOW;

			live += !blocks[at];
			free(blocks[at]);
			blocks[at] = one(r % STACKS, DEPTH / 2, 16 + (r >> 8) % SIZES);
		} else if (!strcmp(kind, "stacks")) {
			free(one(i, DEPTH, 64));
		} else if (!strcmp(kind, "blocks")) {
			blocks[live++] = block_of(16 + i % 25);
		} else {
			return 64;
		}
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("peak_kb=%ld live=%lu\n", usage.ru_maxrss, (unsigned long)live);
	return 0;
}
