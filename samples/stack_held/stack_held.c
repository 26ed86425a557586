/* SPDX-License-Identifier: Apache-2.0
 * stack_held.c - a list that only a local variable of a thread's function holds.
 *
 *   LOG text     hands a line to the collector
 *   WAIT         answers when the collector has taken every line
 *
 * The collector gathers lines into a batch on its stack and means to write the batch out when it is
 * told to flush. Nobody ever tells it. No global variable leads to the lines: the way to them begins
 * in the stack frame of collect(), in the thread "collector".
 *
 * DRIVE before   20 LOG early-{n}; WAIT
 * DRIVE between  60 LOG line-{n}; WAIT
 * DRIVE rest     1.0
 * DRIVE during   WAIT
 * EXPECT grow site=line_new size=2072 count=+60 bytes=+124320 row=1
 * EXPECT suspect verdict=growing kind=stack holder~collect thread~collector site=line_new count=60
 * EXPECT chain ~collect\(\) local batch stack \.first -> struct line
 * EXPECT leaks none
 * EXPECT exit 1 */
#include <pthread.h>
#include <stdlib.h>

#include "../line_server.h"

struct line {
	struct line *next;
	size_t length;
	char text[2056];
};

struct batch {
	struct line *first, **last;
	size_t count;
};

/* The hand-over: one line at a time. */
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_changed = PTHREAD_COND_INITIALIZER;
static char g_text[LINE_LENGTH];
static int g_full, g_ends;

static struct line *line_new(const char *text)
{
	struct line *line = calloc(1, sizeof(*line));

	if (line)
		line->length = (size_t)snprintf(line->text, sizeof(line->text), "%s", text);
	return line;
}

static int batch_add(struct batch *batch, const char *text)
{
	struct line *line = line_new(text);

	if (!line)
		return -ENOMEM;
	*batch->last = line;
	batch->last = &line->next;
	batch->count++;
	return 0;
}

/* Write the batch out and empty it. */
static void batch_flush(struct batch *batch, FILE *to)
{
	while (batch->first) {
		struct line *line = batch->first;

		if (to)
			fprintf(to, "%s\n", line->text);
		batch->first = line->next;
		free(line);
	}
	batch->last = &batch->first;
	batch->count = 0;
}

/* Wait for a line. Returns 0 when there is none any more. */
static int take(char text[LINE_LENGTH])
{
	int more;

	pthread_mutex_lock(&g_lock);
	while (!g_full && !g_ends)
		pthread_cond_wait(&g_changed, &g_lock);
	more = g_full;
	if (more)
		memcpy(text, g_text, sizeof(g_text));
	pthread_mutex_unlock(&g_lock);
	return more;
}

static void taken(void)
{
	pthread_mutex_lock(&g_lock);
	g_full = 0;
	pthread_cond_broadcast(&g_changed);
	pthread_mutex_unlock(&g_lock);
}

static void *collect(void *argument)
{
	struct batch batch = { .last = &batch.first };
	char text[LINE_LENGTH];

	(void)argument;
	while (take(text)) {
		if (batch_add(&batch, text) < 0)
			fprintf(stderr, "a line is lost: no memory\n");
		taken();
	}
	batch_flush(&batch, NULL);
	return NULL;
}

static void handle(char *request, char *reply, size_t size)
{
	pthread_mutex_lock(&g_lock);
	while (g_full)
		pthread_cond_wait(&g_changed, &g_lock);
	if (!strncmp(request, "LOG ", 4)) {
		snprintf(g_text, sizeof(g_text), "%s", request + 4);
		g_full = 1;
		pthread_cond_broadcast(&g_changed);
	} else if (strcmp(request, "WAIT")) {
		snprintf(reply, size, "ERROR what?");
	}
	pthread_mutex_unlock(&g_lock);
}

int main(void)
{
	pthread_t collector;

	if (line_server_open() || pthread_create(&collector, NULL, collect, NULL))
		return 1;
	pthread_setname_np(collector, "collector");
	line_server_run(handle);

	pthread_mutex_lock(&g_lock);
	g_ends = 1;
	pthread_cond_broadcast(&g_changed);
	pthread_mutex_unlock(&g_lock);
	pthread_join(collector, NULL);
	return 0;
}
