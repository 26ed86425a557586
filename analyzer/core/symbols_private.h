/* SPDX-License-Identifier: Apache-2.0
 * L3  symbols_private.h - what symbols*.c share in the process that reads files. */
#ifndef LEAKDIFF_SYMBOLS_PRIVATE_H
#define LEAKDIFF_SYMBOLS_PRIVATE_H

#include <elfutils/libdw.h>
#include <gelf.h>

#include "core/layout.h"
#include "core/strings.h"
#include "core/symbols.h"
#include "core/symbols_types.h"

struct symbol { uint64_t start, end; const char *name; };	/* end == start: size unknown */

struct symbol_table {			/* sorted by start, one symbol per start */
	struct symbol *symbols;
	size_t count, capacity;
};

struct section { uint64_t start, end; const char *name; };

struct symbols_image { int fd; Elf *elf; };	/* elf NULL = not there */

struct symbols_place {			/* where a file may be; nothing is NULL */
	const char *root;		/* "" or a prefix without trailing slash */
	const char *path;		/* as the service had it, without root */
	const char *fallback;		/* where else to look, as it is; "" = nowhere */
	const char *debug;		/* a debug file that somebody fetched, as it is; "" = none */
	const uint8_t *build_id;
	uint32_t build_id_bytes;
};

struct symbols_file {
	char *root, *path;
	uint8_t build_id[32];
	uint32_t build_id_bytes;
	enum symbols_state state;
	unsigned incomplete;		/* SYMBOLS_NO_... */
	struct symbols_image elf, debug, alt, mini;
	uint8_t *mini_bytes;
	struct symbol_table functions, variables, tls;
	struct section *sections;
	size_t section_count;
	struct dwarf_index *dwarf;	/* NULL = no DWARF */
	struct layouts layouts;		/* of this file's types */
	struct types_file *types;	/* symbols_types.c's; NULL = nothing was asked */
	void (*free_types)(struct types_file *types);
};

/* ---- symbols_files.c ---- */

struct symbols_files;
struct text;

/* strings  borrowed. Returns NULL when memory is short. */
struct symbols_files *symbols_files_new(struct strings *strings);
struct symbols_files *symbols_files_free(struct symbols_files *files);

/* Find a file and its debug information, check that it is the right build; nothing is read yet. A number that
 * was used is opened anew. ret_identity tells apart what might be found instead another time.
 * Returns SYMBOLS_MISSING, SYMBOLS_OTHER_BUILD, or SYMBOLS_NONE (there it is), or-ed with SYMBOLS_NO_DEBUG;
 * -ENOMEM, -EINVAL. */
int symbols_files_open(struct symbols_files *files, int number, const struct symbols_place *place,
		       struct text *ret_identity) __attribute__((warn_unused_result));
/* Read the tables of an opened file. Returns its state, or-ed with what it lacks, or -ENOMEM. */
int symbols_files_read(struct symbols_files *files, int number, bool without_dwarf)
	__attribute__((warn_unused_result));

/* As symbols_frames() and so on; [ret_from, ret_to) are addresses with the same answer. */
int symbols_files_frames(struct symbols_files *files, int number, uint64_t addr,
			 struct symbols_frame *ret_frames, int max) __attribute__((warn_unused_result));
int symbols_files_variable(struct symbols_files *files, int number, uint64_t addr,
			   struct symbols_variable *ret_variable, uint64_t *ret_from, uint64_t *ret_to)
	__attribute__((warn_unused_result));
int symbols_files_tls(struct symbols_files *files, int number, uint64_t offset,
		      struct symbols_variable *ret_variable, uint64_t *ret_from, uint64_t *ret_to)
	__attribute__((warn_unused_result));

/* An opened file. Returns 1 if it has something to say, else 0. */
int symbols_need_file(struct symbols_files *files, int number, struct symbols_file **ret_file)
	__attribute__((warn_unused_result));
struct strings *symbols_strings(const struct symbols_files *files);

/* ---- symbols_debug.c: where a file and its debug information are ---- */

int symbols_debug_open(struct symbols_file *file, const struct symbols_place *place, struct text *ret_identity)
	__attribute__((warn_unused_result));
/* .gnu_debugdata: a symbol table that distributions leave in stripped files. Returns 0 or -ENOMEM. */
int symbols_debug_read_mini(struct symbols_file *file) __attribute__((warn_unused_result));
void symbols_debug_read_dwarf(struct symbols_file *file);
void symbols_debug_done(struct symbols_file *file);

/* symbols_elf.c: tables from one ELF file; several files may be added before tables are sorted. */
int symbols_elf_read_tables(struct symbols_file *file, Elf *elf)
	__attribute__((warn_unused_result));
int symbols_elf_read_sections(struct symbols_file *file, Elf *elf)
	__attribute__((warn_unused_result));
void symbols_elf_sort(struct symbol_table *table);
#define SYMBOLS_ELF_STEPS 16		/* symbols that are looked at around an address */
/* The first symbol that begins after an address; one past the last if there is none, NULL in an empty table. */
const struct symbol *symbols_elf_after(const struct symbol_table *table, uint64_t addr);
const struct symbol *symbols_elf_find(const struct symbol_table *table, uint64_t addr);
/* Build-id of an ELF file; returns its length, 0 = none. */
uint32_t symbols_elf_build_id(Elf *elf, uint8_t ret_id[32]);
/* Name (and checksum) in .gnu_debuglink; NULL = none. */
const char *symbols_elf_debuglink(Elf *elf, uint32_t *ret_crc);
/* Name in .gnu_debugaltlink and the build-id that follows it; NULL = none. */
const char *symbols_elf_altlink(Elf *elf, const uint8_t **ret_id, uint32_t *ret_id_bytes);
bool symbols_elf_has_section(Elf *elf, const char *name);
/* The bytes of a section; NULL = there is none. */
const void *symbols_elf_section(Elf *elf, const char *name, size_t *ret_bytes);

/* symbols_dwarf.c. alt: what dwz took out of the file, or NULL. Returns NULL if the file has no DWARF (or
 * memory is short). */
#define SYMBOLS_EXIT_MEMORY 77		/* the process's exit status when libdw gets no memory: it has no other way */
struct dwarf_index *symbols_dwarf_open(Elf *elf, Elf *alt);
/* Units whose .dwo file was not found. */
size_t symbols_dwarf_missing(const struct dwarf_index *index);
int symbols_dwarf_frames(struct dwarf_index *index, struct strings *strings, uint64_t addr,
			 struct symbols_frame *ret_frames, int max) __attribute__((warn_unused_result));
/* File and line alone, for code whose function DWARF does not describe (assembly, a missing .dwo). */
void symbols_dwarf_line(struct dwarf_index *index, struct strings *strings, uint64_t addr,
			struct symbols_frame *frame);
Dwarf *symbols_dwarf_handle(const struct dwarf_index *index);
/* The concrete function around an address, which may be in a .dwo file. Returns 1, 0, -ENOMEM. */
int symbols_dwarf_function(struct dwarf_index *index, uint64_t addr, Dwarf_Die *ret_function)
	__attribute__((warn_unused_result));
/* The number-th unit that has code, in the order of the file; with split DWARF the one in the .dwo file. */
bool symbols_dwarf_unit(const struct dwarf_index *index, size_t number, Dwarf_Die *ret_unit);
struct dwarf_index *symbols_dwarf_free(struct dwarf_index *index);

/* ---- symbols_types*.c: the calls of symbols_types.h ---- */

int symbols_files_site_types(struct symbols_files *files, int file, uint64_t return_addr, struct layouts *layouts,
			     struct symbols_site *ret_sites, int max) __attribute__((warn_unused_result));
int symbols_files_variable_type(struct symbols_files *files, int file, uint64_t addr, struct layouts *layouts,
				struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));
int symbols_files_tls_type(struct symbols_files *files, int file, uint64_t offset, struct layouts *layouts,
			   struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));
int symbols_files_local_type(struct symbols_files *files, int file, uint64_t pc, int64_t cfa_offset,
			     struct layouts *layouts, struct symbols_declaration *ret_declaration)
	__attribute__((warn_unused_result));
int symbols_files_class_type(struct symbols_files *files, int file, const char *name, struct layouts *layouts,
			     uint32_t *ret_layout) __attribute__((warn_unused_result));

#endif
