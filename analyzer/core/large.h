/* SPDX-License-Identifier: Apache-2.0
 * L0  large.h - memory for columns that are millions of elements long.
 *
 * Released with free() like any other. Long arrays are asked for in huge pages: the passes over a heap
 * read them in no order, and with small pages half of the time goes into translating addresses. Only
 * for arrays that are filled from end to end: a page that is touched anywhere is resident as a whole. */
#ifndef LEAKDIFF_LARGE_H
#define LEAKDIFF_LARGE_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE_BYTES (4u << 20)		/* below this small pages are as good */
#define LARGE_PAGE ((uintptr_t)2 << 20)

/* `count` elements, at least one, not initialised; NULL when memory is short. */
static inline void *large_array(uint64_t count, size_t element_bytes)
{
	char *array = reallocarray(NULL, count ? count : 1, element_bytes);
	uintptr_t begin = ((uintptr_t)array + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
	uintptr_t end = ((uintptr_t)array + count * element_bytes) & ~(LARGE_PAGE - 1);

	/* A hint: where it is refused, small pages do. */
	if (array && count * element_bytes >= LARGE_BYTES && begin < end)
		madvise(array + (begin - (uintptr_t)array), end - begin, MADV_HUGEPAGE);
	return array;
}

#endif
