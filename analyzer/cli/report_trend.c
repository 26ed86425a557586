/* SPDX-License-Identifier: Apache-2.0
 * L1  report_trend.c - see report_trend.h. */
#include "cli/report_trend.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/rate.h"
#include "core/suspects.h"
#include "core/text.h"

#define LONG_ENOUGH_S 60		/* of a shorter time nobody wants to know the growth in an hour */
#define SNAPSHOTS_SHOWN 12

static void say_rate(FILE *out, const struct series *series, struct rate rate, const char *before)
{
	char size[TEXT_SIZE];

	if (rate.bytes_per_hour > 0 && series_interval_s(series) >= LONG_ENOUGH_S) {
		fprintf(out, "%s%s an hour", before, text_size((int64_t)rate.bytes_per_hour, size));
		before = ", ";
	}
	if (rate.bytes_per_unit > 0) {
		char *unit = text_escape(series->limits.unit);

		fprintf(out, "%s%s for each of %s", before, text_size((int64_t)rate.bytes_per_unit, size), unit ? unit : "them");
		free(unit);
	}
}

void report_trend(FILE *out, const struct series *series, const struct suspect *s)
{
	const struct trend *trend = s->trend;
	struct rate rate = rate_of(series, s->net_bytes ? s->net_bytes : s->bytes);
	char size[TEXT_SIZE];

	if (trend && trend->bytes && s->verdict != SUSPECT_ALLOCATOR) {
		size_t first = series->count > SNAPSHOTS_SHOWN ? series->count - SNAPSHOTS_SHOWN : 0;

		fputs("  over time   ", out);
		if (first)
			fprintf(out, "(%zu earlier), ", first);
		for (size_t k = first; k < series->count; k++)
			fprintf(out, "%s%s", k > first ? ", " : "", text_size((int64_t)trend->bytes[k], size));
		if (trend_name(trend->word))
			fprintf(out, ": %s", trend_name(trend->word));
		fputs(trend->by_type ? " (all of this type, whoever holds them)\n" : "\n", out);
	}
	if (s->verdict == SUSPECT_GROWING || s->verdict == SUSPECT_UNREACHABLE) {
		bool any = (rate.bytes_per_hour > 0 && series_interval_s(series) >= LONG_ENOUGH_S) || rate.bytes_per_unit > 0;

		if (any) {
			say_rate(out, series, rate, "  rate        ");
			putc('\n', out);
		}
	}
}

void report_outlook(FILE *out, const struct series *series)
{
	struct outlook o = rate_outlook(series);
	char size[TEXT_SIZE];

	if (!o.limit_bytes || o.rate.bytes_per_hour < 0)
		return;
	fprintf(out, "limit: %s of memory", text_size((int64_t)o.limit_bytes, size));
	if (o.seconds == 0)
		fputs(" are reached already\n", out);
	else if (o.seconds < 0)
		fputs("; resident memory did not grow\n", out);
	else if (o.seconds < 3600)
		fprintf(out, " are reached in %.0f min, if resident memory grows on as in this time\n", o.seconds / 60);
	else if (o.seconds < 100 * 3600)
		fprintf(out, " are reached in %.1f h, if resident memory grows on as in this time\n", o.seconds / 3600);
	else
		fprintf(out, " are reached in %.0f days, if resident memory grows on as in this time\n", o.seconds / 86400);
}
