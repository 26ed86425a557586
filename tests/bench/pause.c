/* SPDX-License-Identifier: Apache-2.0
 * pause.c - a process of a given size that knows how long it was stopped.
 *
 *   bench_pause MIB      keeps MIB blocks of 1 MiB, touched in 4 KiB pages, one pointer in 16 words;
 *                        says "ready", then answers lines on stdin:
 *     fork               a bare fork (the system call): "fork_ns=N", how long the caller stood still
 *     gap                "gap_ns=N": the longest time since the last question in which a busy thread
 *                        did not get to look at the clock
 *
 * The child of the bare fork ends at once, so no page is copied and the forks do not disturb each other. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **g_blocks;
static _Atomic uint64_t longest;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *look_at_the_clock(void *unused)
{
	uint64_t last = now_ns();

	(void)unused;
	for (;;) {
		uint64_t now = now_ns(), gap = now - last;

		if (gap > atomic_load_explicit(&longest, memory_order_relaxed))
			atomic_store_explicit(&longest, gap, memory_order_relaxed);
		last = now;
	}
	return NULL;
}

static uint64_t bare_fork(void)
{
	uint64_t begin = now_ns(), end;
	long child = syscall(SYS_clone, 17 /* SIGCHLD */, NULL, NULL, NULL, NULL);

	if (child == 0)
		syscall(SYS_exit_group, 0);
	end = now_ns();
	if (child < 0)
		return 0;
	waitpid((pid_t)child, NULL, 0);
	return end - begin;
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 64;
	pthread_t thread;
	char line[32];

	g_blocks = calloc(count, sizeof(*g_blocks));
	if (!g_blocks)
		return 2;
	for (size_t i = 0; i < count; i++) {
		g_blocks[i] = malloc(1u << 20);
		if (!g_blocks[i])
			return 2;
		for (size_t at = 0; at < 1u << 20; at += 128)
			*(char **)(g_blocks[i] + at) = g_blocks[(i * 7 + at / 128) % (i + 1)] + at % 4096;
	}
	pthread_create(&thread, NULL, look_at_the_clock, NULL);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "fork\n"))
			printf("fork_ns=%llu\n", (unsigned long long)bare_fork());
		else
			printf("gap_ns=%llu\n", (unsigned long long)atomic_exchange(&longest, 0));
		fflush(stdout);
	}
	return 0;
}
