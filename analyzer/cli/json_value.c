/* SPDX-License-Identifier: Apache-2.0
 * L1  json_value.c - values as every answer writes them. */
#include "cli/json_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/text.h"

json_t *json_value_name(const char *name)
{
	char *escaped;
	json_t *value;

	if (!name)
		return json_null();
	escaped = text_escape(name);
	value = escaped ? json_string(escaped) : NULL;
	free(escaped);
	return value;
}

json_t *json_value_known(const char *name)
{
	return name && *name ? json_value_name(name) : json_null();
}

json_t *json_value_address(uint64_t addr)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, addr);
	return json_string(text);
}

json_t *json_value_time(int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char text[64], date[40];
	struct tm tm;

	if (ns <= 0 || !gmtime_r(&seconds, &tm))
		return json_null();
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(ns % 1000000000 / 1000000));
	return json_string(text);
}
