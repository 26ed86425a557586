/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_scan.c - one pass over the bytes of a unit: which types it defines, where its variables lie.
 *
 * libdw walks entry by entry and looks every abbreviation up; with hundreds of megabytes of debug information
 * that takes minutes. Here the bytes are read once, front to back: abbreviations in an array by code, entries
 * of fixed size stepped over. What is found is an address of an entry, of which libdw is asked the rest.
 *
 * (1) Every step moves forwards and stays below the unit's end, so that whatever the bytes say, a scan ends.
 * (2) A unit that does not make sense is given up where it stops making sense; what was found remains. */
#include "core/symbols_types_private.h"

#include <dwarf.h>
#include <string.h>

#include "core/grow.h"

#define SCOPES_OPEN_MAX 64		/* namespaces and classes in each other */
#define ABBREV_ATTRIBUTES_MAX 64
#define ABBREV_CODES_MAX (1u << 20)

struct form { uint16_t attribute, form; };

struct abbrev {
	uint16_t tag;			/* 0 = there is none with this code */
	uint16_t form_count;
	uint32_t first_form;
	uint32_t fixed_bytes;		/* of all attributes; UINT32_MAX = not fixed */
	bool has_children, has_location;
	bool is_static;			/* of a variable or member: declared here, defined elsewhere */
};

struct abbrevs {
	struct abbrev *codes;
	uint64_t count, room;
	struct form *forms;
	uint64_t form_count, form_room;
};

struct reader { uint8_t *at, *end; uint8_t address_bytes, offset_bytes, version; bool bad; };

struct scan {
	struct types_file *file;
	struct types_unit *unit;
	uint32_t number;
	struct reader reader;
	struct { uint32_t scope, depth; bool used; } open[SCOPES_OPEN_MAX];
	unsigned open_count;
};

/* ---- bytes ---- */

static uint64_t read_uleb(struct reader *reader)
{
	uint64_t value = 0;

	for (unsigned shift = 0; reader->at < reader->end; shift += 7) {
		uint8_t byte = *reader->at++;

		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	reader->bad = true;
	return 0;
}

static uint64_t read_fixed(struct reader *reader, unsigned bytes)
{
	uint64_t value = 0;

	if ((size_t)(reader->end - reader->at) < bytes) {
		reader->bad = true;
		return 0;
	}
	memcpy(&value, reader->at, bytes);	/* little endian, as all machines that are served */
	reader->at += bytes;
	return value;
}

static void skip(struct reader *reader, uint64_t bytes)
{
	if (bytes > (uint64_t)(reader->end - reader->at))
		reader->bad = true;
	else
		reader->at += bytes;
}

/* Bytes of a form, or -1 if its value says. */
static int form_bytes(const struct reader *reader, unsigned form)
{
	switch (form) {
	case DW_FORM_flag_present:
	case DW_FORM_implicit_const:
		return 0;
	case DW_FORM_data1:
	case DW_FORM_ref1:
	case DW_FORM_flag:
	case DW_FORM_strx1:
	case DW_FORM_addrx1:
		return 1;
	case DW_FORM_data2:
	case DW_FORM_ref2:
	case DW_FORM_strx2:
	case DW_FORM_addrx2:
		return 2;
	case DW_FORM_strx3:
	case DW_FORM_addrx3:
		return 3;
	case DW_FORM_data4:
	case DW_FORM_ref4:
	case DW_FORM_strx4:
	case DW_FORM_addrx4:
	case DW_FORM_ref_sup4:
		return 4;
	case DW_FORM_data8:
	case DW_FORM_ref8:
	case DW_FORM_ref_sig8:
	case DW_FORM_ref_sup8:
		return 8;
	case DW_FORM_data16:
		return 16;
	case DW_FORM_addr:
		return reader->address_bytes;
	case DW_FORM_ref_addr:
		return reader->version < 3 ? reader->address_bytes : reader->offset_bytes;
	case DW_FORM_strp:
	case DW_FORM_line_strp:
	case DW_FORM_sec_offset:
	case DW_FORM_strp_sup:
	case DW_FORM_GNU_strp_alt:
	case DW_FORM_GNU_ref_alt:
		return reader->offset_bytes;
	}
	return -1;
}

static void skip_form(struct reader *reader, unsigned form)
{
	int bytes;

	if (form == DW_FORM_indirect)
		form = (unsigned)read_uleb(reader);
	bytes = form_bytes(reader, form);
	if (bytes >= 0) {
		skip(reader, (unsigned)bytes);
		return;
	}
	switch (form) {
	case DW_FORM_block1:
		skip(reader, read_fixed(reader, 1));
		break;
	case DW_FORM_block2:
		skip(reader, read_fixed(reader, 2));
		break;
	case DW_FORM_block4:
		skip(reader, read_fixed(reader, 4));
		break;
	case DW_FORM_block:
	case DW_FORM_exprloc:
		skip(reader, read_uleb(reader));
		break;
	case DW_FORM_sdata:
	case DW_FORM_udata:
	case DW_FORM_ref_udata:
	case DW_FORM_strx:
	case DW_FORM_addrx:
	case DW_FORM_loclistx:
	case DW_FORM_rnglistx:
	case DW_FORM_GNU_addr_index:
	case DW_FORM_GNU_str_index:
		read_uleb(reader);
		break;
	case DW_FORM_string: {
		uint8_t *end = memchr(reader->at, 0, (size_t)(reader->end - reader->at));

		if (end)
			reader->at = end + 1;
		else
			reader->bad = true;
		break;
	}
	default:
		reader->bad = true;
	}
}

/* ---- abbreviations ---- */

/* One abbreviation's attributes. libdw's dwarf_getabbrevattr() is not asked: 0.188 loses its way at implicit constants. */
static int add_abbrev(struct abbrevs *abbrevs, struct reader *table, uint64_t code, const struct reader *reader)
{
	struct abbrev abbrev = { .first_form = (uint32_t)abbrevs->form_count };
	uint64_t fixed = 0, before = abbrevs->count;
	int r = 0;

	abbrev.tag = (uint16_t)read_uleb(table);
	abbrev.has_children = read_fixed(table, 1);
	while (r >= 0 && !table->bad) {
		unsigned attribute = (unsigned)read_uleb(table), form = (unsigned)read_uleb(table);
		int bytes = form_bytes(reader, form);

		if (!attribute && !form)
			break;
		if (form == DW_FORM_implicit_const)
			read_uleb(table);	/* signed, of the same extent */
		if (abbrev.form_count == ABBREV_ATTRIBUTES_MAX)
			table->bad = true;
		r = grow_array(&abbrevs->forms, &abbrevs->form_room, abbrevs->form_count + 1, sizeof(*abbrevs->forms));
		if (r >= 0)
			abbrevs->forms[abbrevs->form_count++] = (struct form){ (uint16_t)attribute, (uint16_t)form };
		abbrev.form_count++;
		abbrev.has_location |= attribute == DW_AT_location;
		abbrev.is_static |= attribute == DW_AT_declaration || attribute == DW_AT_external;
		fixed = bytes < 0 || fixed == UINT32_MAX ? UINT32_MAX : fixed + (unsigned)bytes;
	}
	abbrev.fixed_bytes = (uint32_t)fixed;
	if (r < 0 || table->bad)
		return r;
	if (code >= abbrevs->count) {
		r = grow_array(&abbrevs->codes, &abbrevs->room, code + 1, sizeof(*abbrevs->codes));
		if (r < 0)
			return r;
		memset(abbrevs->codes + before, 0, (code + 1 - before) * sizeof(*abbrevs->codes));
		abbrevs->count = code + 1;
	}
	abbrevs->codes[code] = abbrev;
	return 0;
}

Elf_Data *types_section(Dwarf *dwarf, const char *wanted, const uint8_t *holding)
{
	Elf *elf = dwarf_getelf(dwarf);
	Elf_Scn *section = NULL;
	size_t names;

	if (!elf || elf_getshdrstrndx(elf, &names) < 0)
		return NULL;
	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
		const char *found = name ? strstr(name, wanted) : NULL;
		Elf_Data *data;

		/* ".debug_str", ".debug_str.dwo", but not ".debug_str_offsets" */
		if (!found || (found[strlen(wanted)] && found[strlen(wanted)] != '.') || header.sh_type == SHT_NOBITS)
			continue;
		data = elf_getdata(section, NULL);
		if (data && data->d_buf &&
		    (!holding || (holding >= (uint8_t *)data->d_buf && holding < (uint8_t *)data->d_buf + data->d_size)))
			return data;
	}
	return NULL;
}

static int read_abbrevs(struct abbrevs *abbrevs, struct types_file *file, struct types_unit *unit,
			const struct reader *reader)
{
	Dwarf *dwarf = dwarf_cu_getdwarf(unit->cu);
	struct reader table = { 0 };
	Dwarf_Die die;
	Dwarf_Off offset;
	int r = 0;

	if (file->abbrevs_of != dwarf) {
		file->abbrevs = types_section(dwarf, "debug_abbrev", NULL);
		file->abbrevs_of = dwarf;
	}
	if (!file->abbrevs || !dwarf_cu_die(unit->cu, &die, NULL, &offset, NULL, NULL, NULL, NULL) ||
	    offset >= file->abbrevs->d_size)
		return 0;
	table.at = (uint8_t *)file->abbrevs->d_buf + offset;
	table.end = (uint8_t *)file->abbrevs->d_buf + file->abbrevs->d_size;
	while (r >= 0 && !table.bad) {
		uint64_t code = read_uleb(&table);

		if (!code || code > ABBREV_CODES_MAX)
			break;
		r = add_abbrev(abbrevs, &table, code, reader);
	}
	return r;
}

/* ---- what is kept ---- */

static uint32_t hash_name(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *name && *name != '<'; name++)	/* template arguments are written in several ways */
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash_fold(hash);
}

static int keep_name(struct scan *scan, uint8_t *at)
{
	struct types_file *file = scan->file;
	Dwarf_Die die = types_die(scan->unit, at);
	const char *name = types_name(scan->file, &die);
	int r;

	if (!name || !*name)
		return 0;
	r = grow_array(&file->named, &file->named_room, file->named_count + 1, sizeof(*file->named));
	if (r < 0)
		return r;
	file->named[file->named_count++] = (struct types_named){ hash_name(name), scan->number, at };
	return 0;
}

/* gcc's split debug information has addresses in the TLS image where offsets are meant. */
static uint64_t thread_offset(const struct types_file *file, uint64_t at)
{
	size_t count;

	if (elf_getphdrnum(file->elf, &count) != 0)
		return at;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr header;

		if (gelf_getphdr(file->elf, (int)i, &header) && header.p_type == PT_TLS && at >= header.p_memsz &&
		    at >= header.p_vaddr && at - header.p_vaddr < header.p_memsz)
			return at - header.p_vaddr;
	}
	return at;
}

/* A variable whose location is an address: DW_OP_addr and its index forms, or a constant and a TLS operator. */
static int keep_variable(struct scan *scan, uint8_t *at)
{
	Dwarf_Die die = types_die(scan->unit, at);
	struct types_placed_list *list = &scan->file->data;
	Dwarf_Attribute attribute, result;
	Dwarf_Op *ops;
	Dwarf_Addr start;
	size_t count;
	int r;

	if (!dwarf_attr(&die, DW_AT_location, &attribute) || dwarf_getlocation(&attribute, &ops, &count) != 0 ||
	    count < 1 || count > 2)
		return 0;
	if (count == 2) {
		if (ops[1].atom != DW_OP_form_tls_address && ops[1].atom != DW_OP_GNU_push_tls_address)
			return 0;
		list = &scan->file->tls;
	}
	switch (ops[0].atom) {
	case DW_OP_addr:
	case DW_OP_const4u:
	case DW_OP_const8u:
		start = ops[0].number;
		break;
	case DW_OP_addrx:
	case DW_OP_GNU_addr_index:
	case DW_OP_constx:
	case DW_OP_GNU_const_index:
		if (dwarf_getlocation_attr(&attribute, ops, &result) != 0 ||
		    (dwarf_formaddr(&result, &start) != 0 && dwarf_formudata(&result, &start) != 0))
			return 0;
		if (list == &scan->file->tls)
			start = thread_offset(scan->file, start);
		break;
	default:
		return 0;
	}
	if (list == &scan->file->data && start == 0)	/* thrown away by the linker */
		return 0;
	r = grow_array(&list->items, &list->room, list->count + 1, sizeof(*list->items));
	if (r < 0)
		return r;
	list->items[list->count++] = (struct types_placed){ start, at, scan->number };
	return 0;
}

static bool is_place(const struct reader *reader, unsigned form)
{
	struct reader look = *reader;
	uint64_t bytes = form == DW_FORM_exprloc || form == DW_FORM_block ? read_uleb(&look) :
			 form == DW_FORM_block1				   ? read_fixed(&look, 1) :
									     0;

	if (bytes < 2 || look.bad || look.at >= look.end)
		return false;
	switch (*look.at) {
	case DW_OP_addr:
	case DW_OP_addrx:
	case DW_OP_constx:
	case DW_OP_const4u:
	case DW_OP_const8u:
	case DW_OP_GNU_addr_index:
	case DW_OP_GNU_const_index:
		return true;
	}
	return false;
}

/* ---- scopes ---- */

static int open_scope(struct scan *scan, const uint8_t *at, uint32_t depth)
{
	struct types_unit *unit = scan->unit;
	int r;

	if (scan->open_count == SCOPES_OPEN_MAX)
		return 0;
	r = grow_array(&unit->scopes, &unit->scope_room, unit->scope_count + 1, sizeof(*unit->scopes));
	if (r < 0)
		return r;
	unit->scopes[unit->scope_count] = (struct types_scope){
		(uint32_t)(at - unit->start), UINT32_MAX,
		scan->open_count ? scan->open[scan->open_count - 1].scope : TYPES_NO_SCOPE };
	scan->open[scan->open_count].scope = (uint32_t)unit->scope_count++;
	scan->open[scan->open_count].depth = depth;
	scan->open[scan->open_count++].used = false;
	return 0;
}

/* A scope in which no type and no static variable was declared is forgotten: most classes and nearly all functions. */
static void close_scope(struct scan *scan, uint32_t depth)
{
	struct types_unit *unit = scan->unit;
	uint32_t scope;
	bool used;

	if (!scan->open_count || scan->open[scan->open_count - 1].depth != depth)
		return;
	used = scan->open[--scan->open_count].used;
	scope = scan->open[scan->open_count].scope;
	if (!used && scope + 1 == unit->scope_count)
		unit->scope_count--;
	else
		unit->scopes[scope].end = (uint32_t)(scan->reader.at - unit->start);
	if (used && scan->open_count)
		scan->open[scan->open_count - 1].used = true;
}

/* ---- the pass ---- */

static int scan_entry(struct scan *scan, const struct abbrevs *abbrevs, const struct abbrev *abbrev, uint8_t *at,
		      uint32_t depth)
{
	struct reader *reader = &scan->reader;
	bool is_type = false, is_scope = false, declared = false, placed = false, named = false;
	int r = 0;

	switch (abbrev->tag) {
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		is_type = is_scope = true;
		break;
	case DW_TAG_enumeration_type:
	case DW_TAG_typedef:
		if (scan->open_count)
			scan->open[scan->open_count - 1].used = true;
		break;
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_subprogram:
		is_scope = true;
		break;
	}
	if (abbrev->fixed_bytes != UINT32_MAX && !is_type && !abbrev->has_location) {
		skip(reader, abbrev->fixed_bytes);
	} else {
		const struct form *forms = &abbrevs->forms[abbrev->first_form];

		for (unsigned i = 0; i < abbrev->form_count && !reader->bad; i++) {
			unsigned attribute = forms[i].attribute;

			declared |= attribute == DW_AT_declaration;
			named |= attribute == DW_AT_name || attribute == DW_AT_specification;
			if (attribute == DW_AT_location && abbrev->tag == DW_TAG_variable)
				placed = is_place(reader, forms[i].form);
			skip_form(reader, forms[i].form);
		}
	}
	if (reader->bad)
		return 0;
	if (scan->open_count && (is_type || placed ||
				 (abbrev->is_static && (abbrev->tag == DW_TAG_variable || abbrev->tag == DW_TAG_member))))
		scan->open[scan->open_count - 1].used = true;
	if (is_type && named && !declared)
		r = keep_name(scan, at);
	if (r >= 0 && placed)
		r = keep_variable(scan, at);
	if (r >= 0 && is_scope && abbrev->has_children && !scan->unit->is_c)
		r = open_scope(scan, at, depth);
	return r;
}

static int scan_entries(struct scan *scan, const struct abbrevs *abbrevs)
{
	struct reader *reader = &scan->reader;
	uint32_t depth = 0;
	int r = 0;

	while (r >= 0 && !reader->bad && reader->at < reader->end) {
		uint8_t *at = reader->at;
		uint64_t code = read_uleb(reader);
		const struct abbrev *abbrev;

		if (!code) {
			if (depth <= 1)
				break;
			close_scope(scan, --depth);
			continue;
		}
		abbrev = code < abbrevs->count ? &abbrevs->codes[code] : NULL;
		if (!abbrev || !abbrev->tag)
			break;
		r = scan_entry(scan, abbrevs, abbrev, at, depth);
		if (abbrev->has_children)
			depth++;
		else if (!depth)
			break;
	}
	return r;
}

int types_scan_unit(struct types_file *file, uint32_t number)
{
	struct types_unit *unit = &file->units[number];
	struct scan scan = { .file = file, .unit = unit, .number = number };
	struct abbrevs abbrevs = { 0 };
	Dwarf_Half version;
	uint8_t address_bytes, offset_bytes;
	int r;

	if (unit->scanned)
		return 0;
	unit->scanned = true;
	if (dwarf_cu_info(unit->cu, &version, NULL, NULL, NULL, NULL, &address_bytes, &offset_bytes) != 0)
		return 0;
	scan.reader = (struct reader){ unit->start, unit->end, address_bytes, offset_bytes, (uint8_t)version, false };
	r = read_abbrevs(&abbrevs, file, unit, &scan.reader);
	if (r >= 0)
		r = scan_entries(&scan, &abbrevs);
	free(abbrevs.codes);
	free(abbrevs.forms);
	return r;
}

/* ---- units ---- */

static bool same_unit(const void *owner, uint32_t number, const void *key)
{
	return ((const struct types_file *)owner)->units[number].cu == key;
}

bool types_is_c(Dwarf_Die *unit, bool otherwise)
{
	switch (dwarf_srclang(unit)) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
	case 0x2c:			/* C17 and C23: younger than the header */
	case 0x3e:
		return true;
	case -1:
		return otherwise;
	}
	return false;
}

/* End of the section that holds the bytes at an address: a unit's own length may reach beyond it. NULL = unknown. */
static uint8_t *section_end(struct types_file *file, Dwarf_Die *die)
{
	uint8_t *at = die->addr;
	Elf_Data *data;

	if (at >= file->section_start && at < file->section_end)
		return file->section_end;
	data = types_section(dwarf_cu_getdwarf(die->cu), "debug_info", at);
	if (!data)
		data = types_section(dwarf_cu_getdwarf(die->cu), "debug_types", at);
	if (!data)
		return NULL;
	file->section_start = data->d_buf;
	file->section_end = file->section_start + data->d_size;
	return file->section_end;
}

int types_unit_of(struct types_file *file, Dwarf_Die *die, uint32_t *ret_unit)
{
	uint32_t hash = hash_fold((uintptr_t)die->cu >> 4);
	uint32_t number = hash_index_find(&file->unit_index, hash, same_unit, file, die->cu);
	Dwarf_Die top;
	uint64_t header, length;
	uint8_t *first, *end, address_bytes, offset_bytes;
	int r;

	if (number != HASH_NONE) {
		*ret_unit = number;
		return 1;
	}
	if (!dwarf_diecu(die, &top, &address_bytes, &offset_bytes))
		return 0;
	/* the length field of the unit's header is the only place that says where the unit ends */
	header = dwarf_cuoffset(&top);
	if (header < 11 || header > 64)
		return 0;
	first = (uint8_t *)top.addr - header;
	length = 0;
	memcpy(&length, offset_bytes == 8 ? first + 4 : first, offset_bytes == 8 ? 8 : 4);
	length += offset_bytes == 8 ? 12 : 4;
	end = section_end(file, &top);
	if (length <= header || length > UINT32_MAX || !end)
		return 0;
	if (length < (uint64_t)(end - first))
		end = first + length;
	r = grow_array(&file->units, &file->unit_room, file->unit_count + 1, sizeof(*file->units));
	if (r >= 0)
		r = hash_index_add(&file->unit_index, hash, (uint32_t)file->unit_count);
	if (r < 0)
		return r;
	file->units[file->unit_count] = (struct types_unit){
		.cu = die->cu, .start = top.addr, .end = end, .is_c = types_is_c(&top, file->mostly_c) };
	*ret_unit = (uint32_t)file->unit_count++;
	return 1;
}

/* All units of one set of sections, and of the .dwo files that its units name. */
static int scan_dwarf(struct types_file *file, Dwarf *dwarf, bool follow)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die die, split;
	uint8_t type;
	uint32_t unit;
	int r = 0;

	while (r >= 0 && dwarf_get_units(dwarf, cu, &cu, NULL, &type, &die, &split) == 0) {
		if (type == DW_UT_skeleton) {
			if (follow && split.addr)
				r = scan_dwarf(file, dwarf_cu_getdwarf(split.cu), false);
			continue;
		}
		if (!die.addr)
			continue;
		r = types_unit_of(file, &die, &unit);
		if (r > 0)
			r = types_scan_unit(file, unit);
	}
	return r;
}

static int compare_named(const void *pa, const void *pb)
{
	const struct types_named *a = pa, *b = pb;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static int compare_placed(const void *pa, const void *pb)
{
	const struct types_placed *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

int types_scan_all(struct types_file *file)
{
	Dwarf *alternate;
	int r;

	if (file->scanned)
		return 0;
	file->scanned = true;
	r = scan_dwarf(file, file->dwarf, true);
	alternate = dwarf_getalt(file->dwarf);
	if (r >= 0 && alternate)
		r = scan_dwarf(file, alternate, false);
	if (file->named_count)
		qsort(file->named, file->named_count, sizeof(*file->named), compare_named);
	if (file->data.count)
		qsort(file->data.items, file->data.count, sizeof(*file->data.items), compare_placed);
	if (file->tls.count)
		qsort(file->tls.items, file->tls.count, sizeof(*file->tls.items), compare_placed);
	return r;
}
