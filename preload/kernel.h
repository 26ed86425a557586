/* SPDX-License-Identifier: Apache-2.0
 * L1  kernel.h - the system calls of the snapshot half by name, on top of sys.h.
 *
 * The agent, the tracer (which shares the agent's thread pointer) and the snapshot child (whose libc
 * is a copy that was frozen at a random instruction) may use nothing of libc that keeps state. Every
 * function here returns what the kernel returned: >= 0, or a negative errno. */
#ifndef LEAKDIFF_KERNEL_H
#define LEAKDIFF_KERNEL_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "sys.h"

#define PAGE_BYTES 4096ul
#define PAGE_UP(x) (((uint64_t)(x) + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1))
#define PAGE_DOWN(x) ((uint64_t)(x) & ~(uint64_t)(PAGE_BYTES - 1))
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

static inline int kernel_tgkill(int pid, int tid, int sig)
{
	return (int)ld__sys3(SYS_tgkill, pid, tid, sig);
}
static inline int kernel_close(int fd)
{
	return (int)ld__sys1(SYS_close, fd);
}
static inline int kernel_openat(int folder, const char *path, int flags, int mode)
{
	return (int)ld__sys4(SYS_openat, folder, path, flags | O_CLOEXEC, mode);
}
static inline long kernel_read(int fd, void *buffer, size_t bytes)
{
	return ld__sys3(SYS_read, fd, buffer, bytes);
}
static inline long kernel_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
	return ld__sys4(SYS_pread64, fd, buffer, bytes, offset);
}
static inline long kernel_write(int fd, const void *data, size_t bytes)
{
	return ld__sys3(SYS_write, fd, data, bytes);
}
static inline long kernel_futex(uint32_t *word, int op, uint32_t value,
				const struct timespec *timeout)
{
	return ld__sys6(SYS_futex, word, op, value, timeout, 0, 0);
}
/* A whole small file, NUL-terminated, at most capacity - 1 bytes. Returns how many, 0 when it cannot be had. */
size_t ld__kernel_slurp(int folder, const char *path, char *buffer, size_t capacity);
/* Close all descriptors from `first` on. */
#define kernel_close_from ld__kernel_close_from
void ld__kernel_close_from(unsigned first);

_Noreturn static inline void kernel_exit_group(int status)
{
	for (;;)
		ld__sys1(SYS_exit_group, status);
}

/* Zeroed private memory that nobody else knows of; NULL when refused. Nothing is committed before
 * it is touched, so generous reservations cost address space only. */
static inline void *kernel_map(uint64_t bytes)
{
	long r = ld__sys6(SYS_mmap, 0, PAGE_UP(bytes), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return ld__sys_failed(r) ? NULL : (void *)r;
}
static inline void kernel_unmap(void *start, uint64_t bytes)
{
	if (start)
		ld__sys2(SYS_munmap, start, PAGE_UP(bytes));
}

#define kernel_clock_ns ld__sys_clock_ns
static inline uint64_t kernel_now_ns(void)
{
	return kernel_clock_ns(CLOCK_MONOTONIC);
}

/* The kernel's own sigaction: libc's insists on its restorer and may be interposed. */
struct kernel_sigaction {
	void *handler;			/* SIG_DFL, SIG_IGN or void (*)(int, siginfo_t *, void *) */
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};
void ld__kernel_restorer(void);
int ld__kernel_sigaction(int sig, const struct kernel_sigaction *action,
			 struct kernel_sigaction *ret_old);

static inline int kernel_sigmask(int how, const uint64_t *set, uint64_t *ret_old)
{
	return (int)ld__sys4(SYS_rt_sigprocmask, how, set, ret_old, 8);
}

/* Text without libc: nothing here may resolve to a name that the service interposes. */
static inline size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}
static inline bool text_same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}
static inline bool text_starts(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}
static inline const char *text_base_name(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

/* What stands behind `key` at the start of a line, blanks left out; NULL without such a line. */
const char *ld__text_value(const char *text, const char *key);

/* Append to a fixed buffer, always NUL-terminated, cut when full. format: %s %d %u (32 bits),
 * %lu %lx (64 bits), %%. Returns the new length. */
size_t ld__text_format(char *buffer, size_t capacity, size_t length, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

size_t ld__text_vformat(char *buffer, size_t capacity, size_t length, const char *format,
			va_list args);

/* Read a decimal or hexadecimal number, move *at behind it; 0 where there is none. */
uint64_t ld__text_decimal(const char **at);
uint64_t ld__text_hex(const char **at);

#endif
