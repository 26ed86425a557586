/* SPDX-License-Identifier: Apache-2.0
 * account.c - a service whose memory is known to the byte by somebody else; one command a line, one answer a line.
 *
 *   fragment N    N blocks of 2000 bytes, all but every 20th freed again     keep MIB   one block on top of as much freed memory
 *   threads N     as many threads with an arena of their own that is fragmented
 *   pool MIB      a mapping that the program divides itself                  large N    N blocks of 1 MiB
 *   stacks N      threads that used 1 MiB of their stacks                    cache      freed blocks that stay in the thread's cache
 *   shared MIB    shared memory                                              lazy MIB   pages given back lazily
 *   fork          a child that shares all of it; answers its number          trim       malloc_trim(0): what RSS fell by
 *   mallinfo      arena hblks hblkhd uordblks fordblks keepcost fsmblks      rss        bytes
 *   ask NAME      what jemalloc (mallctl) or tcmalloc (MallocExtension) has under that name; quit */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define BLOCK 2000

void **g_kept[64];
void *g_large[1024], *g_pool, *g_shared, *g_lazy, *g_top;
static int kept, larges;

static long rss(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		exit(3);
	fclose(f);
	return pages * 4096;
}

static void fragment(long count, int slot)
{
	void **blocks = malloc((size_t)count * sizeof(*blocks));

	for (long i = 0; i < count; i++) {
		blocks[i] = malloc(BLOCK);
		memset(blocks[i], 1, BLOCK);
	}
	for (long i = 0; i < count; i++)
		if (i % 20) {
			free(blocks[i]);
			blocks[i] = NULL;
		}
	g_kept[slot] = blocks;
}

struct job { long count; int slot; pthread_barrier_t *barrier; };

static void *in_arena(void *data)
{
	struct job job = *(struct job *)data;

	fragment(job.count, job.slot);
	pthread_barrier_wait(job.barrier);
	for (;;)
		pause();
	return NULL;
}

static void *use_stack(void *data)
{
	volatile char room[1 << 20];

	for (size_t i = 0; i < sizeof(room); i += 4096)
		room[i] = 1;
	pthread_barrier_wait(data);
	for (;;)
		pause();
	return NULL;
}

static void start(int threads, long count, void *(*run)(void *))
{
	static pthread_barrier_t barrier;
	pthread_barrier_t *at = &barrier;

	pthread_barrier_init(at, NULL, (unsigned)threads + 1);
	for (int i = 0; i < threads; i++) {
		struct job *job = malloc(sizeof(*job));
		pthread_t thread;

		*job = (struct job){ count, kept++, at };
		if (pthread_create(&thread, NULL, run, run == in_arena ? (void *)job : (void *)at))
			exit(3);
	}
	pthread_barrier_wait(at);
}

static void *map(long mib, int flags)
{
	void *start = mmap(NULL, (size_t)mib << 20, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (start == MAP_FAILED)
		exit(3);
	memset(start, 1, (size_t)mib << 20);
	return start;
}

static void keep_on_top(long mib)
{
	static void *blocks[16384];
	long count = mib << 4;		/* of 64 KiB: below the size of blocks with a mapping of their own */

	for (long i = 0; i < count && i < 16384; i++) {
		blocks[i] = malloc(64 << 10);
		memset(blocks[i], 1, 64 << 10);
	}
	g_top = malloc(5000);
	for (long i = 0; i < count && i < 16384; i++)
		free(blocks[i]);
}

/* The allocator itself, asked by the program: 0 = it does not know. */
static size_t ask(const char *name)
{
	int (*mallctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
	int (*property)(const char *, size_t *) = dlsym(RTLD_DEFAULT, "MallocExtension_GetNumericProperty");
	size_t value = 0, bytes = sizeof(value);
	unsigned long epoch = 1;

	if (mallctl) {
		mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
		mallctl(name, &value, &bytes, NULL, 0);
	} else if (property) {
		property(name, &value);
	}
	return value;
}

static void obey(const char *word, long n)
{
	if (!strcmp(word, "fragment"))
		fragment(n, kept++);
	else if (!strcmp(word, "keep"))
		keep_on_top(n);
	else if (!strcmp(word, "threads"))
		start((int)n, 10000, in_arena);
	else if (!strcmp(word, "stacks"))
		start((int)n, 0, use_stack);
	else if (!strcmp(word, "pool"))
		g_pool = map(n, MAP_PRIVATE);
	else if (!strcmp(word, "shared"))
		g_shared = map(n, MAP_SHARED);
	else if (!strcmp(word, "lazy"))
		madvise(g_lazy = map(n, MAP_PRIVATE), (size_t)n << 20, MADV_FREE);
	else if (!strcmp(word, "unforked"))	/* the snapshot's process does not have it */
		madvise((char *)map(n, MAP_PRIVATE) + (1 << 20), (size_t)(n - 2) << 20, MADV_DONTFORK);
	for (long i = 0; !strcmp(word, "large") && i < n; i++)
		memset(g_large[larges++] = malloc(1 << 20), 1, 1 << 20);
	if (!strcmp(word, "cache")) {
		void *blocks[7];

		for (int i = 0; i < 7; i++)
			blocks[i] = malloc(1000);
		for (int i = 0; i < 7; i++)
			free(blocks[i]);
	}
}

int main(void)
{
	char word[32];
	long n = 0;

	setvbuf(stdout, NULL, _IOLBF, 4096);
	printf("ready\n");
	while (scanf("%31s", word) == 1 && strcmp(word, "quit")) {
		if (!strcmp(word, "mallinfo")) {
			struct mallinfo2 m = mallinfo2();

			printf("%zu %zu %zu %zu %zu %zu %zu\n", m.arena, m.hblks, m.hblkhd, m.uordblks, m.fordblks,
			       m.keepcost, m.fsmblks);
			continue;
		}
		if (!strcmp(word, "rss") || !strcmp(word, "trim")) {
			long before = *word == 't' ? rss() : 0;

			if (*word == 't')
				malloc_trim(0);
			printf("%ld\n", *word == 't' ? before - rss() : rss());
			continue;
		}
		if (!strcmp(word, "fork")) {
			pid_t pid = fork();

			if (!pid) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				for (int fd = 0; fd < 3; fd++)
					close(fd);
				for (;;)
					pause();
			}
			printf("%d\n", (int)pid);
			continue;
		}
		if (!strcmp(word, "ask")) {
			char name[128];

			printf("%zu\n", scanf("%127s", name) == 1 ? ask(name) : 0);
			continue;
		}
		if (strcmp(word, "cache") && scanf("%ld", &n) != 1)
			break;
		obey(word, n);
		printf("done\n");
	}
	return 9;
}
