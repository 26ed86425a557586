/* SPDX-License-Identifier: Apache-2.0
 * prefork.c - a master and four worker processes on one socket; one of the workers leaks.
 *
 *   PING         answers with the worker's process id
 *   NOTE text    remembers the text: the last 32 of them
 *
 * The workers run the same code. In worker 2 someone left tracing on, which keeps a copy of every
 * note for ever. The master's memory and that of the other workers stays as it is: a snapshot is of
 * one process, and the answer must differ from process to process.
 *
 *   g_trace -> next -> next -> ...
 *
 * DRIVE before   60 NOTE early-{n} @worker=1,2
 * DRIVE between  40 NOTE text-{n} @worker=1,2
 * DRIVE during   PING @worker=1,2
 * EXPECT grow worker=2 site=trace_note size=1040 count=+40 bytes=+41600 row=1
 * EXPECT suspect worker=2 verdict=growing kind=global holder=g_trace site=trace_note count=40 bytes=41600
 * EXPECT chain worker=2 g_trace -> struct trace
 * EXPECT leaks worker=2 none
 * EXPECT exit worker=2 1
 * EXPECT quiet worker=1
 * EXPECT exit worker=1 0 */
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../line_server.h"

#define WORKERS      4
#define TRACED       2
#define NOTES        32
#define NOTE_LENGTH  240

struct trace {
	struct trace *next;
	size_t length;
	char text[1024];
};

static int g_worker;			/* number of this worker */
static char *g_notes[NOTES];		/* a ring: a new note takes the place of the oldest */
static unsigned g_note_count;
static struct trace *g_trace;

static int trace_note(const char *text)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return -ENOMEM;
	trace->length = (size_t)snprintf(trace->text, sizeof(trace->text), "%s", text);
	trace->next = g_trace;
	g_trace = trace;
	return 0;
}

static int note(const char *text)
{
	char *copy = calloc(1, NOTE_LENGTH);

	if (!copy)
		return -ENOMEM;
	snprintf(copy, NOTE_LENGTH, "%s", text);
	free(g_notes[g_note_count % NOTES]);
	g_notes[g_note_count++ % NOTES] = copy;
	return g_worker == TRACED ? trace_note(text) : 0;
}

static void handle(char *request, char *reply, size_t size)
{
	if (!strcmp(request, "PING"))
		snprintf(reply, size, "OK %ld", (long)getpid());
	else if (!strncmp(request, "NOTE ", 5))
		snprintf(reply, size, note(request + 5) == 0 ? "OK" : "ERROR no memory");
	else
		snprintf(reply, size, "ERROR what?");
}

/* Returns the child's process id, or -1; does not return in the child. */
static pid_t start_worker(int number)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);	/* a worker does not outlive its master */
		g_worker = number;
		_exit(line_server_run(handle));
	}
	if (pid > 0) {
		printf("worker %d is %ld\n", number, (long)pid);
		fflush(stdout);
	}
	return pid;
}

static void on_child(int signal)
{
	(void)signal;			/* it only ends the master's wait */
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_child };
	pid_t workers[WORKERS], ended;
	sigset_t blocked, open;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGCHLD, &action, NULL);
	if (line_server_open())
		return 1;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start_worker(i);

	sigemptyset(&open);
	while (!line_ends) {
		sigsuspend(&open);
		while (!line_ends && (ended = waitpid(-1, NULL, WNOHANG)) > 0)
			for (int i = 0; i < WORKERS; i++)
				if (workers[i] == ended)	/* it died: put another in its place */
					workers[i] = start_worker(i);
	}
	for (int i = 0; i < WORKERS; i++)
		if (workers[i] > 0)
			kill(workers[i], SIGTERM);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	return 0;
}
