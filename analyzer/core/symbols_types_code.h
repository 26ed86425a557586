/* SPDX-License-Identifier: Apache-2.0
 * L0  symbols_types_code.h - one x86-64 instruction: what it does to addresses in general registers.
 *
 * Registers have DWARF's numbers. Only moves, additions of constants and changes of the flow are told apart;
 * of anything else the registers that it may change are known, rather too many than too few. */
#ifndef LEAKDIFF_SYMBOLS_TYPES_CODE_H
#define LEAKDIFF_SYMBOLS_TYPES_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CODE_RAX = 0, CODE_RDX = 1, CODE_RCX = 2, CODE_RBX = 3, CODE_RSI = 4, CODE_RDI = 5, CODE_RBP = 6, CODE_RSP = 7,
       CODE_R8 = 8, CODE_REGISTERS = 16, CODE_RIP = 16, CODE_NO_REGISTER = 17 };

enum code_act {
	CODE_OTHER = 0,
	CODE_MOVE,			/* reg = source */
	CODE_STORE,			/* 8 bytes at base + displacement = source */
	CODE_LOAD,			/* reg = 8 bytes at base + displacement */
	CODE_ADDRESS,			/* reg = base + displacement */
	CODE_ADD,			/* reg += displacement */
	CODE_SUM,			/* reg += source */
	CODE_TEST,			/* compare source with 0 */
	CODE_TEST_MEMORY,		/* compare 8 bytes at base + displacement with 0 */
	CODE_BRANCH,			/* to target if ... */
	CODE_JUMP,			/* to target */
	CODE_CALL,			/* of target */
	CODE_RETURN,
	CODE_STOP,			/* goes nowhere that can be known */
};

struct code {
	enum code_act act;
	unsigned bytes;			/* of the instruction */
	uint8_t reg, source, base;
	bool indexed;			/* and `index` times `scale` is added to base + displacement */
	uint8_t index;
	bool segment;			/* relative to fs or gs: thread-local */
	uint8_t scale;
	int64_t displacement;		/* with base CODE_RIP the address in the file */
	uint64_t target;		/* 0 = unknown */
	bool if_zero, if_not_zero;	/* of a branch, after a test */
	uint32_t changes;		/* bit n = register n may have another value afterwards */
};

/* Decode the instruction at an address. False = not known, or cut off. */
bool code_decode(const uint8_t *bytes, size_t count, uint64_t addr, struct code *ret_code);

#endif
