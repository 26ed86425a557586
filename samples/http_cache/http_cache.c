/* SPDX-License-Identifier: Apache-2.0
 * http_cache.c - an HTTP/1.1 server that keeps what it is given, and a cache that never evicts.
 *
 *   curl -T file http://127.0.0.1:PORT/name      stores the body under /name
 *   curl http://127.0.0.1:PORT/name              gives it back
 *   curl -X DELETE http://127.0.0.1:PORT/name    forgets it
 *
 * One thread, epoll, non-blocking sockets, keep-alive and pipelining. The memory of a client is its
 * struct conn; a body is read straight into the block that the cache then keeps:
 *
 *   g_cache -> struct table -> buckets[] -> struct entry -> body
 *                                           (-> next)    -> key
 *
 * Everything is freed by someone: DELETE, a second PUT of the same name, the end of the program. But
 * clients never send DELETE, names do not repeat, and nobody bounded the table. No leak checker
 * complains, and the service grows until it is killed.
 *
 * DRIVE protocol http
 * DRIVE before   10 PUT /before/{n} 1048576
 * DRIVE between  30 PUT /between/{n} 1048576
 * DRIVE during   GET /before/1
 * EXPECT grow size=1048576 count=+30 bytes=+31457280 new=30 row=1
 * EXPECT grow site=handle_put size=1048576 count=+30 bytes=+31457280
 * EXPECT grow site=entry_new size=40 count=+30
 * EXPECT suspect rank=1 verdict=growing kind=global holder=g_cache site=handle_put count=30 bytes=31457280
 * EXPECT accumulates type~table children>=30
 * EXPECT chain g_cache -> struct table \.buckets\[\*\] -> struct entry \.body -> char\[1048576\]
 * EXPECT site handle_put count=30
 * EXPECT leaks none
 * EXPECT exit 1 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUCKETS    1024
#define HEAD_LIMIT 8192			/* bytes of a request's line and headers */
#define BODY_LIMIT (256u << 20)

/* ---- the cache ------------------------------------------------------------------------------- */

struct entry {
	struct entry *next;		/* in the bucket */
	char *key;
	char *body;
	size_t body_length;
	unsigned references;		/* the table's, and one for each client that is being sent it */
};

struct table {
	size_t entry_count, body_bytes;
	struct entry *buckets[BUCKETS];
};

static struct table *g_cache;

static struct table *table_new(void)
{
	return calloc(1, sizeof(struct table));
}

/* The place of a key: the pointer to its entry, or to the end of its bucket. */
static struct entry **table_find(struct table *table, const char *key)
{
	uint32_t hash = 2166136261u;
	struct entry **at;

	for (const char *c = key; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	at = &table->buckets[hash % BUCKETS];
	while (*at && strcmp((*at)->key, key))
		at = &(*at)->next;
	return at;
}

static void entry_drop(struct entry *entry)
{
	if (!entry || --entry->references)
		return;
	free(entry->key);
	free(entry->body);
	free(entry);
}

/* An entry with one reference. The body becomes the entry's. */
static struct entry *entry_new(const char *key, char *body, size_t body_length)
{
	struct entry *entry = malloc(sizeof(*entry));

	if (!entry)
		return NULL;
	*entry = (struct entry){ .key = strdup(key), .references = 1 };
	if (!entry->key) {
		free(entry);
		return NULL;
	}
	entry->body = body;
	entry->body_length = body_length;
	return entry;
}

static void table_remove(struct table *table, struct entry **place)
{
	struct entry *entry = *place;

	*place = entry->next;
	table->entry_count--;
	table->body_bytes -= entry->body_length;
	entry_drop(entry);
}

/* Put an entry in place of the one with the same key. The table takes over the caller's reference.
 * Here a cache with a bound would now evict its oldest entries. */
static void table_put(struct table *table, struct entry *entry)
{
	struct entry **place = table_find(table, entry->key);

	if (*place)
		table_remove(table, place);
	entry->next = *place;
	*place = entry;
	table->entry_count++;
	table->body_bytes += entry->body_length;
}

static void table_free(struct table *table)
{
	for (size_t i = 0; table && i < BUCKETS; i++)
		while (table->buckets[i])
			table_remove(table, &table->buckets[i]);
	free(table);
}

/* ---- clients --------------------------------------------------------------------------------- */

enum conn_state {
	CONN_HEAD,			/* reading the request's line and headers */
	CONN_BODY,			/* reading the body */
	CONN_REPLY,			/* writing the reply */
};

struct conn {
	int fd;
	enum conn_state state;
	struct conn *previous, *next;	/* all of them, so that the end can close them */

	char in[HEAD_LIMIT];		/* what was read and not yet used */
	size_t in_length;

	char path[1024];
	bool keep_alive, is_head;
	char *body;			/* of a PUT; ours until an entry takes it */
	size_t body_length, body_have;

	char head[512];			/* the reply: head, then `entry` or nothing */
	size_t head_length, sent;
	struct entry *entry;		/* referenced while it is sent */
	bool send_entry;
};

static int g_epoll = -1;
static struct conn *g_conns;

static void conn_close(struct conn *conn)
{
	if (conn->previous)
		conn->previous->next = conn->next;
	else
		g_conns = conn->next;
	if (conn->next)
		conn->next->previous = conn->previous;
	close(conn->fd);		/* leaves the epoll set with it */
	entry_drop(conn->entry);
	free(conn->body);
	free(conn);
}

static void conn_open(int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = conn };
	int on = 1;

	if (!conn || epoll_ctl(g_epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(conn);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn->fd = fd;
	conn->next = g_conns;
	if (g_conns)
		g_conns->previous = conn;
	g_conns = conn;
}

static void conn_wait_for(struct conn *conn, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = conn };

	epoll_ctl(g_epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

/* Prepare a reply; `entry`, when given, is its body. The caller's loop writes it. */
static void reply(struct conn *conn, const char *status, struct entry *entry)
{
	conn->head_length = (size_t)snprintf(conn->head, sizeof(conn->head),
		"HTTP/1.1 %s\r\n"
		"Content-Type: application/octet-stream\r\n"
		"Content-Length: %zu\r\n"
		"%s\r\n", status, entry ? entry->body_length : 0,
		conn->keep_alive ? "" : "Connection: close\r\n");
	conn->sent = 0;
	conn->entry = entry;
	conn->send_entry = entry && !conn->is_head;
	if (entry)
		entry->references++;
	conn->state = CONN_REPLY;
}

/* A request that we cannot follow: say why, then close, since the next one cannot be found. */
static void refuse(struct conn *conn, const char *status)
{
	conn->keep_alive = false;
	reply(conn, status, NULL);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void finish_put(struct conn *conn)
{
	struct entry *entry = entry_new(conn->path, conn->body, conn->body_length);

	if (!entry) {
		free(conn->body);
		conn->body = NULL;
		reply(conn, "507 Insufficient Storage", NULL);
		return;
	}
	conn->body = NULL;
	table_put(g_cache, entry);
	reply(conn, "201 Created", NULL);
}

/* The head of a PUT is read: make room for the body. */
static void handle_put(struct conn *conn, size_t length, bool expects_continue)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (length > BODY_LIMIT) {
		refuse(conn, "413 Content Too Large");
		return;
	}
	conn->body = malloc(length ? length : 1);
	if (!conn->body) {
		refuse(conn, "507 Insufficient Storage");
		return;
	}
	conn->body_length = length;
	conn->body_have = 0;
	conn->state = CONN_BODY;
	/* 25 bytes to a client that waits for them and has nothing else to read: they fit. */
	if (expects_continue && !conn->in_length)
		(void)!send(conn->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL);
}

static void handle_get(struct conn *conn)
{
	struct entry *entry = *table_find(g_cache, conn->path);

	reply(conn, entry ? "200 OK" : "404 Not Found", entry);
}

static void handle_delete(struct conn *conn)
{
	struct entry **place = table_find(g_cache, conn->path);

	if (*place) {
		table_remove(g_cache, place);
		reply(conn, "200 OK", NULL);
	} else {
		reply(conn, "404 Not Found", NULL);
	}
}

/* The value of a header line if it has this name, else NULL. */
static char *header_value(char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) || line[length] != ':')
		return NULL;
	line += length + 1;
	while (*line == ' ' || *line == '\t')
		line++;
	return line;
}

/* Parse a NUL-terminated head ("GET /x HTTP/1.1\r\nHost: ...\r\n") and act on it. */
static void handle_head(struct conn *conn, char *head)
{
	char *save, *method, *path, *version, *line, *value, *end;
	bool has_length = false, expects_continue = false, chunked = false;
	unsigned long long length = 0;

	line = strtok_r(head, "\r\n", &save);
	method = line ? line : "";
	path = strchr(method, ' ');
	version = path ? strchr(path + 1, ' ') : NULL;
	if (!version || path[1] != '/' || strncmp(version + 1, "HTTP/1.", 7)) {
		refuse(conn, "400 Bad Request");
		return;
	}
	*path++ = '\0';
	*version++ = '\0';
	if (strlen(path) >= sizeof(conn->path)) {
		refuse(conn, "414 URI Too Long");
		return;
	}
	strcpy(conn->path, path);
	conn->keep_alive = strcmp(version, "HTTP/1.0") != 0;
	conn->is_head = !strcmp(method, "HEAD");

	while ((line = strtok_r(NULL, "\r\n", &save))) {
		if ((value = header_value(line, "Content-Length"))) {
			length = strtoull(value, &end, 10);
			while (*end == ' ' || *end == '\t')
				end++;
			if (!isdigit((unsigned char)*value) || *end) {
				refuse(conn, "400 Bad Request");
				return;
			}
			has_length = true;
		} else if ((value = header_value(line, "Connection"))) {
			conn->keep_alive = strcasecmp(value, "close") &&
					   (conn->keep_alive || !strcasecmp(value, "keep-alive"));
		} else if ((value = header_value(line, "Expect"))) {
			expects_continue = !strcasecmp(value, "100-continue");
		} else if (header_value(line, "Transfer-Encoding")) {
			chunked = true;
		}
	}

	if (chunked || (!strcmp(method, "PUT") && !has_length))
		refuse(conn, "411 Length Required");
	else if (!strcmp(method, "PUT"))
		handle_put(conn, length > SIZE_MAX ? SIZE_MAX : (size_t)length, expects_continue);
	else if (length)		/* a body where we read none would be taken for a request */
		refuse(conn, "413 Content Too Large");
	else if (!strcmp(method, "GET") || conn->is_head)
		handle_get(conn);
	else if (!strcmp(method, "DELETE"))
		handle_delete(conn);
	else
		reply(conn, "405 Method Not Allowed", NULL);
}

/* ---- input and output ------------------------------------------------------------------------ */

static void use_input(struct conn *conn, size_t count)
{
	conn->in_length -= count;
	memmove(conn->in, conn->in + count, conn->in_length);
}

/* Take a step with what was read. Returns false when more input is needed. */
static bool step(struct conn *conn)
{
	if (conn->state == CONN_HEAD) {
		char *end = memmem(conn->in, conn->in_length, "\r\n\r\n", 4);
		char head[HEAD_LIMIT + 1];
		size_t length;

		if (!end && conn->in_length < sizeof(conn->in))
			return false;
		if (!end) {
			refuse(conn, "431 Request Header Fields Too Large");
			return true;
		}
		length = (size_t)(end - conn->in) + 4;
		memcpy(head, conn->in, length);
		head[length] = '\0';
		use_input(conn, length);
		handle_head(conn, head);
		return true;
	}
	if (conn->state == CONN_BODY) {
		size_t missing = conn->body_length - conn->body_have;
		size_t count = conn->in_length < missing ? conn->in_length : missing;

		memcpy(conn->body + conn->body_have, conn->in, count);
		conn->body_have += count;
		use_input(conn, count);
		if (conn->body_have < conn->body_length)
			return false;
		finish_put(conn);
		return true;
	}
	return false;
}

/* Read once: a body goes straight to its place. Returns bytes, 0 at the end, or negative errno. */
static ssize_t read_more(struct conn *conn)
{
	ssize_t count;

	if (conn->state == CONN_BODY && !conn->in_length)
		count = recv(conn->fd, conn->body + conn->body_have,
			     conn->body_length - conn->body_have, 0);
	else
		count = recv(conn->fd, conn->in + conn->in_length,
			     sizeof(conn->in) - conn->in_length, 0);
	if (count < 0)
		return -errno;
	if (conn->state == CONN_BODY && !conn->in_length)
		conn->body_have += (size_t)count;
	else
		conn->in_length += (size_t)count;
	return count;
}

/* Write what is left of the reply. Returns 1 when all is written, 0 when the socket is full, or
 * negative errno. */
static int write_reply(struct conn *conn)
{
	size_t body_length = conn->send_entry ? conn->entry->body_length : 0;

	while (conn->sent < conn->head_length + body_length) {
		struct iovec parts[2] = { { conn->head + conn->sent, 0 }, { NULL, 0 } };
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
		size_t body_sent = 0;
		ssize_t count;

		if (conn->sent < conn->head_length)
			parts[0].iov_len = conn->head_length - conn->sent;
		else
			body_sent = conn->sent - conn->head_length;
		if (body_length) {
			parts[1].iov_base = conn->entry->body + body_sent;
			parts[1].iov_len = body_length - body_sent;
		}
		count = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno == EAGAIN ? 0 : -errno;
		conn->sent += (size_t)count;
	}
	entry_drop(conn->entry);
	conn->entry = NULL;
	return 1;
}

/* The socket is ready: go on until it would block. */
static void on_ready(struct conn *conn)
{
	for (;;) {
		if (conn->state == CONN_REPLY) {
			int r = write_reply(conn);

			if (r == 0) {
				conn_wait_for(conn, EPOLLOUT);
				return;
			}
			if (r < 0 || !conn->keep_alive) {
				conn_close(conn);
				return;
			}
			conn->state = CONN_HEAD;
			conn_wait_for(conn, EPOLLIN);
		} else if (!step(conn)) {
			ssize_t count = read_more(conn);

			if (count == -EAGAIN)
				return;
			if (count <= 0 && count != -EINTR) {
				conn_close(conn);
				return;
			}
		}
	}
}

static void on_new_client(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		conn_open(fd);
}

/* ---- the program ----------------------------------------------------------------------------- */

/* Listen on the local machine; port 0 takes a free one. Returns the socket or -1. */
static int listen_on(uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		close(fd);
		return -1;
	}
	*ret_port = ntohs(address.sin_port);
	return fd;
}

/* SIGTERM and SIGINT as a readable descriptor, so that they end the loop between two requests. */
static int signal_descriptor(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
	int listener = listen_on(port, &port), signals = signal_descriptor();
	/* The addresses of these two variables mark their events; a client's event holds its conn. */
	struct epoll_event on_listener = { .events = EPOLLIN, .data.ptr = &listener };
	struct epoll_event on_signal = { .events = EPOLLIN, .data.ptr = &signals };
	bool ends = false;

	g_epoll = epoll_create1(EPOLL_CLOEXEC);
	g_cache = table_new();
	if (listener < 0 || signals < 0 || g_epoll < 0 || !g_cache ||
	    epoll_ctl(g_epoll, EPOLL_CTL_ADD, listener, &on_listener) < 0 ||
	    epoll_ctl(g_epoll, EPOLL_CTL_ADD, signals, &on_signal) < 0) {
		perror("http_cache");
		return 1;
	}
	printf("listening on %u\n", port);
	fflush(stdout);

	while (!ends) {
		int count = epoll_wait(g_epoll, events, sizeof(events) / sizeof(events[0]), -1);

		if (count < 0 && errno != EINTR) {
			perror("epoll_wait");
			return 1;
		}
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &listener)
				on_new_client(listener);
			else if (events[i].data.ptr == &signals)
				ends = true;
			else
				on_ready(events[i].data.ptr);
		}
	}

	while (g_conns)
		conn_close(g_conns);
	table_free(g_cache);
	close(g_epoll);
	close(signals);
	close(listener);
	return 0;
}
