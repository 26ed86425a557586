/* SPDX-License-Identifier: Apache-2.0
 * test_cfi.c - rules out of call frame information, against an independent reader (libdw) on every
 * row of the libraries loaded here, and against damage.
 *
 * libdw is opened at run time and only asked questions. With file names as arguments, the program
 * compares those files instead and prints how many rows ended in which kind of rule. */
#include <cfi.h>

#include <dlfcn.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

struct oracle {
	void *library;
	Dwarf_CFI *(*getcfi_elf)(Elf *);
	int (*addrframe)(Dwarf_CFI *, Dwarf_Addr, Dwarf_Frame **);
	int (*cfa)(Dwarf_Frame *, Dwarf_Op **, size_t *);
	int (*reg)(Dwarf_Frame *, int, Dwarf_Op *, Dwarf_Op **, size_t *);
	int (*info)(Dwarf_Frame *, Dwarf_Addr *, Dwarf_Addr *, bool *);
	void *elf_library;
	Elf *(*begin)(int, Elf_Cmd, Elf *);
	unsigned (*version)(unsigned);
	int (*end)(Elf *);
};

struct tally {
	uint64_t rows, wrong, hard[CFI_REASON_COUNT], steps, ends, none;
};

static bool oracle_open(struct oracle *o)
{
	o->library = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
	o->elf_library = dlopen("libelf.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!o->library || !o->elf_library)
		return false;
	o->getcfi_elf = (Dwarf_CFI *(*)(Elf *))dlsym(o->library, "dwarf_getcfi_elf");
	o->addrframe = (int (*)(Dwarf_CFI *, Dwarf_Addr, Dwarf_Frame **))dlsym(o->library, "dwarf_cfi_addrframe");
	o->cfa = (int (*)(Dwarf_Frame *, Dwarf_Op **, size_t *))dlsym(o->library, "dwarf_frame_cfa");
	o->reg = (int (*)(Dwarf_Frame *, int, Dwarf_Op *, Dwarf_Op **, size_t *))dlsym(o->library,
											"dwarf_frame_register");
	o->info = (int (*)(Dwarf_Frame *, Dwarf_Addr *, Dwarf_Addr *, bool *))dlsym(o->library, "dwarf_frame_info");
	o->begin = (Elf *(*)(int, Elf_Cmd, Elf *))dlsym(o->elf_library, "elf_begin");
	o->version = (unsigned (*)(unsigned))dlsym(o->elf_library, "elf_version");
	o->end = (int (*)(Elf *))dlsym(o->elf_library, "elf_end");
	return o->getcfi_elf && o->addrframe && o->cfa && o->reg && o->info && o->begin && o->version;
}

/* What libdw says about one row, in the terms of a rule: RULE_HARD with reason 0 when the row is not
 * of the shape that rules express. */
static uint64_t oracle_rule(const struct oracle *o, Dwarf_Frame *frame, bool signal)
{
	Dwarf_Op memory[3], *ops;
	size_t count;
	uint64_t cfa, bp = RULE_BP_SAME;
	int64_t distance, offset = -8;

	if (signal)
		return RULE_HARD;
	if (o->reg(frame, 16, memory, &ops, &count) != 0)
		return RULE_HARD;
	if (count == 0 && ops == memory)
		return RULE_END;
	/* A register saved at CFA + n reads "call_frame_cfa; plus_uconst n". */
	if (count != 2 || ops[0].atom != 0x9c || ops[1].atom != 0x23 || (int64_t)ops[1].number != -8)
		return RULE_HARD;
	if (o->cfa(frame, &ops, &count) != 0)
		return RULE_HARD;
	if (count == 1 && ops[0].atom == 0x92 && (ops[0].number == 7 || ops[0].number == 6)) {
		cfa = ops[0].number == 7 ? RULE_CFA_SP : RULE_CFA_BP;
		distance = (int64_t)ops[0].number2;
	} else if (count == 1 && (ops[0].atom == 0x77 || ops[0].atom == 0x76)) {
		cfa = ops[0].atom == 0x77 ? RULE_CFA_SP : RULE_CFA_BP;
		distance = (int64_t)ops[0].number;
	} else if (count == 2 && ops[0].atom == 0x76 && ops[1].atom == 0x06) {
		cfa = RULE_CFA_AT_BP;
		distance = (int64_t)ops[0].number;
	} else {
		return RULE_HARD;
	}
	if (o->reg(frame, 6, memory, &ops, &count) != 0)
		return RULE_HARD;
	if (count == 0 && ops == NULL) {
		bp = RULE_BP_SAME;
	} else if (count == 0) {
		bp = RULE_BP_LOST;
	} else if (count <= 2 && ops[0].atom == 0x9c && (count == 1 || ops[1].atom == 0x23)) {
		bp = RULE_BP_AT_CFA;
		offset = count == 1 ? 0 : (int64_t)ops[1].number;
	} else if (count == 2 && ops[0].atom == 0x9c && ops[1].atom == 0x76) {
		/* An expression starts with the CFA on its stack, which this one leaves there. */
		bp = RULE_BP_AT_BP;
		offset = (int64_t)ops[1].number;
	} else {
		return RULE_HARD;
	}
	return RULE_STEP | cfa << 2 | bp << 4 | (uint64_t)(uint16_t)(offset / 8) << 16 |
	       (uint64_t)(uint32_t)distance << 32;
}

static void compare_row(const struct oracle *o, const struct cfi_image *image, uint64_t bias, uint64_t addr,
			Dwarf_Frame *frame, bool signal, const char *name, struct tally *tally)
{
	uint64_t expected = oracle_rule(o, frame, signal), rule = ld__cfi_rule(image, bias + addr + 1);
	bool same = RULE_KIND(rule) == RULE_HARD ? expected == RULE_HARD : rule == expected;

	tally->rows++;
	if (RULE_KIND(rule) == RULE_HARD)
		tally->hard[RULE_REASON(rule)]++;
	else if (RULE_KIND(rule) == RULE_END)
		tally->ends++;
	else
		tally->steps++;
	if (same)
		return;
	if (tally->wrong++ < 5)
		fprintf(stderr, "%s+0x%" PRIx64 ": rule %016" PRIx64 ", libdw %016" PRIx64 "\n", name, addr, rule,
			expected);
}

/* Every row of every FDE in the search table of a module mapped at `bias`. */
static void compare_module(const struct oracle *o, const struct cfi_image *image, uint64_t bias, const char *file,
			   struct tally *tally)
{
	const uint8_t *hdr = (const uint8_t *)(uintptr_t)image->eh_frame_hdr;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	Elf *elf;
	Dwarf_CFI *cfi;
	uint32_t count;

	if (fd < 0 || !hdr)
		return;
	o->version(EV_CURRENT);
	elf = o->begin(fd, ELF_C_READ_MMAP, NULL);
	cfi = elf ? o->getcfi_elf(elf) : NULL;
	memcpy(&count, hdr + 8, sizeof(count));
	for (uint32_t i = 0; cfi && i < count; i++) {
		int32_t first;
		Dwarf_Addr at, start, end;
		Dwarf_Frame *frame;
		bool signal;

		memcpy(&first, hdr + 12 + 8 * (size_t)i, sizeof(first));
		at = image->eh_frame_hdr + (uint64_t)(int64_t)first - bias;
		while (o->addrframe(cfi, at, &frame) == 0) {
			o->info(frame, &start, &end, &signal);
			compare_row(o, image, bias, at, frame, signal, file, tally);
			if (end - 1 > at)
				compare_row(o, image, bias, end - 1, frame, signal, file, tally);
			free(frame);
			if (end <= at)
				break;
			at = end;
			/* The next row, unless the next function begins here. */
			if (i + 1 < count) {
				int32_t next;

				memcpy(&next, hdr + 12 + 8 * (size_t)(i + 1), sizeof(next));
				if (image->eh_frame_hdr + (uint64_t)(int64_t)next - bias <= at)
					break;
			}
		}
	}
	if (elf)
		o->end(elf);
	close(fd);
}

static void image_of(struct dl_phdr_info *info, struct cfi_image *ret)
{
	ld__cfi_image((const struct cfi_header *)info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, ret);
}

struct visit {
	struct oracle *oracle;
	struct tally tally;
	int modules;
};

static int visit_module(struct dl_phdr_info *info, size_t size, void *data)
{
	struct visit *visit = data;
	struct cfi_image image;
	const char *file = info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";

	(void)size;
	if (strstr(info->dlpi_name, "vdso"))
		return 0;
	image_of(info, &image);
	visit->modules++;
	compare_module(visit->oracle, &image, info->dlpi_addr, file, &visit->tally);
	return 0;
}

static void tally_print(const char *name, const struct tally *tally)
{
	static const char *const reasons[] = {
#define X(reason, text) #reason,
		CFI_REASONS(X)
#undef X
	};

	printf("%s: %" PRIu64 " rows, %" PRIu64 " steps, %" PRIu64 " ends, wrong %" PRIu64, name, tally->rows,
	       tally->steps, tally->ends, tally->wrong);
	for (int i = 0; i < CFI_REASON_COUNT; i++)
		if (tally->hard[i])
			printf(", %s %" PRIu64, reasons[i], tally->hard[i]);
	printf("\n");
}

TEST(every_row_of_the_loaded_libraries_agrees_with_libdw)
{
	struct oracle oracle;
	struct visit visit = { .oracle = &oracle };

	if (!oracle_open(&oracle)) {
		printf("skipped: libdw cannot be opened\n");
		return;
	}
	dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
	dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);	/* hand-written assembly, if it is installed */
	dl_iterate_phdr(visit_module, &visit);
	tally_print("loaded libraries", &visit.tally);
	EXPECT_TRUE(visit.modules >= 4);
	EXPECT_TRUE(visit.tally.rows > 20000);
	EXPECT_TRUE(visit.tally.steps > visit.tally.rows * 9 / 10);
	EXPECT_TRUE(visit.tally.ends > 0);
	EXPECT_U64_EQ(visit.tally.wrong, 0);
}

/* A module of our own making: header, table, one CIE and one FDE in front of nothing. */
struct fake {
	uint8_t *memory;		/* one page between two that cannot be touched */
	struct cfi_image image;
	uint64_t function;
};
#define FAKE_FUNCTION_BYTES 256
#define FAKE_EH_FRAME 64

static void put32(uint8_t *at, uint64_t value)
{
	uint32_t v = (uint32_t)value;

	memcpy(at, &v, sizeof(v));
}

static void fake_make(struct fake *fake, const char *augmentation, const uint8_t *program, size_t bytes)
{
	uint8_t *base = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at;
	size_t length = strlen(augmentation) + 1;
	uint64_t cie, fde;

	mprotect(base + 4096, 4096, PROT_READ | PROT_WRITE);
	fake->memory = at = base + 4096;
	fake->function = (uint64_t)(uintptr_t)at + 0x10000;
	fake->image = (struct cfi_image){ .eh_frame_hdr = (uint64_t)(uintptr_t)at, .range_count = 1 };
	fake->image.ranges[0].start = (uint64_t)(uintptr_t)at;
	fake->image.ranges[0].end = (uint64_t)(uintptr_t)at + 4096;

	at += FAKE_EH_FRAME;
	cie = (uint64_t)(uintptr_t)at;
	put32(at + 4, 0);
	at[8] = 1;
	memcpy(at + 9, augmentation, length);
	at += 9 + length;
	*at++ = 1;			/* code alignment */
	*at++ = 0x78;			/* data alignment -8 */
	*at++ = 16;			/* return address column */
	if (augmentation[0] == 'z') {
		*at++ = 1;
		*at++ = 0x1b;		/* pc-relative, 4 bytes signed */
	}
	memcpy(at, (uint8_t[]){ 0x0c, 7, 8, 0x90, 1, 0, 0, 0 }, 8);
	at += 8;
	put32((uint8_t *)(uintptr_t)cie, (uint64_t)(uintptr_t)at - cie - 4);

	fde = (uint64_t)(uintptr_t)at;
	put32(at + 4, fde + 4 - cie);
	put32(at + 8, fake->function - (fde + 8));
	put32(at + 12, FAKE_FUNCTION_BYTES);
	at += 16;
	*at++ = 0;
	memcpy(at, program, bytes);
	at += bytes;
	put32((uint8_t *)(uintptr_t)fde, (uint64_t)(uintptr_t)at - fde - 4);

	memcpy(fake->memory, (uint8_t[]){ 1, 0x1b, 0x03, 0x3b }, 4);
	put32(fake->memory + 4, FAKE_EH_FRAME - 4);
	put32(fake->memory + 8, 1);
	put32(fake->memory + 12, fake->function - fake->image.eh_frame_hdr);
	put32(fake->memory + 16, fde - fake->image.eh_frame_hdr);
}

static void fake_done(struct fake *fake)
{
	munmap(fake->memory - 4096, 3 * 4096);
}

static uint64_t rule_of(const char *augmentation, const uint8_t *program, size_t bytes, uint64_t offset)
{
	struct fake fake;
	uint64_t rule;

	fake_make(&fake, augmentation, program, bytes);
	rule = ld__cfi_rule(&fake.image, fake.function + offset);
	fake_done(&fake);
	return rule;
}

#define RULE_OF(offset, ...)                                                                        \
	({ const uint8_t program_[] = { __VA_ARGS__ }; rule_of("zR", program_, sizeof(program_), offset); })
#define EXPECT_STEP(rule_, cfa_, distance_, bp_, offset_)                                           \
	({ uint64_t r_ = (rule_); EXPECT_U64_EQ(RULE_KIND(r_), RULE_STEP);                          \
	   EXPECT_U64_EQ(RULE_CFA(r_), cfa_); EXPECT_INT_EQ(RULE_CFA_DISTANCE(r_), distance_);      \
	   EXPECT_U64_EQ(RULE_BP(r_), bp_); EXPECT_INT_EQ(RULE_BP_OFFSET(r_), offset_); })
#define EXPECT_HARD(rule_, reason_)                                                                 \
	({ uint64_t r_ = (rule_); EXPECT_U64_EQ(RULE_KIND(r_), RULE_HARD);                          \
	   EXPECT_U64_EQ(RULE_REASON(r_), reason_); })

TEST(a_frame_pointer_prologue_has_three_rows)
{
#define PROLOGUE 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6
	EXPECT_STEP(RULE_OF(1, PROLOGUE), RULE_CFA_SP, 8, RULE_BP_SAME, -8);
	EXPECT_STEP(RULE_OF(2, PROLOGUE), RULE_CFA_SP, 16, RULE_BP_AT_CFA, -16);
	EXPECT_STEP(RULE_OF(5, PROLOGUE), RULE_CFA_BP, 16, RULE_BP_AT_CFA, -16);
	EXPECT_STEP(RULE_OF(FAKE_FUNCTION_BYTES, PROLOGUE), RULE_CFA_BP, 16, RULE_BP_AT_CFA, -16);
}

TEST(the_call_before_the_return_address_decides)
{
	/* A call that is the function's last instruction returns to the next function. */
	EXPECT_STEP(RULE_OF(FAKE_FUNCTION_BYTES, 0x0e, 32), RULE_CFA_SP, 32, RULE_BP_SAME, -8);
	EXPECT_HARD(RULE_OF(FAKE_FUNCTION_BYTES + 1, 0x0e, 32), CFI_NO_FDE);
	EXPECT_HARD(RULE_OF(0, 0x0e, 32), CFI_NO_FDE);
}

TEST(remembered_rows_come_back)
{
	EXPECT_STEP(RULE_OF(2, 0x0a, 0x41, 0x0e, 64, 0x41, 0x0b), RULE_CFA_SP, 64, RULE_BP_SAME, -8);
	EXPECT_STEP(RULE_OF(3, 0x0a, 0x41, 0x0e, 64, 0x41, 0x0b), RULE_CFA_SP, 8, RULE_BP_SAME, -8);
	EXPECT_HARD(RULE_OF(3, 0x0b), CFI_DAMAGED);
}

TEST(a_realigned_frame_is_a_word_at_rbp)
{
	/* def_cfa_expression { breg6 -8; deref }, expression rbp { breg6 0 } */
	EXPECT_STEP(RULE_OF(1, 0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0), RULE_CFA_AT_BP, -8,
		    RULE_BP_AT_BP, 0);
	EXPECT_HARD(RULE_OF(1, 0x0f, 4, 0x76, 0x78, 0x06, 0x96), CFI_CFA_EXPRESSION);
	EXPECT_HARD(RULE_OF(1, 0x0f, 3, 0x77, 0x78, 0x06), CFI_CFA_EXPRESSION);
	EXPECT_HARD(RULE_OF(1, 0x0c, 10, 0), CFI_CFA_REGISTER);
	EXPECT_HARD(RULE_OF(1, 0x0d, 3), CFI_CFA_REGISTER);
}

TEST(an_undefined_return_address_is_the_end)
{
	EXPECT_U64_EQ(RULE_OF(1, 0x07, 16), RULE_END);
}

TEST(what_a_rule_cannot_say_is_hard)
{
	const uint8_t nothing[] = { 0 };

	EXPECT_HARD(RULE_OF(1, 0x90, 2), CFI_RA_RULE);
	EXPECT_HARD(RULE_OF(1, 0x08, 16), CFI_RA_RULE);
	EXPECT_HARD(RULE_OF(1, 0x14, 7, 2), CFI_SP_RULE);
	EXPECT_HARD(RULE_OF(1, 0x87, 2), CFI_SP_RULE);
	EXPECT_HARD(RULE_OF(1, 0x09, 6, 3), CFI_BP_RULE);
	EXPECT_STEP(RULE_OF(1, 0x07, 6), RULE_CFA_SP, 8, RULE_BP_LOST, -8);
	EXPECT_HARD(RULE_OF(1, 0x0e, 0xff, 0xff, 0xff, 0xff, 0x7f), CFI_RANGE);
	EXPECT_HARD(RULE_OF(1, 0x3f), CFI_UNKNOWN);
	EXPECT_HARD(rule_of("zRS", nothing, 1, 1), CFI_SIGNAL);
	EXPECT_HARD(rule_of("zRx", nothing, 1, 1), CFI_UNKNOWN);
}

TEST(a_module_without_a_table_is_hard)
{
	struct cfi_image image = { 0 };

	EXPECT_HARD(ld__cfi_rule(&image, 0x1000), CFI_NO_TABLE);
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

TEST(damaged_tables_never_fault)
{
	const uint8_t program[] = { 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x0a, 0x0f, 3, 0x76, 0x78, 0x06, 0x0b };
	struct fake fake;
	uint8_t whole[4096];
	uint64_t kinds[4] = { 0 };

	fake_make(&fake, "zR", program, sizeof(program));
	memcpy(whole, fake.memory, sizeof(whole));
	for (int i = 0; i < 400000; i++) {
		/* Leave the magic alone most of the time, or nothing behind it is ever read. */
		size_t from = random_next() % 8 ? 4 : 0, span = random_next() % 4 ? 160 : 4096;

		memcpy(fake.memory, whole, sizeof(whole));
		for (uint64_t n = random_next() % 6; n != UINT64_MAX; n--)
			fake.memory[from + random_next() % (span - from)] = (uint8_t)random_next();
		if (random_next() % 4 == 0)
			memset(fake.memory + from + random_next() % 128, 0xff, random_next() % 3000);
		fake.image.ranges[0].end = (uint64_t)(uintptr_t)fake.memory + (random_next() % 2 ? 4096 :
						random_next() % 4096);
		kinds[RULE_KIND(ld__cfi_rule(&fake.image, fake.function + random_next() % 300))]++;
	}
	fake_done(&fake);
	EXPECT_U64_EQ(kinds[RULE_NONE], 0);
	EXPECT_TRUE(kinds[RULE_STEP] > 10000);
	EXPECT_TRUE(kinds[RULE_HARD] > 10000);
}

/* Real tables, copied between two forbidden pages and then damaged. */
static int damage_module(struct dl_phdr_info *info, size_t size, void *data)
{
	struct cfi_image image, copy = { 0 };
	uint64_t *ret_calls = data;

	(void)size;
	if (!strstr(info->dlpi_name, "libc.so"))
		return 0;
	image_of(info, &image);
	for (uint32_t i = 0; i < image.range_count; i++) {
		uint64_t start = image.ranges[i].start, bytes = image.ranges[i].end - start;
		uint64_t pages = (bytes + 4095) & ~UINT64_C(4095);
		const uint8_t *hdr;
		uint8_t *base;
		uint32_t count;

		if (image.eh_frame_hdr < start || image.eh_frame_hdr >= image.ranges[i].end)
			continue;
		base = mmap(NULL, pages + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mprotect(base + 4096, pages, PROT_READ | PROT_WRITE);
		base += 4096 + pages - bytes;
		memcpy(base, (const void *)(uintptr_t)start, bytes);
		copy.eh_frame_hdr = (uint64_t)(uintptr_t)base + (image.eh_frame_hdr - start);
		copy.range_count = 1;
		copy.ranges[0].start = (uint64_t)(uintptr_t)base;
		copy.ranges[0].end = copy.ranges[0].start + bytes;
		hdr = (const uint8_t *)(uintptr_t)image.eh_frame_hdr;
		memcpy(&count, hdr + 8, sizeof(count));
		for (int n = 0; n < 300000; n++) {
			int32_t entry[2];
			uint8_t *at, old;

			memcpy(entry, hdr + 12 + 8 * (random_next() % count), sizeof(entry));
			at = (uint8_t *)(uintptr_t)copy.eh_frame_hdr + entry[1] + random_next() % 32;
			if (at >= base + bytes)
				continue;
			old = *at;
			*at = (uint8_t)random_next();
			ld__cfi_rule(&copy, copy.eh_frame_hdr + (uint64_t)(int64_t)entry[0] + 1 + random_next() % 64);
			if (random_next() % 16)
				*at = old;
			++*ret_calls;
		}
	}
	return 1;
}

TEST(damage_to_real_tables_never_faults)
{
	uint64_t calls = 0;

	dl_iterate_phdr(damage_module, &calls);
	EXPECT_TRUE(calls > 100000);
}

__attribute__((constructor)) static void compare_files_given(int argc, char **argv)
{
	struct oracle oracle;

	if (argc < 3 || strcmp(argv[1], "--files") != 0)
		return;
	if (!oracle_open(&oracle))
		exit(77);
	for (int i = 2; i < argc; i++) {
		struct tally tally = { 0 };
		struct cfi_image image = { 0 };
		struct stat { int unused; };
		int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		off_t bytes = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
		uint8_t *file = bytes > 0 ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
		const Elf64_Ehdr *elf = (const void *)file;
		uint64_t bias = 0;

		if (file == MAP_FAILED)
			continue;
		/* The tables' segment as the file has it; addresses then count from there. */
		for (int p = 0; p < elf->e_phnum; p++) {
			const Elf64_Phdr *h = (const void *)(file + elf->e_phoff + (size_t)p * sizeof(*h));

			if (h->p_type == PT_GNU_EH_FRAME) {
				image.eh_frame_hdr = (uint64_t)(uintptr_t)file + h->p_offset;
				bias = image.eh_frame_hdr - h->p_vaddr;
			}
		}
		image.range_count = 1;
		image.ranges[0].start = (uint64_t)(uintptr_t)file;
		image.ranges[0].end = (uint64_t)(uintptr_t)file + (uint64_t)bytes;
		compare_module(&oracle, &image, bias, argv[i], &tally);
		tally_print(argv[i], &tally);
		munmap(file, (size_t)bytes);
		close(fd);
	}
	exit(0);
}

TEST_MAIN()
