/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_places.c - where variables are: data, thread-local storage, stack frames, registers. */
#include "core/symbols_types_private.h"

#include <dwarf.h>
#include <string.h>

#include "core/grow.h"

#define BLOCKS_DEPTH_MAX 128		/* blocks and inlined functions in each other */
#define ENTRIES_MAX 1000000u		/* of one function */
#define SAME_PLACE_MAX 64		/* variables that begin at one address, or overlap there */

int types_declare(struct types_file *file, Dwarf_Die *die, uint64_t offset,
		  struct symbols_declaration *ret_declaration)
{
	Dwarf_Attribute attribute;
	Dwarf_Die declared = *die;
	const char *name = types_name(file, die);
	int r;

	/* a definition outside of its class or namespace, an inlined function's copy: what it stands for has the rest */
	for (unsigned i = 0; i < TYPES_CHAIN_MAX; i++)
		if ((!dwarf_attr(&declared, DW_AT_specification, &attribute) &&
		     !dwarf_attr(&declared, DW_AT_abstract_origin, &attribute)) ||
		    !dwarf_formref_die(&attribute, &declared))
			break;
	r = types_layout_of(file, die, &ret_declaration->layout);
	if (r < 0)
		return r;
	ret_declaration->name = dwarf_tag(die) == DW_TAG_variable ?
					types_qualified_name(file, &declared, name ? name : "") :
					strings_intern(file->strings, name ? name : "");
	ret_declaration->offset = offset;
	if (!ret_declaration->name)
		return -ENOMEM;
	return types_declared_at(file, die, &ret_declaration->file, &ret_declaration->line);
}

/* ---- fixed places ---- */

int types_find_placed(struct types_file *file, const struct types_placed_list *list, uint64_t at,
		      struct symbols_declaration *ret_declaration)
{
	uint64_t low = 0, high;
	int r = types_scan_all(file);

	if (r < 0)
		return r;
	high = list->count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (list->items[middle].start <= at)
			low = middle + 1;
		else
			high = middle;
	}
	for (unsigned steps = 0; low-- > 0 && steps < SAME_PLACE_MAX; steps++) {
		const struct types_placed *placed = &list->items[low];
		Dwarf_Die die = types_die(&file->units[placed->unit], placed->at);
		uint64_t bytes, offset = at - placed->start;

		r = types_declare(file, &die, offset, ret_declaration);
		if (r < 0)
			return r;
		bytes = file->layouts->layouts[ret_declaration->layout].bytes;
		if (offset < bytes || (offset == 0 && ret_declaration->layout != LAYOUT_VOID))
			return 1;
	}
	return 0;
}

/* ---- places of local variables ---- */

static int add_place(struct types_function *function, struct types_place place)
{
	int r = grow_array(&function->places, &function->place_room, function->place_count + 1,
			   sizeof(*function->places));

	if (r >= 0)
		function->places[function->place_count++] = place;
	return r;
}

/* An expression of one operator, or a register's value with something added. */
static bool describe_place(const Dwarf_Op *ops, size_t count, struct types_place *place)
{
	unsigned atom = count ? ops[0].atom : 0;

	if (count == 0 || count > 2 || (count == 2 && ops[1].atom != DW_OP_stack_value))
		return false;
	if (atom == DW_OP_fbreg && count == 1) {
		place->where = TYPES_IN_FRAME;
		place->offset = (int64_t)ops[0].number;
	} else if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31) {
		place->where = count == 2 ? TYPES_IS_SUM : TYPES_AT_REGISTER;
		place->reg = (uint16_t)(atom - DW_OP_breg0);
		place->offset = (int64_t)ops[0].number;
	} else if (atom >= DW_OP_reg0 && atom <= DW_OP_reg31 && count == 1) {
		place->where = TYPES_IN_REGISTER;
		place->reg = (uint16_t)(atom - DW_OP_reg0);
	} else {
		return false;
	}
	return true;
}

/* A variable that lies in one place for good does so while its block runs: others may use that place after it.
 * block  NULL = the function's own. */
static int add_block_places(struct types_function *function, Dwarf_Die *block, struct types_place place)
{
	uint64_t before = function->place_count;
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	int r = 0;

	while (block && r >= 0 && (at = dwarf_ranges(block, at, &base, &start, &end)) > 0) {
		place.start = start;
		place.end = end;
		r = add_place(function, place);
	}
	return r < 0 || function->place_count > before ? r : add_place(function, place);
}

static int add_variable(struct types_function *function, Dwarf_Die *die, Dwarf_Die *block)
{
	struct types_place place = { .variable = (uint32_t)function->variable_count };
	uint64_t before = function->place_count;
	Dwarf_Attribute attribute;
	Dwarf_Addr base, start, end;
	Dwarf_Op *ops;
	size_t count;
	ptrdiff_t at = 0;
	int r = 0;

	if (!dwarf_attr(die, DW_AT_location, &attribute))
		return 0;
	/* libdw gives a list's entries one by one, and one entry for everywhere where there is no list */
	while (r >= 0 && (at = dwarf_getlocations(&attribute, at, &base, &start, &end, &ops, &count)) > 0) {
		if (start >= end || !describe_place(ops, count, &place))
			continue;
		place.start = start;
		place.end = end;
		r = start == 0 && end == (Dwarf_Addr)-1 ? add_block_places(function, block, place) : add_place(function, place);
	}
	if (r < 0 || function->place_count == before)
		return r;
	r = grow_array(&function->variables, &function->variable_room, function->variable_count + 1,
		       sizeof(*function->variables));
	if (r >= 0)
		function->variables[function->variable_count++] = *die;
	return r;
}

static int add_call(struct types_function *function, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	Dwarf_Addr pc;
	int r;

	if ((!dwarf_attr(die, DW_AT_call_return_pc, &attribute) && !dwarf_attr(die, DW_AT_low_pc, &attribute)) ||
	    dwarf_formaddr(&attribute, &pc) != 0)
		return 0;
	r = grow_array(&function->calls, &function->call_room, function->call_count + 1, sizeof(*function->calls));
	if (r >= 0)
		function->calls[function->call_count++] = (struct types_call){ pc, *die };
	return r;
}

static int add_allocator(struct types_file *file, struct types_function *function, Dwarf_Die *die)
{
	const char *name = types_name(file, die);
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	int r = 0;

	if (!name || strcmp(name, "allocate"))
		return 0;
	while (r >= 0 && (at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		r = grow_array(&function->allocators, &function->allocator_room, function->allocator_count + 1,
			       sizeof(*function->allocators));
		if (r >= 0)
			function->allocators[function->allocator_count++] = (struct types_allocator){ start, end, *die };
	}
	return r;
}

static bool has_addresses(Dwarf_Die *die)
{
	return dwarf_hasattr(die, DW_AT_low_pc) || dwarf_hasattr(die, DW_AT_ranges);
}

/* block  the innermost one around `parent` whose addresses are known. */
static int collect(struct types_file *file, struct types_function *function, Dwarf_Die *parent, Dwarf_Die *block,
		   unsigned depth, unsigned *left)
{
	Dwarf_Die die;
	int r = 0;

	if (depth > BLOCKS_DEPTH_MAX || dwarf_child(parent, &die) != 0)
		return 0;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_variable:
		case DW_TAG_formal_parameter:
			r = add_variable(function, &die, block);
			break;
		case DW_TAG_call_site:
		case DW_TAG_GNU_call_site:
			r = add_call(function, &die);
			break;
		case DW_TAG_inlined_subroutine:
			r = add_allocator(file, function, &die);
			if (r >= 0)
				r = collect(file, function, &die, has_addresses(&die) ? &die : block, depth + 1, left);
			break;
		case DW_TAG_lexical_block:
		case DW_TAG_try_block:
		case DW_TAG_catch_block:
			r = collect(file, function, &die, has_addresses(&die) ? &die : block, depth + 1, left);
			break;
		}
	} while (r >= 0 && (*left)-- > 1 && types_next(&die));
	if (*left == 0)
		*left = 1;			/* the callers stop as well */
	return r;
}

static bool same_function(const void *owner, uint32_t number, const void *key)
{
	return ((const struct types_file *)owner)->called[number].die.addr == key;
}

static int compare_places(const void *pa, const void *pb)
{
	const struct types_place *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->variable < b->variable ? -1 : a->variable > b->variable;
}

static int compare_calls(const void *pa, const void *pb)
{
	const struct types_call *a = pa, *b = pb;

	return a->return_pc < b->return_pc ? -1 : a->return_pc > b->return_pc;
}

static int read_function(struct types_file *file, Dwarf_Die *die, uint32_t *ret_number)
{
	struct types_function function = { .die = *die };
	unsigned left = ENTRIES_MAX;
	int r;

	r = collect(file, &function, die, NULL, 0, &left);
	if (function.place_count)
		qsort(function.places, function.place_count, sizeof(*function.places), compare_places);
	if (function.call_count)
		qsort(function.calls, function.call_count, sizeof(*function.calls), compare_calls);
	if (r >= 0)
		r = grow_array(&file->called, &file->called_room, file->called_count + 1, sizeof(*file->called));
	if (r >= 0)
		r = hash_index_add(&file->called_index, hash_fold((uintptr_t)die->addr), (uint32_t)file->called_count);
	if (r < 0) {
		free(function.variables);
		free(function.places);
		free(function.calls);
		free(function.allocators);
		return r;
	}
	*ret_number = (uint32_t)file->called_count;
	file->called[file->called_count++] = function;
	return 0;
}

int types_function_at(struct types_file *file, uint64_t pc, struct types_function **ret_function)
{
	Dwarf_Die die;
	uint32_t number;
	int r = symbols_dwarf_function(file->index, pc, &die);

	if (r <= 0)
		return r;
	number = hash_index_find(&file->called_index, hash_fold((uintptr_t)die.addr), same_function, file, die.addr);
	if (number == HASH_NONE) {
		r = read_function(file, &die, &number);
		if (r < 0)
			return r;
	}
	*ret_function = &file->called[number];
	return 1;
}

/* ---- the frame ---- */

/* The rule for the canonical frame address at pc: register and offset. */
static bool frame_rule(struct types_file *file, uint64_t pc, unsigned *ret_reg, int64_t *ret_offset)
{
	Dwarf_Frame *frame = NULL;
	Dwarf_Op *ops;
	size_t count;
	bool found = false;

	if (!file->cfi_opened) {
		file->cfi_opened = true;
		file->cfi_eh = dwarf_getcfi_elf(file->elf);
		file->cfi_debug = dwarf_getcfi(file->dwarf);
	}
	if ((!file->cfi_eh || dwarf_cfi_addrframe(file->cfi_eh, pc, &frame) != 0) &&
	    (!file->cfi_debug || dwarf_cfi_addrframe(file->cfi_debug, pc, &frame) != 0))
		return false;
	if (dwarf_frame_cfa(frame, &ops, &count) == 0 && count == 1 && ops[0].atom >= DW_OP_breg0 &&
	    ops[0].atom <= DW_OP_breg31) {
		*ret_reg = ops[0].atom - DW_OP_breg0;
		*ret_offset = (int64_t)ops[0].number;
		found = true;
	} else if (count == 1 && ops[0].atom == DW_OP_bregx) {
		*ret_reg = (unsigned)ops[0].number;
		*ret_offset = (int64_t)ops[0].number2;
		found = true;
	}
	free(frame);
	return found;
}

bool types_register_in_frame(struct types_file *file, uint64_t pc, unsigned reg, int64_t *ret_offset)
{
	int64_t offset;
	unsigned base;

	if (!frame_rule(file, pc, &base, &offset) || base != reg)
		return false;
	*ret_offset = -offset;
	return true;
}

/* The function's frame base as an offset from the canonical frame address. */
static bool frame_base(struct types_file *file, struct types_function *function, uint64_t pc, int64_t *ret_offset)
{
	Dwarf_Attribute attribute;
	Dwarf_Op *ops;
	size_t count;

	if (!dwarf_attr_integrate(&function->die, DW_AT_frame_base, &attribute) ||
	    dwarf_getlocation_addr(&attribute, pc, &ops, &count, 1) != 1 || count != 1)
		return false;
	if (ops[0].atom == DW_OP_call_frame_cfa) {
		*ret_offset = 0;
		return true;
	}
	if (ops[0].atom >= DW_OP_reg0 && ops[0].atom <= DW_OP_reg31)
		return types_register_in_frame(file, pc, ops[0].atom - DW_OP_reg0, ret_offset);
	if (ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31 &&
	    types_register_in_frame(file, pc, ops[0].atom - DW_OP_breg0, ret_offset)) {
		*ret_offset += (int64_t)ops[0].number;
		return true;
	}
	return false;
}

int types_find_local(struct types_file *file, struct types_function *function, uint64_t pc, int64_t cfa_offset,
		     struct symbols_declaration *ret_declaration)
{
	int64_t base = 0;
	int based = -1, r;			/* is the frame base known? -1 = not asked */
	uint64_t best = UINT64_MAX;

	for (uint64_t i = 0; i < function->place_count; i++) {
		const struct types_place *place = &function->places[i];
		struct symbols_declaration declaration;
		int64_t at;
		uint64_t bytes;

		if (pc < place->start || pc >= place->end)
			continue;
		if (place->where == TYPES_IN_FRAME) {
			if (based < 0)
				based = frame_base(file, function, pc, &base);
			if (!based)
				continue;
			at = base;
		} else if (place->where != TYPES_AT_REGISTER ||
			   !types_register_in_frame(file, pc, place->reg, &at)) {
			continue;
		}
		if (__builtin_add_overflow(at, place->offset, &at) || cfa_offset < at ||
		    __builtin_sub_overflow(cfa_offset, at, &at))
			continue;
		r = types_declare(file, &function->variables[place->variable], (uint64_t)at, &declaration);
		if (r < 0)
			return r;
		bytes = file->layouts->layouts[declaration.layout].bytes;
		if ((uint64_t)at >= bytes || bytes >= best)
			continue;		/* of variables that share a place the smallest */
		best = bytes;
		*ret_declaration = declaration;
	}
	if (best == UINT64_MAX && function->place_count)
		*ret_declaration = (struct symbols_declaration){ .name = "", .layout = LAYOUT_VOID, .file = "" };
	return best != UINT64_MAX || function->place_count;
}
