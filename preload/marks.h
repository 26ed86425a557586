/* SPDX-License-Identifier: Apache-2.0
 * L2  marks.h - a set of addresses in one bit for 8 bytes, which numbers its members in ascending order.
 *
 * Snapshot child only. Memory: 1/64 of the address ranges that hold members, and 4 bytes for each of
 * their pages. */
#ifndef LEAKDIFF_MARKS_H
#define LEAKDIFF_MARKS_H

#include <stdbool.h>
#include <stdint.h>

struct marks_area {			/* one GiB */
	uint64_t *bits;			/* NULL: no member */
	uint32_t *before;		/* of each page in [first, last]: the number of its first member */
	uint32_t first, last;		/* pages that have members, from the area's beginning */
	uint32_t low, high;		/* numbers of the first member, and one past the last */
	bool listed;
};

struct marks {
	struct marks_area *areas;	/* by address >> 30 */
	uint32_t *list;			/* areas in use, ascending once numbered */
	uint32_t list_count;
	bool popcnt;			/* the processor counts bits */
	uint64_t count;
};

/* Returns 0 or -ENOMEM. */
int ld__marks_new(struct marks *marks);
void ld__marks_free(struct marks *marks);

/* Add an address, a multiple of 8. Returns 1, or 0 if it is there already; -EINVAL when it is no user
 * address, -ENOMEM. */
int ld__marks_add(struct marks *marks, uint64_t addr);

/* Questions about addresses up to `end` will come although nothing is added there. Returns 0 or -ENOMEM. */
int ld__marks_reach(struct marks *marks, uint64_t addr, uint64_t end);

bool ld__marks_has(const struct marks *marks, uint64_t addr);

/* The first member that is >= addr; 0 = there is none. Before or after numbering. */
uint64_t ld__marks_next(const struct marks *marks, uint64_t addr);

/* Number all members. page, if given, is asked for each page that has members, ascending: it gets the
 * page's address and the number at hand and returns the number of the page's first member (not a smaller
 * one). Returns one past the last number. */
uint32_t ld__marks_number(struct marks *marks,
			  uint32_t (*page)(uint64_t addr, uint32_t number, void *data), void *data);

/* One past the number of the last member that is <= addr, as far as its page and those before it in use
 * tell; 0 = there is none. What page() added before that page counts as a member. */
uint32_t ld__marks_upto(const struct marks *marks, uint64_t addr);

/* The number of addr, UINT32_MAX = it is no member. */
uint32_t ld__marks_find(const struct marks *marks, uint64_t addr);

/* The number of a member; addr must be one. */
uint32_t ld__marks_number_of(const struct marks *marks, uint64_t addr);

/* The member with this number; 0 = there is none. Only if no page() changed the numbers. */
uint64_t ld__marks_member(const struct marks *marks, uint32_t number);

#endif
