/* SPDX-License-Identifier: Apache-2.0
 * L2  names.c - types, holders and references in words. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"

void names_type(struct text *text, const char *name, enum heap_type_source source, bool exact,
		uint64_t size)
{
	if (source != HEAP_TYPE_SITE) {
		text_append(text, name);
		return;
	}
	if (exact)
		text_printf(text, "%" PRIu64 " B ", size);
	text_printf(text, "from %s", name);
}

bool names_type_equals(const char *pattern, const char *name, enum heap_type_source source, uint64_t size)
{
	unsigned long long stated;
	char *rest;

	if (!strcmp(pattern, name))
		return true;
	if (source != HEAP_TYPE_SITE)
		return false;
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
	if (source != HEAP_TYPE_SITE)
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

void names_reference(struct text *text, const struct heap_reference *ref, const struct heap_root *from)
{
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
		} else if (from && ref->value >= from->start) {
			text_printf(text, "+%" PRIu64, ref->value - from->start);
		} else {
			text_printf(text, "+%" PRIu64, ref->value);
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

void names_frame(struct text *text, const struct heap_frame *frame)
{
	const char *slash = strrchr(frame->file, '/');
	const char *file = slash ? slash + 1 : frame->file;

	text_append(text, *frame->function ? frame->function : *frame->module ? frame->module : "(unknown)");
	if (*file && frame->line)
		text_printf(text, " %s:%" PRIu32, file, frame->line);
	else if (*frame->function && *frame->module)
		text_printf(text, " (%s)", frame->module);
}

void names_site(struct text *text, const struct heap *heap, uint32_t stack)
{
	if (stack >= heap->stack_count || heap->stacks[stack].frame_count == 0)
		text_append(text, "(no stack)");
	else
		names_frame(text, &heap->frames[heap->stacks[stack].frames[0]]);
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
