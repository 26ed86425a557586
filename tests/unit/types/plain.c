/* SPDX-License-Identifier: Apache-2.0
 * plain.c - C as services have it: what test_symbols_types.c expects of it stands there. */
#include "fixture.h"

#include <string.h>

#define NOINLINE __attribute__((noinline))

struct list { struct list *next, *prev; };

struct entry {
	struct list node;		/* embedded first */
	const char *key;
	unsigned used : 1, dirty : 3;
	union { long number; char *text; };
	void *body;
	int grid[3][4];
	struct { short low, high; } range;
	struct entry *more[];		/* flexible */
};

typedef struct { struct entry **buckets; size_t count; double load; } table;

struct peer;				/* defined in more.c */
struct never;				/* defined nowhere */

enum mood { GLAD, SAD };

struct holder { enum mood mood; table tables[2]; struct peer *peer; struct never *never; int (*call)(int); };

table g_table;
static struct holder g_holder;
struct entry *g_first;
_Thread_local struct entry *t_last;
struct peer *g_peer;
volatile int g_sink;

NOINLINE struct entry *make_entry(size_t extra)
{
	struct entry *made;

	fixture_name("variable");
	made = fixture_take(sizeof(*made) + extra);
	if (!made)
		return NULL;
	made->key = "key";
	made->used = 1;
	return made;
}

NOINLINE void fill_table(table *to, size_t count)
{
	fixture_name("field");
	to->buckets = fixture_take(count * sizeof(*to->buckets));
	to->count = count;
}

NOINLINE void put_first(void)
{
	fixture_name("global");
	g_first = fixture_take(sizeof(*g_first));
}

NOINLINE void *fixture_wrapped(size_t bytes)
{
	void *made;

	fixture_name("wrapper");
	made = fixture_take(bytes + 16);
	g_sink++;
	return made;
}

NOINLINE char *copy(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *made;

	fixture_name("text");
	made = fixture_take(bytes);
	memcpy(made, text, bytes);
	return made;
}

/* A text behind a header whose length depends on the text's. */
NOINLINE char *counted(const char *text)
{
	size_t bytes = strlen(text) + 1, header = bytes < 32 ? 1 : bytes < 256 ? 3 : 9;
	void *block;
	char *made;

	fixture_name("counted");
	block = fixture_take(header + bytes);
	made = (char *)block + header;
	memcpy(made, text, bytes);
	made[-1] = (char)header;
	return made;
}

static inline __attribute__((always_inline)) struct holder *inlined(void)
{
	fixture_name("inlined");
	struct holder *made = fixture_take(sizeof(*made));

	made->mood = SAD;
	return made;
}

NOINLINE struct holder *with_inlined(void)
{
	struct holder *held = inlined();

	held->tables[1].load = 1;
	return held;
}

NOINLINE void fill_slot(struct entry *into, int at)
{
	fixture_name("flexible");
	into->more[at] = fixture_take(sizeof(struct entry));
	g_sink++;
}

NOINLINE int locals(int n)
{
	struct entry local_entry;
	struct holder *volatile local_pointer = &g_holder;
	static int counter;

	memset(&local_entry, n, sizeof(local_entry));
	counter += n;
	fixture_local("local_entry", &local_entry.key, __builtin_dwarf_cfa());
	fixture_local("local_pointer", &local_pointer, __builtin_dwarf_cfa());
	fixture_address("data", "counter", &counter);
	return local_entry.grid[1][2] + (local_pointer != NULL);
}

/* Two variables in one place, one after the other. */
NOINLINE int turns(int n)
{
	{
		struct list before[3];

		memset(before, n, sizeof(before));
		fixture_address("other", "before", before);
	}
	{
		table after[3];

		memset(after, n, sizeof(after));
		fixture_local("after", after, __builtin_dwarf_cfa());
		return after[1].count != 0;
	}
}

struct peer *make_peer(void);

int main(int argc, char **argv)
{
	struct entry *entry = make_entry(2 * sizeof(entry));

	(void)argv;
	fill_table(&g_table, 16);
	put_first();
	g_table.buckets[0] = fixture_wrapped(sizeof(*entry));
	entry->key = copy("text");
	entry->key = counted(entry->key);
	with_inlined();
	fill_slot(entry, 1);
	t_last = entry;
	g_peer = make_peer();
	g_holder.peer = g_peer;
	fixture_address("data", "g_table", &g_table);
	fixture_address("data", "g_holder", &g_holder.tables[1]);
	fixture_address("data", "g_first", &g_first);
	fixture_address("data", "g_peer", &g_peer);
	fixture_thread("t_last", &t_last);
	return locals(argc) + turns(argc) == 12345;
}
