/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_files.c - files with names, as the reader process has them open, and what is asked of them.
 *
 * (1) Everything is read with pread (ELF_C_READ), never mapped: a binary that is truncated while we
 *     read gives an error, not a SIGBUS.
 * (2) Nothing that is missing or malformed is an error here; it means fewer names, and the state of
 *     the file says so. Only short memory is an error.
 * (3) This runs in the process of symbols_reader.c, in tests and under the fuzzer: input may crash it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/demangle.h"
#include "core/symbols_private.h"

#define FILES_MAX (1 << 20)

struct symbols_files {
	struct strings *strings;
	struct symbols_file **files;	/* by the number of who asks; NULL = not opened */
	int count;
};

struct symbols_files *symbols_files_new(struct strings *strings)
{
	struct symbols_files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->strings = strings;
	elf_version(EV_CURRENT);
	return files;
}

static struct symbols_file *close_file(struct symbols_file *file)
{
	if (!file)
		return NULL;
	if (file->types)
		file->free_types(file->types);
	symbols_dwarf_free(file->dwarf);
	symbols_debug_done(file);
	layouts_done(&file->layouts);
	free(file->functions.symbols);
	free(file->variables.symbols);
	free(file->tls.symbols);
	free(file->sections);
	free(file->root);
	free(file->path);
	free(file);
	return NULL;
}

struct symbols_files *symbols_files_free(struct symbols_files *files)
{
	if (!files)
		return NULL;
	for (int i = 0; i < files->count; i++)
		close_file(files->files[i]);
	free(files->files);
	free(files);
	return NULL;
}

static int make_room(struct symbols_files *files, int number)
{
	struct symbols_file **wider;

	if (number < 0 || number >= FILES_MAX)
		return -EINVAL;
	if (number < files->count)
		return 0;
	wider = reallocarray(files->files, (size_t)number + 1, sizeof(struct symbols_file *));
	if (!wider)
		return -ENOMEM;
	files->files = wider;
	while (files->count <= number)
		files->files[files->count++] = NULL;
	return 0;
}

int symbols_files_open(struct symbols_files *files, int number, const struct symbols_place *place,
		       struct text *ret_identity)
{
	struct symbols_file *file;
	int r = make_room(files, number);

	if (r < 0)
		return r;
	files->files[number] = close_file(files->files[number]);
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	files->files[number] = file;
	file->root = strdup(place->root);
	file->path = strdup(place->path);
	if (!file->root || !file->path || layouts_init(&file->layouts) < 0)
		return -ENOMEM;
	file->build_id_bytes = place->build_id_bytes < sizeof(file->build_id) ? place->build_id_bytes :
										  (uint32_t)sizeof(file->build_id);
	memcpy(file->build_id, place->build_id, file->build_id_bytes);
	r = symbols_debug_open(file, place, ret_identity);
	file->state = (enum symbols_state)(r < 0 ? SYMBOLS_MISSING : r & 0xff);
	return r;
}

int symbols_files_read(struct symbols_files *files, int number, bool without_dwarf)
{
	struct symbols_file *file = number >= 0 && number < files->count ? files->files[number] : NULL;
	int r;

	if (!file)
		return SYMBOLS_MISSING;
	if (file->state != SYMBOLS_NONE)
		return (int)file->state;
	r = symbols_elf_read_tables(file, file->elf.elf);
	if (r >= 0 && file->debug.elf)
		r = symbols_elf_read_tables(file, file->debug.elf);
	if (r >= 0 && !without_dwarf)
		r = symbols_debug_read_mini(file);
	if (r >= 0)
		r = symbols_elf_read_sections(file, file->elf.elf);
	if (r < 0)
		return r;
	symbols_elf_sort(&file->functions);
	symbols_elf_sort(&file->variables);
	symbols_elf_sort(&file->tls);
	if (!without_dwarf)
		symbols_debug_read_dwarf(file);
	file->state = file->dwarf				     ? SYMBOLS_DWARF :
		      file->functions.count || file->variables.count ? SYMBOLS_SYMTAB :
								       SYMBOLS_NONE;
	return (int)file->state | (int)file->incomplete;
}

int symbols_need_file(struct symbols_files *files, int number, struct symbols_file **ret_file)
{
	if (number < 0 || number >= files->count || !files->files[number] ||
	    files->files[number]->state < SYMBOLS_NONE)
		return 0;
	*ret_file = files->files[number];
	return 1;
}

struct strings *symbols_strings(const struct symbols_files *files)
{
	return files->strings;
}

/* ---- asking ---- */

/* A function whose name lies in a part of the debug information that is gone has it in the symbol table, too. */
static int name_nameless(struct symbols_files *files, struct symbols_file *file, uint64_t addr, struct symbols_frame *frame)
{
	const struct symbol *symbol = *frame->function ? NULL : symbols_elf_find(&file->functions, addr);
	char *name;

	if (!symbol)
		return 0;
	name = demangle_function(symbol->name);
	frame->function = strings_intern(files->strings, name);
	free(name);
	return frame->function ? 0 : -ENOMEM;
}

/* A C library's DWARF knows its functions as __libc_malloc or __strdup; a person calls malloc and
 * strdup, which are other symbols at the same place. */
static int prefer_public_name(struct symbols_files *files, struct symbols_file *file, uint64_t addr,
			      struct symbols_frame *frame)
{
	const struct symbol *symbol;

	if (strncmp(frame->function, "__", 2) || strcmp(frame->language, "c"))
		return 0;
	symbol = symbols_elf_find(&file->functions, addr);
	if (!symbol || *symbol->name == '_' || strchr(symbol->name, '.'))
		return 0;
	frame->function = strings_intern(files->strings, symbol->name);
	return frame->function ? 0 : -ENOMEM;
}

int symbols_files_frames(struct symbols_files *files, int number, uint64_t addr,
		   struct symbols_frame *ret_frames, int max)
{
	struct symbols_file *file;
	const struct symbol *symbol;
	char *name;
	int r;

	r = symbols_need_file(files, number, &file);
	if (r <= 0 || max < 1)
		return r;
	if (file->dwarf) {
		r = symbols_dwarf_frames(file->dwarf, files->strings, addr, ret_frames, max);
		if (r < 0)
			return r;
		if (r > 0 && name_nameless(files, file, addr, &ret_frames[r - 1]) < 0)
			return -ENOMEM;
		if (r > 0)
			return prefer_public_name(files, file, addr, &ret_frames[r - 1]) < 0 ?
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
		.function = strings_intern(files->strings, name), .file = "",
		.language = demangle_language(symbol->name) };
	free(name);
	if (file->dwarf)
		symbols_dwarf_line(file->dwarf, files->strings, addr, &ret_frames[0]);
	return ret_frames[0].function ? 1 : -ENOMEM;
}

static int describe(struct symbols_files *files, const struct symbol *symbol, uint64_t addr,
		    struct symbols_variable *ret_variable)
{
	char *name = demangle_variable(symbol->name);

	if (!name)
		return -ENOMEM;
	*ret_variable = (struct symbols_variable){
		.name = strings_intern(files->strings, name), .start = symbol->start,
		.end = symbol->end > addr ? symbol->end : addr + 1 };
	free(name);
	return ret_variable->name ? 1 : -ENOMEM;
}

/* Narrow [from, to) to the addresses for which a look-up in a table ends as it does for addr. */
static void narrow(const struct symbol_table *table, uint64_t addr, uint64_t *from, uint64_t *to)
{
	const struct symbol *after = symbols_elf_after(table, addr), *found = symbols_elf_find(table, addr);

	if (!after)
		return;
	if (after < table->symbols + table->count && after->start < *to)
		*to = after->start;
	if (found && found->end > addr && found->end < *to)
		*to = found->end;
	if (after > table->symbols && after[-1].start > *from)
		*from = after[-1].start;
	/* what ended before the address, among those that a look-up passes */
	for (const struct symbol *symbol = after; symbol-- > table->symbols && after - symbol <= SYMBOLS_ELF_STEPS;) {
		if (symbol == found)
			break;
		if (symbol->end <= addr && symbol->end > *from)
			*from = symbol->end;
	}
}

/* The symbol of one table that holds the address. Returns 1 when there is one. */
static int variable_of(struct symbols_files *files, const struct symbol_table *table, uint64_t addr,
		       struct symbols_variable *ret_variable, uint64_t *ret_from, uint64_t *ret_to)
{
	const struct symbol *symbol = symbols_elf_find(table, addr);

	if (!symbol || addr >= symbol->end)
		return 0;
	*ret_from = symbol->start;
	*ret_to = UINT64_MAX;
	narrow(table, addr, ret_from, ret_to);
	return describe(files, symbol, addr, ret_variable);
}

int symbols_files_variable(struct symbols_files *files, int number, uint64_t addr,
			   struct symbols_variable *ret_variable, uint64_t *ret_from, uint64_t *ret_to)
{
	struct symbols_file *file;
	int r;

	*ret_from = addr;
	*ret_to = addr + 1;
	r = symbols_need_file(files, number, &file);
	if (r <= 0)
		return r;
	r = variable_of(files, &file->variables, addr, ret_variable, ret_from, ret_to);
	if (r != 0)
		return r;
	for (size_t i = 0; i < file->section_count; i++) {
		const struct section *section = &file->sections[i];

		if (addr < section->start || addr >= section->end)
			continue;
		*ret_from = section->start;
		*ret_to = section->end;
		narrow(&file->variables, addr, ret_from, ret_to);
		*ret_variable = (struct symbols_variable){
			.name = strings_intern(files->strings, section->name), .start = section->start,
			.end = section->end, .is_section = true };
		return ret_variable->name ? 1 : -ENOMEM;
	}
	return 0;
}

int symbols_files_tls(struct symbols_files *files, int number, uint64_t offset,
		      struct symbols_variable *ret_variable, uint64_t *ret_from, uint64_t *ret_to)
{
	struct symbols_file *file;
	int r;

	*ret_from = offset;
	*ret_to = offset + 1;
	r = symbols_need_file(files, number, &file);
	return r <= 0 ? r : variable_of(files, &file->tls, offset, ret_variable, ret_from, ret_to);
}
