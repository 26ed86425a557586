/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_layout.c - entries that describe types, as layouts.
 *
 * Types refer to each other in circles, but only through structures: these get their number at once and
 * their members later (types_finish()), so nothing recurses deeper than pointers to arrays of pointers. */
#include "core/symbols_types_private.h"

#include <dwarf.h>
#include <string.h>

#include "core/grow.h"
#include "core/text.h"

#define DEPTH_MAX 32			/* pointers and arrays in each other */
#define DIMENSIONS_MAX 8
#define MEMBERS_MAX 65536u

/* ---- entries whose layout is known ---- */

static bool same_entry(const void *owner, uint32_t number, const void *key)
{
	return ((const struct types_file *)owner)->known[number].at == key;
}

static uint32_t hash_entry(const void *at)
{
	return hash_fold((uintptr_t)at);
}

static int remember(struct types_file *file, Dwarf_Die *die, uint32_t layout)
{
	int r = grow_array(&file->known, &file->known_room, file->known_count + 1, sizeof(*file->known));

	if (r >= 0)
		r = hash_index_add(&file->known_index, hash_entry(die->addr), (uint32_t)file->known_count);
	if (r >= 0)
		file->known[file->known_count++] = (struct types_known){ die->addr, layout };
	return r;
}

/* ---- from entry to entry ---- */

bool types_type_of(Dwarf_Die *die, Dwarf_Die *ret_type)
{
	Dwarf_Attribute attribute;

	return dwarf_attr_integrate(die, DW_AT_type, &attribute) && dwarf_formref_die(&attribute, ret_type);
}

static bool flag_of(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	bool value;

	return dwarf_attr(die, name, &attribute) && dwarf_formflag(&attribute, &value) == 0 && value;
}

static bool number_of(Dwarf_Die *die, unsigned name, uint64_t *ret_number)
{
	Dwarf_Attribute attribute;
	Dwarf_Word number;

	if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &number) != 0)
		return false;
	*ret_number = number;
	return true;
}

/* Through typedefs and qualifiers. The innermost typedef's name is that of a structure without its own.
 * False = void, or malformed. */
static bool peel(struct types_file *file, Dwarf_Die *die, const char **ret_typedef)
{
	for (unsigned i = 0; i < TYPES_CHAIN_MAX; i++) {
		switch (dwarf_tag(die)) {
		case DW_TAG_typedef:
		case DW_TAG_template_alias:
			*ret_typedef = types_name(file, die);
			break;
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_restrict_type:
		case DW_TAG_atomic_type:
		case DW_TAG_immutable_type:
		case DW_TAG_packed_type:
		case DW_TAG_shared_type:
			break;
		default:
			return true;
		}
		if (!types_type_of(die, die))
			return false;
	}
	return false;
}

/* ---- one kind each ---- */

static int add(struct types_file *file, Dwarf_Die *die, struct layout *layout, const char *name, uint32_t *ret_layout)
{
	int r;

	layout->name = strings_intern(file->strings, name);
	if (!layout->file)
		layout->file = "";
	if (!layout->name)
		return -ENOMEM;
	r = layouts_add(file->layouts, layout, ret_layout);
	return r < 0 ? r : remember(file, die, *ret_layout);
}

/* As add(), of a name that was made for the occasion. */
static int add_taken(struct types_file *file, Dwarf_Die *die, struct layout *layout, char *name, uint32_t *ret_layout)
{
	int r = name ? add(file, die, layout, name, ret_layout) : -ENOMEM;

	free(name);
	return r;
}

static uint64_t address_bytes_of(Dwarf_Die *die)
{
	Dwarf_Die unit;
	uint8_t bytes;

	return dwarf_diecu(die, &unit, &bytes, NULL) ? bytes : sizeof(void *);
}

static int layout_at(struct types_file *file, Dwarf_Die *type, unsigned depth, uint32_t *ret_layout);

static int layout_target(struct types_file *file, Dwarf_Die *die, unsigned depth, uint32_t *ret_layout)
{
	Dwarf_Die type;

	*ret_layout = LAYOUT_VOID;
	return types_type_of(die, &type) ? layout_at(file, &type, depth + 1, ret_layout) : 0;
}

static int add_pointer(struct types_file *file, Dwarf_Die *die, unsigned depth, uint32_t *ret_layout)
{
	bool reference = dwarf_tag(die) != DW_TAG_pointer_type;
	struct layout layout = { .kind = LAYOUT_KIND_POINTER };
	const struct layout *target;
	int r = layout_target(file, die, depth, &layout.target);

	if (r < 0)
		return r;
	if (!number_of(die, DW_AT_byte_size, &layout.bytes))
		layout.bytes = address_bytes_of(die);
	target = &file->layouts->layouts[layout.target];
	return add_taken(file, die, &layout,
			 text_format(target->kind == LAYOUT_KIND_POINTER ? "%s%s" : "%s %s", target->name,
				     reference ? "&" : "*"),
			 ret_layout);
}

/* Elements of one dimension; 0 = unknown. */
static uint64_t dimension_count(Dwarf_Die *range)
{
	Dwarf_Attribute attribute;
	Dwarf_Sword upper;
	uint64_t count;

	if (dwarf_attr(range, DW_AT_count, &attribute))
		return dwarf_formudata(&attribute, &count) == 0 ? count : 0;
	if (!dwarf_attr(range, DW_AT_upper_bound, &attribute) || dwarf_formsdata(&attribute, &upper) != 0)
		return 0;
	return upper >= 0 && upper < INT64_MAX ? (uint64_t)upper + 1 : 0;
}

/* "int[3]" in four rows is "int[4][3]". */
static char *array_name(const char *element, uint64_t count)
{
	const char *bracket = strchr(element, '[');
	int before = bracket ? (int)(bracket - element) : (int)strlen(element);

	return count ? text_format("%.*s[%llu]%s", before, element, (unsigned long long)count, element + before) :
		       text_format("%.*s[]%s", before, element, element + before);
}

static int add_array(struct types_file *file, Dwarf_Die *die, unsigned depth, uint32_t *ret_layout)
{
	uint64_t counts[DIMENSIONS_MAX] = { 0 };
	unsigned dimensions = 0;
	Dwarf_Die child;
	uint32_t element;
	int r = layout_target(file, die, depth, &element);

	if (r >= 0 && dwarf_child(die, &child) == 0)
		do {
			if (dwarf_tag(&child) == DW_TAG_subrange_type || dwarf_tag(&child) == DW_TAG_enumeration_type)
				counts[dimensions++] = dimension_count(&child);
		} while (dimensions < DIMENSIONS_MAX && types_next(&child));
	if (!dimensions)
		dimensions = 1;			/* an array of unknown extent */
	while (r >= 0 && dimensions--) {
		const struct layout *of = &file->layouts->layouts[element];
		struct layout layout = { .kind = LAYOUT_KIND_ARRAY, .target = element, .count = counts[dimensions],
					 .file = "" };
		char *name;

		if (__builtin_mul_overflow(of->bytes, layout.count, &layout.bytes))
			layout.bytes = layout.count = 0;
		name = array_name(of->name, layout.count);
		if (!name)
			return -ENOMEM;
		layout.name = strings_intern(file->strings, name);
		free(name);
		r = layout.name ? layouts_add(file->layouts, &layout, &element) : -ENOMEM;
	}
	*ret_layout = element;
	return r < 0 ? r : remember(file, die, element);
}

/* ---- structures ---- */

/* A declaration's definition, if there is one. Returns 1, 0, -ENOMEM. */
static int complete(struct types_file *file, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	Dwarf_Die found;
	const char *name;
	int r, tag = dwarf_tag(die);

	if (dwarf_attr(die, DW_AT_signature, &attribute)) {
		if (!dwarf_formref_die(&attribute, &found))
			return 0;
		*die = found;
		return 1;
	}
	if (!types_name(file, die))
		return 0;
	name = types_qualified_name(file, die, NULL);
	if (!name)
		return -ENOMEM;
	r = types_find_definition(file, name, &found);
	/* a class may be declared as a struct, but neither is a union */
	if (r > 0 && (dwarf_tag(&found) == DW_TAG_union_type) == (tag == DW_TAG_union_type))
		*die = found;
	else if (r > 0)
		r = 0;
	return r;
}

/* Name of a structure, union or enum as its language writes it. NULL = memory is short. */
static const char *tagged_name(struct types_file *file, Dwarf_Die *die, const char *typedef_name)
{
	int tag = dwarf_tag(die);
	const char *word = tag == DW_TAG_union_type	  ? "union" :
			   tag == DW_TAG_enumeration_type ? "enum" :
							    "struct";
	const char *own = types_name(file, die), *name;
	uint32_t unit;
	char *with;
	int r = types_unit_of(file, die, &unit);

	if (r < 0)
		return NULL;
	if (!own && typedef_name)
		return types_qualified_name(file, die, typedef_name);
	if (own && (!r || !file->units[unit].is_c))
		return types_qualified_name(file, die, own);
	with = own ? text_format("%s %s", word, own) : text_format("%s {...}", word);
	name = strings_intern(file->strings, with);
	free(with);
	return name;
}

int types_declared_at(struct types_file *file, Dwarf_Die *die, const char **ret_file, uint32_t *ret_line)
{
	Dwarf_Attribute attribute;
	Dwarf_Word number;
	Dwarf_Files *files;
	Dwarf_Die unit;
	Dwarf_Half version;
	size_t count;
	const char *name = NULL;
	int line;

	*ret_line = dwarf_decl_line(die, &line) == 0 && line > 0 ? (uint32_t)line : 0;
	/* dwarf_decl_file() takes file 0 for none, which in DWARF 5 is the unit's own */
	if (dwarf_attr_integrate(die, DW_AT_decl_file, &attribute) && dwarf_formudata(&attribute, &number) == 0 &&
	    dwarf_cu_die(attribute.cu, &unit, &version, NULL, NULL, NULL, NULL, NULL) && (number || version >= 5) &&
	    dwarf_getsrcfiles(&unit, &files, &count) == 0 && number < count)
		name = dwarf_filesrc(files, number, NULL, NULL);
	*ret_file = strings_intern(file->strings, name ? name : "");
	return *ret_file ? 0 : -ENOMEM;
}

static int add_structure(struct types_file *file, Dwarf_Die *die, const char *typedef_name, uint32_t *ret_layout)
{
	struct layout layout = { .kind = dwarf_tag(die) == DW_TAG_union_type ? LAYOUT_KIND_UNION : LAYOUT_KIND_STRUCT };
	Dwarf_Die definition = *die;
	/* gcc does not call what stands for a type unit's type a declaration */
	bool defined = !flag_of(die, DW_AT_declaration) && !dwarf_hasattr(die, DW_AT_signature);
	int r = 0;

	if (!defined) {
		r = complete(file, &definition);
		if (r < 0)
			return r;
		defined = r > 0;
		if (defined) {
			uint32_t number = hash_index_find(&file->known_index, hash_entry(definition.addr), same_entry,
							  file, definition.addr);

			if (number != HASH_NONE) {
				*ret_layout = file->known[number].layout;
				return remember(file, die, *ret_layout);
			}
		}
	}
	layout.name = tagged_name(file, &definition, typedef_name);
	if (!layout.name)
		return -ENOMEM;
	if (defined)
		number_of(&definition, DW_AT_byte_size, &layout.bytes);
	r = types_declared_at(file, &definition, &layout.file, &layout.line);
	if (r >= 0)
		r = layouts_add(file->layouts, &layout, ret_layout);
	if (r >= 0)
		r = remember(file, die, *ret_layout);
	if (r >= 0 && definition.addr != die->addr)
		r = remember(file, &definition, *ret_layout);
	if (r < 0 || !defined || file->layouts->layouts[*ret_layout].member_count)
		return r;
	r = grow_array(&file->pending, &file->pending_room, file->pending_count + 1, sizeof(*file->pending));
	if (r >= 0)
		file->pending[file->pending_count++] = (struct types_pending){ definition, *ret_layout };
	return r;
}

/* Where a member lies; false = only at run time, or nowhere (static members). */
static bool member_offset(Dwarf_Die *die, uint64_t *ret_offset)
{
	Dwarf_Attribute attribute;
	uint64_t bits;

	if (flag_of(die, DW_AT_external) || flag_of(die, DW_AT_declaration))
		return false;
	*ret_offset = 0;
	if (number_of(die, DW_AT_data_bit_offset, &bits)) {
		*ret_offset = bits / 8;
		return true;
	}
	if (!dwarf_attr(die, DW_AT_data_member_location, &attribute))
		return true;			/* of a union; in a structure the first */
	if (dwarf_formudata(&attribute, ret_offset) != 0) {
		Dwarf_Op *ops;
		size_t count;

		if (dwarf_getlocation(&attribute, &ops, &count) != 0 || count != 1 ||
		    ops[0].atom != DW_OP_plus_uconst)
			return false;
		*ret_offset = ops[0].number;
	}
	return true;
}

static int compare_members(const void *pa, const void *pb)
{
	const struct layout_member *a = pa, *b = pb;

	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Stable: members of a union stay in the order in which they are written. */
static void sort_members(struct layout_member *members, uint32_t count)
{
	bool sorted = true;

	for (uint32_t i = 1; i < count; i++)
		sorted &= members[i - 1].offset <= members[i].offset;
	if (!sorted)
		qsort(members, count, sizeof(*members), compare_members);
}

static int add_member(struct types_file *file, Dwarf_Die *die, struct layout_member **members, uint64_t *room,
		      uint32_t *count)
{
	bool base = dwarf_tag(die) == DW_TAG_inheritance;
	const char *name = base ? "" : types_name(file, die);
	struct layout_member member = { .is_base = base };
	int r;

	if (*count >= MEMBERS_MAX || !member_offset(die, &member.offset))
		return 0;
	member.name = strings_intern(file->strings, name ? name : "");
	r = member.name ? types_layout_of(file, die, &member.type) : -ENOMEM;
	if (r >= 0)
		r = grow_array(members, room, *count + 1ull, sizeof(**members));
	if (r >= 0)
		(*members)[(*count)++] = member;
	return r;
}

/* libstdc++ keeps the element of a node in a buffer of bytes; of what type it is says the buffer's argument. */
static bool is_buffer(const char *name)
{
	return !strncmp(name, "__gnu_cxx::__aligned_membuf<", 28) || !strncmp(name, "__gnu_cxx::__aligned_buffer<", 28);
}

/* The element as the buffer's only member, without a name. Returns 0 where the argument is not known. */
static int read_element(struct types_file *file, const struct types_pending *pending, Dwarf_Die *argument)
{
	struct layout_member element = { .name = strings_intern(file->strings, "") };
	uint64_t room = file->layouts->layouts[pending->layout].bytes;
	int r = element.name ? types_layout_of(file, argument, &element.type) : -ENOMEM;

	if (r < 0 || element.type == LAYOUT_VOID || file->layouts->layouts[element.type].bytes > room)
		return r < 0 ? r : 0;
	r = layouts_set_members(file->layouts, pending->layout, &element, 1);
	return r < 0 ? r : 1;
}

static int read_members(struct types_file *file, const struct types_pending *pending)
{
	bool buffer = is_buffer(file->layouts->layouts[pending->layout].name);
	struct layout_member *members = NULL;
	uint64_t room = 0;
	uint32_t count = 0;
	Dwarf_Die die = pending->die, child;
	int r = 0;

	if (file->layouts->layouts[pending->layout].member_count || dwarf_child(&die, &child) != 0)
		return 0;
	do {
		int tag = dwarf_tag(&child);

		if (buffer && tag == DW_TAG_template_type_parameter) {
			Dwarf_Die argument = child;

			r = read_element(file, pending, &argument);
			if (r > 0)
				count = 0;
		} else if (tag == DW_TAG_member || tag == DW_TAG_inheritance) {
			r = add_member(file, &child, &members, &room, &count);
		}
	} while (r >= 0 && types_next(&child));
	if (r >= 0 && count) {
		sort_members(members, count);
		r = layouts_set_members(file->layouts, pending->layout, members, count);
	}
	free(members);
	return r;
}

int types_finish(struct types_file *file)
{
	int r = 0;

	while (r >= 0 && file->pending_count) {
		struct types_pending pending = file->pending[--file->pending_count];

		r = read_members(file, &pending);
	}
	return r;
}

/* ---- any type ---- */

static int add_base(struct types_file *file, Dwarf_Die *die, const char *typedef_name, uint32_t *ret_layout)
{
	struct layout layout = { .kind = LAYOUT_KIND_BASE };
	const char *name = types_name(file, die);

	if (!number_of(die, DW_AT_byte_size, &layout.bytes) && dwarf_tag(die) == DW_TAG_ptr_to_member_type)
		layout.bytes = address_bytes_of(die);
	if (dwarf_tag(die) == DW_TAG_enumeration_type)
		name = tagged_name(file, die, typedef_name);
	else if (dwarf_tag(die) == DW_TAG_ptr_to_member_type)
		name = "pointer to member";
	return add(file, die, &layout, name ? name : typedef_name ? typedef_name : "", ret_layout);
}

static int layout_at(struct types_file *file, Dwarf_Die *type, unsigned depth, uint32_t *ret_layout)
{
	struct layout function = { .kind = LAYOUT_KIND_FUNCTION };
	const char *typedef_name = NULL;
	Dwarf_Die die = *type;
	uint32_t number;

	*ret_layout = LAYOUT_VOID;
	if (depth > DEPTH_MAX || !peel(file, &die, &typedef_name))
		return 0;
	number = hash_index_find(&file->known_index, hash_entry(die.addr), same_entry, file, die.addr);
	if (number != HASH_NONE) {
		*ret_layout = file->known[number].layout;
		return 0;
	}
	switch (dwarf_tag(&die)) {
	case DW_TAG_base_type:
	case DW_TAG_enumeration_type:
	case DW_TAG_unspecified_type:
	case DW_TAG_ptr_to_member_type:
	case DW_TAG_subrange_type:
	case DW_TAG_string_type:
		return add_base(file, &die, typedef_name, ret_layout);
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		return add_pointer(file, &die, depth, ret_layout);
	case DW_TAG_array_type:
		return add_array(file, &die, depth, ret_layout);
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
	case DW_TAG_interface_type:
		return add_structure(file, &die, typedef_name, ret_layout);
	case DW_TAG_subroutine_type:
		return add(file, &die, &function, "function", ret_layout);
	}
	return 0;
}

int types_layout(struct types_file *file, Dwarf_Die *type, uint32_t *ret_layout)
{
	return layout_at(file, type, 0, ret_layout);
}

int types_layout_of(struct types_file *file, Dwarf_Die *die, uint32_t *ret_layout)
{
	return layout_target(file, die, 0, ret_layout);
}
