/* SPDX-License-Identifier: Apache-2.0
 * L0  cgroup.h - what the control groups of the process say about memory. Agent only. */
#ifndef LEAKDIFF_CGROUP_H
#define LEAKDIFF_CGROUP_H

#include <stdint.h>

#define CGROUP_UNKNOWN UINT64_MAX

/* Of the whole group, all its processes together; each may be CGROUP_UNKNOWN. */
struct cgroup_memory {
	uint64_t current_bytes, max_bytes, anon_bytes, file_bytes, kernel_bytes;
};

/* The smallest memory limit of the groups that the process is in; CGROUP_UNKNOWN = none. */
uint64_t ld__cgroup_limit(int proc_fd);

/* What the process's own group (version 2, else version 1's memory group) uses. max is the limit above. */
void ld__cgroup_read(int proc_fd, struct cgroup_memory *ret);

#endif
