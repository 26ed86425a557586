/* SPDX-License-Identifier: Apache-2.0
 * L5  rate.h - how fast, and how long until the limit. */
#ifndef LEAKDIFF_RATE_H
#define LEAKDIFF_RATE_H

#include <stdint.h>

#include "core/series.h"

struct rate {				/* < 0 = unknown */
	double bytes_per_hour;
	double bytes_per_unit;		/* of what the user counted: requests */
};

/* So many bytes from the first to the last snapshot. */
struct rate rate_of(const struct series *series, uint64_t bytes);

struct outlook {
	struct rate rate;		/* of resident memory; 0 when it did not grow */
	uint64_t limit_bytes;		/* 0 = unknown */
	double seconds;			/* until resident memory reaches the limit at this rate; < 0 = never, or unknown */
};

struct outlook rate_outlook(const struct series *series);

#endif
