/* SPDX-License-Identifier: Apache-2.0
 * L1  demangle.h - C++ and Rust symbol names as people write them. */
#ifndef LEAKDIFF_DEMANGLE_H
#define LEAKDIFF_DEMANGLE_H

#include <stdbool.h>

/* All of these return a new string that the caller frees, or NULL when memory is short. A name that
 * is not mangled, or that cannot be demangled, is copied as it is. */

/* "_ZN3app7Session4openEi" -> "app::Session::open"; compiler suffixes (".isra.0", ".cold") go away. */
char *demangle_function(const char *symbol);

/* "_ZZ6handlevE5cache" -> "handle()::cache", "table.1234" (a static local in C) -> "table". */
char *demangle_variable(const char *symbol);

/* type_info::name(): "N3app7SessionE" -> "app::Session", "*4Node" -> "Node". */
char *demangle_type(const char *name);

/* Language that a symbol's mangling gives away: "c++", "rust", or "c". */
const char *demangle_language(const char *symbol);

/* Take out what every instance of a standard template has: default allocators, hashers, comparers,
 * inline namespaces: "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
 * -> "std::string". In place; the result is never longer. */
void demangle_shorten(char *name);

#endif
