/* SPDX-License-Identifier: Apache-2.0
 * L3  names.h - how types, holders and references are written for a person.
 *
 * A type that is only an allocation site is shown as "1048576 B from handle_put server.c:120" where
 * one size is meant, else as "from handle_put server.c:120"; other types are shown as they are.
 * Names are raw here; whoever prints them escapes them. */
#ifndef LEAKDIFF_NAMES_H
#define LEAKDIFF_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/text.h"

/* Append the displayed form of a type; exact: all blocks meant are `size` bytes. */
void names_type(struct text *text, const char *name, enum heap_type_source source, bool exact,
		uint64_t size);

/* Does a --type pattern mean this type? The displayed form with size, without, and the bare name are
 * all accepted. */
bool names_type_matches(const char *pattern, const char *name, enum heap_type_source source,
			uint64_t size);

/* Is the pattern, letter by letter, this type's bare name or its displayed form with or without size?
 * Names may hold characters that mean something in a pattern: what is equal is meant. */
bool names_type_equals(const char *pattern, const char *name, enum heap_type_source source, uint64_t size);

/* "python" | "rtti" | "dwarf" | "site" | "kind" */
const char *names_type_source(enum heap_type_source source);

/* "global" | "stack" | "tls" | "register" | "python-module" | "python-frame" | "python-c" | "mapping" */
const char *names_root_kind(enum heap_root_kind kind);

/* Append a type where the step before has said whose it is: as names_type() with a size, but a buffer as an array:
 * "char[1048576] from handle_put server.c:120". */
void names_type_held(struct text *text, const char *name, enum heap_type_source source, uint64_t size);

/* How much of a displayed type is the type itself: what follows is the site of a buffer. */
size_t names_type_length(const char *shown);

/* Append the label of one reference: ".buckets[17]" where the type of its source is known, else "+16"; "rax",
 * ".name", "[3]", "->next". A root's slots are named by where they lie in the variable: nothing is appended where
 * the variable is the pointer. */
void names_reference(struct text *text, const struct heap *heap, const struct heap_reference *ref);

/* Append where in its target an interior reference points: " (into .list)", " (into +16)". */
void names_into(struct text *text, const struct heap *heap, const struct heap_reference *ref);

/* What two labels have in common: the label, with [*] for indices that differ, else its form. Owned, NULL = no
 * memory. */
char *names_common_label(const char *a, const char *b);

/* A label with [*] for each index: of many references that leave by one array. Owned; NULL = no memory, "[*]" for a
 * label without an index. */
char *names_folded_label(const char *label);

/* Append how full an lru_cache is: "lru_cache, 128 of 128 entries: full", "lru_cache, 50 of 128 entries",
 * "lru_cache, unbounded"; where the bound is unknown only its entries. */
void names_cache(struct text *text, const struct heap_cache *cache);

/* Is a function's name that of a place in its module, "libx.so+0x1234", since it has no symbol? */
bool names_are_place(const char *function, const char *module);

/* Append "function file:line" of one frame, or what is known of it. */
void names_frame(struct text *text, const struct heap_frame *frame);

/* Append the frame that speaks for a stack, "handle_put server.c:120 by xmalloc" (site_frame.h); "(no stack)" for HEAP_NONE. */
void names_site(struct text *text, const struct heap *heap, uint32_t stack);

/* The name of the thread that allocated a block, "main", "worker-3 (tid 4711)", as the roots have it,
 * else "tid 4711 (ended)". */
void names_thread(struct text *text, const struct heap *heap, uint32_t tid);

#endif
