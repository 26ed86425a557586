/* SPDX-License-Identifier: Apache-2.0
 * L3  suppress.c - suppressions in LeakSanitizer's syntax. */
#include "core/suppress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

#define NOT_LOOKED (HEAP_NONE - 1)
#define PREFIX "leak:"

/* A piece is what stands between two of * and $. Like LeakSanitizer, take the first place where a piece is
 * found and do not come back to it. */
bool suppress_matches(const char *pattern, const char *name)
{
	bool at_start = *pattern == '^', after_star = false;

	if (!*name)
		return false;
	if (at_start)
		pattern++;
	while (*pattern) {
		size_t length = strcspn(pattern, "*$");
		const char *found;

		if (*pattern == '*') {
			pattern++;
			at_start = false;
			after_star = true;
			continue;
		}
		if (*pattern == '$')
			return !*name || after_star;
		found = memmem(name, strlen(name), pattern, length);
		if (!found || (at_start && found != name))
			return false;
		name = found + length;
		pattern += length;
		at_start = after_star = false;
	}
	return true;
}

static int add(struct suppressions *s, const char *pattern, size_t length)
{
	struct suppression *grown = reallocarray(s->list, s->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s->list = grown;
	s->list[s->count] = (struct suppression){ .pattern = strndup(pattern, length) };
	if (!s->list[s->count].pattern)
		return -ENOMEM;
	s->count++;
	return 0;
}

static int take_line(struct suppressions *s, const char *line, size_t number, char **ret_error)
{
	size_t length;

	line += strspn(line, " \t");
	length = strlen(line);
	while (length && strchr(" \t\r\n", line[length - 1]))
		length--;
	if (!length || *line == '#')
		return 0;
	if (length > strlen(PREFIX) && !strncmp(line, PREFIX, strlen(PREFIX)))
		return add(s, line + strlen(PREFIX), length - strlen(PREFIX));
	*ret_error = text_format("%s:%zu: a suppression is leak:PATTERN, not '%.*s'", s->path, number,
				 (int)(length < 60 ? length : 60), line);
	return -EINVAL;
}

int suppress_load(const char *path, struct suppressions **ret_suppressions, char **ret_error)
{
	struct suppressions *s = calloc(1, sizeof(*s));
	FILE *file = NULL;
	char *line = NULL;
	size_t room = 0, number = 0;
	int r = -ENOMEM;

	*ret_error = NULL;
	if (s)
		s->path = strdup(path);
	if (!s || !s->path)
		goto fail;
	file = fopen(path, "re");
	r = file ? 0 : -errno;
	while (r == 0) {
		errno = 0;
		if (getline(&line, &room, file) < 0) {
			r = errno ? -errno : 0;
			break;
		}
		r = take_line(s, line, ++number, ret_error);
	}
	if (r < 0)
		goto fail;
	free(line);
	fclose(file);
	*ret_suppressions = s;
	return 0;
fail:
	if (!*ret_error)
		*ret_error = text_format("%s cannot be read: %s", path, strerror(-r));
	free(line);
	if (file)
		fclose(file);
	suppress_free(s);
	return r;
}

struct suppressions *suppress_free(struct suppressions *suppressions)
{
	if (!suppressions)
		return NULL;
	for (size_t i = 0; i < suppressions->count; i++)
		free(suppressions->list[i].pattern);
	free(suppressions->list);
	free(suppressions->of_stack);
	free(suppressions->path);
	free(suppressions);
	return NULL;
}

static bool frame_matches(const char *pattern, const struct heap_frame *frame)
{
	return suppress_matches(pattern, frame->module) || suppress_matches(pattern, frame->function) ||
	       suppress_matches(pattern, frame->file);
}

static uint32_t look(const struct suppressions *s, const struct heap *heap, uint32_t stack)
{
	for (size_t i = 0; i < s->count; i++)
		for (uint32_t f = 0; f < heap->stacks[stack].frame_count; f++)
			if (frame_matches(s->list[i].pattern, &heap->frames[heap->stacks[stack].frames[f]]))
				return (uint32_t)i;
	return HEAP_NONE;
}

int suppress_stack(struct suppressions *suppressions, const struct heap *heap, uint32_t stack, uint32_t *ret_index)
{
	if (stack >= heap->stack_count) {
		*ret_index = HEAP_NONE;
		return 0;
	}
	if (suppressions->heap != heap) {
		free(suppressions->of_stack);
		suppressions->heap = NULL;
		suppressions->of_stack = malloc((size_t)heap->stack_count * sizeof(*suppressions->of_stack));
		if (!suppressions->of_stack)
			return -ENOMEM;
		for (uint32_t i = 0; i < heap->stack_count; i++)
			suppressions->of_stack[i] = NOT_LOOKED;
		suppressions->heap = heap;
	}
	if (suppressions->of_stack[stack] == NOT_LOOKED)
		suppressions->of_stack[stack] = look(suppressions, heap, stack);
	*ret_index = suppressions->of_stack[stack];
	return 0;
}
