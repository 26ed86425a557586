/* SPDX-License-Identifier: Apache-2.0
 * unwind_switch.c - stacks that come and go: coroutines on memory that is mapped, freed and mapped
 * again at the same place in another size, handlers on an alternate stack, handlers that allocate on
 * the normal stack, and handlers that leave with siglongjmp. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline, noclone))

static ucontext_t outside, inside;
static sigjmp_buf landing;
static volatile int leave;

static NOINLINE uint64_t allocate(int depth)
{
	uint8_t *volatile block = malloc(10 + (size_t)depth);
	uint64_t sum = (uint64_t)(uintptr_t)block & 8;

	if (depth > 0)
		sum += allocate(depth - 1) * 3;
	free(block);
	block = calloc(1, 5);
	free(block);
	return sum + 1;
}

static void coroutine(void)
{
	for (int i = 0; i < 3; i++) {
		allocate(i * 3);
		swapcontext(&inside, &outside);
	}
}

static void resume_on(void *stack, size_t bytes)
{
	getcontext(&inside);
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = bytes;
	inside.uc_link = &outside;
	makecontext(&inside, coroutine, 0);
	for (int i = 0; i < 4; i++) {
		swapcontext(&outside, &inside);
		allocate(5);
	}
}

static void handler(int sig)
{
	(void)sig;
	allocate(4);
	if (leave)
		siglongjmp(landing, 1);
}

static void *run(void *argument)
{
	for (int i = 0; i < 200; i++) {
		size_t bytes = (size_t)(64 + i % 7 * 16) << 10;
		void *stack = i % 2 ? malloc(bytes)
				    : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (argument)
			allocate(10 + i % 40);
		else
			resume_on(stack, bytes);
		if (i % 2)
			free(stack);
		else
			munmap(stack, bytes);
	}
	return NULL;
}

int main(void)
{
	struct sigaction action = { .sa_handler = handler };
	stack_t alternate = { .ss_size = 1 << 16 };
	pthread_t thread;

	pthread_create(&thread, NULL, run, &inside);
	run(NULL);
	pthread_join(thread, NULL);
	alternate.ss_sp = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&alternate, NULL);
	for (volatile int i = 0; i < 400; i++) {
		action.sa_flags = i % 2 ? SA_ONSTACK : 0;
		sigaction(SIGUSR1, &action, NULL);
		leave = i % 3 == 0;
		if (sigsetjmp(landing, 1) == 0)
			raise(SIGUSR1);
		allocate(i % 30);
	}
	puts("done");
	return 0;
}
