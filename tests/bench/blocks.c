/* SPDX-License-Identifier: Apache-2.0
 * blocks.c - a heap of many small linked blocks: sessions in a hash table, each with a list of items.
 *
 *   bench_blocks COUNT   makes COUNT blocks, says "ready"; for each line on stdin it adds a twentieth
 *                        more sessions and says "ready" again
 *
 * About three references a block: the table, lists through neighbours, and each item back to its session. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct item { struct item *next; struct session *session; struct item *other; char *name; size_t length; };
struct session { struct session *next; struct item *items; char *user; uint64_t id; };

enum { BUCKETS = 65536, ITEMS = 9 };
static struct session *g_sessions[BUCKETS];
static uint64_t session_count, seed = 88172645463325252u;

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static __attribute__((noinline)) void *take(size_t bytes)
{
	void *block = calloc(1, bytes);

	if (!block)
		exit(2);
	return block;
}

static __attribute__((noinline)) struct item *new_item(struct session *session, struct item *other)
{
	struct item *item = take(sizeof(*item));

	item->session = session;
	item->other = other;
	item->length = 16 + draw() % 200;
	item->name = take(item->length);
	return item;
}

/* One session is 2 + 2 * ITEMS = 20 blocks. */
static __attribute__((noinline)) void new_session(void)
{
	struct session *session = take(sizeof(*session));
	struct session **bucket = &g_sessions[draw() % BUCKETS];
	struct item *last = NULL;

	session->id = session_count++;
	session->user = take(32);
	for (int i = 0; i < ITEMS; i++) {
		struct item *item = new_item(session, last);

		item->next = session->items;
		session->items = last = item;
	}
	session->next = *bucket;
	*bucket = session;
}

int main(int argc, char **argv)
{
	uint64_t want = (argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000) / (2 + 2 * ITEMS);
	char line[16];

	do {
		for (uint64_t end = session_count ? session_count + want / 20 : want; session_count < end;)
			new_session();
		puts("ready");
		fflush(stdout);
	} while (fgets(line, sizeof(line), stdin));
	return 0;
}
