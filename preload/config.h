/* SPDX-License-Identifier: Apache-2.0
 * L0  config.h - the environment, read once into one frozen struct. */
#ifndef LEAKDIFF_CONFIG_H
#define LEAKDIFF_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum config_mode { CONFIG_FULL, CONFIG_LITE, CONFIG_SAMPLE };
enum config_python { CONFIG_PYTHON_AUTO, CONFIG_PYTHON_OFF, CONFIG_PYTHON_OBJECTS, CONFIG_PYTHON_STACKS };

struct config {
	const char *folder;		/* absolute; created 0700; "" = could not be had, see ld__say() */
	enum config_mode mode;
	uint32_t budget_ppm;		/* of the process's processor time, parts per million; 0 = no budget */
	bool start_on;
	uint64_t every_ns;		/* 0 = no timer */
	uint64_t at_rss_bytes;		/* 0 = none */
	uint32_t at_rss_percent;	/* of the cgroup's limit, else of physical memory; 0 = none */
	bool at_exit;
	uint32_t depth;			/* frames per stack, 1..128 */
	uint32_t ring_events;		/* power of two */
	enum config_python python;
	bool values;
	int signal;			/* 0 = none */
	int log;			/* 0 = errors only, 1 = also what it does */
	const char *wrappers;		/* names with semicolons between them; "" = none */
	uint64_t max_pause_ns;		/* 0 = no limit, for snapshots that the library starts itself */
};

/* Read the environment (no allocation from the service's heap). Called once, from the constructor. */
void ld__config_read(void);
const struct config *ld__config(void);

/* The mode that was asked for cannot be had: the constructor takes another. */
void ld__config_set_mode(enum config_mode mode);

/* "full", "lite" or "sample": the mode that holds. */
const char *ld__config_mode_name(void);

/* One line on stderr ("libleakdiff: ...\n") with write(2); printf-like but only %s %d %u %lu %lx %%.
 * Never allocates, keeps errno. */
void ld__say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
