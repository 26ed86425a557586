/* SPDX-License-Identifier: Apache-2.0
 * L0  sys.h - system calls without libc: no errno, no cancellation point, no interposed name.
 *
 * The hooks run inside malloc of a program that may be cancelled, forked or signalled at any
 * instruction, and the names mmap, munmap and fork are our own hooks. So whatever the library asks
 * of the kernel goes through here. Every call returns the kernel's value: >= 0 or a negative errno. */
#ifndef LEAKDIFF_SYS_H
#define LEAKDIFF_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

static inline long ld__sys(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "add the system call sequence of this machine"
#endif
}

#define ld__sys0(n) ld__sys((n), 0, 0, 0, 0, 0, 0)
#define ld__sys1(n, a) ld__sys((n), (long)(a), 0, 0, 0, 0, 0)
#define ld__sys2(n, a, b) ld__sys((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define ld__sys3(n, a, b, c) ld__sys((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define ld__sys4(n, a, b, c, d) ld__sys((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define ld__sys5(n, a, b, c, d, e) \
	ld__sys((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define ld__sys6(n, a, b, c, d, e, f) \
	ld__sys((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Did a call that returns an address fail? */
static inline int ld__sys_failed(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095L;
}

static inline uint32_t ld__sys_gettid(void)
{
	return (uint32_t)ld__sys0(SYS_gettid);
}

static inline uint32_t ld__sys_getpid(void)
{
	return (uint32_t)ld__sys0(SYS_getpid);
}

/* The kernel's own clock: clock_gettime(3) may be another library's (libfaketime), which allocates. */
static inline uint64_t ld__sys_clock_ns(clockid_t id)
{
	struct timespec t = { 0, 0 };

	ld__sys2(SYS_clock_gettime, id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void ld__sys_sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	ld__sys2(SYS_nanosleep, &t, 0);
}

#endif
