/* SPDX-License-Identifier: Apache-2.0
 * L4  types.c - what a node is called: RTTI class, Python type, or where it was allocated. */
#include "core/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/demangle.h"
#include "core/text.h"

static uint32_t hash_entry(const struct types_entry *entry)
{
	return hash_fold(hash_mix((uintptr_t)entry->name + entry->source, (uint64_t)entry->layout << 32 | entry->header));
}

static bool is_same(const void *owner, uint32_t number, const void *key)
{
	const struct types_entry *a = &((const struct types *)owner)->entries[number], *b = key;

	return a->name == b->name && a->source == b->source && a->layout == b->layout && a->header == b->header;
}

int types_add(struct types *types, const char *name, enum heap_type_source source,
	      uint32_t *ret_type)
{
	return types_add_layout(types, &(struct types_entry){ .name = name, .source = source }, ret_type);
}

int types_add_layout(struct types *types, const struct types_entry *entry, uint32_t *ret_type)
{
	uint32_t hash = hash_entry(entry), number;

	if (!entry->name)
		return -ENOMEM;
	number = hash_index_find(&types->index, hash, is_same, types, entry);
	if (number == HASH_NONE) {
		number = types->count;
		if (number == types->capacity) {
			uint64_t wider = types->capacity ? types->capacity * 2 : 128;
			struct types_entry *grown = reallocarray(types->entries, wider, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			types->entries = grown;
			types->capacity = wider;
		}
		if (hash_index_add(&types->index, hash, number) < 0)
			return -ENOMEM;
		types->entries[types->count++] = *entry;
	}
	*ret_type = number;
	return 0;
}

int types_init(struct types *types, struct strings *strings)
{
	uint32_t first;

	memset(types, 0, sizeof(*types));
	return types_add(types, strings_intern(strings, "unknown site"), HEAP_TYPE_KIND, &first);
}

void types_done(struct types *types)
{
	free(types->entries);
	hash_index_done(&types->index);
	memset(types, 0, sizeof(*types));
}

const char *types_site_name(const struct code *code, const uint32_t *frames, uint32_t count)
{
	const struct code_frame *frame;
	const char *name;
	char *text;
	uint32_t i = 0;

	if (!count)
		return NULL;
	while (i < count && code->frames[frames[i]].library)
		i++;
	frame = &code->frames[frames[i < count ? i : 0]];
	if (*frame->file && frame->line)
		text = text_format("%s %s:%u", frame->function, code_base_name(frame->file),
				   frame->line);
	else if (*frame->module && !strstr(frame->function, "+0x"))	/* "libx.so+0x1234" says it already */
		text = text_format("%s %s", frame->function, frame->module);
	else
		text = strdup(frame->function);
	name = strings_intern(code->strings, text);
	free(text);
	return name;
}

const char *types_memory_name(struct strings *strings, const char *name, uint32_t source)
{
	char *text;

	if (source != STREAM_TYPE_RTTI)
		return strings_intern(strings, name);
	text = demangle_type(name);
	name = strings_intern(strings, text);
	free(text);
	return name;
}
