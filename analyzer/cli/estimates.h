/* SPDX-License-Identifier: Apache-2.0
 * L2  estimates.h - mode lite: what the sampled stacks stand for, by site, each with its standard error. */
#ifndef LEAKDIFF_CLI_ESTIMATES_H
#define LEAKDIFF_CLI_ESTIMATES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct series;

struct estimate {
	char *site;			/* names_site() */
	double bytes[2], variance[2];	/* in the first and the last snapshot */
	uint64_t samples;		/* in the last: so many blocks with a stack */
};

struct estimates {
	struct estimate *list;		/* those that grew most first */
	size_t count;
};

/* Of the two ends of a series; nothing where the last is not of mode lite. Returns 0 with *ret_estimates
 * (estimates_done() in any case), -ENOMEM, or -EBADMSG. */
int estimates_read(const struct series *series, struct estimates *ret_estimates) __attribute__((warn_unused_result));
void estimates_done(struct estimates *estimates);

/* At most `limit` rows; nothing where there are none. Returns 0 or -ENOMEM. */
int estimates_print(FILE *out, const struct estimates *estimates, size_t limit) __attribute__((warn_unused_result));

/* The same as a part of a page, all rows. */
void estimates_page(FILE *out, const struct estimates *estimates);

#endif
