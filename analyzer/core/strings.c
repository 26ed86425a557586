/* SPDX-License-Identifier: Apache-2.0
 * L0  strings.c - a set of strings: equal strings have one address, until the set is freed.
 *
 * Open addressing with linear probing, at most half full; the copies lie in large blocks that never
 * move. Nothing is ever removed. */
#include "core/strings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536u

struct block { struct block *next; char bytes[]; };

struct slot { const char *string; uint32_t length, hash; };

struct strings {
	struct slot *slots;
	size_t slot_count, used;	/* slot_count is a power of two */
	struct block *blocks;
	char *at;
	size_t left;
};

static uint32_t hash_bytes(const char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	while (count--)
		hash = (hash ^ (unsigned char)*bytes++) * 0x100000001b3u;
	return (uint32_t)(hash ^ hash >> 32);
}

struct strings *strings_new(void)
{
	struct strings *strings = calloc(1, sizeof(*strings));

	if (!strings)
		return NULL;
	strings->slot_count = 256;
	strings->slots = calloc(strings->slot_count, sizeof(*strings->slots));
	return strings->slots ? strings : strings_free(strings);
}

static int make_larger(struct strings *strings)
{
	size_t count = strings->slot_count * 2;
	struct slot *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return -1;
	for (size_t i = 0; i < strings->slot_count; i++) {
		size_t at = strings->slots[i].hash & (count - 1);

		if (!strings->slots[i].string)
			continue;
		while (slots[at].string)
			at = (at + 1) & (count - 1);
		slots[at] = strings->slots[i];
	}
	free(strings->slots);
	strings->slots = slots;
	strings->slot_count = count;
	return 0;
}

static char *store(struct strings *strings, const char *bytes, size_t count)
{
	char *copy;

	if (count + 1 > strings->left) {
		size_t size = count + 1 > BLOCK_BYTES ? count + 1 : BLOCK_BYTES;
		struct block *block = malloc(sizeof(*block) + size);

		if (!block)
			return NULL;
		block->next = strings->blocks;
		strings->blocks = block;
		strings->at = block->bytes;
		strings->left = size;
	}
	copy = strings->at;
	memcpy(copy, bytes, count);
	copy[count] = 0;
	strings->at += count + 1;
	strings->left -= count + 1;
	return copy;
}

const char *strings_intern_bytes(struct strings *strings, const char *bytes, size_t count)
{
	uint32_t hash = hash_bytes(bytes, count);
	struct slot *slot;
	char *copy;

	if (count >= UINT32_MAX || (strings->used * 2 >= strings->slot_count && make_larger(strings) < 0))
		return NULL;
	for (size_t at = hash;; at++) {
		slot = &strings->slots[at & (strings->slot_count - 1)];
		if (!slot->string)
			break;
		if (slot->hash == hash && slot->length == count && !memcmp(slot->string, bytes, count))
			return slot->string;
	}
	copy = store(strings, bytes, count);
	if (!copy)
		return NULL;
	*slot = (struct slot){ copy, (uint32_t)count, hash };
	strings->used++;
	return copy;
}

const char *strings_intern(struct strings *strings, const char *string)
{
	return string ? strings_intern_bytes(strings, string, strlen(string)) : NULL;
}

struct strings *strings_free(struct strings *strings)
{
	if (!strings)
		return NULL;
	while (strings->blocks) {
		struct block *next = strings->blocks->next;

		free(strings->blocks);
		strings->blocks = next;
	}
	free(strings->slots);
	free(strings);
	return NULL;
}
