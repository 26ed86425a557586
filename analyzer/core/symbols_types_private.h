/* SPDX-License-Identifier: Apache-2.0
 * L4  symbols_types_private.h - what the files symbols_types*.c share: one struct types_file for each file.
 *
 * An entry of debug information (DIE) is known by the address of its bytes, which is unique across the
 * sections, .dwo files and dwz files of one ELF file. Nothing here trusts a length or a reference: entries
 * are walked forwards only, by one pass over the bytes of a unit, and chains of references are bounded. */
#ifndef LEAKDIFF_SYMBOLS_TYPES_PRIVATE_H
#define LEAKDIFF_SYMBOLS_TYPES_PRIVATE_H

#include "core/hash_index.h"
#include "core/symbols_private.h"
#include "core/symbols_types.h"

#define TYPES_CHAIN_MAX 64		/* typedefs of typedefs of qualifiers */
#define TYPES_NO_SCOPE UINT32_MAX

/* A namespace, class or function in which types are declared: bytes [start, end) of its unit. */
struct types_scope { uint32_t start, end, parent; };

struct types_unit {
	Dwarf_CU *cu;
	uint8_t *start, *end;		/* entries, the first is the unit's own */
	bool is_c;			/* tags are part of names: "struct entry" */
	bool scanned;
	struct types_scope *scopes;	/* ascending by start */
	uint64_t scope_count, scope_room;
};

struct types_named { uint32_t hash, unit; uint8_t *at; };	/* a type that is defined, by its name */

struct types_placed {			/* a variable with a fixed place */
	uint64_t start;			/* address in the file, or offset in the TLS image */
	uint8_t *at;
	uint32_t unit;
};

struct types_placed_list { struct types_placed *items; uint64_t count, room; };

/* Where a local variable is while pc is in [start, end). */
enum types_where {
	TYPES_IN_REGISTER,		/* the variable is the register */
	TYPES_IN_FRAME,			/* it lies at the frame base + offset */
	TYPES_AT_REGISTER,		/* it lies at a register + offset */
	TYPES_IS_SUM,			/* its value is a register + offset */
};

struct types_place {
	uint64_t start, end;
	int64_t offset;
	uint32_t variable;
	uint16_t reg;			/* number in DWARF */
	uint8_t where;
};

struct types_call { uint64_t return_pc; Dwarf_Die die; };	/* a call that debug information describes */

/* An inlined member `allocate` of a C++ allocator: it returns what was allocated, with its type. */
struct types_allocator { uint64_t start, end; Dwarf_Die die; };

struct types_function {
	Dwarf_Die die;
	Dwarf_Die *variables;
	struct types_place *places;	/* ascending by start */
	struct types_call *calls;	/* ascending by return_pc */
	struct types_allocator *allocators;
	uint64_t call_count, call_room, allocator_count, allocator_room;
	uint64_t variable_count, variable_room, place_count, place_room;
};

struct types_known { uint8_t *at; uint32_t layout; };
struct types_lookup { const char *name; Dwarf_Die die; bool found; };	/* a name that was searched for */
struct types_text { const char *start, *end; };	/* a section that names are in */
struct types_pending { Dwarf_Die die; uint32_t layout; };

struct types_file {
	struct strings *strings;
	struct dwarf_index *index;
	Dwarf *dwarf;
	Elf *elf, *debug_elf;
	const struct symbol_table *functions;	/* borrowed for the time of a call */
	struct layouts *layouts;	/* that `known` speaks of */
	bool mostly_c;			/* language of units that do not say theirs */
	bool scanned;			/* all units */
	Dwarf *abbrevs_of;		/* whose abbreviations these are */
	Elf_Data *abbrevs;
	uint8_t *section_start, *section_end;	/* of entries, the last that was asked for */

	struct types_unit *units;
	uint64_t unit_count, unit_room;
	struct hash_index unit_index;	/* by cu */

	struct types_known *known;	/* entries whose layout is known */
	uint64_t known_count, known_room;
	struct hash_index known_index;
	struct types_pending *pending;	/* structures whose members are still to be read */
	uint64_t pending_count, pending_room;

	struct types_named *named;	/* ascending by hash once all units are scanned */
	uint64_t named_count, named_room;
	struct types_text *texts;	/* ascending */
	uint64_t text_count, text_room;
	struct types_lookup *lookups;
	uint64_t lookup_count, lookup_room;
	struct hash_index lookup_index;
	struct types_placed_list data, tls;

	struct types_function *called;	/* functions that were asked about */
	uint64_t called_count, called_room;
	struct hash_index called_index;	/* by entry */

	Dwarf_CFI *cfi_eh, *cfi_debug;	/* cfi_debug belongs to libdw */
	bool cfi_opened;
};

/* symbols_types_scan.c: one pass over the bytes of units. */
int types_unit_of(struct types_file *file, Dwarf_Die *die, uint32_t *ret_unit) __attribute__((warn_unused_result));
/* Is a unit's language C? `otherwise` if it does not say. */
bool types_is_c(Dwarf_Die *unit, bool otherwise);
int types_scan_unit(struct types_file *file, uint32_t unit) __attribute__((warn_unused_result));
int types_scan_all(struct types_file *file) __attribute__((warn_unused_result));
static inline Dwarf_Die types_die(const struct types_unit *unit, const uint8_t *at)
{
	return (Dwarf_Die){ .addr = (void *)at, .cu = unit->cu };
}

/* The next sibling, and never an earlier entry. */
static inline bool types_next(Dwarf_Die *die)
{
	const void *before = die->addr;

	return dwarf_siblingof(die, die) == 0 && (const uint8_t *)die->addr > (const uint8_t *)before;
}

/* The contents of a section of debug information by part of its name; with `holding`, the one that has this byte. */
Elf_Data *types_section(Dwarf *dwarf, const char *wanted, const uint8_t *holding);

/* symbols_types_names.c */
/* An entry's own name, or NULL. libdw does not look whether a string ends before its section does. */
const char *types_name(struct types_file *file, Dwarf_Die *die);
/* The qualified name of a type, interned, as a person writes it; own_name NULL = the entry's. NULL = memory is short. */
const char *types_qualified_name(struct types_file *file, Dwarf_Die *die, const char *own_name);
/* The definition of a type by its qualified name. Returns 1, 0, -ENOMEM. */
int types_find_definition(struct types_file *file, const char *name, Dwarf_Die *ret_die)
	__attribute__((warn_unused_result));

/* symbols_types_layout.c */
/* Follow DW_AT_type, also of what an entry is an instance of. False = void. */
bool types_type_of(Dwarf_Die *die, Dwarf_Die *ret_type);
/* Where something is declared; file interned, "" = unknown, and line 0 = unknown. Returns 0 or -ENOMEM. */
int types_declared_at(struct types_file *file, Dwarf_Die *die, const char **ret_file, uint32_t *ret_line)
	__attribute__((warn_unused_result));
/* Layout of a type; LAYOUT_VOID when it has none. Members come with types_finish(). */
int types_layout(struct types_file *file, Dwarf_Die *type, uint32_t *ret_layout) __attribute__((warn_unused_result));
/* Layout of the type of a variable. */
int types_layout_of(struct types_file *file, Dwarf_Die *die, uint32_t *ret_layout) __attribute__((warn_unused_result));
/* Read the members of all structures met. */
int types_finish(struct types_file *file) __attribute__((warn_unused_result));

/* symbols_types_places.c: where variables are. */
/* Name, layout, file and line of a variable. */
int types_declare(struct types_file *file, Dwarf_Die *die, uint64_t offset, struct symbols_declaration *ret_declaration)
	__attribute__((warn_unused_result));
int types_find_placed(struct types_file *file, const struct types_placed_list *list, uint64_t at,
		      struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));
/* The function around a code address, with the places of its variables, inlined functions' too. */
int types_function_at(struct types_file *file, uint64_t pc, struct types_function **ret_function)
	__attribute__((warn_unused_result));
/* A register (number in DWARF) as an offset from the canonical frame address, if it has one at pc. */
bool types_register_in_frame(struct types_file *file, uint64_t pc, unsigned reg, int64_t *ret_offset);
/* The variable that lies at cfa + offset. */
int types_find_local(struct types_file *file, struct types_function *function, uint64_t pc, int64_t cfa_offset,
		     struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));

/* symbols_types_site.c */
int types_site(struct types_file *file, uint64_t return_addr, struct symbols_site *ret_sites, int max)
	__attribute__((warn_unused_result));

#endif
