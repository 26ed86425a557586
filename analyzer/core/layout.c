/* SPDX-License-Identifier: Apache-2.0
 * L3  layout.c - how the types of C and C++ lie in memory: each type once. */
#include "core/layout.h"

#include <stdlib.h>
#include <string.h>

#include "core/grow.h"

static uint32_t hash_layout(const struct layout *layout)
{
	uint64_t hash = hash_mix((uintptr_t)layout->name, layout->kind);

	hash = hash_mix(hash, layout->bytes);
	hash = hash_mix(hash, layout->target);
	return hash_fold(hash_mix(hash, layout->count << 32 ^ layout->line));
}

/* Headers are spelled in many ways: the line tells types of one name apart, the path does not. */
static bool is_same(const void *owner, uint32_t number, const void *key)
{
	const struct layout *a = &((const struct layouts *)owner)->layouts[number], *b = key;

	return a->name == b->name && a->kind == b->kind && a->bytes == b->bytes && a->target == b->target &&
	       a->count == b->count && a->line == b->line;
}

int layouts_add(struct layouts *layouts, const struct layout *layout, uint32_t *ret_layout)
{
	uint32_t hash = hash_layout(layout), number = hash_index_find(&layouts->index, hash, is_same, layouts, layout);
	int r;

	if (number == HASH_NONE) {
		number = layouts->count;
		r = grow_array(&layouts->layouts, &layouts->layout_room, number + 1ull, sizeof(*layouts->layouts));
		if (r >= 0)
			r = hash_index_add(&layouts->index, hash, number);
		if (r < 0)
			return r;
		layouts->layouts[number] = *layout;
		layouts->layouts[number].first_member = layouts->layouts[number].member_count = 0;
		layouts->count++;
	}
	*ret_layout = number;
	return 0;
}

int layouts_set_members(struct layouts *layouts, uint32_t layout, const struct layout_member *members,
			uint32_t count)
{
	int r;

	if (layouts->layouts[layout].member_count || !count)
		return 0;
	r = grow_array(&layouts->members, &layouts->member_room, (uint64_t)layouts->member_count + count,
		       sizeof(*layouts->members));
	if (r < 0)
		return r;
	memcpy(layouts->members + layouts->member_count, members, count * sizeof(*members));
	layouts->layouts[layout].first_member = layouts->member_count;
	layouts->layouts[layout].member_count = count;
	layouts->member_count += count;
	return 0;
}

int layouts_init(struct layouts *layouts)
{
	static const struct layout nothing = { .name = "void", .kind = LAYOUT_KIND_VOID, .file = "" };
	uint32_t first;

	memset(layouts, 0, sizeof(*layouts));
	return layouts_add(layouts, &nothing, &first);
}

void layouts_done(struct layouts *layouts)
{
	free(layouts->layouts);
	free(layouts->members);
	hash_index_done(&layouts->index);
	memset(layouts, 0, sizeof(*layouts));
}
