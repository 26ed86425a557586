/* SPDX-License-Identifier: Apache-2.0
 * L1  picture.c - the small graph that a person looks at: plain data that owns its strings. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/picture.h"

/* Grow *array to hold one element more; the capacity is the next power of two, so it is not stored. */
static int make_room(void **array, size_t count, size_t element_bytes)
{
	if (count & (count - 1) || (count < 8 && count))
		return 0;

	void *grown = realloc(*array, (count ? count * 2 : 8) * element_bytes);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static bool copy_string(char **ret_copy, const char *string)
{
	*ret_copy = string ? strdup(string) : NULL;
	return !string || *ret_copy;
}

struct picture *picture_new(const char *title)
{
	struct picture *picture = calloc(1, sizeof(*picture));

	if (picture && !copy_string(&picture->title, title))
		return picture_free(picture);
	return picture;
}

struct picture *picture_free(struct picture *picture)
{
	if (!picture)
		return NULL;
	for (size_t i = 0; i < picture->node_count; i++) {
		free(picture->nodes[i].type);
		free(picture->nodes[i].name);
		free(picture->nodes[i].detail);
	}
	for (size_t i = 0; i < picture->edge_count; i++)
		free(picture->edges[i].label);
	for (size_t i = 0; i < picture->left_out_count; i++)
		free(picture->left_out[i]);
	free(picture->nodes);
	free(picture->edges);
	free(picture->left_out);
	free(picture->title);
	free(picture->subtitle);
	free(picture);
	return NULL;
}

int picture_add_node(struct picture *picture, const struct picture_node *node)
{
	struct picture_node copy = *node;

	copy.type = copy.name = copy.detail = NULL;
	if (!copy_string(&copy.type, node->type) || !copy_string(&copy.name, node->name) ||
	    !copy_string(&copy.detail, node->detail) ||
	    make_room((void **)&picture->nodes, picture->node_count, sizeof(copy)) < 0) {
		free(copy.type);
		free(copy.name);
		free(copy.detail);
		return -ENOMEM;
	}
	picture->nodes[picture->node_count] = copy;
	return (int)picture->node_count++;
}

int picture_add_edge(struct picture *picture, const struct picture_edge *edge)
{
	struct picture_edge copy = *edge;

	if (edge->from >= picture->node_count || edge->to >= picture->node_count)
		return -EINVAL;
	if (!copy_string(&copy.label, edge->label) ||
	    make_room((void **)&picture->edges, picture->edge_count, sizeof(copy)) < 0) {
		free(copy.label);
		return -ENOMEM;
	}
	picture->edges[picture->edge_count++] = copy;
	return 0;
}

int picture_leave_out(struct picture *picture, const char *format, ...)
{
	va_list args;
	char *sentence;

	va_start(args, format);
	if (vasprintf(&sentence, format, args) < 0)
		sentence = NULL;
	va_end(args);
	if (!sentence || make_room((void **)&picture->left_out, picture->left_out_count,
				   sizeof(*picture->left_out)) < 0) {
		free(sentence);
		return -ENOMEM;
	}
	picture->left_out[picture->left_out_count++] = sentence;
	return 0;
}
