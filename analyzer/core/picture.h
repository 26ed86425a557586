/* SPDX-License-Identifier: Apache-2.0
 * L0  picture.h - the small graph that a person looks at: all that viz/ ever sees of the analyzer.
 *
 * A picture is plain data: nodes, edges, what was left out. core/chains.c makes it, viz/ draws it,
 * cli/ prints it as text. Strings are owned by the picture, raw (not escaped): whoever puts them
 * into DOT, HTML or a terminal escapes them. */
#ifndef LEAKDIFF_PICTURE_H
#define LEAKDIFF_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum picture_role {
	PICTURE_PLAIN = 0,		/* on the way */
	PICTURE_ROOT,			/* a global, a thread's stack, TLS, register, Python module, ... */
	PICTURE_ACCUMULATES,		/* the accumulation point: where growth fans out */
	PICTURE_GREW,			/* what grew (the suspect's own objects) */
	PICTURE_UNREACHABLE,		/* no reference was found */
	PICTURE_CUT,			/* left out: "12 more referrers", "...4096 more" */
};

struct picture_node {
	char *type;			/* "char[1048576]", "handle_put server.c:120", "dict" */
	char *name;			/* "g_cache", "0x55..", or NULL */
	char *detail;			/* a second line for a person (where allocated, thread), or NULL */
	uint64_t addr;			/* 0 when it stands for several objects or for none */
	uint64_t count;			/* objects that this node stands for; 1 in a chain */
	uint64_t bytes;			/* their own requested bytes together */
	uint64_t retained_bytes;	/* with everything that only they hold; 0 = not computed */
	uint64_t new_count, new_bytes;	/* of these, born since the earlier snapshot (one snapshot: 0) */
	enum picture_role role;
};

struct picture_edge {
	uint32_t from, to;		/* indices in nodes */
	char *label;			/* "+16", "buckets[*]", "->next x 4096", or NULL */
	uint64_t count;			/* references that this edge stands for */
	uint64_t bytes;			/* bytes of the objects that hang on it: edge width */
	bool conservative;		/* interior or otherwise unsure: drawn dashed */
};

struct picture {
	char *title;			/* one line */
	char *subtitle;			/* snapshots, time, or NULL */
	struct picture_node *nodes;
	size_t node_count;
	struct picture_edge *edges;
	size_t edge_count;
	char **left_out;		/* sentences: what this picture does not show, and why */
	size_t left_out_count;
};

/* Make an empty picture. Returns NULL when memory is short. Release with picture_free(). */
struct picture *picture_new(const char *title);

/* Release a picture and all it owns; accepts NULL, returns NULL. */
struct picture *picture_free(struct picture *picture);

/* Append a copy of *node (its strings are copied). Returns the index or -ENOMEM. */
int picture_add_node(struct picture *picture, const struct picture_node *node);

/* Append a copy of *edge. Returns 0 or -ENOMEM; from and to must exist (-EINVAL). */
int picture_add_edge(struct picture *picture, const struct picture_edge *edge);

/* Append a sentence about what is not shown, printf style. Returns 0 or -ENOMEM. */
int picture_leave_out(struct picture *picture, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
