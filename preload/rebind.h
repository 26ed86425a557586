/* SPDX-License-Identifier: Apache-2.0
 * L1  rebind.h - give one loaded library other functions than the rest of the process. */
#ifndef LEAKDIFF_REBIND_H
#define LEAKDIFF_REBIND_H

#include <stddef.h>

struct rebinding {
	const char *name;
	void *function;
};

/* Let the library behind `handle` (of dlopen) call ours where it imports a function by one of these
 * names. Only its own import slots change. Before it runs: no other thread may be in it.
 * Returns the number of slots changed, or -EINVAL when its imports cannot be read. */
int ld__rebind(void *handle, const struct rebinding *rebindings, size_t count);

#endif
