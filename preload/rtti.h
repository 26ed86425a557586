/* SPDX-License-Identifier: Apache-2.0
 * L2  rtti.h - the dynamic type of C++ objects, by the vtable that their first word points at. */
#ifndef LEAKDIFF_RTTI_H
#define LEAKDIFF_RTTI_H

#include <stdbool.h>
#include <stdint.h>

#include "writer.h"

struct rtti;

/* Snapshot child only. NULL when memory is refused. */
struct rtti *ld__rtti_new(struct writer *writer);

/* Could this word be the address of a vtable? Cheap. */
bool ld__rtti_maybe(const struct rtti *rtti, uint64_t word);

/* Index in TYPES of the class whose vtable `word` points at, STREAM_NONE = it is none. Reads the modules'
 * read-only memory: inside FAULT_GUARD. */
uint32_t ld__rtti_type(struct rtti *rtti, uint64_t word);

/* Add a type of another source; the same addr gives the same index. */
uint32_t ld__rtti_add(struct rtti *rtti, uint64_t addr, const char *name,
		      enum stream_type_source source);

/* Write the TYPES section. */
void ld__rtti_write(struct rtti *rtti);

#endif
