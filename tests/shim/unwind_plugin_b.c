/* SPDX-License-Identifier: Apache-2.0
 * SHARED
 * unwind_plugin_b.c - one of two libraries of the same size whose frames differ: loaded in turn at one
 * address by unwind_unload.c, the same return address needs another rule. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES 96

int plugin_call(int depth);

__attribute__((noinline)) int plugin_call(int depth)
{
	volatile uint8_t room[FRAME_BYTES];
	uint8_t *block = malloc(20);
	int sum = block ? 1 : 0;

	room[depth & 31] = (uint8_t)depth;
	if (depth > 0)
		sum += plugin_call(depth - 1);
	free(block);
	return sum + room[depth & 31];
}
