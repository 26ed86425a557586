/* SPDX-License-Identifier: Apache-2.0
 * L0  temporary.c - see temporary.h.
 *
 * (1) A name stays in its place, whole, from the moment its owner stands there until that is 0 again: a
 *     handler can come at any instant, on any thread, and needs no lock.
 * (2) Names are added when the file has been made: one that another process has under the same name is
 *     never deleted. */
#include "core/temporary.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define PLACES 8			/* a command has two at a time */

static struct place {
	_Atomic int owner;		/* process; 0 = free, -1 = being filled */
	char path[PATH_MAX];
} places[PLACES];

void temporary_add(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < PLACES && length < sizeof(places[i].path); i++) {
		int none = 0;

		if (!atomic_compare_exchange_strong(&places[i].owner, &none, -1))
			continue;
		memcpy(places[i].path, path, length + 1);
		atomic_store(&places[i].owner, (int)getpid());
		return;
	}
}

void temporary_drop(const char *path)
{
	int self = (int)getpid();

	for (size_t i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].owner) == self && !strcmp(places[i].path, path))
			atomic_store(&places[i].owner, 0);
}

void temporary_clear(void)
{
	int self = (int)getpid();

	for (size_t i = PLACES; i-- > 0;)
		if (atomic_load(&places[i].owner) == self && unlink(places[i].path) < 0)
			rmdir(places[i].path);
}
