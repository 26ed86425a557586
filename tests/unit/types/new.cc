// SPDX-License-Identifier: Apache-2.0
// new.cc - operator new as the fixtures' allocator; without debug information and never inlined.
#include "fixture.h"

#include <cstdlib>
#include <new>

void *operator new(size_t bytes) { return fixture_new(bytes, __builtin_return_address(0)); }
void operator delete(void *at) noexcept { free(at); }
void operator delete(void *at, size_t) noexcept { free(at); }
