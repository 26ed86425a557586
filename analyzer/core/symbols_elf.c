/* SPDX-License-Identifier: Apache-2.0
 * L3  symbols_elf.c - symbol tables, sections and notes of ELF files.
 *
 * A table keeps one symbol per address: of several names the one that a person would search for
 * ("malloc" before "__libc_malloc"). Files may be malformed: whatever libelf
 * refuses to give is treated as absent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/symbols_private.h"

static int append(struct symbol_table *table, uint64_t start, uint64_t size, const char *name)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 256;
		struct symbol *symbols = reallocarray(table->symbols, capacity, sizeof(*symbols));

		if (!symbols)
			return -ENOMEM;
		table->symbols = symbols;
		table->capacity = capacity;
	}
	table->symbols[table->count++] = (struct symbol){
		start, size <= UINT64_MAX - start ? start + size : start, name };
	return 0;
}

/* Which table a symbol belongs to; NULL = none. */
static struct symbol_table *table_of(struct symbols_file *file, const GElf_Sym *symbol)
{
	if (symbol->st_shndx == SHN_UNDEF || !symbol->st_name)
		return NULL;
	switch (GELF_ST_TYPE(symbol->st_info)) {
	case STT_FUNC:
	case STT_GNU_IFUNC:
		return &file->functions;
	case STT_OBJECT:
	case STT_COMMON:
		return &file->variables;
	case STT_TLS:
		return &file->tls;
	}
	return NULL;
}

static int read_table(struct symbols_file *file, Elf *elf, Elf_Scn *section,
		      const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t count = header->sh_entsize ? header->sh_size / header->sh_entsize : 0;

	if (!data)
		return 0;
	for (size_t i = 1; i < count && i <= INT32_MAX; i++) {
		GElf_Sym symbol;
		struct symbol_table *table;
		const char *name;
		int r;

		if (!gelf_getsym(data, (int)i, &symbol))
			break;
		table = table_of(file, &symbol);
		if (!table)
			continue;
		name = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (!name || !*name || *name == '$')	/* $x, $d: mapping symbols, not names */
			continue;
		r = append(table, symbol.st_value, symbol.st_size, name);
		if (r < 0)
			return r;
	}
	return 0;
}

int symbols_elf_read_tables(struct symbols_file *file, Elf *elf)
{
	Elf_Scn *section = NULL;
	int r = 0;

	while (r >= 0 && (section = elf_nextscn(elf, section))) {
		GElf_Shdr header;

		if (gelf_getshdr(section, &header) &&
		    (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM))
			r = read_table(file, elf, section, &header);
	}
	return r;
}

/* Fewer leading underscores, then shorter: "environ" before "__environ". */
static int compare_names(const char *a, const char *b)
{
	size_t a_marks = strspn(a, "_"), b_marks = strspn(b, "_");
	size_t a_length, b_length;

	if (a_marks != b_marks && a[a_marks] != 'Z' && b[b_marks] != 'Z')
		return a_marks < b_marks ? -1 : 1;
	a_length = strlen(a);
	b_length = strlen(b);
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return strcmp(a, b);
}

static int compare_symbols(const void *pa, const void *pb)
{
	const struct symbol *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if ((a->end == a->start) != (b->end == b->start))	/* a known size first */
		return a->end == a->start ? 1 : -1;
	return compare_names(a->name, b->name);
}

void symbols_elf_sort(struct symbol_table *table)
{
	size_t kept = 0;

	if (!table->count)
		return;
	qsort(table->symbols, table->count, sizeof(*table->symbols), compare_symbols);
	for (size_t i = 1; i < table->count; i++)
		if (table->symbols[i].start != table->symbols[kept].start)
			table->symbols[++kept] = table->symbols[i];
	table->count = kept + 1;
}

const struct symbol *symbols_elf_after(const struct symbol_table *table, uint64_t addr)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->symbols[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return table->count ? table->symbols + low : NULL;
}

/* The innermost symbol around an address. One without a size reaches up to the next symbol. A symbol
 * may lie inside a larger one, so a few are looked at. */
const struct symbol *symbols_elf_find(const struct symbol_table *table, uint64_t addr)
{
	const struct symbol *symbol = symbols_elf_after(table, addr);

	for (unsigned steps = 0; symbol > table->symbols && steps < SYMBOLS_ELF_STEPS; steps++) {
		symbol--;
		if (addr < symbol->end)
			return symbol;
		/* hand-written assembly: believed for a page, not for a gap of megabytes */
		if (symbol->end == symbol->start && steps == 0 && addr - symbol->start < 4096)
			return symbol;
	}
	return NULL;
}

int symbols_elf_read_sections(struct symbols_file *file, Elf *elf)
{
	Elf_Scn *section = NULL;
	size_t names, count;

	if (elf_getshdrstrndx(elf, &names) < 0 || elf_getshdrnum(elf, &count) < 0)
		return 0;
	file->sections = calloc(count + 1, sizeof(*file->sections));
	if (!file->sections)
		return -ENOMEM;
	while (file->section_count < count && (section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		const char *name;

		/* .tbss has an address but takes no room there */
		if (!gelf_getshdr(section, &header) || !(header.sh_flags & SHF_ALLOC) ||
		    !header.sh_size ||
		    (header.sh_flags & SHF_TLS && header.sh_type == SHT_NOBITS) ||
		    header.sh_addr + header.sh_size < header.sh_addr)
			continue;
		name = elf_strptr(elf, names, header.sh_name);
		if (!name)
			continue;
		file->sections[file->section_count++] = (struct section){
			header.sh_addr, header.sh_addr + header.sh_size, name };
	}
	return 0;
}

/* The GNU build-id among the notes of one piece of data. */
static uint32_t find_build_id(Elf_Data *data, uint8_t ret_id[32])
{
	size_t at = 0, next, name, description;
	GElf_Nhdr note;

	while (data && (next = gelf_getnote(data, at, &note, &name, &description)) > 0) {
		const char *bytes = data->d_buf;

		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
		    !memcmp(bytes + name, "GNU", sizeof("GNU")) && note.n_descsz > 0 &&
		    note.n_descsz <= 32) {
			memcpy(ret_id, bytes + description, note.n_descsz);
			return note.n_descsz;
		}
		at = next;
	}
	return 0;
}

uint32_t symbols_elf_build_id(Elf *elf, uint8_t ret_id[32])
{
	Elf_Scn *section = NULL;
	uint32_t length = 0;
	size_t count;

	if (elf_getphdrnum(elf, &count) == 0)
		for (size_t i = 0; i < count && !length; i++) {
			GElf_Phdr header;

			if (gelf_getphdr(elf, (int)i, &header) && header.p_type == PT_NOTE)
				length = find_build_id(
					elf_getdata_rawchunk(elf, (int64_t)header.p_offset,
							     header.p_filesz, ELF_T_NHDR),
					ret_id);
		}
	while (!length && (section = elf_nextscn(elf, section))) {	/* separate debug files */
		GElf_Shdr header;

		if (gelf_getshdr(section, &header) && header.sh_type == SHT_NOTE)
			length = find_build_id(elf_getdata(section, NULL), ret_id);
	}
	return length;
}

static Elf_Scn *find_section(Elf *elf, const char *wanted)
{
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names) < 0)
		return NULL;
	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header) ?
					   elf_strptr(elf, names, header.sh_name) :
					   NULL;

		if (name && !strcmp(name, wanted) && header.sh_type != SHT_NOBITS)
			return section;
	}
	return NULL;
}

const void *symbols_elf_section(Elf *elf, const char *name, size_t *ret_bytes)
{
	Elf_Scn *section = find_section(elf, name);
	Elf_Data *data = section ? elf_rawdata(section, NULL) : NULL;

	if (!data || !data->d_buf)
		return NULL;
	*ret_bytes = data->d_size;
	return data->d_buf;
}

const char *symbols_elf_debuglink(Elf *elf, uint32_t *ret_crc)
{
	size_t bytes, length;
	const char *name = symbols_elf_section(elf, ".gnu_debuglink", &bytes);

	if (!name)
		return NULL;
	length = strnlen(name, bytes);
	if (!length || length >= bytes || (length + 4) / 4 * 4 + 4 > bytes || strchr(name, '/'))
		return NULL;
	memcpy(ret_crc, name + (length + 4) / 4 * 4, 4);
	return name;
}

const char *symbols_elf_altlink(Elf *elf, const uint8_t **ret_id, uint32_t *ret_id_bytes)
{
	size_t bytes, length;
	const char *name = symbols_elf_section(elf, ".gnu_debugaltlink", &bytes);

	if (!name)
		return NULL;
	length = strnlen(name, bytes);
	if (!length || length >= bytes || bytes - length - 1 > 32)
		return NULL;
	*ret_id = (const uint8_t *)name + length + 1;
	*ret_id_bytes = (uint32_t)(bytes - length - 1);
	return name;
}

bool symbols_elf_has_section(Elf *elf, const char *name)
{
	return find_section(elf, name) != NULL;
}
