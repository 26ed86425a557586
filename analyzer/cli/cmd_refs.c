/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_refs.c - `leakdiff refs SNAP`: what an object refers to, some steps far. */
#include "cli/cmd.h"
#include "cli/neighbours.h"

static struct neighbours options = NEIGHBOURS_DEFAULT;

static int run(int argc, char **argv)
{
	return neighbours_show(&cmd_refs, &options, PATTERN_REFS, argc, argv);
}

static const struct cmd_option cmd_options[] = { NEIGHBOURS_OPTIONS(options), { 0 } };

const struct cmd cmd_refs = {
	.name = "refs",
	.synopsis = "refs SNAP (--type TYPE|--addr ADDR|--site SITE|--size N) [--depth N] [--width N] [--json] [--png FILE]",
	.summary = "what an object refers to, some steps far",
	.options = cmd_options,
	.run = run,
};
