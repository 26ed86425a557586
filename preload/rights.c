/* SPDX-License-Identifier: Apache-2.0
 * L2  rights.c - see rights.h. The kernel's calls, which concern the calling thread alone; libc's
 * would concern all. */
#include "rights.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>

#include "kernel.h"

static bool read_capabilities(struct rights *rights)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (ld__sys2(SYS_capget, &head, data) < 0)
		return false;
	for (int i = 0; i < 2; i++) {
		rights->effective[i] = data[i].effective;
		rights->permitted[i] = data[i].permitted;
		rights->inheritable[i] = data[i].inheritable;
	}
	return true;
}

bool ld__rights_read(struct rights *ret_rights)
{
	long groups = ld__sys2(SYS_getgroups, RIGHTS_GROUPS_MAX, ret_rights->groups);
	long bits = ld__sys5(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);

	if (groups < 0 || bits < 0 || !read_capabilities(ret_rights))
		return false;
	ret_rights->group_count = (uint32_t)groups;
	ret_rights->secure_bits = (uint32_t)bits;
	ld__sys3(SYS_getresuid, &ret_rights->uid[0], &ret_rights->uid[1], &ret_rights->uid[2]);
	ld__sys3(SYS_getresgid, &ret_rights->gid[0], &ret_rights->gid[1], &ret_rights->gid[2]);
	return true;
}

static bool same(const struct rights *a, const struct rights *b)
{
	return !memcmp(a, b, __builtin_offsetof(struct rights, groups)) &&
	       !memcmp(a->groups, b->groups, a->group_count * sizeof(a->groups[0]));
}

static bool has(const struct rights *rights)
{
	static struct rights now;

	return ld__rights_read(&now) && same(&now, rights);
}

bool ld__rights_take(const struct rights *rights)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (has(rights))
		return true;
	ld__sys2(SYS_setgroups, rights->group_count, rights->groups);
	ld__sys3(SYS_setresgid, rights->gid[0], rights->gid[1], rights->gid[2]);
	ld__sys5(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);	/* capabilities are set one by one below */
	ld__sys3(SYS_setresuid, rights->uid[0], rights->uid[1], rights->uid[2]);
	for (int i = 0; i < 2; i++) {
		data[i].effective = rights->effective[i] |
				    (i == 0 ? rights->permitted[0] & (1u << CAP_SETPCAP) : 0);
		data[i].permitted = rights->permitted[i];
		data[i].inheritable = rights->inheritable[i];
	}
	ld__sys2(SYS_capset, &head, data);
	ld__sys5(SYS_prctl, PR_SET_KEEPCAPS, !!(rights->secure_bits & SECBIT_KEEP_CAPS), 0, 0, 0);
	ld__sys5(SYS_prctl, PR_SET_SECUREBITS, rights->secure_bits, 0, 0, 0);
	data[0].effective = rights->effective[0];
	ld__sys2(SYS_capset, &head, data);
	return has(rights);
}
