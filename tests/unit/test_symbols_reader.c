/* SPDX-License-Identifier: Apache-2.0
 * test_symbols_reader.c - whatever is in a file, only the process that reads it dies.
 *
 * The specimen is this program itself. It has libelf's and libdw's functions that lie below, which go on to the
 * real ones, unless the file that was opened last is called "*-bad": then they do what a malformed file would
 * make the real ones do. */
#include "test.h"

#include <dlfcn.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <link.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/heap.h"
#include "core/ingest.h"
#include "core/store.h"
#include "core/strings.h"
#include "core/symbols.h"
#include "core/symbols_types.h"
#include "unit/stream_builder.h"
#include "unit/stream_file.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- trouble ---- */

static enum { FINE, CRASH, HANG, FILL, ESCAPE } in_dwarf, in_tables;
static bool bad;

Elf *elf_begin(int fd, Elf_Cmd command, Elf *reference)
{
	Elf *(*real)(int, Elf_Cmd, Elf *) = (Elf * (*)(int, Elf_Cmd, Elf *)) dlsym(RTLD_NEXT, "elf_begin");
	char link[64], path[1024];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path));
	if (fd >= 0)
		bad = length > 4 && !memcmp(path + length - 4, "-bad", 4);
	return real(fd, command, reference);
}

/* Is there a way out? Says so by not coming back. */
static void try_to_escape(void)
{
	static const char *const forbidden[] = { "/proc/self/oom_score_adj", "/dev/null" };

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
		if (open(forbidden[i], O_WRONLY) >= 0)
			abort();
	if (open(in_folder("written"), O_RDWR | O_CREAT, 0600) >= 0 || fork() >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0 ||
	    kill(getppid(), 0) == 0 || unlink(in_folder("there")) == 0 || chmod(in_folder("there"), 0) == 0 ||
	    execl("/bin/true", "true", NULL) == 0)
		abort();
}

static void misbehave(int how)
{
	volatile int *nowhere = NULL;

	if (!bad)
		return;
	switch (how) {
	case CRASH:
		*nowhere = 1;
		break;
	case HANG:
		for (volatile unsigned forever = 0;; forever++)
			;
	case FILL:
		for (size_t step = 1 << 24; step >= 16; step /= 2)
			while (malloc(step))
				;
		break;
	case ESCAPE:
		try_to_escape();
		break;
	}
}

int dwarf_get_units(Dwarf *dwarf, Dwarf_CU *cu, Dwarf_CU **next, Dwarf_Half *version, uint8_t *type, Dwarf_Die *die,
		    Dwarf_Die *split)
{
	int (*real)(Dwarf *, Dwarf_CU *, Dwarf_CU **, Dwarf_Half *, uint8_t *, Dwarf_Die *, Dwarf_Die *) =
		(int (*)(Dwarf *, Dwarf_CU *, Dwarf_CU **, Dwarf_Half *, uint8_t *, Dwarf_Die *, Dwarf_Die *))
			dlsym(RTLD_NEXT, "dwarf_get_units");

	misbehave((int)in_dwarf);
	return real(dwarf, cu, next, version, type, die, split);
}

GElf_Sym *gelf_getsym(Elf_Data *data, int number, GElf_Sym *symbol)
{
	GElf_Sym *(*real)(Elf_Data *, int, GElf_Sym *) =
		(GElf_Sym * (*)(Elf_Data *, int, GElf_Sym *)) dlsym(RTLD_NEXT, "gelf_getsym");

	misbehave((int)in_tables);
	return real(data, number, symbol);
}

/* ---- the specimen ---- */

long test_table[4];

__attribute__((noinline)) int test_function(int n)
{
	__asm__ volatile("" ::: "memory");
	return n + (int)test_table[0];
}

static struct { uint64_t base, start, end; uint8_t id[32]; uint32_t id_bytes; } self;

static int look_at_self(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	self.base = info->dlpi_addr;
	self.start = UINT64_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t at = self.base + info->dlpi_phdr[i].p_vaddr, end = at + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD) {
			self.start = at < self.start ? at : self.start;
			self.end = end > self.end ? end : self.end;
		}
		while (info->dlpi_phdr[i].p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const void *)at;

			if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= 32) {
				self.id_bytes = note->n_descsz;
				memcpy(self.id, (const char *)(note + 1) + 4, note->n_descsz);
			}
			at += sizeof(*note) + (note->n_namesz + 3) / 4 * 4 + (note->n_descsz + 3) / 4 * 4;
		}
	}
	return 1;
}

static uint64_t function_address(void)
{
	return (uintptr_t)test_function - self.base;
}

/* Copies of this program, "good" and "really-bad". */
static bool make_specimens(void)
{
	size_t size = 0;
	uint8_t *bytes = read_whole("/proc/self/exe", &size);

	dl_iterate_phdr(look_at_self, NULL);
	in_dwarf = in_tables = FINE;
	if (!bytes)
		return false;
	write_whole(in_folder("good"), bytes, size);
	write_whole(in_folder("really-bad"), bytes, size);
	free(bytes);
	return true;
}

struct asked { struct strings *strings; struct symbols *symbols; struct symbols_reader *reader; int good, bad; };

static struct asked ask(const struct symbols_limits *limits)
{
	struct asked asked = { .strings = strings_new(), .reader = symbols_reader_start(limits) };

	asked.symbols = symbols_new(NULL, asked.strings);
	symbols_use_reader(asked.symbols, asked.reader);
	asked.bad = symbols_add(asked.symbols, in_folder("really-bad"), self.id, self.id_bytes);
	asked.good = symbols_add(asked.symbols, in_folder("good"), self.id, self.id_bytes);
	return asked;
}

static void done(struct asked *asked)
{
	symbols_free(asked->symbols);
	strings_free(asked->strings);
	symbols_reader_stop(asked->reader);
	EXPECT_INT_EQ(waitpid(-1, NULL, WNOHANG), -1);	/* no process is left */
}

/* What is said of the function in a file: its line, 0 = only its name, -1 = nothing. */
static int line_of(struct asked *asked, int file)
{
	struct symbols_frame frames[8];
	int count = symbols_frames(asked->symbols, file, function_address(), frames, 8);

	EXPECT(count >= 0);
	if (count < 1)
		return -1;
	EXPECT_STR_EQ(frames[count - 1].function, "test_function");
	return (int)frames[count - 1].line;
}

/* The bad file is damaged and has what is left of it, the good one has everything. */
static void expect_damage(const struct symbols_limits *limits, const char *sentence, const char *then, int line)
{
	struct asked asked = ask(limits);

	EXPECT_INT_EQ(line_of(&asked, asked.bad), line);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.bad), SYMBOLS_DAMAGED);
	EXPECT_CONTAINS(symbols_trouble(asked.symbols, asked.bad), sentence);
	EXPECT_CONTAINS(symbols_trouble(asked.symbols, asked.bad), then);
	EXPECT(line_of(&asked, asked.good) > 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.good), SYMBOLS_DWARF);
	EXPECT(symbols_trouble(asked.symbols, asked.good) == NULL);
	EXPECT_INT_EQ(line_of(&asked, asked.bad), line);
	done(&asked);
}

/* ---- tests ---- */

TEST(a_crash_in_debug_information_leaves_the_symbol_table)
{
	ASSERT(make_specimens());
	in_dwarf = CRASH;
	expect_damage(NULL, SANITIZED ? "ended the reader" : "SIGSEGV", "only its symbol table is used", 0);
}

TEST(a_crash_in_the_symbol_table_leaves_nothing)
{
	ASSERT(make_specimens());
	in_tables = CRASH;
	expect_damage(NULL, "ended the reader", "it gives no names", -1);
}

TEST(a_loop_without_end_is_ended)
{
	static const struct symbols_limits limits = { .cpu_ms = 1000, .wall_ms = 60000, .memory_bytes = 1u << 30 };

	ASSERT(make_specimens());
	in_dwarf = HANG;
	expect_damage(&limits, "took more than 1 s", "only its symbol table is used", 0);
}

TEST(memory_without_end_is_ended)
{
	static const struct symbols_limits limits = { .cpu_ms = 20000, .wall_ms = 60000, .memory_bytes = 64u << 20 };

	if (SANITIZED)			/* their allocator ends the process before ours can say why */
		return;
	ASSERT(make_specimens());
	in_dwarf = FILL;
	expect_damage(&limits, "took more than 64 MiB of memory", "only its symbol table is used", 0);
}

TEST(the_reader_can_do_nothing_but_read)
{
	struct asked asked;

	if (prctl(PR_GET_SECCOMP) < 0) {
		fprintf(stderr, "the kernel has no seccomp: not tested\n");
		return;
	}
	ASSERT(make_specimens());
	write_whole(in_folder("there"), (const uint8_t *)"", 0);
	in_dwarf = ESCAPE;
	asked = ask(NULL);
	EXPECT(line_of(&asked, asked.bad) > 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.bad), SYMBOLS_DWARF);
	EXPECT(access(in_folder("written"), F_OK) < 0);
	EXPECT(access(in_folder("there"), R_OK) == 0);
	done(&asked);
}

TEST(a_reader_that_is_killed_from_outside_is_replaced)
{
	struct asked asked;
	char command[256];

	ASSERT(make_specimens());
	asked = ask(NULL);
	EXPECT(line_of(&asked, asked.good) > 0);
	/* its parent is our only child */
	snprintf(command, sizeof(command), "for p in $(cat /proc/%d/task/*/children); do for r in $(cat /proc/$p/task/*/children 2>/dev/null); do "
		 "[ $p = $$ ] || kill -9 $r; done; done", getpid());
	EXPECT_INT_EQ(system(command), 0);
	EXPECT(line_of(&asked, asked.bad) > 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.bad), SYMBOLS_DWARF);
	done(&asked);
}

/* Make a snapshot of a stream whose only module is a file, and give its notes. */
static struct heap *ingest(const char *path, const char *name)
{
	struct ingest_options options = { .owner_uid = -1, .owner_gid = -1 };
	struct stream_module module = { .base = self.base, .start = self.start, .end = self.end, .last_birth = UINT64_MAX,
					.tls_offset = INT64_MIN, .flags = STREAM_MODULE_EXE,
					.build_id_bytes = self.id_bytes };
	struct ingest_result result;
	struct builder b = { 0 };
	struct store *store = NULL;
	struct heap *heap = NULL;
	char *error = NULL;
	uint8_t *bytes;
	size_t size;
	int fd;

	memcpy(module.build_id, self.id, sizeof(module.build_id));
	module.path = builder_string(&b, path);
	builder_add(&b, STREAM_MODULES, module);
	builder_block(&b, 0x10, 64, 1, builder_stack(&b, (uintptr_t)test_function + 1, 0, 0));
	builder_edge(&b, true, builder_root(&b, &(struct stream_root){ .start = (uintptr_t)test_table,
		.end = (uintptr_t)(test_table + 4), .kind = STREAM_ROOT_GLOBAL, .thread = STREAM_NONE }),
		STREAM_LABEL_OFFSET, (uintptr_t)test_table, 0, 0);
	bytes = builder_finish(&b, &size);
	fd = file_of(bytes, size);
	if (ingest_run(fd, in_folder(name), &options, &result, &error) < 0 ||
	    store_open(in_folder(name), &store, &error) < 0 || store_load(store, &heap, &error) < 0)
		fprintf(stderr, "%s: %s\n", name, error ? error : "no memory");
	free(error);
	store_free(store);
	close(fd);
	free(bytes);
	return heap;
}

TEST(a_snapshot_says_which_file_was_damaged)
{
	struct heap *heap;
	bool said = false;

	ASSERT(make_specimens());
	in_dwarf = CRASH;
	heap = ingest(in_folder("really-bad"), "damaged.snap");
	ASSERT_NOT_NULL(heap);
	for (uint32_t i = 0; i < heap->meta.note_count; i++)
		said |= strstr(heap->meta.notes[i], "really-bad is damaged: reading its debug information ended the reader") != NULL;
	EXPECT(said);
	EXPECT_U64_EQ(heap->nodes, 1);
	EXPECT_STR_EQ(heap->root[0].name, "test_table");
	EXPECT_INT_EQ(waitpid(-1, NULL, WNOHANG), -1);
	heap_free(heap);
}

/* Where a section of an ELF file lies in it. */
static bool section_bytes(const uint8_t *file, const char *prefix, unsigned skip, uint64_t *ret_at, uint64_t *ret_bytes)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
	const char *names = (const char *)file + sections[header->e_shstrndx].sh_offset;

	for (unsigned i = 1; i < header->e_shnum; i++) {
		if (strncmp(names + sections[i].sh_name, prefix, strlen(prefix)) || sections[i].sh_type == SHT_NOBITS)
			continue;
		if (skip--)
			continue;
		*ret_at = sections[i].sh_offset;
		*ret_bytes = sections[i].sh_size;
		return true;
	}
	return false;
}

/* Ask everything there is to ask. */
static void ask_all(struct asked *asked, int file)
{
	struct symbols_declaration declaration;
	struct symbols_variable variable;
	struct symbols_frame frames[8];
	struct symbols_site sites[4];
	struct layouts layouts;
	uint32_t layout;

	ASSERT_INT_EQ(layouts_init(&layouts), 0);
	for (uint64_t at = 0; at < 32; at += 8) {
		EXPECT(symbols_frames(asked->symbols, file, function_address() + at, frames, 8) >= 0);
		EXPECT(symbols_variable(asked->symbols, file, (uintptr_t)test_table - self.base + at, &variable) >= 0);
		EXPECT(symbols_tls(asked->symbols, file, at, &variable) >= 0);
		EXPECT(symbols_site_types(asked->symbols, file, function_address() + at, &layouts, sites, 4) >= 0);
		EXPECT(symbols_local_type(asked->symbols, file, function_address() + at, -32, &layouts, &declaration) >= 0);
	}
	EXPECT(symbols_variable_type(asked->symbols, file, (uintptr_t)test_table - self.base, &layouts, &declaration) >= 0);
	EXPECT(symbols_tls_type(asked->symbols, file, 0, &layouts, &declaration) >= 0);
	EXPECT(symbols_class_type(asked->symbols, file, "struct builder", &layouts, &layout) >= 0);
	layouts_done(&layouts);
}

TEST(flipped_bytes_of_debug_sections_and_symbol_tables_are_survived)
{
	/* as a sanitizer sees every wrong access, one of libdw's ends the reader there: that is survived, too */
	static const char *const prefixes[] = { ".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_rnglists",
						".debug_loclists", ".symtab", ".strtab", ".eh_frame" };
	static const struct symbols_limits limits = { .cpu_ms = 2000, .wall_ms = 60000, .memory_bytes = 1u << 30 };
	uint64_t state = 20260101, at, count;
	size_t size = 0;
	uint8_t *bytes, *copy;

	ASSERT(make_specimens());
	bytes = read_whole("/proc/self/exe", &size);
	ASSERT_NOT_NULL(bytes);
	copy = malloc(size);
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		for (int round = 0; round < 3 && section_bytes(bytes, prefixes[i], 0, &at, &count) && count; round++) {
			struct asked asked;

			memcpy(copy, bytes, size);
			for (int flip = 0; flip < 1 << round * 5; flip++) {
				state = state * 6364136223846793005u + 1442695040888963407u;
				copy[at + (state >> 20) % count] ^= (uint8_t)(1 + (state >> 8) % 255);
			}
			write_whole(in_folder("flipped"), copy, size);
			asked = ask(&limits);
			ask_all(&asked, symbols_add(asked.symbols, in_folder("flipped"), self.id, self.id_bytes));
			done(&asked);
			if (round == 2) {
				char name[32];

				snprintf(name, sizeof(name), "flipped%zu.snap", i);
				heap_free(ingest(in_folder("flipped"), name));
				EXPECT(access(in_folder(name), R_OK) == 0);
			}
		}
	free(copy);
	free(bytes);
}

TEST_MAIN()
