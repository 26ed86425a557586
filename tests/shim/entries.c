/* SPDX-License-Identifier: Apache-2.0
 * entries.c - every allocation entry point in random order, with a ledger.
 *   entries STEPS   ends with what is left of STEPS steps */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ledger.h"

#define SLOTS 500
#define PAGE 4096ul

void free_sized(void *block, size_t bytes) __attribute__((weak));

static void *slot[SLOTS];
static size_t size[SLOTS];
static uint64_t seed = 0x2545f4914f6cdd1dull;

static void *allocate(unsigned int how, size_t n)
{
	void *p = NULL;

	switch (how) {
	case 0: return malloc(n);
	case 1: return calloc(n, 1);
	case 2: return realloc(NULL, n);
	case 3: return reallocarray(NULL, n, 1);
	case 4: return posix_memalign(&p, 64, n) ? NULL : p;
	case 5: return aligned_alloc(32, n);
	case 6: return memalign(128, n);
	case 7: return valloc(n);
	case 8: return malloc(n ? n : 1);
	default: return calloc(1, n);
	}
}

static void step(void)
{
	uint64_t r = ledger_random(&seed);
	unsigned int i = (unsigned int)(r % SLOTS), how = (unsigned int)(r >> 20) % 10;
	size_t n = 1 + (size_t)(r >> 32) % ((r & 0xf00) ? 300 : 200000);

	if (!slot[i]) {
		slot[i] = allocate(how, n);
		if (!slot[i])
			exit(4);
		size[i] = n;
		if (malloc_usable_size(slot[i]) < n)
			exit(5);
		memset(slot[i], (int)i, n);
		ledger_add(1, (int64_t)n);
	} else if (how < 5) {
		void *moved = how < 2 ? reallocarray(slot[i], n, 1) : realloc(slot[i], n);

		if (!moved)
			exit(4);
		if (*(unsigned char *)moved != (unsigned char)i)
			exit(6);
		memset(moved, (int)i, n);
		ledger_add(0, (int64_t)n - (int64_t)size[i]);
		slot[i] = moved;
		size[i] = n;
	} else {
		if (how == 9 && !realloc(slot[i], 0))
			;	/* gave it back */
		else if (how == 8 && free_sized)
			free_sized(slot[i], size[i]);
		else if (how != 9)
			free(slot[i]);
		ledger_add(-1, -(int64_t)size[i]);
		slot[i] = NULL;
	}
}

static void failures(void)
{
	volatile size_t huge = SIZE_MAX / 2;
	void *p = malloc(100), *q;

	ledger_add(1, 100);
	errno = 0;
	if (malloc(huge) || errno != ENOMEM || calloc(huge, 8) || reallocarray(p, huge, 8))
		exit(7);
	q = realloc(p, huge);		/* fails: p lives on */
	if (q || posix_memalign(&q, 3, 8) != EINVAL)
		exit(8);
	errno = 77;
	free(NULL);
	q = malloc(10);
	free(q);
	if (errno != 77)
		exit(9);
}

static void mappings(void)
{
	char *a = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *b = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *c;
	char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	munmap(a + 3 * PAGE, 2 * PAGE);			/* 3 and 5 pages are left, in two pieces */
	c = mremap(b, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);	/* 64 pages */
	if (a == MAP_FAILED || b == MAP_FAILED || s == MAP_FAILED || c == MAP_FAILED)
		exit(10);
	memset(c, 1, 64 * PAGE);
	mmap(c + 8 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (mremap(c, 8 * PAGE, 1ul << 60, 0) != MAP_FAILED)	/* fails: c lives on */
		exit(11);
	munmap(s, PAGE);
	ledger_mappings += 2 + 2;			/* a in two pieces, c in two pieces */
	ledger_mapped += (int64_t)((8 + 63) * PAGE);
}

int main(int argc, char **argv)
{
	long steps = argc > 1 ? atol(argv[1]) : 0;

	for (long i = 0; i < steps; i++)
		step();
	if (steps) {
		failures();
		mappings();
	}
	ledger_print();
	return 0;
}
