/* SPDX-License-Identifier: Apache-2.0
 * L3  cmd_export.c - `leakdiff export SNAP [SNAP]`: live memory by stack, for other viewers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/export.h"
#include "cli/json.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/retained.h"
#include "core/ages.h"
#include "core/dominators.h"

enum format { FORMAT_PPROF, FORMAT_COLLAPSED, FORMAT_SPEEDSCOPE, FORMAT_JSON, FORMATS };

static const char *const formats[] = {
	[FORMAT_PPROF] = "pprof", [FORMAT_COLLAPSED] = "collapsed", [FORMAT_SPEEDSCOPE] = "speedscope",
	[FORMAT_JSON] = "json",
};

static struct {
	const char *format, *value, *output;
} options;

static int write_export(const struct loaded *loaded, const struct diff *diff, enum format format,
			enum export_value value)
{
	struct export *export = NULL;
	int r = export_make(loaded->series, diff, &export);

	if (r == 0 && format == FORMAT_PPROF)
		r = export_write_pprof(stdout, export);
	else if (r == 0 && format == FORMAT_COLLAPSED)
		r = export_write_collapsed(stdout, export, value);
	else if (r == 0)
		r = export_write_speedscope(stdout, export);
	export_free(export);
	return r;
}

static int write_rows(const struct loaded *loaded, struct diff *diff)
{
	struct dominators *tree = NULL;
	struct ages *ages = NULL;
	int r;

	if (loaded->count > 1)
		return json_write_growth(loaded->series, diff);
	r = retained_tree(loaded->series, &tree);
	if (r >= 0)
		r = retained_add(loaded->series, tree, diff);
	dominators_free(tree);
	if (r >= 0)
		r = ages_of_rows(loaded->series, diff, &ages);
	if (r >= 0)
		r = json_write_top(loaded->series, diff, ages, SIZE_MAX);
	free(ages);
	return r;
}

static int write_answer(const struct loaded *loaded, enum format format, enum export_value value)
{
	struct diff_options rows = { .by = DIFF_BY_SITE, .keep_nodes = true };
	struct diff *diff = NULL;
	int r = diff_make(loaded->series, &rows, &diff);

	if (r == 0)
		r = format == FORMAT_JSON ? write_rows(loaded, diff) : write_export(loaded, diff, format, value);
	diff_free(diff);
	return r < 0 ? load_trouble(r) : CMD_OK;
}

static int run(int argc, char **argv)
{
	enum export_value value = argc > 1 ? EXPORT_NEW_BYTES : EXPORT_BYTES;
	struct output output;
	struct loaded loaded;
	unsigned format = 0;
	int status;

	if (argc < 1 || argc > 2)
		return cmd_usage(&cmd_export, "export takes one snapshot or two");
	if (!options.format)
		return cmd_usage(&cmd_export, "say which --format: pprof, collapsed, speedscope or json");
	while (format < FORMATS && strcmp(options.format, formats[format]) != 0)
		format++;
	if (format == FORMATS)
		return cmd_usage(&cmd_export, "--format takes pprof, collapsed, speedscope or json, not %s", options.format);
	if (options.value && export_parse_value(options.value, &value) < 0)
		return cmd_usage(&cmd_export, "--value takes bytes, count, new-bytes, new-count, growth-bytes or "
				 "growth-count, not %s", options.value);
	if (options.value && format != FORMAT_COLLAPSED)
		return cmd_usage(&cmd_export, "--value is for collapsed: %s holds all values", options.format);
	if (argc == 1 && value > EXPORT_COUNT)
		return cmd_usage(&cmd_export, "--value %s needs two snapshots", options.value);
	if (format == FORMAT_PPROF && !options.output && isatty(STDOUT_FILENO))
		return cmd_usage(&cmd_export, "pprof is not for a terminal: give -o FILE");
	status = load_series(argv, (size_t)argc, &loaded);
	if (status)
		return status;
	if (options.output)
		status = output_begin(options.output, &output);
	if (!status) {
		status = write_answer(&loaded, (enum format)format, value);
		if (options.output)
			status = output_end(&output, status);
	}
	loaded_done(&loaded);
	return cmd_finish(status);
}

static const struct cmd_option cmd_options[] = {
	{ "format", 'f', CMD_STRING, "FORMAT", "pprof, collapsed, speedscope or json", &options.format },
	{ "value", 0, CMD_STRING, "VALUE", "of collapsed: bytes, count, {new,growth}-{bytes,count}", &options.value },
	{ "output", 'o', CMD_STRING, "FILE", "write there, not to standard output", &options.output },
	{ 0 },
};

const struct cmd cmd_export = {
	.name = "export",
	.synopsis = "export SNAP [SNAP] --format FORMAT [-o FILE]",
	.summary = "live memory, or growth, by allocation stack, for other viewers",
	.detail = "pprof       profile.proto, gzipped, for `pprof` and `go tool pprof`\n"
		  "collapsed   one line a stack and one value, for flame graphs; --value says which\n"
		  "speedscope  one profile for each value, for https://speedscope.app\n"
		  "json        the rows of `leakdiff top --by site --json`; with two snapshots those of the diff\n"
		  "One snapshot gives live bytes and blocks; two also what is new (born after the first and alive in\n"
		  "the second) and the growth, which can be negative. Totals are those of top and of the diff.",
	.options = cmd_options,
	.run = run,
};
