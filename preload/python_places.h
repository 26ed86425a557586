/* SPDX-License-Identifier: Apache-2.0
 * L4  python_places.h - places in Python code: function, file, line; each once. */
#ifndef LEAKDIFF_PYTHON_PLACES_H
#define LEAKDIFF_PYTHON_PLACES_H

#include <stdbool.h>
#include <stdint.h>

struct python_place {
	const char *function, *file;
	uint32_t line;
};

/* The places that stacks refer to (STREAM_STACK_PYTHON), 0..count-1. */
uint32_t ld__python_place_count(void);
const struct python_place *ld__python_place(uint32_t index);
uint64_t ld__python_places_refused(void);

/* Get the memory of the tables, and see to it that code objects are not freed unseen. Returns 0 or
 * -ENOMEM. Idempotent. */
int ld__python_places_init(void);

/* Is this the code object of a call of a Python function? Not so: the interpreter's own step before an
 * __init__ (3.12 and later), None in 3.13. */
bool ld__python_is_function(uint64_t code);

/* A number that tells a code object from another that came to lie at its address. Never 0. */
uint32_t ld__python_code_stamp(uint64_t code);

/* Changes with every code object that is freed: stamps that were taken under this epoch are still right. */
extern _Atomic uint32_t ld__python_code_epoch __attribute__((visibility("hidden")));

/* The place of an instruction, in bytes from the begin of the code. UINT32_MAX = the tables are full
 * (counted). Any thread that runs this code; keeps errno. */
uint32_t ld__python_place_at(uint64_t code, uint64_t at);

/* The place of these words, copied when it is new. */
uint32_t ld__python_place_intern(const char *function, const char *file, uint32_t line);

#endif
