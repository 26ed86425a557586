/* SPDX-License-Identifier: Apache-2.0
 * L9  hooks_identity.c - calls that change who the process is: the agent steps aside for them.
 *
 * Users, groups and capabilities belong to threads. libc makes every thread of a process repeat such
 * a call and ends the process with abort() when they do not all fare alike; and a program of one
 * thread may well have given that one rights of its own before, by prctl or raw calls (setpriv does).
 * A guest that fares otherwise would be its end, and one that kept what the service gave up would
 * be a hole. So the agent first takes over the calling thread's rights, to the last bit, and then
 * repeats the call like any thread. If it cannot have them it ends, and begins anew afterwards. */
#include <errno.h>
#include <grp.h>
#include <sys/types.h>
#include <unistd.h>

#include "agent.h"
#include "guard.h"
#include "hooks.h"
#include "process.h"
#include "real.h"
#include "sys.h"

int capset(void *header, const void *data);

/* Returns whether the agent had to end. */
static bool mirror(void)
{
	bool ended;

	ld__guard_enter();
	if (!ld__real.setuid)
		ld__real_resolve();
	/* a vfork child changes nobody's rights but its own */
	ended = *ld__switch != SWITCH_NONE && ld__process_pid() == ld__sys_getpid() && ld__agent_mirror_rights();
	ld__guard_leave();
	return ended;
}

static void come_back(bool ended)
{
	int saved_errno = errno;

	if (ended && ld__capture_on())
		ld__process_agent_wanted();	/* at the next event: several such calls may follow */
	else if (ended)
		ld__agent_start();		/* dormant: no event will ever wake it */
	errno = saved_errno;
}

#define IDENTITY_HOOK(name, parameters, arguments)                                                  \
	LD_EXPORT int name parameters                                                               \
	{                                                                                           \
		bool ended = mirror();                                                              \
		int r = ld__real.name arguments;                                                    \
                                                                                                    \
		come_back(ended);                                                                   \
		return r;                                                                           \
	}

IDENTITY_HOOK(setuid, (uid_t uid), (uid))
IDENTITY_HOOK(setgid, (gid_t gid), (gid))
IDENTITY_HOOK(seteuid, (uid_t uid), (uid))
IDENTITY_HOOK(setegid, (gid_t gid), (gid))
IDENTITY_HOOK(setreuid, (uid_t real, uid_t effective), (real, effective))
IDENTITY_HOOK(setregid, (gid_t real, gid_t effective), (real, effective))
IDENTITY_HOOK(setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
IDENTITY_HOOK(setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
IDENTITY_HOOK(setgroups, (size_t count, const gid_t *groups), (count, groups))
IDENTITY_HOOK(initgroups, (const char *user, gid_t group), (user, group))

/* This one concerns the calling thread alone. What it gave up the guest must not keep. */
LD_EXPORT int capset(void *header, const void *data)
{
	int r, saved_errno;

	if (!ld__real.capset)
		mirror();
	r = ld__real.capset(header, data);
	saved_errno = errno;
	if (r == 0)
		come_back(mirror());
	errno = saved_errno;
	return r;
}
