/* SPDX-License-Identifier: Apache-2.0
 * L0  store_seal.c - page checksums of a snapshot file.
 *
 * Read and written in blocks of many pages with pread and pwrite: a mapping would turn a file that
 * shrinks under us into a SIGBUS. */
#include "core/store_seal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (1u << 20)		/* a multiple of every page size */

/* The checksum of SQLite's cksumvfs: two running sums over 32-bit little-endian words. */
static void page_sum(const uint8_t *page, uint32_t page_bytes, uint8_t ret_sum[SEAL_BYTES])
{
	uint32_t s1 = 0, s2 = 0, words[2];

	for (uint32_t at = 0; at < page_bytes - SEAL_BYTES; at += sizeof(words)) {
		memcpy(words, page + at, sizeof(words));
		s1 += words[0] + s2;
		s2 += words[1] + s1;
	}
	memcpy(ret_sum, &s1, 4);
	memcpy(ret_sum + 4, &s2, 4);
}

/* Read up to `count` bytes; less only at the end of the file. */
static ssize_t read_block(int fd, uint8_t *buffer, size_t count, uint64_t offset)
{
	size_t done = 0;

	while (done < count) {
		ssize_t n = pread(fd, buffer + done, count - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int write_block(int fd, const uint8_t *buffer, size_t count, uint64_t offset)
{
	size_t done = 0;

	while (done < count) {
		ssize_t n = pwrite(fd, buffer + done, count - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

static int walk(int fd, uint32_t page_bytes, bool write, uint64_t *ret_page)
{
	uint8_t *block = malloc(BLOCK_BYTES);
	uint8_t sum[SEAL_BYTES];
	uint64_t offset = 0;
	ssize_t n;
	int r = 0;

	if (!block)
		return -ENOMEM;
	while (r >= 0 && (n = read_block(fd, block, BLOCK_BYTES, offset)) != 0) {
		if (n < 0) {
			r = (int)n;
			break;
		}
		for (ssize_t at = 0; at < n && r >= 0; at += page_bytes) {
			uint8_t *seal = block + at + page_bytes - SEAL_BYTES;

			if (n - at < (ssize_t)page_bytes) {	/* a torn last page */
				*ret_page = (offset + (uint64_t)at) / page_bytes + 1;
				r = -EBADMSG;
				break;
			}
			page_sum(block + at, page_bytes, sum);
			if (write) {
				memcpy(seal, sum, sizeof(sum));
			} else if (memcmp(seal, sum, sizeof(sum))) {
				*ret_page = (offset + (uint64_t)at) / page_bytes + 1;
				r = -EBADMSG;
			}
		}
		if (write && r >= 0)
			r = write_block(fd, block, (size_t)n, offset);
		offset += (uint64_t)n;
	}
	free(block);
	return r;
}

int store_seal(int fd, uint32_t page_bytes)
{
	uint64_t page;

	return walk(fd, page_bytes, true, &page);
}

int store_seal_check(int fd, uint32_t page_bytes, uint64_t *ret_page)
{
	return walk(fd, page_bytes, false, ret_page);
}
