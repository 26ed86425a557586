/* SPDX-License-Identifier: Apache-2.0
 * crossfree.c - eight threads free and realloc each other's blocks.
 *   crossfree STEPS   each thread makes STEPS steps; what is in the mailboxes at the end is live */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ledger.h"

#define THREADS 8
#define BOXES 256

struct parcel {
	size_t bytes;
};

static _Atomic(struct parcel *) box[BOXES];
static long steps;

static void *work(void *data)
{
	uint64_t seed = 0x9e3779b97f4a7c15ull * ((uint64_t)(uintptr_t)data + 1);

	for (long i = 0; i < steps; i++) {
		uint64_t r = ledger_random(&seed);
		struct parcel *p = NULL;

		if (r & 3) {
			size_t n = sizeof(*p) + (r >> 8) % 400;

			p = malloc(n);
			p->bytes = n;
			ledger_add(1, (int64_t)n);
		}
		p = atomic_exchange(&box[(r >> 40) % BOXES], p);
		if (p && (r & 0x30) == 0) {
			size_t n = sizeof(*p) + (r >> 16) % 3000;

			ledger_add(0, (int64_t)n - (int64_t)p->bytes);
			p = realloc(p, n);
			p->bytes = n;
			p = atomic_exchange(&box[(r >> 50) % BOXES], p);
		}
		if (p) {
			ledger_add(-1, -(int64_t)p->bytes);
			free(p);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	steps = argc > 1 ? atol(argv[1]) : 0;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ledger_print();
	return 0;
}
