/* SPDX-License-Identifier: Apache-2.0
 * L0  maps.h - /proc/self/maps and smaps as an array, and which of their pages hold anything. */
#ifndef LEAKDIFF_MAPS_H
#define LEAKDIFF_MAPS_H

#include <stdbool.h>
#include <stdint.h>

#define MAP_NUMBER_UNKNOWN UINT64_MAX

enum map_flags {
	MAP_DEVICE = 1,			/* memory of a device: never touched */
	MAP_DONTFORK = 2,		/* the child has no copy */
};

struct map_entry {
	uint64_t start, end, offset;
	uint64_t rss_bytes, pss_bytes, swap_bytes, anon_bytes;	/* smaps only, else MAP_NUMBER_UNKNOWN */
	uint32_t name;			/* offset in names; 0 = none */
	uint8_t prot, shared, file, flags;	/* PROT_*, bool, bool, enum map_flags */
};

struct maps {
	struct map_entry *entries;
	uint32_t count, capacity;
	uint32_t refused;		/* mappings beyond the capacity */
	char *names;
	uint32_t names_used, names_capacity;
	uint64_t private_bytes;		/* smaps only: resident pages that nobody else has mapped, */
	uint64_t lazy_free_bytes;	/* pages that the kernel may take back without asking (MADV_FREE), */
	uint64_t huge_bytes;		/* and anonymous memory in huge pages: sums of all mappings */
};

/* Make a table in our arena, fit for about `count` mappings; names_bytes: room for their names. */
int ld__maps_new(struct maps *maps, uint32_t count, uint32_t names_bytes);
void ld__maps_free(struct maps *maps);

/* Read /proc/self/maps, or smaps if `numbers`. Returns 0 or a negative errno; -E2BIG: the table is too
 * small, `refused` mappings are missing. Neither allocates nor uses libc. */
int ld__maps_read(struct maps *maps, int proc_fd, bool numbers);

/* The entry that holds addr, or NULL. */
const struct map_entry *ld__maps_find(const struct maps *maps, uint64_t addr);

/* A run of pages that hold something. */
struct span {
	uint64_t start, end;
};

struct spans {
	struct span *items;
	uint64_t count, capacity;
	uint64_t refused_pages;		/* beyond the capacity */
};

/* Append the runs of pages of [start, end) that this process has in memory or swap, ascending.
 * shared: ask what the kernel has cached instead (a forked child's table of shared pages is empty).
 * private: file pages that were never written hold nothing of the process and are left out.
 * Returns the bytes appended or a negative errno. pagemap_fd: /proc/self/pagemap or negative. */
int64_t ld__spans_add(struct spans *spans, int pagemap_fd, uint64_t start, uint64_t end,
		      bool shared);

/* For tests: do without the ioctl of newer kernels. */
extern bool ld__spans_old_kernel;

#endif
