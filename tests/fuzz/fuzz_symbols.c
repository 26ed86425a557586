/* SPDX-License-Identifier: Apache-2.0
 * fuzz_symbols.c - ELF and DWARF from a hostile hand, and answers from a reader that it has taken over.
 *
 * What begins as an ELF file is asked about as ingest does it: libelf and libdw may crash, we may not. With
 * FUZZ_INSIDE set it is read in this process instead, which finds what makes the reader die. Everything else is taken for
 * records, as they come from the reader or lie in the cache: they must be refused or give answers and
 * layouts that hold together. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/strings.h"
#include "core/symbols_answers.h"
#include "core/symbols_private.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void believe(const struct layouts *layouts)
{
	for (uint32_t i = 0; i < layouts->count; i++) {
		const struct layout *layout = &layouts->layouts[i];

		if (layout->target >= layouts->count || !layout->name || !layout->file ||
		    (uint64_t)layout->first_member + layout->member_count > layouts->member_count)
			abort();
		for (uint32_t k = layout->first_member; k < layout->first_member + layout->member_count; k++)
			if (layouts->members[k].type >= layouts->count || !layouts->members[k].name)
				abort();
	}
}

static void read_records(const uint8_t *data, size_t size)
{
	struct symbols_answers answers = { 0 };
	struct strings *strings = strings_new();
	struct symbols_request request = { 0 };
	struct layouts layouts;
	struct wire wire;
	uint32_t session, layout;

	if (!strings || layouts_init(&layouts) < 0)
		abort();
	if (symbols_answers_add(&answers, data, size) == 0 && answers.used != size)
		abort();
	for (request.op = 0; request.op < WIRE_OP_END; request.op++)
		for (request.a = 0; request.a < 4; request.a++)
			if (symbols_answers_find(&answers, &request, request.op == WIRE_CLASS_TYPE ? "a" : "", &wire, &session) &&
			    (wire.at > wire.end || wire.end > answers.bytes + answers.used || wire.at < answers.bytes))
				abort();
	for (uint32_t s = 0; s < answers.session_count && s < 4; s++)
		for (uint32_t number = 0; number < 16; number++)
			if (symbols_answers_layout(&answers, s, number, &layouts, strings, &layout) < 0 ||
			    layout >= layouts.count)
				abort();
	believe(&layouts);
	layouts_done(&layouts);
	symbols_answers_done(&answers);
	strings_free(strings);
}

static void ask_types(struct symbols_files *files, struct layouts *layouts, uint64_t code, uint64_t data)
{
	struct symbols_declaration declaration;
	struct symbols_site sites[4];
	uint32_t layout;

	if (symbols_files_site_types(files, 0, code, layouts, sites, 4) > 4 ||
	    symbols_files_variable_type(files, 0, data, layouts, &declaration) > 1 ||
	    symbols_files_tls_type(files, 0, code % 64, layouts, &declaration) > 1 ||
	    symbols_files_local_type(files, 0, code, -(int64_t)(code % 64), layouts, &declaration) > 1 ||
	    symbols_files_class_type(files, 0, "struct node", layouts, &layout) > 1 ||
	    symbols_files_class_type(files, 0, "Node", layouts, &layout) > 1)
		abort();
	believe(layouts);
}

static void ask(struct symbols_files *files, struct symbols_file *file)
{
	struct symbols_frame frames[8];
	struct symbols_variable variable;
	uint64_t from, to;

	for (size_t i = 0; i < 24; i++) {
		uint64_t code = i < file->functions.count ? file->functions.symbols[i].start + i * 3 : 0x401000 + i * 24;
		uint64_t data = i < file->variables.count ? file->variables.symbols[i].start + i : 0x404000 + i * 8;
		int count = symbols_files_frames(files, 0, code, frames, 8);

		if (count > 8 || (count > 0 && !frames[0].function))
			abort();
		if (symbols_files_variable(files, 0, data, &variable, &from, &to) > 0 && (from > data || to <= data))
			abort();
		if (symbols_files_tls(files, 0, i * 8, &variable, &from, &to) > 0 && (from > i * 8 || to <= i * 8))
			abort();
		ask_types(files, &file->layouts, code, data);
	}
}

/* As the reader does it, but here: a crash is a finding. */
static void read_inside(const char *path)
{
	struct strings *strings = strings_new();
	struct symbols_files *files = strings ? symbols_files_new(strings) : NULL;
	struct symbols_place place = { .root = "", .path = path, .fallback = "", .debug = "",
				       .build_id = (const uint8_t *)"" };
	struct symbols_file *file;
	struct text identity = { 0 };

	if (!files)
		abort();
	if (symbols_files_open(files, 0, &place, &identity) >= 0 && symbols_files_read(files, 0, false) >= 0 &&
	    symbols_need_file(files, 0, &file) > 0)
		ask(files, file);
	text_done(&identity);
	symbols_files_free(files);
	strings_free(strings);
}

/* As ingest does it: whatever happens to the reader, there are answers, and they hold together. */
static void read_outside(const char *path)
{
	static const struct symbols_limits limits = { .cpu_ms = 3000, .wall_ms = 10000, .memory_bytes = 1u << 30 };
	static struct symbols_reader *reader;
	struct strings *strings = strings_new();
	struct symbols *symbols = strings ? symbols_new(NULL, strings) : NULL;
	struct symbols_declaration declaration;
	struct symbols_variable variable;
	struct symbols_frame frames[8];
	struct symbols_site sites[4];
	struct layouts layouts;
	uint32_t layout;
	int file;

	if (!reader)
		reader = symbols_reader_start(&limits);
	if (!reader || !symbols || layouts_init(&layouts) < 0)
		abort();
	symbols_use_reader(symbols, reader);
	file = symbols_add(symbols, path, (const uint8_t *)"", 0);
	for (uint64_t i = 0; i < 16; i++) {
		uint64_t code = 0x401000 + i * 12, data = 0x403000 + i * 0x200;

		if (symbols_frames(symbols, file, code, frames, 8) < 0 || symbols_variable(symbols, file, data, &variable) < 0 ||
		    symbols_tls(symbols, file, i * 8, &variable) < 0 ||
		    symbols_site_types(symbols, file, code, &layouts, sites, 4) < 0 ||
		    symbols_variable_type(symbols, file, data, &layouts, &declaration) < 0 ||
		    symbols_local_type(symbols, file, code, -(int64_t)i * 8, &layouts, &declaration) < 0)
			abort();
	}
	if (symbols_class_type(symbols, file, "struct node", &layouts, &layout) < 0 ||
	    (symbols_state(symbols, file) == SYMBOLS_DAMAGED) != (symbols_trouble(symbols, file) != NULL))
		abort();
	believe(&layouts);
	layouts_done(&layouts);
	symbols_free(symbols);
	strings_free(strings);
}

static void read_elf(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	if (getenv("FUZZ_INSIDE"))
		read_inside(path);
	else
		read_outside(path);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4 && !memcmp(data, "\177ELF", 4))
		read_elf(data, size);
	else
		read_records(data, size);
	return 0;
}
