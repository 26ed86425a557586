/* SPDX-License-Identifier: Apache-2.0
 * L4  types.c - what a node is called: RTTI class, Python type, or where it was allocated. */
#include "core/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/demangle.h"
#include "core/text.h"

static uint64_t hash_entry(const char *name, enum heap_type_source source)
{
	uint64_t hash = ((uintptr_t)name + source) * 0x9e3779b97f4a7c15u;

	return hash ^ hash >> 32;
}

static int make_larger(struct types *types)
{
	uint64_t slots = types->slots ? types->slots * 2 : 256;
	uint32_t *index = calloc(slots, sizeof(*index));
	struct types_entry *entries = reallocarray(types->entries, slots / 2, sizeof(*entries));

	if (entries)
		types->entries = entries;
	if (!index || !entries) {
		free(index);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < types->count; i++) {
		uint64_t at = hash_entry(entries[i].name, entries[i].source);

		while (index[at & (slots - 1)])
			at++;
		index[at & (slots - 1)] = i + 1;
	}
	free(types->index);
	types->index = index;
	types->slots = slots;
	return 0;
}

int types_add(struct types *types, const char *name, enum heap_type_source source,
	      uint32_t *ret_type)
{
	uint64_t at;

	if (!name)
		return -ENOMEM;
	if (types->count * 2ull >= types->slots) {
		int r = make_larger(types);

		if (r < 0)
			return r;
	}
	for (at = hash_entry(name, source);; at++) {
		uint32_t *slot = &types->index[at & (types->slots - 1)];

		if (!*slot) {
			types->entries[types->count++] = (struct types_entry){ name, source };
			*slot = types->count;
		}
		if (types->entries[*slot - 1].name == name &&
		    types->entries[*slot - 1].source == source) {
			*ret_type = *slot - 1;
			return 0;
		}
	}
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
	free(types->index);
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
