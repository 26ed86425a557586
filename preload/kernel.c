/* SPDX-License-Identifier: Apache-2.0
 * L1  kernel.c - signal handlers, small files, and numbers as text, without libc. */
#include "kernel.h"

#include <errno.h>
#include <sys/resource.h>

#if !defined(__x86_64__)
#error "the snapshot half of the library knows x86-64 only"
#endif

__asm__(".text\n"
	".globl ld__kernel_restorer\n"
	".hidden ld__kernel_restorer\n"
	".type ld__kernel_restorer, @function\n"
	"	nop\n"			/* unwinders look one byte before the return address */
	"ld__kernel_restorer:\n"
	"	mov $15, %eax\n"	/* rt_sigreturn */
	"	syscall\n"
	".size ld__kernel_restorer, . - ld__kernel_restorer\n");

#define RESTORER_FLAG 0x04000000ul	/* SA_RESTORER, which libc's headers hide */

int ld__kernel_sigaction(int sig, const struct kernel_sigaction *action,
			 struct kernel_sigaction *ret_old)
{
	struct kernel_sigaction copy;

	if (action) {
		copy = *action;
		copy.flags |= RESTORER_FLAG;
		copy.restorer = ld__kernel_restorer;
	}
	return (int)ld__sys4(SYS_rt_sigaction, sig, action ? &copy : NULL, ret_old, 8);
}

void ld__kernel_close_from(unsigned first)
{
	struct rlimit limit = { 0, 0 };

	if (ld__sys3(SYS_close_range, first, ~0u, 0) != -ENOSYS)
		return;
	ld__sys2(SYS_getrlimit, RLIMIT_NOFILE, &limit);	/* before Linux 5.9 */
	for (unsigned fd = first; fd < limit.rlim_cur && fd < 1u << 20; fd++)
		kernel_close((int)fd);
}

size_t ld__kernel_slurp(int folder, const char *path, char *buffer, size_t capacity)
{
	int fd = kernel_openat(folder, path, O_RDONLY, 0);
	size_t used = 0;

	buffer[0] = 0;
	if (fd < 0)
		return 0;
	while (used < capacity - 1) {
		long n = kernel_read(fd, buffer + used, capacity - 1 - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	kernel_close(fd);
	buffer[used] = 0;
	return used;
}

const char *ld__text_value(const char *text, const char *key)
{
	while (*text && !text_starts(text, key))
		while (*text && *text++ != '\n')
			;
	if (!*text)
		return NULL;
	text += text_length(key);
	while (*text == ' ' || *text == '\t')
		text++;
	return text;
}

struct out {
	char *buffer;
	size_t capacity, length;
};

static void put(struct out *out, char c)
{
	if (out->length + 1 < out->capacity)
		out->buffer[out->length++] = c;
}

static void put_number(struct out *out, uint64_t value, unsigned base)
{
	char digits[24];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put(out, digits[--n]);
}

size_t ld__text_format(char *buffer, size_t capacity, size_t length, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	length = ld__text_vformat(buffer, capacity, length, format, args);
	va_end(args);
	return length;
}

size_t ld__text_vformat(char *buffer, size_t capacity, size_t length, const char *format,
			va_list args)
{
	struct out out = { buffer, capacity, length };

	for (const char *f = format; *f; f++) {
		if (*f != '%') {
			put(&out, *f);
			continue;
		}
		switch (*++f) {
		case 's':
			for (const char *s = va_arg(args, const char *); s && *s; s++)
				put(&out, *s);
			break;
		case 'd': {
			int value = va_arg(args, int);

			if (value < 0)
				put(&out, '-');
			put_number(&out, value < 0 ? (uint64_t) - (int64_t)value : (uint64_t)value,
				   10);
			break;
		}
		case 'u':
			put_number(&out, va_arg(args, unsigned), 10);
			break;
		case 'l':
			put_number(&out, va_arg(args, unsigned long), *++f == 'x' ? 16 : 10);
			break;
		default:
			put(&out, *f);
		}
	}
	if (capacity)
		buffer[out.length] = 0;
	return out.length;
}

uint64_t ld__text_decimal(const char **at)
{
	uint64_t value = 0;

	while (**at >= '0' && **at <= '9')
		value = value * 10 + (uint64_t)(*(*at)++ - '0');
	return value;
}

uint64_t ld__text_hex(const char **at)
{
	uint64_t value = 0;

	for (;; (*at)++) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}
