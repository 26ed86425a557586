/* SPDX-License-Identifier: Apache-2.0
 * L2  symbols.c - names for addresses: which files to open, and what to ask of them in which order.
 *
 * (1) Everything is read with pread (ELF_C_READ), never mapped: a binary that is truncated while we
 *     read gives an error, not a SIGBUS.
 * (2) Nothing that is missing or malformed is an error here; it means fewer names, and the state of
 *     the file says so. Only short memory is an error.
 * (3) Calls are by file and address only and return interned strings, so that this part can move
 *     into a child process with limits. */
#include "core/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/demangle.h"
#include "core/hash_index.h"
#include "core/symbols_private.h"
#include "core/text.h"

#define DEBUG_ROOT "/usr/lib/debug"

struct symbols {
	char *root;			/* "" or a prefix without trailing slash */
	struct strings *strings;
	struct symbols_file *files;
	int count, capacity;
	struct hash_index index;	/* by path and build-id */
};

struct symbols *symbols_new(const char *root, struct strings *strings)
{
	struct symbols *symbols = calloc(1, sizeof(*symbols));
	size_t length;

	if (!symbols)
		return NULL;
	symbols->strings = strings;
	symbols->root = strdup(root ? root : "");
	if (!symbols->root)
		return symbols_free(symbols);
	for (length = strlen(symbols->root); length && symbols->root[length - 1] == '/'; length--)
		symbols->root[length - 1] = 0;
	elf_version(EV_CURRENT);
	return symbols;
}

static void close_file(struct symbols_file *file)
{
	if (file->types)
		file->free_types(file->types);
	file->types = NULL;
	file->dwarf = symbols_dwarf_free(file->dwarf);
	elf_end(file->debug_elf);
	elf_end(file->elf);
	file->elf = file->debug_elf = NULL;
	if (file->fd >= 0)
		close(file->fd);
	if (file->debug_fd >= 0)
		close(file->debug_fd);
	file->fd = file->debug_fd = -1;
}

struct symbols *symbols_free(struct symbols *symbols)
{
	if (!symbols)
		return NULL;
	for (int i = 0; i < symbols->count; i++) {
		struct symbols_file *file = &symbols->files[i];

		close_file(file);
		free(file->functions.symbols);
		free(file->variables.symbols);
		free(file->tls.symbols);
		free(file->sections);
		free(file->path);
		free(file->fallback);
	}
	free(symbols->files);
	hash_index_done(&symbols->index);
	free(symbols->root);
	free(symbols);
	return NULL;
}

static uint32_t hash_file(const char *path, const uint8_t *build_id, uint32_t build_id_bytes)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
	while (build_id_bytes--)
		hash = (hash ^ *build_id++) * 0x100000001b3u;
	return hash_fold(hash);
}

/* Room for one more file. Numbers do not change. */
static int make_room(struct symbols *symbols)
{
	int capacity = symbols->capacity ? symbols->capacity * 2 : 32;
	struct symbols_file *files;

	if (symbols->count < symbols->capacity)
		return 0;
	files = reallocarray(symbols->files, (size_t)capacity, sizeof(*files));
	if (!files)
		return -ENOMEM;
	symbols->files = files;
	symbols->capacity = capacity;
	return 0;
}

struct file_key { const char *path; const uint8_t *build_id; uint32_t build_id_bytes; };

static bool same_file(const void *owner, uint32_t number, const void *key)
{
	const struct symbols_file *file = &((const struct symbols *)owner)->files[number];
	const struct file_key *wanted = key;

	return !strcmp(file->path, wanted->path) && file->build_id_bytes == wanted->build_id_bytes &&
	       !memcmp(file->build_id, wanted->build_id, wanted->build_id_bytes);
}

int symbols_add(struct symbols *symbols, const char *path, const uint8_t *build_id,
		uint32_t build_id_bytes)
{
	struct file_key key = { path, build_id, build_id_bytes };
	struct symbols_file *file;
	uint32_t hash, number;

	if (key.build_id_bytes > sizeof(file->build_id))
		key.build_id_bytes = sizeof(file->build_id);
	hash = hash_file(path, build_id, key.build_id_bytes);
	number = hash_index_find(&symbols->index, hash, same_file, symbols, &key);
	if (number != HASH_NONE)
		return (int)number;
	if (make_room(symbols) < 0)
		return -ENOMEM;
	file = &symbols->files[symbols->count];
	memset(file, 0, sizeof(*file));
	file->fd = file->debug_fd = -1;
	file->path = strdup(path);
	if (!file->path || hash_index_add(&symbols->index, hash, (uint32_t)symbols->count) < 0) {
		free(file->path);
		return -ENOMEM;
	}
	memcpy(file->build_id, build_id, key.build_id_bytes);
	file->build_id_bytes = key.build_id_bytes;
	return symbols->count++;
}

int symbols_add_fallback(struct symbols *symbols, int number, const char *path)
{
	struct symbols_file *file = &symbols->files[number];

	if (file->fallback || !file->build_id_bytes)
		return 0;
	file->fallback = strdup(path);
	return file->fallback ? 0 : -ENOMEM;
}

/* ---- opening ---- */

/* Open an ELF file; NULL if it is not there, no regular file, or not ELF. */
static Elf *open_elf(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	Elf *elf;

	if (fd < 0)
		return NULL;
	elf = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		elf_end(elf);
		close(fd);
		return NULL;
	}
	*ret_fd = fd;
	return elf;
}

static bool same_build(const struct symbols_file *file, Elf *elf)
{
	uint8_t id[32];
	uint32_t length = symbols_elf_build_id(elf, id);

	return length == file->build_id_bytes && !memcmp(id, file->build_id, length);
}

/* CRC-32 (IEEE) of a whole file, as .gnu_debuglink has it. */
static bool same_crc(int fd, uint32_t wanted)
{
	static uint32_t table[256];
	uint8_t *buffer = malloc(65536);
	uint32_t crc = UINT32_MAX;
	off_t offset = 0;
	ssize_t n = -1;

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
			table[i] = c;
		}
	while (buffer && (n = pread(fd, buffer, 65536, offset)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			crc = crc >> 8 ^ table[(crc ^ buffer[i]) & 0xff];
		offset += n;
	}
	free(buffer);
	return n == 0 && ~crc == wanted;
}

/* Use a separate debug file if it is the right one. Takes the path. */
static bool try_debug(struct symbols_file *file, char *path, const uint32_t *crc)
{
	int fd;
	Elf *elf;
	bool right;

	if (!path)
		return false;
	elf = open_elf(path, &fd);
	free(path);
	if (!elf)
		return false;
	right = file->build_id_bytes ? same_build(file, elf) : crc && same_crc(fd, *crc);
	if (!right) {
		elf_end(elf);
		close(fd);
		return false;
	}
	file->debug_elf = elf;
	file->debug_fd = fd;
	return true;
}

static char *build_id_path(const char *root, const struct symbols_file *file)
{
	struct text path = { 0 };

	text_printf(&path, "%s" DEBUG_ROOT "/.build-id/%02x/", root, file->build_id[0]);
	for (uint32_t i = 1; i < file->build_id_bytes; i++)
		text_printf(&path, "%02x", file->build_id[i]);
	text_append(&path, ".debug");
	return text_take(&path);
}

static void find_debug(struct symbols *symbols, struct symbols_file *file)
{
	const char *slash = strrchr(file->path, '/'), *link;
	int folder = slash ? (int)(slash - file->path) : 0;
	uint32_t crc;

	if (file->build_id_bytes > 1 &&
	    (try_debug(file, build_id_path(symbols->root, file), NULL) ||
	     (*symbols->root && try_debug(file, build_id_path("", file), NULL))))
		return;
	link = symbols_elf_debuglink(file->elf, &crc);
	if (!link || !slash)
		return;
	if (try_debug(file, text_format("%s%.*s/%s", symbols->root, folder, file->path, link),
		      &crc) ||
	    try_debug(file,
		      text_format("%s%.*s/.debug/%s", symbols->root, folder, file->path, link),
		      &crc))
		return;
	try_debug(file,
		  text_format("%s" DEBUG_ROOT "%.*s/%s", symbols->root, folder, file->path, link),
		  &crc);
}

/* Read the tables of a file that was found. */
static int read_file(struct symbols *symbols, struct symbols_file *file)
{
	Elf *with_dwarf;
	int r;

	if (!symbols_elf_has_section(file->elf, ".debug_info") &&
	    !symbols_elf_has_section(file->elf, ".zdebug_info"))
		find_debug(symbols, file);
	with_dwarf = file->debug_elf ? file->debug_elf : file->elf;
	r = symbols_elf_read_tables(file, file->elf);
	if (r >= 0 && file->debug_elf)
		r = symbols_elf_read_tables(file, file->debug_elf);
	if (r >= 0)
		r = symbols_elf_read_sections(file, file->elf);
	if (r < 0)
		return r;
	symbols_elf_sort(&file->functions);
	symbols_elf_sort(&file->variables);
	symbols_elf_sort(&file->tls);
	if (symbols_elf_has_section(with_dwarf, ".debug_info") ||
	    symbols_elf_has_section(with_dwarf, ".zdebug_info"))
		file->dwarf = symbols_dwarf_open(with_dwarf);
	file->state = file->dwarf				     ? SYMBOLS_DWARF :
		      file->functions.count || file->variables.count ? SYMBOLS_SYMTAB :
								       SYMBOLS_NONE;
	return 0;
}

int symbols_need_file(struct symbols *symbols, int number, struct symbols_file **ret_file)
{
	struct symbols_file *file = &symbols->files[number];
	char *path;
	int r;

	*ret_file = file;
	if (file->state != SYMBOLS_UNUSED)
		return file->state >= SYMBOLS_NONE;
	file->state = SYMBOLS_MISSING;
	if (*file->path != '/')			/* the kernel's own: linux-vdso.so.1 */
		return 0;
	path = text_format("%s%s", symbols->root, file->path);
	if (!path)
		return -ENOMEM;
	file->elf = open_elf(path, &file->fd);
	free(path);
	if (file->elf && !same_build(file, file->elf)) {
		file->state = SYMBOLS_OTHER_BUILD;
		close_file(file);
	}
	if (!file->elf && file->fallback) {
		file->elf = open_elf(file->fallback, &file->fd);
		if (file->elf && !same_build(file, file->elf))
			close_file(file);
	}
	if (!file->elf)
		return 0;
	r = read_file(symbols, file);
	return r < 0 ? r : 1;
}

/* ---- asking ---- */

/* A C library's DWARF knows its functions as __libc_malloc or __strdup; a person calls malloc and
 * strdup, which are other symbols at the same place. */
static int prefer_public_name(struct symbols *symbols, struct symbols_file *file, uint64_t addr,
			      struct symbols_frame *frame)
{
	const struct symbol *symbol;

	if (strncmp(frame->function, "__", 2) || strcmp(frame->language, "c"))
		return 0;
	symbol = symbols_elf_find(&file->functions, addr);
	if (!symbol || *symbol->name == '_' || strchr(symbol->name, '.'))
		return 0;
	frame->function = strings_intern(symbols->strings, symbol->name);
	return frame->function ? 0 : -ENOMEM;
}

int symbols_frames(struct symbols *symbols, int number, uint64_t addr,
		   struct symbols_frame *ret_frames, int max)
{
	struct symbols_file *file;
	const struct symbol *symbol;
	char *name;
	int r;

	r = symbols_need_file(symbols, number, &file);
	if (r <= 0 || max < 1)
		return r;
	if (file->dwarf) {
		r = symbols_dwarf_frames(file->dwarf, symbols->strings, addr, ret_frames, max);
		if (r < 0)
			return r;
		if (r > 0)
			return prefer_public_name(symbols, file, addr, &ret_frames[r - 1]) < 0 ?
				       -ENOMEM :
				       r;
	}
	symbol = symbols_elf_find(&file->functions, addr);
	if (!symbol)
		return 0;
	name = demangle_function(symbol->name);
	if (!name)
		return -ENOMEM;
	ret_frames[0] = (struct symbols_frame){
		.function = strings_intern(symbols->strings, name), .file = "",
		.language = demangle_language(symbol->name) };
	free(name);
	if (file->dwarf)
		symbols_dwarf_line(file->dwarf, symbols->strings, addr, &ret_frames[0]);
	return ret_frames[0].function ? 1 : -ENOMEM;
}

static int describe(struct symbols *symbols, const struct symbol *symbol, uint64_t addr,
		    struct symbols_variable *ret_variable)
{
	char *name = demangle_variable(symbol->name);

	if (!name)
		return -ENOMEM;
	*ret_variable = (struct symbols_variable){
		.name = strings_intern(symbols->strings, name), .start = symbol->start,
		.end = symbol->end > addr ? symbol->end : addr + 1 };
	free(name);
	return ret_variable->name ? 1 : -ENOMEM;
}

int symbols_variable(struct symbols *symbols, int number, uint64_t addr,
		     struct symbols_variable *ret_variable)
{
	struct symbols_file *file;
	const struct symbol *symbol;
	int r;

	r = symbols_need_file(symbols, number, &file);
	if (r <= 0)
		return r;
	symbol = symbols_elf_find(&file->variables, addr);
	if (symbol && addr < symbol->end)
		return describe(symbols, symbol, addr, ret_variable);
	for (size_t i = 0; i < file->section_count; i++) {
		const struct section *section = &file->sections[i];

		if (addr < section->start || addr >= section->end)
			continue;
		*ret_variable = (struct symbols_variable){
			.name = strings_intern(symbols->strings, section->name), .start = section->start,
			.end = section->end, .is_section = true };
		return ret_variable->name ? 1 : -ENOMEM;
	}
	return 0;
}

int symbols_tls(struct symbols *symbols, int number, uint64_t offset,
		struct symbols_variable *ret_variable)
{
	struct symbols_file *file;
	const struct symbol *symbol;
	int r;

	r = symbols_need_file(symbols, number, &file);
	if (r <= 0)
		return r;
	symbol = symbols_elf_find(&file->tls, offset);
	return symbol && offset < symbol->end ? describe(symbols, symbol, offset, ret_variable) : 0;
}

struct strings *symbols_strings(const struct symbols *symbols)
{
	return symbols->strings;
}

enum symbols_state symbols_state(const struct symbols *symbols, int file)
{
	return symbols->files[file].state;
}
