/* SPDX-License-Identifier: Apache-2.0
 * L1  report_trend.h - what several snapshots tell of a suspect, and how long the memory lasts, as text. */
#ifndef LEAKDIFF_CLI_REPORT_TREND_H
#define LEAKDIFF_CLI_REPORT_TREND_H

#include <stdio.h>

struct series;
struct suspect;

/* Lines below a suspect; nothing for two snapshots that are near each other and were not counted. */
void report_trend(FILE *out, const struct series *series, const struct suspect *suspect);

/* One line about resident memory and the limit; nothing where nothing is known. */
void report_outlook(FILE *out, const struct series *series);

#endif
