/* SPDX-License-Identifier: Apache-2.0
 * L2  target_ask.c - one request over the control socket; see target.h and preload/protocol.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/target.h"
#include "core/text.h"

#define BEGIN_NS 1500000000u		/* what a process may take from its start to listening */
#define CLOSE_MS 500			/* what its agent may take from its answer to closing the connection */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In another user namespace root is nobody: there root asks in the name of the process's user. */
static bool other_users(pid_t pid)
{
	char path[64];
	struct stat own, other;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return stat("/proc/self/ns/user", &own) == 0 && stat(path, &other) == 0 &&
	       own.st_ino != other.st_ino;
}

static int connect_as(const struct target *target, int fd, const struct sockaddr_un *address,
		      socklen_t bytes)
{
	bool as_user = geteuid() == 0 && target->uid != 0 && other_users(target->pid);
	int error;

	if (as_user && seteuid(target->uid) < 0)
		return -errno;
	error = connect(fd, (const struct sockaddr *)address, bytes) < 0 ? -errno : 0;
	if (as_user && seteuid(0) < 0)
		return -errno;
	return error;
}

/* By the file in the folder, relative to it so that no path is too long; or by the abstract name. */
static int connect_to(const struct target *target, bool by_file)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), here = -1, r;

	if (fd < 0)
		return -errno;
	if (by_file) {
		snprintf(address.sun_path, sizeof(address.sun_path), "%d" CONTROL_SOCKET_SUFFIX,
			 (int)target->inner_pid);
		here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = fchdir(target->folder_fd) < 0
			    ? -errno
			    : connect_as(target, fd, &address, sizeof(address));
		if (here >= 0) {
			if (fchdir(here) < 0 && r == 0)
				r = -errno;
			close(here);
		}
	} else {
		int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
				 CONTROL_ABSTRACT_PREFIX "%d", (int)target->inner_pid);

		r = connect_as(target, fd, &address,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Is the other end really this process? An abstract name is free for anyone. */
static bool is_target(int fd, const struct target *target)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	       peer.pid == target->pid;
}

static int connect_anyhow(const struct target *target)
{
	int fd = target->folder_fd >= 0 ? connect_to(target, true) : -ENOENT;

	if (fd < 0) {
		int by_name = connect_to(target, false);

		if (by_name >= 0 || fd == -ENOENT)
			fd = by_name;
	}
	if (fd >= 0 && !is_target(fd, target)) {
		close(fd);
		fd = -ECONNREFUSED;
	}
	return fd;
}

static int send_request(int fd, const struct control_request *request, int passed_fd)
{
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
	struct iovec part = { (void *)(uintptr_t)request, sizeof(*request) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (passed_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &passed_fd, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message. Returns its kind, or a negative errno. */
static int receive(int fd, uint64_t deadline_ns, const struct target *target, char **ret_text)
{
	struct { struct control_message head; char text[CONTROL_MESSAGE_MAX]; } message;
	ssize_t got;

	for (;;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		int r = poll(&ready, 1, 250);

		if (r > 0)
			break;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (kill(target->pid, 0) < 0 && errno == ESRCH)
			return -ESRCH;
		if (now_ns() >= deadline_ns || target_is_stopped(target))
			return -ETIMEDOUT;
	}
	got = recv(fd, &message, sizeof(message), 0);
	if (got < 0 && errno == ECONNRESET)	/* the agent refused without reading; what it said comes after this error */
		got = recv(fd, &message, sizeof(message), 0);
	if (got <= 0)
		return got < 0 && errno != ECONNRESET ? -errno : -ESRCH;
	if ((size_t)got < sizeof(message.head) || message.head.magic != CONTROL_MAGIC)
		return -EPROTO;
	*ret_text = strndup(message.text, (size_t)got - sizeof(message.head));
	return *ret_text ? (int)message.head.reply : -ENOMEM;
}

/* The agent's descriptors may be numbers in the service's own table: who has the answer should find them closed. */
static void wait_for_close(int fd)
{
	struct pollfd closed = { .fd = fd };		/* POLLHUP alone */

	(void)!poll(&closed, 1, CLOSE_MS);
	close(fd);
}

static char *stopped_sentence(int pid)
{
	return text_format("process %d is stopped (by a signal or a debugger) and cannot answer; "
			   "continue it with kill -CONT %d",
			   pid, pid);
}

static char *connect_sentence(const struct target *target, int error)
{
	int pid = (int)target->pid;

	if (error == -EACCES || error == -EPERM)
		return text_format(
			"process %d belongs to another user (uid %u); ask as that user or as root",
			pid, (unsigned)target->uid);
	if (kill(target->pid, 0) < 0 && errno == ESRCH)
		return text_format("process %d ended meanwhile", pid);
	if (target_is_stopped(target))
		return stopped_sentence(pid);
	if (error == -ECONNREFUSED || error == -ENOENT)
		return text_format("process %d has the library loaded, but its agent does not "
				   "listen (it has just begun, "
				   "or has not allocated since it was forked); try again",
				   pid);
	return text_format("process %d cannot be reached: %s", pid, strerror(-error));
}

static char *reply_sentence(const struct target *target, int error, uint64_t wait_ns)
{
	int pid = (int)target->pid;

	if (error == -ETIMEDOUT && target_is_stopped(target))
		return stopped_sentence(pid);
	if (error == -ETIMEDOUT)
		return text_format("process %d did not answer within %g s", pid, (double)wait_ns / 1e9);
	if (error == -ESRCH)
		return text_format("process %d ended, or became another program, before it answered", pid);
	if (error == -EPROTO)
		return text_format(
			"process %d answered something that this program does not understand", pid);
	return text_format("process %d could not be asked: %s", pid, strerror(-error));
}

int target_ask(const struct target *target, const struct control_request *request, int passed_fd,
	       uint64_t wait_ns, char **ret_result, char **ret_error)
{
	uint64_t deadline = now_ns() + wait_ns, patience = now_ns() + BEGIN_NS;
	char *text = NULL;
	int fd, r;

	/* A process that has just begun may not listen yet. */
	while ((fd = connect_anyhow(target)) == -ENOENT || fd == -ECONNREFUSED) {
		if (now_ns() >= patience || (kill(target->pid, 0) < 0 && errno == ESRCH))
			break;
		usleep(20000);
	}
	if (fd < 0) {
		*ret_error = connect_sentence(target, fd);
		return fd;
	}
	r = send_request(fd, request, passed_fd);
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;			/* refused before it was heard: the reason is waiting for us */
	while (r == 0 && (r = receive(fd, deadline, target, &text)) == CONTROL_PROGRESS) {
		cmd_progress(text, 0, 0);
		free(text);
		text = NULL;
		r = 0;
	}
	if (r < 0)
		close(fd);
	else
		wait_for_close(fd);
	if (r == CONTROL_RESULT) {
		*ret_result = text;
		return 0;
	}
	if (r == CONTROL_ERROR) {
		*ret_error = text_format("process %d: %s", (int)target->pid, text);
		free(text);
		return -EREMOTEIO;
	}
	free(text);
	*ret_error = reply_sentence(target, r < 0 ? r : -EPROTO, wait_ns);
	return r < 0 ? r : -EPROTO;
}
