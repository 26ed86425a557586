/* SPDX-License-Identifier: Apache-2.0
 * bounded_cache.c - a cache that is full: it keeps as much as before, and must not be called a leak.
 *
 *   PUT key     remembers 8 KiB under the key; the least recently used of 64 entries gives way
 *   GET key     HIT or MISS
 *
 * Between the snapshots every entry is replaced: all of them are new, all of them are alive, and they
 * are held by a global variable. Only that the old ones went as the new ones came tells this from a
 * leak.
 *
 * DRIVE before   100 PUT early-{n}
 * DRIVE between  200 PUT key-{n}
 * DRIVE during   GET key-1
 * EXPECT grow site=entry_new size=8256 count=+0 bytes=+0 new=64
 * EXPECT quiet
 * EXPECT leaks none
 * EXPECT exit 0 */
#include <stdlib.h>

#include "../line_server.h"

#define ENTRIES_MAX 64

struct entry {
	struct entry *newer, *older;
	char key[48];
	unsigned char value[8192];
};

static struct {
	struct entry *newest, *oldest;
	size_t count;
} g_cache;

static struct entry *entry_new(const char *key)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry)
		snprintf(entry->key, sizeof(entry->key), "%s", key);
	return entry;
}

static void cache_unlink(struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &g_cache.newest) = entry->older;
	*(entry->older ? &entry->older->newer : &g_cache.oldest) = entry->newer;
	entry->newer = entry->older = NULL;
	g_cache.count--;
}

static void cache_link_newest(struct entry *entry)
{
	entry->older = g_cache.newest;
	*(g_cache.newest ? &g_cache.newest->newer : &g_cache.oldest) = entry;
	g_cache.newest = entry;
	g_cache.count++;
}

/* Find an entry and make it the newest. */
static struct entry *cache_get(const char *key)
{
	struct entry *entry = g_cache.newest;

	while (entry && strcmp(entry->key, key))
		entry = entry->older;
	if (entry) {
		cache_unlink(entry);
		cache_link_newest(entry);
	}
	return entry;
}

static int cache_put(const char *key)
{
	struct entry *entry = cache_get(key);

	if (entry)
		return 0;
	while (g_cache.count >= ENTRIES_MAX) {
		struct entry *oldest = g_cache.oldest;

		cache_unlink(oldest);
		free(oldest);
	}
	entry = entry_new(key);
	if (!entry)
		return -ENOMEM;
	cache_link_newest(entry);
	return 0;
}

static void handle(char *request, char *reply, size_t size)
{
	if (!strncmp(request, "PUT ", 4))
		snprintf(reply, size, cache_put(request + 4) == 0 ? "OK" : "ERROR no memory");
	else if (!strncmp(request, "GET ", 4))
		snprintf(reply, size, "OK %s", cache_get(request + 4) ? "HIT" : "MISS");
	else
		snprintf(reply, size, "ERROR what?");
}

int main(void)
{
	if (line_server_open() || line_server_run(handle))
		return 1;
	while (g_cache.oldest) {
		struct entry *oldest = g_cache.oldest;

		cache_unlink(oldest);
		free(oldest);
	}
	return 0;
}
