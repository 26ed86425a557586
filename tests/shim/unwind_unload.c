/* SPDX-License-Identifier: Apache-2.0
 * LIBS dl
 * unwind_unload.c - load two libraries in turn, call them, unload them, while another thread allocates.
 *
 *   unwind_unload LIBRARY_A LIBRARY_B   prints how often a library came to lie where the other one was */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_int stop;

static void *allocate(void *unused)
{
	(void)unused;
	while (!atomic_load(&stop)) {
		void *volatile block = malloc(30);

		free(block);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int same_place = 0;
	uint64_t last = 0;

	if (argc != 3)
		return 64;
	pthread_create(&thread, NULL, allocate, NULL);
	for (int i = 0; i < 200; i++) {
		void *library = dlopen(argv[1 + i % 2], RTLD_NOW | RTLD_LOCAL);
		int (*call)(int) = library ? (int (*)(int))dlsym(library, "plugin_call") : NULL;
		struct link_map *map;

		if (!call) {
			fprintf(stderr, "%s\n", dlerror());
			return 2;
		}
		dlinfo(library, RTLD_DI_LINKMAP, &map);
		same_place += map->l_addr == last;
		last = map->l_addr;
		for (int k = 0; k < 10; k++)
			call(k);
		dlclose(library);
	}
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	printf("%d times at the other's place\n", same_place);
	return 0;
}
