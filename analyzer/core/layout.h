/* SPDX-License-Identifier: Apache-2.0
 * L1  layout.h - how the types of C and C++ lie in memory: sizes, members, what a pointer points at.
 *
 * Read from debug information by symbols_types.c, kept in the snapshot, asked when a reference is to be
 * called `.buckets[17]` instead of `+136`. A layout is a number; 0 is LAYOUT_VOID. Layouts of one name,
 * size and members are one layout, whichever file they came from. */
#ifndef LEAKDIFF_LAYOUT_H
#define LEAKDIFF_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash_index.h"
#include "core/text.h"

#define LAYOUT_VOID 0u
#define LAYOUT_NONE UINT32_MAX

enum layout_kind {
	LAYOUT_KIND_VOID = 0,
	LAYOUT_KIND_BASE,		/* int, char, double, an enum */
	LAYOUT_KIND_POINTER,		/* and reference; target is what it points at */
	LAYOUT_KIND_STRUCT,		/* struct or class */
	LAYOUT_KIND_UNION,
	LAYOUT_KIND_ARRAY,		/* target is the element */
	LAYOUT_KIND_FUNCTION,		/* only behind a pointer */
};

struct layout_member {
	const char *name;		/* interned; "" = anonymous, or a base class: its members are the owner's */
	uint64_t offset;		/* bytes from the owner's first */
	uint32_t type;			/* layout */
	bool is_base;			/* a C++ base class */
};

struct layout {
	const char *name;		/* interned, as a person writes it: "struct entry", "Session", "char" */
	enum layout_kind kind;
	uint64_t bytes;			/* 0 = unknown: only declared */
	uint32_t target;		/* of a pointer or an array */
	uint64_t count;			/* elements of an array; 0 = unknown, a flexible one */
	uint32_t first_member, member_count;	/* of a struct or union, ascending by offset */
	const char *file;		/* interned; where it is declared, "" = unknown */
	uint32_t line;
};

struct layouts {
	struct layout *layouts;
	struct layout_member *members;
	uint64_t layout_room, member_room;
	uint32_t count, member_count;
	struct hash_index index;
};

/* Begins with LAYOUT_VOID. Returns 0 or -ENOMEM; layouts_done() after either. */
int layouts_init(struct layouts *layouts) __attribute__((warn_unused_result));
void layouts_done(struct layouts *layouts);

/* Add a layout without its members: they come later, since types refer to each other in circles.
 * first_member and member_count of `layout` are not looked at. Returns 0 or -ENOMEM. */
int layouts_add(struct layouts *layouts, const struct layout *layout, uint32_t *ret_layout)
	__attribute__((warn_unused_result));

/* The members of a struct or union that has none yet, ascending by offset. Returns 0 or -ENOMEM. */
int layouts_set_members(struct layouts *layouts, uint32_t layout, const struct layout_member *members,
			uint32_t count) __attribute__((warn_unused_result));

/* "struct", "pointer", ...; false where the word is none of them. */
const char *layouts_kind_word(enum layout_kind kind);
bool layouts_kind_parse(const char *word, enum layout_kind *ret_kind);

/* ---- what lies where ---- */

/* Can a block of so many bytes hold this type: one of it, an array of it, or one with a flexible array at its end? */
enum layout_fit { LAYOUT_FITS_NOT = 0, LAYOUT_FITS_LONGER, LAYOUT_FITS_FLEXIBLE, LAYOUT_FITS_ARRAY, LAYOUT_FITS_ONE };
enum layout_fit layouts_fit(const struct layouts *layouts, uint32_t layout, uint64_t bytes);

/* Append how a person writes the way to a byte of a block (or variable) of `bytes` bytes that holds one or more
 * of a type: ".body", ".buckets[17]", "[3].next". Ends at a pointer or a number that begins there; of a union's
 * members the first that does. Returns false, with nothing appended, where there is none. */
bool layouts_path(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset, struct text *text);

/* The pointer that begins at a byte: its layout, LAYOUT_NONE where there is none or a union leaves it open. */
uint32_t layouts_pointer_at(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset);

/* Does an object of type `inner` begin at a byte of the type, as itself, a member, a base or an element? */
bool layouts_holds_at(const struct layouts *layouts, uint32_t layout, uint64_t bytes, uint64_t offset, uint32_t inner);

/* One byte of no particular meaning: void, char, uint8_t and their kind. What is of such a type is a buffer. */
bool layouts_is_byte(const struct layouts *layouts, uint32_t layout);

#endif
