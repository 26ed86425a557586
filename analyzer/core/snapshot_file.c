/* SPDX-License-Identifier: Apache-2.0
 * L6  snapshot_file.c - open what a person named: a snapshot, or a heap profile as one. */
#include "core/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/ingest.h"
#include "core/profile.h"
#include "core/store.h"
#include "core/temporary.h"
#include "core/text.h"

struct temporary { char *folder, *path; };

static void temporary_done(struct temporary *temporary)
{
	if (temporary->path)
		unlink(temporary->path);
	if (temporary->folder) {
		rmdir(temporary->folder);
		temporary_drop(temporary->folder);
	}
	if (temporary->path)
		temporary_drop(temporary->path);
	free(temporary->path);
	free(temporary->folder);
}

/* Returns a descriptor of a heap profile, or -1: whatever else it is, the store says what is wrong. */
static int open_profile(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char head[16];
	struct stat st;
	ssize_t bytes;

	if (fd < 0)
		return -1;
	bytes = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, head, sizeof(head), 0) : 0;
	if (bytes <= 0 || !profile_is(head, (size_t)bytes)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Make the snapshot of a profile in a folder that only we can enter. */
static int convert(int fd, const char *path, struct temporary *temporary, char **ret_error)
{
	struct ingest_options options = { .source = path, .owner_uid = -1, .owner_gid = -1 };
	const char *base = getenv("TMPDIR");
	struct ingest_result result;
	char *folder;

	folder = text_format("%s/leakdiff.XXXXXX", base && *base == '/' ? base : "/tmp");
	if (folder && !mkdtemp(folder)) {
		int code = -errno;

		*ret_error = text_format("cannot make a folder for the snapshot of %s: %s: %s", path, folder,
					 strerror(errno));
		free(folder);
		return code;
	}
	temporary->folder = folder;
	temporary->path = folder ? text_format("%s/profile.snap", folder) : NULL;
	if (!temporary->path)
		return -ENOMEM;
	temporary_add(folder);
	temporary_add(temporary->path);
	return ingest_run(fd, temporary->path, &options, &result, ret_error);
}

int snapshot_file_open(const char *path, struct store **ret_store, char **ret_error)
{
	struct temporary temporary = { 0 };
	int fd = open_profile(path), r;

	*ret_error = NULL;
	if (fd < 0)
		return store_open(path, ret_store, ret_error);
	r = convert(fd, path, &temporary, ret_error);
	close(fd);
	if (r >= 0)
		r = store_open(temporary.path, ret_store, ret_error);
	temporary_done(&temporary);
	if (r >= 0 && store_rename(*ret_store, path) < 0) {
		*ret_store = store_free(*ret_store);
		r = -ENOMEM;
	}
	return r;
}

int snapshot_file_attach(struct store *store, const char *path, const char *name, char **ret_error)
{
	struct temporary temporary = { 0 };
	int fd = open_profile(path), r;

	*ret_error = NULL;
	if (fd < 0)
		return store_attach(store, path, name, ret_error);
	r = convert(fd, path, &temporary, ret_error);
	close(fd);
	if (r >= 0)
		r = store_attach(store, temporary.path, name, ret_error);
	temporary_done(&temporary);
	return r;
}
