/* SPDX-License-Identifier: Apache-2.0
 * L8  suspects_sites.h - what grew in heap profiles, judged by allocation site alone. Private to suspects.c.
 *
 * A profile knows neither blocks nor references: a suspect is one stack whose sum grew, without holder or
 * chain. Growth within the error of the sampling is at most "possible". */
#ifndef LEAKDIFF_SUSPECTS_SITES_H
#define LEAKDIFF_SUSPECTS_SITES_H

struct suspects;

/* Make the list of s->series, whose heaps are profiles: list, count, noise. Returns 0 or -ENOMEM. */
int suspects_of_sites(struct suspects *s) __attribute__((warn_unused_result));

#endif
