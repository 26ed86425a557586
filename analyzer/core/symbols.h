/* SPDX-License-Identifier: Apache-2.0
 * L2  symbols.h - names for addresses in ELF files: functions, lines, inline frames, variables.
 *
 * Addresses here are those of the file (process address minus load bias). A file is opened when
 * something is first asked of it, and checked against its build-id, so a library that was replaced
 * on disk gives no names instead of wrong ones. Strings live until symbols_free().
 *
 * Files are read by another process, with limits (symbols_reader.c): whatever is in them, nothing here
 * crashes or hangs. A file that ends the reader is `damaged`: from then on only its symbol table is asked,
 * and nothing if it was that. Answers are kept, and with symbols_use_cache() for the next time, too.
 *
 * Where names are looked for: symbols_debug.c. DWARF gives lines, inline frames and types, .symtab, .dynsym and
 * .gnu_debugdata at least functions and variables. Nothing is fetched over a network unless the user has set
 * DEBUGINFOD_URLS. */
#ifndef LEAKDIFF_SYMBOLS_H
#define LEAKDIFF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;
struct symbols_reader;
struct strings;

#define SYMBOLS_FRAMES_MAX 64		/* inline frames at one address */

enum symbols_state {			/* how a file's names were found */
	SYMBOLS_UNUSED = 0,		/* nothing was asked of it */
	SYMBOLS_MISSING,		/* the file cannot be read any more */
	SYMBOLS_OTHER_BUILD,		/* the file there now is another build */
	SYMBOLS_NONE,			/* no symbols at all */
	SYMBOLS_SYMTAB,
	SYMBOLS_DWARF,
	SYMBOLS_DAMAGED,		/* symbols_trouble() says what happened */
};

/* What a file lacks of its debug information. */
enum {
	SYMBOLS_NO_DEBUG = 0x100,	/* none was found */
	SYMBOLS_NO_SPLIT = 0x200,	/* some of it is in .dwo files that are not there */
	SYMBOLS_NO_ALT = 0x400,		/* some of it is in a file of dwz that is not there */
};

/* Of the reader. What is beyond is malformed, or too large to be worth it. */
struct symbols_limits {
	uint32_t cpu_ms;		/* processor time for all that is asked of one file */
	uint32_t wall_ms;		/* for one request: a file on a dead network */
	uint64_t memory_bytes;		/* for all files that are open */
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

/* Start the process that reads files: early, while this one is small. limits NULL = the usual ones: 60 s,
 * 120 s, 4 GiB. Returns NULL when memory is short; where no process can be had, files give no names. */
struct symbols_reader *symbols_reader_start(const struct symbols_limits *limits);
/* Accepts NULL, returns NULL. */
struct symbols_reader *symbols_reader_stop(struct symbols_reader *reader);

/* Let this one be asked; borrowed. Without it one is started when it is needed. */
void symbols_use_reader(struct symbols *symbols, struct symbols_reader *reader);

/* Keep answers for the next time, in $XDG_CACHE_HOME/leakdiff or ~/.cache/leakdiff. Without either, or if the
 * folder is somebody else's, nothing is kept. symbols_keep() writes what is new; it cannot fail. */
void symbols_use_cache(struct symbols *symbols);
void symbols_keep(struct symbols *symbols);

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

/* What is wrong with a damaged file, as the end of a sentence; NULL = nothing. */
const char *symbols_trouble(const struct symbols *symbols, int file);

/* SYMBOLS_NO_..., or-ed. */
unsigned symbols_lacks(const struct symbols *symbols, int file);

/* Accepts NULL, returns NULL. */
struct symbols *symbols_free(struct symbols *symbols);

#endif
