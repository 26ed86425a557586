/* SPDX-License-Identifier: Apache-2.0
 * LIBS rt
 * snap_blocked.c - one thread in each of the system calls that a stop might make fail.
 *
 *   snap_blocked SECONDS open|masked
 *
 * Every thread enters its call once, with a timeout of SECONDS or without one (then the main thread
 * releases it after SECONDS). At the end one line a call: "name result errno milliseconds wanted
 * kind", kind: timed = must end by its timeout, anew = a stop may begin its timeout anew, released =
 * must end by its release. masked: every signal is blocked in every thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int wanted_s;
static struct timespec deadline;	/* CLOCK_REALTIME, for the absolute ones */
static char folder[64];

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct timespec span(void)
{
	return (struct timespec) { wanted_s, 0 };
}

/* Two ends of a thing that one waits on and another releases. */
static int pair_a[2], pair_b[2], pair_c[2], pair_d[2], pair_e[2], full[2], stream[2], gram[2];
static int inotify_fd, inotify_quiet, event_fd, listen_fd, late_listen_fd, late_client, lock_fd,
	msg_queue, sem_set;
static int fifo_read = -1;
static sem_t never, later;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pid_t child, other_child;
static aio_context_t aio;

static long fail(int error)
{
	errno = error;
	return error ? -1 : 0;
}

static long do_epoll_wait(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_create1(0), &event, 1, wanted_s * 1000);
}

static long do_epoll_pwait(void)
{
	struct epoll_event event;
	sigset_t all;

	sigfillset(&all);
	return epoll_pwait(epoll_create1(0), &event, 1, wanted_s * 1000, &all);
}

static long do_epoll_forever(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, pair_a[0], &event);
	return epoll_wait(fd, &event, 1, -1) == 1 ? 0 : -1;
}

static long do_poll(void)
{
	struct pollfd fd = { pair_b[0], POLLIN, 0 };

	return poll(&fd, 1, wanted_s * 1000);
}

static long do_ppoll(void)
{
	struct pollfd fd = { pair_b[0], POLLIN, 0 };
	struct timespec t = span();

	return ppoll(&fd, 1, &t, NULL);
}

static long do_select(void)
{
	struct timeval t = { wanted_s, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pair_b[0], &set);
	return select(pair_b[0] + 1, &set, NULL, NULL, &t);
}

static long do_pselect(void)
{
	struct timespec t = span();
	fd_set set;
	sigset_t all;

	sigfillset(&all);
	FD_ZERO(&set);
	FD_SET(pair_b[0], &set);
	return pselect(pair_b[0] + 1, &set, NULL, NULL, &t, &all);
}

static long do_nanosleep(void)
{
	struct timespec t = span();

	return nanosleep(&t, NULL);
}

static long do_clock_nanosleep(void)
{
	return fail(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &deadline, NULL));
}

static long do_sem_timedwait(void)
{
	return sem_timedwait(&never, &deadline);
}

static long do_sem_wait(void)
{
	return sem_wait(&later);
}

static long do_cond_timedwait(void)
{
	int r;

	pthread_mutex_lock(&mutex);
	r = pthread_cond_timedwait(&cond, &mutex, &deadline);
	pthread_mutex_unlock(&mutex);
	return fail(r);
}

static long do_mutex(void)
{
	return fail(pthread_mutex_lock(&held));
}

static long do_futex(void)
{
	static uint32_t word;
	struct timespec t = span();

	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static long do_read_pipe(void)
{
	char c;

	return read(pair_c[0], &c, 1) == 1 ? 0 : -1;
}

static long do_write_pipe(void)
{
	char page[4096] = { 0 };
	long n = write(full[1], page, sizeof(page));	/* the pipe is full; this fits whole or not at all */

	return n == (long)sizeof(page) ? 0 : -1;
}

/* Large transfers against a slow other end: whole, or they were cut short. */
#define LARGE (3u << 20)
static int slow_pipe[2], slow_send[2], slow_recv[2];
static char large[3][LARGE];

static long whole(long n)
{
	return n == LARGE ? 0 : n < 0 ? -1 : fail(EMSGSIZE);
}

static long do_write_large(void)
{
	return whole(write(slow_pipe[1], large[0], LARGE));
}

static long do_send_large(void)
{
	return whole(send(slow_send[1], large[1], LARGE, 0));
}

static long do_recv_waitall(void)
{
	return whole(recv(slow_recv[0], large[2], LARGE, MSG_WAITALL));
}

/* The slow ends: a little every few milliseconds, all of it within the time. */
static void *be_slow(void *unused)
{
	static char piece[LARGE];
	const size_t bytes = LARGE / 100;
	size_t at[3] = { 0, 0, 0 };
	struct timespec pause = { wanted_s / 100, wanted_s % 100 * 10000000l };

	while (at[0] < LARGE || at[1] < LARGE || at[2] < LARGE) {
		struct pollfd ready[2] = { { slow_pipe[0], POLLIN, 0 },
					   { slow_send[0], POLLIN, 0 } };

		nanosleep(&pause, NULL);
		poll(ready, 2, 0);
		for (int i = 0; i < 2; i++) {
			ssize_t n = ready[i].revents ? read(ready[i].fd, piece, bytes) : 0;

			for (ssize_t k = 0; k < n; k++)
				if (piece[k] != (char)((at[i] + (size_t)k) / 1000))
					exit(5);	/* a byte is missing, or came twice */
			at[i] += n > 0 ? (size_t)n : 0;
		}
		if (at[2] < LARGE) {
			size_t n = LARGE - at[2] < bytes ? LARGE - at[2] : bytes;

			for (size_t k = 0; k < n; k++)
				piece[k] = (char)((at[2] + k) / 1000);
			at[2] += (size_t)write(slow_recv[1], piece, n);
		}
	}
	return unused;
}

static void check_large(void)
{
	for (size_t i = 0; i < LARGE; i++)
		if (large[2][i] != (char)(i / 1000))
			exit(6);
}

static long do_recv(void)
{
	char c;

	return recv(stream[0], &c, 1, 0) == 1 ? 0 : -1;
}

static long do_recv_timeout(void)
{
	struct timeval t = { wanted_s, 0 };
	char c;

	setsockopt(gram[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return recv(gram[0], &c, 1, 0);
}

static long do_recvmsg(void)
{
	char c;
	struct iovec part = { &c, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	return recvmsg(pair_d[0], &message, 0) == 1 ? 0 : -1;
}

static long do_accept(void)
{
	return accept(listen_fd, NULL, NULL) >= 0 ? 0 : -1;
}

static long do_accept_timeout(void)
{
	struct timeval t = { wanted_s, 0 };

	setsockopt(late_listen_fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return accept(late_listen_fd, NULL, NULL);
}

static struct sockaddr_un unix_name(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%.30s", folder, name);
	return address;
}

static long do_connect(void)
{
	struct sockaddr_un address = unix_name("full");

	return connect(late_client, (struct sockaddr *)&address, sizeof(address));	/* the backlog is full */
}

static long do_sigtimedwait(void)
{
	struct timespec t = span();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &t);
}

static long do_signalfd(void)
{
	struct signalfd_siginfo info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return read(signalfd(-1, &set, 0), &info, sizeof(info)) == sizeof(info) ? 0 : -1;
}

static long do_semop(void)
{
	struct sembuf op = { 0, -1, 0 };

	return semop(sem_set, &op, 1);
}

static long do_semtimedop(void)
{
	struct sembuf op = { 1, -1, 0 };
	struct timespec t = span();

	return semtimedop(sem_set, &op, 1, &t);
}

static long do_msgrcv(void)
{
	struct { long type; char text[8]; } message;

	return msgrcv(msg_queue, &message, sizeof(message.text), 0, 0) >= 0 ? 0 : -1;
}

static long do_mq_timedreceive(void)
{
	struct mq_attr attr = { .mq_maxmsg = 2, .mq_msgsize = 8 };
	char name[64], text[8];
	mqd_t queue;
	long r;

	snprintf(name, sizeof(name), "/leakdiff-test-%d", getpid());
	queue = mq_open(name, O_RDONLY | O_CREAT, 0600, &attr);
	mq_unlink(name);
	if (queue < 0)
		return fail(errno == EINTR ? EINTR : ETIMEDOUT);	/* no message queues here */
	r = mq_timedreceive(queue, text, sizeof(text), NULL, &deadline);
	return r;
}

static long do_io_getevents(void)
{
	struct io_event event;
	struct timespec t = span();

	return syscall(SYS_io_getevents, aio, 1, 1, &event, &t);
}

static long do_inotify(void)
{
	char buffer[4096];

	return read(inotify_fd, buffer, sizeof(buffer)) > 0 ? 0 : -1;
}

static long do_eventfd(void)
{
	uint64_t value;

	return read(event_fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

static long do_timerfd(void)
{
	struct itimerspec when = { .it_value = span() };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t times;

	timerfd_settime(fd, 0, &when, NULL);
	return read(fd, &times, sizeof(times)) == sizeof(times) ? 0 : -1;
}

static long do_waitpid(void)
{
	return waitpid(child, NULL, 0) == child ? 0 : -1;
}

static long do_waitid(void)
{
	siginfo_t info;

	return waitid(P_PID, (id_t)other_child, &info, WEXITED);
}

static long do_flock(void)
{
	char name[100];

	snprintf(name, sizeof(name), "%s/flock", folder);
	return flock(open(name, O_RDWR), LOCK_EX);
}

static long do_setlkw(void)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char name[100];

	snprintf(name, sizeof(name), "%s/ofd", folder);
	return fcntl(open(name, O_RDWR), F_OFD_SETLKW, &range);
}

static long do_open_fifo(void)
{
	char name[100];

	snprintf(name, sizeof(name), "%s/fifo", folder);
	return open(name, O_WRONLY) >= 0 ? 0 : -1;
}

static long do_splice(void)
{
	return splice(pair_e[0], NULL, open("/dev/null", O_WRONLY), NULL, 1, 0) == 1 ? 0 : -1;
}

enum kind { TIMED, ANEW, RELEASED };

static struct call {
	const char *name;
	long (*run)(void);
	enum kind kind;
	long result;
	int error;
	uint64_t ms;
} calls[] = {
	{ "epoll_wait", do_epoll_wait, TIMED, 0, 0, 0 },
	{ "epoll_pwait", do_epoll_pwait, TIMED, 0, 0, 0 },
	{ "epoll_forever", do_epoll_forever, RELEASED, 0, 0, 0 },
	{ "poll", do_poll, TIMED, 0, 0, 0 },
	{ "ppoll", do_ppoll, TIMED, 0, 0, 0 },
	{ "select", do_select, TIMED, 0, 0, 0 },
	{ "pselect", do_pselect, TIMED, 0, 0, 0 },
	{ "nanosleep", do_nanosleep, TIMED, 0, 0, 0 },
	{ "clock_nanosleep", do_clock_nanosleep, TIMED, 0, 0, 0 },
	{ "sem_timedwait", do_sem_timedwait, TIMED, 0, 0, 0 },
	{ "sem_wait", do_sem_wait, RELEASED, 0, 0, 0 },
	{ "cond_timedwait", do_cond_timedwait, TIMED, 0, 0, 0 },
	{ "mutex", do_mutex, RELEASED, 0, 0, 0 },
	{ "futex", do_futex, TIMED, 0, 0, 0 },
	{ "read_pipe", do_read_pipe, RELEASED, 0, 0, 0 },
	{ "write_pipe", do_write_pipe, RELEASED, 0, 0, 0 },
	{ "recv", do_recv, RELEASED, 0, 0, 0 },
	{ "recv_timeout", do_recv_timeout, ANEW, 0, 0, 0 },
	{ "recvmsg", do_recvmsg, RELEASED, 0, 0, 0 },
	{ "accept", do_accept, RELEASED, 0, 0, 0 },
	{ "accept_timeout", do_accept_timeout, ANEW, 0, 0, 0 },
	{ "connect", do_connect, RELEASED, 0, 0, 0 },
	{ "sigtimedwait", do_sigtimedwait, ANEW, 0, 0, 0 },
	{ "signalfd", do_signalfd, RELEASED, 0, 0, 0 },
	{ "semop", do_semop, RELEASED, 0, 0, 0 },
	{ "semtimedop", do_semtimedop, ANEW, 0, 0, 0 },
	{ "msgrcv", do_msgrcv, RELEASED, 0, 0, 0 },
	{ "mq_timedreceive", do_mq_timedreceive, TIMED, 0, 0, 0 },
	{ "io_getevents", do_io_getevents, ANEW, 0, 0, 0 },
	{ "inotify", do_inotify, RELEASED, 0, 0, 0 },
	{ "eventfd", do_eventfd, RELEASED, 0, 0, 0 },
	{ "timerfd", do_timerfd, TIMED, 0, 0, 0 },
	{ "waitpid", do_waitpid, RELEASED, 0, 0, 0 },
	{ "waitid", do_waitid, RELEASED, 0, 0, 0 },
	{ "flock", do_flock, RELEASED, 0, 0, 0 },
	{ "setlkw", do_setlkw, RELEASED, 0, 0, 0 },
	{ "write_large", do_write_large, RELEASED, 0, 0, 0 },
	{ "send_large", do_send_large, RELEASED, 0, 0, 0 },
	{ "recv_waitall", do_recv_waitall, RELEASED, 0, 0, 0 },
	{ "open_fifo", do_open_fifo, RELEASED, 0, 0, 0 },
	{ "splice", do_splice, RELEASED, 0, 0, 0 },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static pthread_t threads[CALLS];

static void *enter(void *data)
{
	struct call *call = data;
	uint64_t begin = now_ms();

	errno = 0;
	call->result = call->run();
	call->error = errno;
	call->ms = now_ms() - begin;
	return NULL;
}

static int listening(const char *name, int backlog)
{
	struct sockaddr_un address = unix_name(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	bind(fd, (struct sockaddr *)&address, sizeof(address));
	listen(fd, backlog);
	return fd;
}

static int connected(const char *name)
{
	struct sockaddr_un address = unix_name(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

static void touch(const char *file)
{
	char name[100];

	snprintf(name, sizeof(name), "%s/%s", folder, file);
	close(open(name, O_RDWR | O_CREAT, 0600));
}

static int full_listen_fd, flock_fd;

static void set_up(void)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char page[4096] = { 0 }, name[100];

	snprintf(folder, sizeof(folder), "/tmp/snapblk.XXXXXX");
	if (!mkdtemp(folder) || pipe(pair_a) || pipe(pair_b) || pipe(pair_c) || pipe(pair_e) ||
	    pipe(full) || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair_d) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, stream) || socketpair(AF_UNIX, SOCK_DGRAM, 0, gram))
		exit(2);
	if (pipe(slow_pipe) || socketpair(AF_UNIX, SOCK_STREAM, 0, slow_send) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, slow_recv))
		exit(2);
	for (size_t i = 0; i < LARGE; i++)
		large[0][i] = large[1][i] = (char)(i / 1000);
	fcntl(full[1], F_SETFL, O_NONBLOCK);
	while (write(full[1], page, sizeof(page)) > 0)
		;
	fcntl(full[1], F_SETFL, 0);
	sem_init(&never, 0, 0);
	sem_init(&later, 0, 0);
	pthread_mutex_lock(&held);
	touch("watched");
	inotify_fd = inotify_init1(0);
	snprintf(name, sizeof(name), "%s/watched", folder);
	inotify_quiet = inotify_add_watch(inotify_fd, name, IN_MODIFY);
	event_fd = eventfd(0, 0);
	listen_fd = listening("listen", 8);
	late_listen_fd = listening("late", 8);
	full_listen_fd = listening("full", 0);
	while (connected("full") >= 0)
		;
	late_client = socket(AF_UNIX, SOCK_STREAM, 0);
	sem_set = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
	msg_queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	syscall(SYS_io_setup, 8, &aio);
	touch("flock");
	touch("ofd");
	snprintf(name, sizeof(name), "%s/flock", folder);
	flock_fd = open(name, O_RDWR);
	flock(flock_fd, LOCK_EX);
	snprintf(name, sizeof(name), "%s/ofd", folder);
	lock_fd = open(name, O_RDWR);
	fcntl(lock_fd, F_OFD_SETLK, &range);
	snprintf(name, sizeof(name), "%s/fifo", folder);
	mkfifo(name, 0600);
	for (int i = 0; i < 2; i++) {
		child = fork();
		if (child == 0) {
			sleep((unsigned)wanted_s + 1);
			_exit(0);
		}
		if (i == 0)
			other_child = child;
	}
}

static void release(void)
{
	struct { long type; char text[8]; } message = { 1, "x" };
	struct sembuf op = { 0, 1, 0 };
	struct flock range = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	union sigval value = { 0 };
	char name[100], page[4096];

	if (write(pair_a[1], "x", 1) != 1 || write(pair_c[1], "x", 1) != 1 ||
	    write(pair_e[1], "x", 1) != 1 || write(stream[1], "x", 1) != 1 ||
	    write(pair_d[1], "x", 1) != 1 || read(full[0], page, sizeof(page)) <= 0)
		exit(2);
	sem_post(&later);
	pthread_mutex_unlock(&held);
	connected("listen");
	accept(full_listen_fd, NULL, NULL);
	for (size_t i = 0; i < CALLS; i++)
		if (calls[i].run == do_signalfd)
			pthread_sigqueue(threads[i], SIGRTMIN + 4, value);
	semop(sem_set, &op, 1);
	msgsnd(msg_queue, &message, sizeof(message.text), 0);
	snprintf(name, sizeof(name), "%s/watched", folder);
	if (write(open(name, O_WRONLY), "x", 1) != 1)
		exit(2);
	eventfd_write(event_fd, 1);
	flock(flock_fd, LOCK_UN);
	fcntl(lock_fd, F_OFD_SETLK, &range);
	snprintf(name, sizeof(name), "%s/fifo", folder);
	fifo_read = open(name, O_RDONLY | O_NONBLOCK);
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = { "timed", "anew", "released" };
	struct timespec wait;
	pthread_t slow;
	char command[100];
	sigset_t all;

	if (argc < 3)
		return 2;
	wanted_s = atoi(argv[1]);
	set_up();
	sigfillset(&all);
	if (!strcmp(argv[2], "masked"))
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += wanted_s;
	for (size_t i = 0; i < CALLS; i++)
		pthread_create(&threads[i], NULL, enter, &calls[i]);
	pthread_create(&slow, NULL, be_slow, NULL);
	puts("ready");
	fflush(stdout);
	wait = span();
	if (nanosleep(&wait, NULL) < 0)
		return 3;
	release();
	for (size_t i = 0; i < CALLS; i++)
		pthread_join(threads[i], NULL);
	check_large();
	for (size_t i = 0; i < CALLS; i++)
		printf("%s %ld %d %llu %d %s\n", calls[i].name, calls[i].result, calls[i].error,
		       (unsigned long long)calls[i].ms, wanted_s * 1000, kinds[calls[i].kind]);
	semctl(sem_set, 0, IPC_RMID);
	msgctl(msg_queue, IPC_RMID, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) != 0;
}
