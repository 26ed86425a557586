/* SPDX-License-Identifier: Apache-2.0
 * L2  json_account.c - the account of resident memory as JSON. */
#include "cli/json_account.h"

#include <stdbool.h>

#include "cli/json_value.h"
#include "core/account.h"
#include "core/arenas.h"

static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value);	/* negative for NULL too */
}

/* 0 is a number here; what is unknown is null. */
static json_t *number(uint64_t value)
{
	return value == HEAP_ARENA_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

static json_t *known(uint64_t value)
{
	return value ? json_integer((json_int_t)value) : json_null();
}

static json_t *classes(const struct heap_arena *arena)
{
	json_t *array = json_array();
	int r = 0;

	for (int i = 0; i < HEAP_ARENA_CLASSES; i++) {
		const struct heap_arena_class *c = &arena->classes[i];

		if (c->free_count || c->used_count)
			r |= json_array_append_new(array,
				json_pack("{s:I, s:I, s:I, s:I, s:I}", "from_bytes", (json_int_t)(1ll << i), "free_count",
					  (json_int_t)c->free_count, "free_bytes", (json_int_t)c->free_bytes,
					  "used_count", (json_int_t)c->used_count, "used_bytes",
					  (json_int_t)c->used_bytes));
	}
	if (r == 0)
		return array;
	json_decref(array);
	return NULL;
}

static json_t *arena_object(const struct heap_arena *arena)
{
	char name[TEXT_SIZE];
	json_t *o = json_object();
	int r = set(o, "allocator", json_string(arenas_kind(arena->kind)));

	r |= set(o, "name", json_string(arenas_name(arena, name)));
	r |= set(o, "threads", arena->threads == UINT32_MAX ? json_null() : json_integer(arena->threads));
	r |= set(o, "unread", json_value_known(arena->unread));
	r |= set(o, "address", arena->start ? json_value_address(arena->start) : json_null());
#define X(field)                                                                                              \
	if (__builtin_offsetof(struct heap_arena, field) != __builtin_offsetof(struct heap_arena, start))     \
		r |= set(o, #field, number(arena->field));
	HEAP_ARENA_NUMBERS(X)
#undef X
	r |= set(o, "sizes", classes(arena));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *arenas(const struct heap *heap)
{
	json_t *array = json_array();
	int r = 0;

	for (uint32_t i = 0; i < heap->arena_count; i++)
		r |= json_array_append_new(array, arena_object(&heap->arenas[i]));
	if (r == 0)
		return array;
	json_decref(array);
	return NULL;
}

static json_t *details(const struct heap *heap)
{
	json_t *o = json_object();
	int r = 0;

#define X(part, name, text) r |= set(o, #part "_" #name "_bytes", number(heap->details.part##_##name));
	HEAP_DETAILS(X)
#undef X
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *beside(const struct heap_meta *m)
{
	json_t *o = json_object();
	int r = 0;

#define X(field) r |= set(o, #field, known(m->field));
	X(pss_bytes) X(private_bytes) X(page_table_bytes) X(huge_bytes)
	X(cgroup_current_bytes) X(cgroup_max_bytes) X(cgroup_anon_bytes) X(cgroup_file_bytes) X(cgroup_kernel_bytes)
#undef X
	r |= set(o, "swap_bytes", number(m->swap_bytes));
	r |= set(o, "lazy_free_bytes", number(m->lazy_free_bytes));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

json_t *json_account(const struct heap *heap)
{
	json_t *o = json_object();
	int r = 0;

	for (const struct account_part *part = account_parts; part->key; part++)
		r |= set(o, part->key, number(account_value(&heap->account, part)));
	r |= set(o, "total_bytes", number(heap->account.total_bytes));
	r |= set(o, "details", details(heap));
	r |= set(o, "arenas", arenas(heap));
	r |= set(o, "beside", beside(&heap->meta));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}
