/* SPDX-License-Identifier: Apache-2.0
 * L3  kinds.c - which objects are alike. */
#include <errno.h>
#include <stdlib.h>

#include "core/kinds.h"

static struct intern_key stack_key(const struct heap *heap, uint32_t v)
{
	return intern_pair(heap->type[v], kinds_type_is_known(heap, v) ? HEAP_NONE : heap->stack[v]);
}

static struct intern_key size_key(const struct heap *heap, uint32_t v)
{
	return intern_pair(heap->type[v], kinds_type_is_known(heap, v) ? UINT64_MAX : heap->bytes[v]);
}

/* Room for one entry more, `number` being the next one. */
static int grow(uint32_t **array, uint32_t *room, int64_t number)
{
	uint32_t wider = *room ? *room * 2 : 16, *grown;

	if (number < *room)
		return 0;
	grown = realloc(*array, (size_t)wider * sizeof(**array));
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = wider;
	return 0;
}

int64_t kinds_number(struct kinds *kinds, const struct heap *heap, uint32_t node)
{
	int new_stack, new_size;
	int64_t stack = intern_number(&kinds->by_stack, stack_key(heap, node), &new_stack);
	int64_t size = intern_number(&kinds->by_size, size_key(heap, node), &new_size);

	if (stack < 0 || size < 0 || grow(&kinds->of_stack, &kinds->stack_room, stack) < 0 ||
	    grow(&kinds->of_size, &kinds->size_room, size) < 0)
		return -ENOMEM;
	if (new_stack)
		kinds->of_stack[stack] = new_size ? kinds->count++ : kinds->of_size[size];
	if (new_size)
		kinds->of_size[size] = kinds->of_stack[stack];
	return kinds->of_stack[stack];
}

int64_t kinds_find(const struct kinds *kinds, const struct heap *heap, uint32_t node)
{
	uint32_t number = intern_find(&kinds->by_stack, stack_key(heap, node));

	if (number != HASH_NONE)
		return kinds->of_stack[number];
	number = intern_find(&kinds->by_size, size_key(heap, node));
	return number != HASH_NONE ? (int64_t)kinds->of_size[number] : -ENOENT;
}

void kinds_done(struct kinds *kinds)
{
	intern_done(&kinds->by_stack);
	intern_done(&kinds->by_size);
	free(kinds->of_stack);
	free(kinds->of_size);
	*kinds = (struct kinds){ 0 };
}
