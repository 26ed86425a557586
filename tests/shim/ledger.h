/* SPDX-License-Identifier: Apache-2.0
 * ledger.h - what a test program believes is allocated, kept without the library's help.
 *
 * A program prints "ledger BLOCKS BYTES MAPPINGS MAPPED" at its end. Its driver runs it twice, with
 * and without work, and the difference of the library's final line must equal that of the ledger. */
#ifndef LEAKDIFF_LEDGER_H
#define LEAKDIFF_LEDGER_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int64_t ledger_blocks, ledger_bytes, ledger_mappings, ledger_mapped;

/* any thread */
static inline void ledger_add(int64_t blocks, int64_t bytes)
{
	__atomic_add_fetch(&ledger_blocks, blocks, __ATOMIC_RELAXED);
	__atomic_add_fetch(&ledger_bytes, bytes, __ATOMIC_RELAXED);
}

/* write(2), not stdio: its buffer would be one more block */
static inline void ledger_print(void)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "ledger %ld %ld %ld %ld\n", (long)ledger_blocks,
			 (long)ledger_bytes, (long)ledger_mappings, (long)ledger_mapped);

	if (write(STDOUT_FILENO, text, (size_t)n) != n)
		_exit(3);
}

static inline void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(3);
}

/* A block that stays: the compiler must not see that nobody uses it. */
static inline void ledger_keep(void *block, int64_t bytes)
{
	__asm__ volatile("" : : "r"(block) : "memory");
	ledger_add(1, bytes);
}

static inline uint64_t ledger_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#endif
