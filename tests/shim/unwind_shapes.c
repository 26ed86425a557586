/* SPDX-License-Identifier: Apache-2.0
 * LIBS m
 * unwind_shapes.c - allocations out of frames of every shape, in random trees, on four threads.
 *
 * alloca, variable arrays, realigned and huge frames, frame pointers or none, rbp used for data, tail
 * calls, deep recursion, longjmp across frames. Does nothing with the result: whoever runs it
 * compares the stacks. With a folder as argument it changes its root there first, so that there is no
 * /proc when its threads begin (77: not allowed to). */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static __thread uint64_t random_state;
static __thread int budget;
static __thread uint32_t depth_max;
static __thread jmp_buf *landing;
typedef uint64_t shape(uint32_t depth, uint64_t a, uint64_t b);

static uint32_t chance(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

static NOINLINE void take(void)
{
	void *volatile block = malloc(1 + chance(200));

	free(block);
}

static NOINLINE uint64_t descend(uint32_t depth, uint64_t a, uint64_t b);

#define SHAPE(name, options, before, after)                                                         \
	static NOINLINE __attribute__((optimize options)) uint64_t name(uint32_t depth, uint64_t a, uint64_t b) \
	{                                                                                           \
		before                                                                              \
		void *volatile block;                                                               \
		uint64_t sum = a ^ b;                                                               \
		for (uint32_t n = chance(3) + 1; n > 0; n--) {                                      \
			if (chance(4) == 0)                                                         \
				take();                                                             \
			sum += descend(depth + 1, sum, a) ^ n;                                      \
		}                                                                                   \
		block = malloc(8 + sum % 8);                                                        \
		free(block);                                                                        \
		after                                                                               \
		return sum;                                                                         \
	}
#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory");
#define USE_BP                                                                                      \
	uint64_t v0 = a * 3, v1 = b * 5, v2 = a + b, v3 = a - b, v4 = a ^ b, v5 = a * b;            \
	__asm__ volatile("" : "+r"(v0), "+r"(v1), "+r"(v2), "+r"(v3), "+r"(v4), "+r"(v5));
#define USED_BP sum += v0 + v1 + v2 + v3 + v4 + v5;

SHAPE(plain, ("O2"), , )
SHAPE(plain_o0, ("O0"), , )
SHAPE(with_fp, ("O2", "no-omit-frame-pointer"), , )
SHAPE(without_fp, ("O2", "omit-frame-pointer"), USE_BP, USED_BP)
SHAPE(small_without_fp, ("Os", "omit-frame-pointer"), USE_BP, USED_BP)
SHAPE(o0_without_fp, ("O0", "omit-frame-pointer"), , )
SHAPE(large, ("O2"), uint8_t big[5000]; memset(big, (int)a, 9); KEEP(big), sum += big[depth % 9];)
SHAPE(large_fp, ("O2", "no-omit-frame-pointer"), uint8_t big[3000]; memset(big, (int)a, 9); KEEP(big), sum += big[depth % 9];)
SHAPE(with_alloca, ("O2"), uint8_t *p = alloca(16 + chance(600)); *p = 1; KEEP(p), sum += *p;)
SHAPE(with_alloca_bp, ("O2"), USE_BP uint8_t *p = alloca(1 + chance(60)); *p = 1; KEEP(p), USED_BP sum += *p;)
SHAPE(with_array, ("O1"), uint8_t p[1 + chance(300)]; *p = 1; KEEP(p), sum += *p;)
SHAPE(realigned, ("O2"), _Alignas(64) uint8_t p[64]; memset(p, (int)a, 64); KEEP(p), sum += p[3];)
SHAPE(realigned_alloca, ("O2"), _Alignas(128) uint8_t p[64]; memset(p, 1, 64); KEEP(p)
      uint8_t *q = alloca(16 + chance(99)); *q = 2; KEEP(q), sum += p[3] + *q;)

static NOINLINE uint64_t tail(uint32_t depth, uint64_t a, uint64_t b)
{
	if (chance(3) == 0)
		take();
	return descend(depth + 1, b, a);
}

static NOINLINE uint64_t recursion(uint32_t depth, uint64_t a, uint64_t b)
{
	uint64_t sum = depth < depth_max ? recursion(depth + 1, b, a) : 1;

	if (chance(3) == 0)
		take();
	return sum + a;
}

static NOINLINE uint64_t lands(uint32_t depth, uint64_t a, uint64_t b)
{
	jmp_buf here, *outer = landing;
	volatile uint64_t sum = a;

	if (setjmp(here) == 0) {
		landing = &here;
		sum += descend(depth + 1, b, a);
	}
	landing = outer;
	take();
	return sum;
}

static NOINLINE uint64_t jumps(uint32_t depth, uint64_t a, uint64_t b)
{
	(void)depth;
	take();
	if (landing && chance(2))
		longjmp(*landing, 1);
	return a + b;
}

static int compare(const void *a, const void *b)
{
	if (chance(8) == 0)
		take();
	return *(const int *)a - *(const int *)b;
}

static NOINLINE uint64_t through_libc(uint32_t depth, uint64_t a, uint64_t b)
{
	int numbers[16];

	for (int i = 0; i < 16; i++)
		numbers[i] = (int)chance(1000);
	qsort(numbers, 16, sizeof(numbers[0]), compare);
	return (uint64_t)numbers[0] + descend(depth + 1, b, a);
}

static shape *const shapes[] = {
	plain, plain_o0, with_fp, without_fp, small_without_fp, o0_without_fp, large, large_fp, with_alloca,
	with_alloca_bp, with_array, realigned, realigned_alloca, tail, recursion, lands, jumps, through_libc,
};

static NOINLINE uint64_t descend(uint32_t depth, uint64_t a, uint64_t b)
{
	if (depth >= depth_max || budget-- <= 0) {
		take();
		return a;
	}
	return shapes[chance(sizeof(shapes) / sizeof(shapes[0]))](depth, a, b) + 1;
}

static void *run(void *argument)
{
	random_state = 0x9e3779b97f4a7c15 + (uintptr_t)argument * 0x1234567;
	for (int i = 0; i < 400; i++) {
		depth_max = 1 + chance(chance(4) ? 24 : 150);
		budget = 40 + (int)chance(300);
		descend(0, 1, 2);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[3];

	if (argc > 1 && (chroot(argv[1]) < 0 || chdir("/") < 0))
		return 77;

	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, run, (void *)(i + 1));
	run(NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	puts("done");
	return 0;
}
