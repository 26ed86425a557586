/* SPDX-License-Identifier: Apache-2.0
 * L3  symbols_types.h - types of variables, of allocation sites and of classes, from debug information.
 *
 * As in symbols.h, calls are by file and address only: no handle of libdw leaves symbols*.c. All of them
 * return 1 found, 0 not known (malformed debug information is not known), or -ENOMEM. Typedefs and
 * qualifiers are stripped; a structure without a name of its own has that of its typedef. Whatever a
 * layout leads to through members and pointers is in `layouts` too.
 *
 * One struct symbols works with one struct layouts at a time: numbers are remembered per file. */
#ifndef LEAKDIFF_SYMBOLS_TYPES_H
#define LEAKDIFF_SYMBOLS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/layout.h"
#include "core/symbols.h"

enum symbols_how {			/* what says of which type a block is */
	SYMBOLS_HOW_NONE = 0,
	SYMBOLS_HOW_ATTRIBUTE,		/* the compiler: clang's type of a heap allocation site */
	SYMBOLS_HOW_VARIABLE,		/* the result is kept in a pointer variable or passed as an argument */
	SYMBOLS_HOW_FIELD,		/* it is stored in a member of a structure */
	SYMBOLS_HOW_RETURN,		/* the function returns it, with a type */
	SYMBOLS_HOW_NEW,		/* a constructor is called for it */
};

struct symbols_site {
	uint32_t layout;		/* of one element of what the result points at */
	uint64_t offset;		/* from the block's first byte to that element: room for a header */
	enum symbols_how how;
	const char *evidence;		/* interned: "variable e", "stored to struct entry.body", "returned by f" */
	unsigned confidence;		/* 1 possible, 2 likely, 3 certain */
	bool passes_on;			/* returned as void * or bytes: a wrapper, ask for the caller's frame */
};

struct symbols_declaration {
	const char *name;		/* interned; "" = unknown */
	uint32_t layout;
	uint64_t offset;		/* of what was asked for, from the variable's first byte */
	const char *file;		/* interned; where it is declared, "" = unknown */
	uint32_t line;
};

/* Of what type is the block that a call returned?
 *
 * return_addr  the call's return address, as an address in the file.
 * ret_sites    what speaks for a type, the best first. Sizes are not compared here: of several answers
 *              the caller takes the first whose size divides the blocks'. A wrapper gives at least one
 *              answer with passes_on, whose layout may be LAYOUT_VOID.
 *
 * Returns how many, 0 if nothing is known, or -ENOMEM. */
int symbols_site_types(struct symbols *symbols, int file, uint64_t return_addr, struct layouts *layouts,
		       struct symbols_site *ret_sites, int max) __attribute__((warn_unused_result));

/* The first of these alone. */
int symbols_site_type(struct symbols *symbols, int file, uint64_t return_addr, struct layouts *layouts,
		      struct symbols_site *ret_site) __attribute__((warn_unused_result));

/* The global or static variable, also one of a function, that covers a data address. */
int symbols_variable_type(struct symbols *symbols, int file, uint64_t addr, struct layouts *layouts,
			  struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));

/* The thread-local variable that covers an offset in the file's TLS image. */
int symbols_tls_type(struct symbols *symbols, int file, uint64_t offset, struct layouts *layouts,
		     struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));

/* The local variable or parameter that lies at the canonical frame address + cfa_offset of the function that
 * runs at `pc`, an address in the file; a caller with a return address passes the address minus 1. Where the places
 * of the function's variables are known and none of them is there, the answer is 1 with an empty name. */
int symbols_local_type(struct symbols *symbols, int file, uint64_t pc, int64_t cfa_offset, struct layouts *layouts,
		       struct symbols_declaration *ret_declaration) __attribute__((warn_unused_result));

/* A class or structure by its qualified name, as demangle_type() writes it. */
int symbols_class_type(struct symbols *symbols, int file, const char *name, struct layouts *layouts,
		       uint32_t *ret_layout) __attribute__((warn_unused_result));

#endif
