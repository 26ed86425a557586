/* SPDX-License-Identifier: Apache-2.0
 * sampled.c - two sites whose live blocks are known, and an allocator that is never at rest.
 *
 *   shim_sampled      says "ready"; churns until a line comes, then says what lives:
 *                     "small COUNT BYTES large COUNT BYTES"; ends with the input, status 9 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 40000u
#define LARGE 5000u
#define ROUNDS 20000u			/* between two looks for a line */

static void *g_small[SLOTS], *g_large[SLOTS / 4];
static size_t small_bytes[SLOTS];

__attribute__((noinline)) static void *take_small(size_t bytes)
{
	void *block = malloc(bytes);

	__asm__ volatile("" : "+r"(block));	/* no tail call: this frame must be there */
	return block;
}

/* not the same as the other: equal functions are folded into one */
__attribute__((noinline)) static void *take_large(void)
{
	void *block = malloc(LARGE);

	__asm__ volatile("" : "+r"(block));
	return block;
}

static unsigned int next(void)
{
	static unsigned int x = 1;

	x = x * 1664525u + 1013904223u;
	return x >> 8;
}

static void churn(void)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int at = next() % SLOTS;

		free(g_small[at]);
		small_bytes[at] = 100 + next() % 2000;
		g_small[at] = take_small(small_bytes[at]);
		if (i % 4)
			continue;
		at %= SLOTS / 4;
		free(g_large[at]);
		g_large[at] = take_large();
	}
}

int main(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	size_t small = 0, small_total = 0, large = 0;
	char line[16];

	puts("ready");
	fflush(stdout);
	while (poll(&input, 1, 0) == 0)
		churn();
	for (unsigned int i = 0; i < SLOTS; i++) {
		small += g_small[i] != NULL;
		small_total += g_small[i] ? small_bytes[i] : 0;
		large += i < SLOTS / 4 && g_large[i] != NULL;
	}
	printf("small %zu %zu large %zu %zu\n", small, small_total, large, large * LARGE);
	fflush(stdout);
	while (read(0, line, sizeof(line)) > 0)
		;
	return 9;
}
