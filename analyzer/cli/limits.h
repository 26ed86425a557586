/* SPDX-License-Identifier: Apache-2.0
 * L2  limits.h - options that say how a series of snapshots is judged: thresholds, counts, a limit. */
#ifndef LEAKDIFF_CLI_LIMITS_H
#define LEAKDIFF_CLI_LIMITS_H

#include "cli/cmd.h"
#include "core/series.h"

struct limits_options {			/* zero-initialised: as thresholds.h says */
	const char *drop, *cover, *threshold, *per;
	uint64_t limit;
};

#define LIMITS_OPTIONS(o) \
	{ "per", 0, CMD_STRING, "[NAME=]N,N,..", "requests, or whatever is counted, at each snapshot: growth for each", &(o).per }, \
	{ "limit", 0, CMD_SIZE, "SIZE", "what the process may use: say when it is reached (default: the cgroup's)", &(o).limit }, \
	{ "drop", 0, CMD_STRING, "SHARE", "things gather where no child keeps so much of the growth (0.7)", &(o).drop }, \
	{ "cover", 0, CMD_STRING, "SHARE", "say what is left when three suspects explain less (0.8)", &(o).cover }, \
	{ "threshold", 0, CMD_STRING, "SHARE", "suspects with less of the growth get one line (0.1)", &(o).threshold }

/* Put the options into the series. Returns 0, or the exit status after saying what is wrong. */
int limits_set(const struct cmd *cmd, const struct limits_options *options, struct series *series);

#endif
