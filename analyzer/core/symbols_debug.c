/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_debug.c - where a file and its debug information are.
 *
 *   the file               its path, or what the process still has of it; only the build that ran
 *   its debug information  in it; a file that somebody fetched; /usr/lib/debug/.build-id; .gnu_debuglink (beside
 *                          it, in .debug/, under /usr/lib/debug); of these only one of the same build, and
 *                          without a build-id of the right CRC
 *   what dwz took out      .gnu_debugaltlink: the path in it, or by build-id
 *   .dwo files             libdw looks for them
 *   else                   .gnu_debugdata, a compressed symbol table
 *
 * Everything is looked for below the process's root, and by build-id outside of it, too. */
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/symbols_private.h"
#include "core/text.h"

#define DEBUG_ROOT "/usr/lib/debug"
#define MINI_BYTES_MAX (256ull << 20)	/* of an unpacked .gnu_debugdata */

/* Open an ELF file; false if it is not there, no regular file, or not ELF. */
static bool open_elf(const char *path, struct symbols_image *image)
{
	int fd = *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	struct stat st;
	Elf *elf;

	if (fd < 0)
		return false;
	elf = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		elf_end(elf);
		close(fd);
		return false;
	}
	*image = (struct symbols_image){ fd, elf };
	return true;
}

static void close_elf(struct symbols_image *image)
{
	if (!image->elf)
		return;
	elf_end(image->elf);
	if (image->fd >= 0)
		close(image->fd);
	image->elf = NULL;
}

static bool same_build(const uint8_t *wanted, uint32_t wanted_bytes, Elf *elf)
{
	uint8_t id[32];
	uint32_t length = symbols_elf_build_id(elf, id);

	return length == wanted_bytes && !memcmp(id, wanted, length);
}

/* CRC-32 (IEEE) of a whole file, as .gnu_debuglink has it. */
static bool same_crc(int fd, uint32_t wanted)
{
	uint8_t *buffer = malloc(65536);
	uint32_t crc = 0;
	off_t offset = 0;
	ssize_t n = -1;

	while (buffer && (n = pread(fd, buffer, 65536, offset)) > 0) {
		crc = lzma_crc32(buffer, (size_t)n, crc);
		offset += n;
	}
	free(buffer);
	return n == 0 && crc == wanted;
}

/* ---- debug files ---- */

/* Use a separate debug file if it is the right one. Takes the path. */
static bool try_debug(struct symbols_file *file, char *path, const uint32_t *crc)
{
	bool there = path && open_elf(path, &file->debug);

	free(path);
	if (!there)
		return false;
	if (file->build_id_bytes ? same_build(file->build_id, file->build_id_bytes, file->debug.elf) :
				   crc && same_crc(file->debug.fd, *crc))
		return true;
	close_elf(&file->debug);
	return false;
}

static char *build_id_path(const char *root, const uint8_t *id, uint32_t id_bytes)
{
	struct text path = { 0 };

	text_printf(&path, "%s" DEBUG_ROOT "/.build-id/%02x/", root, id[0]);
	for (uint32_t i = 1; i < id_bytes; i++)
		text_printf(&path, "%02x", id[i]);
	text_append(&path, ".debug");
	return text_take(&path);
}

static void find_debug(struct symbols_file *file, const struct symbols_place *place)
{
	const char *slash = strrchr(file->path, '/'), *link;
	int folder = slash ? (int)(slash - file->path) : 0;
	uint32_t crc;

	if (file->build_id_bytes > 1 &&
	    (try_debug(file, build_id_path(file->root, file->build_id, file->build_id_bytes), NULL) ||
	     (*file->root && try_debug(file, build_id_path("", file->build_id, file->build_id_bytes), NULL))))
		return;
	link = symbols_elf_debuglink(file->elf.elf, &crc);
	if (link && slash &&
	    (try_debug(file, text_format("%s%.*s/%s", file->root, folder, file->path, link), &crc) ||
	     try_debug(file, text_format("%s%.*s/.debug/%s", file->root, folder, file->path, link), &crc) ||
	     try_debug(file, text_format("%s" DEBUG_ROOT "%.*s/%s", file->root, folder, file->path, link), &crc)))
		return;
	try_debug(file, strdup(place->debug), NULL);
}

/* ---- what dwz took out ---- */

static bool try_alt(struct symbols_file *file, char *path, const uint8_t *id, uint32_t id_bytes)
{
	bool there = path && open_elf(path, &file->alt);

	free(path);
	if (there && !same_build(id, id_bytes, file->alt.elf))
		close_elf(&file->alt);
	return file->alt.elf != NULL;
}

/* The folder of an open file, as the kernel has it. */
static char *folder_of(int fd)
{
	char link[64], path[4096], *slash;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length <= 0)
		return NULL;
	path[length] = 0;
	slash = strrchr(path, '/');
	if (!slash)
		return NULL;
	*slash = 0;
	return strdup(path);
}

static void find_alt(struct symbols_file *file, const struct symbols_image *with_dwarf)
{
	const uint8_t *id;
	uint32_t id_bytes = 0;
	const char *name = symbols_elf_altlink(with_dwarf->elf, &id, &id_bytes);
	char *folder;

	if (!name || id_bytes < 2)
		return;
	file->incomplete |= SYMBOLS_NO_ALT;
	folder = folder_of(with_dwarf->fd);
	if (try_alt(file, *name == '/' ? text_format("%s%s", file->root, name) :
					 text_format("%s/%s", folder ? folder : "", name), id, id_bytes) ||
	    try_alt(file, build_id_path(file->root, id, id_bytes), id, id_bytes) ||
	    (*file->root && try_alt(file, build_id_path("", id, id_bytes), id, id_bytes)))
		file->incomplete &= ~(unsigned)SYMBOLS_NO_ALT;
	free(folder);
}

/* ---- the whole ---- */

static bool has_dwarf(Elf *elf)
{
	return elf && (symbols_elf_has_section(elf, ".debug_info") || symbols_elf_has_section(elf, ".zdebug_info"));
}

static void identify(const struct symbols_image *image, const char *what, struct text *identity)
{
	struct stat st;

	if (image->elf && fstat(image->fd, &st) == 0)
		text_printf(identity, "%s %lld %lld.%09ld ", what, (long long)st.st_size,
			    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

int symbols_debug_open(struct symbols_file *file, const struct symbols_place *place, struct text *ret_identity)
{
	int missing = SYMBOLS_MISSING;
	const struct symbols_image *with_dwarf;
	char *path;
	bool there;

	if (*file->path != '/')			/* the kernel's own: linux-vdso.so.1 */
		return SYMBOLS_MISSING;
	path = text_format("%s%s", file->root, file->path);
	if (!path)
		return -ENOMEM;
	there = open_elf(path, &file->elf);
	free(path);
	if (there && !same_build(file->build_id, file->build_id_bytes, file->elf.elf)) {
		missing = SYMBOLS_OTHER_BUILD;
		close_elf(&file->elf);
	}
	if (!file->elf.elf && open_elf(place->fallback, &file->elf) &&
	    (!file->build_id_bytes || !same_build(file->build_id, file->build_id_bytes, file->elf.elf)))
		close_elf(&file->elf);
	if (!file->elf.elf)
		return missing;
	if (!has_dwarf(file->elf.elf))
		find_debug(file, place);
	with_dwarf = file->debug.elf ? &file->debug : &file->elf;
	find_alt(file, with_dwarf);
	identify(&file->elf, "file", ret_identity);
	identify(&file->debug, "debug", ret_identity);
	identify(&file->alt, "alt", ret_identity);
	if (!has_dwarf(with_dwarf->elf))
		file->incomplete |= SYMBOLS_NO_DEBUG;
	return SYMBOLS_NONE | (int)file->incomplete;
}

void symbols_debug_read_dwarf(struct symbols_file *file)
{
	Elf *with_dwarf = file->debug.elf ? file->debug.elf : file->elf.elf;

	if (!has_dwarf(with_dwarf))
		return;
	file->dwarf = symbols_dwarf_open(with_dwarf, file->alt.elf);
	if (file->dwarf && symbols_dwarf_missing(file->dwarf))
		file->incomplete |= SYMBOLS_NO_SPLIT;
}

/* Unpack, without believing what the data says of its size. NULL = malformed, too large, or no memory. */
static uint8_t *unpack(const void *packed, size_t packed_bytes, size_t *ret_bytes)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	uint8_t *bytes = NULL, *wider;
	size_t room = 0;
	lzma_ret r = LZMA_OK;

	if (lzma_stream_decoder(&stream, 64 << 20, 0) != LZMA_OK)
		return NULL;
	stream.next_in = packed;
	stream.avail_in = packed_bytes;
	while (r == LZMA_OK && room < MINI_BYTES_MAX) {
		room = room ? room * 2 : 1 << 20;
		wider = realloc(bytes, room);
		if (!wider)
			break;
		bytes = wider;
		stream.next_out = bytes + stream.total_out;
		stream.avail_out = room - stream.total_out;
		r = lzma_code(&stream, LZMA_FINISH);
	}
	*ret_bytes = stream.total_out;
	lzma_end(&stream);
	if (r != LZMA_STREAM_END || !*ret_bytes) {
		free(bytes);
		bytes = NULL;
	}
	return bytes;
}

int symbols_debug_read_mini(struct symbols_file *file)
{
	size_t packed_bytes, bytes;
	const void *packed = file->debug.elf ? NULL : symbols_elf_section(file->elf.elf, ".gnu_debugdata", &packed_bytes);

	if (!packed)
		return 0;
	file->mini_bytes = unpack(packed, packed_bytes, &bytes);
	if (!file->mini_bytes)
		return 0;
	file->mini.fd = -1;
	file->mini.elf = elf_memory((char *)file->mini_bytes, bytes);
	return file->mini.elf ? symbols_elf_read_tables(file, file->mini.elf) : 0;
}

void symbols_debug_done(struct symbols_file *file)
{
	close_elf(&file->mini);
	close_elf(&file->alt);
	close_elf(&file->debug);
	close_elf(&file->elf);
	free(file->mini_bytes);
}
