/* SPDX-License-Identifier: Apache-2.0
 * test_symbols.c - names for addresses: with DWARF, in separate files, stripped, replaced, damaged.
 *
 * The specimen is this program itself, copied and taken apart with objcopy. */
#include "test.h"

#include <elf.h>
#include <link.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "core/demangle.h"
#include "core/strings.h"
#include "core/symbols.h"
#include "unit/stream_file.h"

int test_counter = 3;
static volatile int sink;

static inline __attribute__((always_inline)) void innermost(int n)
{
	sink = n * test_counter;	/* INNERMOST */
}

static inline __attribute__((always_inline)) void middle(int n)
{
	innermost(n + 1);		/* MIDDLE */
}

__attribute__((noinline)) void test_outermost(int n)
{
	middle(n);			/* OUTERMOST */
}

static uint64_t self_base;
static uint8_t self_id[32];
static uint32_t self_id_bytes;

static int look_at_self(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	self_base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t at = self_base + info->dlpi_phdr[i].p_vaddr, end = at + info->dlpi_phdr[i].p_memsz;

		while (info->dlpi_phdr[i].p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const void *)at;

			if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= 32) {
				self_id_bytes = note->n_descsz;
				memcpy(self_id, (const char *)(note + 1) + 4, note->n_descsz);
			}
			at += sizeof(*note) + (note->n_namesz + 3) / 4 * 4 + (note->n_descsz + 3) / 4 * 4;
		}
	}
	return 1;
}

/* Address in the file. */
static uint64_t file_address(const void *at)
{
	if (!self_base)
		dl_iterate_phdr(look_at_self, NULL);
	return (uintptr_t)at - self_base;
}

struct asked {
	struct strings *strings;
	struct symbols *symbols;
	int file;
};

static struct asked ask(const char *root, const char *path)
{
	struct asked asked = { .strings = strings_new() };

	file_address(NULL);
	asked.symbols = symbols_new(root, asked.strings);
	asked.file = symbols_add(asked.symbols, path, self_id, self_id_bytes);
	return asked;
}

static void done(struct asked *asked)
{
	symbols_free(asked->symbols);
	strings_free(asked->strings);
}

static int run_tool(const char *format, ...)
{
	char command[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command);
}

/* Does asking a file give this program's function with a line? */
static void expect_lines(const char *root, const char *path)
{
	struct symbols_frame frames[SYMBOLS_FRAMES_MAX];
	struct asked asked = ask(root, path);
	int count = symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost), frames, 64);

	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_DWARF);
	if (EXPECT(count >= 1) == 0) {
		EXPECT_STR_EQ(frames[count - 1].function, "test_outermost");
		EXPECT_CONTAINS(frames[count - 1].file, "test_symbols.c");
		EXPECT(frames[count - 1].line > 20 && frames[count - 1].line < 60);
	}
	done(&asked);
}

TEST(inlined_calls_are_expanded_innermost_first)
{
	struct symbols_frame frames[SYMBOLS_FRAMES_MAX];
	struct asked asked = ask(NULL, "/proc/self/exe");
	uint64_t start = file_address((void *)test_outermost);
	bool seen = false;

	for (uint64_t at = start; at < start + 64 && !seen; at++) {
		int count = symbols_frames(asked.symbols, asked.file, at, frames, 64);

		if (count != 3)
			continue;
		seen = true;
		EXPECT_STR_EQ(frames[0].function, "innermost");
		EXPECT_STR_EQ(frames[1].function, "middle");
		EXPECT_STR_EQ(frames[2].function, "test_outermost");
		EXPECT(frames[0].inlined && frames[1].inlined && !frames[2].inlined);
		EXPECT_INT_EQ(frames[1].line, frames[0].line + 5);
		EXPECT_INT_EQ(frames[2].line, frames[1].line + 5);
		EXPECT_STR_EQ(frames[0].language, "c");
	}
	EXPECT(seen);
	done(&asked);
}

TEST(variables_have_names_and_extents)
{
	struct asked asked = ask(NULL, "/proc/self/exe");
	struct symbols_variable variable;

	EXPECT_INT_EQ(symbols_variable(asked.symbols, asked.file, file_address(&test_counter) + 1, &variable), 1);
	EXPECT_STR_EQ(variable.name, "test_counter");
	EXPECT_U64_EQ(variable.start, file_address(&test_counter));
	EXPECT_U64_EQ(variable.end, file_address(&test_counter) + sizeof(test_counter));
	EXPECT(!variable.is_section);
	EXPECT_INT_EQ(symbols_variable(asked.symbols, asked.file, UINT64_MAX - 5, &variable), 0);
	EXPECT_INT_EQ(symbols_variable(asked.symbols, asked.file, 0xfffffffff, &variable), 0);
	done(&asked);
}

TEST(separate_debug_files_are_found)
{
	char program[256], debug[256], root[256];
	struct symbols_frame frames[4];
	struct asked asked;

	strcpy(program, in_folder("prog"));
	strcpy(debug, in_folder("prog.debug"));
	strcpy(root, in_folder(""));
	if (run_tool("cp /proc/%d/exe %s && objcopy --only-keep-debug %s %s && strip %s", getpid(), program, program,
		     debug, program)) {
		fprintf(stderr, "objcopy is missing: not tested\n");
		return;
	}
	asked = ask(NULL, program);
	EXPECT_INT_EQ(symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost), frames, 4), 0);
	EXPECT(symbols_state(asked.symbols, asked.file) != SYMBOLS_DWARF);
	done(&asked);

	EXPECT_INT_EQ(run_tool("objcopy --add-gnu-debuglink=%s %s", debug, program), 0);
	expect_lines(NULL, program);

	/* by build-id, below a container's root */
	EXPECT_INT_EQ(run_tool("cd %s && mkdir -p c/usr/lib/debug/.build-id/%02x c/bin && strip -R .gnu_debuglink -o c/bin/prog prog "
			       "&& mv prog.debug c/usr/lib/debug/.build-id/%02x/$(readelf -n prog | sed -n 's/.*Build ID: ..//p').debug",
			       root, self_id[0], self_id[0]), 0);
	strcpy(debug, in_folder("c"));
	expect_lines(debug, "/bin/prog");
	strcat(debug, "///");
	expect_lines(debug, "/bin/prog");
	EXPECT_INT_EQ(run_tool("rm -rf %s/c", root), 0);
}

TEST(a_file_that_is_gone_or_another_build_gives_no_names)
{
	struct symbols_frame frames[4];
	struct asked asked = ask(NULL, "/nonexistent/program");

	EXPECT_INT_EQ(symbols_frames(asked.symbols, asked.file, 0x1000, frames, 4), 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_MISSING);
	done(&asked);
	self_id[0] ^= 1;
	asked = ask(NULL, "/proc/self/exe");
	EXPECT_INT_EQ(symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost), frames, 4), 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_OTHER_BUILD);
	done(&asked);
	self_id[0] ^= 1;
	asked = ask(NULL, "/dev/zero");
	EXPECT_INT_EQ(symbols_frames(asked.symbols, asked.file, 0x1000, frames, 4), 0);
	done(&asked);
}

TEST(what_the_process_still_has_stands_in_for_a_file_that_is_gone)
{
	struct symbols_frame frames[SYMBOLS_FRAMES_MAX];
	struct asked asked = ask(NULL, "/nonexistent/program");

	EXPECT_INT_EQ(symbols_add_fallback(asked.symbols, asked.file, "/proc/self/exe"), 0);
	EXPECT(symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost), frames, 64) > 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_DWARF);
	done(&asked);
	/* of another build it is not believed */
	self_id[0] ^= 1;
	asked = ask(NULL, "/nonexistent/program");
	EXPECT_INT_EQ(symbols_add_fallback(asked.symbols, asked.file, "/proc/self/exe"), 0);
	EXPECT_INT_EQ(symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost), frames, 64), 0);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_MISSING);
	done(&asked);
	self_id[0] ^= 1;
}

TEST(the_same_file_has_one_number)
{
	struct asked asked = ask(NULL, "/a");
	char path[32];
	int first[100];

	EXPECT_INT_EQ(symbols_add(asked.symbols, "/a", self_id, self_id_bytes), asked.file);
	EXPECT(symbols_add(asked.symbols, "/a", self_id, 0) != asked.file);
	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "/lib/%d", i);
		first[i] = symbols_add(asked.symbols, path, self_id, self_id_bytes);
	}
	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "/lib/%d", i);
		EXPECT_INT_EQ(symbols_add(asked.symbols, path, self_id, self_id_bytes), first[i]);
	}
	done(&asked);
}

TEST(damaged_binaries_are_survived)
{
	struct symbols_frame frames[SYMBOLS_FRAMES_MAX];
	struct symbols_variable variable;
	char path[256];
	size_t size = 0;
	uint8_t *bytes = read_whole("/proc/self/exe", &size), *copy;
	uint64_t state = 12345;

	ASSERT_NOT_NULL(bytes);
	copy = malloc(size);
	strcpy(path, in_folder("damaged"));
	for (int round = 0; round < 60; round++) {
		size_t length = round < 20 ? size * (size_t)round / 20 : size;
		struct asked asked;

		memcpy(copy, bytes, size);
		for (int i = 0; round >= 20 && i < 50; i++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			/* leave the first page alone, so that the build-id still matches and reading goes on */
			copy[4096 + (state >> 20) % (size - 4096)] = (uint8_t)(state >> 8);
		}
		write_whole(path, copy, length);
		asked = ask(NULL, path);
		for (uint64_t at = 0; at < 64; at += 4) {
			EXPECT(symbols_frames(asked.symbols, asked.file, file_address((void *)test_outermost) + at, frames, 64) >= 0);
			EXPECT(symbols_variable(asked.symbols, asked.file, file_address(&test_counter) + at, &variable) >= 0);
			EXPECT(symbols_tls(asked.symbols, asked.file, at, &variable) >= 0);
		}
		done(&asked);
	}
	free(copy);
	free(bytes);
}

TEST(names_read_as_people_write_them)
{
	static const struct { char *(*how)(const char *); const char *in, *out; } names[] = {
		{ demangle_function, "_ZN3app7Session4openEi", "app::Session::open" },
		{ demangle_function, "plain_c", "plain_c" },
		{ demangle_function, "parse.isra.0", "parse" },
		{ demangle_function, "parse.constprop.1.cold", "parse" },
		{ demangle_function, "_Znwm", "operator new" },
		{ demangle_function, "_RNvC6_123foo3bar", "123foo::bar" },
		{ demangle_function, "_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write" },
		{ demangle_function, "_Z", "_Z" },
		{ demangle_variable, "_ZZ6handlevE5cache", "handle()::cache" },
		{ demangle_variable, "table.1234", "table" },
		{ demangle_variable, "_Z9tls_cacheB5cxx11", "tls_cache" },
		{ demangle_type, "4Node", "Node" },
		{ demangle_type, "*N3app4NodeE", "app::Node" },
		{ demangle_type, "St6vectorIiSaIiEE", "std::vector<int>" },
		{ demangle_type, "St3mapINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEiSt4lessIS5_ESaISt4pairIKS5_iEEE",
		  "std::map<std::string, int>" },
		{ demangle_type, "St10unique_ptrI4NodeSt14default_deleteIS0_EE", "std::unique_ptr<Node>" },
		{ demangle_type, "", "" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *name = names[i].how(names[i].in);

		EXPECT_STR_EQ(name, names[i].out);
		free(name);
	}
}

TEST(a_short_name_for_gigabytes_of_text_is_not_expanded)
{
	/* each argument is twice the one before */
	char symbol[4096], *name;
	char *at = symbol;

	strcpy(symbol, "_ZTS");
	at = symbol + 4;
	for (int i = 0; i < 40; i++)
		at += sprintf(at, "St4pairI");
	at += sprintf(at, "ii");
	for (int i = 0; i < 40; i++)
		at += sprintf(at, "ES%d_", i);
	name = demangle_type(symbol + 4);
	EXPECT(name && strlen(name) <= 65536);
	free(name);
}

TEST_MAIN()
