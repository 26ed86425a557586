/* SPDX-License-Identifier: Apache-2.0
 * L2  containers.h - what the containers of libstdc++ and libc++ allocate, as a person calls it.
 *
 *   std::__new_allocator<std::_Hash_node<std::pair<std::string const, Session>, true>>::allocate
 *      in std::_Hashtable<...>                    ->  "std::unordered_map<std::string, Session> node"
 *
 * Read off the names of functions and classes alone, so it needs no debug information beyond them. */
#ifndef LEAKDIFF_CONTAINERS_H
#define LEAKDIFF_CONTAINERS_H

#include <stdbool.h>

#include "core/text.h"

/* functions   of an allocation stack, innermost first, demangled; after those of the allocator.
 * Appends the name of what is allocated; returns false, with nothing appended, when no container does it. */
bool containers_name_stack(const char *const *functions, unsigned count, struct text *text);

/* A class that only holds something else: the control block of a shared_ptr. As above. */
bool containers_name_class(const char *name, struct text *text);

/* Append a type's name without what nobody writes: default allocators, hashes and comparisons, ABI namespaces. */
void containers_append_type(struct text *text, const char *type, unsigned length);

#endif
