/* SPDX-License-Identifier: Apache-2.0
 * L0  viz.h - draw a picture graph with Graphviz: the public face of viz/. */
#ifndef LEAKDIFF_VIZ_H
#define LEAKDIFF_VIZ_H

#include <stddef.h>

struct picture;

enum viz_format { VIZ_PNG, VIZ_SVG, VIZ_DOT };

/* Render a picture to a file, written under a temporary name and renamed; an existing file is kept
 * when anything fails.
 *
 * ret_error  one clear sentence on failure, owned by the caller.
 * Returns 0 or a negative errno (-ENOSPC, -EACCES, -ENOMEM, -EIO: Graphviz refused).
 * One thread at a time: Graphviz keeps global state. */
int viz_render(const struct picture *picture, enum viz_format format, const char *path,
	       char **ret_error) __attribute__((warn_unused_result));

/* The same into memory, for a page that holds the picture: *ret_data is the caller's, *ret_length bytes and
 * a NUL. */
int viz_render_data(const struct picture *picture, enum viz_format format, char **ret_data, size_t *ret_length,
		    char **ret_error) __attribute__((warn_unused_result));

#endif
