/* SPDX-License-Identifier: Apache-2.0
 * L0  filter.h - what a filter of system calls (seccomp) that a program is about to install would do to us. */
#ifndef LEAKDIFF_FILTER_H
#define LEAKDIFF_FILTER_H

#include <stdbool.h>
#include <stdint.h>

struct sock_fprog;

/* What the filter answers for a call, SECCOMP_RET_*; killing where the program is not a filter. */
uint32_t ld__filter_answer(const struct sock_fprog *filter, uint32_t number, const uint64_t args[6]);

/* Does the filter end whoever makes one of the calls that recording and snapshots need, or trap it? */
bool ld__filter_ends_us(const struct sock_fprog *filter);

/* Does it do so for naming a mapping? */
bool ld__filter_ends_naming(const struct sock_fprog *filter);

#endif
