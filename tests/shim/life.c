/* SPDX-License-Identifier: Apache-2.0
 * life.c - the awkward moments of a process's life; one a run: life WHAT [N].
 * LIBS dl
 * FLAGS -O2 -g -fno-builtin
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "ledger.h"

extern char **environ;
static long number;
static void *early[10];

__attribute__((constructor(101))) static void before_main(void)
{
	for (int i = 0; i < 10; i++)
		early[i] = malloc(1000);
}

static void churn(long n)
{
	uint64_t seed = 0x853c49e6748fea9bull ^ (uint64_t)(uintptr_t)&n;
	void *kept[16] = { NULL };

	for (long i = 0; i < n; i++) {
		uint64_t r = ledger_random(&seed);

		free(kept[r % 16]);
		kept[r % 16] = malloc(16 + (r >> 8) % 500);
	}
	for (int i = 0; i < 16; i++)
		free(kept[i]);
}

/* what the constructor allocated counts as recorded: 10 blocks of 1000 bytes */
static void early_blocks(void)
{
	if (number) {
		for (int i = 0; i < 10; i++)
			free(early[i]);
		ledger_add(-10, -10000);
	}
}

/* ---- threads ---- */

static pthread_key_t key;

static void last_words(void *data)
{
	/* runs again and again, as destructors that allocate may: after libunwind's own */
	uintptr_t left = (uintptr_t)data;

	churn(2);
	ledger_keep(malloc(77), 77);
	if (left > 1)
		pthread_setspecific(key, (void *)(left - 1));
}

static void *with_destructor(void *data)
{
	(void)data;
	churn(10);
	pthread_setspecific(key, (void *)3);
	return NULL;
}

static void *short_life(void *data)
{
	free(malloc(100 + (size_t)(uintptr_t)data % 100));
	return NULL;
}

static void join_each(void *(*run)(void *), long count, size_t stack_bytes)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	if (stack_bytes && pthread_attr_setstacksize(&attr, stack_bytes))
		exit(4);
	for (long i = 0; i < count; i++) {
		if (pthread_create(&thread, &attr, run, (void *)(uintptr_t)i))
			exit(5);
		pthread_join(thread, NULL);
	}
	pthread_attr_destroy(&attr);
}

static void tls_destructors(void)
{
	pthread_key_create(&key, last_words);
	join_each(with_destructor, number, 0);
}

static void short_threads(void)
{
	join_each(short_life, number, 0);
}

static void *on_small_stack(void *data)
{
	(void)data;
	churn(20000);		/* more than a ring holds: this stack drains, too */
	return NULL;
}

static void small_stacks(void)
{
	join_each(on_small_stack, number, PTHREAD_STACK_MIN);
}

static _Atomic bool stop;

static void *until_stopped(void *data)
{
	(void)data;
	while (!stop)
		churn(100);
	return NULL;
}

/* ---- processes ---- */

static void wait_for(pid_t child)
{
	int status = 0;

	if (child < 0 || waitpid(child, &status, 0) != child || status)
		exit(6);
}

static void fork_threaded(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, until_stopped, NULL);
	for (long i = 0; i < number; i++) {
		pid_t child = fork();

		if (!child) {
			churn(10000);
			ledger_keep(malloc(55555), 55555);
			_exit(0);
		}
		wait_for(child);
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void *fork_and_wait(void *data)
{
	(void)data;
	for (long i = 0; i < number; i++) {
		pid_t child = fork();

		if (!child) {
			churn(500);
			_exit(0);
		}
		wait_for(child);
		churn(500);
	}
	return NULL;
}

static void forks_at_once(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, fork_and_wait, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* a fork that libc and its handlers know nothing of, as container runtimes make them */
static void raw_clone(void)
{
	for (long i = 0; i < number; i++) {
		pid_t child;

		churn(100);
		child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (!child) {
			churn(10000);
			_exit(0);
		}
		wait_for(child);
	}
}

/* The first that such a child calls is a hook that looks at its thread's ring before all else, which is not there. */
static void raw_clone_waits(void)
{
	void *(*operator_new)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");	/* jemalloc's, if it is there */
	int fd = epoll_create1(EPOLL_CLOEXEC);

	for (long i = 0; i < number; i++) {
		struct epoll_event event;
		pid_t child;

		churn(100);
		epoll_wait(fd, &event, 1, 1);
		child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (!child) {
			if (operator_new && i % 2)
				free(operator_new(64));
			epoll_wait(fd, &event, 1, 1);
			churn(1000);
			_exit(0);
		}
		wait_for(child);
	}
	close(fd);
}

/* A child forks before it calls any hook. */
static void fork_twice(void)
{
	for (long i = 0; i < number; i++) {
		pid_t child, grandchild;

		churn(100);
		child = i % 2 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (!child) {
			grandchild = fork();
			churn(100);
			if (grandchild)
				wait_for(grandchild);
			_exit(0);
		}
		wait_for(child);
	}
}

/* Such a fork with frees that the drain has not seen: in the child nobody will, until it gets those addresses again. */
static void raw_clone_reuses(void)
{
	void *volatile blocks[30];
	pid_t child;

	for (int i = 0; i < 30; i++)
		blocks[i] = malloc(536 + (size_t)i * 16);
	churn(10000);			/* more than a ring has room for: they are in the table */
	for (int i = 0; i < 30; i++)
		free(blocks[i]);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (!child) {
		for (int i = 0; i < 30; i++)
			free(blocks[i] = malloc(536 + (size_t)i * 16));
		ledger_print();
		exit(0);
	}
	wait_for(child);
}

/* the child inherits 10 blocks, frees 5, adds 2 and ends with exit(3): its line must say so */
static void fork_inherits(void)
{
	pid_t child = fork();

	if (!child) {
		if (number) {
			for (int i = 0; i < 5; i++)
				free(early[i]);
			ledger_keep(malloc(300), 300);
			ledger_keep(malloc(400), 400);
			ledger_add(-5, -5000);
		} else {
			free(malloc(1));
		}
		ledger_print();
		exit(0);
	}
	wait_for(child);
}

static void spawn_many(void)
{
	char *argv[] = { "true", NULL };

	for (long i = 0; i < number; i++) {
		pid_t child;

		if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ))
			exit(7);
		wait_for(child);
		child = vfork();
		if (!child) {
			execv("/bin/true", argv);
			_exit(1);
		}
		wait_for(child);
	}
}

static void exec_self(void)
{
	char text[] = "early", one[] = "1", *argv[] = { "life", text, one, NULL };

	churn(10000);
	execv("/proc/self/exe", argv);
	exit(8);
}

static void close_all(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		if (fd != STDOUT_FILENO && fd != STDERR_FILENO)
			close(fd);
	}
	churn(20000);
	if (open("/dev/null", O_RDONLY) != 0)
		exit(9);
	join_each(short_life, 20, 0);
}

static void allocate_in_handler(int signal_)
{
	(void)signal_;
	churn(100);
}

/* what walks stacks must not keep descriptors: a signal handler's stack is the hard kind */
static void descriptors(void)
{
	int pair[2];
	char byte = 0;

	for (int fd = 3; fd < 64; fd++)
		close(fd);
	signal(SIGUSR1, allocate_in_handler);
	raise(SIGUSR1);
	join_each(short_life, 5, 0);
	for (int fd = 3; fd < 64; fd++) {
		if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
			exit(11);
	}
	/* and must not touch those that the program opens in their place */
	if (pipe2(pair, O_NONBLOCK) || pair[0] != 3 || write(pair[1], "x", 1) != 1)
		exit(12);
	raise(SIGUSR1);
	join_each(on_small_stack, 2, 0);
	if (read(pair[0], &byte, 1) != 1 || byte != 'x' || read(pair[0], &byte, 1) != -1)
		exit(13);
}

/* ---- signals ---- */

static void signals_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	churn(50000);
	join_each(on_small_stack, 3, 0);
}

static sigjmp_buf back;
static volatile sig_atomic_t hits;

static void on_fault(int signal_)
{
	(void)signal_;
	hits++;
	siglongjmp(back, 1);
}

/* a program that catches its own faults on another stack, as runtimes do for null checks */
static void faults(void)
{
	static char other[32768];
	stack_t ss = { .ss_sp = other, .ss_size = sizeof(other) };
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };

	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (volatile long i = 0; i < number; i++) {
		if (!sigsetjmp(back, 1))
			*(volatile int *)8 = 1;
		churn(20);
	}
	if (hits != number)
		exit(10);
}

/* a handler that allocates on the smallest usual stack, the page below it out of reach */
static void narrow(void)
{
	char *low = mmap(NULL, 4096 + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t ss = { .ss_sp = low + 4096, .ss_size = 8192 };
	struct sigaction action = { .sa_handler = allocate_in_handler, .sa_flags = SA_ONSTACK };

	mprotect(low, 4096, PROT_NONE);
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (long i = 0; i < number; i++)
		raise(SIGUSR2);
}

static void on_timer(int signal_)
{
	void *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)signal_;
	munmap(p, 8192);
	hits++;
}

static void every_100us(void (*handler)(int))
{
	struct itimerval timer = { { 0, 100 }, { 0, 100 } };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void timer_off(void)
{
	struct itimerval off = { { 0, 0 }, { 0, 0 } };

	setitimer(ITIMER_REAL, &off, NULL);
}

/* handlers that map memory interrupt the hooks at any instruction */
static void signal_storm(void)
{
	every_100us(on_timer);
	while (hits < number)
		churn(1000);
	timer_off();
}

/* A handler that maps memory interrupts the allocator: nobody may enter that again, in whatever thread and however the
 * stack must be walked. strict.c tells. The first handler of a thread comes before its first block. */
static void (*forbid)(int);

static void on_forbidden(int signal_)
{
	if (forbid)
		forbid(1);
	on_timer(signal_);
	if (forbid)
		forbid(0);
}

static void *signalled(void *unused)
{
	raise(SIGUSR1);
	churn(10);
	raise(SIGUSR1);
	return unused;
}

static void in_allocator(void)
{
	pthread_key_t key;

	*(void **)&forbid = dlsym(RTLD_DEFAULT, "strict_forbid");
	for (int i = 0; i < 40; i++)		/* values of later keys need an allocation each */
		pthread_key_create(&key, NULL);
	signal(SIGUSR1, on_forbidden);
	signalled(NULL);
	join_each(signalled, (int)number, 0);
}

/* handlers that leave hooks with siglongjmp: only mmap, since malloc may not be left so */
static void jump_out(void)
{
	volatile long i = 0;

	if (!sigsetjmp(back, 1))		/* first: a handler may come at once */
		every_100us(on_fault);
	while (hits < number) {
		void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		munmap(p, 4096);
		i++;
	}
	timer_off();
	churn(1000);
	ledger_keep(malloc(4321), 4321);		/* recording goes on */
}

/* The handler's child comes back into whatever the signal interrupted: a hook, or the program. Not the allocator: our
 * thread makes fork() lock it, and then it waits for the code below itself (docs/LIMITS.md). */
static volatile sig_atomic_t forked, in_child, waiting;
static volatile pid_t newest;
static struct range { uintptr_t start, end; } forkable[2];	/* the program and the profiler */

static int find_forkable(struct dl_phdr_info *info, size_t size, void *unused)
{
	struct range *range = &forkable[strstr(info->dlpi_name, "/libleakdiff") != NULL];

	(void)size;
	(void)unused;
	if (*info->dlpi_name && range == forkable)
		return 0;
	range->start = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			range->end = range->start + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	return 0;
}

static bool may_fork(uintptr_t at)
{
	for (int i = 0; i < 2; i++)
		if (at >= forkable[i].start && at < forkable[i].end)
			return true;
	return waiting;
}

static void on_fork(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	pid_t child;

	(void)sig;
	(void)info;
	if (in_child || newest || !may_fork(at))
		return;
	child = fork();
	if (!child) {
		in_child = 1;
		forked = 0;
	} else if (child > 0) {
		newest = child;
		forked++;
	}
}

static void fork_over(void)
{
	struct epoll_event event;
	int empty = epoll_create1(0);
	struct sigaction action = { .sa_sigaction = on_fork, .sa_flags = SA_RESTART | SA_SIGINFO };

	dl_iterate_phdr(find_forkable, NULL);
	every_100us(SIG_IGN);
	sigaction(SIGALRM, &action, NULL);
	for (long i = 0; forked < number; i++) {
		if (i % 64) {
			churn(20);
		} else {
			waiting = 1;
			epoll_wait(empty, &event, 1, 5);
			waiting = 0;
		}
		if (in_child) {
			timer_off();
			churn(2000);
			_exit(0);
		}
		if (newest) {
			wait_for(newest);
			newest = 0;
		}
	}
	timer_off();
	if (in_child)
		_exit(0);
	if (newest)
		wait_for(newest);
}

/* A filter that knows this program's calls only: 1 by prctl, 2 by seccomp, 3 for all threads; 4: a vfork
 * child's, 5: one that refuses what it does not know. */
static void install(uint32_t otherwise)
{
	static const unsigned known[] = { SYS_brk, SYS_mmap, SYS_munmap, SYS_write, SYS_newfstatat, SYS_exit_group,
					  SYS_clock_nanosleep, SYS_clone, SYS_wait4, SYS_set_robust_list, SYS_madvise,
					  SYS_rt_sigprocmask, SYS_unlinkat, SYS_getpid, SYS_tgkill, SYS_epoll_wait };
	enum { COUNT = sizeof(known) / sizeof(known[0]) };
	struct sock_filter filter[COUNT + 3] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0) };
	struct sock_fprog program = { COUNT + 3, filter };

	for (unsigned i = 0; i < COUNT; i++)
		filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, known[i], (unsigned char)(COUNT - i), 0);
	filter[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	filter[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		exit(77);
	if (number == 1 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) :
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, number == 3 ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program))
		exit(77);
}

static void lock_in(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;
	pid_t child;

	churn(1000);
	if (number != 4) {
		install(number == 5 ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
	} else {
		child = vfork();
		if (!child) {
			install(SECCOMP_RET_KILL_PROCESS);
			syscall(SYS_exit_group, 0);
		}
		wait_for(child);
	}
	churn(100000);
	child = fork();
	if (!child) {
		epoll_wait(fd, &event, 1, 1);	/* of a ring that is its parent's */
		churn(1000);
		epoll_wait(fd, &event, 1, 1);
		_exit(0);
	}
	wait_for(child);
	if (number == 3)
		sleep(2);		/* a guest would look around once a second */
}

/* ---- stacks that change ---- */

static ucontext_t main_context, contexts[8];

static void coroutine(int me)
{
	for (;;) {
		churn(50);
		free(malloc(64));
		if (me & 1)
			churn(7);
		swapcontext(&contexts[me], &main_context);
	}
}

static void coroutines(void)
{
	for (int i = 0; i < 8; i++) {
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = malloc(65536);
		contexts[i].uc_stack.ss_size = 65536;
		ledger_add(1, 65536);
		makecontext(&contexts[i], (void (*)(void))coroutine, 1, i);
	}
	for (long i = 0; i < number; i++)
		swapcontext(&main_context, &contexts[i % 8]);
}

static jmp_buf top;

static __attribute__((noinline)) int deeper(int n)
{
	volatile char pad[64];

	pad[0] = (char)n;
	free(malloc((size_t)n + 1));
	if (!n)
		longjmp(top, 1);
	return deeper(n - 1) + pad[0];
}

static void long_jumps(void)
{
	for (volatile long i = 0; i < number; i++) {
		if (!setjmp(top))
			deeper((int)(i % 60));
		free(malloc(10));
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} moments[] = {
	{ "early", early_blocks }, { "tls", tls_destructors }, { "short", short_threads },
	{ "small", small_stacks }, { "fork", fork_threaded }, { "inherit", fork_inherits },
	{ "forks", forks_at_once }, { "clone", raw_clone }, { "reuse", raw_clone_reuses },
	{ "waits", raw_clone_waits }, { "twice", fork_twice },
	{ "spawn", spawn_many }, { "exec", exec_self }, { "closeall", close_all }, { "descriptors", descriptors },
	{ "blocked", signals_blocked }, { "faults", faults }, { "narrow", narrow }, { "storm", signal_storm },
	{ "jumpout", jump_out }, { "allocator", in_allocator }, { "forkover", fork_over }, { "lockin", lock_in },
	{ "coroutines", coroutines }, { "longjmp", long_jumps },
};

int main(int argc, char **argv)
{
	number = argc > 2 ? atol(argv[2]) : 0;
	for (size_t i = 0; argc > 1 && i < sizeof(moments) / sizeof(*moments); i++) {
		if (strcmp(moments[i].name, argv[1]))
			continue;
		moments[i].run();
		ledger_print();
		return 0;
	}
	return 64;
}
