/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types.c - types of variables, of allocation sites and of classes: what is asked of which part.
 *
 *   symbols_types_scan.c    which entries there are      symbols_types_names.c   what they are called
 *   symbols_types_layout.c  types as layouts             symbols_types_places.c  where variables are
 *   symbols_types_site.c    where the result of a call goes, by symbols_types_code.c's instructions */
#include "core/symbols_types.h"

#include <stdlib.h>
#include <string.h>

#include "core/symbols_types_private.h"

static void forget_layouts(struct types_file *file)
{
	free(file->known);
	file->known = NULL;
	file->known_count = file->known_room = file->pending_count = 0;
	hash_index_done(&file->known_index);
}

static void free_types(struct types_file *file)
{
	forget_layouts(file);
	for (uint64_t i = 0; i < file->unit_count; i++)
		free(file->units[i].scopes);
	for (uint64_t i = 0; i < file->called_count; i++) {
		free(file->called[i].variables);
		free(file->called[i].places);
		free(file->called[i].calls);
		free(file->called[i].allocators);
	}
	hash_index_done(&file->unit_index);
	hash_index_done(&file->lookup_index);
	hash_index_done(&file->called_index);
	free(file->units);
	free(file->pending);
	free(file->named);
	free(file->lookups);
	free(file->texts);
	free(file->data.items);
	free(file->tls.items);
	free(file->called);
	if (file->cfi_eh)
		dwarf_cfi_end(file->cfi_eh);
	free(file);
}

/* What is known of a file's types so far. Returns 1, 0 if it has no debug information, -ENOMEM. */
static int open_types(struct symbols_files *files, int number, struct layouts *layouts, struct types_file **ret_types)
{
	struct symbols_file *file;
	struct types_file *types;
	Dwarf_Die unit;
	int r = symbols_need_file(files, number, &file);

	if (r <= 0 || !file->dwarf)
		return r < 0 ? r : 0;
	types = file->types;
	if (!types) {
		types = calloc(1, sizeof(*types));
		if (!types)
			return -ENOMEM;
		types->strings = symbols_strings(files);
		types->index = file->dwarf;
		types->dwarf = symbols_dwarf_handle(file->dwarf);
		types->elf = file->elf.elf;
		types->debug_elf = file->debug.elf;
		types->mostly_c = true;
		if (symbols_dwarf_unit(file->dwarf, 0, &unit))
			types->mostly_c = types_is_c(&unit, true);
		file->types = types;
		file->free_types = free_types;
	}
	types->functions = &file->functions;
	if (types->layouts != layouts) {
		forget_layouts(types);
		types->layouts = layouts;
	}
	*ret_types = types;
	return 1;
}

/* The members of all that an answer leads to. */
static int finish(struct types_file *types, int r)
{
	int finished = types_finish(types);

	return finished < 0 ? finished : r;
}

int symbols_files_site_types(struct symbols_files *files, int file, uint64_t return_addr, struct layouts *layouts,
		       struct symbols_site *ret_sites, int max)
{
	struct types_file *types;
	int r = open_types(files, file, layouts, &types);

	return r > 0 && max > 0 ? finish(types, types_site(types, return_addr, ret_sites, max)) : r;
}

int symbols_files_variable_type(struct symbols_files *files, int file, uint64_t addr, struct layouts *layouts,
			  struct symbols_declaration *ret_declaration)
{
	struct types_file *types;
	int r = open_types(files, file, layouts, &types);

	return r > 0 ? finish(types, types_find_placed(types, &types->data, addr, ret_declaration)) : r;
}

int symbols_files_tls_type(struct symbols_files *files, int file, uint64_t offset, struct layouts *layouts,
		     struct symbols_declaration *ret_declaration)
{
	struct types_file *types;
	int r = open_types(files, file, layouts, &types);

	return r > 0 ? finish(types, types_find_placed(types, &types->tls, offset, ret_declaration)) : r;
}

int symbols_files_local_type(struct symbols_files *files, int file, uint64_t pc, int64_t cfa_offset,
			     struct layouts *layouts, struct symbols_declaration *ret_declaration)
{
	struct types_function *function;
	struct types_file *types;
	int r = open_types(files, file, layouts, &types);

	if (r > 0)
		r = types_function_at(types, pc, &function);
	return r > 0 ? finish(types, types_find_local(types, function, pc, cfa_offset, ret_declaration)) : r;
}

int symbols_files_class_type(struct symbols_files *files, int file, const char *name, struct layouts *layouts,
		       uint32_t *ret_layout)
{
	struct types_file *types;
	Dwarf_Die die;
	int r = open_types(files, file, layouts, &types);

	if (r > 0)
		r = types_find_definition(types, name, &die);
	if (r > 0) {
		r = types_layout(types, &die, ret_layout);
		r = r < 0 ? r : 1;
	}
	return r > 0 ? finish(types, r) : r;
}
