/* SPDX-License-Identifier: Apache-2.0
 * L3  accepted.h - accepted growth on the command line: the files that are named, and what is said of them. */
#ifndef LEAKDIFF_CLI_ACCEPTED_H
#define LEAKDIFF_CLI_ACCEPTED_H

#include <stdbool.h>
#include <stdio.h>

#include "core/accept.h"

/* Read the files, where given (else NULL); says what is wrong by itself. Returns 0 or CMD_TROUBLE. */
int accepted_load(struct acceptance *acceptance, const char *suppressions, const char *baseline)
	__attribute__((warn_unused_result));
void accepted_done(struct acceptance *acceptance);

/* What was suppressed by which pattern; unused: also what none matched. Nothing without a file. */
void accepted_say_suppressed(FILE *out, const struct suppressions *suppressions, bool unused);

/* All that a diff has to say of it. limited: --fail-above was given. */
void accepted_say(FILE *out, const struct acceptance *acceptance, bool unused, bool limited);

/* Write what these suspects are as the baseline of later runs, together with what the one that was read
 * allows; says so on stderr. Returns 0 or CMD_TROUBLE. */
int accepted_write(const char *path, struct acceptance *acceptance, const struct suspects *suspects)
	__attribute__((warn_unused_result));

#endif
