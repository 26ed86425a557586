/* SPDX-License-Identifier: Apache-2.0
 * line_server.h - the smallest useful server, shared by the samples: one line in, one line out.
 *
 *   static void handle(char *request, char *reply, size_t size) { snprintf(reply, size, "OK"); }
 *   int main(void) { return line_server_open() || line_server_run(handle); }
 *
 * One thread and ppoll(2); up to LINE_CLIENTS clients; lines of up to LINE_LENGTH bytes. It listens on
 * a free port of the local machine, prints "listening on PORT", and ends on SIGTERM with status 0.
 * It allocates nothing: what the heap holds is the sample's own. */
#ifndef SAMPLES_LINE_SERVER_H
#define SAMPLES_LINE_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_CLIENTS 64
#define LINE_LENGTH  1024

struct line_client {
	int fd;				/* valid below line_client_count */
	size_t length;
	char line[LINE_LENGTH];
};

static int line_listener = -1;
static volatile sig_atomic_t line_ends;
static struct line_client line_clients[LINE_CLIENTS];
static size_t line_client_count;

static void line_on_signal(int signal)
{
	(void)signal;
	line_ends = 1;
}

/* Bind, print the port, and block SIGTERM, which only line_server_run() lets through: call it before
 * threads and processes are started, so that they inherit the block. Returns 0 or 1. */
static int line_server_open(void)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct sigaction action;
	sigset_t set;

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	line_listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (line_listener < 0 || bind(line_listener, (struct sockaddr *)&address, length) < 0 ||
	    listen(line_listener, 64) < 0 ||
	    getsockname(line_listener, (struct sockaddr *)&address, &length) < 0) {
		perror("cannot listen");
		return 1;
	}

	memset(&action, 0, sizeof(action));
	action.sa_handler = line_on_signal;
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);

	printf("listening on %u\n", ntohs(address.sin_port));
	fflush(stdout);
	return 0;
}

static void line_client_close(size_t index)
{
	close(line_clients[index].fd);
	line_clients[index] = line_clients[--line_client_count];
}

/* Answer every whole line that a client sent. Returns false when the client is gone. */
static int line_client_serve(struct line_client *client, void (*handle)(char *, char *, size_t))
{
	ssize_t count = recv(client->fd, client->line + client->length,
			     sizeof(client->line) - client->length, 0);
	char *end;

	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	if (count == 0)
		return 0;
	client->length += (size_t)count;
	while ((end = (char *)memchr(client->line, '\n', client->length))) {
		size_t used = (size_t)(end - client->line) + 1, length;
		char reply[LINE_LENGTH] = "OK";

		*end = '\0';
		handle(client->line, reply, sizeof(reply) - 1);
		length = strlen(reply);
		reply[length++] = '\n';
		/* A reply is far smaller than a socket's buffer: it fits, or the client does not read. */
		if (send(client->fd, reply, length, MSG_NOSIGNAL) != (ssize_t)length)
			return 0;
		client->length -= used;
		memmove(client->line, client->line + used, client->length);
	}
	return client->length < sizeof(client->line);	/* a longer line than this is refused */
}

/* Serve until SIGTERM. handle gets a line without its newline and may write over it; the reply is
 * "OK" unless it writes another. Returns 0. */
static int line_server_run(void (*handle)(char *request, char *reply, size_t size))
{
	struct pollfd polls[LINE_CLIENTS + 1];
	sigset_t open;

	sigprocmask(SIG_BLOCK, NULL, &open);
	sigdelset(&open, SIGTERM);
	while (!line_ends) {
		size_t count = line_client_count;

		polls[0].fd = count < LINE_CLIENTS ? line_listener : -1;
		polls[0].events = POLLIN;
		for (size_t i = 0; i < count; i++) {
			polls[i + 1].fd = line_clients[i].fd;
			polls[i + 1].events = POLLIN;
		}
		if (ppoll(polls, count + 1, NULL, &open) <= 0)
			continue;
		for (size_t i = count; i-- > 0;)	/* backwards: closing moves the last one here */
			if (polls[i + 1].revents && !line_client_serve(&line_clients[i], handle))
				line_client_close(i);
		if (polls[0].revents) {
			int fd = accept4(line_listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

			if (fd >= 0) {
				line_clients[line_client_count].length = 0;
				line_clients[line_client_count++].fd = fd;
			}
		}
	}
	while (line_client_count)
		line_client_close(line_client_count - 1);
	close(line_listener);
	return 0;
}

#endif
