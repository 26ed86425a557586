/* SPDX-License-Identifier: Apache-2.0
 * L0  style.h - how a picture looks: one table of roles, one escape per place that a name can go. */
#ifndef LEAKDIFF_STYLE_H
#define LEAKDIFF_STYLE_H

#include <stddef.h>
#include <stdint.h>

#include "core/picture.h"
#include "core/text.h"

#define STYLE_FONT       "DejaVu Sans"
#define STYLE_INK        "#1f2328"	/* titles and labels */
#define STYLE_FAINT      "#59636e"	/* what may be read last */
#define STYLE_NEW        "#a40e26"	/* born since the earlier snapshot */
#define STYLE_EDGE       "#6e7781"
#define STYLE_TYPE_LIMIT 42		/* characters of a line in a node, before the middle is cut */
#define STYLE_EDGE_LIMIT 34
#define STYLE_WIDE_LIMIT 76		/* of a title or a sentence below the picture */

struct style {				/* one role; colour, shape and border each tell it apart */
	const char *shape;		/* Graphviz node shape */
	const char *glyph;		/* the same shape as a character, for the legend */
	const char *style;		/* Graphviz node style */
	const char *fill, *border, *ink, *faint, *fresh;	/* fresh: colour of "+30 new" */
	double border_width;		/* points */
	int borders;			/* lines around the node */
	const char *legend;		/* what it means */
};

/* The look of a role; an unknown role looks plain. */
const struct style *style_of(enum picture_role role);

/* Append `name` for an HTML-like label: control characters as \xNN, markup and Graphviz's own
 * backslash and entity sequences neutralised.
 *
 * limit       characters of a line, 0 = any; what does not fit loses its middle to an ellipsis.
 * line_break  markup between the two lines that a long name may take, NULL = one line only. */
void style_append_html(struct text *text, const char *name, size_t limit, const char *line_break);

/* The same for a plain Graphviz string (a tooltip), never shortened. */
void style_append_plain(struct text *text, const char *name);

/* Append `sentence` as HTML-like text broken into lines of at most `limit` characters, ended
 * by an ellipsis after six lines; `opening` and `ending` are the markup around a line. */
void style_append_wrapped(struct text *text, const char *sentence, size_t limit,
			  const char *opening, const char *ending);

/* Width of an edge in points for the bytes that hang on it: 1 below 1 KiB, then a step per doubling. */
double style_edge_width(uint64_t bytes);

#endif
