/* SPDX-License-Identifier: Apache-2.0
 * L4  cmd_backrefs.c - `leakdiff backrefs SNAP`: what refers to an object, some steps back. */
#include "cli/cmd.h"
#include "cli/neighbours.h"

static struct neighbours options = NEIGHBOURS_DEFAULT;

static int run(int argc, char **argv)
{
	return neighbours_show(&cmd_backrefs, &options, PATTERN_BACKREFS, argc, argv);
}

static const struct cmd_option cmd_options[] = { NEIGHBOURS_OPTIONS(options), { 0 } };

const struct cmd cmd_backrefs = {
	.name = "backrefs",
	.synopsis = "backrefs SNAP (--type TYPE|--addr ADDR|--site SITE|--size N) [--depth N] [--width N] [--json] [--png FILE]",
	.summary = "what refers to an object, some steps back",
	.options = cmd_options,
	.run = run,
};
