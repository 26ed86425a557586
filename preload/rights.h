/* SPDX-License-Identifier: Apache-2.0
 * L0  rights.h - users, groups and capabilities of one thread, read and taken over. */
#ifndef LEAKDIFF_RIGHTS_H
#define LEAKDIFF_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#define RIGHTS_GROUPS_MAX 1024u

struct rights {
	uint32_t uid[3], gid[3];	/* real, effective, saved */
	uint32_t effective[2], permitted[2], inheritable[2];	/* capabilities */
	uint32_t secure_bits;
	uint32_t group_count;
	uint32_t groups[RIGHTS_GROUPS_MAX];
};

/* Those of the calling thread. Returns false when they do not fit (too many groups). */
bool ld__rights_read(struct rights *ret_rights);

/* Give the calling thread these rights, none more. Returns whether it has them now. */
bool ld__rights_take(const struct rights *rights);

#endif
