/* SPDX-License-Identifier: Apache-2.0
 * L0  crc.h - CRC-32C (Castagnoli) of the stream's chunks. */
#ifndef LEAKDIFF_CRC_H
#define LEAKDIFF_CRC_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C of `bytes` bytes, initial value and final xor 0xffffffff. Uses SSE 4.2 where the CPU has it. */
uint32_t ld__crc32c(const void *data, size_t bytes);

#endif
