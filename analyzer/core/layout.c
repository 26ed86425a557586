/* SPDX-License-Identifier: Apache-2.0
 * L1  layout.c - how the types of C and C++ lie in memory: each type once. */
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

static const char *const kind_words[] = {
	[LAYOUT_KIND_VOID] = "void", [LAYOUT_KIND_BASE] = "base", [LAYOUT_KIND_POINTER] = "pointer",
	[LAYOUT_KIND_STRUCT] = "struct", [LAYOUT_KIND_UNION] = "union", [LAYOUT_KIND_ARRAY] = "array",
	[LAYOUT_KIND_FUNCTION] = "function",
};

const char *layouts_kind_word(enum layout_kind kind)
{
	return kind_words[kind];
}

bool layouts_kind_parse(const char *word, enum layout_kind *ret_kind)
{
	for (size_t i = 0; i < sizeof(kind_words) / sizeof(*kind_words); i++)
		if (!strcmp(word, kind_words[i])) {
			*ret_kind = (enum layout_kind)i;
			return true;
		}
	return false;
}

/* ---- what lies where ---- */

#define DEPTH_MAX 32			/* of members in members: a forged file may have circles */

static const struct layout *find(const struct layouts *layouts, uint32_t layout)
{
	return layout < layouts->count ? &layouts->layouts[layout] : &layouts->layouts[LAYOUT_VOID];
}

/* Does the last member go on behind the structure, as char data[] does? */
static bool is_flexible(const struct layouts *layouts, const struct layout *type)
{
	for (unsigned depth = 0; depth < DEPTH_MAX && type->kind == LAYOUT_KIND_STRUCT && type->member_count; depth++) {
		const struct layout_member *last =
			&layouts->members[type->first_member + type->member_count - 1];

		type = find(layouts, last->type);
		if (type->kind == LAYOUT_KIND_ARRAY)
			return type->count <= 1;
	}
	return false;
}

enum layout_fit layouts_fit(const struct layouts *layouts, uint32_t layout, uint64_t bytes)
{
	const struct layout *type = find(layouts, layout);

	if (!type->bytes || type->bytes > bytes)
		return LAYOUT_FITS_NOT;
	if (type->bytes == bytes)
		return LAYOUT_FITS_ONE;
	if (is_flexible(layouts, type))
		return LAYOUT_FITS_FLEXIBLE;
	return bytes % type->bytes ? LAYOUT_FITS_LONGER : LAYOUT_FITS_ARRAY;
}

enum goal { GOAL_PATH, GOAL_POINTER, GOAL_HOLDS };

struct search {
	const struct layouts *layouts;
	enum goal goal;
	uint32_t inner;			/* GOAL_HOLDS: what is looked for */
	struct text *text;		/* GOAL_PATH */
	uint32_t found;			/* GOAL_POINTER */
};

static bool descend(struct search *search, uint32_t layout, uint64_t room, uint64_t offset, unsigned depth);

static bool enter_member(struct search *search, const struct layout_member *member, uint64_t room, uint64_t offset,
			 unsigned depth)
{
	size_t length = search->text ? search->text->length : 0;

	if (search->goal == GOAL_PATH && *member->name)
		text_printf(search->text, ".%s", member->name);
	if (descend(search, member->type, room - member->offset, offset - member->offset, depth + 1))
		return true;
	if (search->goal == GOAL_PATH && search->text->data) {
		search->text->length = length;
		search->text->data[length] = 0;
	}
	return false;
}

static bool enter_struct(struct search *search, const struct layout *type, uint64_t room, uint64_t offset,
			 unsigned depth)
{
	const struct layout_member *members = search->layouts->members + type->first_member;
	uint32_t low = 0, high = type->member_count;

	while (low < high) {			/* the members that begin at or before the byte */
		uint32_t middle = low + (high - low) / 2;

		if (members[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	/* the nearest one that reaches so far: empty bases and bit fields share their byte with others */
	for (uint32_t tried = 0; low-- > 0 && tried < DEPTH_MAX; tried++) {
		uint64_t bytes = find(search->layouts, members[low].type)->bytes;
		bool is_last = low + 1 == type->member_count;

		if (offset - members[low].offset >= bytes && !is_last)
			continue;
		if (enter_member(search, &members[low], is_last ? room : members[low].offset + bytes, offset, depth))
			return true;
	}
	return false;
}

/* What a union holds is known to the program alone: a way is shown by the first member that has one, a pointer
 * only believed where all that begin there point at the same. */
static bool enter_union(struct search *search, const struct layout *type, uint64_t room, uint64_t offset,
			unsigned depth)
{
	uint32_t agreed = LAYOUT_NONE;

	for (uint32_t i = 0; i < type->member_count; i++) {
		const struct layout_member *member = &search->layouts->members[type->first_member + i];

		if (!enter_member(search, member, room, offset, depth))
			continue;
		if (search->goal != GOAL_POINTER)
			return true;
		if (agreed != LAYOUT_NONE && agreed != search->found)
			return false;
		agreed = search->found;
	}
	search->found = agreed;
	return agreed != LAYOUT_NONE;
}

static bool enter_array(struct search *search, const struct layout *type, uint64_t room, uint64_t offset,
			unsigned depth)
{
	uint64_t bytes = find(search->layouts, type->target)->bytes, index;
	size_t length = search->text ? search->text->length : 0;

	if (!bytes || offset >= room)
		return false;
	index = offset / bytes;
	if (search->goal == GOAL_PATH)
		text_printf(search->text, "[%llu]", (unsigned long long)index);
	if (descend(search, type->target, bytes, offset % bytes, depth + 1))
		return true;
	if (search->goal == GOAL_PATH && search->text->data) {
		search->text->length = length;
		search->text->data[length] = 0;
	}
	return false;
}

/* room: bytes from the type's first one to the end of what holds it. */
static bool descend(struct search *search, uint32_t layout, uint64_t room, uint64_t offset, unsigned depth)
{
	const struct layout *type = find(search->layouts, layout);

	if (depth > DEPTH_MAX)
		return false;
	if (search->goal == GOAL_HOLDS && offset == 0 && layout == search->inner)
		return true;
	switch (type->kind) {
	case LAYOUT_KIND_STRUCT:
		return enter_struct(search, type, room, offset, depth);
	case LAYOUT_KIND_UNION:
		return enter_union(search, type, room, offset, depth);
	case LAYOUT_KIND_ARRAY:
		return enter_array(search, type, room, offset, depth);
	case LAYOUT_KIND_POINTER:
		search->found = layout;
		return offset == 0 && search->goal != GOAL_HOLDS;
	case LAYOUT_KIND_BASE:
		return offset == 0 && search->goal == GOAL_PATH;
	default:
		return false;
	}
}

/* A block may hold many: the first step is the index then. */
static bool start(struct search *search, uint32_t layout, uint64_t bytes, uint64_t offset)
{
	const struct layout *type = find(search->layouts, layout);
	struct layout array = { .kind = LAYOUT_KIND_ARRAY, .target = layout };

	if (offset >= bytes || !type->bytes)
		return false;
	if (layouts_fit(search->layouts, layout, bytes) != LAYOUT_FITS_ARRAY)
		return descend(search, layout, bytes, offset, 0);
	if (search->goal == GOAL_HOLDS && offset % type->bytes == 0 && layout == search->inner)
		return true;
	return enter_array(search, &array, bytes, offset, 0);
}

bool layouts_path(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset, struct text *text)
{
	struct search search = { .layouts = layouts, .goal = GOAL_PATH, .text = text };

	return start(&search, layout, bytes, offset);
}

uint32_t layouts_pointer_at(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset)
{
	struct search search = { .layouts = layouts, .goal = GOAL_POINTER, .found = LAYOUT_NONE };

	return start(&search, layout, bytes, offset) ? search.found : LAYOUT_NONE;
}

bool layouts_holds_at(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset, uint32_t inner)
{
	struct search search = { .layouts = layouts, .goal = GOAL_HOLDS, .inner = inner };

	return start(&search, layout, bytes, offset);
}

bool layouts_is_byte(const struct layouts *layouts, uint32_t layout)
{
	const struct layout *type = find(layouts, layout);

	return type->kind == LAYOUT_KIND_VOID || (type->kind == LAYOUT_KIND_BASE && type->bytes <= 1);
}
