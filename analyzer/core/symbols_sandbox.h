/* SPDX-License-Identifier: Apache-2.0
 * L0  symbols_sandbox.h - what the process that reads files of others may still do: read. */
#ifndef LEAKDIFF_SYMBOLS_SANDBOX_H
#define LEAKDIFF_SYMBOLS_SANDBOX_H

#include <stdint.h>

/* From now on this process gets `bytes` more of address space, writes no file and no core, and the kernel refuses
 * every call but those that read, allocate, and end. What the system does not support is left out. */
void symbols_sandbox_enter(uint64_t bytes);

#endif
