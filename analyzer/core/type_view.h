/* SPDX-License-Identifier: Apache-2.0
 * L7  type_view.h - one type of one snapshot: how many there are, what they are made of, who points at them. */
#ifndef LEAKDIFF_TYPE_VIEW_H
#define LEAKDIFF_TYPE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"

struct type_field {			/* a member of the structure; its elements' bytes summed over all that live */
	char *name, *type;		/* ".body", "char *" */
	uint64_t offset, bytes;		/* in one element; offset of the first byte */
	uint64_t live_bytes;		/* in all of them */
	uint64_t references;		/* pointers in it that lead to live blocks */
};

struct type_user {			/* who points at it */
	char *holder;			/* "struct table.buckets[*]", "global g_cache" */
	uint64_t references;
	uint64_t targets;		/* bytes of what they lead to, once for each reference */
};

struct type_view {
	const char *name;		/* as matched first; borrowed from the heap */
	enum heap_type_source source;
	uint32_t layout;		/* 0 = not known */
	uint64_t element_bytes, count, elements, bytes;
	struct type_field *fields;	/* by offset */
	size_t field_count;
	struct type_user *users;	/* most references first */
	size_t user_count;
	uint64_t users_left_out;	/* kinds of holders beyond the room, and their references */
	uint64_t unlabelled;		/* references whose field was not looked up: the first of each kind are */
};

/* name  as shown, or without "struct", or a glob. Types of one name that lie differently: the most bytes.
 * Returns 0, -ENOENT (nothing alive is of such a type), -ENOMEM, -EBADMSG. */
int type_view_make(const struct heap *heap, const char *name, struct type_view **ret_view)
	__attribute__((warn_unused_result));
struct type_view *type_view_free(struct type_view *view);

#endif
