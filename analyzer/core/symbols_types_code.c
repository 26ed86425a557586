/* SPDX-License-Identifier: Apache-2.0
 * L1  symbols_types_code.c - one x86-64 instruction: what it does to addresses in general registers.
 *
 *   prefixes, REX | opcode (one byte, 0f, 0f 38, 0f 3a, VEX, EVEX) | ModRM, SIB, displacement | immediate
 *
 * The length must be right, whatever the instruction is, since the next one begins there; what it does has to
 * be known only of moves of 8 bytes, lea, add, test, jumps, calls and returns. */
#include "core/symbols_types_code.h"

#include <string.h>

struct decoder {
	const uint8_t *at, *end;
	bool bad;
	bool rex, wide, narrow, repeat;	/* any REX, REX.W, 66, f3 or f2 */
	bool segment;
	uint8_t reg_high, index_high, base_high;
	bool has_modrm, memory;
	uint8_t reg, rm;		/* of ModRM, as machine numbers */
};

static unsigned byte_of(struct decoder *decoder)
{
	if (decoder->at < decoder->end)
		return *decoder->at++;
	decoder->bad = true;
	return 0;
}

static int64_t number_of(struct decoder *decoder, unsigned bytes)
{
	int64_t value = 0;

	if ((size_t)(decoder->end - decoder->at) < bytes) {
		decoder->bad = true;
		return 0;
	}
	memcpy(&value, decoder->at, bytes);
	decoder->at += bytes;
	if (bytes > 0 && bytes < 8)
		value = (int64_t)((uint64_t)value << (64 - bytes * 8)) >> (64 - bytes * 8);
	return value;
}

/* DWARF's number of a machine register. */
static uint8_t dwarf_number(unsigned machine)
{
	static const uint8_t numbers[8] = { CODE_RAX, CODE_RCX, CODE_RDX, CODE_RBX,
					    CODE_RSP, CODE_RBP, CODE_RSI, CODE_RDI };

	return (uint8_t)(machine < 8 ? numbers[machine] : machine);
}

static uint32_t bit(unsigned machine)
{
	return 1u << dwarf_number(machine);
}

static void read_modrm(struct decoder *decoder, struct code *code)
{
	unsigned modrm = byte_of(decoder), mod = modrm >> 6, rm = modrm & 7;

	decoder->has_modrm = true;
	decoder->reg = (uint8_t)((modrm >> 3 & 7) | decoder->reg_high);
	decoder->rm = (uint8_t)(rm | decoder->base_high);
	decoder->memory = mod != 3;
	code->base = CODE_NO_REGISTER;
	if (!decoder->memory)
		return;
	if (rm == 4) {
		unsigned sib = byte_of(decoder), index = (sib >> 3 & 7) | decoder->index_high;

		code->indexed = index != 4;
		code->index = dwarf_number(index);
		code->scale = (uint8_t)(1u << (sib >> 6));
		if ((sib & 7) != 5 || mod != 0)
			code->base = dwarf_number((sib & 7) | decoder->base_high);
		else
			mod = 2;
	} else if (rm == 5 && mod == 0) {
		code->base = CODE_RIP;
		mod = 2;
	} else {
		code->base = dwarf_number(decoder->rm);
	}
	if (mod == 1)
		code->displacement = number_of(decoder, 1);
	else if (mod == 2)
		code->displacement = number_of(decoder, 4);
}

/* What ModRM's operands are changed: a register, and the one that ModRM's r/m names if it is no memory. */
static uint32_t changed_rm(const struct decoder *decoder, bool bytes)
{
	if (decoder->memory)
		return 0;
	/* ah, ch, dh, bh are parts of the first four */
	return bit(decoder->rm) | (bytes && !decoder->rex && decoder->rm >= 4 ? bit(decoder->rm - 4u) : 0);
}

static uint32_t changed_reg(const struct decoder *decoder, bool bytes)
{
	return bit(decoder->reg) | (bytes && !decoder->rex && decoder->reg >= 4 ? bit(decoder->reg - 4u) : 0);
}

static const uint32_t CHANGED_BY_CALL = 1u << CODE_RAX | 1u << CODE_RDX | 1u << CODE_RCX | 1u << CODE_RSI |
					1u << CODE_RDI | 0xfu << CODE_R8;

/* A jump, relative to the end of the instruction. */
static void flow(struct decoder *decoder, struct code *code, enum code_act act, unsigned bytes, const uint8_t *start,
		 uint64_t addr)
{
	int64_t distance = number_of(decoder, bytes);

	code->act = act;
	code->target = addr + (uint64_t)(decoder->at - start) + (uint64_t)distance;
}

static void two_operands(struct decoder *decoder, struct code *code, unsigned op)
{
	bool bytes = !(op & 1);

	read_modrm(decoder, code);
	switch (op) {
	case 0x89:				/* mov r/m, reg */
		code->changes = changed_rm(decoder, false);
		if (!decoder->wide)
			break;
		code->source = dwarf_number(decoder->reg);
		code->reg = dwarf_number(decoder->rm);
		code->act = decoder->memory ? CODE_STORE : CODE_MOVE;
		break;
	case 0x8b:				/* mov reg, r/m */
		code->changes = changed_reg(decoder, false);
		if (!decoder->wide)
			break;
		code->reg = dwarf_number(decoder->reg);
		code->source = dwarf_number(decoder->rm);
		code->act = decoder->memory ? CODE_LOAD : CODE_MOVE;
		break;
	case 0x8d:
		code->changes = changed_reg(decoder, false);
		code->reg = dwarf_number(decoder->reg);
		code->act = decoder->wide && decoder->memory ? CODE_ADDRESS : CODE_OTHER;
		break;
	case 0x85:				/* test */
		code->source = dwarf_number(decoder->reg);
		code->act = decoder->wide && !decoder->memory && decoder->reg == decoder->rm ? CODE_TEST : CODE_OTHER;
		break;
	case 0x84:
	case 0x38:
	case 0x39:
	case 0x3a:
	case 0x3b:				/* cmp */
		break;
	case 0x86:
	case 0x87:				/* xchg */
		code->changes = changed_rm(decoder, bytes) | changed_reg(decoder, bytes);
		break;
	case 0x88:
	case 0x8c:
	case 0x8f:
		code->changes = changed_rm(decoder, bytes);
		break;
	case 0x8a:
	case 0x63:
		code->changes = changed_reg(decoder, bytes);
		break;
	case 0x01:
	case 0x03:				/* add */
		code->changes = op & 2 ? changed_reg(decoder, false) : changed_rm(decoder, false);
		code->reg = dwarf_number(op & 2 ? decoder->reg : decoder->rm);
		code->source = dwarf_number(op & 2 ? decoder->rm : decoder->reg);
		code->act = decoder->wide && !decoder->memory ? CODE_SUM : CODE_OTHER;
		break;
	default:				/* arithmetic: the second bit says in which direction */
		code->changes = op & 2 ? changed_reg(decoder, bytes) : changed_rm(decoder, bytes);
	}
}

/* With an immediate operand: 80, 81, 83, 69, 6b, c0, c1, c6, c7. */
static void with_constant(struct decoder *decoder, struct code *code, unsigned op)
{
	unsigned immediate = op == 0x81 || op == 0x69 || op == 0xc7 ? (decoder->narrow ? 2 : 4) : 1;
	unsigned what;
	int64_t value;

	read_modrm(decoder, code);
	what = decoder->reg & 7;
	value = number_of(decoder, immediate);
	if (op == 0x69 || op == 0x6b) {
		code->changes = changed_reg(decoder, false);
		return;
	}
	if (op < 0x80 || op > 0x83) {
		code->changes = changed_rm(decoder, !(op & 1));
		return;
	}
	if (what != 7)
		code->changes = changed_rm(decoder, op == 0x80);
	if (!decoder->wide || op == 0x80)
		return;
	if (!decoder->memory && (what == 0 || what == 5)) {	/* add, sub */
		code->act = CODE_ADD;
		code->reg = dwarf_number(decoder->rm);
		code->displacement = what ? -value : value;
	} else if (what == 7 && value == 0) {
		code->act = decoder->memory ? CODE_TEST_MEMORY : CODE_TEST;
		code->source = dwarf_number(decoder->rm);
	}
}

static void group(struct decoder *decoder, struct code *code, unsigned op)
{
	unsigned what;

	read_modrm(decoder, code);
	what = decoder->reg & 7;
	if (op <= 0xf7) {			/* test, not, neg, mul, div */
		if (what < 2)
			number_of(decoder, op == 0xf6 ? 1 : decoder->narrow ? 2 : 4);
		code->changes = what < 2 ? 0 : what < 4 ? changed_rm(decoder, op == 0xf6) : 1u << CODE_RAX | 1u << CODE_RDX;
	} else if (what < 2) {			/* inc, dec */
		code->changes = changed_rm(decoder, op == 0xfe);
	} else if (op == 0xff && what < 4) {
		code->act = CODE_CALL;
		code->changes = CHANGED_BY_CALL;
	} else if (op == 0xff && what < 6) {
		code->act = CODE_STOP;
	}
}

/* 0f xx */
static void second_map(struct decoder *decoder, struct code *code, const uint8_t *start, uint64_t addr)
{
	unsigned op = byte_of(decoder);

	if (op == 0x38 || op == 0x3a) {
		unsigned third = byte_of(decoder);

		read_modrm(decoder, code);
		if (op == 0x3a)
			number_of(decoder, 1);
		if (op == 0x38 && third >= 0xf0)
			code->changes = changed_reg(decoder, false);
		if (op == 0x3a && third >= 0x14 && third <= 0x17)
			code->changes = changed_rm(decoder, false);
		return;
	}
	if (op == 0x0b) {			/* ud2 */
		code->act = CODE_STOP;
		return;
	}
	if (op == 0x05 || op == 0x31 || op == 0xa2) {		/* syscall, rdtsc, cpuid */
		code->changes = CHANGED_BY_CALL | 1u << CODE_RBX;
		return;
	}
	if (op == 0x06 || op == 0x08 || op == 0x09 || op == 0x30 || op == 0x32 || op == 0x77 || op == 0xa0 || op == 0xa1 ||
	    op == 0xa8 || op == 0xa9)
		return;
	if (op >= 0x80 && op <= 0x8f) {
		flow(decoder, code, CODE_BRANCH, 4, start, addr);
		code->if_zero = op == 0x84;
		code->if_not_zero = op == 0x85;
		return;
	}
	if (op >= 0xc8 && op <= 0xcf) {		/* bswap */
		code->changes = bit((op & 7) | decoder->base_high);
		return;
	}
	read_modrm(decoder, code);
	if ((op >= 0x70 && op <= 0x73) || op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 || (op >= 0xc4 && op <= 0xc6))
		number_of(decoder, 1);
	if ((op >= 0x40 && op <= 0x4f) || op == 0x2c || op == 0x2d || op == 0x50 || op == 0xaf || op == 0xb6 || op == 0xb7 ||
	    op == 0xb8 || (op >= 0xbc && op <= 0xbf) || op == 0xc5 || op == 0xd7)
		code->changes = changed_reg(decoder, false);
	else if ((op >= 0x90 && op <= 0x9f) || op == 0xa4 || op == 0xa5 || op == 0xab || op == 0xac || op == 0xad ||
		 op == 0xb3 || op == 0xba || op == 0xbb || (op == 0x7e && !decoder->repeat))
		code->changes = changed_rm(decoder, op <= 0x9f && op >= 0x90);
	else if (op == 0xb0 || op == 0xb1 || op == 0xc0 || op == 0xc1 || op == 0xc7)
		code->changes = changed_rm(decoder, true) | changed_reg(decoder, true) | 1u << CODE_RAX | 1u << CODE_RDX;
}

/* VEX and EVEX: vector code, and the few that write general registers (BMI, extracts, moves of masks). */
static void vector(struct decoder *decoder, struct code *code, unsigned prefix)
{
	unsigned first = byte_of(decoder), second = prefix == 0xc5 ? first : byte_of(decoder), map, op, other;

	decoder->reg_high = first & 0x80 ? 0 : 8;
	decoder->index_high = prefix != 0xc5 && !(first & 0x40) ? 8 : 0;
	decoder->base_high = prefix != 0xc5 && !(first & 0x20) ? 8 : 0;
	map = prefix == 0xc5 ? 1 : first & (prefix == 0xc4 ? 0x1f : 7);
	if (prefix == 0x62)
		byte_of(decoder);
	other = ~second >> 3 & 15;
	op = byte_of(decoder);
	if (map == 1 && op == 0x77)		/* vzeroupper */
		return;
	read_modrm(decoder, code);
	if (map == 3 || (map == 1 && ((op >= 0x70 && op <= 0x73) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6))))
		number_of(decoder, 1);
	if (map == 0 || map > 6)
		decoder->bad = true;
	if ((map == 2 && op >= 0xf0) || (map == 3 && op >= 0xf0) ||
	    (map == 1 && (op == 0x2c || op == 0x2d || op == 0x50 || op == 0x78 || op == 0x79 || op == 0x7e || op == 0x93 ||
			  op == 0xc5 || op == 0xd7)) ||
	    (map == 3 && op >= 0x14 && op <= 0x17))
		code->changes = changed_reg(decoder, false) | changed_rm(decoder, false) | bit(other);
}

static void first_map(struct decoder *decoder, struct code *code, unsigned op, const uint8_t *start, uint64_t addr)
{
	if (op < 0x40) {
		if ((op & 7) < 4)
			two_operands(decoder, code, op);
		else if ((op & 7) < 6)
			number_of(decoder, (op & 1) == 0 ? 1 : decoder->narrow ? 2 : 4);
		else
			decoder->bad = true;
		if ((op & 7) >= 4 && op < 0x38)
			code->changes = 1u << CODE_RAX;
	} else if (op >= 0x50 && op <= 0x5f) {
		code->changes = op >= 0x58 ? bit((op & 7) | decoder->base_high) : 0;
	} else if (op >= 0x70 && op <= 0x7f) {
		flow(decoder, code, CODE_BRANCH, 1, start, addr);
		code->if_zero = op == 0x74;
		code->if_not_zero = op == 0x75;
	} else if (op >= 0x90 && op <= 0x97) {
		if (op != 0x90 || decoder->base_high)
			code->changes = bit((op & 7) | decoder->base_high) | 1u << CODE_RAX;
	} else if (op >= 0xb0 && op <= 0xbf) {
		number_of(decoder, op < 0xb8 ? 1 : decoder->wide ? 8 : decoder->narrow ? 2 : 4);
		code->changes = bit((op & 7) | decoder->base_high) |
				(op < 0xb8 && !decoder->rex && (op & 7) >= 4 ? bit((op & 7) - 4) : 0);
	} else if (op >= 0xd8 && op <= 0xdf) {
		read_modrm(decoder, code);
		if (op == 0xdf && !decoder->memory)
			code->changes = 1u << CODE_RAX;		/* fnstsw ax */
	} else {
		switch (op) {
		case 0x63:
		case 0x84 ... 0x8f:
			two_operands(decoder, code, op);
			break;
		case 0x69:
		case 0x6b:
		case 0x80:
		case 0x81:
		case 0x83:
		case 0xc0:
		case 0xc1:
		case 0xc6:
		case 0xc7:
			with_constant(decoder, code, op);
			break;
		case 0xd0 ... 0xd3:
			read_modrm(decoder, code);
			code->changes = changed_rm(decoder, !(op & 1));
			break;
		case 0xf6:
		case 0xf7:
		case 0xfe:
		case 0xff:
			group(decoder, code, op);
			break;
		case 0x68:
			number_of(decoder, decoder->narrow ? 2 : 4);
			break;
		case 0x6a:
		case 0xcd:
		case 0xa8:
			number_of(decoder, 1);
			break;
		case 0xa9:
			number_of(decoder, decoder->narrow ? 2 : 4);
			break;
		case 0x98:
		case 0x99:
			code->changes = 1u << CODE_RAX | 1u << CODE_RDX;
			break;
		case 0xa0 ... 0xa3:
			number_of(decoder, 8);
			code->changes = 1u << CODE_RAX;
			break;
		case 0xa4 ... 0xa7:
		case 0xaa ... 0xaf:		/* string instructions */
			code->changes = 1u << CODE_RSI | 1u << CODE_RDI | 1u << CODE_RCX |
					(op == 0xac || op == 0xad ? 1u << CODE_RAX : 0);
			break;
		case 0xc2:
			number_of(decoder, 2);
			code->act = CODE_RETURN;
			break;
		case 0xc3:
			code->act = CODE_RETURN;
			break;
		case 0xc9:			/* leave */
			code->changes = 1u << CODE_RBP | 1u << CODE_RSP;
			break;
		case 0xcc:
		case 0xf4:
			code->act = CODE_STOP;
			break;
		case 0xe0 ... 0xe3:
			flow(decoder, code, CODE_BRANCH, 1, start, addr);
			code->changes = 1u << CODE_RCX;
			break;
		case 0xe8:
			flow(decoder, code, CODE_CALL, 4, start, addr);
			code->changes = CHANGED_BY_CALL;
			break;
		case 0xe9:
			flow(decoder, code, CODE_JUMP, 4, start, addr);
			break;
		case 0xeb:
			flow(decoder, code, CODE_JUMP, 1, start, addr);
			break;
		case 0x9b ... 0x9f:
		case 0xf5:
		case 0xf8 ... 0xfd:
			code->changes = op == 0x9f ? 1u << CODE_RAX : 0;
			break;
		default:
			decoder->bad = true;
		}
	}
}

bool code_decode(const uint8_t *bytes, size_t count, uint64_t addr, struct code *ret_code)
{
	struct decoder decoder = { .at = bytes, .end = bytes + (count < 15 ? count : 15) };
	struct code code = { .base = CODE_NO_REGISTER, .reg = CODE_NO_REGISTER, .source = CODE_NO_REGISTER };
	unsigned op;

	for (;;) {
		op = byte_of(&decoder);
		if (op == 0x66)
			decoder.narrow = true;
		else if (op == 0xf2 || op == 0xf3)
			decoder.repeat = true;
		else if (op == 0x64 || op == 0x65)
			decoder.segment = true;
		else if (op != 0x2e && op != 0x36 && op != 0x3e && op != 0x26 && op != 0xf0)
			break;
	}
	if (op >= 0x40 && op <= 0x4f) {
		decoder.rex = true;
		decoder.wide = op & 8;
		decoder.reg_high = op & 4 ? 8 : 0;
		decoder.index_high = op & 2 ? 8 : 0;
		decoder.base_high = op & 1 ? 8 : 0;
		op = byte_of(&decoder);
	}
	if (op == 0x0f)
		second_map(&decoder, &code, bytes, addr);
	else if (op == 0xc4 || op == 0xc5 || op == 0x62)
		vector(&decoder, &code, op);
	else
		first_map(&decoder, &code, op, bytes, addr);
	if (decoder.bad)
		return false;
	code.bytes = (unsigned)(decoder.at - bytes);
	code.segment = decoder.segment;
	if (code.base == CODE_RIP)
		code.displacement += (int64_t)(addr + code.bytes);
	*ret_code = code;
	return true;
}
