/* SPDX-License-Identifier: Apache-2.0
 * fixture.h - what the fixtures of test_symbols_types.c share: calls are recorded as addresses in the file,
 * and said at the end, one a line: "what name address". */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *fixture_take(size_t bytes);			/* an allocator that everybody calls by an own name */
void *fixture_new(size_t bytes, const void *caller);	/* operator new's part */
void fixture_name(const char *name);			/* of the next call of fixture_take() */
void fixture_address(const char *what, const char *name, const volatile void *address);
void fixture_thread(const char *name, const volatile void *address);
/* a local variable, from the frame that calls: its canonical frame address is __builtin_dwarf_cfa() */
void fixture_local(const char *name, const volatile void *address, const void *cfa);

#ifdef __cplusplus
}
#endif
#endif
