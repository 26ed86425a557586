/* SPDX-License-Identifier: Apache-2.0
 * L2  site_frame.c - see site_frame.h. */
#include "core/site_frame.h"

#include <string.h>
#include <strings.h>

bool site_frame_is_library(const struct heap_frame *frame)
{
	static const char *const prefixes[] = { "std::", "__gnu_cxx", "void std::" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(frame->function, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

bool site_frame_is_wrapper(const struct heap_frame *frame)
{
	static const char *const endings[] = { "alloc", "strdup", "strndup", "memdup", "strdup_printf", "asprintf",
					       "malloc0", "calloc0", "malloc_n", "malloc0_n", "memalign", "reallocarray" };
	size_t length = strcspn(frame->function, "( .<");

	if (!strcmp(frame->language, "python"))
		return false;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t end = strlen(endings[i]);

		if (length >= end && !strncasecmp(frame->function + length - end, endings[i], end))
			return true;
	}
	return false;
}

static const struct heap_frame *frame_of(const struct heap *heap, uint32_t stack, uint32_t place)
{
	return &heap->frames[heap->stacks[stack].frames[place]];
}

uint32_t site_frame_telling(const struct heap *heap, uint32_t stack)
{
	uint32_t count = stack < heap->stack_count ? heap->stacks[stack].frame_count : 0;

	for (uint32_t i = 0; i < count; i++)
		if (!site_frame_is_library(frame_of(heap, stack, i)) && !site_frame_is_wrapper(frame_of(heap, stack, i)) &&
		    *frame_of(heap, stack, i)->function)
			return i;
	return 0;
}

static bool is_of_application(const struct heap_frame *frame)
{
	if (!strcmp(frame->language, "python"))
		return !strstr(frame->file, "/site-packages/") && !strstr(frame->file, "/dist-packages/") &&
		       !strstr(frame->file, "/lib/python") && *frame->file != '<';
	return *frame->function && !strstr(frame->module, ".so") && strncmp(frame->module, "python", 6) != 0 &&
	       strcmp(frame->function, "main") != 0 && strcmp(frame->function, "_start") != 0;
}

uint32_t site_frame_application(const struct heap *heap, uint32_t stack)
{
	uint32_t telling = site_frame_telling(heap, stack);
	uint32_t count = stack < heap->stack_count ? heap->stacks[stack].frame_count : 0;

	for (uint32_t i = telling; i < count; i++)
		if (is_of_application(frame_of(heap, stack, i)) && !site_frame_is_library(frame_of(heap, stack, i)))
			return i;
	return telling;
}
