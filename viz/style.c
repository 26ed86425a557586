/* SPDX-License-Identifier: Apache-2.0
 * L0  style.c - colours, shapes, shortening and escaping.
 *
 * Names come from another process's memory and end in DOT, in HTML-like labels and in SVG, where
 * Graphviz reads each of them again with its own rules:
 *
 *   name --text_escape--> printable --here--> label text --expat--> --backslash--> --entities--> SVG
 *
 * (1) What text_append_escaped() lets through is printable UTF-8; only &, <, >, quotes and the
 *     backslash still mean something to a later reader, and they are dealt with here and only here.
 * (2) A backslash is doubled: Graphviz expands \N, \G, \T and \\ in label text.
 * (3) "&lt;" in a name must stay four characters. Escaping the ampersand is not enough: the SVG
 *     renderer passes everything that looks like an entity. A word joiner (invisible, zero width)
 *     after such an ampersand makes it look like none.
 * (4) A cut falls between characters, never inside one, and is always shown as an ellipsis. */
#include "style.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ELLIPSIS    "\xe2\x80\xa6"
#define LINES_LIMIT 6			/* of one sentence: a 10 kB name must not become a page */
#define WORD_JOINER "\xe2\x81\xa0"

static const struct style styles[] = {
	[PICTURE_PLAIN] = {
		.shape = "box", .glyph = "\xe2\x96\xa2", .style = "filled,rounded",
		.fill = "#f6f8fa", .border = "#8c959f", .ink = STYLE_INK, .faint = STYLE_FAINT,
		.fresh = STYLE_NEW, .border_width = 1.0, .borders = 1, .legend = "on the way" },
	[PICTURE_ROOT] = {
		.shape = "ellipse", .glyph = "\xe2\xac\xa4", .style = "filled",
		.fill = "#c9f0d1", .border = "#1a7f37", .ink = "#0b3d19", .faint = "#2c5f3a",
		.fresh = STYLE_NEW, .border_width = 1.6, .borders = 1,
		.legend = "root: a variable, stack or register" },
	[PICTURE_ACCUMULATES] = {
		.shape = "box", .glyph = "\xe2\x96\xa3", .style = "filled",
		.fill = "#ffe2a8", .border = "#9a6700", .ink = "#3b2300", .faint = "#6b4a10",
		.fresh = STYLE_NEW, .border_width = 1.6, .borders = 2,
		.legend = "accumulation point: growth fans out here" },
	[PICTURE_GREW] = {
		.shape = "box", .glyph = "\xe2\x96\xa0", .style = "filled",
		.fill = "#cf222e", .border = "#82071e", .ink = "#ffffff", .faint = "#ffdcd7",
		.fresh = "#ffffff", .border_width = 2.2, .borders = 1, .legend = "what grew" },
	[PICTURE_UNREACHABLE] = {
		.shape = "octagon", .glyph = "\xe2\xac\xa3", .style = "filled,dashed",
		.fill = "#ecd8ff", .border = "#6639ba", .ink = "#2e1461", .faint = "#523a86",
		.fresh = STYLE_NEW, .border_width = 1.8, .borders = 1,
		.legend = "unreachable: no reference was found" },
	[PICTURE_CUT] = {
		.shape = "box", .glyph = "\xe2\xac\x9a", .style = "dashed",
		.fill = "#ffffff", .border = "#8c959f", .ink = STYLE_FAINT, .faint = STYLE_FAINT,
		.fresh = STYLE_NEW, .border_width = 1.0, .borders = 1, .legend = "more, not drawn" },
};

const struct style *style_of(enum picture_role role)
{
	if ((size_t)role >= sizeof(styles) / sizeof(styles[0]))
		role = PICTURE_PLAIN;
	return &styles[role];
}

/* Bytes of the UTF-8 character at s; the text is valid, so the lead byte decides. */
static size_t character(const char *s)
{
	unsigned char lead = (unsigned char)*s;
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	size_t have = 1;

	while (have < want && ((unsigned char)s[have] & 0xc0) == 0x80)
		have++;
	return have;
}

static size_t characters(const char *s)
{
	size_t count = 0;

	for (; *s; s += character(s))
		count++;
	return count;
}

/* Does an entity ("&lt;", "&#38;") begin at this ampersand? */
static bool looks_like_entity(const char *s)
{
	size_t length = 1;

	if (s[length] == '#')
		length++;
	while ((s[length] >= '0' && s[length] <= '9') || (s[length] >= 'a' && s[length] <= 'z') ||
	       (s[length] >= 'A' && s[length] <= 'Z'))
		length++;
	return length > 1 && s[length] == ';';
}

/* Append the first `count` characters of printable text. */
static void append_markup(struct text *text, const char *s, size_t count)
{
	for (; *s && count; count--) {
		size_t length = character(s);

		switch (*s) {
		case '&':
			text_append(text, "&amp;");
			if (looks_like_entity(s))
				text_append(text, WORD_JOINER);
			break;
		case '<':
			text_append(text, "&lt;");
			break;
		case '>':
			text_append(text, "&gt;");
			break;
		case '"':
			text_append(text, "&quot;");
			break;
		case '\\':
			text_append(text, "\\\\");
			break;
		default:
			text_append_bytes(text, s, length);
		}
		s += length;
	}
}

static const char *skip(const char *s, size_t count)
{
	while (count--)
		s += character(s);
	return s;
}

/* Where the first of two lines should end: after the separator that is nearest to the middle, so
 * that neither line is longer than `limit`. */
static size_t middle_break(const char *s, size_t count, size_t limit)
{
	size_t best = count / 2, distance = count, at = 1;

	for (const char *c = s; at < count; c += character(c), at++) {
		size_t away = at > count / 2 ? at - count / 2 : count / 2 - at;

		if (strchr(" ,<:/|(", *c) && (*c != ':' || c[1] != ':') && away < distance &&
		    at <= limit && count - at <= limit) {
			best = at;
			distance = away;
		}
	}
	return best;
}

void style_append_html(struct text *text, const char *name, size_t limit, const char *line_break)
{
	char *printable = text_escape(name);
	size_t count, room = line_break ? limit * 2 - limit / 4 : limit;

	if (!printable) {
		text->broken = true;
		return;
	}
	count = characters(printable);
	if (!limit || count <= limit) {
		append_markup(text, printable, count);
	} else if (line_break && count <= room) {
		size_t first = middle_break(printable, count, limit);

		append_markup(text, printable, first);
		text_append(text, line_break);
		append_markup(text, skip(printable, first), count - first);
	} else {
		/* Both ends of a long type name tell something; the outer template a little more. */
		size_t head = line_break ? limit - 1 : (limit - 1) * 3 / 5, tail = room - 1 - head;

		append_markup(text, printable, head);
		text_append(text, ELLIPSIS);
		text_append(text, line_break ? line_break : "");
		append_markup(text, skip(printable, count - tail), tail);
	}
	free(printable);
}

void style_append_plain(struct text *text, const char *name)
{
	char *printable = text_escape(name);

	if (!printable) {
		text->broken = true;
		return;
	}
	for (const char *s = printable; *s;) {
		size_t length = character(s);

		if (*s == '&') {
			text_append(text, "&amp;");
			if (looks_like_entity(s))
				text_append(text, WORD_JOINER);
		} else if (*s == '\\') {
			text_append(text, "\\\\");
		} else {
			text_append_bytes(text, s, length);
		}
		s += length;
	}
	free(printable);
}

void style_append_wrapped(struct text *text, const char *sentence, size_t limit,
			  const char *opening, const char *ending)
{
	char *printable = text_escape(sentence);
	size_t lines = 0;

	if (!printable) {
		text->broken = true;
		return;
	}
	for (const char *s = printable; *s; lines++) {
		size_t count = 0, fits = 0;
		const char *at = s;

		for (; *at && count < limit; at += character(at), count++)
			if (*at == ' ')
				fits = count;
		if (*at && fits)	/* the rest does not fit: end the line at its last blank */
			count = fits;
		text_append(text, opening);
		append_markup(text, s, count);
		if (lines + 1 == LINES_LIMIT && *at) {
			text_append(text, ELLIPSIS);
			text_append(text, ending);
			break;
		}
		text_append(text, ending);
		while (count--)
			s += character(s);
		while (*s == ' ')
			s++;
	}
	free(printable);
}

double style_edge_width(uint64_t bytes)
{
	if (bytes <= 1024)
		return 1.0;
	return 1.0 + 0.25 * fmin(log2((double)bytes / 1024), 24);
}
