/* SPDX-License-Identifier: Apache-2.0
 * L2  symbols.h - names for addresses in ELF files: functions, lines, inline frames, variables.
 *
 * Addresses here are those of the file (process address minus load bias). A file is opened when
 * something is first asked of it, and checked against its build-id, so a library that was replaced
 * on disk gives no names instead of wrong ones. Strings live until symbols_free(). symbols*.c are the
 * only users of libelf and libdw; nothing is ever fetched over a network.
 *
 * Where names are looked for: the file itself (or what the process still has of it), /usr/lib/debug/.build-id/xx/yyyy.debug, .gnu_debuglink;
 * DWARF gives lines and inline frames, .symtab and .dynsym at least functions and variables. */
#ifndef LEAKDIFF_SYMBOLS_H
#define LEAKDIFF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;
struct strings;

#define SYMBOLS_FRAMES_MAX 64		/* inline frames at one address */

enum symbols_state {			/* how a file's names were found */
	SYMBOLS_UNUSED = 0,		/* nothing was asked of it */
	SYMBOLS_MISSING,		/* the file cannot be read any more */
	SYMBOLS_OTHER_BUILD,		/* the file there now is another build */
	SYMBOLS_NONE,			/* no symbols at all */
	SYMBOLS_SYMTAB,
	SYMBOLS_DWARF,
};

struct symbols_frame {			/* strings are interned; "" = unknown */
	const char *function, *file, *language;
	uint32_t line;
	bool inlined;
};

struct symbols_variable {
	const char *name;		/* interned */
	uint64_t start, end;		/* addresses in the file, or offsets in the TLS image */
	bool is_section;		/* no symbol covers it: this is its section */
};

/* root     prefix of all paths, for a process in a container; NULL = none.
 * strings  borrowed: where names are interned.
 * Returns NULL when memory is short. */
struct symbols *symbols_new(const char *root, struct strings *strings);

/* Make a file known; the same path and build-id give the same number. Returns it, or -ENOMEM. */
int symbols_add(struct symbols *symbols, const char *path, const uint8_t *build_id,
		uint32_t build_id_bytes) __attribute__((warn_unused_result));

/* Where else a file may be looked for when it is gone or was replaced: /proc/PID/exe still leads to what
 * the process runs. Used as it is, without root, and believed only if the build-id is right. */
int symbols_add_fallback(struct symbols *symbols, int file, const char *path) __attribute__((warn_unused_result));

/* Expand one code address, innermost frame first. Returns the number of frames, 0 if it has no name,
 * or -ENOMEM. A caller with a return address passes the address minus 1. */
int symbols_frames(struct symbols *symbols, int file, uint64_t addr,
		   struct symbols_frame *ret_frames, int max) __attribute__((warn_unused_result));

/* The variable that covers a data address, or its section. Returns 1, 0 if neither is known, -ENOMEM. */
int symbols_variable(struct symbols *symbols, int file, uint64_t addr,
		     struct symbols_variable *ret_variable) __attribute__((warn_unused_result));

/* The thread-local variable at an offset in the file's TLS image. As symbols_variable(). */
int symbols_tls(struct symbols *symbols, int file, uint64_t offset,
		struct symbols_variable *ret_variable) __attribute__((warn_unused_result));

enum symbols_state symbols_state(const struct symbols *symbols, int file);

/* Accepts NULL, returns NULL. */
struct symbols *symbols_free(struct symbols *symbols);

#endif
