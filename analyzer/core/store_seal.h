/* SPDX-License-Identifier: Apache-2.0
 * L0  store_seal.h - page checksums of a snapshot file.
 *
 * Each page ends in 8 bytes of checksum over the rest of the page, in the reserved space that
 * SQLite's file format provides for it, in the layout of SQLite's own checksum VFS (cksumvfs), so
 * that SQLite's tools can verify a snapshot too. Any program that writes to the file breaks the seal. */
#ifndef LEAKDIFF_STORE_SEAL_H
#define LEAKDIFF_STORE_SEAL_H

#include <stdint.h>

#define SEAL_BYTES 8			/* reserved at the end of each page */

/* Write the checksum of every page of a complete, closed database file.
 * fd is open for reading and writing; page_bytes its page size. Returns 0 or a negative errno. */
int store_seal(int fd, uint32_t page_bytes) __attribute__((warn_unused_result));

/* Verify every page. Returns 0, or -EBADMSG with the number of the first page that does not match
 * (1 = the first), or a negative errno from read(2). */
int store_seal_check(int fd, uint32_t page_bytes, uint64_t *ret_page)
	__attribute__((warn_unused_result));

#endif
