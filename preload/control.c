/* SPDX-License-Identifier: Apache-2.0
 * L7  control.c - the library's end of the socket; the protocol is in protocol.h.
 *
 * One client at a time, each with one request, each with a limit in time. Whatever is not exactly a
 * request is refused. */
#include <errno.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent_private.h"
#include "budget.h"
#include "config.h"
#include "drain.h"
#include "arena.h"
#include "jemalloc.h"
#include "kernel.h"
#include "live.h"
#include "process.h"
#include "protocol.h"
#include "ring.h"
#include "snapshot.h"
#include "snapshot_private.h"

#define REQUEST_WAIT_MS 2000
#define BACKLOG 16

static bool is_abstract;		/* the file could not be made, or would not be found */

static size_t socket_name(char *name, size_t capacity)
{
	return ld__text_format(name, capacity, 0, "%u" CONTROL_SOCKET_SUFFIX, ld__sys_getpid());
}

/* Bind inside the folder: by a relative name if the directory is ours to change, so that no path is too long. */
static long bind_in_folder(int fd, int folder_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[32];
	size_t length = socket_name(name, sizeof(name));
	const char *folder = ld__config()->folder;

	if (folder_fd < 0)
		return -ENOENT;
	if (ld__agent_has_own_view()) {
		long r = ld__sys1(SYS_fchdir, folder_fd);

		if (r < 0)
			return r;
		memcpy(address.sun_path, name, length + 1);
	} else {
		if (text_length(folder) + length + 2 > sizeof(address.sun_path))
			return -ENAMETOOLONG;
		ld__text_format(address.sun_path, sizeof(address.sun_path), 0, "%s/%s", folder,
				name);
	}
	for (int attempt = 0; attempt < 2; attempt++) {
		long r = ld__sys3(SYS_bind, fd, &address, sizeof(address));
		long probe;

		if (r != -EADDRINUSE)
			return r;
		/* A file of our number is a dead process's, unless another pid namespace shares the folder. */
		probe = ld__sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		r = probe < 0 ? probe : ld__sys3(SYS_connect, probe, &address, sizeof(address));
		if (probe >= 0)
			kernel_close((int)probe);
		if (r != -ECONNREFUSED)
			return -EADDRINUSE;
		ld__sys3(SYS_unlinkat, folder_fd, name, 0);
	}
	return -EADDRINUSE;
}

static long bind_abstract(int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = ld__text_format(address.sun_path + 1, sizeof(address.sun_path) - 1, 0,
					CONTROL_ABSTRACT_PREFIX "%u", ld__sys_getpid());

	return ld__sys3(SYS_bind, fd, &address,
			__builtin_offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

int ld__control_listen(int folder_fd)
{
	int fd = (int)ld__sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			       0);
	char name[32];
	long r;

	if (fd < 0)
		return fd;
	is_abstract = false;
	/* the folder is found by the ring file that is mapped from it */
	r = *ld__ring_path() ? bind_in_folder(fd, folder_fd) : -ENOENT;
	if (r == 0) {
		socket_name(name, sizeof(name));
		ld__sys3(SYS_fchmodat, folder_fd, name, 0600);
	} else {
		is_abstract = true;
		r = bind_abstract(fd);
	}
	if (r == 0)
		r = ld__sys2(SYS_listen, fd, BACKLOG);
	if (r < 0) {
		ld__agent_say("the control socket could not be made (error %d): leakdiff snap will "
			      "not work",
			      (int)-r);
		kernel_close(fd);
		return (int)r;
	}
	return fd;
}

void ld__control_unlink(int folder_fd)
{
	char name[32];

	if (is_abstract || folder_fd < 0)
		return;
	socket_name(name, sizeof(name));
	ld__sys3(SYS_unlinkat, folder_fd, name, 0);
}

/* ---- one client ---- */

static void reply(int fd, uint32_t kind, const char *text)
{
	static struct { struct control_message head; char text[CONTROL_MESSAGE_MAX]; } message;
	size_t length = text_length(text);

	if (length > sizeof(message.text))
		length = sizeof(message.text);
	message.head = (struct control_message) { .magic = CONTROL_MAGIC, .reply = kind };
	memcpy(message.text, text, length);
	ld__sys6(SYS_sendto, fd, &message, sizeof(message.head) + length, MSG_NOSIGNAL, 0, 0);
}

static bool may_ask(int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t bytes = sizeof(peer);

	if (ld__sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return false;
	return peer.uid == 0 || peer.uid == (uid_t)ld__sys0(SYS_geteuid);
}

/* Receive exactly one request and at most one descriptor. Returns 0 or a negative errno. */
static int receive(int fd, struct control_request *request, int *ret_passed)
{
	union { struct cmsghdr head; char room[CMSG_SPACE(8 * sizeof(int))]; } control;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	struct { struct control_request request; char more; } buffer;
	struct iovec part = { &buffer, sizeof(buffer) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	long got;

	*ret_passed = -1;
	if (ld__sys3(SYS_poll, &ready, 1, REQUEST_WAIT_MS) <= 0)
		return -ETIMEDOUT;
	got = ld__sys3(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0)
		return (int)got;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int passed;

			memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*ret_passed < 0)
				*ret_passed = passed;
			else
				kernel_close(passed);
		}
	}
	if (got != sizeof(buffer.request) || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    buffer.request.magic != CONTROL_MAGIC)
		return -EBADMSG;
	*request = buffer.request;
	return 0;
}

static void take_snapshot(int fd, const struct control_request *request, int passed)
{
	static struct snapshot_facts facts;
	struct snapshot_request wanted = {
		.trigger = SNAPSHOT_SOCKET, .fd = passed, .max_pause_ns = request->max_pause_ns,
		.timeout_ns = request->timeout_ns,
	};
	struct snapshot_result result;
	char text[1024];

	if (passed < 0) {
		reply(fd, CONTROL_ERROR, "the request came without a descriptor to write to");
		return;
	}
	if (!ld__agent_has_something()) {
		reply(fd, CONTROL_ERROR,
		      "nothing is being recorded; wake it first with `leakdiff on`");
		return;
	}
	if (ld__snapshot_take(&wanted, &result) < 0) {
		reply(fd, CONTROL_ERROR, result.error);
		return;
	}
	ld__snapshot_facts_read(&facts, ld__agent_proc_fd());
	ld__text_format(
		text, sizeof(text), 0,
		"pause_ns=%lu\nstop_ns=%lu\ndrain_ns=%lu\nfork_ns=%lu\nblocks=%lu\nbytes=%lu\n"
		"lost_events=%lu\nconsistent=%u\nnumber=%u\nname=%s\nfolder=%s\n",
		(unsigned long)result.pause_ns, (unsigned long)result.stop_ns,
		(unsigned long)result.drain_ns, (unsigned long)result.fork_ns,
		(unsigned long)result.blocks, (unsigned long)result.bytes,
		(unsigned long)result.lost_events, (unsigned)result.consistent, result.number,
		facts.name, ld__config()->folder);
	reply(fd, CONTROL_RESULT, text);
}

static void tell_status(int fd)
{
	static struct snapshot_facts facts;
	uint64_t blocks, bytes, mappings, mapped;
	uint32_t budget_ppm, spent_ppm;
	char text[CONTROL_MESSAGE_MAX];

	ld__drain();
	budget_ppm = ld__budget_of(&spent_ppm);
	ld__drain_totals(&blocks, &bytes);
	ld__live_mapping_totals(&mappings, &mapped);
	if (ld__jemalloc_used())
		bytes = ld__jemalloc_allocated();
	ld__snapshot_facts_read(&facts, ld__agent_proc_fd());
	ld__text_format(
		text, sizeof(text), 0,
		"state=%s\ncapture=%s\nmode=%s\nblocks=%lu\nbytes=%lu\nmappings=%lu\nmapped_bytes=%"
		"lu\n"
		"lost_events=%lu\nown_bytes=%lu\npredicted_pause_ns=%lu\ninterval_bytes=%lu\n"
		"budget_ppm=%u\nbudget_spent_ppm=%u\nname=%s\nfolder=%s\n",
		ld__agent_records() ? "on" : "off", ld__agent_capture_state(), ld__config_mode_name(),
		(unsigned long)blocks, (unsigned long)bytes, (unsigned long)mappings,
		(unsigned long)mapped, (unsigned long)ld__drain_lost(),
		(unsigned long)ld__arena_bytes(), (unsigned long)ld__snapshot_predict_ns(),
		ld__sample_lg ? 1ul << ld__sample_lg : 0, budget_ppm, spent_ppm, facts.name, ld__config()->folder);
	reply(fd, CONTROL_RESULT, text);
}

static void switch_capture(int fd, bool on)
{
	ld__agent_capture_set(on);
	if (ld__agent_records() != on)
		reply(fd, CONTROL_ERROR,
		      "recording was switched off for good after trouble; the service's standard "
		      "error says why");
	else
		reply(fd, CONTROL_RESULT, on ? "state=on\n" : "state=off\n");
}

static void serve_client(int fd)
{
	struct control_request request = { 0 };
	int passed, r;

	if (!may_ask(fd)) {
		reply(fd, CONTROL_ERROR, "only the process's own user and root may ask");
		return;
	}
	r = receive(fd, &request, &passed);
	if (r < 0)
		reply(fd, CONTROL_ERROR, "this is not a request of leakdiff");
	else if (request.version != CONTROL_VERSION)
		reply(fd, CONTROL_ERROR,
		      "the program and the library in the service are of different versions");
	else if (request.command == CONTROL_SNAP)
		take_snapshot(fd, &request, passed);
	else if (request.command == CONTROL_STATUS)
		tell_status(fd);
	else if (request.command == CONTROL_ON || request.command == CONTROL_OFF)
		switch_capture(fd, request.command == CONTROL_ON);
	else
		reply(fd, CONTROL_ERROR, "the library does not know this request");
	if (passed >= 0)
		kernel_close(passed);
}

void ld__control_serve(int listen_fd)
{
	int fd = (int)ld__sys4(SYS_accept4, listen_fd, 0, 0, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	serve_client(fd);
	kernel_close(fd);
}
