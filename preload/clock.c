/* SPDX-License-Identifier: Apache-2.0
 * L1  clock.c - choice of the birth clock, and its relation to time. */
#include "preload/clock.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "preload/clock_inline.h"
#include "preload/stream.h"
#include "preload/sys.h"

uint64_t ld__clock_counter;
LD_HOT uint64_t ld__clock_floor = CLOCK_SHARED | CLOCK_NO_FLOOR;
#if defined(__x86_64__)
LD_HOT uint32_t ld__clock_tsc;
#endif
static struct stream_clock first;

#if defined(__x86_64__)
/* A kernel that measured the TSC and found it wanting uses another source. Virtual machines use the
 * hypervisor's own clock, which is built on the TSC, so only the old timers speak against it. */
static bool kernel_distrusts_tsc(void)
{
	char text[32] = "";
	long fd, n;

	fd = ld__sys4(SYS_openat, AT_FDCWD,
		      "/sys/devices/system/clocksource/clocksource0/current_clocksource",
		      O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	n = ld__sys3(SYS_read, fd, text, sizeof(text) - 1);
	ld__sys1(SYS_close, fd);
	return n > 0 && (!strncmp(text, "hpet", 4) || !strncmp(text, "acpi_pm", 7) ||
			 !strncmp(text, "jiffies", 7) || !strncmp(text, "refined-jiffies", 15));
}

static bool tsc_is_invariant(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}
#endif

void ld__clock_init(void)
{
#if defined(__x86_64__)
	ld__clock_tsc = tsc_is_invariant() && !kernel_distrusts_tsc();
#endif
	ld__clock_share(false);
	ld__clock_sample(&first);
}

void ld__clock_share(bool by_threads)
{
	if (by_threads || !ld__clock_is_time())
		__atomic_fetch_or(&ld__clock_floor, CLOCK_SHARED, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&ld__clock_floor, ~CLOCK_SHARED, __ATOMIC_SEQ_CST);
}

/* Unless it is higher already, as it is while nobody keeps it. */
static void raise_floor(uint64_t now)
{
	uint64_t word = ld__clock_floor_word();

	while ((word & ~CLOCK_SHARED) < now &&
	       !__atomic_compare_exchange_n(&ld__clock_floor, &word, now | (word & CLOCK_SHARED), true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
}

void ld__clock_keep(void)
{
	uint64_t word = ld__clock_floor_word();

	if (!ld__clock_is_time())
		return;
	do {
		if ((word & ~CLOCK_SHARED) != CLOCK_NO_FLOOR) {
			ld__clock_now();
			return;
		}
	} while (!__atomic_compare_exchange_n(&ld__clock_floor, &word, ld__clock_read() | (word & CLOCK_SHARED), true,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
}

void ld__clock_drop(void)
{
	__atomic_fetch_or(&ld__clock_floor, CLOCK_NO_FLOOR, __ATOMIC_SEQ_CST);
}

uint64_t ld__clock_now(void)
{
	uint64_t now;

#if defined(__x86_64__)
	__builtin_ia32_lfence();
#endif
	now = ld__clock_read();
	raise_floor(now);
#if defined(__x86_64__)
	__builtin_ia32_lfence();	/* the caller's loads come after the reading: pairs with drain.c */
#endif
	return now;
}

bool ld__clock_is_time(void)
{
	return ld__clock_runs();
}

void ld__clock_sample(struct stream_clock *ret_sample)
{
	struct stream_clock best = { 0, 0, 0 };
	uint64_t best_width = UINT64_MAX;

	/* the narrowest of three brackets: an interruption between the readings would skew times */
	for (int i = 0; i < 3; i++) {
		uint64_t before = ld__clock_now(), after;
		int64_t real = (int64_t)ld__sys_clock_ns(CLOCK_REALTIME);
		int64_t monotonic = (int64_t)ld__sys_clock_ns(CLOCK_MONOTONIC);

		after = ld__clock_now();
		if (after - before < best_width) {
			best_width = after - before;
			best.birth = before + (after - before) / 2;
			best.realtime_ns = real;
			best.monotonic_ns = monotonic;
		}
	}
	*ret_sample = best;
}

uint64_t ld__clock_since_ns(uint64_t mark)
{
	uint64_t now = ld__clock_mark(), now_ns = ld__sys_clock_ns(CLOCK_MONOTONIC);

	if (now <= mark)
		return 0;
	if (!ld__clock_is_time())
		return now - mark;
	if (now <= first.birth || now_ns <= (uint64_t)first.monotonic_ns)
		return 0;
	return (uint64_t)((double)(now - mark) * (double)(now_ns - (uint64_t)first.monotonic_ns) / (double)(now - first.birth));
}

void ld__clock_first(struct stream_clock *ret_sample)
{
	*ret_sample = first;
}
