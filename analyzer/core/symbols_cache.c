/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_cache.c - answers about files of a build, kept from one ingest to the next.
 *
 *   $XDG_CACHE_HOME/leakdiff/symbols/<build-id>-<hash of the key>     0600, in a 0700 folder of this user
 *
 * (1) The key is the build of leakdiff itself and which debug information there was (sizes and dates), so
 *     a newer leakdiff, or debug information that was installed since, begins anew.
 * (2) A cache file is somebody's input like any other: only a regular file of this user is read, never through
 *     a link, with a checksum and limits, and its records are checked as those of the reader are.
 * (3) Nothing here is an error: without a cache everything works, and takes longer.
 * (4) Files get their name by rename(2), so who reads at the same time sees the whole of one or the other.
 *     The longest unused go first when there is too much. */
#include "core/symbols_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core/crc32c.h"
#include "core/text.h"

#define FORMAT 1u
#define KEY_MAX 4096u

struct symbols_cache { int folder; char *own; bool wrote; };

struct head {				/* of a cache file; then the key, then the packed records */
	char magic[8];
	uint32_t format, crc, state, key_bytes;
	uint64_t packed_bytes, bytes;
};

static const char magic[8] = "LDNAMES\n";

/* ---- the folder ---- */

/* Open a folder of this user below another, made when it is missing. -1: it cannot be used. */
static int open_folder(int above, const char *name)
{
	struct stat st;
	int fd;

	if (mkdirat(above, name, 0700) < 0 && errno != EEXIST)
		return -1;
	fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Where users' caches are: only in a folder of this user, so that root leaves none in another's home. */
static int open_base(void)
{
	const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	struct stat st;
	int above, fd;

	if (base && *base == '/') {
		fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && mkdir(base, 0700) == 0)
			fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} else {
		above = home && *home == '/' ? open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (above < 0)
			return -1;
		fd = fstat(above, &st) == 0 && st.st_uid == geteuid() ? open_folder(above, ".cache") : -1;
		close(above);
	}
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid())) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Build-id of this program, as text. */
static int own_build(struct dl_phdr_info *info, size_t size, void *data)
{
	struct text *text = data;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const char *at = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		const char *end = at + info->dlpi_phdr[i].p_memsz;

		while (info->dlpi_phdr[i].p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const void *)at;
			const char *description = at + sizeof(*note) + (note->n_namesz + 3) / 4 * 4;

			at = description + (note->n_descsz + 3) / 4 * 4;
			for (uint32_t b = 0; note->n_type == NT_GNU_BUILD_ID && b < note->n_descsz; b++)
				text_printf(text, "%02x", (unsigned char)description[b]);
		}
	}
	return 1;				/* the first is the program */
}

struct symbols_cache *symbols_cache_open(void)
{
	struct symbols_cache *cache;
	struct text own = { 0 };
	int base = open_base(), ours;

	if (base < 0)
		return NULL;
	ours = open_folder(base, "leakdiff");
	close(base);
	if (ours < 0)
		return NULL;
	cache = calloc(1, sizeof(*cache));
	if (cache) {
		cache->folder = open_folder(ours, "symbols");
		text_printf(&own, "%s ", LEAKDIFF_VERSION);
		dl_iterate_phdr(own_build, &own);
		cache->own = text_take(&own);
	}
	close(ours);
	if (cache && (cache->folder < 0 || !cache->own))
		return symbols_cache_close(cache);
	return cache;
}

/* ---- files ---- */

static char *make_key(const struct symbols_cache *cache, const char *identity)
{
	return text_format("%s %s", cache->own, identity);
}

static char *make_name(const uint8_t *build_id, uint32_t build_id_bytes, const char *key)
{
	struct text name = { 0 };

	for (uint32_t i = 0; i < build_id_bytes; i++)
		text_printf(&name, "%02x", build_id[i]);
	text_printf(&name, "-%08x", crc32c(0, key, strlen(key)));
	return text_take(&name);
}

static void *read_file(int folder, const char *name, size_t *ret_bytes)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	char *bytes = NULL;
	size_t used = 0;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
	    st.st_size >= (off_t)sizeof(struct head) && st.st_size <= (off_t)SYMBOLS_CACHE_FILE_MAX)
		bytes = malloc((size_t)st.st_size);
	while (bytes && used < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + used, (size_t)st.st_size - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (bytes && used == (size_t)st.st_size) {
		futimens(fd, NULL);		/* the time of its last use */
		*ret_bytes = used;
	} else {
		free(bytes);
		bytes = NULL;
	}
	close(fd);
	return bytes;
}

/* The records of a cache file; NULL if they are not to be believed. */
static uint8_t *unpack(const char *file, size_t file_bytes, const char *key, struct head *ret_head)
{
	struct head *head = ret_head;
	uint8_t *records;

	memcpy(head, file, sizeof(*head));
	if (memcmp(head->magic, magic, sizeof(magic)) || head->format != FORMAT || head->key_bytes != strlen(key) ||
	    head->bytes > SYMBOLS_CACHE_FILE_MAX || head->packed_bytes > file_bytes ||
	    file_bytes != sizeof(*head) + head->key_bytes + head->packed_bytes ||
	    memcmp(file + sizeof(*head), key, head->key_bytes) ||
	    crc32c(0, file + sizeof(*head), file_bytes - sizeof(*head)) != head->crc)
		return NULL;
	records = malloc(head->bytes + 1);
	if (records && ZSTD_decompress(records, head->bytes, file + sizeof(*head) + head->key_bytes,
				       head->packed_bytes) != head->bytes) {
		free(records);
		records = NULL;
	}
	return records;
}

int symbols_cache_load(struct symbols_cache *cache, const uint8_t *build_id, uint32_t build_id_bytes,
		       const char *identity, struct symbols_answers *answers, unsigned *ret_state)
{
	char *key = make_key(cache, identity), *name = key ? make_name(build_id, build_id_bytes, key) : NULL;
	size_t file_bytes = 0;
	char *file = name ? read_file(cache->folder, name, &file_bytes) : NULL;
	struct head head;
	uint8_t *records = file ? unpack(file, file_bytes, key, &head) : NULL;
	int r = 0;

	if (records) {
		r = symbols_answers_add(answers, records, head.bytes);
		if (r == -EBADMSG)
			symbols_answers_done(answers);
		else
			*ret_state = head.state;
		r = r == -EBADMSG ? 0 : r < 0 ? r : 1;
	}
	free(records);
	free(file);
	free(name);
	free(key);
	return r;
}

static bool write_all(int fd, const void *bytes, size_t count)
{
	for (size_t at = 0; at < count;) {
		ssize_t n = write(fd, (const char *)bytes + at, count - at);

		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

void symbols_cache_save(struct symbols_cache *cache, const uint8_t *build_id, uint32_t build_id_bytes,
			const char *identity, const struct symbols_answers *answers, unsigned state)
{
	char *key = make_key(cache, identity), *name = key ? make_name(build_id, build_id_bytes, key) : NULL;
	char *temporary = name ? text_format(".%s.%d", name, (int)getpid()) : NULL;
	size_t room = ZSTD_compressBound(answers->used), key_bytes = key ? strlen(key) : 0, packed;
	char *file = temporary ? malloc(sizeof(struct head) + key_bytes + room) : NULL;
	struct head head = { .format = FORMAT, .state = state, .key_bytes = (uint32_t)key_bytes, .bytes = answers->used };
	int fd = -1;

	if (name && answers->used > SYMBOLS_CACHE_FILE_MAX)
		unlinkat(cache->folder, name, 0);	/* begin anew the next time */
	if (!file || key_bytes > KEY_MAX || answers->used > SYMBOLS_CACHE_FILE_MAX)
		goto done;
	memcpy(file + sizeof(head), key, key_bytes);
	packed = ZSTD_compress(file + sizeof(head) + key_bytes, room, answers->bytes, answers->used, 1);
	if (ZSTD_isError(packed))
		goto done;
	memcpy(head.magic, magic, sizeof(magic));
	head.packed_bytes = packed;
	head.crc = crc32c(0, file + sizeof(head), key_bytes + packed);
	memcpy(file, &head, sizeof(head));
	unlinkat(cache->folder, temporary, 0);	/* of a process of this number that was killed */
	fd = openat(cache->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		goto done;
	if (!write_all(fd, file, sizeof(head) + key_bytes + packed) ||
	    renameat(cache->folder, temporary, cache->folder, name) < 0)
		unlinkat(cache->folder, temporary, 0);
	cache->wrote = true;
done:
	if (fd >= 0)
		close(fd);
	free(file);
	free(temporary);
	free(name);
	free(key);
}

/* ---- room ---- */

struct kept { char name[256]; uint64_t bytes; struct timespec used; };

static int compare_use(const void *pa, const void *pb)
{
	const struct timespec *a = &((const struct kept *)pa)->used, *b = &((const struct kept *)pb)->used;

	if (a->tv_sec != b->tv_sec)
		return a->tv_sec > b->tv_sec ? -1 : 1;
	return a->tv_nsec > b->tv_nsec ? -1 : a->tv_nsec < b->tv_nsec;
}

static void make_room(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	struct kept *kept = NULL;
	size_t count = 0, room = 0;
	uint64_t bytes = 0;

	if (!list && fd >= 0)
		close(fd);
	for (const struct dirent *entry; list && (entry = readdir(list));) {
		struct stat st;

		if (fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (count == room) {
			struct kept *wider = reallocarray(kept, room ? room * 2 : 64, sizeof(*wider));

			if (!wider)
				break;
			kept = wider;
			room = room ? room * 2 : 64;
		}
		snprintf(kept[count].name, sizeof(kept[count].name), "%s", entry->d_name);
		kept[count].bytes = (uint64_t)st.st_size;
		kept[count++].used = st.st_mtim;
	}
	if (list)
		closedir(list);
	if (count)
		qsort(kept, count, sizeof(*kept), compare_use);
	for (size_t i = 0; i < count; i++) {
		bytes += kept[i].bytes;
		if (bytes > SYMBOLS_CACHE_BYTES || i >= SYMBOLS_CACHE_FILES)
			unlinkat(folder, kept[i].name, 0);
	}
	free(kept);
}

struct symbols_cache *symbols_cache_close(struct symbols_cache *cache)
{
	if (!cache)
		return NULL;
	if (cache->wrote)
		make_room(cache->folder);
	if (cache->folder >= 0)
		close(cache->folder);
	free(cache->own);
	free(cache);
	return NULL;
}
