/* SPDX-License-Identifier: Apache-2.0
 * L4  label_path.h - a place by the names on the way to it, so that it is found again in another process.
 *
 *   app  -> .Registry -> .connections -> ['default'] -> .queries
 *
 * A step is known by its label. An index names no step: it may be another one next time, so a way ends there.
 * Of a place that is not there any more the last step that is counts. */
#ifndef LEAKDIFF_LABEL_PATH_H
#define LEAKDIFF_LABEL_PATH_H

#include <stdint.h>

#include "core/heap.h"
#include "core/reach.h"

#define LABEL_PATH_MAX 16		/* steps; what is deeper is known by these */

struct label_path {
	char *label[LABEL_PATH_MAX];
	uint32_t count;
};

/* The way from the root of a node to it. Returns 0 (label_path_done() in any case), -ENOMEM, or -EBADMSG when the
 * file is damaged. */
int label_path_make(const struct heap *heap, const struct reach *reach, uint32_t node, struct label_path *ret_path)
	__attribute__((warn_unused_result));
void label_path_done(struct label_path *path);

/* Go the same way in another heap, from one of its roots (an index). References are read from the file, so that they
 * may have been dropped. *ret_node: graph id of what is there, the root itself at least. As above. */
int label_path_follow(const struct label_path *path, const struct heap *heap, uint32_t root, uint32_t *ret_node)
	__attribute__((warn_unused_result));

#endif
