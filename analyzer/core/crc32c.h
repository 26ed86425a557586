/* SPDX-License-Identifier: Apache-2.0
 * L0  crc32c.h - CRC-32C (Castagnoli) as the capture stream uses it: init and final xor 0xffffffff. */
#ifndef LEAKDIFF_CRC32C_H
#define LEAKDIFF_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Checksum of `count` bytes. crc32c(0, ...) starts; passing an earlier result goes on from it. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t count);

#endif
