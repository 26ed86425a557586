/* SPDX-License-Identifier: Apache-2.0
 * profiled.c - grows when it is told to, and asks the allocator behind it for its heap profile.
 *
 *   profiled      then lines on standard input: "leak N" blocks of 1000 bytes, "dump FILE"
 *
 * Two sites: grow() leaks, hold() allocates 2000 blocks of 4000 bytes once. Each line is answered. */
/* LIBS dl */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *volatile profiled_kept[1 << 20];	/* volatile: else no block is ever made */
static size_t kept_count;

static void keep(void *block, size_t bytes)
{
	memset(block, 1, bytes);
	profiled_kept[kept_count++] = block;
}

__attribute__((noinline)) static void grow(void)
{
	keep(malloc(1000), 1000);
}

__attribute__((noinline)) static void hold(void)
{
	keep(malloc(4000), 4000);
}

static void dump(const char *path)
{
	int (*mallctl)(const char *, void *, size_t *, void *, size_t) = NULL;
	void *symbol = dlsym(RTLD_DEFAULT, "mallctl");

	memcpy(&mallctl, &symbol, sizeof(symbol));
	printf("%d\n", mallctl ? mallctl("prof.dump", NULL, NULL, &path, sizeof(path)) : -1);
}

int main(void)
{
	char line[512];

	for (int i = 0; i < 2000; i++)
		hold();
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "leak ", 5)) {
			for (long n = strtol(line + 5, NULL, 10); n > 0 && kept_count < 1 << 20; n--)
				grow();
			puts("0");
		} else if (!strncmp(line, "dump ", 5)) {
			dump(line + 5);
		}
		fflush(stdout);
	}
	return 0;
}
