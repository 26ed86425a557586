/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_reader.c - the process that reads files of others, so that only it crashes.
 *
 *   who asks --- control: one end of a new socketpair ---> starter --- fork ---> reader
 *      |    <-- control: how the reader ended --------------'                      |
 *      '---------------- requests and replies, symbols_wire.h --------------------'
 *
 * (1) The starter is forked before anything large is in memory, and does nothing but fork readers: a reader
 *     is small, costs no copy of the capture, and another one takes its place at once.
 * (2) Each reader has a socket of its own. Its end is the end of that socket: half a reply is never taken
 *     for a whole one. How it ended comes from the starter.
 * (3) The kernel ends a reader that needs too long (timers) or too much (address space); nobody watches it.
 * (4) When who asks is gone, the sockets end, and starter and reader with them. */
#include "core/symbols_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/symbols_private.h"
#include "core/symbols_sandbox.h"

#define SLACK_MS 10000			/* beyond a request's own limit, before a reader is given up */

struct symbols_reader {
	struct symbols_limits limits;
	pid_t starter;
	int control, socket;		/* -1 = none */
	uint32_t session;
	uint8_t *bytes;			/* of the last reply */
	size_t room;
};

union descriptor { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; };

/* ---- in the starter ---- */

/* Nothing of who asks is held: no file, no terminal, no handler. */
static void let_go(int keep)
{
	const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGTSTP };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t written;
	sigset_t none;

	/* rather this one than the service; if not, then not */
	written = score >= 0 ? write(score, "1000", 4) : 0;
	(void)written;
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		if (signal_number != SIGKILL && signal_number != SIGSTOP)
			signal(signal_number, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int fd = 0; fd < 3; fd++)
		if (fd != keep && (null < 0 || dup2(null, fd) < 0))
			close(fd);
	if ((keep > 3 && syscall(SYS_close_range, 3, keep - 1, 0) < 0) ||
	    syscall(SYS_close_range, keep < 3 ? 3 : keep + 1, ~0u, 0) < 0)
		for (int fd = 3; fd < 65536; fd++)
			if (fd != keep)
				close(fd);
	prctl(PR_SET_NAME, "leakdiff-reader");
}

/* End with the parent. */
static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

/* A descriptor that was sent; -1: the other side is gone. */
static int receive_descriptor(int control)
{
	union descriptor descriptor;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &descriptor,
				  .msg_controllen = sizeof(descriptor) };
	const struct cmsghdr *header;
	ssize_t n;
	int fd;

	do
		n = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static _Noreturn void start_readers(int control, uint64_t memory_bytes)
{
	int fd;

	while ((fd = receive_descriptor(control)) >= 0) {
		pid_t self = getpid(), pid = fork();
		int status = -1;

		if (pid == 0) {
			end_with(self);
			close(control);
			symbols_sandbox_enter(memory_bytes);
			symbols_serve(fd);
			_exit(0);
		}
		close(fd);
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!wire_give(control, &status, sizeof(status)))
			break;
	}
	_exit(0);
}

/* ---- in who asks ---- */

struct symbols_reader *symbols_reader_start(const struct symbols_limits *limits)
{
	static const struct symbols_limits usual = { .cpu_ms = 60000, .wall_ms = 120000, .memory_bytes = 4ull << 30 };
	struct symbols_reader *reader = calloc(1, sizeof(*reader));
	pid_t self = getpid();
	int pair[2];

	if (!reader)
		return NULL;
	reader->limits = limits ? *limits : usual;
	reader->control = reader->socket = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return reader;
	reader->starter = fork();
	if (reader->starter == 0) {
		end_with(self);
		let_go(pair[1]);
		start_readers(pair[1], reader->limits.memory_bytes);
	}
	close(pair[1]);
	if (reader->starter > 0)
		reader->control = pair[0];
	else
		close(pair[0]);
	return reader;
}

struct symbols_reader *symbols_reader_stop(struct symbols_reader *reader)
{
	if (!reader)
		return NULL;
	if (reader->socket >= 0)
		close(reader->socket);
	if (reader->control >= 0)
		close(reader->control);
	if (reader->starter > 0)
		while (waitpid(reader->starter, NULL, 0) < 0 && errno == EINTR)
			;
	free(reader->bytes);
	free(reader);
	return NULL;
}

const struct symbols_limits *symbols_reader_limits(const struct symbols_reader *reader)
{
	return &reader->limits;
}

static bool send_descriptor(int control, int fd)
{
	union descriptor descriptor = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
						    .cmsg_type = SCM_RIGHTS } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &descriptor,
				  .msg_controllen = sizeof(descriptor) };

	memcpy(CMSG_DATA(&descriptor.header), &fd, sizeof(fd));
	return sendmsg(control, &message, MSG_NOSIGNAL) == 1;
}

uint32_t symbols_reader_session(struct symbols_reader *reader)
{
	int pair[2];

	if (reader->socket >= 0)
		return reader->session;
	if (reader->control < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (send_descriptor(reader->control, pair[1])) {
		reader->socket = pair[0];
		reader->session++;
	} else {
		close(pair[0]);
	}
	close(pair[1]);
	return reader->socket >= 0 ? reader->session : 0;
}

/* Wait for something to read. */
static bool wait_readable(int fd, uint32_t ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&pollfd, 1, ms > INT32_MAX ? INT32_MAX : (int)ms);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

static bool take_reply(struct symbols_reader *reader, struct symbols_reply *ret_reply)
{
	if (!wire_take(reader->socket, ret_reply, sizeof(*ret_reply)) || ret_reply->bytes > WIRE_REPLY_MAX)
		return false;
	if (ret_reply->bytes > reader->room) {
		uint8_t *wider = realloc(reader->bytes, ret_reply->bytes);

		if (!wider)
			return false;
		reader->bytes = wider;
		reader->room = ret_reply->bytes;
	}
	return wire_take(reader->socket, reader->bytes, ret_reply->bytes);
}

/* Close the socket of a reader and ask the starter how it ended. */
static int how_it_ended(struct symbols_reader *reader, bool in_time, int *ret_signal)
{
	int status;

	close(reader->socket);
	reader->socket = -1;
	*ret_signal = 0;
	/* a reader that not even the kernel's timers end waits for a device: nobody is sent in its place */
	if (!in_time || !wait_readable(reader->control, SLACK_MS) ||
	    !wire_take(reader->control, &status, sizeof(status))) {
		close(reader->control);
		reader->control = -1;
		kill(reader->starter, SIGKILL);
		return in_time ? -SYMBOLS_END_GONE : -SYMBOLS_END_TIME;
	}
	if (status < 0)
		return -SYMBOLS_END_GONE;
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGPROF || WTERMSIG(status) == SIGALRM))
		return -SYMBOLS_END_TIME;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SYMBOLS_EXIT_MEMORY)
		return -SYMBOLS_END_MEMORY;
	*ret_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return -SYMBOLS_END_CRASH;
}

int symbols_reader_ask(struct symbols_reader *reader, const struct symbols_request *request, const void *payload,
		       struct symbols_reply *ret_reply, const uint8_t **ret_bytes, int *ret_signal)
{
	bool in_time = true;

	if (!symbols_reader_session(reader))
		return -SYMBOLS_END_GONE;
	if (wire_give(reader->socket, request, sizeof(*request)) && wire_give(reader->socket, payload, request->bytes)) {
		in_time = wait_readable(reader->socket, request->wall_ms + SLACK_MS);
		if (in_time && take_reply(reader, ret_reply)) {
			*ret_bytes = reader->bytes;
			return 0;
		}
	}
	return how_it_ended(reader, in_time, ret_signal);
}
