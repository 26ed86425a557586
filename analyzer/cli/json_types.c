/* SPDX-License-Identifier: Apache-2.0
 * L2  json_types.c - the answers of `leakdiff type --json` and `leakdiff why --json`. */
#include "cli/json_types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/json_value.h"
#include "core/chains.h"
#include "core/layout.h"
#include "core/names.h"
#include "core/type_view.h"
#include "core/why.h"

/* A failed value makes the whole answer fail. */
static bool missing;

static void set(json_t *object, const char *key, json_t *value)
{
	missing |= json_object_set_new(object, key, value) < 0;
}

static void append(json_t *array, json_t *value)
{
	missing |= json_array_append_new(array, value) < 0;
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static int write_answer(json_t *answer)
{
	int r = missing || !answer ? -ENOMEM : 0;

	if (r == 0 && (json_dumpf(answer, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF))
		r = ferror(stdout) ? 0 : -ENOMEM;	/* cmd_finish() says why writing failed */
	json_decref(answer);
	return r;
}

int json_write_type(const struct heap *heap, const struct type_view *view)
{
	const struct layout *layout = view->layout ? &heap->layouts->layouts[view->layout] : NULL;
	json_t *answer = json_object(), *fields = json_array(), *users = json_array();

	missing = false;
	set(answer, "schema", number(1));
	set(answer, "type", json_value_name(view->name));
	set(answer, "type_source", json_string(names_type_source(view->source)));
	set(answer, "file", layout ? json_value_known(layout->file) : json_null());
	set(answer, "line", layout && layout->line ? number(layout->line) : json_null());
	set(answer, "element_bytes", layout ? number(view->element_bytes) : json_null());
	set(answer, "count", number(view->count));
	set(answer, "elements", layout ? number(view->elements) : json_null());
	set(answer, "bytes", number(view->bytes));
	for (size_t i = 0; i < view->field_count; i++) {
		const struct type_field *field = &view->fields[i];
		json_t *o = json_object();

		set(o, "name", json_value_name(field->name));
		set(o, "type", json_value_name(field->type));
		set(o, "offset", number(field->offset));
		set(o, "size", number(field->bytes));
		set(o, "bytes", number(field->live_bytes));
		set(o, "references", number(field->references));
		append(fields, o);
	}
	for (size_t i = 0; i < view->user_count; i++) {
		json_t *o = json_object();

		set(o, "holder", json_value_name(view->users[i].holder));
		set(o, "references", number(view->users[i].references));
		set(o, "bytes", number(view->users[i].targets));
		append(users, o);
	}
	set(answer, "fields", fields);
	set(answer, "referenced_by", users);
	set(answer, "references_not_shown", number(view->users_left_out + view->unlabelled));
	return write_answer(answer);
}

static json_t *stack_frames(const struct heap *heap, uint32_t stack)
{
	json_t *array = json_array();

	for (uint32_t i = 0; stack != HEAP_NONE && i < heap->stacks[stack].frame_count; i++) {
		const struct heap_frame *frame = &heap->frames[heap->stacks[stack].frames[i]];
		json_t *o = json_object();

		set(o, "function", json_value_known(frame->function));
		set(o, "file", json_value_known(frame->file));
		set(o, "line", frame->line ? number(frame->line) : json_null());
		set(o, "module", json_value_known(frame->module));
		set(o, "language", json_value_known(frame->language));
		append(array, o);
	}
	return array;
}

int json_write_why(const struct heap *heap, const struct why *why)
{
	const struct heap_type *type = &heap->types[heap->type[why->node]];
	json_t *answer = json_object(), *evidence = json_array(), *roots = json_array();
	char *shown = chain_type_of(heap, why->node);

	missing = !shown;
	set(answer, "schema", number(1));
	set(answer, "addr", json_value_address(heap->addr[why->node]));
	set(answer, "type", json_value_name(shown));
	set(answer, "type_source", json_string(names_type_source(type->source)));
	set(answer, "size", number(heap->bytes[why->node]));
	for (size_t i = 0; i < why->evidence_count; i++) {
		const struct why_evidence *e = &why->evidence[i];
		json_t *o = json_object();

		set(o, "method", json_value_name(e->method));
		set(o, "confidence", json_value_name(e->confidence));
		set(o, "evidence", json_value_name(e->evidence));
		set(o, "agree", number(e->agree));
		set(o, "disagree", number(e->disagree));
		set(o, "count", number(e->count));
		set(o, "bytes", number(e->bytes));
		append(evidence, o);
	}
	for (size_t i = 0; i < why->root_count; i++) {
		const struct heap_root *root = &heap->root[why->roots[i].root];
		json_t *o = json_object();

		set(o, "kind", json_string(names_root_kind(root->kind)));
		set(o, "name", json_value_name(root->name));
		set(o, "type", root->layout ? json_value_name(heap->layouts->layouts[root->layout].name) : json_null());
		set(o, "module", json_value_known(root->module));
		set(o, "thread", json_value_known(root->thread));
		set(o, "file", json_value_known(root->file ? root->file : ""));
		set(o, "line", root->line ? number(root->line) : json_null());
		set(o, "edge", json_value_name(why->roots[i].edge));
		set(o, "steps", number(why->roots[i].steps));
		append(roots, o);
	}
	set(answer, "evidence", evidence);
	set(answer, "stack", stack_frames(heap, heap->stack[why->node]));
	set(answer, "roots", roots);
	free(shown);
	return write_answer(answer);
}
