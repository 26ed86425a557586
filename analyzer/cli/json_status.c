/* SPDX-License-Identifier: Apache-2.0
 * L3  json_status.c - see json_status.h. */
#include "cli/json_status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/target.h"
#include "core/text.h"

static void set_text(json_t *object, const char *key, const char *result)
{
	char *value = target_value(result, key);
	char *escaped = text_escape(value ? value : "");

	json_object_set_new(object, key, json_string(escaped ? escaped : ""));
	free(escaped);
	free(value);
}

int json_write_status(int pid, const char *result)
{
	static const char *const texts[] = { "state", "capture", "mode", "name", "folder" };
	static const char *const numbers[] = { "blocks",       "bytes",	      "mappings",
					       "mapped_bytes", "lost_events", "own_bytes",
					       "interval_bytes" };
	uint64_t budget = target_number(result, "budget_ppm"), spent = target_number(result, "budget_spent_ppm");
	json_t *object = json_pack("{s:i, s:i}", "schema", 1, "pid", pid);
	char *text;
	int r;

	if (!object)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		set_text(object, texts[i], result);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(object, numbers[i],
				    json_integer((json_int_t)target_number(result, numbers[i])));
	json_object_set_new(object, "predicted_pause_s",
			    json_real((double)target_number(result, "predicted_pause_ns") / 1e9));
	json_object_set_new(object, "budget", budget ? json_real((double)budget / 1e6) : json_null());
	json_object_set_new(object, "budget_spent", budget && spent ? json_real((double)spent / 1e6) : json_null());
	text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(object);
	if (!text)
		return -ENOMEM;
	r = puts(text) < 0 ? -EIO : 0;
	free(text);
	return r;
}
