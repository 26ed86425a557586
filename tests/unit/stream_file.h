/* SPDX-License-Identifier: Apache-2.0
 * stream_file.h - bytes as a descriptor, and a temporary folder, for tests of readers and writers. */
#ifndef LEAKDIFF_STREAM_FILE_H
#define LEAKDIFF_STREAM_FILE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A descriptor that reads these bytes and then ends. */
static inline int file_of(const uint8_t *bytes, size_t count)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0 || (count && pwrite(fd, bytes, count, 0) != (ssize_t)count)) {
		perror("memfd");
		exit(2);
	}
	return fd;
}

/* A folder that is removed, with its files, at the end of the program. */
static char test_folder[64];

static inline void remove_test_folder(void)
{
	DIR *folder = opendir(test_folder);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(folder), entry->d_name, 0);
	if (folder)
		closedir(folder);
	rmdir(test_folder);
}

/* "<folder>/<name>", in one of a few static buffers. */
static inline const char *in_folder(const char *name)
{
	static char path[8][256];
	static unsigned next;

	if (!*test_folder) {
		strcpy(test_folder, "/tmp/leakdiff-test-XXXXXX");
		if (!mkdtemp(test_folder)) {
			perror("mkdtemp");
			exit(2);
		}
		atexit(remove_test_folder);
	}
	next = (next + 1) % 8;
	snprintf(path[next], sizeof(path[next]), "%s/%s", test_folder, name);
	return path[next];
}

/* How many files lie in the test folder (hidden ones too). */
static inline int files_in_folder(void)
{
	DIR *folder;
	struct dirent *entry;
	int count = 0;

	in_folder("");
	folder = opendir(test_folder);
	while (folder && (entry = readdir(folder)))
		count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	if (folder)
		closedir(folder);
	return count;
}

/* A whole file; the caller frees. */
static inline uint8_t *read_whole(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = NULL;
	long size;

	if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
		bytes = malloc((size_t)size + 1);
		rewind(file);
		*ret_size = bytes ? fread(bytes, 1, (size_t)size, file) : 0;
	}
	if (file)
		fclose(file);
	return bytes;
}

static inline void write_whole(const char *path, const uint8_t *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(2);
	}
}

#endif
