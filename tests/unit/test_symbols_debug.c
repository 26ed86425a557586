/* SPDX-License-Identifier: Apache-2.0
 * test_symbols_debug.c - debug information wherever it is, and what is kept of it for the next time.
 *
 * The specimen is a program of two functions, compiled and taken apart in each way that there is. Its first
 * function lies at a fixed address. A tool that is missing is said, and its way is not tested. */
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/strings.h"
#include "core/symbols.h"
#include "core/symbols_types.h"
#include "unit/stream_file.h"

#define WORK 0x401008u			/* in work(), after its first instructions */
#define NEEDS(tool_) \
	if (run("command -v " tool_ " >/dev/null")) { \
		fprintf(stderr, "%s is not installed: not tested\n", tool_); \
		return; \
	}

static const char SOURCE[] =
	"struct item { struct item *next; long weight; };\n"
	"struct item *head;\n"
	"int work(int n)\n"
	"{\n"
	"	return n * 3 + (head != 0);\n"
	"}\n"
	"void _start(void) { work(1); }\n";

/* Run a command in the test folder. */
__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char command[4096], folder[512];
	va_list args;
	int used;

	strcpy(folder, in_folder(""));
	used = snprintf(command, sizeof(command), "cd '%s' && ", folder);
	va_start(args, format);
	vsnprintf(command + used, sizeof(command) - (size_t)used, format, args);
	va_end(args);
	return system(command);
}

/* Compile the specimen to a file of the test folder. */
static bool compile(const char *how, const char *name)
{
	write_whole(in_folder("specimen.c"), (const uint8_t *)SOURCE, sizeof(SOURCE) - 1);
	return run("cc -O0 -fcf-protection=none %s -c specimen.c -o %s.o && cc %s -nostdlib -static -no-pie -Wl,--build-id "
		   "-Wl,-Ttext=0x401000 %s.o -o %s", how, name, how, name, name) == 0;
}

static uint32_t build_id_of(const char *name, uint8_t id[32])
{
	char command[1024], text[128] = "";
	uint32_t count = 0;
	unsigned byte;
	FILE *pipe;

	snprintf(command, sizeof(command), "readelf -n '%s' 2>/dev/null | sed -n 's/.*Build ID: //p'", in_folder(name));
	pipe = popen(command, "r");
	if (!pipe || !fgets(text, sizeof(text), pipe))
		text[0] = 0;
	if (pipe)
		pclose(pipe);
	while (count < 32 && sscanf(text + 2 * count, "%2x", &byte) == 1)
		id[count++] = (uint8_t)byte;
	return count;
}

struct asked { struct strings *strings; struct symbols *symbols; int file; };

static struct asked ask(const char *name)
{
	struct asked asked = { .strings = strings_new() };
	uint8_t id[32];
	uint32_t id_bytes = build_id_of(name, id);

	asked.symbols = symbols_new(NULL, asked.strings);
	asked.file = symbols_add(asked.symbols, in_folder(name), id, id_bytes);
	return asked;
}

static void done(struct asked *asked)
{
	symbols_free(asked->symbols);
	strings_free(asked->strings);
}

/* Line of work(); 0 = only its name is known, -1 = nothing. */
static int line_in(struct asked *asked)
{
	struct symbols_frame frames[4];
	int count = symbols_frames(asked->symbols, asked->file, WORK, frames, 4);

	if (count < 1)
		return -1;
	EXPECT_STR_EQ(frames[count - 1].function, "work");
	return (int)frames[count - 1].line;
}

static int line_of(const char *name)
{
	struct asked asked = ask(name);
	int line = line_in(&asked);

	done(&asked);
	return line;
}

/* The type of the variable `head`, which is a pointer to struct item. */
static void expect_type(struct asked *asked)
{
	struct symbols_declaration declaration;
	struct symbols_variable variable;
	struct layouts layouts;
	const struct layout *layout;
	uint64_t at = 0;

	ASSERT_INT_EQ(layouts_init(&layouts), 0);
	for (uint64_t page = 0x402000; page < 0x406000 && !at; page += 8)
		if (symbols_variable(asked->symbols, asked->file, page, &variable) > 0 && !variable.is_section)
			at = page;
	EXPECT_STR_EQ(at ? variable.name : "", "head");
	if (symbols_variable_type(asked->symbols, asked->file, at, &layouts, &declaration) == 1) {
		layout = &layouts.layouts[declaration.layout];
		EXPECT_INT_EQ(layout->kind, LAYOUT_KIND_POINTER);
		layout = &layouts.layouts[layout->target];
		EXPECT_STR_EQ(layout->name, "struct item");
		EXPECT_U64_EQ(layout->bytes, 16);
		EXPECT_U64_EQ(layout->member_count, 2);
		EXPECT_STR_EQ(layouts.members[layout->first_member + 1].name, "weight");
	} else {
		EXPECT(!"the type of head is known");
	}
	layouts_done(&layouts);
}

TEST(every_format_of_debug_information_in_the_file_is_read)
{
	static const char *const ways[] = { "-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gz=zlib", "-gdwarf-4 -gz=zlib-gnu" };

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct asked asked;

		ASSERT(compile(ways[i], "plain"));
		asked = ask("plain");
		EXPECT_INT_EQ(line_in(&asked), 5);
		expect_type(&asked);
		EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), SYMBOLS_DWARF);
		EXPECT_U64_EQ(symbols_lacks(asked.symbols, asked.file), 0);
		done(&asked);
	}
}

TEST(split_debug_information_is_found_and_missed)
{
	static const char *const ways[] = { "-gdwarf-4 -gsplit-dwarf", "-gdwarf-5 -gsplit-dwarf" };

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct asked asked;

		ASSERT(compile(ways[i], "split"));
		asked = ask("split");
		EXPECT_INT_EQ(line_in(&asked), 5);
		expect_type(&asked);
		EXPECT_U64_EQ(symbols_lacks(asked.symbols, asked.file), 0);
		done(&asked);
		/* lines are in the file itself, names of functions in its symbol table */
		EXPECT_INT_EQ(run("rm split*.dwo"), 0);
		asked = ask("split");
		EXPECT_INT_EQ(line_in(&asked), 5);
		EXPECT_U64_EQ(symbols_lacks(asked.symbols, asked.file), SYMBOLS_NO_SPLIT);
		done(&asked);
	}
}

TEST(what_dwz_shares_between_files_is_found_and_missed)
{
	struct asked asked;

	NEEDS("dwz");
	ASSERT(compile("-gdwarf-4 -g3 -include stdio.h -fno-builtin", "one") && compile("-gdwarf-4 -g3 -include stdio.h -fno-builtin", "two"));
	if (run("dwz -q -m shared.debug one two 2>/dev/null || dwz -m shared.debug one two 2>/dev/null") || access(in_folder("shared.debug"), R_OK)) {
		fprintf(stderr, "dwz finds nothing to share: not tested\n");
		return;
	}
	asked = ask("one");
	EXPECT_INT_EQ(line_in(&asked), 5);
	EXPECT_U64_EQ(symbols_lacks(asked.symbols, asked.file), 0);
	expect_type(&asked);
	done(&asked);
	EXPECT_INT_EQ(run("rm shared.debug"), 0);
	asked = ask("one");
	EXPECT_INT_EQ(line_in(&asked) >= 0, 1);
	EXPECT_U64_EQ(symbols_lacks(asked.symbols, asked.file), SYMBOLS_NO_ALT);
	done(&asked);
}

TEST(a_debuglink_is_believed_by_its_checksum_where_there_is_no_build_id)
{
	NEEDS("objcopy");
	ASSERT(compile("-g", "linked"));
	ASSERT_INT_EQ(run("objcopy -R .note.gnu.build-id linked 2>/dev/null && objcopy --only-keep-debug linked linked.debug && strip linked && "
			  "objcopy --add-gnu-debuglink=linked.debug linked && mkdir -p .debug"), 0);
	EXPECT_INT_EQ(line_of("linked"), 5);
	EXPECT_INT_EQ(run("mv linked.debug .debug"), 0);
	EXPECT_INT_EQ(line_of("linked"), 5);
	EXPECT_INT_EQ(run("printf x >>.debug/linked.debug"), 0);
	EXPECT_INT_EQ(line_of("linked"), -1);
	EXPECT_INT_EQ(run("rm -rf .debug"), 0);
}

TEST(the_compressed_symbol_table_of_a_stripped_file_gives_names)
{
	NEEDS("objcopy");
	NEEDS("xz");
	ASSERT(compile("", "mini"));
	ASSERT_INT_EQ(run("objcopy -S --keep-symbol=work mini table && cp mini full && xz -c table >table.xz && strip mini"), 0);
	EXPECT_INT_EQ(line_of("mini"), -1);
	ASSERT_INT_EQ(run("objcopy --add-section .gnu_debugdata=table.xz mini"), 0);
	EXPECT_INT_EQ(line_of("mini"), 0);
	/* cut off */
	ASSERT_INT_EQ(run("head -c 100 table.xz >cut.xz && strip -R .gnu_debugdata mini && objcopy --add-section .gnu_debugdata=cut.xz mini"), 0);
	EXPECT_INT_EQ(line_of("mini"), -1);
}

TEST(a_server_is_asked_only_if_the_user_has_set_one)
{
	static const char server[] = "#!/bin/sh\necho \"$@\" >>asked\n[ \"$1\" = debuginfo ] && echo \"$PWD/fetched.debug\"\n";
	const char *path = getenv("PATH");
	char own[1024], with[2048];

	NEEDS("objcopy");
	ASSERT(compile("-g", "served"));
	ASSERT_INT_EQ(run("objcopy --only-keep-debug served fetched.debug && strip served"), 0);
	write_whole(in_folder("debuginfod-find"), (const uint8_t *)server, sizeof(server) - 1);
	ASSERT_INT_EQ(run("chmod +x debuginfod-find"), 0);
	strcpy(own, in_folder(""));
	snprintf(with, sizeof(with), "%s:%s", own, path ? path : "/usr/bin:/bin");
	ASSERT_INT_EQ(chdir(own), 0);
	setenv("PATH", with, 1);
	unsetenv("DEBUGINFOD_URLS");
	EXPECT_INT_EQ(line_of("served"), -1);
	EXPECT(access("asked", F_OK) < 0);
	setenv("DEBUGINFOD_URLS", "", 1);
	EXPECT_INT_EQ(line_of("served"), -1);
	EXPECT(access("asked", F_OK) < 0);
	setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/", 1);
	EXPECT_INT_EQ(line_of("served"), 5);
	EXPECT(access("asked", F_OK) == 0);
	/* what it brings of another build is not believed */
	EXPECT_INT_EQ(run("printf 'void _start(void){}' | cc -g -nostdlib -static -Wl,--build-id -x c - -o fetched.debug"), 0);
	EXPECT_INT_EQ(line_of("served"), -1);
	unsetenv("DEBUGINFOD_URLS");
	setenv("PATH", path ? path : "/usr/bin:/bin", 1);
	ASSERT_INT_EQ(chdir("/"), 0);
}

/* ---- what is kept ---- */

/* Files in the cache, the name of one of them. */
static int cached(char *name, size_t room)
{
	char folder[600];
	DIR *list;
	int count = 0;

	snprintf(folder, sizeof(folder), "%s/leakdiff/symbols", in_folder("cache"));
	list = opendir(folder);
	for (const struct dirent *entry; list && (entry = readdir(list));)
		if (*entry->d_name != '.') {
			count++;
			snprintf(name, room, "%s/%s", folder, entry->d_name);
		}
	if (list)
		closedir(list);
	return count;
}

/* Ask with the cache; `expected` is what the file is found to be. */
static void ask_cached(enum symbols_state expected)
{
	struct asked asked = ask("cached");

	symbols_use_cache(asked.symbols);
	EXPECT_INT_EQ(line_in(&asked), 5);
	expect_type(&asked);
	EXPECT_INT_EQ(symbols_state(asked.symbols, asked.file), expected);
	symbols_keep(asked.symbols);
	done(&asked);
}

TEST(answers_are_kept_and_a_cache_of_somebody_elses_making_is_not_believed)
{
	const char *before = getenv("XDG_CACHE_HOME");
	char *kept_before = before ? strdup(before) : NULL, name[900];
	uint8_t *bytes, *copy;
	struct stat st;
	size_t size;

	ASSERT(compile("-gdwarf-5", "cached"));
	setenv("XDG_CACHE_HOME", in_folder("cache"), 1);
	ask_cached(SYMBOLS_DWARF);
	ASSERT_INT_EQ(cached(name, sizeof(name)), 1);
	EXPECT(stat(name, &st) == 0 && (st.st_mode & 0777) == 0600);
	/* from the cache alone: nothing can be read of the file any more, but its build-id is right */
	ask_cached(SYMBOLS_DWARF);
	bytes = read_whole(name, &size);
	ASSERT_NOT_NULL(bytes);
	copy = malloc(size);
	for (size_t i = 0; i < size; i += 1 + size / 40) {
		memcpy(copy, bytes, size);
		copy[i] ^= 0x55;
		write_whole(name, copy, size);
		ask_cached(SYMBOLS_DWARF);
	}
	for (size_t cut = 0; cut < size; cut += 1 + size / 10) {
		write_whole(name, bytes, cut);
		ask_cached(SYMBOLS_DWARF);
	}
	/* another layout of the same names, numbered anew by the next reader: one table, two sessions */
	write_whole(name, bytes, size);
	for (int round = 0; round < 2; round++) {
		struct symbols_frame frames[4];
		struct asked asked = ask("cached");

		symbols_use_cache(asked.symbols);
		EXPECT(symbols_frames(asked.symbols, asked.file, WORK + 1 + (unsigned)round, frames, 4) > 0);
		expect_type(&asked);
		symbols_keep(asked.symbols);
		done(&asked);
	}
	/* a link, and a folder that others may write to, are left alone */
	EXPECT_INT_EQ(run("mv '%s' elsewhere && ln -s \"$PWD/elsewhere\" '%s'", name, name), 0);
	ask_cached(SYMBOLS_DWARF);
	EXPECT_INT_EQ(run("chmod 777 cache/leakdiff && rm -rf cache/leakdiff/symbols"), 0);
	ask_cached(SYMBOLS_DWARF);
	EXPECT_INT_EQ(cached(name, sizeof(name)), 0);
	setenv("XDG_CACHE_HOME", "/nonexistent/folder", 1);
	ask_cached(SYMBOLS_DWARF);
	free(bytes);
	free(copy);
	if (kept_before)
		setenv("XDG_CACHE_HOME", kept_before, 1);
	else
		unsetenv("XDG_CACHE_HOME");
	free(kept_before);
}

TEST_MAIN()
