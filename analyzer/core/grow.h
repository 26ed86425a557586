/* SPDX-License-Identifier: Apache-2.0
 * L0  grow.h - arrays that double when they are full. */
#ifndef LEAKDIFF_GROW_H
#define LEAKDIFF_GROW_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Make room for `need` elements in *array, a pointer to elements of that size. Returns 0 or -ENOMEM, which leaves
 * the array as it was. */
static inline int grow_array(void *array, uint64_t *room, uint64_t need, size_t element_bytes)
{
	uint64_t wanted = *room ? *room : 256;
	void *bigger;

	if (need <= *room)
		return 0;
	while (wanted < need)
		wanted *= 2;
	bigger = reallocarray(*(void **)array, wanted, element_bytes);
	if (!bigger)
		return -ENOMEM;
	*(void **)array = bigger;
	*room = wanted;
	return 0;
}

#endif
