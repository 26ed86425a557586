/* SPDX-License-Identifier: Apache-2.0
 * L7  type_view.c - one type of one snapshot: how many there are, what they are made of, who points at them.
 *
 * References are counted over the whole heap; the field that one leaves by is read from the file only for the
 * first LABELS_MAX sources of each kind, since labels are decoded and a type may have millions of owners. */
#include "core/type_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"
#include "core/intern.h"
#include "core/layout.h"
#include "core/names.h"
#include "core/text.h"

#define USERS_MAX 64u			/* kinds of holders that are kept apart */
#define LABELS_MAX 4096u		/* sources of one kind whose labels are read */

struct viewing {
	const struct heap *heap;
	struct type_view *view;
	uint8_t *wanted;		/* by type */
	struct intern users;		/* by text */
	uint64_t field_room, user_room;
	int error;
};

/* ---- which types are meant ---- */

static bool is_named(const char *asked, const char *name)
{
	static const char *const words[] = { "", "struct ", "union ", "class ", "enum " };
	size_t length = strlen(name);

	if (length > 2 && !strcmp(name + length - 2, "[]"))
		length -= 2;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t skip = strlen(words[i]);

		if (!strncmp(name, words[i], skip) && strlen(asked) == length - skip && !strncmp(name + skip, asked, length - skip))
			return true;
	}
	return !strcmp(asked, name);
}

/* Mark the types that are meant: by name, else by pattern. Types with one name and several layouts stay apart. */
static uint8_t *find_types(const struct heap *heap, const char *name, uint32_t *ret_first)
{
	uint64_t *bytes = calloc(heap->type_count + 1ull, sizeof(*bytes));
	uint8_t *wanted = calloc(heap->type_count + 1ull, 1);
	uint32_t best = HEAP_NONE;
	bool exact = false;

	if (!bytes || !wanted) {
		free(bytes);
		free(wanted);
		return NULL;
	}
	for (uint32_t v = 0; v < heap->nodes; v++)
		bytes[heap->type[v]] += heap->flags[v] & HEAP_FOLDED ? 0 : heap->bytes[v] + 1;
	for (uint32_t t = 0; t < heap->type_count; t++) {
		const struct heap_type *type = &heap->types[t];
		bool named = is_named(name, type->name);

		if (!bytes[t] || !(named || (!exact && names_type_matches(name, type->name, type->source, 0))))
			continue;
		if (best == HEAP_NONE || (named && !exact) || bytes[t] > bytes[best])
			best = t;
		exact |= named;
	}
	for (uint32_t t = 0; t < heap->type_count && best != HEAP_NONE; t++) {
		const struct heap_type *type = &heap->types[t];

		wanted[t] = bytes[t] && (exact ? is_named(name, type->name) : names_type_matches(name, type->name, type->source, 0)) &&
			    type->layout == heap->types[best].layout;
	}
	free(bytes);
	*ret_first = best;
	return wanted;
}

/* ---- fields ---- */

static int add_field(struct viewing *v, const struct layout_member *member, uint64_t offset)
{
	const struct layout *type = &v->heap->layouts->layouts[member->type];
	struct type_field field = { .offset = offset, .bytes = type->bytes, .live_bytes = type->bytes * v->view->elements };
	int r = grow_array(&v->view->fields, &v->field_room, v->view->field_count + 1ull, sizeof(field));

	if (r < 0)
		return r;
	field.name = text_format("%s%s", *member->name ? "." : "", *member->name ? member->name :
				 type->kind == LAYOUT_KIND_UNION ? "(union)" : "(anonymous)");
	field.type = strdup(type->name);
	v->view->fields[v->view->field_count++] = field;
	return field.name && field.type ? 0 : -ENOMEM;
}

/* Members; those of base classes and anonymous structures are the owner's. */
static int add_fields(struct viewing *v, uint32_t layout, uint64_t offset, unsigned depth)
{
	const struct layouts *all = v->heap->layouts;
	const struct layout *type = &all->layouts[layout];
	int r = 0;

	for (uint32_t i = 0; i < type->member_count && r == 0; i++) {
		const struct layout_member *member = &all->members[type->first_member + i];

		if ((member->is_base || !*member->name) && all->layouts[member->type].kind == LAYOUT_KIND_STRUCT && depth < 8)
			r = add_fields(v, member->type, offset + member->offset, depth + 1);
		else
			r = add_field(v, member, offset + member->offset);
	}
	return r;
}

static int count_field(const struct heap_reference *ref, void *data)
{
	struct viewing *v = data;
	const struct heap_type *type = &v->heap->types[v->heap->type[ref->from]];
	uint64_t offset;

	if (ref->label != HEAP_LABEL_OFFSET || ref->value < type->header || !v->view->element_bytes)
		return 0;
	offset = (ref->value - type->header) % v->view->element_bytes;
	for (size_t i = v->view->field_count; i-- > 0;)
		if (v->view->fields[i].offset <= offset) {
			v->view->fields[i].references++;
			break;
		}
	return 0;
}

/* ---- users ---- */

static int count_user(struct viewing *v, char *holder, uint64_t references, uint64_t bytes)
{
	struct intern_key key = { 0, 0 };
	int64_t number;
	int is_new;

	if (!holder)
		return -ENOMEM;
	intern_fold(&key, holder);
	number = intern_find(&v->users, key);
	if (number == HASH_NONE && v->view->user_count >= USERS_MAX) {
		v->view->users_left_out += references;
		free(holder);
		return 0;
	}
	number = intern_number(&v->users, key, &is_new);
	if (number < 0 || (is_new && grow_array(&v->view->users, &v->user_room, v->view->user_count + 1ull,
						sizeof(*v->view->users)) < 0)) {
		free(holder);
		return -ENOMEM;
	}
	if (is_new)
		v->view->users[v->view->user_count++] = (struct type_user){ .holder = holder };
	else
		free(holder);
	v->view->users[number].references += references;
	v->view->users[number].targets += bytes;
	return 0;
}

/* "struct table.buckets[*]", "global g_cache", "4096 B from f+16". */
static int visit_user(const struct heap_reference *ref, void *data)
{
	struct viewing *v = data;
	const struct heap *heap = v->heap;
	struct text text = { 0 }, label = { 0 };

	if (ref->to >= heap->nodes || !v->wanted[heap->type[ref->to]] || heap->flags[ref->to] & HEAP_FOLDED)
		return 0;
	if (ref->from >= heap->nodes) {
		const struct heap_root *root = &heap->root[ref->from - heap->nodes];

		text_printf(&text, "%s %s", names_root_kind(root->kind), root->name);
	} else {
		const struct heap_type *type = &heap->types[heap->type[ref->from]];

		names_type(&text, type->name, type->source, false, 0);
	}
	names_reference(&label, heap, ref);
	for (const char *at = label.data; at && *at; at++) {
		text_append_bytes(&text, at, 1);
		if (*at == '[' && at[1] >= '0' && at[1] <= '9') {
			text_append(&text, "*");
			at += strspn(at + 1, "0123456789");
		}
	}
	text.broken |= label.broken;
	text_done(&label);
	v->error = count_user(v, text_take(&text), 1, heap->bytes[ref->to]);
	return v->error;
}

static int find_users(struct viewing *v)
{
	const struct heap *heap = v->heap;
	uint32_t *read = calloc(heap->type_count + 1ull, sizeof(*read));
	int r = read ? 0 : -ENOMEM;

	for (uint32_t source = 0; source < heap->nodes + heap->roots && r == 0; source++) {
		uint32_t kind = source < heap->nodes ? heap->type[source] : heap->type_count;
		uint64_t found = 0;

		for (uint64_t e = heap->edge_start[source]; e < heap->edge_start[source + 1]; e++)
			found += v->wanted[heap->type[heap->edge_to[e]]] && !(heap->flags[heap->edge_to[e]] & HEAP_FOLDED);
		if (found && (source >= heap->nodes || read[kind]++ < LABELS_MAX))
			r = heap_references(heap, source, visit_user, v);
		else
			v->view->unlabelled += found;
		if (r == 0 && source < heap->nodes && v->wanted[kind] && v->view->field_count && heap->edge_start[source] !=
		    heap->edge_start[source + 1])
			r = heap_references(heap, source, count_field, v);
	}
	free(read);
	return r;
}

static int compare_users(const void *pa, const void *pb)
{
	const struct type_user *a = pa, *b = pb;

	if (a->references != b->references)
		return a->references > b->references ? -1 : 1;
	return strcmp(a->holder, b->holder);
}

int type_view_make(const struct heap *heap, const char *name, struct type_view **ret_view)
{
	struct viewing v = { .heap = heap, .view = calloc(1, sizeof(*v.view)) };
	uint32_t first = HEAP_NONE;
	int r = -ENOMEM;

	v.wanted = v.view ? find_types(heap, name, &first) : NULL;
	if (!v.wanted)
		goto fail;
	r = -ENOENT;
	if (first == HEAP_NONE)
		goto fail;
	v.view->name = heap->types[first].name;
	v.view->source = heap->types[first].source;
	v.view->layout = heap->types[first].layout;
	if (heap->layouts && v.view->layout)
		v.view->element_bytes = heap->layouts->layouts[v.view->layout].bytes;
	for (uint32_t i = 0; i < heap->nodes; i++)
		if (v.wanted[heap->type[i]] && !(heap->flags[i] & HEAP_FOLDED)) {
			uint64_t bytes = heap->bytes[i] - (heap->bytes[i] < heap->types[heap->type[i]].header ? 0 :
							   heap->types[heap->type[i]].header);

			v.view->count++;
			v.view->bytes += heap->bytes[i];
			v.view->elements += v.view->element_bytes && layouts_fit(heap->layouts, v.view->layout, bytes) ==
					    LAYOUT_FITS_ARRAY ? bytes / v.view->element_bytes : 1;
		}
	r = v.view->layout ? add_fields(&v, v.view->layout, 0, 0) : 0;
	if (r == 0)
		r = find_users(&v);
	if (r < 0)
		goto fail;
	if (v.view->user_count)
		qsort(v.view->users, v.view->user_count, sizeof(*v.view->users), compare_users);
	free(v.wanted);
	intern_done(&v.users);
	*ret_view = v.view;
	return 0;
fail:
	free(v.wanted);
	intern_done(&v.users);
	type_view_free(v.view);
	return r;
}

struct type_view *type_view_free(struct type_view *view)
{
	if (!view)
		return NULL;
	for (size_t i = 0; i < view->field_count; i++) {
		free(view->fields[i].name);
		free(view->fields[i].type);
	}
	for (size_t i = 0; i < view->user_count; i++)
		free(view->users[i].holder);
	free(view->fields);
	free(view->users);
	free(view);
	return NULL;
}
