/* SPDX-License-Identifier: Apache-2.0
 * L1  strings.c - a set of strings: equal strings have one address, until the set is freed.
 *
 * The copies lie in large blocks that never move. Nothing is ever removed. */
#include "core/strings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash_index.h"

#define BLOCK_BYTES 65536u

struct block { struct block *next; char bytes[]; };

struct string { const char *bytes; uint32_t length; };

struct strings {
	struct hash_index index;	/* into list */
	struct string *list;
	uint32_t count, room;
	struct block *blocks;
	char *at;
	size_t left;
};

static uint32_t hash_bytes(const struct string *string)
{
	const char *bytes = string->bytes;
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	for (uint32_t left = string->length; left; left--)
		hash = (hash ^ (unsigned char)*bytes++) * 0x100000001b3u;
	return hash_fold(hash);
}

static bool is_same(const void *owner, uint32_t number, const void *key)
{
	const struct string *a = &((const struct strings *)owner)->list[number], *b = key;

	return a->length == b->length && !memcmp(a->bytes, b->bytes, b->length);
}

struct strings *strings_new(void)
{
	return calloc(1, sizeof(struct strings));
}

static int make_room(struct strings *strings)
{
	uint32_t wider = strings->room ? strings->room * 2 : 128;
	struct string *grown;

	if (strings->count < strings->room)
		return 0;
	grown = reallocarray(strings->list, wider, sizeof(*grown));
	if (!grown)
		return -1;
	strings->list = grown;
	strings->room = wider;
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
	struct string string = { bytes, (uint32_t)count };
	uint32_t hash, number;

	if (count >= UINT32_MAX)
		return NULL;
	hash = hash_bytes(&string);
	number = hash_index_find(&strings->index, hash, is_same, strings, &string);
	if (number != HASH_NONE)
		return strings->list[number].bytes;
	string.bytes = store(strings, bytes, count);
	if (!string.bytes || make_room(strings) < 0 || hash_index_add(&strings->index, hash, strings->count) < 0)
		return NULL;
	strings->list[strings->count++] = string;
	return string.bytes;
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
	hash_index_done(&strings->index);
	free(strings->list);
	free(strings);
	return NULL;
}
