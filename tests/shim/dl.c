/* SPDX-License-Identifier: Apache-2.0
 * dl.c - libraries that come and go while other threads allocate.
 *   dl plugin PATH ROUNDS      dlopen, use, dlclose in a loop
 *   dl cxx PATH ROUNDS         a C program with a C++ library that throws
 * LIBS dl
 * FLAGS -O2 -g -fno-builtin
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ledger.h"

static _Atomic bool stop;
static _Atomic long rounds_of_others;

static __attribute__((noinline)) void deep(int n)
{
	volatile char pad[32];

	pad[0] = 1;
	free(malloc(100));
	if (n > 0)
		deep(n - 1);
	pad[1] = pad[0];
}

static void *allocate(void *data)
{
	(void)data;
	while (!stop) {
		deep(20);
		rounds_of_others++;
	}
	return NULL;
}

static void *open_or_die(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		say(dlerror());
		exit(3);
	}
	return library;
}

static void plugin(const char *path, long rounds)
{
	for (long i = 0; i < rounds; i++) {
		void *library = open_or_die(path);
		void *(*alloc)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_alloc");

		for (int k = 0; k < 50; k++)
			free(alloc(200));
		if (i % 10 == 0) {
			ledger_keep(alloc(111), 111);
		}
		if (dlclose(library))
			exit(4);
	}
}

static void cxx(const char *path, long rounds)
{
	void *library = open_or_die(path);
	int (*throw_and_catch)(int) = (int (*)(int))dlsym(library, "cxx_throw_and_catch");
	int (*out_of_memory)(void) = (int (*)(void))dlsym(library, "cxx_out_of_memory");
	void *(*keep)(void) = (void *(*)(void))dlsym(library, "cxx_keep");

	if (rounds) {
		if (throw_and_catch((int)rounds) != rounds || out_of_memory() != 1)
			exit(5);
		ledger_keep(keep(), 777);
	}
}

int main(int argc, char **argv)
{
	long rounds = argc > 3 ? atol(argv[3]) : 0;
	pthread_t threads[3];

	if (argc < 3)
		return 64;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, allocate, NULL);
	if (strcmp(argv[1], "cxx"))
		plugin(argv[2], rounds);
	else
		cxx(argv[2], rounds);
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	if (rounds > 100 && !rounds_of_others)
		exit(6);
	ledger_print();
	return 0;
}
