/* SPDX-License-Identifier: Apache-2.0
 * L2  cmd_sql.c - `leakdiff sql SNAP [QUERY]`: SQL over snapshots.
 *
 * Three ways to print a row: aligned columns for a terminal (the first WIDTH_ROWS rows decide the
 * widths, so that a large result is not kept in memory), tab-separated otherwise, JSON on request. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/text.h"

#define WIDTH_ROWS 100
#define WIDTH_MAX 60
#define SQL_MAX (16u << 20)

static struct cmd_list attach;
static bool json;

static const struct cmd_option options[] = {
	{ "attach", 0, CMD_LIST, "SNAP", "a further snapshot: its tables are b.nodes, b.sites, ...; the next one's c.*", &attach },
	{ "json", 0, CMD_FLAG, NULL, "one JSON object a row: {\"column\": value, ...}", &json },
	{ 0 },
};

struct table {
	int columns;
	char **names;			/* for JSON */
	char ***rows;			/* kept until widths are known; rows[0] is the header */
	size_t row_count;
	bool decided;			/* widths are known: rows are printed as they come */
	int *widths;
};

static bool schema;			/* the answer is text of our own, lines and all */

/* What a cell looks like on a terminal or between tabs: no control characters. */
static char *cell(const char *value)
{
	struct text text = { 0 };

	if (!value || !schema)
		return value ? text_escape(value) : strdup("");
	while (*value) {
		size_t length = strcspn(value, "\t\n");
		char *piece = strndup(value, length);

		text_append_escaped(&text, piece ? piece : "");
		text.broken |= !piece;
		free(piece);
		text_append_bytes(&text, value + length, value[length] != 0);
		value += length + (value[length] != 0);
	}
	return text_take(&text);
}

/* Width in characters: UTF-8 continuation bytes take no place. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void print_cells(const struct table *table, char **cells)
{
	for (int i = 0; i < table->columns; i++) {
		int pad = i + 1 < table->columns ? table->widths[i] - width_of(cells[i]) : 0;

		printf("%s%s%*s", i ? "  " : "", cells[i], pad > 0 ? pad : 0, "");
	}
	putchar('\n');
}

static void free_cells(const struct table *table, char **cells)
{
	for (int i = 0; cells && i < table->columns; i++)
		free(cells[i]);
	free(cells);
}

/* Decide the widths and print what was kept. */
static void flush_table(struct table *table)
{
	if (!table->decided && table->columns) {
		for (size_t row = 0; row < table->row_count; row++)
			for (int i = 0; i < table->columns; i++) {
				int width = width_of(table->rows[row][i]);

				if (width > table->widths[i])
					table->widths[i] = width > WIDTH_MAX ? WIDTH_MAX : width;
			}
		for (size_t row = 0; row < table->row_count; row++)
			print_cells(table, table->rows[row]);
	}
	table->decided = true;
	for (size_t row = 0; row < table->row_count; row++)
		free_cells(table, table->rows[row]);
	table->row_count = 0;
}

static void table_done(struct table *table)
{
	flush_table(table);
	for (int i = 0; table->names && i < table->columns; i++)
		free(table->names[i]);
	free(table->names);
	free(table->rows);
	free(table->widths);
	memset(table, 0, sizeof(*table));
}

/* A JSON string with what JSON and terminals need escaped. */
static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

/* Is this the text of a number as JSON writes them? SQLite's integers and reals are. */
static bool is_number(const char *text)
{
	const char *p = text + (*text == '-');
	size_t digits = strspn(p, "0123456789");

	if (!digits || digits > 18 || (*p == '0' && digits > 1))
		return false;
	p += digits;
	if (*p == '.') {
		digits = strspn(++p, "0123456789");
		if (!digits)
			return false;
		p += digits;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		digits = strspn(p, "0123456789");
		if (!digits)
			return false;
		p += digits;
	}
	return !*p;
}

static void print_json(const struct table *table, char **values)
{
	putchar('{');
	for (int i = 0; i < table->columns; i++) {
		char *safe;

		if (i)
			fputs(", ", stdout);
		print_json_string(table->names[i]);
		fputs(": ", stdout);
		if (!values[i]) {
			fputs("null", stdout);
		} else if (is_number(values[i])) {
			fputs(values[i], stdout);
		} else {
			safe = text_escape(values[i]);	/* also makes it valid UTF-8 */
			print_json_string(safe ? safe : "");
			free(safe);
		}
	}
	puts("}");
}

static int begin_table(struct table *table, int columns, char **names)
{
	table_done(table);
	table->columns = columns;
	table->names = calloc((size_t)columns + 1, sizeof(*table->names));
	table->widths = calloc((size_t)columns + 1, sizeof(*table->widths));
	table->rows = calloc(WIDTH_ROWS + 1, sizeof(*table->rows));
	if (!table->names || !table->widths || !table->rows)
		return -ENOMEM;
	for (int i = 0; i < columns; i++)
		if (!(table->names[i] = text_escape(names[i] ? names[i] : "")))
			return -ENOMEM;
	return 0;
}

static int print_row(int columns, char **values, bool is_header, void *data)
{
	struct table *table = data;
	char **cells;

	if (is_header && begin_table(table, columns, values) < 0)
		return -ENOMEM;
	if (json) {
		if (!is_header)
			print_json(table, values);
		return ferror(stdout) ? -EPIPE : 0;
	}
	cells = calloc((size_t)columns + 1, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	for (int i = 0; i < columns; i++)
		if (!(cells[i] = cell(values[i]))) {
			free_cells(table, cells);
			return -ENOMEM;
		}
	if (!isatty(STDOUT_FILENO)) {
		for (int i = 0; i < columns; i++)
			printf("%s%s", i ? "\t" : "", cells[i]);
		putchar('\n');
		free_cells(table, cells);
	} else if (table->decided) {
		print_cells(table, cells);
		free_cells(table, cells);
	} else {
		table->rows[table->row_count++] = cells;
		if (table->row_count > WIDTH_ROWS)
			flush_table(table);
	}
	return ferror(stdout) ? -EPIPE : 0;
}

/* All of standard input; NULL with errno. */
static char *read_statements(void)
{
	struct text text = { 0 };
	char buffer[65536];
	size_t count;

	while (text.length < SQL_MAX && (count = fread(buffer, 1, sizeof(buffer), stdin)) > 0)
		text_append_bytes(&text, buffer, count);
	if (text.length >= SQL_MAX) {
		text_done(&text);
		errno = E2BIG;
		return NULL;
	}
	return text_take(&text);
}

/* The one word of sqlite3(1) that fingers type by themselves. */
static bool is_schema(const char *sql)
{
	static const char word[] = ".schema";

	sql += strspn(sql, " \t\n");
	return !strncmp(sql, word, strlen(word)) && !sql[strlen(word) + strspn(sql + strlen(word), " \t\n;")];
}

static int query(struct store *store, const char *sql)
{
	struct table table = { 0 };
	char *error = NULL;
	int r, status = CMD_OK;

	schema = is_schema(sql);
	if (schema)
		sql = "SELECT sql || ';' AS sql FROM sqlite_schema WHERE sql IS NOT NULL";
	r = store_query(store, sql, print_row, &table, &error);
	if (r >= 0)
		table_done(&table);
	else
		table.decided = true;		/* what was kept of a failed query is not printed */
	table_done(&table);
	if (r < 0 && r != -EPIPE)
		status = cmd_trouble("%s", error ? error : "not enough memory for the query");
	free(error);
	return status;
}

static int run(int argc, char **argv)
{
	struct store *store;
	char *error = NULL, *statements = NULL;
	int status = CMD_TROUBLE, r;

	if (argc < 1 || argc > 2)
		return cmd_usage(&cmd_sql,
				 "sql takes one snapshot and at most one query (quote it)");
	r = snapshot_file_open(argv[0], &store, &error);
	if (r < 0) {
		status = error ? cmd_trouble("%s", error) :
				 cmd_trouble("not enough memory to open %s", argv[0]);
		free(error);
		return status;
	}
	for (size_t i = 0; i < attach.count && r >= 0; i++) {
		char name[2] = { (char)('b' + i), 0 };

		r = snapshot_file_attach(store, attach.items[i], name, &error);
	}
	if (r < 0) {
		cmd_trouble("%s", error ? error : "not enough memory");
	} else if (argc == 2) {
		status = query(store, argv[1]);
	} else {
		statements = read_statements();
		status = statements ? query(store, statements) :
				      cmd_trouble("cannot read the query: %s", strerror(errno));
	}
	free(statements);
	free(error);
	store_free(store);
	return status;
}

const struct cmd cmd_sql = {
	.name = "sql",
	.synopsis = "sql SNAP [QUERY] [--attach SNAP]... [--json]",
	.summary = "ask a snapshot in SQL; nodes and edges are tables too",
	.detail = "Without QUERY statements are read from standard input. On a terminal columns are aligned, elsewhere\n"
		  "they are separated by tabs. The first --attach is schema b: its nodes are b.nodes, and the view\n"
		  "v_growth compares it with SNAP. The tables are described in docs/SQL.md; .schema as a\n"
		  "query prints how all are declared.",
	.options = options,
	.run = run,
};
