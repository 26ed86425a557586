/* SPDX-License-Identifier: Apache-2.0
 * snap_service.c - a service that does what it is told, one command a line, one answer a line.
 *
 *   heap N        N blocks of 64 bytes in a list that g_list holds        threads N   N threads in poll()
 *   touch MIB     that much memory in blocks of 1 MiB                     masked N    the same, all signals blocked
 *   churn N       N threads that replace blocks in g_ledger for ever      spin N      N threads that never sleep
 *   reserve GIB   a mapping of that size of which three pages are used    closefds    close every descriptor from 3 on
 *   children      "ECHILD 0": what waitpid(-1) says, SIGCHLDs so far      chroot DIR  setuid N  lock FILE  drop N
 *   eof           close a pipe's write end; milliseconds until its end    fork        ns that a bare fork takes
 *   fds           how many descriptors are open                           quit        ends with status 9
 *   shared        pointers in shared memory, in a file that is cut short, in memory that forks do not copy
 *   workers N     N forked children that wait                             daemon      forks twice, tells its number
 *   pairs         close every descriptor, have sockets under their numbers   whole     do these get what is sent to them?
 *   storm N       threads, libraries and children that come and go
 *   altstack      a thread that waits on a stack of its own making */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SLOTS 500			/* blocks of each churning thread */
#define PAIRS 16
#define CHURN_BYTES 3001		/* a size that nothing else has */

int capset(cap_user_header_t head, const cap_user_data_t data);

struct item { struct item *next; char body[56]; };

struct item *g_list;
char **g_blocks;
void *g_ledger[64][SLOTS];
void *g_reserved;
static _Atomic int sigchld;
static int lock_fd = -1, pairs[PAIRS][2];
static _Atomic int changes_user;	/* libc interrupts all threads for that */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void on_sigchld(int sig)
{
	(void)sig;
	sigchld++;
}

static void *wait_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		if (poll(NULL, 0, -1) < 0 && !changes_user) {
			printf("poll was interrupted\n");
			exit(4);
		}
	return NULL;
}

static void *spin(void *data)
{
	volatile uint64_t *turns = data;

	for (;;)
		++*turns;
	return NULL;
}

static void *churn(void *data)
{
	void **slots = data;
	unsigned random = (unsigned)(uintptr_t)data;

	for (;;) {
		unsigned at = (random = random * 1103515245u + 12345u) >> 8;
		void *fresh = malloc(CHURN_BYTES), *old = slots[at % SLOTS];

		*(char *)fresh = 1;
		slots[at % SLOTS] = fresh;	/* always a live block, at every instruction */
		free(old);
	}
	return NULL;
}

/* Threads that come and go, libraries that come and go, children that come and go. */
static void *live_shortly(void *data)
{
	void *block = malloc(100);

	usleep(100);
	free(block);
	return data;
}

static void *spawn(void *data)
{
	for (;;) {
		pthread_t threads[8];

		for (int i = 0; i < 8; i++)
			pthread_create(&threads[i], NULL, live_shortly, data);
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
	}
}

static void *load(void *data)
{
	for (;;) {
		void *library = dlopen("libm.so.6", RTLD_NOW);

		if (!library)
			exit(3);
		dlclose(library);
		free(malloc(200));
	}
	return data;
}

static void *beget(void *data)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			free(malloc(10));
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			exit(3);
		usleep(1000);
	}
	return data;
}

static ucontext_t home, away;

static void on_own_stack(void)
{
	void *volatile held = malloc(4321);	/* only this stack knows it */

	wait_for_ever(held);
}

static void *use_own_stack(void *unused)
{
	(void)unused;
	getcontext(&away);
	away.uc_stack.ss_sp = malloc(64 << 10);
	away.uc_stack.ss_size = 64 << 10;
	away.uc_link = &home;
	makecontext(&away, on_own_stack, 0);
	swapcontext(&home, &away);
	return NULL;
}

static _Atomic int begun;
static void *(*begins_with)(void *);

static void *begin(void *data)
{
	begun++;
	return begins_with(data);
}

/* They have all begun when it returns: while libc makes one, it blocks all signals. */
static void start(int count, void *(*run)(void *), void *(*data)(int))
{
	pthread_attr_t attr;
	pthread_t thread;

	begun = 0;
	begins_with = run;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < count; i++)
		if (pthread_create(&thread, &attr, begin, data(i)))
			exit(3);
	while (begun < count)
		usleep(100);
}

static void *nothing(int i)
{
	(void)i;
	return NULL;
}

static void *counter(int i)
{
	static uint64_t turns[64 * 8];

	return &turns[i % 64 * 8];
}

static void *ledger(int i)
{
	for (int at = 0; at < SLOTS; at++)
		g_ledger[i][at] = malloc(CHURN_BYTES);
	return g_ledger[i];
}

static int descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = -1;			/* the folder's own */

	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2;
}

static uint64_t end_of_file_ms(void)
{
	uint64_t begin;
	int ends[2];
	char c;

	if (pipe(ends))
		exit(3);
	usleep(300000);			/* a snapshot is taken meanwhile */
	begin = now_ns();
	close(ends[1]);
	if (read(ends[0], &c, 1) != 0)
		exit(3);
	close(ends[0]);
	return (now_ns() - begin) / 1000000;
}

static void send_to_pairs(void)
{
	for (int i = 0; i < PAIRS; i++)
		for (int end = 0; end < 2; end++)
			if (send(pairs[i][end], "hello", 5, 0) != 5)
				exit(3);
}

static void make_pairs(void)
{
	for (int fd = 3; fd < 100; fd++)
		close(fd);
	for (int i = 0; i < PAIRS; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]))
			exit(3);
	send_to_pairs();
}

static int count_cut_pairs(void)
{
	int cut = 0;

	for (int i = 0; i < PAIRS; i++)
		for (int end = 0; end < 2; end++) {
			char text[8];

			cut += recv(pairs[i][end], text, sizeof(text), MSG_DONTWAIT) != 5;
		}
	send_to_pairs();
	return cut;
}

static uint64_t fork_ns(void)
{
	uint64_t begin = now_ns(), end;
	long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (child == 0)
		syscall(SYS_exit_group, 0);
	end = now_ns();
	waitpid((pid_t)child, NULL, 0);
	return end - begin;
}

static void obey(const char *command, long n, const char *text)
{
	if (!strcmp(command, "heap")) {
		for (long i = 0; i < n; i++) {
			struct item *item = malloc(sizeof(*item));

			item->next = g_list;
			g_list = item;
		}
	} else if (!strcmp(command, "touch")) {
		g_blocks = calloc((size_t)n, sizeof(*g_blocks));
		for (long i = 0; i < n; i++)
			memset(g_blocks[i] = malloc(1 << 20), 1, 1 << 20);
	} else if (!strcmp(command, "threads")) {
		start((int)n, wait_for_ever, nothing);
	} else if (!strcmp(command, "masked")) {
		sigset_t all, old;

		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		start((int)n, wait_for_ever, nothing);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	} else if (!strcmp(command, "storm")) {
		start((int)n, spawn, nothing);
		start(1, load, nothing);
		start(1, beget, nothing);
	} else if (!strcmp(command, "spin")) {
		start((int)n, spin, counter);
	} else if (!strcmp(command, "churn")) {
		start((int)n, churn, ledger);
	} else if (!strcmp(command, "altstack")) {
		start(1, use_own_stack, nothing);
	} else if (!strcmp(command, "reserve")) {
		char *at = mmap(NULL, (size_t)n << 30, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (at == MAP_FAILED)
			exit(3);
		g_reserved = at;
		*(void **)at = malloc(5001);
		*(void **)(at + ((size_t)n << 29)) = malloc(5002);
		*(void **)(at + ((size_t)n << 30) - 8) = malloc(5003);
	} else if (!strcmp(command, "shared")) {
		/* pointers in shared memory, in a file that is cut short, in memory that forks do not copy */
		int fd = memfd_create("shared", 0);
		char *at;

		if (ftruncate(fd, 64 << 10))
			exit(3);
		at = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		memset(at, 0, 64 << 10);
		*(void **)(at + 8) = malloc(6001);
		if (ftruncate(fd, 4096))
			exit(3);
		at = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			  0);
		*(void **)(at + 4096) = malloc(6002);
		at = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
		*(void **)(at + 16) = malloc(6003);
		madvise(at, 64 << 10, MADV_DONTFORK);
		g_reserved = at;
		at = malloc(1 << 20);		/* a block whose middle may not be read */
		*(void **)at = malloc(6004);
		*(void **)(at + (1 << 20) - 8) = malloc(6005);
		memset(at + 4096, 1, 512 << 10);
		if (mprotect((void *)(((uintptr_t)at + 65536) & ~4095ul), 65536, PROT_NONE))
			exit(3);
		g_list = (struct item *)(void *)at;
	} else if (!strcmp(command, "workers")) {
		for (long i = 0; i < n; i++)
			if (fork() == 0) {
				signal(SIGCHLD, SIG_DFL);
				fclose(stdin);
				for (long at = 0; at <= i; at++)	/* the first worker has one, and so on */
					g_ledger[0][at] = malloc(7000);
				wait_for_ever(NULL);
			}
	} else if (!strcmp(command, "daemon")) {
		/* as daemons do: fork twice, close everything, go on */
		for (int i = 0; i < 2; i++)
			if (fork())
				_exit(0);
		syscall(SYS_close_range, 3, ~0u, 0);
		g_ledger[0][0] = malloc(7100);
		printf("%d\n", getpid());
		freopen("/dev/null", "w", stderr);
	} else if (!strcmp(command, "pairs")) {
		make_pairs();
	} else if (!strcmp(command, "closefds")) {
		syscall(SYS_close_range, 3, ~0u, 0);
	} else if (!strcmp(command, "chroot")) {
		if (chroot(text) || chdir("/"))
			exit(3);
	} else if (!strcmp(command, "setuid")) {
		changes_user = 1;
		if (setgid((gid_t)n) || setuid((uid_t)n))
			exit(3);
	} else if (!strcmp(command, "drop")) {
		struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct data[2] = { { 0, 0, 0 } };

		/* as daemons do: keep one capability over the change of the user */
		if (prctl(PR_SET_KEEPCAPS, 1) || setgid((gid_t)n) || setuid((uid_t)n))
			exit(3);
		data[0].effective = data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
		if (capset(&head, data))
			exit(3);
	} else if (!strcmp(command, "lock")) {
		struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

		lock_fd = open(text, O_RDWR | O_CREAT, 0600);
		if (lock_fd < 0 || fcntl(lock_fd, F_SETLK, &range))
			exit(3);
	}
}

int main(void)
{
	char line[300], command[32], text[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGCHLD, on_sigchld);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		text[0] = 0;
		if (sscanf(line, "%31s %255s", command, text) < 1)
			continue;
		if (!strcmp(command, "quit"))
			exit(9);
		if (!strcmp(command, "children")) {
			pid_t r = waitpid(-1, NULL, WNOHANG);

			printf("%s %d\n", r < 0 && errno == ECHILD ? "ECHILD" : "CHILD", sigchld);
		} else if (!strcmp(command, "eof")) {
			printf("%llu\n", (unsigned long long)end_of_file_ms());
		} else if (!strcmp(command, "fork")) {
			printf("%llu\n", (unsigned long long)fork_ns());
		} else if (!strcmp(command, "whole")) {
			printf("%d\n", count_cut_pairs());
		} else if (!strcmp(command, "fds")) {
			printf("%d\n", descriptors());
		} else {
			obey(command, strtol(text, NULL, 10), text);
			puts("done");
		}
	}
	return 0;
}
