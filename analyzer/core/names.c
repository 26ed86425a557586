/* SPDX-License-Identifier: Apache-2.0
 * L3  names.c - types, holders and references in words. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "core/names.h"
#include "core/site_frame.h"

/* What a buffer's name has between its element and its site, see names_type(). */
static const char buffer_mark[] = "[] from ";

static const char *buffer_site(const char *name, enum heap_type_source source)
{
	const char *mark = source == HEAP_TYPE_DWARF ? strstr(name, buffer_mark) : NULL;

	return mark ? mark + strlen("[] ") : NULL;
}

void names_type(struct text *text, const char *name, enum heap_type_source source, bool exact,
		uint64_t size)
{
	bool is_buffer = buffer_site(name, source) != NULL;

	if (exact && (source == HEAP_TYPE_SITE || is_buffer))
		text_printf(text, "%" PRIu64 " B ", size);
	text_printf(text, source == HEAP_TYPE_SITE ? "from %s" : "%s", name);
}

void names_type_held(struct text *text, const char *name, enum heap_type_source source, uint64_t size)
{
	static const char *const bytes[] = { "char", "void", "unsigned char", "signed char", "std::byte", "bool" };
	const char *site = buffer_site(name, source);
	size_t element = site ? (size_t)(site - name) - strlen("[] ") : 0;

	for (size_t i = 0; site && i < sizeof(bytes) / sizeof(bytes[0]); i++)
		if (strlen(bytes[i]) == element && !strncmp(name, bytes[i], element)) {
			text_append_bytes(text, name, element);
			text_printf(text, "[%" PRIu64 "] %s", size, site);
			return;
		}
	if (site)
		text_append(text, name);
	else
		names_type(text, name, source, true, size);
}

size_t names_type_length(const char *shown)
{
	const char *site = strstr(shown, "] from ");

	return site ? (size_t)(site - shown) + 1 : strlen(shown);
}

bool names_type_equals(const char *pattern, const char *name, enum heap_type_source source, uint64_t size)
{
	unsigned long long stated;
	char *rest;

	if (!strcmp(pattern, name))
		return true;
	if (source != HEAP_TYPE_SITE && !buffer_site(name, source))
		return false;
	if (source != HEAP_TYPE_SITE) {
		stated = strtoull(pattern, &rest, 10);
		return rest != pattern && stated == size && !strncmp(rest, " B ", 3) && !strcmp(rest + 3, name);
	}
	if (!strncmp(pattern, "from ", 5))
		return !strcmp(pattern + 5, name);
	stated = strtoull(pattern, &rest, 10);
	return rest != pattern && stated == size && !strncmp(rest, " B from ", 8) && !strcmp(rest + 8, name);
}

bool names_type_matches(const char *pattern, const char *name, enum heap_type_source source,
			uint64_t size)
{
	struct text shown = { 0 };
	bool matches;

	if (text_glob(pattern, name))
		return true;
	if (source != HEAP_TYPE_SITE && !buffer_site(name, source))
		return false;
	names_type(&shown, name, source, true, size);
	matches = !shown.broken && (text_glob(pattern, shown.data) ||
				    text_glob(pattern, strstr(shown.data, "from ")));
	text_done(&shown);
	return matches;
}

const char *names_type_source(enum heap_type_source source)
{
	static const char *const words[] = {
		[HEAP_TYPE_KIND] = "kind", [HEAP_TYPE_SITE] = "site", [HEAP_TYPE_DWARF] = "dwarf",
		[HEAP_TYPE_RTTI] = "rtti", [HEAP_TYPE_PYTHON] = "python",
	};

	return (unsigned)source < sizeof(words) / sizeof(words[0]) ? words[source] : "kind";
}

const char *names_root_kind(enum heap_root_kind kind)
{
	static const char *const words[] = {
		[HEAP_ROOT_GLOBAL] = "global", [HEAP_ROOT_STACK] = "stack", [HEAP_ROOT_TLS] = "tls",
		[HEAP_ROOT_REGISTER] = "register", [HEAP_ROOT_MAPPING] = "mapping",
		[HEAP_ROOT_PY_MODULE] = "python-module", [HEAP_ROOT_PY_FRAME] = "python-frame",
		[HEAP_ROOT_PY_C] = "python-c",
	};

	if ((unsigned)kind >= sizeof(words) / sizeof(words[0]) || !words[kind])
		return "mapping";
	return words[kind];
}

/* The order of stream.h: STREAM_REGISTERS of x86-64. */
static const char *const register_names[] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
	"r14", "r15", "rip", "flags",
};

/* Append the way to a byte of a node's or a root's memory where its type is known. */
static bool append_path(struct text *text, const struct heap *heap, uint32_t id, uint64_t offset)
{
	if (!heap->layouts)
		return false;
	if (id >= heap->nodes) {
		const struct heap_root *root = &heap->root[id - heap->nodes];

		return root->layout && layouts_path(heap->layouts, root->layout, root->end - root->start, offset, text);
	}
	const struct heap_type *type = &heap->types[heap->type[id]];

	return type->layout && offset >= type->header && heap->bytes[id] > type->header &&
	       layouts_path(heap->layouts, type->layout, heap->bytes[id] - type->header, offset - type->header, text);
}

void names_into(struct text *text, const struct heap *heap, const struct heap_reference *ref)
{
	struct text path = { 0 };

	if (append_path(&path, heap, ref->to, ref->target_offset) && path.length)
		text_printf(text, " (into %s)", path.data);
	else
		text_printf(text, " (into +%" PRIu64 ")", ref->target_offset);
	text->broken |= path.broken;
	text_done(&path);
}

void names_reference(struct text *text, const struct heap *heap, const struct heap_reference *ref)
{
	const struct heap_root *from = ref->from >= heap->nodes ? &heap->root[ref->from - heap->nodes] : NULL;
	const char *name = ref->text ? ref->text : "";

	switch (ref->label) {
	case HEAP_LABEL_OWNS:			/* what belongs to an object, or a root's own object: no step of its own */
		return;
	case HEAP_LABEL_OFFSET:
	case HEAP_LABEL_CAPSULE:
		if (from && from->kind == HEAP_ROOT_REGISTER) {
			if (ref->value < sizeof(register_names) / sizeof(register_names[0]))
				text_append(text, register_names[ref->value]);
			else
				text_printf(text, "register %" PRIu64, ref->value);
		} else {
			uint64_t offset = from && ref->value >= from->start ? ref->value - from->start : ref->value;

			if (!append_path(text, heap, ref->from, offset))
				text_printf(text, "+%" PRIu64, offset);
		}
		return;
	case HEAP_LABEL_ATTR:
		text_printf(text, ".%s", name);
		return;
	case HEAP_LABEL_KEY:
		text_printf(text, "[%s]", name);
		return;
	case HEAP_LABEL_INDEX:
		text_printf(text, "[%" PRIu64 "]", ref->value);
		return;
	case HEAP_LABEL_LOCAL:
		text_printf(text, "local %s", name);
		return;
	case HEAP_LABEL_CELL:
		text_printf(text, "cell %s", name);
		return;
	case HEAP_LABEL_DICT_KEY:
		text_append(text, "key");
		return;
	case HEAP_LABEL_CACHE_KEY:
		text_append(text, "lru_cache key");
		return;
	case HEAP_LABEL_CACHE_RESULT:
		text_append(text, "lru_cache result");
		return;
	case HEAP_LABEL_NAMED:
		text_printf(text, "->%s", name);
		return;
	}
	text_printf(text, "(reference of kind %d)", (int)ref->label);
}

/* The end of an index that begins here: "[17]"; NULL = here is none. */
static const char *index_end(const char *at)
{
	const char *digit = at + 1;

	if (*at != '[')
		return NULL;
	while (*digit >= '0' && *digit <= '9')
		digit++;
	return digit > at + 1 && *digit == ']' ? digit + 1 : NULL;
}

char *names_common_label(const char *a, const char *b)
{
	struct text text = { 0 };
	const char *x = a, *y = b;

	while (*x && *y) {
		const char *after_x = index_end(x), *after_y = index_end(y);

		if (after_x && after_y) {
			if (after_x - x == after_y - y && !memcmp(x, y, (size_t)(after_x - x)))
				text_append_bytes(&text, x, (size_t)(after_x - x));
			else
				text_append(&text, "[*]");
			x = after_x;
			y = after_y;
		} else if (*x == *y) {
			text_append_bytes(&text, x, 1);
			x++;
			y++;
		} else {
			break;
		}
	}
	if (*x || *y) {
		text_done(&text);
		text_append(&text, *a == '[' && *b == '[' ? "[*]" : *a == '.' && *b == '.' ? ".*" : "...");
	}
	return text_take(&text);
}

char *names_folded_label(const char *label)
{
	struct text text = { 0 };
	bool has_index = false;

	for (const char *at = label; *at;) {
		const char *after = index_end(at);

		if (after)
			text_append(&text, "[*]");
		else
			text_append_bytes(&text, at, 1);
		has_index |= after != NULL;
		at = after ? after : at + 1;
	}
	if (!has_index) {
		text_done(&text);
		text_append(&text, "[*]");
	}
	return text_take(&text);
}

void names_cache(struct text *text, const struct heap_cache *cache)
{
	if (cache->maxsize == HEAP_UNKNOWN)
		text_printf(text, "lru_cache, %" PRIu64 " entries", cache->entries);
	else if (cache->maxsize < 0)
		text_append(text, "lru_cache, unbounded");
	else
		text_printf(text, "lru_cache, %" PRIu64 " of %" PRId64 " entries%s", cache->entries, cache->maxsize,
			    cache->entries >= (uint64_t)cache->maxsize ? ": full" : "");
}

bool names_are_place(const char *function, const char *module)
{
	size_t length = strlen(module);

	return !strncmp(function, module, length) && !strncmp(function + length, "+0x", 3);
}

void names_frame(struct text *text, const struct heap_frame *frame)
{
	const char *slash = strrchr(frame->file, '/');
	const char *file = slash ? slash + 1 : frame->file;

	text_append(text, *frame->function ? frame->function : *frame->module ? frame->module : "(unknown)");
	if (*file && frame->line)
		text_printf(text, " %s:%" PRIu32, file, frame->line);
	else if (*frame->function && *frame->module && !names_are_place(frame->function, frame->module))
		text_printf(text, " (%s)", frame->module);
}

void names_site(struct text *text, const struct heap *heap, uint32_t stack)
{
	if (stack >= heap->stack_count || heap->stacks[stack].frame_count == 0)
		text_append(text, "(no stack)");
	else {
		uint32_t telling = site_frame_telling(heap, stack);

		names_frame(text, &heap->frames[heap->stacks[stack].frames[telling]]);
		if (telling && *heap->frames[heap->stacks[stack].frames[0]].function)
			text_printf(text, " by %s", heap->frames[heap->stacks[stack].frames[0]].function);
	}
}

void names_thread(struct text *text, const struct heap *heap, uint32_t tid)
{
	char tail[32];

	if (tid == 0) {
		text_append(text, "(unknown)");
		return;
	}
	if (tid == heap->meta.pid) {
		text_append(text, "main");
		return;
	}
	snprintf(tail, sizeof(tail), "(tid %" PRIu32 ")", tid);
	for (uint32_t i = 0; i < heap->roots; i++)
		if (heap->root[i].thread && strstr(heap->root[i].thread, tail)) {
			text_append(text, heap->root[i].thread);
			return;
		}
	text_printf(text, "tid %" PRIu32 " (ended)", tid);
}
