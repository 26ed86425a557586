/* SPDX-License-Identifier: Apache-2.0
 * L1  dot.c - picture -> cgraph.
 *
 *   +---------------------------+
 *   | title                     |   label of the one cluster, which holds all nodes
 *   | subtitle                  |
 *   |        nodes, edges       |
 *   +---------------------------+
 *   | legend                    |   label of the graph itself
 *   | what is not shown         |
 *   +---------------------------+
 *
 * (1) Every label is HTML-like markup made here; names enter it only through style_append_*().
 * (2) What the roles mean is in the picture: the legend lists the roles that are drawn, no others.
 * (3) Without a node there is no cluster: title and sentences are the picture then.
 * (4) The picture stays readable: at most DOT_NODES_MAX nodes, the nearest to the marked ones; what
 *     is dropped is counted below it. A wide and shallow picture is drawn from left to right.
 * (5) Knows nothing of files and formats. */
#include "dot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "style.h"

#define SENTENCES_MAX 12	/* left-out sentences printed below the picture */

/* What is drawn of a picture. */
struct selection {
	bool *keep;			/* per node of the picture */
	uint32_t *queue;		/* the kept ones, DOT_NODES_MAX at most */
	bool *surplus;			/* per node: one leaf too many */
	bool *leads;			/* per node of the picture: it is or leads to what grew */
	size_t kept, dropped_edges;
};

static void set(void *object, const char *name, const char *value)
{
	/* cgraph's interface is older than const; it copies both strings. */
	agsafeset(object, (char *)name, (char *)value, (char *)"");
}

static void set_number(void *object, const char *name, double value)
{
	char number[32];

	snprintf(number, sizeof(number), "%.2f", value);
	set(object, name, number);
}

/* Hand the markup in `text` to an attribute. Returns 0 or -ENOMEM. */
static int set_markup(Agraph_t *graph, void *object, const char *name, struct text *text)
{
	char *markup = text_take(text), *shared;

	if (!markup)
		return -ENOMEM;
	shared = agstrdup_html(graph, markup);
	free(markup);
	if (!shared)
		return -ENOMEM;
	set(object, name, shared);
	agstrfree(graph, shared);
	return 0;
}

static int set_text(void *object, const char *name, struct text *text)
{
	char *value = text_take(text);

	if (!value)
		return -ENOMEM;
	set(object, name, value);
	free(value);
	return 0;
}

/* ---- what to draw ---------------------------------------------------------------------------- */

/* Of many leaves that hang on one node only the first DOT_FAN_MAX are worth drawing. */
static int find_surplus(const struct picture *picture, struct selection *selection)
{
	size_t count = picture->node_count;
	uint32_t *degree = calloc(2 * count + 1, sizeof(*degree)), *fan = degree + count;

	selection->surplus = calloc(count + 1, sizeof(*selection->surplus));
	if (!degree || !selection->surplus) {
		free(degree);
		return -ENOMEM;
	}
	for (size_t e = 0; e < picture->edge_count; e++) {
		degree[picture->edges[e].from]++;
		degree[picture->edges[e].to]++;
	}
	for (size_t e = 0; e < picture->edge_count; e++) {
		const struct picture_edge *edge = &picture->edges[e];

		if (degree[edge->to] == 1 && ++fan[edge->from] > DOT_FAN_MAX)
			selection->surplus[edge->to] = true;
	}
	free(degree);
	return 0;
}

static void keep_node(struct selection *selection, size_t node)
{
	if (selection->keep[node] || selection->surplus[node] || selection->kept == DOT_NODES_MAX)
		return;
	selection->keep[node] = true;
	selection->queue[selection->kept++] = (uint32_t)node;
}

/* Keep the marked nodes, then those nearest to them. Marked ones leave room for what joins them. */
static int select_nodes(const struct picture *picture, struct selection *selection)
{
	size_t count = picture->node_count, next = 0;
	int r;

	selection->keep = calloc(count + 1, sizeof(*selection->keep));
	if (!selection->keep)
		return -ENOMEM;
	for (size_t e = 0; e < picture->edge_count; e++)
		if (picture->edges[e].from >= count || picture->edges[e].to >= count)
			return -EINVAL;
	r = find_surplus(picture, selection);
	if (r < 0)
		return r;

	for (size_t n = 0; n < count && selection->kept < DOT_NODES_MAX * 2 / 3; n++)
		if (picture->nodes[n].role != PICTURE_PLAIN && picture->nodes[n].role != PICTURE_CUT)
			keep_node(selection, n);
	for (size_t head = 0; selection->kept < DOT_NODES_MAX; head++) {
		if (head == selection->kept) {	/* a part that hangs on no marked node: from its first */
			while (next < count && (selection->keep[next] || selection->surplus[next]))
				next++;
			if (next == count)
				break;
			keep_node(selection, next);
		}
		for (size_t e = 0; e < picture->edge_count; e++) {
			if (picture->edges[e].from == selection->queue[head])
				keep_node(selection, picture->edges[e].to);
			if (picture->edges[e].to == selection->queue[head])
				keep_node(selection, picture->edges[e].from);
		}
	}
	return 0;
}

/* Mark what grew and every node from which it is reached. */
static int mark_ways(const struct picture *picture, struct selection *selection)
{
	bool changed = true;

	selection->leads = calloc(picture->node_count + 1, sizeof(*selection->leads));
	if (!selection->leads)
		return -ENOMEM;
	for (size_t n = 0; n < picture->node_count; n++)
		selection->leads[n] = selection->keep[n] && (picture->nodes[n].new_bytes ||
							     picture->nodes[n].role == PICTURE_GREW);
	while (changed) {	/* one pass per level, and a picture has at most DOT_NODES_MAX */
		changed = false;
		for (size_t e = 0; e < picture->edge_count; e++) {
			uint32_t from = picture->edges[e].from, to = picture->edges[e].to;

			if (selection->keep[from] && selection->leads[to] && !selection->leads[from])
				changed = selection->leads[from] = true;
		}
	}
	return 0;
}

/* Is the picture wide and shallow, so that it reads better from left to right? The depth of a node
 * is its distance from the nodes that nothing points to. */
static bool prefers_left_to_right(const struct picture *picture, const struct selection *selection)
{
	uint32_t depth[DOT_NODES_MAX], width[DOT_NODES_MAX] = { 0 }, deepest = 0, widest = 0;

	for (size_t i = 0; i < selection->kept; i++)
		depth[i] = 0;
	for (size_t pass = 0; pass < selection->kept; pass++) {
		bool changed = false;

		for (size_t i = 0; i < selection->kept; i++) {
			uint32_t best = UINT32_MAX;

			for (size_t e = 0; e < picture->edge_count; e++) {
				const struct picture_edge *edge = &picture->edges[e];

				if (edge->to != selection->queue[i] || edge->from == edge->to)
					continue;
				for (size_t j = 0; j < selection->kept; j++)
					if (selection->queue[j] == edge->from && depth[j] < best)
						best = depth[j];
			}
			if (best != UINT32_MAX && best + 1 > depth[i] && best + 1 < selection->kept) {
				depth[i] = best + 1;
				changed = true;
			}
		}
		if (!changed)
			break;
	}
	for (size_t i = 0; i < selection->kept; i++) {
		width[depth[i]]++;
		deepest = depth[i] > deepest ? depth[i] : deepest;
	}
	for (uint32_t level = 0; level <= deepest; level++)
		widest = width[level] > widest ? width[level] : widest;

	/* A node is about 190 by 70 points; from left to right a level needs room for edge labels. */
	double down = widest * 210.0 > (deepest + 1) * 110.0 ? widest * 210.0 : (deepest + 1) * 110.0;
	double across = (deepest + 1) * 290.0 > widest * 90.0 ? (deepest + 1) * 290.0 : widest * 90.0;

	return across < down;
}

/* ---- labels ---------------------------------------------------------------------------------- */

static void append_line(struct text *text, const char *colour, double points, bool bold,
			const char *line, size_t limit)
{
	text_printf(text, "<TR><TD><FONT COLOR=\"%s\" POINT-SIZE=\"%.1f\">%s", colour, points,
		    bold ? "<B>" : "");
	style_append_html(text, line, limit, bold ? "</B><BR/><B>" : "<BR/>");
	text_printf(text, "%s</FONT></TD></TR>", bold ? "</B>" : "");
}

/* "30 x 1 MiB = 30 MiB", "1 MiB", "30 objects, 31 MiB"; empty for a node without memory. */
static char *amount(const struct picture_node *node)
{
	char each[TEXT_SIZE], all[TEXT_SIZE], count[TEXT_SIZE];

	if (node->role == PICTURE_CUT && !node->bytes)
		return text_format("%s", "");
	text_size((int64_t)node->bytes, all);
	text_count((int64_t)node->count, count);
	if (node->count > 1 && node->bytes && node->bytes % node->count == 0)
		return text_format("%s \xc3\x97 %s = %s", count,
				   text_size((int64_t)(node->bytes / node->count), each), all);
	if (node->count > 1)
		return text_format("%s objects, %s", count, all);
	return text_format("%s", node->bytes ? all : "");
}

static char *freshness(const struct picture_node *node)
{
	char count[TEXT_SIZE], bytes[TEXT_SIZE];

	if (!node->new_count && !node->new_bytes)
		return text_format("%s", "");
	return text_format("+%s new, %s", text_count((int64_t)node->new_count, count),
			   text_size((int64_t)node->new_bytes, bytes));
}

static char *holding(const struct picture_node *node)
{
	char bytes[TEXT_SIZE];

	if (node->retained_bytes <= node->bytes)
		return text_format("%s", "");
	return text_format("holds %s", text_size((int64_t)node->retained_bytes, bytes));
}

static const char *or_empty(const char *string)
{
	return string ? string : "";
}

static int label_node(Agraph_t *graph, Agnode_t *drawn, const struct picture_node *node)
{
	const struct style *style = style_of(node->role);
	char *lines[] = { amount(node), freshness(node), holding(node) };
	const char *first = or_empty(node->type), *second = or_empty(node->name);
	struct text label = { 0 }, tip = { 0 };
	int r = -ENOMEM;

	if (!lines[0] || !lines[1] || !lines[2])
		goto done;
	/* A root is looked up by its name; everything else is recognised by its type. */
	if ((node->role == PICTURE_ROOT && *second) || !*first) {
		first = second;
		second = or_empty(node->type);
	}
	text_append(&label, "<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"1\">");
	append_line(&label, style->ink, 12, node->role != PICTURE_CUT, *first ? first : "?",
		    STYLE_TYPE_LIMIT);
	if (*second && strcmp(first, second))
		append_line(&label, style->ink, 10.5, false, second, STYLE_TYPE_LIMIT);
	if (*lines[0])
		append_line(&label, style->ink, 10.5, false, lines[0], 0);
	if (*lines[1])
		append_line(&label, style->fresh, 10.5, true, lines[1], 0);
	if (*lines[2])
		append_line(&label, style->faint, 9.5, false, lines[2], 0);
	if (*or_empty(node->detail))
		append_line(&label, style->faint, 9.5, false, node->detail, STYLE_TYPE_LIMIT + 8);
	text_append(&label, "</TABLE>");

	/* The tooltip holds everything, in full. */
	style_append_plain(&tip, *first ? first : "?");
	for (size_t i = 0; i < 6; i++) {
		const char *parts[] = { strcmp(first, second) ? second : "", lines[0], lines[1],
					lines[2], or_empty(node->detail), "" };

		if (*parts[i]) {
			text_append(&tip, "; ");
			style_append_plain(&tip, parts[i]);
		}
	}
	if (node->addr)
		text_printf(&tip, "; at 0x%" PRIx64, node->addr);

	r = set_markup(graph, drawn, "label", &label);
	if (r >= 0)
		r = set_text(drawn, "tooltip", &tip);
done:
	text_done(&label);
	text_done(&tip);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		free(lines[i]);
	return r;
}

static int draw_node(Agraph_t *graph, Agraph_t *body, const struct picture_node *node, size_t index,
		     Agnode_t **ret_drawn)
{
	const struct style *style = style_of(node->role);
	char id[32];
	Agnode_t *drawn;
	int r;

	snprintf(id, sizeof(id), "n%zu", index);
	drawn = agnode(body, id, 1);
	if (!drawn)
		return -ENOMEM;
	set(drawn, "shape", style->shape);
	set(drawn, "style", style->style);
	set(drawn, "fillcolor", style->fill);
	set(drawn, "color", style->border);
	set_number(drawn, "penwidth", style->border_width);
	set_number(drawn, "peripheries", style->borders);
	r = label_node(graph, drawn, node);
	if (r < 0)
		return r;
	*ret_drawn = drawn;
	return 0;
}

static int draw_edge(Agraph_t *graph, Agnode_t *from, Agnode_t *to, const struct picture_edge *edge,
		     bool leads_to_growth)
{
	struct text label = { 0 }, tip = { 0 };
	char count[TEXT_SIZE], bytes[TEXT_SIZE];
	Agedge_t *drawn = agedge(graph, from, to, NULL, 1);
	int r;

	if (!drawn)
		return -ENOMEM;
	set_number(drawn, "penwidth", style_edge_width(edge->bytes));
	set_number(drawn, "arrowsize", 0.6 + 0.06 * style_edge_width(edge->bytes));
	set(drawn, "color", leads_to_growth ? STYLE_NEW : STYLE_EDGE);
	if (edge->conservative)
		set(drawn, "style", "dashed");

	/* Blanks keep the label off a thick line. */
	text_printf(&label, "<FONT COLOR=\"%s\">&#160;&#160;", STYLE_INK);
	style_append_html(&label, or_empty(edge->label), STYLE_EDGE_LIMIT, NULL);
	style_append_plain(&tip, or_empty(edge->label));
	/* A folded list ("->next x 4096") says its own length. */
	if (edge->count > 1 && !strstr(or_empty(edge->label), " x ")) {
		text_printf(&label, " \xc3\x97 %s", text_count((int64_t)edge->count, count));
		text_printf(&tip, " \xc3\x97 %s", count);
	}
	text_append(&label, "&#160;</FONT>");
	if (edge->bytes)
		text_printf(&tip, "; %s hang on it", text_size((int64_t)edge->bytes, bytes));
	if (edge->conservative)
		text_append(&tip, "; interior or unsure reference");

	if (*or_empty(edge->label) || edge->count > 1)
		r = set_markup(graph, drawn, "label", &label);
	else
		r = 0;
	if (r >= 0)
		r = set_text(drawn, "tooltip", &tip);
	text_done(&label);
	text_done(&tip);
	return r;
}

#define TABLE_LEFT "<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"2\" ALIGN=\"LEFT\">"
#define LEFT_LINE "<BR ALIGN=\"LEFT\"/>"

static void append_title(struct text *text, const struct picture *picture)
{
	/* Graphviz refuses <B></B>, and with it the whole label. */
	text_printf(text, "<FONT COLOR=\"%s\" POINT-SIZE=\"15\">", STYLE_INK);
	style_append_wrapped(text, or_empty(picture->title), STYLE_WIDE_LIMIT * 4 / 5, "<B>",
			     "</B>" LEFT_LINE);
	text_append(text, "</FONT>");
	if (picture->subtitle && *picture->subtitle) {
		text_printf(text, "<FONT COLOR=\"%s\" POINT-SIZE=\"10\">", STYLE_FAINT);
		style_append_wrapped(text, picture->subtitle, STYLE_WIDE_LIMIT, "", LEFT_LINE);
		text_append(text, "</FONT>");
	}
}

static int label_title(Agraph_t *graph, Agraph_t *body, const struct picture *picture)
{
	struct text label = { 0 };

	append_title(&label, picture);
	return set_markup(graph, body, "label", &label);
}

/* A picture of nothing says so: its title, and why there is nothing. */
static int label_empty(Agraph_t *graph, const struct picture *picture)
{
	struct text label = { 0 };

	append_title(&label, picture);
	for (size_t i = 0; i < picture->left_out_count && i < SENTENCES_MAX; i++)
		style_append_wrapped(&label, or_empty(picture->left_out[i]), STYLE_WIDE_LIMIT, "", LEFT_LINE);
	return set_markup(graph, graph, "label", &label);
}

/* One entry of the legend: two to a row. */
static void append_legend(struct text *text, size_t *entries, const char *colour, const char *glyph,
			  double points, const char *meaning)
{
	text_append(text, *entries % 2 ? "" : "<TR>");
	text_printf(text,
		    "<TD ALIGN=\"CENTER\"><FONT COLOR=\"%s\" POINT-SIZE=\"%.0f\">%s</FONT></TD>"
		    "<TD ALIGN=\"LEFT\">%s     </TD>", colour, points, glyph, meaning);
	text_append(text, *entries % 2 ? "</TR>" : "");
	(*entries)++;
}

static int label_legend(Agraph_t *graph, const struct picture *picture,
			const struct selection *selection)
{
	bool used[PICTURE_CUT + 1] = { false }, dashed = false, wide = false, fresh = false;
	bool leads = false, elided = false;
	size_t dropped = picture->node_count - selection->kept, entries = 0;
	struct text text = { 0 };

	for (size_t n = 0; n < picture->node_count; n++) {
		const struct picture_node *node = &picture->nodes[n];

		if (!selection->keep[n])
			continue;
		used[(size_t)node->role <= PICTURE_CUT ? node->role : PICTURE_PLAIN] = true;
		fresh |= node->new_count > 0;	/* never in a picture of one snapshot */
	}
	for (size_t e = 0; e < picture->edge_count; e++) {
		const struct picture_edge *edge = &picture->edges[e];

		if (!selection->keep[edge->from] || !selection->keep[edge->to])
			continue;
		dashed |= edge->conservative;
		elided |= edge->label && !strcmp(edge->label, "...");
		leads |= selection->leads[edge->to];
		wide |= edge->bytes > 1024;
	}

	text_append(&text, TABLE_LEFT "<TR><TD> </TD></TR><TR><TD ALIGN=\"LEFT\">" TABLE_LEFT);
	static const enum picture_role order[] = { PICTURE_ROOT, PICTURE_PLAIN, PICTURE_ACCUMULATES,
						   PICTURE_GREW, PICTURE_UNREACHABLE, PICTURE_CUT };
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct style *style = style_of(order[i]);

		if (used[order[i]] && order[i] == PICTURE_GREW)
			append_legend(&text, &entries, style->fill, style->glyph, 14,
				      fresh ? style->legend : "what was asked for");
		else if (used[order[i]])
			append_legend(&text, &entries, style->border, style->glyph, 14, style->legend);
	}
	if (leads)
		append_legend(&text, &entries, STYLE_NEW, "\xe2\x94\x81\xe2\x94\x81", 12,
			      fresh ? "the way to what grew" : "the way to it");
	if (wide)
		append_legend(&text, &entries, STYLE_EDGE, "\xe2\x94\x80\xe2\x94\x81", 12,
			      "width: bytes that hang on it");
	if (dashed)
		append_legend(&text, &entries, STYLE_EDGE, "\xe2\x94\x84\xe2\x94\x84", 12,
			      "interior or unsure reference");
	if (elided)
		append_legend(&text, &entries, STYLE_EDGE, "<B>...</B>", 12,
			      "by several fields, or through what is not shown");
	if (fresh)
		append_legend(&text, &entries, STYLE_NEW, "<B>+</B>", 12,
			      "born since the earlier snapshot");
	text_append(&text, entries % 2 ? "<TD></TD><TD></TD></TR>" : "");
	text_append(&text, entries ? "" : "<TR><TD></TD></TR>");
	text_append(&text, "</TABLE></TD></TR>");

	if (picture->left_out_count || dropped || selection->dropped_edges) {
		size_t shown = picture->left_out_count < SENTENCES_MAX ? picture->left_out_count
								       : SENTENCES_MAX;

		text_append(&text, "<TR><TD ALIGN=\"LEFT\" BALIGN=\"LEFT\">" LEFT_LINE
				   "<B>Not shown</B>" LEFT_LINE);
		for (size_t i = 0; i < shown; i++)
			style_append_wrapped(&text, or_empty(picture->left_out[i]), STYLE_WIDE_LIMIT, "",
					     LEFT_LINE);
		if (shown < picture->left_out_count)
			text_printf(&text, "%zu more such notes." LEFT_LINE,
				    picture->left_out_count - shown);
		if (dropped || selection->dropped_edges)
			text_printf(&text, "%zu more nodes and %zu more references: too many to read."
				    LEFT_LINE, dropped, selection->dropped_edges);
		text_append(&text, "</TD></TR>");
	}
	text_append(&text, "</TABLE>");
	return set_markup(graph, graph, "label", &text);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void set_defaults(Agraph_t *graph)
{
	static const struct { int kind; const char *name, *value; } defaults[] = {
		{ AGRAPH, "bgcolor", "white" },
		{ AGRAPH, "fontname", STYLE_FONT },
		{ AGRAPH, "fontsize", "9" },
		{ AGRAPH, "fontcolor", STYLE_FAINT },
		{ AGRAPH, "labelloc", "b" },
		{ AGRAPH, "labeljust", "l" },
		{ AGRAPH, "pencolor", "none" },
		{ AGRAPH, "pad", "0.2" },
		{ AGRAPH, "nodesep", "0.3" },
		{ AGRAPH, "ranksep", "0.35" },
		{ AGRAPH, "size", "40,70" },	/* inches: a defence, the caps keep us far below */
		{ AGRAPH, "tooltip", " " },
		{ AGNODE, "fontname", STYLE_FONT },
		{ AGNODE, "fontsize", "10.5" },
		{ AGNODE, "margin", "0.1,0.08" },
		{ AGNODE, "height", "0.3" },
		{ AGEDGE, "fontname", STYLE_FONT },
		{ AGEDGE, "fontsize", "9.5" },
		{ AGEDGE, "labeltooltip", " " },
	};

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		agattr(graph, defaults[i].kind, (char *)defaults[i].name, (char *)defaults[i].value);
}

int dot_build(const struct picture *picture, Agraph_t **ret_graph)
{
	uint32_t queue[DOT_NODES_MAX];
	struct selection selection = { .queue = queue };
	Agnode_t **drawn = NULL;
	Agraph_t *graph = NULL, *body;
	struct text tip = { 0 };
	size_t edges = 0;
	bool across;
	int r;

	r = select_nodes(picture, &selection);
	if (r >= 0)
		r = mark_ways(picture, &selection);
	if (r < 0)
		goto fail;
	r = -ENOMEM;
	drawn = calloc(picture->node_count + 1, sizeof(*drawn));
	graph = agopen((char *)"leakdiff", Agdirected, NULL);
	if (!drawn || !graph)
		goto fail;
	set_defaults(graph);
	across = prefers_left_to_right(picture, &selection);
	set(graph, "rankdir", across ? "LR" : "TB");
	body = agsubg(graph, (char *)"cluster_body", 1);
	if (!body)
		goto fail;
	set(body, "labelloc", "t");
	set(body, "margin", "4");
	style_append_plain(&tip, or_empty(picture->title));
	r = set_text(body, "tooltip", &tip);

	/* From left to right Graphviz stacks upwards: what comes last is drawn first. */
	for (size_t i = 0; r >= 0 && i < picture->node_count; i++) {
		size_t n = across ? picture->node_count - 1 - i : i;

		if (selection.keep[n])
			r = draw_node(graph, body, &picture->nodes[n], n, &drawn[n]);
	}
	for (size_t i = 0; r >= 0 && i < picture->edge_count; i++) {
		size_t e = across ? picture->edge_count - 1 - i : i;
		const struct picture_edge *edge = &picture->edges[e];

		if (!drawn[edge->from] || !drawn[edge->to] || edges == DOT_EDGES_MAX) {
			selection.dropped_edges++;
			continue;
		}
		edges++;
		r = draw_edge(graph, drawn[edge->from], drawn[edge->to], edge,
			      selection.leads[edge->to] &&
			      picture->nodes[edge->from].role != PICTURE_CUT);
	}
	if (r >= 0 && selection.kept)
		r = label_title(graph, body, picture);
	if (r >= 0)
		r = selection.kept ? label_legend(graph, picture, &selection) : label_empty(graph, picture);
	if (r < 0)
		goto fail;

	free(drawn);
	free(selection.keep);
	free(selection.surplus);
	free(selection.leads);
	*ret_graph = graph;
	return 0;
fail:
	text_done(&tip);
	if (graph)
		agclose(graph);
	free(drawn);
	free(selection.keep);
	free(selection.surplus);
	free(selection.leads);
	return r;
}
