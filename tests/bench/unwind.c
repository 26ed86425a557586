/* SPDX-License-Identifier: Apache-2.0
 * LIBS ld_preload_parts dl
 * bench/unwind.c - what one allocation stack costs, to its id, by rules and by libunwind.
 *
 *   bench_unwind             the whole table
 *   bench_unwind FRAMES KIND one line of it (KIND 0, 1 or 2), for a profiler
 *
 *   same       one stack in a loop
 *   inner      200 stacks in turn that share the outer half of their frames
 *   all        200 stacks in turn that share nothing but main
 *
 * Calling the chain of functions costs time too: it is measured with a no-op and subtracted, so the
 * figures are nanoseconds of CPU time added by the capture. The fastest of several rounds counts. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "preload/stacks.h"
#include "preload/step.h"
#include "preload/unwind.h"

#define NOINLINE __attribute__((noinline, noclone))
#define STACKS 200
#define DEPTH_MAX 48
#define ROUNDS 15

enum method { METHOD_NONE, METHOD_RULES, METHOD_LIBUNWIND, METHOD_RAW, METHODS };

static enum method method;
static struct step *step;
static struct step_head last_stack;
static struct stack_memo *memo;
static uint32_t last_id, captured;
static int (*raw_backtrace)(void **, int);

static NOINLINE void leaf(void)
{
	void *pcs[64 + UNWIND_EXTRA];
	int truncated, count;
	int64_t stack;

	switch (method) {
	case METHOD_RULES:
		stack = ld__step_capture(step, __builtin_frame_address(0), ld__step_now(), 64);
		if (stack < 0) {
			fprintf(stderr, "a stack was handed over\n");
			exit(1);
		}
		last_id = (uint32_t)stack;
		break;
	case METHOD_LIBUNWIND:
		count = ld__unwind(pcs, 64, __builtin_return_address(0), &truncated);
		last_id = ld__stacks_intern_with(memo, pcs, count, truncated);
		break;
	case METHOD_RAW:
		last_id = (uint32_t)raw_backtrace(pcs, 64);
		break;
	default:
		break;
	}
	captured++;
	__asm__ volatile("" : : : "memory");
}

/* Which of three functions stands at each level of the stack: one path per stack. */
static uint8_t paths[STACKS][DEPTH_MAX];

typedef uint64_t link_function(const uint8_t *path, int left, uint64_t a);
static link_function link_plain, link_saves, link_large;
static link_function *const links[] = { link_plain, link_saves, link_large };

static NOINLINE uint64_t link_plain(const uint8_t *path, int left, uint64_t a)
{
	if (left == 0) {
		leaf();
		return a;
	}
	return links[*path](path + 1, left - 1, a + 1) + a;
}

static NOINLINE uint64_t link_saves(const uint8_t *path, int left, uint64_t a)
{
	uint64_t b = a * 3, c = a * 5, d = a ^ 7;

	__asm__ volatile("" : "+r"(b), "+r"(c), "+r"(d));
	if (left == 0)
		leaf();
	else
		b += links[*path](path + 1, left - 1, a + 2);
	return b + c + d;
}

static NOINLINE uint64_t link_large(const uint8_t *path, int left, uint64_t a)
{
	uint8_t room[200];

	memset(room, (int)a, 8);
	__asm__ volatile("" : : "r"(room) : "memory");
	if (left == 0)
		leaf();
	else
		a += links[*path](path + 1, left - 1, a + 3);
	return a + room[a & 7];
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds a call of the chain takes, the capture included. `frames`: of the chain alone. */
static double measure(enum method m, int frames, int stacks)
{
	double best = 1e18;
	int calls = 200000 / frames;

	method = m;
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns(), each;

		for (int i = 0; i < calls; i++) {
			const uint8_t *path = paths[i % stacks];

			links[path[0]](path + 1, frames - 1, 1);
		}
		each = (now_ns() - start) / calls;
		if (each < best)
			best = each;
	}
	return best;
}

static void make_paths(int same_levels)
{
	uint64_t x = 88172645463325252;

	for (int s = 0; s < STACKS; s++) {
		for (int level = 0; level < DEPTH_MAX; level++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			paths[s][level] = level < same_levels ? paths[0][level] : (uint8_t)(x >> 33) % 3;
		}
	}
}

int main(int argc, char **argv)
{
	static const int depths[] = { 5, 10, 20, 40 };
	static const char *const kinds[] = { "same", "inner", "all" };
	void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

	raw_backtrace = library ? (int (*)(void **, int))dlsym(library, "unw_backtrace") : NULL;
	if (!raw_backtrace || ld__unwind_init() < 0 || ld__step_init() < 0)
		return 77;
	step = ld__step_new(&last_stack);
	memo = ld__stacks_memo_new();
	printf("nanoseconds added per stack\n"
	       "frames  stacks   rules to id   unw_backtrace   unw_backtrace to id   ratio\n");
	for (unsigned d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
		for (int kind = 0; kind < 3; kind++) {
			if (argc > 2 && (atoi(argv[1]) != depths[d] || atoi(argv[2]) != kind))
				continue;
			/* main, its two callers in libc and _start are four of the frames */
			int frames = depths[d] - 4, stacks = kind ? STACKS : 1;
			double none, rules, whole, raw;

			make_paths(kind == 1 ? frames / 2 : 0);
			none = measure(METHOD_NONE, frames, stacks);
			rules = measure(METHOD_RULES, frames, stacks) - none;
			raw = measure(METHOD_RAW, frames, stacks) - none;
			whole = measure(METHOD_LIBUNWIND, frames, stacks) - none;
			printf("%6d  %-6s  %12.1f  %14.1f  %20.1f  %6.2f\n", depths[d], kinds[kind], rules, raw,
			       whole, raw / rules);
		}
	}
	return 0;
}
