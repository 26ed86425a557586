/* SPDX-License-Identifier: Apache-2.0
 * test_symbols_types.c - types in debug information, of gcc and clang, in all forms in which it is written.
 *
 * unit/types/plain.c and classes.cc are compiled in each way and run; they print where their allocations and
 * variables are. What is expected of each is written here by hand and is the same for every way. */
#include "test.h"

#include "core/strings.h"
#include "core/symbols_types.h"
#include "core/symbols_types_code.h"
#include "core/text.h"
#include "unit/stream_file.h"

static char source[512];		/* folder of the fixtures */

static const struct way { const char *c, *cxx, *flags, *after; } WAYS[] = {
	{ "gcc", "g++", "-g -O0", "" },
	{ "gcc", "g++", "-g -O2", "" },
	{ "gcc", "g++", "-g -O2 -flto=1", "" },
	{ "gcc", "g++", "-gdwarf-4 -O2 -fdebug-types-section", "" },
	{ "gcc", "g++", "-g -O1 -gsplit-dwarf -gz", "" },
	{ "gcc", "g++", "-g -O2 -include stdio.h -include signal.h -fno-eliminate-unused-debug-types",
	  "cp %s twin && dwz -m common -h %s twin" },
	{ "gcc", "g++", "-g -O2 -Wl,--build-id=none",
	  "objcopy --only-keep-debug %s %s.debug && strip %s && objcopy --add-gnu-debuglink=%s.debug %s" },
	{ "clang", "clang++", "-g -O0", "" },
	{ "clang", "clang++", "-g -O2", "" },
	{ "clang", "clang++", "-gdwarf-4 -O1", "" },
	{ "clang", "clang++", "-g -O2 -flto -fuse-ld=lld", "" },
	{ "clang", "clang++", "-g -O1 -gsplit-dwarf", "" },
};

/* What a fixture says of itself, and what is to be found. */
static const struct expected {
	const char *what, *name;
	const char *variable;		/* its name; NULL = no variable */
	const char *type;		/* of the block's element or the variable */
	uint64_t offset;		/* in the variable */
	const char *path;		/* to that offset; "" = none */
} EXPECTED[] = {
	{ "site", "variable", NULL, "struct entry", 0, "" },
	{ "site", "field", NULL, "struct entry *", 0, "" },
	{ "site", "global", NULL, "struct entry", 0, "" },
	{ "site", "inlined", NULL, "struct holder", 0, "" },
	{ "site", "elsewhere", NULL, "struct peer", 0, "" },
	{ "site", "new", NULL, "net::Session", 0, "" },
	{ "site", "template", NULL, "net::Pool<3>", 0, "" },
	{ "site", "deep", NULL, "net::Deep", 0, "" },
	{ "data", "g_table", "g_table", "table", 0, ".buckets" },
	{ "data", "g_holder", "g_holder", "struct holder", 32, ".tables[1].buckets" },
	{ "data", "g_first", "g_first", "struct entry *", 0, "" },
	{ "data", "g_peer", "g_peer", "struct peer *", 0, "" },
	{ "data", "counter", "counter", "int", 0, "" },
	{ "data", "g_session", "g_session", "net::Session *", 0, "" },
	{ "data", "g_pool", "g_pool", "net::Pool<3>", 16, ".slot.at" },
	{ "data", "g_hidden", "g_hidden", "(anonymous namespace)::Hidden", 0, ".here" },
	{ "data", "total", "net::Counted::total", "long", 0, "" },
	{ "thread", "t_last", "t_last", "struct entry *", 0, "" },
	{ "local", "local_entry", "local_entry", "struct entry", 16, ".key" },
	{ "local", "local_pointer", "local_pointer", "struct holder *", 0, "" },
	{ "local", "after", "after", "table[3]", 0, "[0].buckets" },
};

struct asked {
	struct strings *strings;
	struct symbols *symbols;
	struct layouts layouts;
	int file;
};

static bool ask(struct asked *asked, const char *name)
{
	*asked = (struct asked){ .strings = strings_new() };
	asked->symbols = symbols_new(NULL, asked->strings);
	asked->file = symbols_add(asked->symbols, in_folder(name), (const uint8_t *)"", 0);
	return asked->symbols && asked->file >= 0 && layouts_init(&asked->layouts) == 0;
}

static void done(struct asked *asked)
{
	symbols_free(asked->symbols);
	layouts_done(&asked->layouts);
	strings_free(asked->strings);
}

static int run(const char *command)
{
	char whole[4096];

	snprintf(whole, sizeof(whole), "cd %s && %s", test_folder, command);
	return system(whole);
}

/* Compile a fixture in one way. Returns 0, 1 if this compiler is not here. */
static int build(const struct way *way, bool plus_plus, const char *name)
{
	char command[2048], after[1024] = "";
	size_t length = 0;
	int r;

	snprintf(command, sizeof(command), "command -v %s >/dev/null", way->cxx);
	if (run(command) != 0)
		return 1;
	snprintf(command, sizeof(command), "%s -Wl,--build-id=none -I%s %s %s/%s %s/%s fixture.o %s -o %s 2>build.log",
		 plus_plus ? way->cxx : way->c, source, way->flags, source, plus_plus ? "classes.cc" : "plain.c", source,
		 plus_plus ? "empty.cc" : "more.c", plus_plus ? "new.o" : "", name);
	r = run(command);
	for (const char *p = way->after; *p && length + 128 < sizeof(after); p++)
		if (p[0] == '%' && p[1] == 's')
			length += (size_t)snprintf(after + length, sizeof(after) - length, "%s", name), p++;
		else
			after[length++] = *p, after[length] = 0;
	if (r == 0 && length)
		r = run(after);
	EXPECT_INT_EQ(r, 0);
	return r;
}

/* gcc and clang have other names for the type of 3 keys: "long unsigned int", "unsigned long". */
static bool same_type(const char *name, const char *expected)
{
	const char *pool = strstr(expected, "<3>");

	if (!strcmp(expected, "long"))
		return !strcmp(name, "long") || !strcmp(name, "long int");
	if (pool)
		return !strncmp(name, expected, (size_t)(pool - expected) + 1) && strstr(name, ", 3>");
	return !strcmp(name, expected);
}

static void expect_path(struct asked *asked, uint32_t layout, uint64_t offset, const char *expected)
{
	struct text text = { 0 };
	char *path;

	text_append(&text, "");
	layouts_path(&asked->layouts, layout, asked->layouts.layouts[layout].bytes, offset, &text);
	path = text_take(&text);
	EXPECT_STR_EQ(path, expected);
	free(path);
}

static bool check(struct asked *asked, const struct way *way, const char *what, const char *name, uint64_t address,
		  long cfa_offset)
{
	const struct expected *expected = NULL;
	struct symbols_declaration declaration = { .layout = LAYOUT_VOID };
	struct symbols_site sites[4];
	uint32_t layout;
	int r;

	for (size_t i = 0; i < sizeof(EXPECTED) / sizeof(*EXPECTED); i++)
		if (!strcmp(EXPECTED[i].what, what) && !strcmp(EXPECTED[i].name, name))
			expected = &EXPECTED[i];
	if (!expected)
		return false;
	if (!strcmp(what, "site"))
		r = symbols_site_types(asked->symbols, asked->file, address, &asked->layouts, sites, 4);
	else if (!strcmp(what, "data"))
		r = symbols_variable_type(asked->symbols, asked->file, address, &asked->layouts, &declaration);
	else if (!strcmp(what, "thread"))
		r = symbols_tls_type(asked->symbols, asked->file, address, &asked->layouts, &declaration);
	else
		r = symbols_local_type(asked->symbols, asked->file, address, cfa_offset, &asked->layouts, &declaration);
	if (r < 1) {
		TEST_FAIL_("%s %s: %s %s is not known", way->c, way->flags, what, name);
		return true;
	}
	layout = expected->variable ? declaration.layout : sites[0].layout;
	if (!same_type(asked->layouts.layouts[layout].name, expected->type))
		TEST_FAIL_("%s %s: %s %s is of type %s", way->c, way->flags, what, name,
			   asked->layouts.layouts[layout].name);
	if (!expected->variable) {
		EXPECT(sites[0].how != SYMBOLS_HOW_NONE && sites[0].confidence == 3 && !sites[0].passes_on);
		EXPECT_U64_EQ(sites[0].offset, 0);
		return true;
	}
	EXPECT_STR_EQ(declaration.name, expected->variable);
	if (!strstr(expected->type, "Pool"))
		EXPECT_U64_EQ(declaration.offset, expected->offset);
	EXPECT_CONTAINS(declaration.file, "unit/types/");
	EXPECT(declaration.line > 5);
	if (*expected->path)
		expect_path(asked, layout, declaration.offset, expected->path);
	return true;
}

/* Run a fixture and check what it prints. Returns how much of it was expected. */
static int check_all(struct asked *asked, const struct way *way, const char *name)
{
	char what[32], which[64], line[256];
	unsigned long address;
	long cfa_offset;
	FILE *from;
	int known = 0;

	snprintf(line, sizeof(line), "%s", in_folder(name));
	from = popen(line, "r");
	while (from && fgets(line, sizeof(line), from))
		if (sscanf(line, "%31s %63s %lx %ld", what, which, &address, &cfa_offset) >= 3)
			known += check(asked, way, what, which, address, cfa_offset);
	if (from)
		EXPECT_INT_EQ(pclose(from), 0);
	return known;
}

static const struct layout_member *member(struct asked *asked, uint32_t layout, const char *name)
{
	const struct layout *is = &asked->layouts.layouts[layout];

	for (uint32_t i = 0; i < is->member_count; i++)
		if (!strcmp(asked->layouts.members[is->first_member + i].name, name))
			return &asked->layouts.members[is->first_member + i];
	return NULL;
}

static void expect_member(struct asked *asked, uint32_t layout, const char *name, uint64_t offset, const char *type)
{
	const struct layout_member *has = member(asked, layout, name);

	if (!has) {
		TEST_FAIL_("%s has no member %s", asked->layouts.layouts[layout].name, name);
		return;
	}
	EXPECT_U64_EQ(has->offset, offset);
	EXPECT_STR_EQ(asked->layouts.layouts[has->type].name, type);
}

static void check_entry(struct asked *asked)
{
	const struct layout *layouts;
	uint32_t entry, holder;

	ASSERT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "entry", &asked->layouts, &entry), 1);
	ASSERT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "holder", &asked->layouts, &holder), 1);
	layouts = asked->layouts.layouts;
	EXPECT_STR_EQ(layouts[entry].name, "struct entry");
	EXPECT_U64_EQ(layouts[entry].bytes, 104);
	EXPECT_INT_EQ(layouts[entry].kind, LAYOUT_KIND_STRUCT);
	EXPECT_U64_EQ(layouts[entry].line, 11);
	expect_member(asked, entry, "node", 0, "struct list");
	expect_member(asked, entry, "key", 16, "char *");
	expect_member(asked, entry, "used", 24, "unsigned int");
	expect_member(asked, entry, "dirty", 24, "unsigned int");
	expect_member(asked, entry, "body", 40, "void *");
	expect_member(asked, entry, "grid", 48, "int[3][4]");
	expect_member(asked, entry, "range", 96, "struct {...}");
	expect_member(asked, entry, "more", 104, "struct entry *[]");
	expect_member(asked, entry, "", 32, "union {...}");
	expect_member(asked, holder, "mood", 0, "enum mood");
	expect_member(asked, holder, "tables", 8, "table[2]");
	expect_member(asked, holder, "peer", 56, "struct peer *");	/* defined in another unit */
	expect_member(asked, holder, "never", 64, "struct never *");
	expect_member(asked, holder, "call", 72, "function *");
	EXPECT_U64_EQ(layouts[layouts[member(asked, holder, "peer")->type].target].bytes, 48);
	EXPECT_U64_EQ(layouts[layouts[member(asked, holder, "never")->type].target].bytes, 0);
	EXPECT_U64_EQ(layouts[member(asked, entry, "more")->type].count, 0);
}

static void check_session(struct asked *asked)
{
	uint32_t session, pool, deep;
	const struct layout *is;

	ASSERT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "net::Session", &asked->layouts, &session), 1);
	is = &asked->layouts.layouts[session];
	EXPECT_STR_EQ(is->name, "net::Session");
	EXPECT_U64_EQ(is->bytes, 48);
	ASSERT(is->member_count == 4);
	EXPECT(asked->layouts.members[is->first_member].is_base);
	EXPECT(asked->layouts.members[is->first_member + 1].is_base);
	EXPECT_U64_EQ(asked->layouts.members[is->first_member + 1].offset, 16);
	expect_path(asked, session, 40, ".buffer");
	expect_path(asked, session, 16, ".count");
	/* static members lie elsewhere */
	EXPECT(!member(asked, asked->layouts.members[is->first_member + 1].type, "total"));
	/* as the demangler writes it, and with the default way of clang */
	EXPECT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "net::Pool<unsigned long, 3>", &asked->layouts,
					 &pool), 1);
	EXPECT_U64_EQ(asked->layouts.layouts[pool].bytes, 40);
	ASSERT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "net::Deep", &asked->layouts, &deep), 1);
	EXPECT_U64_EQ(asked->layouts.layouts[deep].bytes, 40);
	EXPECT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "net::Nothing", &asked->layouts, &deep), 0);
	EXPECT_INT_EQ(symbols_class_type(asked->symbols, asked->file, "other::Session", &asked->layouts, &deep), 0);
}

static bool prepare(void)
{
	char command[1200];

	if (*source)
		return true;
	snprintf(source, sizeof(source), "%s", __FILE__);
	*strrchr(source, '/') = 0;
	strncat(source, "/types", sizeof(source) - strlen(source) - 1);
	in_folder("");
	snprintf(command, sizeof(command), "gcc -O1 -c %s/fixture.c -o fixture.o && g++ -O1 -c %s/new.cc -o new.o", source,
		 source);
	return run(command) == 0;
}

/* Compile both fixtures in a way and check all of it. */
static void check_way(const struct way *way)
{
	struct asked asked;

	ASSERT(prepare());
	if (build(way, false, "plain") == 0) {
		ASSERT(ask(&asked, "plain"));
		EXPECT_INT_EQ(check_all(&asked, way, "plain"), 14);
		check_entry(&asked);
		done(&asked);
	}
	if (build(way, true, "classes") == 0) {
		ASSERT(ask(&asked, "classes"));
		EXPECT_INT_EQ(check_all(&asked, way, "classes"), 7);
		check_session(&asked);
		done(&asked);
	}
}

TEST(types_are_known_as_gcc_writes_them)
{
	for (size_t i = 0; i < sizeof(WAYS) / sizeof(*WAYS); i++)
		if (!strcmp(WAYS[i].c, "gcc"))
			check_way(&WAYS[i]);
}

TEST(types_are_known_as_clang_writes_them)
{
	for (size_t i = 0; i < sizeof(WAYS) / sizeof(*WAYS); i++)
		if (!strcmp(WAYS[i].c, "clang"))
			check_way(&WAYS[i]);
}

/* The fixture's line that names a site. */
static uint64_t site_of(const char *program, const char *wanted)
{
	char which[64], line[256];
	unsigned long address, found = 0;
	FILE *from = popen(in_folder(program), "r");

	while (from && fgets(line, sizeof(line), from))
		if (sscanf(line, "site %63s %lx", which, &address) == 2 && !strcmp(which, wanted))
			found = address;
	if (from)
		pclose(from);
	return found;
}

TEST(wrappers_pass_on_and_bytes_say_nothing)
{
	static const struct way way = { "gcc", "g++", "-g -O2", "" };
	struct symbols_site sites[4];
	struct asked asked;
	int r;

	ASSERT(prepare() && build(&way, false, "wrapped") == 0 && ask(&asked, "wrapped"));
	r = symbols_site_types(asked.symbols, asked.file, site_of("wrapped", "wrapper"), &asked.layouts, sites, 4);
	EXPECT(r >= 1 && sites[0].passes_on);
	EXPECT_INT_EQ(sites[0].layout, LAYOUT_VOID);
	EXPECT_STR_EQ(sites[0].evidence, "returned by fixture_wrapped");
	r = symbols_site_types(asked.symbols, asked.file, site_of("wrapped", "text"), &asked.layouts, sites, 4);
	EXPECT(r >= 1 && layouts_is_byte(&asked.layouts, sites[0].layout) && sites[0].confidence < 3);
	r = symbols_site_types(asked.symbols, asked.file, site_of("wrapped", "counted"), &asked.layouts, sites, 4);
	ASSERT(r >= 1 && !sites[0].passes_on);
	EXPECT_STR_EQ(asked.layouts.layouts[sites[0].layout].name, "char");
	EXPECT_INT_EQ(sites[0].confidence, 1);
	r = symbols_site_types(asked.symbols, asked.file, site_of("wrapped", "flexible"), &asked.layouts, sites, 4);
	EXPECT(r == 1);
	EXPECT_STR_EQ(sites[0].evidence, "stored to struct entry.more[0]");
	EXPECT_STR_EQ(asked.layouts.layouts[sites[0].layout].name, "struct entry");
	/* an address that no call returns to, and one outside of the file */
	EXPECT_INT_EQ(symbols_site_types(asked.symbols, asked.file, 1, &asked.layouts, sites, 4), 0);
	EXPECT_INT_EQ(symbols_site_types(asked.symbols, asked.file, UINT64_MAX, &asked.layouts, sites, 4), 0);
	done(&asked);
}

TEST(without_debug_information_nothing_is_made_up)
{
	static const struct way way = { "gcc", "g++", "-O2", "" };
	struct symbols_declaration declaration;
	struct symbols_site site;
	struct asked asked;
	uint32_t layout;

	ASSERT(prepare() && build(&way, false, "bare") == 0 && ask(&asked, "bare"));
	EXPECT_INT_EQ(symbols_site_type(asked.symbols, asked.file, site_of("bare", "variable"), &asked.layouts, &site), 0);
	EXPECT_INT_EQ(symbols_variable_type(asked.symbols, asked.file, 0x4000, &asked.layouts, &declaration), 0);
	EXPECT_INT_EQ(symbols_class_type(asked.symbols, asked.file, "entry", &asked.layouts, &layout), 0);
	EXPECT_U64_EQ(asked.layouts.count, 1);
	done(&asked);
}

/* One byte at a time of the sections is changed: whatever then is answered, an answer comes. */
TEST(damaged_debug_information_is_survived)
{
	static const struct way way = { "gcc", "g++", "-g -O2", "" };
	uint64_t seed = 12345;
	size_t size;
	uint8_t *bytes;

	ASSERT(prepare() && build(&way, true, "damaged") == 0);
	bytes = read_whole(in_folder("damaged"), &size);
	ASSERT_NOT_NULL(bytes);
	for (int round = 0; round < 24; round++) {
		uint8_t *copy = malloc(size);
		struct asked asked;
		uint32_t layout;
		struct symbols_declaration declaration;
		struct symbols_site sites[4];

		ASSERT_NOT_NULL(copy);
		memcpy(copy, bytes, size);
		for (int i = 0; i < 40; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			/* beyond code and data, before the section headers: debug information */
			copy[0x3000 + (seed >> 20) % (size - 0x3000 - 4096)] = (uint8_t)(seed >> 50);
		}
		write_whole(in_folder("damaged"), copy, size);
		free(copy);
		ASSERT(ask(&asked, "damaged"));
		EXPECT(symbols_class_type(asked.symbols, asked.file, "net::Session", &asked.layouts, &layout) >= 0);
		for (uint64_t at = 0x1000; at < 0x1400; at += 16)
			EXPECT(symbols_site_types(asked.symbols, asked.file, at, &asked.layouts, sites, 4) >= 0);
		for (uint64_t at = 0x4000; at < 0x4200; at += 16)
			EXPECT(symbols_variable_type(asked.symbols, asked.file, at, &asked.layouts, &declaration) >= 0);
		done(&asked);
	}
	free(bytes);
}

static struct code decode(const char *hex, uint64_t addr)
{
	uint8_t bytes[16] = { 0 };
	struct code code = { 0 };
	size_t count = 0;
	unsigned byte;

	for (const char *p = hex; sscanf(p, "%2x", &byte) == 1 && count < sizeof(bytes); p += p[2] ? 3 : 2)
		bytes[count++] = (uint8_t)byte;
	EXPECT(code_decode(bytes, count, addr, &code));
	EXPECT_U64_EQ(code.bytes, count);
	return code;
}

TEST(instructions_are_as_long_as_the_assembler_made_them)
{
	struct code code = decode("48 89 45 f8", 0);		/* mov %rax,-8(%rbp) */

	EXPECT(code.act == CODE_STORE && code.source == CODE_RAX && code.base == CODE_RBP && code.displacement == -8);
	code = decode("49 89 c7", 0);				/* mov %rax,%r15 */
	EXPECT(code.act == CODE_MOVE && code.source == CODE_RAX && code.reg == 15 && code.changes == 1u << 15);
	code = decode("4a 89 44 e3 10", 0);			/* mov %rax,0x10(%rbx,%r12,8) */
	EXPECT(code.act == CODE_STORE && code.indexed && code.scale == 8 && code.base == CODE_RBX);
	code = decode("48 89 05 f2 e4 04 00", 0x15d09);		/* mov %rax,0x4e4f2(%rip) */
	EXPECT(code.base == CODE_RIP && (uint64_t)code.displacement == 0x15d09 + 7 + 0x4e4f2);
	code = decode("89 03", 0);				/* mov %eax,(%rbx): 4 bytes are no address */
	EXPECT(code.act == CODE_OTHER);
	code = decode("48 85 c0", 0);
	EXPECT(code.act == CODE_TEST && code.source == CODE_RAX);
	code = decode("74 10", 0x100);
	EXPECT(code.act == CODE_BRANCH && code.if_zero && code.target == 0x112);
	code = decode("e8 fb ff ff ff", 0x100);
	EXPECT(code.act == CODE_CALL && code.target == 0x100 && code.changes & 1u << CODE_RAX && !(code.changes & 1u << CODE_RBX));
	code = decode("f3 48 ab", 0);				/* rep stos */
	EXPECT(code.changes == (1u << CODE_RSI | 1u << CODE_RDI | 1u << CODE_RCX));
	code = decode("0f 11 00", 0);				/* movups %xmm0,(%rax) changes no address */
	EXPECT(code.act == CODE_OTHER && code.changes == 0);
	decode("c5 fb 10 44 24 08", 0);				/* vmovsd 8(%rsp),%xmm0 */
	decode("66 2e 0f 1f 84 00 00 00 00 00", 0);		/* nopw */
	decode("48 b8 01 02 03 04 05 06 07 08", 0);		/* movabs */
	EXPECT(!code_decode((const uint8_t *)"\x48\x89", 2, 0, &code));	/* cut off */
}

TEST_MAIN()
