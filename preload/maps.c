/* SPDX-License-Identifier: Apache-2.0
 * L2  maps.c - reading the process's own mappings; see maps.h.
 *
 * Of this thread rather than of the process: a process whose main thread has ended has an empty
 * /proc/self/maps. Line by line through one static buffer: the agent and the snapshot child are the only readers,
 * and the child has a copy of its own. */
#include "maps.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "arena.h"
#include "kernel.h"

#define READ_ATTEMPTS 1000
#define LINE_MAX_BYTES (8u << 10)	/* a path is at most PATH_MAX, escaped newlines included */

static _Alignas(16) char buffer[64u << 10];

struct lines {
	int fd;
	int error;
	size_t used, at;
	bool ended;
};

/* The next line, NUL-terminated in place, or NULL at the end. */
static char *line_next(struct lines *lines)
{
	for (;;) {
		char *start = buffer + lines->at;
		char *newline = memchr(start, '\n', lines->used - lines->at);
		long got = 0;

		if (newline) {
			*newline = 0;
			lines->at = (size_t)(newline - buffer) + 1;
			return start;
		}
		if (lines->ended)
			return NULL;
		lines->used -= lines->at;
		memmove(buffer, start, lines->used);
		lines->at = 0;
		if (lines->used > sizeof(buffer) - LINE_MAX_BYTES)
			return NULL;
		for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
			got = kernel_read(lines->fd, buffer + lines->used,
					  sizeof(buffer) - lines->used);
			if (got != -EINTR && got != -EAGAIN)
				break;	/* the kernel may be at odds with a mapping in the making */
		}
		if (got < 0)
			lines->error = (int)got;
		if (got <= 0)
			lines->ended = true;
		else
			lines->used += (size_t)got;
	}
}

int ld__maps_new(struct maps *maps, uint32_t count, uint32_t names_bytes)
{
	memset(maps, 0, sizeof(*maps));
	maps->capacity = count + count / 4 + 1024;
	maps->names_capacity = names_bytes + names_bytes / 4 + (64u << 10);
	maps->entries = ld__arena_map(maps->capacity * sizeof(*maps->entries));
	maps->names = ld__arena_map(maps->names_capacity);
	if (maps->entries && maps->names)
		return 0;
	ld__maps_free(maps);
	return -ENOMEM;
}

void ld__maps_free(struct maps *maps)
{
	if (maps->entries)
		ld__arena_unmap(maps->entries, maps->capacity * sizeof(*maps->entries));
	if (maps->names)
		ld__arena_unmap(maps->names, maps->names_capacity);
	memset(maps, 0, sizeof(*maps));
}

static uint32_t keep_name(struct maps *maps, const char *name, uint32_t previous)
{
	size_t bytes = text_length(name) + 1;

	if (bytes == 1)
		return 0;
	if (previous && text_same(maps->names + previous, name))
		return previous;	/* the segments of one file follow each other */
	if (maps->names_used + bytes > maps->names_capacity)
		return 0;
	memcpy(maps->names + maps->names_used, name, bytes);
	maps->names_used += (uint32_t)bytes;
	return (uint32_t)(maps->names_used - bytes);
}

/* "start-end rwxp offset major:minor inode   name" */
static bool parse_head(const char *line, struct map_entry *entry, const char **ret_name)
{
	uint64_t inode;

	memset(entry, 0, sizeof(*entry));
	entry->start = ld__text_hex(&line);
	if (*line++ != '-')
		return false;
	entry->end = ld__text_hex(&line);
	if (*line++ != ' ')
		return false;
	entry->prot =
		(uint8_t)((line[0] == 'r' ? PROT_READ : 0) | (line[1] == 'w' ? PROT_WRITE : 0) |
			  (line[2] == 'x' ? PROT_EXEC : 0));
	entry->shared = line[3] == 's';
	line += 5;
	entry->offset = ld__text_hex(&line);
	line++;
	ld__text_hex(&line);
	line++;
	ld__text_hex(&line);
	line++;
	inode = ld__text_decimal(&line);
	entry->file = inode != 0;
	while (*line == ' ')
		line++;
	*ret_name = line;
	if (text_starts(line, "/dev/") && !text_starts(line, "/dev/shm/") &&
	    !text_starts(line, "/dev/zero") && !text_starts(line, "/dev/hugepages"))
		entry->flags |= MAP_DEVICE;
	return true;
}

/* The number behind a key, in bytes: "Rss:       12 kB". */
static uint64_t parse_kilobytes(const char *line)
{
	while (*line == ' ')
		line++;
	return ld__text_decimal(&line) << 10;
}

static void sum_number(const char *line, struct maps *maps)
{
	static const struct { const char *key; size_t offset; } sums[] = {
		{ "Private_Clean:", __builtin_offsetof(struct maps, private_bytes) },
		{ "Private_Dirty:", __builtin_offsetof(struct maps, private_bytes) },
		{ "LazyFree:", __builtin_offsetof(struct maps, lazy_free_bytes) },
		{ "AnonHugePages:", __builtin_offsetof(struct maps, huge_bytes) },
	};

	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
		if (text_starts(line, sums[i].key))
			*(uint64_t *)(void *)((char *)maps + sums[i].offset) +=
				parse_kilobytes(line + text_length(sums[i].key));
}

static void parse_number(const char *line, struct map_entry *entry)
{
	static const struct { const char *key; size_t offset; } keys[] = {
		{ "Rss:", __builtin_offsetof(struct map_entry, rss_bytes) },
		{ "Pss:", __builtin_offsetof(struct map_entry, pss_bytes) },
		{ "Swap:", __builtin_offsetof(struct map_entry, swap_bytes) },
		{ "Anonymous:", __builtin_offsetof(struct map_entry, anon_bytes) },
	};

	if (text_starts(line, "VmFlags:")) {
		for (line += 8; line[0] == ' ' && line[1]; line += 3) {
			if ((line[1] == 'i' && line[2] == 'o') ||
			    (line[1] == 'p' && line[2] == 'f'))
				entry->flags |= MAP_DEVICE;
			if (line[1] == 'd' && line[2] == 'c')
				entry->flags |= MAP_DONTFORK;
		}
		return;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!text_starts(line, keys[i].key))
			continue;
		*(uint64_t *)(void *)((char *)entry + keys[i].offset) =
			parse_kilobytes(line + text_length(keys[i].key));
	}
}

int ld__maps_read(struct maps *maps, int proc_fd, bool numbers)
{
	struct lines lines = { .fd = kernel_openat(
				       proc_fd, numbers ? "thread-self/smaps" : "thread-self/maps",
				       O_RDONLY, 0) };
	struct map_entry *entry = NULL;
	char *line;

	if (lines.fd < 0)
		return lines.fd;
	maps->count = maps->refused = 0;
	maps->names_used = 1;
	maps->private_bytes = maps->lazy_free_bytes = maps->huge_bytes = 0;
	while ((line = line_next(&lines)) != NULL) {
		const char *name;
		struct map_entry head;

		if ((line[0] < '0' || line[0] > '9') && (line[0] < 'a' || line[0] > 'f')) {
			if (entry)
				parse_number(line, entry);
			sum_number(line, maps);
			continue;
		}
		if (!parse_head(line, &head, &name))
			continue;
		if (maps->count == maps->capacity) {
			maps->refused++;
			entry = NULL;
			continue;
		}
		head.name = keep_name(maps, name, entry ? entry->name : 0);
		if (!numbers)
			head.rss_bytes = head.pss_bytes = head.swap_bytes = head.anon_bytes =
				MAP_NUMBER_UNKNOWN;
		entry = &maps->entries[maps->count++];
		*entry = head;
	}
	kernel_close(lines.fd);
	if (lines.error)
		return lines.error;
	return maps->refused ? -E2BIG : maps->count ? 0 : -EIO;
}

const struct map_entry *ld__maps_find(const struct maps *maps, uint64_t addr)
{
	uint32_t low = 0, high = maps->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (maps->entries[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maps->count && maps->entries[low].start <= addr ? &maps->entries[low] : NULL;
}

/* ---- pages ---- */

bool ld__spans_old_kernel;

static void span_add(struct spans *spans, uint64_t start, uint64_t end)
{
	struct span *last = spans->count ? &spans->items[spans->count - 1] : NULL;

	if (last && last->end == start) {
		last->end = end;
	} else if (spans->count < spans->capacity) {
		spans->items[spans->count++] = (struct span) { start, end };
	} else {
		spans->refused_pages += (end - start) / PAGE_BYTES;
	}
}

/* PAGEMAP_SCAN of Linux 6.7; the build machine's headers may be older. */
struct scan_region { uint64_t start, end, categories; };
struct scan_request {
	uint64_t size, flags, start, end, walk_end, vec, vec_length, max_pages,
		 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_request)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_ZERO (1u << 5)

static int64_t add_by_scan(struct spans *spans, int fd, uint64_t start, uint64_t end)
{
	struct scan_region *regions = (struct scan_region *)(void *)buffer;
	int64_t total = 0;

	while (start < end) {
		struct scan_request request = {
			.size = sizeof(request), .start = start, .end = end,
			.vec = (uint64_t)(uintptr_t)regions,
			.vec_length = sizeof(buffer) / sizeof(*regions),
			.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
			.return_mask = SCAN_FILE | SCAN_PRESENT | SCAN_SWAPPED | SCAN_ZERO,
		};
		long n = ld__sys3(SYS_ioctl, fd, SCAN_IOCTL, &request);

		if (n < 0)
			return n;
		for (long i = 0; i < n; i++) {
			bool present = regions[i].categories & SCAN_PRESENT;

			if (present && regions[i].categories & (SCAN_FILE | SCAN_ZERO))
				continue;
			span_add(spans, regions[i].start, regions[i].end);
			total += (int64_t)(regions[i].end - regions[i].start);
		}
		/* walk_end is only right when the vector was full: after a walk to the end, kernels leave
		 * there where they last emptied a buffer of their own. */
		if ((uint64_t)n < request.vec_length)
			return total;
		if (request.walk_end <= start)
			return -EIO;
		start = request.walk_end;
	}
	return total;
}

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)

static int64_t add_by_pagemap(struct spans *spans, int fd, uint64_t start, uint64_t end)
{
	uint64_t *entries = (uint64_t *)(void *)buffer;
	int64_t total = 0;

	while (start < end) {
		uint64_t pages = (end - start) / PAGE_BYTES;
		long got;

		if (pages > sizeof(buffer) / 8)
			pages = sizeof(buffer) / 8;
		got = kernel_pread(fd, entries, pages * 8, start / PAGE_BYTES * 8);
		if (got < 8)
			return got < 0 ? got : -EIO;
		for (long i = 0; i < got / 8; i++, start += PAGE_BYTES) {
			if (!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) ||
			    (entries[i] & PAGEMAP_PRESENT && entries[i] & PAGEMAP_FILE))
				continue;
			span_add(spans, start, start + PAGE_BYTES);
			total += PAGE_BYTES;
		}
	}
	return total;
}

static int64_t add_by_mincore(struct spans *spans, uint64_t start, uint64_t end)
{
	unsigned char *pages = (unsigned char *)buffer;
	int64_t total = 0;

	while (start < end) {
		uint64_t count = (end - start) / PAGE_BYTES;
		long r;

		if (count > sizeof(buffer))
			count = sizeof(buffer);
		r = ld__sys3(SYS_mincore, start, count * PAGE_BYTES, pages);
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < count; i++, start += PAGE_BYTES) {
			if (!(pages[i] & 1))
				continue;
			span_add(spans, start, start + PAGE_BYTES);
			total += PAGE_BYTES;
		}
	}
	return total;
}

int64_t ld__spans_add(struct spans *spans, int pagemap_fd, uint64_t start, uint64_t end,
		      bool shared)
{
	int64_t total = -ENOTTY;
	uint64_t count = spans->count;
	struct span last = count ? spans->items[count - 1] : (struct span) { 0, 0 };

	start = PAGE_DOWN(start);
	end = PAGE_UP(end);
	if (shared || pagemap_fd < 0)
		return add_by_mincore(spans, start, end);
	if (!ld__spans_old_kernel)
		total = add_by_scan(spans, pagemap_fd, start, end);
	if (total < 0) {
		spans->count = count;
		if (count)
			spans->items[count - 1] = last;
		total = add_by_pagemap(spans, pagemap_fd, start, end);
	}
	return total;
}
