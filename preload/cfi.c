/* SPDX-License-Identifier: Apache-2.0
 * L0  cfi.c - call frame information: search, decode and run it up to one address.
 *
 *   .eh_frame_hdr  sorted (first pc, FDE) pairs      binary search
 *   FDE            first pc, length, program  ---->  CIE: factors, encoding, initial program
 *   program        run up to the call         ---->  where CFA, rbp and the return address are
 *
 * (1) Only four columns matter: CFA, rbp, the return address and rsp; the rest is decoded to be
 *     skipped. rsp and the return address must have their standard places.
 * (2) Every byte is read through a reader that ends where the readable range ends. Tables are
 *     hostile: they can make the answer wrong, never make us fault or run for ever.
 * (3) Whatever is not understood is RULE_HARD with its reason. Guessing would be wrong silently. */
#include "preload/cfi.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define PAGE 4096u
#define HARD(reason) (RULE_HARD | (uint64_t)(reason) << 32)

#if defined(__x86_64__)

#define COLUMN_RBP 6
#define COLUMN_RSP 7
#define COLUMN_RA 16
#define REMEMBER_MAX 8

/* Pointer encodings, as the exception-handling supplement of the LSB names them. */
#define ENC_FORMAT 0x0f
#define ENC_APPLY 0x70
#define ENC_INDIRECT 0x80
#define ENC_OMIT 0xff
#define ENC_PCREL 0x10
#define ENC_DATAREL 0x30
#define ENC_SDATA4 0x0b

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

enum place {
	PLACE_SAME,			/* the register was not touched */
	PLACE_CFA,			/* saved at CFA + value */
	PLACE_AT_BP,			/* saved at rbp + value */
	PLACE_UNDEFINED,
	PLACE_OTHER,
};

enum cfa_base {
	BASE_NONE,
	BASE_SP,
	BASE_BP,
	BASE_AT_BP,			/* word at rbp + value */
	BASE_OTHER_REGISTER,
	BASE_EXPRESSION,
};

struct column {
	enum place place;
	int64_t value;
};

struct row {
	enum cfa_base base;
	int64_t distance;
	struct column bp, ra, sp;
};

struct cie {
	uint64_t code_align;
	int64_t data_align;
	uint8_t encoding;
	bool signal, sized;
	struct reader program;
};

static bool reader_open(const struct cfi_image *image, uint64_t addr, struct reader *ret)
{
	for (uint32_t i = 0; i < image->range_count; i++) {
		if (addr < image->ranges[i].start || addr >= image->ranges[i].end)
			continue;
		ret->at = (const uint8_t *)(uintptr_t)addr;
		ret->end = (const uint8_t *)(uintptr_t)image->ranges[i].end;
		ret->bad = false;
		return true;
	}
	return false;
}

static uint64_t read_fixed(struct reader *r, size_t bytes)
{
	uint64_t value = 0;

	if ((size_t)(r->end - r->at) < bytes) {
		r->bad = true;
		r->at = r->end;
		return 0;
	}
	memcpy(&value, r->at, bytes);
	r->at += bytes;
	return value;
}

static void skip(struct reader *r, uint64_t bytes)
{
	if ((uint64_t)(r->end - r->at) < bytes) {
		r->bad = true;
		r->at = r->end;
		return;
	}
	r->at += bytes;
}

static uint64_t read_uleb(struct reader *r)
{
	uint64_t value = 0;

	for (unsigned shift = 0;; shift += 7) {
		uint64_t byte = read_fixed(r, 1);

		if (shift < 64)
			value |= (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
}

static int64_t read_sleb(struct reader *r)
{
	uint64_t value = 0, byte;
	unsigned shift = 0;

	do {
		byte = read_fixed(r, 1);
		if (shift < 64)
			value |= (byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (shift < 64 && (byte & 0x40))
		value |= ~UINT64_C(0) << shift;
	return (int64_t)value;
}

/* base_data: what a data-relative pointer counts from. An indirect pointer's word is not followed,
 * since only personalities have them; omitted pointers read as 0. */
static uint64_t read_pointer(struct reader *r, uint8_t encoding, uint64_t base_data)
{
	uint64_t here = (uint64_t)(uintptr_t)r->at, value;

	if (encoding == ENC_OMIT)
		return 0;
	switch (encoding & ENC_FORMAT) {
	case 0x00: case 0x04: case 0x0c:
		value = read_fixed(r, 8);
		break;
	case 0x01:
		value = read_uleb(r);
		break;
	case 0x02:
		value = read_fixed(r, 2);
		break;
	case 0x03:
		value = read_fixed(r, 4);
		break;
	case 0x09:
		value = (uint64_t)read_sleb(r);
		break;
	case 0x0a:
		value = (uint64_t)(int64_t)(int16_t)read_fixed(r, 2);
		break;
	case 0x0b:
		value = (uint64_t)(int64_t)(int32_t)read_fixed(r, 4);
		break;
	default:
		r->bad = true;
		return 0;
	}
	switch (encoding & ENC_APPLY) {
	case 0x00:
		break;
	case ENC_PCREL:
		value += here;
		break;
	case ENC_DATAREL:
		value += base_data;
		break;
	default:
		r->bad = true;
	}
	return value;
}

/* Narrow a reader to the entry that begins there. Returns 1, 0 for the terminator, -1 if damaged. */
static int entry_open(struct reader *r, bool *ret_wide)
{
	uint64_t length = read_fixed(r, 4);

	*ret_wide = length == 0xffffffff;
	if (*ret_wide)
		length = read_fixed(r, 8);
	if (r->bad || length > (uint64_t)(r->end - r->at))
		return -1;
	r->end = r->at + length;
	return length ? 1 : 0;
}

static int cie_read(const struct cfi_image *image, uint64_t addr, struct cie *ret)
{
	struct reader r;
	const uint8_t *augmentation;
	uint64_t version, column;
	bool wide;

	if (!reader_open(image, addr, &r) || entry_open(&r, &wide) != 1)
		return CFI_DAMAGED;
	if (read_fixed(&r, wide ? 8 : 4) != 0)
		return CFI_DAMAGED;
	version = read_fixed(&r, 1);
	if (version != 1 && version != 3)
		return r.bad ? CFI_DAMAGED : CFI_UNKNOWN;
	augmentation = r.at;
	while (read_fixed(&r, 1) != 0 && !r.bad)
		;
	if (r.bad)
		return CFI_DAMAGED;

	memset(ret, 0, sizeof(*ret));
	ret->code_align = read_uleb(&r);
	ret->data_align = read_sleb(&r);
	column = version == 1 ? read_fixed(&r, 1) : read_uleb(&r);
	if (column != COLUMN_RA)
		return CFI_UNKNOWN;
	if (*augmentation == 'z') {
		uint64_t length = read_uleb(&r);
		struct reader data = r;

		skip(&r, length);
		if (r.bad)
			return CFI_DAMAGED;
		data.end = r.at;
		ret->sized = true;
		for (augmentation++; *augmentation; augmentation++) {
			if (*augmentation == 'R') {
				ret->encoding = (uint8_t)read_fixed(&data, 1);
			} else if (*augmentation == 'L') {
				skip(&data, 1);
			} else if (*augmentation == 'P') {
				uint8_t encoding = (uint8_t)read_fixed(&data, 1);

				if ((encoding & ENC_APPLY) == 0x50)	/* aligned */
					return CFI_UNKNOWN;
				read_pointer(&data, encoding & ENC_FORMAT, 0);
			} else if (*augmentation == 'S') {
				ret->signal = true;
			} else {
				return CFI_UNKNOWN;
			}
		}
		if (data.bad)
			return CFI_DAMAGED;
	} else if (*augmentation) {
		return CFI_UNKNOWN;
	}
	ret->program = r;
	return r.bad ? CFI_DAMAGED : -1;
}

/* The two expressions that compilers emit for a function that realigns its stack: "rbp + n" and
 * "word at rbp + n". Returns whether it is `rbp + n` followed by exactly `tail` (0: nothing). */
static bool expression_is(struct reader block, uint8_t tail, int64_t *ret_offset)
{
	if (read_fixed(&block, 1) != 0x76)		/* DW_OP_breg6 */
		return false;
	*ret_offset = read_sleb(&block);
	if (tail && read_fixed(&block, 1) != tail)
		return false;
	return !block.bad && block.at == block.end;
}

static struct reader read_block(struct reader *r)
{
	uint64_t length = read_uleb(r);
	struct reader block = *r;

	skip(r, length);
	block.end = r->at;
	block.bad = r->bad;
	return block;
}

static struct column *row_column(struct row *row, uint64_t column)
{
	switch (column) {
	case COLUMN_RBP:
		return &row->bp;
	case COLUMN_RSP:
		return &row->sp;
	case COLUMN_RA:
		return &row->ra;
	default:
		return NULL;
	}
}

static void row_set(struct row *row, uint64_t column, enum place place, int64_t value)
{
	struct column *c = row_column(row, column);

	if (c)
		*c = (struct column){ place, value };
}

static void row_restore(struct row *row, const struct row *initial, uint64_t column)
{
	struct row from = *initial;
	struct column *c = row_column(row, column);

	if (c)
		*c = *row_column(&from, column);
}

static void row_base(struct row *row, uint64_t column)
{
	row->base = column == COLUMN_RSP ? BASE_SP :
		    column == COLUMN_RBP ? BASE_BP : BASE_OTHER_REGISTER;
}

/* Run a program until it passes `target`. loc: first address that the row is valid for.
 * Returns -1, or the reason why not. */
static int program_run(struct reader r, const struct cie *cie, uint64_t loc, uint64_t target,
		       const struct row *initial, struct row *row)
{
	struct row remembered[REMEMBER_MAX];
	unsigned depth = 0;
	uint64_t column, advance;
	int64_t offset;
	struct reader block;

	while (r.at < r.end && !r.bad) {
		uint8_t op = (uint8_t)read_fixed(&r, 1), low = op & 0x3f;

		switch (op & 0xc0) {
		case 0x40:				/* advance_loc */
			advance = low;
			goto advance;
		case 0x80:				/* offset */
			row_set(row, low, PLACE_CFA, (int64_t)(read_uleb(&r) * (uint64_t)cie->data_align));
			continue;
		case 0xc0:				/* restore */
			row_restore(row, initial, low);
			continue;
		}
		switch (op) {
		case 0x00:				/* nop */
			continue;
		case 0x01:				/* set_loc */
			loc = read_pointer(&r, cie->encoding, 0);
			if (r.bad)
				return CFI_DAMAGED;
			if (loc > target)
				return -1;
			continue;
		case 0x02:
			advance = read_fixed(&r, 1);
			goto advance;
		case 0x03:
			advance = read_fixed(&r, 2);
			goto advance;
		case 0x04:
			advance = read_fixed(&r, 4);
			goto advance;
		case 0x05:				/* offset_extended */
			column = read_uleb(&r);
			row_set(row, column, PLACE_CFA, (int64_t)(read_uleb(&r) * (uint64_t)cie->data_align));
			continue;
		case 0x06:				/* restore_extended */
			row_restore(row, initial, read_uleb(&r));
			continue;
		case 0x07:
			row_set(row, read_uleb(&r), PLACE_UNDEFINED, 0);
			continue;
		case 0x08:
			row_set(row, read_uleb(&r), PLACE_SAME, 0);
			continue;
		case 0x09:				/* register */
			column = read_uleb(&r);
			read_uleb(&r);
			row_set(row, column, PLACE_OTHER, 0);
			continue;
		case 0x0a:
			if (depth == REMEMBER_MAX)
				return CFI_UNKNOWN;
			remembered[depth++] = *row;
			continue;
		case 0x0b:
			if (!depth)
				return CFI_DAMAGED;
			*row = remembered[--depth];
			continue;
		case 0x0c:				/* def_cfa */
			row_base(row, read_uleb(&r));
			row->distance = (int64_t)read_uleb(&r);
			continue;
		case 0x0d:				/* def_cfa_register */
			row_base(row, read_uleb(&r));
			continue;
		case 0x0e:				/* def_cfa_offset */
			row->distance = (int64_t)read_uleb(&r);
			continue;
		case 0x0f:				/* def_cfa_expression */
			block = read_block(&r);
			row->base = BASE_EXPRESSION;
			if (expression_is(block, 0x06, &offset)) {
				row->base = BASE_AT_BP;
				row->distance = offset;
			}
			continue;
		case 0x10:				/* expression */
			column = read_uleb(&r);
			block = read_block(&r);
			if (expression_is(block, 0, &offset))
				row_set(row, column, PLACE_AT_BP, offset);
			else
				row_set(row, column, PLACE_OTHER, 0);
			continue;
		case 0x11:				/* offset_extended_sf */
			column = read_uleb(&r);
			offset = read_sleb(&r);
			row_set(row, column, PLACE_CFA, (int64_t)((uint64_t)offset * (uint64_t)cie->data_align));
			continue;
		case 0x12:				/* def_cfa_sf */
			row_base(row, read_uleb(&r));
			row->distance = (int64_t)((uint64_t)read_sleb(&r) * (uint64_t)cie->data_align);
			continue;
		case 0x13:				/* def_cfa_offset_sf */
			row->distance = (int64_t)((uint64_t)read_sleb(&r) * (uint64_t)cie->data_align);
			continue;
		case 0x14:				/* val_offset */
			column = read_uleb(&r);
			read_uleb(&r);
			row_set(row, column, PLACE_OTHER, 0);
			continue;
		case 0x15:				/* val_offset_sf */
			column = read_uleb(&r);
			read_sleb(&r);
			row_set(row, column, PLACE_OTHER, 0);
			continue;
		case 0x16:				/* val_expression */
			column = read_uleb(&r);
			read_block(&r);
			row_set(row, column, PLACE_OTHER, 0);
			continue;
		case 0x2e:				/* GNU_args_size: of no use to an unwinder */
			read_uleb(&r);
			continue;
		case 0x2f:				/* GNU_negative_offset_extended */
			column = read_uleb(&r);
			offset = -(int64_t)read_uleb(&r);
			row_set(row, column, PLACE_CFA, (int64_t)((uint64_t)offset * (uint64_t)cie->data_align));
			continue;
		default:
			return CFI_UNKNOWN;
		}
	advance:
		loc += advance * cie->code_align;
		if (loc > target && !r.bad)
			return -1;
	}
	return r.bad ? CFI_DAMAGED : -1;
}

static uint64_t row_rule(const struct row *row)
{
	uint64_t cfa, bp = RULE_BP_SAME;
	int64_t bp_offset = -8;		/* nothing saved: any word of the frame will do */

	if (row->ra.place == PLACE_UNDEFINED)
		return RULE_END;
	if (row->base == BASE_EXPRESSION || row->base == BASE_NONE)
		return HARD(CFI_CFA_EXPRESSION);
	if (row->base == BASE_OTHER_REGISTER)
		return HARD(CFI_CFA_REGISTER);
	if (row->ra.place != PLACE_CFA || row->ra.value != -8)
		return HARD(CFI_RA_RULE);
	if (row->sp.place != PLACE_SAME)
		return HARD(CFI_SP_RULE);
	switch (row->bp.place) {
	case PLACE_SAME:
		break;
	case PLACE_CFA:
		bp = RULE_BP_AT_CFA;
		bp_offset = row->bp.value;
		break;
	case PLACE_AT_BP:
		bp = RULE_BP_AT_BP;
		bp_offset = row->bp.value;
		break;
	case PLACE_UNDEFINED:
		bp = RULE_BP_LOST;
		break;
	case PLACE_OTHER:
		return HARD(CFI_BP_RULE);
	}
	if (row->distance != (int32_t)row->distance || bp_offset % 8 != 0 ||
	    bp_offset / 8 != (int16_t)(bp_offset / 8))
		return HARD(CFI_RANGE);
	cfa = row->base == BASE_SP ? RULE_CFA_SP : row->base == BASE_BP ? RULE_CFA_BP : RULE_CFA_AT_BP;
	return RULE_STEP | cfa << 2 | bp << 4 | (uint64_t)(uint16_t)(bp_offset / 8) << 16 |
	       (uint64_t)(uint32_t)row->distance << 32;
}

/* Address of the FDE whose first pc is the last one <= pc, or 0 with a reason. */
static uint64_t table_search(const struct cfi_image *image, uint64_t pc, int *ret_reason)
{
	struct reader r;
	uint64_t hdr = image->eh_frame_hdr, count, low = 0, high;
	uint8_t encoding_frame, encoding_count, encoding_table;
	const uint8_t *table;
	int32_t entry[2];

	*ret_reason = CFI_NO_TABLE;
	if (!hdr || !reader_open(image, hdr, &r) || read_fixed(&r, 1) != 1)
		return 0;
	encoding_frame = (uint8_t)read_fixed(&r, 1);
	encoding_count = (uint8_t)read_fixed(&r, 1);
	encoding_table = (uint8_t)read_fixed(&r, 1);
	if (r.bad || encoding_count == ENC_OMIT || encoding_table != (ENC_DATAREL | ENC_SDATA4))
		return 0;
	read_pointer(&r, encoding_frame, hdr);
	count = read_pointer(&r, encoding_count, hdr);
	if (r.bad || !count)
		return 0;
	*ret_reason = CFI_DAMAGED;
	if (count > (uint64_t)(r.end - r.at) / sizeof(entry))
		return 0;

	/* Invariant: entries below low begin at or before pc, entries from high on begin after it. */
	table = r.at;
	high = count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		memcpy(entry, table + middle * sizeof(entry), sizeof(entry));
		if (hdr + (uint64_t)(int64_t)entry[0] <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_reason = CFI_NO_FDE;
	if (!low)
		return 0;
	memcpy(entry, table + (low - 1) * sizeof(entry), sizeof(entry));
	return hdr + (uint64_t)(int64_t)entry[1];
}

uint64_t ld__cfi_rule(const struct cfi_image *image, uint64_t pc)
{
	struct reader r;
	struct cie cie;
	struct row initial = { 0 }, row;
	uint64_t fde, id_at, id, first, length, target = pc - 1;
	bool wide;
	int reason;

	fde = table_search(image, target, &reason);
	if (!fde)
		return HARD(reason);
	if (!reader_open(image, fde, &r) || entry_open(&r, &wide) != 1)
		return HARD(CFI_DAMAGED);
	id_at = (uint64_t)(uintptr_t)r.at;
	id = read_fixed(&r, wide ? 8 : 4);
	if (r.bad || id == 0)
		return HARD(CFI_DAMAGED);
	reason = cie_read(image, id_at - id, &cie);
	if (reason >= 0)
		return HARD(reason);
	if (cie.signal)
		return HARD(CFI_SIGNAL);
	if (cie.encoding & ENC_INDIRECT)
		return HARD(CFI_UNKNOWN);

	first = read_pointer(&r, cie.encoding, image->eh_frame_hdr);
	length = read_pointer(&r, cie.encoding & ENC_FORMAT, 0);
	if (cie.sized)
		skip(&r, read_uleb(&r));
	if (r.bad)
		return HARD(CFI_DAMAGED);
	if (target < first || target - first >= length)
		return HARD(CFI_NO_FDE);

	reason = program_run(cie.program, &cie, 0, UINT64_MAX, &initial, &initial);
	if (reason >= 0)
		return HARD(reason);
	row = initial;
	reason = program_run(r, &cie, first, target, &initial, &row);
	return reason >= 0 ? HARD(reason) : row_rule(&row);
}

#else

uint64_t ld__cfi_rule(const struct cfi_image *image, uint64_t pc)
{
	(void)image;
	(void)pc;
	return HARD(CFI_UNKNOWN);
}

#endif

const struct cfi_header *ld__cfi_headers(uint64_t start, uint32_t *ret_count)
{
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)(uintptr_t)start;

	if (start % PAGE || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
	    elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_phentsize != sizeof(Elf64_Phdr) ||
	    elf->e_phoff > PAGE || elf->e_phoff + elf->e_phnum * sizeof(Elf64_Phdr) > PAGE ||
	    elf->e_phoff % 8 != 0)
		return NULL;
	*ret_count = elf->e_phnum;
	return (const struct cfi_header *)(uintptr_t)(start + elf->e_phoff);
}

void ld__cfi_image(const struct cfi_header *headers, uint32_t count, uint64_t bias,
		   struct cfi_image *ret_image)
{
	const Elf64_Phdr *h = (const Elf64_Phdr *)(const void *)headers;

	ret_image->eh_frame_hdr = 0;
	ret_image->range_count = 0;
	for (; count-- > 0; h++) {
		uint64_t low = bias + h->p_vaddr,
			 bytes = h->p_filesz < h->p_memsz ? h->p_filesz : h->p_memsz;

		if (low + bytes < low)
			continue;
		if (h->p_type == PT_GNU_EH_FRAME)
			ret_image->eh_frame_hdr = low;
		if (h->p_type == PT_LOAD && (h->p_flags & PF_R) &&
		    ret_image->range_count < CFI_RANGES_MAX) {
			ret_image->ranges[ret_image->range_count].start = low;
			ret_image->ranges[ret_image->range_count++].end = low + bytes;
		}
	}
}
