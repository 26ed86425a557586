/* SPDX-License-Identifier: Apache-2.0
 * L1  table.c - text tables and wrapped paragraphs. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.h"

#define SCREEN_MIN 40			/* narrower than this nothing fits: do not try */
#define GAP 2

struct table {
	size_t columns, rows, room;
	char *align;
	size_t spare;			/* a column that may be left out; `columns` = none */
	char **cells;			/* rows * columns; row 0 is the header */
	bool broken;
};

size_t table_text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)		/* every byte but continuations; wide letters count once */
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

size_t table_screen_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	long width = 0;

	if (isatty(STDOUT_FILENO)) {
		if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
			width = size.ws_col;
		else
			width = columns ? strtol(columns, NULL, 10) : 80;
	}
	return width >= SCREEN_MIN ? (size_t)width : 0;
}

struct table *table_new(const char *const *headers, const char *align)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = strlen(align);
	table->spare = table->columns;
	table->align = strdup(align);
	if (!table->align) {
		free(table);
		return NULL;
	}
	table_add(table, headers);
	return table;
}

void table_add(struct table *table, const char *const *cells)
{
	if (table->rows == table->room) {
		size_t wider = table->room ? table->room * 2 : 16;
		char **grown = realloc(table->cells, wider * table->columns * sizeof(*grown));

		if (!grown) {
			table->broken = true;
			return;
		}
		table->cells = grown;
		table->room = wider;
	}
	for (size_t c = 0; c < table->columns; c++) {
		char *copy = strdup(cells[c]);

		table->cells[table->rows * table->columns + c] = copy;
		table->broken |= !copy;
	}
	table->rows++;
}

/* Print at most `width` columns of a text; what is cut is shown by an ellipsis in the middle, since
 * both ends of a name matter. */
static void print_cut(FILE *out, const char *text, size_t width)
{
	size_t have = table_text_width(text), head = width / 2, tail = width - head - 1, column = 0;
	bool cutting = false;

	if (have <= width || width < 8) {
		fputs(text, out);
		return;
	}
	for (; *text; text++) {
		bool starts = ((unsigned char)*text & 0xc0) != 0x80;

		if (starts) {
			cutting = column >= head && column < have - tail;
			if (column == head)
				fputs("\u2026", out);
			column++;
		}
		if (!cutting)
			putc(*text, out);
	}
}

void table_spare(struct table *table, size_t column, const char *usual)
{
	for (size_t r = 1; r < table->rows && !table->broken; r++)
		if (strcmp(table->cells[r * table->columns + column], usual) != 0)
			return;
	table->spare = column;
}

int table_print(const struct table *table, FILE *out, int indent)
{
	size_t screen = table_screen_width(), *width, whole = (size_t)indent, spare = table->columns;

	if (table->broken)
		return -ENOMEM;
	width = calloc(table->columns, sizeof(*width));
	if (!width)
		return -ENOMEM;
	for (size_t i = 0; i < table->rows * table->columns; i++) {
		size_t need = table_text_width(table->cells[i]);

		if (need > width[i % table->columns])
			width[i % table->columns] = need;
	}
	for (size_t c = 0; c < table->columns; c++)
		whole += width[c] + (c ? GAP : 0);
	if (screen && whole > screen)
		spare = table->spare;
	for (size_t r = 0; r < table->rows; r++) {
		size_t used = (size_t)indent;

		fprintf(out, "%*s", indent, "");
		for (size_t c = 0; c < table->columns; c++) {
			const char *cell = table->cells[r * table->columns + c];
			size_t have = table_text_width(cell);
			bool is_last = c + 1 == table->columns;

			if (c == spare)
				continue;
			if (table->align[c] == 'r')
				fprintf(out, "%*s", (int)(width[c] - have), "");
			if (is_last && screen > used)
				print_cut(out, cell, screen - used);
			else
				fputs(cell, out);
			if (!is_last)
				fprintf(out, "%*s", (int)(table->align[c] == 'l' ? width[c] - have : 0) + GAP, "");
			used += width[c] + GAP;
		}
		putc('\n', out);
	}
	free(width);
	return 0;
}

struct table *table_free(struct table *table)
{
	if (table) {
		for (size_t i = 0; i < table->rows * table->columns; i++)
			free(table->cells[i]);
		free(table->cells);
		free(table->align);
		free(table);
	}
	return NULL;
}

void table_wrap(FILE *out, const char *text, size_t indent, size_t column)
{
	size_t screen = table_screen_width();
	bool is_first = true;		/* on its line, where it stands whatever its length */

	if (!screen)
		screen = 100;		/* prose is broken even in a file */
	while (*text) {
		size_t length = strcspn(text, " ");
		char word[256];
		size_t width;

		snprintf(word, sizeof(word), "%.*s", (int)(length < 255 ? length : 255), text);
		width = table_text_width(word);
		if ((!is_first && column + 1 + width > screen) || (is_first && column > indent && column + width > screen)) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!is_first) {
			putc(' ', out);
			column++;
		}
		is_first = false;
		fwrite(text, 1, length, out);
		column += width;
		text += length;
		text += *text == ' ';
	}
	putc('\n', out);
}
