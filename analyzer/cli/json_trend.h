/* SPDX-License-Identifier: Apache-2.0
 * L1  json_trend.h - what several snapshots tell, and who shares in holding, as JSON; NULL = no memory. */
#ifndef LEAKDIFF_CLI_JSON_TREND_H
#define LEAKDIFF_CLI_JSON_TREND_H

#include <jansson.h>

struct suspect;
struct suspects;
struct series;

/* "trend", "history", "rate", "holders", "places", "held_only_by": the keys of a suspect beyond CLI.md's. */
int json_add_trend(json_t *object, const struct series *series, const struct suspect *suspect)
	__attribute__((warn_unused_result));

/* "outlook" and "cover": the keys of an answer. */
int json_add_outlook(json_t *answer, const struct series *series, const struct suspects *suspects)
	__attribute__((warn_unused_result));

#endif
