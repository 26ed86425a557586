/* SPDX-License-Identifier: Apache-2.0
 * victim.c - the service that the fault tests ill-treat: it keeps one node for each line that it reads
 * and answers with what it keeps, while two threads allocate and free. It must answer every line,
 * whatever happens to leakdiff. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct node { struct node *next; char *text; size_t length; };
static struct node *g_kept;

static void keep(const char *line)
{
	struct node *node = malloc(sizeof(*node));

	if (!node)
		exit(3);
	node->length = strlen(line);
	node->text = malloc(1000);
	if (!node->text)
		exit(3);
	memcpy(node->text, line, node->length + 1);
	node->next = g_kept;
	g_kept = node;
}

static void *churn(void *unused)
{
	(void)unused;
	for (unsigned n = 0;; n++) {
		void *blocks[64];

		for (int i = 0; i < 64; i++)
			blocks[i] = malloc(16 + (n * 7 + i) % 900);
		for (int i = 0; i < 64; i++)
			free(blocks[i]);
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[2];
	char line[400];

	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, churn, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		size_t count = 0, bytes = 0;

		keep(line);
		for (struct node *n = g_kept; n; n = n->next) {
			count++;
			bytes += n->length;
		}
		printf("%zu %zu\n", count, bytes);
		fflush(stdout);
	}
	return 5;
}
