/* SPDX-License-Identifier: Apache-2.0
 * L6  frames.h - tracebacks of the stopped threads. */
#ifndef LEAKDIFF_FRAMES_H
#define LEAKDIFF_FRAMES_H

#include <stdint.h>

#include "regions.h"
#include "stop.h"
#include "writer.h"

/* Write TRACEBACKS: every thread from its saved registers. Snapshot child, last of all: what has been
 * written before survives whatever happens here. Returns the number of threads whose traceback was
 * cut short by a fault or the time limit. */
uint32_t ld__frames_write(struct writer *writer, const struct stop *stop,
			  const struct regions *regions);

#endif
