/* SPDX-License-Identifier: Apache-2.0
 * L4  verify.c - compare stacks found by rules with libunwind's, and tell how stacks were taken.
 *
 * The comparison is for test builds (cmake -DLEAKDIFF_VERIFY=ON): it walks every stack twice. Where
 * unw_backtrace() disagrees, libunwind's own cursor, which remembers nothing, decides: if it finds the
 * stack that the rules found, then unw_backtrace() used the rule of code that was unloaded since (it
 * never forgets an address); that is counted apart. Anything else is a difference, without excuse. */
#include "preload/verify.h"

#include <stdatomic.h>
#include <string.h>

#include "preload/config.h"
#include "preload/modules.h"
#include "preload/step.h"
#include "preload/unwind.h"

#define PRINTED_MAX 3u

static _Atomic uint64_t compared, outdated, different;

static void say_frame(uint32_t index, const char *which, void *pc)
{
	uint64_t at = (uint64_t)(uintptr_t)pc;

	for (uint32_t i = ld__modules_count(); i-- > 0;) {
		const struct module *m = ld__modules_get(i);

		if (at >= m->start && at < m->end) {
			ld__say("  %s %u  %s+0x%lx", which, index, m->path,
				(unsigned long)(at - m->base));
			return;
		}
	}
	ld__say("  %s %u  0x%lx", which, index, (unsigned long)at);
}

void ld__verify_stack(const struct step *step, void **buffer, uint32_t depth, void *caller)
{
	void *fast[STEP_DEPTH_MAX];
	int fast_truncated, truncated, count;
	uint32_t n = ld__step_last(step, fast, STEP_DEPTH_MAX, &fast_truncated);

	count = ld__unwind(buffer, (int)depth, caller, &truncated);
	atomic_fetch_add_explicit(&compared, 1, memory_order_relaxed);
	if (n == (uint32_t)count && !fast_truncated == !truncated &&
	    !memcmp(fast, buffer, n * sizeof(fast[0])))
		return;
	count = ld__unwind_slowly(buffer, (int)depth, caller, &truncated);
	if (n == (uint32_t)count && !fast_truncated == !truncated &&
	    !memcmp(fast, buffer, n * sizeof(fast[0]))) {
		atomic_fetch_add(&outdated, 1);
		return;
	}
	if (atomic_fetch_add(&different, 1) >= PRINTED_MAX)
		return;
	ld__say("verify: a stack differs: %u frames by rules (cut: %d), %d by libunwind (cut: %d)", n,
		fast_truncated, count, truncated);
	for (uint32_t i = 0; i < n || i < (uint32_t)count; i++) {
		void *a = i < n ? fast[i] : NULL, *b = i < (uint32_t)count ? buffer[i] : NULL;

		if (a == b) {
			say_frame(i, "both     ", a);
			continue;
		}
		if (a)
			say_frame(i, "rules    ", a);
		if (b)
			say_frame(i, "libunwind", b);
	}
}

void ld__verify_log(void)
{
	struct step_counts counts;

	ld__step_counts(&counts);
	ld__say("stacks: %lu by rules, the same one again not counted (%lu frames stepped, %lu found unchanged, %lu rules)",
		(unsigned long)counts.stacks, (unsigned long)counts.stepped,
		(unsigned long)counts.compared, (unsigned long)counts.rules);
	for (uint32_t i = 0; i < CFI_REASON_COUNT; i++)
		if (counts.handed_over[i])
			ld__say("stacks: %lu handed over to libunwind because %s",
				(unsigned long)counts.handed_over[i], ld__step_reason(i));
#ifdef LEAKDIFF_VERIFY
	ld__say("verify: %lu stacks compared with libunwind's (%lu of them by its cursor), %lu differ",
		(unsigned long)atomic_load(&compared), (unsigned long)atomic_load(&outdated),
		(unsigned long)atomic_load(&different));
#endif
}
