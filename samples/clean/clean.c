/* SPDX-License-Identifier: Apache-2.0
 * clean.c - a server that frees what it allocates; nothing may be reported.
 *
 *   SORT words...     the words in order
 *
 * Every request allocates: a copy of the line, an array that grows, a copy of each word. All of it
 * is gone when the reply is sent. A snapshot that falls into a request sees some of it alive.
 *
 * DRIVE before   300 SORT pear apple {n} fig orange quince {n} lemon
 * DRIVE between  300 SORT pear apple {n} fig orange quince {n} lemon
 * DRIVE during   SORT b c a
 * EXPECT quiet
 * EXPECT leaks none
 * EXPECT exit 0 */
#include <stdlib.h>

#include "../line_server.h"

struct words {
	char **items;
	size_t count, capacity;
};

static int words_add(struct words *words, const char *word)
{
	if (words->count == words->capacity) {
		size_t capacity = words->capacity ? words->capacity * 2 : 4;
		char **items = realloc(words->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		words->items = items;
		words->capacity = capacity;
	}
	words->items[words->count] = strdup(word);
	if (!words->items[words->count])
		return -ENOMEM;
	words->count++;
	return 0;
}

static void words_done(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->items[i]);
	free(words->items);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int sort(const char *line, char *reply, size_t size)
{
	struct words words = { 0 };
	char *copy = strdup(line), *save, *word;
	size_t used;
	int r = copy ? 0 : -ENOMEM;

	for (word = copy ? strtok_r(copy, " ", &save) : NULL; word && r == 0;
	     word = strtok_r(NULL, " ", &save))
		r = words_add(&words, word);
	if (r == 0) {
		if (words.count)
			qsort(words.items, words.count, sizeof(*words.items), by_name);
		used = (size_t)snprintf(reply, size, "OK");
		for (size_t i = 0; i < words.count && used < size; i++)
			used += (size_t)snprintf(reply + used, size - used, " %s", words.items[i]);
	}
	words_done(&words);
	free(copy);
	return r;
}

static void handle(char *request, char *reply, size_t size)
{
	if (strncmp(request, "SORT ", 5))
		snprintf(reply, size, "ERROR what?");
	else if (sort(request + 5, reply, size) < 0)
		snprintf(reply, size, "ERROR no memory");
}

int main(void)
{
	return line_server_open() || line_server_run(handle);
}
