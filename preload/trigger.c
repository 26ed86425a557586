/* SPDX-License-Identifier: Apache-2.0
 * L3  trigger.c - a snapshot before the OOM killer comes: the threshold on resident memory.
 *
 * LEAKDIFF_AT_RSS is a size, or a percentage of the smallest memory limit of the control groups that
 * the process is in, else of the machine's memory. It fires when it is crossed, and again each time
 * memory has grown by another tenth; falling well below the threshold arms it anew. */
#include <sys/sysinfo.h>

#include "agent_private.h"
#include "cgroup.h"
#include "config.h"
#include "kernel.h"
#include "snapshot_private.h"

#define LOOK_NS NS_PER_S

static uint64_t threshold;		/* 0 = not computed yet */
static uint64_t armed_at;		/* fires at this size */
static uint64_t last_look_ns;

static uint64_t compute_threshold(void)
{
	const struct config *config = ld__config();
	struct sysinfo machine;
	uint64_t limit, memory;

	if (config->at_rss_bytes)
		return config->at_rss_bytes;
	if (ld__sys1(SYS_sysinfo, &machine) < 0)
		return UINT64_MAX;
	memory = (uint64_t)machine.totalram * machine.mem_unit;
	limit = ld__cgroup_limit(ld__agent_proc_fd());
	if (limit > memory)
		limit = memory;
	return limit / 100 * config->at_rss_percent;
}

bool ld__trigger_rss_wanted(void)
{
	return ld__config()->at_rss_bytes || ld__config()->at_rss_percent;
}

bool ld__trigger_rss_reached(void)
{
	uint64_t now = kernel_now_ns(), shared, resident;

	if (!ld__trigger_rss_wanted() || now - last_look_ns < LOOK_NS)
		return false;
	last_look_ns = now;
	if (!threshold)
		armed_at = threshold = compute_threshold();
	resident = ld__snapshot_statm(ld__agent_proc_fd(), &shared);
	if (resident >= armed_at) {
		armed_at = resident + resident / 10;
		return true;
	}
	if (resident < threshold - threshold / 10)
		armed_at = threshold;
	return false;
}

void ld__trigger_after_fork_child(void)
{
	threshold = 0;			/* the child may be put into another group */
	last_look_ns = 0;
}
