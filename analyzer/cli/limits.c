/* SPDX-License-Identifier: Apache-2.0
 * L2  limits.c - see limits.h. */
#include "cli/limits.h"

#include <stdlib.h>
#include <string.h>

/* "0.7" or "70%". */
static int set_share(const struct cmd *cmd, const char *option, const char *value, double *ret_share)
{
	char *end;
	double share;

	if (!value)
		return 0;
	share = strtod(value, &end);
	if (end != value && *end == '%') {
		share /= 100;
		end++;
	}
	if (end == value || *end || !(share >= 0 && share <= 1))
		return cmd_usage(cmd, "--%s takes a share such as 0.7 or 70%%, not '%s'", option, value);
	*ret_share = share;
	return 0;
}

/* "1000,2500,4000" or "requests=1000,2500,4000": one number a snapshot. */
static int set_units(const struct cmd *cmd, const char *value, struct series *series)
{
	const char *equals = strchr(value, '='), *at = equals ? equals + 1 : value;
	double *units = calloc(series->count + 1, sizeof(*units));
	size_t count = 0;

	if (!units)
		return cmd_trouble("out of memory");
	while (*at) {
		char *end;
		double number = strtod(at, &end);

		if (end == at || (*end && *end != ',') || !(number >= 0 && number < 1e18)) {
			free(units);
			return cmd_usage(cmd, "--per takes numbers such as requests=1000,2500, not '%s'", value);
		}
		if (count < series->count)
			units[count] = number;
		count++;
		at = *end ? end + 1 : end;
	}
	if (count != series->count) {
		free(units);
		return cmd_usage(cmd, "--per takes one number for each of the %zu snapshots, not %zu", series->count, count);
	}
	for (size_t k = 1; k < count; k++)
		if (units[k] <= units[k - 1]) {
			free(units);
			return cmd_usage(cmd, "--per takes numbers that grow from snapshot to snapshot, not '%s'", value);
		}
	series->limits.units = units;
	series->limits.unit = strndup(equals && equals > value ? value : "unit", equals && equals > value ? (size_t)(equals - value) : 4);
	return series->limits.unit ? 0 : cmd_trouble("out of memory");
}

int limits_set(const struct cmd *cmd, const struct limits_options *options, struct series *series)
{
	int status = set_share(cmd, "drop", options->drop, &series->limits.drop);

	if (status == 0)
		status = set_share(cmd, "cover", options->cover, &series->limits.cover);
	if (status == 0)
		status = set_share(cmd, "threshold", options->threshold, &series->limits.share);
	if (status == 0 && options->per)
		status = set_units(cmd, options->per, series);
	if (options->limit)
		series->limits.memory_bytes = options->limit;
	return status;
}
