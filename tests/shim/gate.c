/* SPDX-License-Identifier: Apache-2.0
 * gate.c - preloaded behind the library: holds a program before its main() until the test lets it go.
 *
 * For programs that begin their work at once and must be woken before it (tests/modes.py). TEST_GATE names an
 * abstract socket; who listens there learns from the kernel which process it is, whatever its namespace calls it,
 * and lets it go with one byte. Nobody there, or no byte for a minute: the program goes on.
 * SHARED
 * LIBS dl
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

typedef int (*main_function)(int, char **, char **);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

int __libc_start_main(main_function run, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*loader_fini)(void), void *stack_end);

static main_function program;

static void wait_at_gate(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval minute = { .tv_sec = 60 };
	size_t length = strlen(name);
	int gate = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	if (gate < 0 || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path + 1, name, length);
	setsockopt(gate, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
	if (connect(gate, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0)
		while (read(gate, &byte, 1) < 0 && errno == EINTR)
			;
	close(gate);
}

static int gated_main(int argc, char **argv, char **environment)
{
	const char *name = getenv("TEST_GATE");
	int saved_errno = errno;

	if (name)
		wait_at_gate(name);
	errno = saved_errno;
	return program(argc, argv, environment);
}

int __libc_start_main(main_function run, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*loader_fini)(void), void *stack_end)
{
	void *symbol = dlsym(RTLD_NEXT, "__libc_start_main");
	start_function start;

	memcpy(&start, &symbol, sizeof(start));
	program = run;
	return start(gated_main, argc, argv, init, fini, loader_fini, stack_end);
}
