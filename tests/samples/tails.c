/* SPDX-License-Identifier: Apache-2.0
 * tails.c - blocks whose size alone would mislead: test_names.py says how each is to be called.
 *
 *   struct object    with a text behind it, which now and then is as long as one or two objects
 *   char[]           kept by a library of the run time, whose callers have a pointer of another type
 *
 * With KEEPER it is that library, else the program: "ready", then it waits to be ended. With ODD its names are not
 * UTF-8, as those of symbols, threads and files need not be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct answer { long code, when; void *who; };

struct answer *keeper_ask(void);

#ifdef KEEPER

static struct answer g_answer;
static char *g_kept[64];

__attribute__((noinline)) static int keep(const char *what)
{
	static unsigned count;
	char *text = malloc(2 * sizeof(struct answer));

	if (!text)
		return -1;
	snprintf(text, 2 * sizeof(struct answer), "%s %u", what, count);
	g_kept[count++ % 64] = text;
	return (int)count;
}

struct answer *keeper_ask(void)
{
	g_answer.code = keep("asked");
	return &g_answer;
}

#else

struct object { unsigned kind, length; void *value; };

#ifdef ODD
#define NAMED(name) __asm__(name)
#else
#define NAMED(name)
#endif

struct object *g_objects[64] NAMED("g_\xffobjects");
struct object *object_new(size_t length) NAMED("make\xfe\xffobject");
static struct answer *g_last;

__attribute__((noinline)) struct object *object_new(size_t length)
{
	struct object *made = malloc(sizeof(*made) + length);

	if (!made)
		return NULL;
	made->kind = 1;
	made->length = (unsigned)length;
	memset(made + 1, 'x', length);
	return made;
}

int main(void)
{
	for (size_t i = 0; i < 40; i++)
		g_objects[i] = object_new(i);
	for (int i = 0; i < 3; i++) {
		struct answer *answer = keeper_ask();

		if (answer->code > 0)
			g_last = answer;
	}
#ifdef ODD
	prctl(PR_SET_NAME, "odd\xff\"\\");
#endif
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

#endif
