/* SPDX-License-Identifier: Apache-2.0
 * L5  rate.c - see rate.h. */
#include "core/rate.h"

struct rate rate_of(const struct series *series, uint64_t bytes)
{
	const double *units = series->limits.units;
	double seconds = series_interval_s(series);
	struct rate rate = { -1, -1 };

	if (seconds > 0)
		rate.bytes_per_hour = (double)bytes * 3600 / seconds;
	if (units && units[series->count - 1] > units[0])
		rate.bytes_per_unit = (double)bytes / (units[series->count - 1] - units[0]);
	return rate;
}

static uint64_t resident(const struct heap *heap)
{
	return heap->meta.rss_bytes ? heap->meta.rss_bytes : heap->account.total_bytes;
}

struct outlook rate_outlook(const struct series *series)
{
	uint64_t before = resident(series->heaps[0].heap), now = resident(series_last(series)->heap);
	uint64_t cgroup = series_last(series)->heap->meta.cgroup_max_bytes;
	struct outlook outlook = { .rate = { -1, -1 }, .limit_bytes = series->limits.memory_bytes, .seconds = -1 };

	if (!outlook.limit_bytes && cgroup < UINT64_MAX)
		outlook.limit_bytes = cgroup;

	if (!before || !now)
		return outlook;
	outlook.rate = rate_of(series, now > before ? now - before : 0);
	if (outlook.limit_bytes && outlook.limit_bytes <= now)
		outlook.seconds = 0;
	else if (outlook.limit_bytes && outlook.rate.bytes_per_hour > 0)
		outlook.seconds = (double)(outlook.limit_bytes - now) * 3600 / outlook.rate.bytes_per_hour;
	return outlook;
}
