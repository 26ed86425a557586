/* SPDX-License-Identifier: Apache-2.0
 * L2  symbols_private.h - what symbols.c, symbols_elf.c and symbols_dwarf.c share. */
#ifndef LEAKDIFF_SYMBOLS_PRIVATE_H
#define LEAKDIFF_SYMBOLS_PRIVATE_H

#include <elfutils/libdw.h>
#include <gelf.h>

#include "core/strings.h"
#include "core/symbols.h"

struct symbol { uint64_t start, end; const char *name; };	/* end == start: size unknown */

struct symbol_table {			/* sorted by start, one symbol per start */
	struct symbol *symbols;
	size_t count, capacity;
};

struct section { uint64_t start, end; const char *name; };

struct symbols_file {
	char *path;			/* as the service had it, without root */
	char *fallback;			/* where else to look, or NULL */
	uint8_t build_id[32];
	uint32_t build_id_bytes;
	enum symbols_state state;
	int fd, debug_fd;		/* -1 = closed */
	Elf *elf, *debug_elf;
	struct symbol_table functions, variables, tls;
	struct section *sections;
	size_t section_count;
	struct dwarf_index *dwarf;	/* NULL = no DWARF */
	struct types_file *types;	/* symbols_types.c's; NULL = nothing was asked */
	void (*free_types)(struct types_file *types);
};

/* symbols.c: open a file when something is first asked of it. Returns 1 if it has something to say, 0, -ENOMEM.
 * The answer is good until the next symbols_add(). */
int symbols_need_file(struct symbols *symbols, int number, struct symbols_file **ret_file)
	__attribute__((warn_unused_result));
struct strings *symbols_strings(const struct symbols *symbols);

/* symbols_elf.c: tables from one ELF file; several files may be added before tables are sorted. */
int symbols_elf_read_tables(struct symbols_file *file, Elf *elf)
	__attribute__((warn_unused_result));
int symbols_elf_read_sections(struct symbols_file *file, Elf *elf)
	__attribute__((warn_unused_result));
void symbols_elf_sort(struct symbol_table *table);
const struct symbol *symbols_elf_find(const struct symbol_table *table, uint64_t addr);
/* Build-id of an ELF file; returns its length, 0 = none. */
uint32_t symbols_elf_build_id(Elf *elf, uint8_t ret_id[32]);
/* Name (and checksum) in .gnu_debuglink; NULL = none. */
const char *symbols_elf_debuglink(Elf *elf, uint32_t *ret_crc);
bool symbols_elf_has_section(Elf *elf, const char *name);

/* symbols_dwarf.c. Returns NULL if the file has no DWARF (or memory is short). */
struct dwarf_index *symbols_dwarf_open(Elf *elf);
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

#endif
