/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_names.c - qualified names of types, and types by their names.
 *
 * Debug information and the demangler write one type in different ways ("long unsigned int" and "unsigned
 * long", "> >" and ">>", default arguments or none). Names are compared without these differences. */
#include "core/symbols_types_private.h"

#include <dwarf.h>
#include <string.h>

#include "core/demangle.h"
#include "core/grow.h"
#include "core/text.h"

#define SCOPE_CHAIN_MAX 64
#define CANDIDATES_MAX 200000		/* definitions of one template that are looked at */
#define MATCHES_MAX 64			/* definitions that must agree: more are one type in many units */
#define JUDGED_BITS 8			/* names that were compared just now */

/* ---- the bytes of names ---- */

/* The first text that begins after an address. */
static uint64_t text_after(const struct types_file *file, const char *at)
{
	uint64_t low = 0, high = file->text_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (file->texts[middle].start <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct types_text *text_around(const struct types_file *file, const char *at)
{
	uint64_t after = text_after(file, at);

	return after && at < file->texts[after - 1].end ? &file->texts[after - 1] : NULL;
}

/* Know the sections that have names. When memory is short there are fewer names. */
static void add_texts(struct types_file *file, Dwarf *dwarf)
{
	static const char *const sections[] = { "debug_str", "debug_line_str", "debug_info", "debug_types" };

	for (size_t i = 0; dwarf && i < sizeof(sections) / sizeof(*sections); i++) {
		Elf_Data *data = types_section(dwarf, sections[i], NULL);
		uint64_t at;

		if (!data || text_around(file, data->d_buf) ||
		    grow_array(&file->texts, &file->text_room, file->text_count + 1, sizeof(*file->texts)) < 0)
			continue;
		at = text_after(file, data->d_buf);
		memmove(file->texts + at + 1, file->texts + at, (file->text_count - at) * sizeof(*file->texts));
		file->texts[at] = (struct types_text){ data->d_buf, (const char *)data->d_buf + data->d_size };
		file->text_count++;
	}
}

const char *types_name(struct types_file *file, Dwarf_Die *die)
{
	const char *name = dwarf_diename(die);
	const struct types_text *text;

	if (!name)
		return NULL;
	text = text_around(file, name);
	if (!text) {
		add_texts(file, dwarf_cu_getdwarf(die->cu));
		add_texts(file, dwarf_getalt(dwarf_cu_getdwarf(die->cu)));
		text = text_around(file, name);
	}
	return text && memchr(name, 0, (size_t)(text->end - name)) ? name : NULL;
}

/* ---- qualified names ---- */

/* Name of a namespace, class or function as a scope. NULL = memory is short. */
static const char *scope_name(struct types_file *file, Dwarf_Die *die)
{
	const char *name = types_name(file, die);
	Dwarf_Attribute attribute;
	Dwarf_Die type;

	if (!name && dwarf_attr(die, DW_AT_signature, &attribute) && dwarf_formref_die(&attribute, &type))
		name = types_name(file, &type);	/* of a type unit */
	switch (dwarf_tag(die)) {
	case DW_TAG_namespace:
		return name ? name : "(anonymous namespace)";
	case DW_TAG_subprogram: {
		char *with = name ? text_format("%s()", name) : NULL;

		if (!name)
			return "";
		name = strings_intern(file->strings, with);
		free(with);
		return name;
	}
	}
	return name ? name : "";
}

/* The innermost scope of a unit around an entry. */
static uint32_t scope_around(const struct types_unit *unit, uint32_t at)
{
	uint64_t low = 0, high = unit->scope_count;
	uint32_t scope;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (unit->scopes[middle].start < at)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return TYPES_NO_SCOPE;
	scope = (uint32_t)low - 1;
	for (unsigned i = 0; i < SCOPE_CHAIN_MAX && scope != TYPES_NO_SCOPE && unit->scopes[scope].end <= at; i++)
		scope = unit->scopes[scope].parent;
	return scope;
}

const char *types_qualified_name(struct types_file *file, Dwarf_Die *die, const char *own_name)
{
	const char *name = own_name ? own_name : types_name(file, die), *parts[SCOPE_CHAIN_MAX], *interned;
	Dwarf_Die declared = *die;
	Dwarf_Attribute attribute;
	struct text text = { 0 };
	uint32_t number, scope;
	unsigned count = 0;
	char *full;
	int r;

	if (!name)
		name = "";
	/* a definition outside of its class or namespace: its place is that of the declaration */
	for (unsigned i = 0; i < TYPES_CHAIN_MAX && dwarf_attr(&declared, DW_AT_specification, &attribute); i++)
		if (!dwarf_formref_die(&attribute, &declared))
			break;
	die = &declared;
	r = types_unit_of(file, die, &number);
	if (r < 0)
		return NULL;
	if (r == 0 || file->units[number].is_c)
		return strings_intern(file->strings, name);
	if (types_scan_unit(file, number) < 0)
		return NULL;
	scope = scope_around(&file->units[number], (uint32_t)((uint8_t *)die->addr - file->units[number].start));
	while (scope != TYPES_NO_SCOPE && count < SCOPE_CHAIN_MAX) {
		const struct types_unit *unit = &file->units[number];
		Dwarf_Die around = types_die(unit, unit->start + unit->scopes[scope].start);

		parts[count] = scope_name(file, &around);
		if (!parts[count++])
			return NULL;
		scope = unit->scopes[scope].parent;
	}
	while (count--)
		if (*parts[count])
			text_printf(&text, "%s::", parts[count]);
	text_append(&text, name);
	full = text_take(&text);
	if (!full)
		return NULL;
	demangle_shorten(full);
	interned = strings_intern(file->strings, full);
	free(full);
	return interned;
}

/* ---- by name ---- */

/* One word of a name that both ways of writing have in another order or form. */
static const struct { const char *wide, *plain; } WRITTEN[] = {
	{ "long long unsigned int", "unsignedlonglong" },
	{ "long unsigned int", "unsignedlong" },
	{ "short unsigned int", "unsignedshort" },
	{ "long long int", "longlong" },
	{ "short int", "short" },
	{ "unsigned int", "unsigned" },
	{ "long int", "long" },
};

static bool in_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Write a name without spaces, with one way for each number. Returns the bytes written; the name is cut at `room`. */
static size_t plain_name(const char *name, char *ret_plain, size_t room)
{
	size_t count = 0;
	bool word = false;

	while (*name && count + 24 < room) {
		bool replaced = false;

		for (size_t i = 0; !word && i < sizeof(WRITTEN) / sizeof(*WRITTEN) && !replaced; i++) {
			size_t wide = strlen(WRITTEN[i].wide), plain = strlen(WRITTEN[i].plain);

			if (*name != *WRITTEN[i].wide || strncmp(name, WRITTEN[i].wide, wide) || in_word(name[wide]))
				continue;
			memcpy(ret_plain + count, WRITTEN[i].plain, plain);
			count += plain;
			name += wide;
			replaced = word = true;
		}
		if (replaced)
			continue;
		/* gcc and the demangler write "int const", clang "const int": layouts do not depend on it */
		if (!word && !strncmp(name, "const", 5) && !in_word(name[5])) {
			name += 5;
			continue;
		}
		/* numbers as arguments: 4, 4u, 4ul */
		if (!word && *name >= '0' && *name <= '9') {
			while (*name >= '0' && *name <= '9' && count + 24 < room)
				ret_plain[count++] = *name++;
			while (*name == 'u' || *name == 'l')
				name++;
			continue;
		}
		word = in_word(*name);
		if (*name != ' ')
			ret_plain[count++] = *name;
		name++;
	}
	ret_plain[count] = 0;
	return count;
}

/* The last component of a qualified name, template arguments aside: hash as symbols_types_scan.c makes it. */
static uint32_t hash_last(const char *name)
{
	const char *last = name;
	uint64_t hash = 0xcbf29ce484222325u;

	for (const char *p = name; *p && *p != '<'; p++) {
		if (*p == '(') {		/* "(anonymous namespace)", "main()" */
			const char *end = strchr(p, ')');

			if (end)
				p = end;
			continue;
		}
		if (p[0] == ':' && p[1] == ':')
			last = p + 2;
	}
	/* after template arguments more components may come: ns::map<int>::node */
	for (const char *p = strchr(last, '<'); p && *p;) {
		int depth = 0;

		for (; *p; p++) {
			depth += *p == '<';
			if (*p == '>' && --depth == 0)
				break;
		}
		if (strncmp(*p ? p + 1 : p, "::", 2))
			break;
		last = p + 3;
		for (p = last; *p && *p != '<'; p++)
			if (p[0] == ':' && p[1] == ':')
				last = p + 2;
	}
	for (; *last && *last != '<'; last++)
		hash = (hash ^ (unsigned char)*last) * 0x100000001b3u;
	return hash_fold(hash);
}

static uint64_t first_with(const struct types_file *file, uint32_t hash)
{
	uint64_t low = 0, high = file->named_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (file->named[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool same_lookup(const void *owner, uint32_t number, const void *key)
{
	return ((const struct types_file *)owner)->lookups[number].name == key;
}

/* Can a type's own name be the end of a plain qualified name? */
static bool may_end(const char *wanted, size_t wanted_length, const char *own)
{
	char *shorter = strdup(own), plain[2048];
	size_t length;

	if (!shorter)
		return true;
	demangle_shorten(shorter);
	length = plain_name(shorter, plain, sizeof(plain));
	free(shorter);
	/* "basic_string<char, ...>" is shortened only with its namespace before it, "std::string" */
	return !strncmp(plain, "basic_string", 12) ||
	       (length <= wanted_length && !strcmp(plain, wanted + wanted_length - length));
}

/* Search all definitions. Returns 1, 0, -ENOMEM. */
static int search(struct types_file *file, const char *name, Dwarf_Die *ret_die)
{
	struct { const char *name; bool fits; } judged[1 << JUDGED_BITS] = { 0 };
	char wanted[2048], found[2048];
	uint32_t hash = hash_last(name);
	size_t wanted_length;
	int64_t bytes = -1;
	unsigned looked = 0, matches = 0;

	if (strlen(name) + 32 > sizeof(wanted))
		return 0;
	wanted_length = plain_name(name, wanted, sizeof(wanted));
	for (uint64_t i = first_with(file, hash); i < file->named_count && file->named[i].hash == hash &&
						  looked < CANDIDATES_MAX && matches < MATCHES_MAX; i++, looked++) {
		Dwarf_Die die = types_die(&file->units[file->named[i].unit], file->named[i].at);
		const char *own = types_name(file, &die), *full;
		uint32_t at = hash_fold((uintptr_t)own) >> (32 - JUDGED_BITS);

		if (!own)
			continue;
		/* the linker keeps one copy of each name: most strangers are known by its address */
		if (judged[at].name != own) {
			judged[at].name = own;
			judged[at].fits = may_end(wanted, wanted_length, own);
		}
		if (!judged[at].fits)
			continue;
		full = types_qualified_name(file, &die, NULL);
		if (!full)
			return -ENOMEM;
		plain_name(full, found, sizeof(found));
		if (strcmp(wanted, found))
			continue;
		if (!matches++) {
			*ret_die = die;
			bytes = dwarf_bytesize(&die);
		} else if (dwarf_bytesize(&die) != bytes) {
			return 0;	/* two types of one name: which is meant, nobody can say */
		}
	}
	return matches > 0;
}

int types_find_definition(struct types_file *file, const char *name, Dwarf_Die *ret_die)
{
	struct types_lookup lookup = { .name = strings_intern(file->strings, name) };
	uint32_t hash = hash_fold((uintptr_t)lookup.name), number;
	int r = lookup.name ? types_scan_all(file) : -ENOMEM;

	if (r < 0)
		return r;
	number = hash_index_find(&file->lookup_index, hash, same_lookup, file, lookup.name);
	if (number == HASH_NONE) {
		r = search(file, name, &lookup.die);
		if (r < 0)
			return r;
		lookup.found = r > 0;
		r = grow_array(&file->lookups, &file->lookup_room, file->lookup_count + 1, sizeof(*file->lookups));
		if (r >= 0)
			r = hash_index_add(&file->lookup_index, hash, (uint32_t)file->lookup_count);
		if (r < 0)
			return r;
		number = (uint32_t)file->lookup_count;
		file->lookups[file->lookup_count++] = lookup;
	}
	*ret_die = file->lookups[number].die;
	return file->lookups[number].found;
}
