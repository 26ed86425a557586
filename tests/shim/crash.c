/* SPDX-License-Identifier: Apache-2.0
 * crash.c - ends in the middle of allocating: crash segv | crash loop.
 *
 *   segv  allocates and frees what it names on standard output, then dies inside malloc itself: a free
 *         chunk's link is overwritten as a bug would, and the second malloc follows it.
 *   loop  allocates and frees in two threads, sizes that count up, until it is killed.
 * FLAGS -O1 -g -fno-builtin
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *churn(void *first)
{
	for (uintptr_t n = 0;; n++)
		free(malloc((uintptr_t)first + n % 1000));
	return NULL;
}

static void die_in_malloc(void)
{
	void *blocks[5];
	uintptr_t *a = malloc(24);
	void *b = malloc(24);

	for (int i = 0; i < 5; i++)
		blocks[i] = malloc(3000 + (size_t)i);
	printf("%d", (int)syscall(SYS_gettid));
	for (int i = 0; i < 5; i++)
		printf(" %p", blocks[i]);
	printf(" %p %p\n", (void *)a, b);
	fflush(stdout);
	free(blocks[1]);
	free(b);
	free(a);
	a[0] = ((uintptr_t)a >> 12) ^ 0x10;	/* glibc's link from a to b, as it hides it, now to 0x10 */
	a = malloc(24);
	a = malloc(24);
	printf("alive %p\n", (void *)a);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc > 1 && !strcmp(argv[1], "segv")) {
		die_in_malloc();
		return 3;
	}
	if (pthread_create(&thread, NULL, churn, (void *)100000))
		return 4;
	printf("%d\n", (int)getpid());
	fflush(stdout);
	churn((void *)5000);
	return 5;
}
