/* SPDX-License-Identifier: Apache-2.0
 * L0  large.h - memory for columns that are millions of elements long.
 *
 * Long arrays lie in huge pages: the passes over a heap read them in no order, and with small pages half of the
 * time goes into translating addresses. And what one array gives back the next one gets: pages that are fresh
 * from the kernel must be cleared, and in a virtual machine often be found first, which costs more than most
 * passes over them. So use it only for arrays that are filled from end to end. */
#ifndef LEAKDIFF_LARGE_H
#define LEAKDIFF_LARGE_H

#include <stddef.h>
#include <stdint.h>

/* `count` elements, at least one, not initialised; NULL when memory is short. Only large_free() releases them.
 * Any thread may ask. */
void *large_array(uint64_t count, size_t element_bytes);
void large_free(void *array);		/* accepts NULL */

/* Give back what is behind the first `count` elements, where that is worth it. */
void large_shorten(void *array, uint64_t count, size_t element_bytes);

#endif
