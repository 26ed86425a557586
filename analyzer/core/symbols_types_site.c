/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_site.c - of what type is the block that a call returned: where its address goes.
 *
 *   call malloc          the result is in rax
 *   mov  %rax,%rbx       a location list says that from here on `e` is rbx         -> *e
 *   mov  %rax,0x10(%rbp) rbp is `table`, whose member at 16 is `buckets`          -> *table.buckets
 *   ret                  the function returns a struct entry *                    -> struct entry
 *
 * The instructions after the call are followed, with what each register holds: the result (plus a constant), or
 * an address of which debug information knows what lies there. A register whose value is not known is asked of the
 * variables that are in it at that place. Nothing is taken to be the result that is not: whatever an instruction may
 * change is forgotten.
 *
 * (1) At most STEPS_MAX instructions and PATHS_MAX ways are followed; a result that is not null goes the way that is
 *     for it.
 * (2) void * and bytes say nothing about a type; they are kept as the weakest answer.
 * (3) An address behind a header whose length is computed is in the block, but nobody knows where. What points there
 *     is believed if it points at bytes: then the block is bytes, a header before them or not. */
#include "core/symbols_types_private.h"

#include <dwarf.h>
#include <string.h>

#include "core/symbols_types_code.h"
#include "core/text.h"

#define STEPS_MAX 160
#define PATHS_MAX 12
#define SLOTS_MAX 8
#define ANSWERS_MAX 12
#define ATTRIBUTE_ALLOC_TYPE 0x3e0e	/* DW_AT_LLVM_alloc_type, of clang's heap allocation sites */

#define INSIDE (INT64_MIN / 2)		/* offset in the block: not known, see (3); constants may be added to it */

enum holds { HOLDS_NOTHING = 0, HOLDS_RESULT, HOLDS_ADDRESS };

struct value {
	enum holds holds;
	uint32_t layout;		/* HOLDS_ADDRESS: of what lies there */
	int64_t offset;			/* from its first byte, or from the block's */
};

struct path {
	uint64_t pc;
	bool tested;			/* the result was compared with null just before */
	struct value registers[CODE_REGISTERS];
	int64_t slots[SLOTS_MAX];	/* places in the frame that hold the result, from the canonical frame address */
	int64_t slot_offsets[SLOTS_MAX];
	unsigned slot_count;
};

struct answer { struct symbols_site site; bool weak; };

struct search {
	struct types_file *file;
	struct types_function *function;
	struct path paths[PATHS_MAX];
	unsigned path_count, step_count;
	uint64_t seen[STEPS_MAX];
	struct answer answers[ANSWERS_MAX];
	unsigned answer_count;
	const uint8_t *code;		/* of the section that has the function */
	uint64_t code_start, code_bytes;
};

/* ---- answers ---- */

static const struct layout *layout_of(const struct search *search, uint32_t layout)
{
	return &search->file->layouts->layouts[layout];
}

static bool says_nothing(const struct search *search, uint32_t layout)
{
	const struct layout *is = layout_of(search, layout);

	return layout == LAYOUT_VOID || is->kind == LAYOUT_KIND_FUNCTION || layouts_is_byte(search->file->layouts, layout);
}

static bool is_inside(int64_t offset)
{
	return offset < INSIDE / 2;
}

/* Takes the evidence. */
static int answer(struct search *search, uint32_t layout, int64_t offset, enum symbols_how how, unsigned confidence,
		  bool passes_on, char *evidence)
{
	bool weak = says_nothing(search, layout);
	struct answer *at = &search->answers[search->answer_count];
	const char *interned;

	if (!evidence)
		return -ENOMEM;
	if (is_inside(offset)) {
		if (!layouts_is_byte(search->file->layouts, layout)) {
			free(evidence);
			return 0;
		}
		offset = 0;
		confidence = 1;
		passes_on = false;
	}
	interned = strings_intern(search->file->strings, evidence);
	free(evidence);
	if (!interned)
		return -ENOMEM;
	for (unsigned i = 0; i < search->answer_count; i++)
		if (search->answers[i].site.layout == layout && search->answers[i].site.offset == (uint64_t)offset &&
		    search->answers[i].site.passes_on == passes_on)
			return 0;
	if (search->answer_count == ANSWERS_MAX || offset < 0)
		return 0;
	if (weak || layout_of(search, layout)->bytes == 0)
		confidence = confidence > 1 ? confidence - 1 : 1;
	*at = (struct answer){ { layout, (uint64_t)offset, how, interned, confidence, passes_on }, weak };
	search->answer_count++;
	return 0;
}

/* What a pointer points at; LAYOUT_NONE if the layout is no pointer. */
static uint32_t pointee(const struct search *search, uint32_t layout)
{
	const struct layout *is;

	if (layout == LAYOUT_NONE)
		return LAYOUT_NONE;
	is = layout_of(search, layout);
	return is->kind == LAYOUT_KIND_POINTER ? is->target : LAYOUT_NONE;
}

/* The pointer that lies at a place in a type: the layout of what it points at, or LAYOUT_NONE, and the way to it.
 * With an index that is not known only arrays of pointers, whose elements are alike: compilers fold constants into
 * the index, so that base and displacement alone may be at any member. Returns 0 or -ENOMEM. */
static int pointed_from(const struct search *search, uint32_t layout, int64_t offset, bool indexed, uint32_t *ret_target,
			char **ret_way)
{
	const struct layouts *layouts = search->file->layouts;
	const struct layout *is = layout_of(search, layout);
	uint64_t bytes = is->bytes;
	struct text text = { 0 };
	uint32_t target;
	char *way;

	*ret_target = LAYOUT_NONE;
	*ret_way = NULL;
	if (!bytes || offset < 0)
		return 0;
	if (is->kind == LAYOUT_KIND_POINTER) {	/* one of an array of them */
		*ret_target = offset % (int64_t)bytes ? LAYOUT_NONE : is->target;
		return 0;
	}
	/* beyond the end: a member of a later element, or a flexible array */
	if ((uint64_t)offset >= bytes)
		bytes = (uint64_t)offset + sizeof(uint64_t);
	target = pointee(search, layouts_pointer_at(layouts, layout, bytes, (uint64_t)offset));
	if (target == LAYOUT_NONE)
		return 0;
	text_append(&text, "");
	layouts_path(layouts, layout, bytes, (uint64_t)offset, &text);
	way = text_take(&text);
	if (!way)
		return -ENOMEM;
	if (indexed && (!*way || way[strlen(way) - 1] != ']')) {
		free(way);
		return 0;
	}
	*ret_target = target;
	*ret_way = way;
	return 0;
}

/* ---- variables ---- */

static int variable_layout(struct search *search, uint32_t variable, uint32_t *ret_layout)
{
	int r = types_layout_of(search->file, &search->function->variables[variable], ret_layout);

	return r < 0 ? r : types_finish(search->file);
}

static const char *variable_name(struct search *search, uint32_t variable)
{
	const char *name = types_name(search->file, &search->function->variables[variable]);

	return name ? name : "";
}

/* Of two things that a pointer may point at, the one that says more: a class, not its base; a structure, not a word. */
static bool says_more(const struct search *search, uint32_t layout, uint32_t than)
{
	const struct layout *a, *b;
	bool a_has, b_has;

	if (than == LAYOUT_NONE)
		return true;
	a = layout_of(search, layout);
	b = layout_of(search, than);
	a_has = a->kind == LAYOUT_KIND_STRUCT || a->kind == LAYOUT_KIND_UNION;
	b_has = b->kind == LAYOUT_KIND_STRUCT || b->kind == LAYOUT_KIND_UNION;
	return a_has != b_has ? a_has : a->bytes > b->bytes;
}

/* The object of an inlined constructor (or of another member function: nobody but a constructor is the first). */
static bool is_this(struct search *search, uint32_t variable)
{
	return !strcmp(variable_name(search, variable), "this");
}

/* Pointer variables that are the result from about here on. */
static int see_variables(struct search *search, const struct path *path, uint64_t since)
{
	const struct types_function *function = search->function;
	uint32_t best = LAYOUT_NONE, best_variable = 0;
	int64_t best_offset = 0;
	uint64_t low = 0, high = function->place_count;

	while (low < high) {			/* the first that begins after pc */
		uint64_t middle = low + (high - low) / 2;

		if (function->places[middle].start <= path->pc)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- > 0 && function->places[low].start >= since) {
		const struct types_place *place = &function->places[low];
		const struct value *value;
		uint32_t layout, target;
		int r;

		if (path->pc >= place->end || place->reg >= CODE_REGISTERS ||
		    (place->where != TYPES_IN_REGISTER && place->where != TYPES_IS_SUM))
			continue;
		value = &path->registers[place->reg];
		if (value->holds != HOLDS_RESULT || (is_inside(value->offset) && place->where == TYPES_IS_SUM))
			continue;
		if (!*variable_name(search, place->variable))	/* drop_in_place(&new.first) in Rust: of the first member */
			continue;
		r = variable_layout(search, place->variable, &layout);
		if (r < 0)
			return r;
		target = pointee(search, layout);
		if (target == LAYOUT_NONE || !says_more(search, target, best))
			continue;
		best = target;
		best_variable = place->variable;
		best_offset = value->offset + (place->where == TYPES_IS_SUM ? place->offset : 0);
	}
	if (best == LAYOUT_NONE)
		return 0;
	return is_this(search, best_variable) ?
		       answer(search, best, best_offset, SYMBOLS_HOW_NEW, 3, false,
			      text_format("new %s", layout_of(search, best)->name)) :
		       answer(search, best, best_offset, SYMBOLS_HOW_VARIABLE, 3, false,
			      text_format("variable %s", variable_name(search, best_variable)));
}

/* What a register holds, if a variable is in it: the address of what a pointer points at. */
static int value_from_variables(struct search *search, uint64_t pc, unsigned reg, struct value *ret_value,
				const char **ret_name)
{
	const struct types_function *function = search->function;
	uint32_t best = LAYOUT_NONE;

	for (uint64_t i = 0; i < function->place_count && function->places[i].start <= pc; i++) {
		const struct types_place *place = &function->places[i];
		uint32_t layout, target;
		int r;

		if (pc >= place->end || place->reg != reg ||
		    (place->where != TYPES_IN_REGISTER && place->where != TYPES_IS_SUM))
			continue;
		r = variable_layout(search, place->variable, &layout);
		if (r < 0)
			return r;
		target = pointee(search, layout);
		if (target == LAYOUT_NONE || says_nothing(search, target) || !says_more(search, target, best))
			continue;
		best = target;
		*ret_value = (struct value){ HOLDS_ADDRESS, target,
					     place->where == TYPES_IS_SUM ? -place->offset : 0 };
		*ret_name = *variable_name(search, place->variable) ? variable_name(search, place->variable) : "?";
	}
	return 0;
}

/* ---- memory ---- */

/* A place in memory that an instruction names, as an offset in something of known type. */
struct memory {
	bool known;
	bool in_frame;
	int64_t cfa_offset;
	bool is_result;			/* in the block itself */
	uint32_t layout;
	int64_t offset;
	const char *name;		/* of the variable that has it, or NULL: behind a pointer */
};

static int memory_of_declaration(const struct symbols_declaration *declaration, int64_t plus, struct memory *memory)
{
	memory->known = true;
	memory->layout = declaration->layout;
	memory->offset = (int64_t)declaration->offset + plus;
	memory->name = declaration->name;
	return 0;
}

/* `pc` is where a local variable must be there: of a store after it, of anything else before. */
static int find_memory(struct search *search, const struct path *path, const struct code *code, uint64_t pc,
		       struct memory *ret_memory)
{
	struct symbols_declaration declaration;
	struct value value = { 0 };
	const char *name = NULL;
	int64_t base;
	int r;

	*ret_memory = (struct memory){ 0 };
	if (code->segment || code->base == CODE_NO_REGISTER)
		return 0;
	if (code->base == CODE_RIP) {
		r = types_find_placed(search->file, &search->file->data, (uint64_t)code->displacement, &declaration);
		if (r > 0)
			memory_of_declaration(&declaration, 0, ret_memory);
		return r < 0 ? r : types_finish(search->file);
	}
	if ((code->base == CODE_RSP || code->base == CODE_RBP) &&
	    types_register_in_frame(search->file, path->pc, code->base, &base)) {
		ret_memory->in_frame = !code->indexed;
		ret_memory->cfa_offset = base + code->displacement;
		r = types_find_local(search->file, search->function, pc, base + code->displacement, &declaration);
		if (r > 0)
			memory_of_declaration(&declaration, 0, ret_memory);
		return r < 0 ? r : types_finish(search->file);
	}
	value = path->registers[code->base];
	if (value.holds == HOLDS_NOTHING) {
		r = value_from_variables(search, path->pc, code->base, &value, &name);
		if (r < 0)
			return r;
	}
	ret_memory->is_result = value.holds == HOLDS_RESULT;
	if (value.holds != HOLDS_ADDRESS)
		return 0;
	ret_memory->known = true;
	ret_memory->layout = value.layout;
	ret_memory->offset = value.offset + code->displacement;
	return 0;
}

/* Something else is written where the result was kept. */
static void forget_slot(struct path *path, int64_t cfa_offset)
{
	for (unsigned i = 0; i < path->slot_count; i++)
		if (path->slots[i] > cfa_offset - 8 && path->slots[i] < cfa_offset + 8) {
			path->slot_count--;
			path->slots[i] = path->slots[path->slot_count];
			path->slot_offsets[i--] = path->slot_offsets[path->slot_count];
		}
}

static void see_other_store(struct search *search, struct path *path, const struct code *code)
{
	int64_t base;

	if (path->slot_count && (code->base == CODE_RSP || code->base == CODE_RBP) && !code->segment &&
	    types_register_in_frame(search->file, path->pc, code->base, &base))
		forget_slot(path, base + code->displacement);
}

/* The result is stored: what does the type of that place say? */
static int see_store(struct search *search, struct path *path, const struct code *code, int64_t result_offset)
{
	struct memory memory;
	uint32_t target;
	char *way;
	int r = find_memory(search, path, code, path->pc + code->bytes, &memory);

	if (r < 0)
		return r;
	if (memory.in_frame)
		forget_slot(path, memory.cfa_offset);
	if (memory.in_frame && path->slot_count < SLOTS_MAX) {
		path->slots[path->slot_count] = memory.cfa_offset;
		path->slot_offsets[path->slot_count++] = result_offset;
	}
	if (!memory.known || (code->indexed && code->scale != sizeof(uint64_t)))
		return 0;
	r = pointed_from(search, memory.layout, memory.offset, code->indexed, &target, &way);
	if (r < 0 || target == LAYOUT_NONE)
		return r;
	if (memory.name && (!way || !*way))
		r = answer(search, target, result_offset, SYMBOLS_HOW_VARIABLE, 3, false,
			   text_format("variable %s", memory.name));
	else
		r = answer(search, target, result_offset, SYMBOLS_HOW_FIELD, 3, false,
			   text_format("stored to %s%s%s", way ? "" : "a ",
				       memory.name ? memory.name : layout_of(search, memory.layout)->name, way ? way : ""));
	free(way);
	return r;
}

static int load(struct search *search, struct path *path, const struct code *code, struct value *ret_value)
{
	struct memory memory;
	uint32_t target;
	char *way;
	int r = find_memory(search, path, code, path->pc, &memory);

	*ret_value = (struct value){ 0 };
	if (r < 0)
		return r;
	for (unsigned i = path->slot_count; memory.in_frame && i-- > 0;)
		if (path->slots[i] == memory.cfa_offset) {
			*ret_value = (struct value){ HOLDS_RESULT, LAYOUT_NONE, path->slot_offsets[i] };
			return 0;
		}
	if (!memory.known)
		return 0;
	r = pointed_from(search, memory.layout, memory.offset, code->indexed, &target, &way);
	free(way);
	if (r >= 0 && target != LAYOUT_NONE && !says_nothing(search, target))
		*ret_value = (struct value){ HOLDS_ADDRESS, target, 0 };
	return r;
}

/* The result plus a number that is not known. */
static struct value sum(const struct path *path, unsigned a, unsigned b)
{
	bool has_result = path->registers[a].holds == HOLDS_RESULT || path->registers[b].holds == HOLDS_RESULT;

	return has_result ? (struct value){ HOLDS_RESULT, LAYOUT_NONE, INSIDE } : (struct value){ 0 };
}

static int take_address(struct search *search, struct path *path, const struct code *code, struct value *ret_value)
{
	struct memory memory;
	int r;

	*ret_value = (struct value){ 0 };
	if (code->indexed) {
		if (code->scale == 1 && code->base < CODE_REGISTERS)
			*ret_value = sum(path, code->base, code->index);
		return 0;
	}
	if (code->base < CODE_REGISTERS && path->registers[code->base].holds == HOLDS_RESULT) {
		*ret_value = path->registers[code->base];
		ret_value->offset += code->displacement;
		return 0;
	}
	r = find_memory(search, path, code, path->pc, &memory);
	if (r >= 0 && memory.known)
		*ret_value = (struct value){ HOLDS_ADDRESS, memory.layout, memory.offset };
	return r;
}

/* ---- calls and returns ---- */

static const struct types_call *call_at(const struct types_function *function, uint64_t return_pc)
{
	uint64_t low = 0, high = function->call_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (function->calls[middle].return_pc < return_pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < function->call_count && function->calls[low].return_pc == return_pc ? &function->calls[low] : NULL;
}

/* The function that a call goes to: from the call's entry, or by its address. Returns 1, 0, -ENOMEM. */
static int callee(struct search *search, uint64_t return_pc, uint64_t target, Dwarf_Die *ret_function)
{
	const struct types_call *call = call_at(search->function, return_pc);
	const struct symbol *symbol;
	Dwarf_Attribute attribute;

	if (call) {
		Dwarf_Die die = call->die;

		if ((dwarf_attr(&die, DW_AT_call_origin, &attribute) || dwarf_attr(&die, DW_AT_abstract_origin, &attribute)) &&
		    dwarf_formref_die(&attribute, ret_function))
			return 1;
	}
	if (!target)
		return 0;
	/* clones have other parameters than what they were made of */
	symbol = symbols_elf_find(search->file->functions, target);
	if (!symbol || symbol->start != target || strchr(symbol->name, '.'))
		return 0;
	return symbols_dwarf_function(search->file->index, target, ret_function);
}

/* Parameters that are passed in general registers; false where a parameter's place is not plain. */
static bool plain_parameter(const struct layout *layout, bool *ret_in_register)
{
	if (layout->kind == LAYOUT_KIND_STRUCT || layout->kind == LAYOUT_KIND_UNION || layout->kind == LAYOUT_KIND_ARRAY ||
	    layout->bytes > 8)
		return false;
	*ret_in_register = strcmp(layout->name, "double") && strcmp(layout->name, "float");
	return true;
}

/* Does a function come back? */
static bool comes_back(Dwarf_Die *function)
{
	Dwarf_Attribute attribute;

	return !dwarf_attr_integrate(function, DW_AT_noreturn, &attribute);
}

static int see_arguments(struct search *search, const struct path *path, Dwarf_Die *function)
{
	static const uint8_t order[] = { CODE_RDI, CODE_RSI, CODE_RDX, CODE_RCX, CODE_R8, CODE_R8 + 1 };
	const char *name = types_name(search->file, function);
	unsigned used = 0, number = 0;
	Dwarf_Attribute attribute;
	Dwarf_Die child, from = *function;
	int r = 0;

	/* the parameters' types are with what the function is an instance of */
	for (unsigned i = 0; i < TYPES_CHAIN_MAX && dwarf_attr(&from, DW_AT_abstract_origin, &attribute); i++)
		if (!dwarf_formref_die(&attribute, &from))
			return 0;
	if (dwarf_child(&from, &child) != 0)
		return 0;
	do {
		uint32_t layout, target;
		const char *parameter;
		bool in_register;

		if (dwarf_tag(&child) != DW_TAG_formal_parameter)
			continue;
		r = types_layout_of(search->file, &child, &layout);
		if (r >= 0)
			r = types_finish(search->file);
		if (r < 0 || !plain_parameter(layout_of(search, layout), &in_register))
			break;
		number++;
		if (!in_register)
			continue;
		if (path->registers[order[used]].holds != HOLDS_RESULT)
			continue;
		target = pointee(search, layout);
		parameter = types_name(search->file, &child);
		if (target == LAYOUT_NONE || says_nothing(search, target))
			continue;
		if (number == 1 && ((parameter && !strcmp(parameter, "this")) || dwarf_hasattr(&child, DW_AT_artificial)))
			r = answer(search, target, path->registers[order[used]].offset, SYMBOLS_HOW_NEW, 3, false,
				   text_format("new %s", layout_of(search, target)->name));
		else
			r = answer(search, target, path->registers[order[used]].offset, SYMBOLS_HOW_VARIABLE, 2, false,
				   text_format("argument %u of %s", number, name ? name : "a function"));
	} while (r >= 0 && ++used < sizeof(order) && types_next(&child));
	return r;
}

/* The result leaves through rax. */
static int see_return(struct search *search, const struct path *path)
{
	const struct value *value = &path->registers[CODE_RAX];
	const char *name = types_name(search->file, &search->function->die);
	uint32_t layout, target;
	int r;

	if (value->holds != HOLDS_RESULT)
		return 0;
	r = types_layout_of(search->file, &search->function->die, &layout);
	if (r >= 0)
		r = types_finish(search->file);
	if (r < 0)
		return r;
	target = pointee(search, layout);
	if (target == LAYOUT_NONE)
		return 0;
	return answer(search, target, value->offset, SYMBOLS_HOW_RETURN, 2, says_nothing(search, target),
		      text_format("returned by %s", name ? name : "a function"));
}

/* ---- following ---- */

static void forget(struct path *path, uint32_t registers)
{
	for (unsigned i = 0; i < CODE_REGISTERS; i++)
		if (registers >> i & 1)
			path->registers[i].holds = HOLDS_NOTHING;
}

static bool holds_result(const struct path *path)
{
	bool holds = path->slot_count > 0;

	for (unsigned i = 0; i < CODE_REGISTERS; i++)
		holds |= path->registers[i].holds == HOLDS_RESULT;
	return holds;
}

static bool in_function(const struct search *search, uint64_t pc)
{
	Dwarf_Die die = search->function->die;

	return dwarf_haspc(&die, pc) > 0;
}

/* A call, or a jump out of the function. Returns 1 if it comes back, 0, or -ENOMEM. */
static int see_call(struct search *search, struct path *path, const struct code *code)
{
	Dwarf_Die function;
	int r = callee(search, path->pc + code->bytes, code->target, &function);

	if (r <= 0)
		return r < 0 ? r : 1;
	r = see_arguments(search, path, &function);
	return r < 0 ? r : comes_back(&function);
}

static void branch(struct search *search, struct path *path, const struct code *code)
{
	uint64_t next = path->pc + code->bytes;
	bool stays = path->tested && code->if_zero, goes = path->tested && code->if_not_zero;

	if (!stays && in_function(search, code->target)) {
		if (goes) {
			path->pc = code->target;
			path->tested = false;
			return;
		}
		if (search->path_count < PATHS_MAX) {
			search->paths[search->path_count] = *path;
			search->paths[search->path_count].tested = false;
			search->paths[search->path_count++].pc = code->target;
		}
	}
	path->pc = next;
	path->tested = false;
}

/* One instruction. Returns 1 to go on, 0 at the end of this path, -ENOMEM. */
static int step(struct search *search, struct path *path, const struct code *code)
{
	uint64_t next = path->pc + code->bytes;
	struct value value = { 0 };
	struct memory memory;
	bool tested = false;
	int r = 0;

	switch (code->act) {
	case CODE_MOVE:
		value = path->registers[code->source];
		if (value.holds == HOLDS_NOTHING) {
			const char *name;

			r = value_from_variables(search, path->pc, code->source, &value, &name);
		}
		break;
	case CODE_STORE:
		if (path->registers[code->source].holds == HOLDS_RESULT)
			r = see_store(search, path, code, path->registers[code->source].offset);
		else
			see_other_store(search, path, code);
		break;
	case CODE_LOAD:
		r = load(search, path, code, &value);
		break;
	case CODE_ADDRESS:
		r = take_address(search, path, code, &value);
		break;
	case CODE_ADD:
		value = path->registers[code->reg];
		value.offset += code->displacement;
		break;
	case CODE_SUM:
		value = sum(path, code->reg, code->source);
		break;
	case CODE_TEST:
		tested = path->registers[code->source].holds == HOLDS_RESULT;
		break;
	case CODE_TEST_MEMORY:
		r = find_memory(search, path, code, path->pc, &memory);
		for (unsigned i = 0; r >= 0 && memory.in_frame && i < path->slot_count; i++)
			tested |= path->slots[i] == memory.cfa_offset;
		break;
	case CODE_BRANCH:
		forget(path, code->changes);
		branch(search, path, code);
		return 1;
	case CODE_JUMP:
		if (in_function(search, code->target)) {
			path->pc = code->target;
			return 1;
		}
		r = see_call(search, path, code);
		return r < 0 ? r : 0;
	case CODE_CALL:
		r = see_call(search, path, code);
		if (r <= 0)
			return r;
		break;
	case CODE_RETURN:
		return see_return(search, path);
	case CODE_STOP:
		return 0;
	case CODE_OTHER:			/* it may write; if it only reads, little is lost */
		see_other_store(search, path, code);
		break;
	}
	if (r < 0)
		return r;
	forget(path, code->changes);
	if (value.holds != HOLDS_NOTHING && code->reg < CODE_REGISTERS)
		path->registers[code->reg] = value;
	path->tested = tested;
	path->pc = next;
	return 1;
}

static int follow(struct search *search, struct path *path)
{
	uint64_t since = path->pc;
	int r = 1;

	while (r > 0 && search->step_count < STEPS_MAX && holds_result(path)) {
		uint64_t before = path->pc;
		struct code code;

		for (unsigned i = 0; i < search->step_count; i++)
			if (search->seen[i] == path->pc)
				return 0;
		search->seen[search->step_count++] = path->pc;
		r = see_variables(search, path, since);
		if (r < 0)
			return r;
		if (path->pc < search->code_start || path->pc - search->code_start >= search->code_bytes ||
		    !code_decode(search->code + (path->pc - search->code_start),
				 search->code_bytes - (path->pc - search->code_start), path->pc, &code))
			return 0;
		r = step(search, path, &code);
		/* an entry may begin within the instruction; after a jump, where it went */
		since = path->pc == before + code.bytes ? before + 1 : path->pc;
	}
	return r < 0 ? r : 0;
}

/* The bytes of the section with an address. */
static bool find_code(struct search *search, uint64_t addr)
{
	Elf_Scn *section = NULL;
	GElf_Ehdr header;

	if (!gelf_getehdr(search->file->elf, &header) || header.e_machine != EM_X86_64)
		return false;
	while ((section = elf_nextscn(search->file->elf, section))) {
		GElf_Shdr at;
		Elf_Data *data;

		if (!gelf_getshdr(section, &at) || !(at.sh_flags & SHF_EXECINSTR) || at.sh_type == SHT_NOBITS ||
		    addr < at.sh_addr || addr - at.sh_addr >= at.sh_size)
			continue;
		data = elf_getdata(section, NULL);
		if (!data || !data->d_buf)
			return false;
		search->code = data->d_buf;
		search->code_start = at.sh_addr;
		search->code_bytes = data->d_size;
		return true;
	}
	return false;
}

/* clang says at the call of which type the block is. */
static int see_attribute(struct search *search, uint64_t return_addr)
{
	const struct types_call *call = call_at(search->function, return_addr);
	Dwarf_Attribute attribute;
	Dwarf_Die die, type;
	uint32_t layout;
	int r;

	if (!call)
		return 0;
	die = call->die;
	if ((!dwarf_attr(&die, ATTRIBUTE_ALLOC_TYPE, &attribute) && !dwarf_attr(&die, DW_AT_type, &attribute)) ||
	    !dwarf_formref_die(&attribute, &type))
		return 0;
	r = types_layout(search->file, &type, &layout);
	return r < 0 ? r :
		       answer(search, layout, 0, SYMBOLS_HOW_ATTRIBUTE, 3, false,
			      text_format("the compiler: %s", layout_of(search, layout)->name));
}

/* A C++ allocator was inlined here: its `allocate` says what it returns. */
static int see_allocator(struct search *search, uint64_t return_addr)
{
	const struct types_function *function = search->function;
	int r = 0;

	for (uint64_t i = 0; r >= 0 && i < function->allocator_count; i++) {
		Dwarf_Die die = function->allocators[i].die;
		uint32_t layout, target;

		if (return_addr - 1 < function->allocators[i].start || return_addr - 1 >= function->allocators[i].end)
			continue;
		r = types_layout_of(search->file, &die, &layout);
		if (r >= 0)
			r = types_finish(search->file);
		target = r >= 0 ? pointee(search, layout) : LAYOUT_NONE;
		if (target != LAYOUT_NONE && target != LAYOUT_VOID)
			r = answer(search, target, 0, SYMBOLS_HOW_RETURN, 3, false,
				   text_format("returned by allocate() of an allocator"));
	}
	return r;
}

/* Typed answers first, then "ask the caller", then bytes, then void; each in the order in which they were met. */
static unsigned rank(const struct answer *at)
{
	return at->site.passes_on ? 1 : !at->weak ? 0 : at->site.layout == LAYOUT_VOID ? 3 : 2;
}

int types_site(struct types_file *file, uint64_t return_addr, struct symbols_site *ret_sites, int max)
{
	struct search *search;
	int r, count = 0;

	search = calloc(1, sizeof(*search));
	if (!search)
		return -ENOMEM;
	search->file = file;
	r = types_function_at(file, return_addr - 1, &search->function);
	if (r > 0)
		r = see_attribute(search, return_addr);
	else if (r == 0)
		goto done;
	if (r >= 0)
		r = see_allocator(search, return_addr);
	if (r >= 0 && find_code(search, return_addr)) {
		search->paths[0].pc = return_addr;
		search->paths[0].registers[CODE_RAX].holds = HOLDS_RESULT;
		search->path_count = 1;
		for (unsigned i = 0; r >= 0 && i < search->path_count; i++)
			r = follow(search, &search->paths[i]);
	}
	for (unsigned wanted = 0; r >= 0 && wanted < 4; wanted++)
		for (unsigned i = 0; i < search->answer_count && count < max; i++)
			if (rank(&search->answers[i]) == wanted)
				ret_sites[count++] = search->answers[i].site;
done:
	free(search);
	return r < 0 ? r : count;
}
