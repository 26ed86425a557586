/* SPDX-License-Identifier: Apache-2.0
 * L3  symbols_dwarf.c - function, file, line and inline frames of a code address, from DWARF.
 *
 *   address -> unit (ranges of all units, sorted once) -> function (ranges of the unit's functions,
 *   sorted when the unit is first met) -> inlined subroutines around the address
 *
 * libdw's own look-ups need .debug_aranges, which clang does not write, and walk a whole unit for
 * each address; a service has thousands of addresses in the same few units. */
#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/demangle.h"
#include "core/symbols_private.h"

#define DEPTH_MAX 256			/* nesting of namespaces, classes, blocks: more is malformed */

struct range { uint64_t start, end; size_t owner; };	/* index of a unit or function */

struct ranges { struct range *ranges; size_t count, capacity; };

struct unit {
	Dwarf_Die lines;		/* the unit that has the line table */
	Dwarf_Die tree;			/* the unit that has the functions: another one with split DWARF */
	bool indexed;
	struct ranges ranges;		/* of functions */
	Dwarf_Die *functions;
	size_t function_count, function_capacity;
};

struct dwarf_index {
	Dwarf *dwarf, *alt;
	size_t missing;			/* units whose .dwo file is not there */
	struct unit *units;
	size_t unit_count, unit_capacity;
	struct ranges ranges;		/* of units */
};

static int add_range(struct ranges *ranges, uint64_t start, uint64_t end, size_t owner)
{
	if (start == 0 || end <= start)		/* 0: code that the linker threw away */
		return 0;
	if (ranges->count == ranges->capacity) {
		size_t capacity = ranges->capacity ? ranges->capacity * 2 : 64;
		struct range *bigger = reallocarray(ranges->ranges, capacity, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		ranges->ranges = bigger;
		ranges->capacity = capacity;
	}
	ranges->ranges[ranges->count++] = (struct range){ start, end, owner };
	return 0;
}

static int add_die_ranges(struct ranges *ranges, Dwarf_Die *die, size_t owner)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	int r = 0;

	while (r >= 0 && (at = dwarf_ranges(die, at, &base, &start, &end)) > 0)
		r = add_range(ranges, start, end, owner);
	return r;
}

static int compare_ranges(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	return a->start < b->start ? -1 : a->start > b->start;
}

static void sort_ranges(struct ranges *ranges)
{
	if (ranges->count)
		qsort(ranges->ranges, ranges->count, sizeof(*ranges->ranges), compare_ranges);
}

/* The range with the highest start that holds an address; NULL = none. Overlaps are rare: a few
 * candidates are enough. */
static const struct range *find_range(const struct ranges *ranges, uint64_t addr)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->ranges[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t steps = 0; low-- > 0 && steps < 8; steps++)
		if (addr < ranges->ranges[low].end)
			return &ranges->ranges[low];
	return NULL;
}

static int read_units(struct dwarf_index *index)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die die, split;
	uint8_t type;
	int r = 0;

	while (r >= 0 && dwarf_get_units(index->dwarf, cu, &cu, NULL, &type, &die, &split) == 0) {
		if (type != DW_UT_compile && type != DW_UT_skeleton)
			continue;
		if (index->unit_count == index->unit_capacity) {
			size_t capacity = index->unit_capacity ? index->unit_capacity * 2 : 64;
			struct unit *units = reallocarray(index->units, capacity, sizeof(*units));

			if (!units)
				return -ENOMEM;
			index->units = units;
			index->unit_capacity = capacity;
		}
		index->missing += type == DW_UT_skeleton && !split.addr;
		index->units[index->unit_count] = (struct unit){
			.lines = die, .tree = type == DW_UT_skeleton && split.addr ? split : die };
		r = add_die_ranges(&index->ranges, &die, index->unit_count++);
	}
	sort_ranges(&index->ranges);
	return r;
}

/* libdw's own answer to short memory is a message and exit(). */
__attribute__((noreturn)) static void out_of_memory(void)
{
	_exit(SYMBOLS_EXIT_MEMORY);
}

struct dwarf_index *symbols_dwarf_open(Elf *elf, Elf *alt)
{
	struct dwarf_index *index = calloc(1, sizeof(*index));

	if (!index)
		return NULL;
	index->dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	if (index->dwarf)
		dwarf_new_oom_handler(index->dwarf, out_of_memory);
	if (index->dwarf && alt)
		index->alt = dwarf_begin_elf(alt, DWARF_C_READ, NULL);
	if (index->alt) {
		dwarf_new_oom_handler(index->alt, out_of_memory);
		dwarf_setalt(index->dwarf, index->alt);
	}
	if (index->dwarf && read_units(index) < 0)
		out_of_memory();	/* not "it has no debug information" */
	if (!index->dwarf || !index->unit_count)
		return symbols_dwarf_free(index);
	return index;
}

struct dwarf_index *symbols_dwarf_free(struct dwarf_index *index)
{
	if (!index)
		return NULL;
	for (size_t i = 0; i < index->unit_count; i++) {
		free(index->units[i].ranges.ranges);
		free(index->units[i].functions);
	}
	free(index->units);
	free(index->ranges.ranges);
	dwarf_end(index->dwarf);
	dwarf_end(index->alt);
	free(index);
	return NULL;
}

static int add_function(struct unit *unit, Dwarf_Die *die)
{
	size_t before = unit->ranges.count;
	int r = add_die_ranges(&unit->ranges, die, unit->function_count);

	if (r < 0 || unit->ranges.count == before)	/* a declaration or an abstract instance */
		return r;
	if (unit->function_count == unit->function_capacity) {
		size_t capacity = unit->function_capacity ? unit->function_capacity * 2 : 64;
		Dwarf_Die *functions = reallocarray(unit->functions, capacity, sizeof(*functions));

		if (!functions)
			return -ENOMEM;
		unit->functions = functions;
		unit->function_capacity = capacity;
	}
	unit->functions[unit->function_count++] = *die;
	return 0;
}

/* Collect the functions below a unit, namespace or class. */
static int collect_functions(struct unit *unit, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die die;
	int r = 0;

	if (depth > DEPTH_MAX || dwarf_child(parent, &die) != 0)
		return 0;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
			r = add_function(unit, &die);
			break;
		case DW_TAG_namespace:
		case DW_TAG_module:
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
		case DW_TAG_enumeration_type:
			r = collect_functions(unit, &die, depth + 1);
			break;
		}
	} while (r >= 0 && dwarf_siblingof(&die, &die) == 0);
	return r;
}

static const char *language_of(Dwarf_Die *unit)
{
	switch (dwarf_srclang(unit)) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
		return "c";
	case DW_LANG_C_plus_plus:
	case DW_LANG_C_plus_plus_03:
	case DW_LANG_C_plus_plus_11:
	case DW_LANG_C_plus_plus_14:
		return "c++";
	case DW_LANG_Rust:
		return "rust";
	case DW_LANG_Go:
		return "go";
	case DW_LANG_D:
		return "d";
	case DW_LANG_Fortran77:
	case DW_LANG_Fortran90:
	case DW_LANG_Fortran95:
	case DW_LANG_Fortran03:
	case DW_LANG_Fortran08:
		return "fortran";
	case DW_LANG_Mips_Assembler:
		return "asm";
	default:
		return "";
	}
}

/* Demangled name of a function or inlined subroutine; "" = it has none. NULL = memory is short. */
static const char *function_name(Dwarf_Die *die, struct strings *strings)
{
	Dwarf_Attribute attribute;
	const char *name = NULL, *interned;
	char *demangled;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) ||
	    dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
		name = dwarf_formstring(&attribute);
	if (!name || (strncmp(name, "_Z", 2) && strncmp(name, "_R", 2)))
		name = dwarf_diename(die);
	if (!name)
		return "";
	demangled = demangle_function(name);
	if (!demangled)
		return NULL;
	interned = strings_intern(strings, demangled);
	free(demangled);
	return interned;
}

/* Where an inlined subroutine was called: the line in the next outer frame. */
static void call_site(struct unit *unit, Dwarf_Die *die, struct strings *strings,
		      struct symbols_frame *ret_frame)
{
	Dwarf_Attribute attribute;
	Dwarf_Files *files;
	Dwarf_Word number;
	size_t count;
	const char *name;

	ret_frame->file = "";
	ret_frame->line = 0;
	if (dwarf_attr(die, DW_AT_call_line, &attribute) &&
	    dwarf_formudata(&attribute, &number) == 0 && number <= UINT32_MAX)
		ret_frame->line = (uint32_t)number;
	if (!dwarf_attr(die, DW_AT_call_file, &attribute) ||
	    dwarf_formudata(&attribute, &number) != 0 ||
	    dwarf_getsrcfiles(&unit->tree, &files, &count) != 0 || number >= count)
		return;
	name = dwarf_filesrc(files, number, NULL, NULL);
	if (name) {
		name = strings_intern(strings, name);
		ret_frame->file = name ? name : "";
	}
}

/* Line of the address itself. */
static void own_line(struct unit *unit, uint64_t addr, struct strings *strings,
		     struct symbols_frame *ret_frame)
{
	Dwarf_Line *line = dwarf_getsrc_die(&unit->lines, addr);
	const char *name;
	int number;

	ret_frame->file = "";
	ret_frame->line = 0;
	if (!line)
		return;
	if (dwarf_lineno(line, &number) == 0 && number > 0)
		ret_frame->line = (uint32_t)number;
	name = dwarf_linesrc(line, NULL, NULL);
	if (name) {
		name = strings_intern(strings, name);
		ret_frame->file = name ? name : "";
	}
}

void symbols_dwarf_line(struct dwarf_index *index, struct strings *strings, uint64_t addr,
			struct symbols_frame *frame)
{
	const struct range *range = find_range(&index->ranges, addr);

	if (!range)
		return;
	own_line(&index->units[range->owner], addr, strings, frame);
	if (*language_of(&index->units[range->owner].tree))
		frame->language = language_of(&index->units[range->owner].tree);
}

/* The function around an address. Returns 1, 0, -ENOMEM. */
static int find_function(struct unit *unit, uint64_t addr, Dwarf_Die **ret_function)
{
	const struct range *range;

	if (!unit->indexed) {
		int r = collect_functions(unit, &unit->tree, 0);

		if (r < 0)
			return r;
		sort_ranges(&unit->ranges);
		unit->indexed = true;
	}
	range = find_range(&unit->ranges, addr);
	if (range)
		*ret_function = &unit->functions[range->owner];
	return range != NULL;
}

int symbols_dwarf_function(struct dwarf_index *index, uint64_t addr, Dwarf_Die *ret_function)
{
	const struct range *range = find_range(&index->ranges, addr);
	Dwarf_Die *function;
	int r = range ? find_function(&index->units[range->owner], addr, &function) : 0;

	if (r > 0)
		*ret_function = *function;
	return r;
}

size_t symbols_dwarf_missing(const struct dwarf_index *index)
{
	return index->missing;
}

Dwarf *symbols_dwarf_handle(const struct dwarf_index *index)
{
	return index->dwarf;
}

bool symbols_dwarf_unit(const struct dwarf_index *index, size_t number, Dwarf_Die *ret_unit)
{
	if (number < index->unit_count)
		*ret_unit = index->units[number].tree;
	return number < index->unit_count;
}

/* The chain of inlined subroutines around an address, outermost first. Returns how many. */
static int inline_chain(Dwarf_Die *parent, uint64_t addr, Dwarf_Die *ret_chain, int max)
{
	Dwarf_Die at = *parent, die;
	int count = 0;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		bool found = false;

		if (dwarf_child(&at, &die) != 0)
			break;
		do {
			int tag = dwarf_tag(&die);

			if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_lexical_block &&
			    tag != DW_TAG_try_block && tag != DW_TAG_catch_block)
				continue;
			if (dwarf_haspc(&die, addr) <= 0)
				continue;
			if (tag == DW_TAG_inlined_subroutine && count < max)
				ret_chain[count++] = die;
			found = true;
			break;
		} while (dwarf_siblingof(&die, &die) == 0);
		if (!found)
			break;
		at = die;
	}
	return count;
}

int symbols_dwarf_frames(struct dwarf_index *index, struct strings *strings, uint64_t addr,
			 struct symbols_frame *ret_frames, int max)
{
	const struct range *range = find_range(&index->ranges, addr);
	Dwarf_Die chain[SYMBOLS_FRAMES_MAX], *function;
	struct symbols_frame line;
	struct unit *unit;
	const char *language;
	int inlined, r, count = 0;

	if (!range || max < 1)
		return 0;
	unit = &index->units[range->owner];
	r = find_function(unit, addr, &function);
	if (r <= 0)
		return r;
	language = language_of(&unit->tree);
	inlined = inline_chain(function, addr, chain,
			       max - 1 < SYMBOLS_FRAMES_MAX ? max - 1 : SYMBOLS_FRAMES_MAX);

	/* a frame's line is where the next inner one was called, the innermost's that of the address */
	own_line(unit, addr, strings, &line);
	for (int i = inlined; i >= 0; i--) {
		Dwarf_Die *die = i ? &chain[i - 1] : function;
		struct symbols_frame *frame = &ret_frames[count++];

		*frame = (struct symbols_frame){
			.function = function_name(die, strings), .file = line.file, .line = line.line,
			.language = language, .inlined = i > 0 };
		if (!frame->function)
			return -ENOMEM;
		if (i)
			call_site(unit, die, strings, &line);
	}
	return count;
}
