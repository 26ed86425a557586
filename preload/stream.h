/* SPDX-License-Identifier: Apache-2.0
 * L0  stream.h - layout of the capture stream: what the service writes and the analyzer reads.
 *
 *   file header | chunk | chunk | ... | END chunk
 *   chunk = struct stream_chunk, then `payload_bytes` bytes of payload
 *
 * (1) Everything is little-endian; structs here have no padding (static asserts below).
 * (2) A chunk's payload is at most STREAM_CHUNK_MAX bytes. A section that is larger (NODES, EDGES,
 *     STACKS, ...) is a run of chunks of the same type, in order; an element never straddles chunks.
 * (3) `crc32c` covers the payload (CRC-32C, Castagnoli, init and final xor 0xffffffff).
 * (4) The END chunk carries totals; a stream without it is truncated, and a reader must say so.
 * (5) A reader refuses another magic or a newer major. It skips chunk types that it does not know
 *     (a newer minor may add them) and records that it did.
 * (6) Node ids are 0..nodes-1, in ascending address order, an enclosing node before what it encloses
 *     (a mapping before the blocks in it). Root ids are separate: 0..roots-1.
 * (7) Contents of memory are never written: addresses, sizes, types, names and references only.
 *
 * Strings: every name is an offset into the string table (chunks STRINGS, concatenated; NUL-terminated
 * UTF-8 or raw bytes as found; offset 0 is the empty string). STRINGS chunks may stand anywhere and
 * are concatenated in order, so a reader resolves names after END.
 *
 * Edges are varint coded (LEB128, unsigned unless zigzag is said): see EDGES below.
 * This header, protocol.h and ring_file.h are the only ones that the analyzer shares with the library. */
#ifndef LEAKDIFF_STREAM_H
#define LEAKDIFF_STREAM_H

#include <stdint.h>

#define STREAM_MAGIC "LDSTREAM"		/* 8 bytes, no NUL */
#define STREAM_MAJOR 1
#define STREAM_MINOR 4
#define STREAM_NOT_READ "were not read"
#define STREAM_CHUNK_MAX (1u << 20)
#define STREAM_NONE UINT32_MAX		/* "no such id" for every 32-bit id */

struct stream_header {
	char magic[8];
	uint16_t major, minor;
	uint32_t header_bytes;		/* sizeof(struct stream_header); a reader skips what it does not know */
	uint64_t flags;			/* 0 in 1.0 */
};

struct stream_chunk {
	uint32_t type;			/* enum stream_type */
	uint32_t crc32c;		/* of the payload */
	uint64_t payload_bytes;
};

/* X(NAME, number, sentence). Order in the file: META first, END last, the rest free unless said. */
#define STREAM_TYPES(X)                                                                             \
	X(META, 1, "key and value pairs: \"key\\0value\\0\"...; keys are listed in docs/FORMAT.md")  \
	X(STRINGS, 2, "the string table, see above")                                                 \
	X(MODULES, 3, "array of struct stream_module")                                               \
	X(SEGMENTS, 4, "array of struct stream_segment: load segments of the modules")               \
	X(MAPS, 5, "array of struct stream_map: the process's mappings")                             \
	X(THREADS, 6, "array of struct stream_thread")                                               \
	X(TRACEBACKS, 7, "array of struct stream_frame: stacks of the stopped threads")              \
	X(STACKS, 8, "array of struct stream_stack: the allocation stack tree, parents first")       \
	X(TYPES, 9, "array of struct stream_type_name: C++ and Python types met")                    \
	X(NODES, 10, "array of struct stream_node, ascending")                                       \
	X(ROOTS, 11, "array of struct stream_root: one per root region")                             \
	X(EDGES, 12, "references out of nodes, varint coded")                                        \
	X(ROOT_EDGES, 13, "references out of roots, varint coded")                                   \
	X(CLOCK, 14, "array of struct stream_clock: birth numbers against time")                     \
	X(PYFRAMES, 15, "array of struct stream_pyframe: Python code locations in stacks")           \
	X(PYTHREADS, 16, "array of struct stream_pythread: Python's threads, tasks, greenlets (1.1)") \
	X(PYTRACES, 17, "array of struct stream_pytrace: their frames (1.1)")                        \
	X(PYCACHES, 18, "array of struct stream_pycache: functools.lru_cache, how full each is (1.2)") \
	X(PROFILE, 19, "text of the allocator's own heap profile; then there are no nodes (1.3)")      \
	X(ARENAS, 20, "array of struct stream_arena: what the allocator says of its own memory (1.4)")  \
	X(END, 255, "struct stream_end")

enum stream_type {
#define X(name, number, text) STREAM_##name = number,
	STREAM_TYPES(X)
#undef X
};

/* A loaded ELF object, with the period in which it was mapped there. */
struct stream_module {
	uint64_t base;			/* load bias (l_addr) */
	uint64_t start, end;		/* lowest and highest address of its load segments */
	uint64_t first_birth;		/* birth clock when first seen; 0 = before capture began */
	uint64_t last_birth;		/* when unloaded; UINT64_MAX = still mapped */
	int64_t tls_offset;		/* of its static TLS block from the thread pointer; INT64_MIN = none or dynamic */
	uint64_t tls_bytes;
	uint32_t path;			/* string; as the dynamic linker has it, absolute */
	uint32_t generation;		/* a stack pc with this generation may lie in this module */
	uint32_t build_id_bytes;	/* 0 = none */
	uint8_t build_id[32];
	uint32_t flags;			/* STREAM_MODULE_* */
};
#define STREAM_MODULE_EXE 1u		/* the main program */
#define STREAM_MODULE_SELF 2u		/* libleakdiff.so */
#define STREAM_MODULE_ALLOCATOR 4u	/* provides the malloc that the service uses */
#define STREAM_MODULE_LIBC 8u		/* libc, the dynamic linker */

struct stream_segment {
	uint64_t start, end;
	uint32_t module;		/* index in MODULES */
	uint32_t prot;			/* PROT_* */
};

enum stream_map_kind {			/* exactly one; decides root, node or neither */
	STREAM_MAP_FILE = 1,		/* file pages of modules and other read-only file mappings */
	STREAM_MAP_MODULE_DATA,		/* writable data of a module, .bss included: root */
	STREAM_MAP_HEAP,		/* allocator memory: holds live blocks, or known to be an arena */
	STREAM_MAP_STACK,		/* stack of a thread */
	STREAM_MAP_SHARED,		/* shared and writable: root */
	STREAM_MAP_PROGRAM,		/* anonymous, made by the program's own mmap: a node of kind mapping */
	STREAM_MAP_OTHER,		/* writable and unexplained: root ("prefer a missed leak over a false one") */
	STREAM_MAP_OWN,			/* leakdiff's own memory: never scanned, never counted as the service's */
	STREAM_MAP_KERNEL,		/* vdso, vvar, vsyscall, guard pages, PROT_NONE */
	STREAM_MAP_PYTHON,		/* arenas of Python's own allocator: hold Python objects (1.2) */
};

struct stream_map {
	uint64_t start, end, file_offset;
	uint64_t rss_bytes, pss_bytes;	/* of the service, read just before the stop; UINT64_MAX = unknown */
	uint64_t swap_bytes;
	uint64_t live_resident_bytes;	/* bytes of live nodes in resident pages of this mapping; PYTHON: of
					 * blocks in use */
	uint32_t name;			/* string: path or [heap], [stack], [anon:...]; "" = none */
	uint32_t prot;			/* PROT_* */
	uint16_t kind;			/* enum stream_map_kind */
	uint16_t shared;		/* 1 = MAP_SHARED */
	uint32_t module;		/* index in MODULES or STREAM_NONE */
};

enum stream_stop {			/* how a thread was stopped */
	STREAM_STOP_PTRACE = 1,
	STREAM_STOP_SIGNAL,
	STREAM_STOP_NONE,		/* it ran on: the snapshot is not consistent */
	STREAM_STOP_SELF,		/* the thread that took the snapshot */
};

#define STREAM_REGISTERS 18		/* x86-64: rax rbx rcx rdx rsi rdi rbp rsp r8..r15 rip, then flags;
					 * only rsp and rip are written, see (7) */
#define STREAM_REGISTER_SP 7
#define STREAM_REGISTER_PC 16
struct stream_thread {
	uint64_t sp;			/* saved stack pointer; 0 = unknown */
	uint64_t thread_pointer;	/* fs base on x86-64; 0 = unknown */
	uint64_t stack_start, stack_end;/* of the mapping that holds sp */
	uint64_t registers[STREAM_REGISTERS];
	uint32_t tid;			/* as the service sees it */
	uint32_t name;			/* string, from comm */
	uint16_t stop;			/* enum stream_stop */
	uint16_t flags;			/* bit 0: the main thread */
	uint32_t syscall;		/* number it was blocked in, STREAM_NONE = running */
};

struct stream_frame {
	uint64_t pc;			/* innermost: the pc itself; else the return address */
	uint64_t cfa;			/* frame covers [sp of the inner frame's cfa, cfa) */
	uint32_t thread;		/* index in THREADS; frames of one thread are adjacent, innermost first */
	uint32_t depth;
};

/* Stack tree. Stack id = index + 1 over the whole section; id 0 = "no stack was recorded".
 * parent < own id always. A path from a node up to 0 reads innermost to outermost. */
struct stream_stack {
	uint64_t pc;			/* return address, or with STREAM_STACK_PYTHON an index in PYFRAMES */
	uint32_t parent;		/* stack id of the caller; 0 = outermost */
	uint16_t generation;		/* of the module mapping that pc belongs to, see stream_module */
	uint16_t flags;
};
#define STREAM_STACK_PYTHON 1u
#define STREAM_STACK_TRUNCATED 2u	/* on the outermost node: deeper frames were cut at the depth limit */

struct stream_pyframe {
	uint32_t function, file;	/* strings */
	uint32_t line;
	uint32_t flags;
};

enum stream_pythread_kind { STREAM_PYTHREAD_THREAD = 1, STREAM_PYTHREAD_TASK, STREAM_PYTHREAD_GREENLET };

struct stream_pythread {
	uint64_t object;		/* address of the task or greenlet; 0 = a thread */
	uint32_t kind;			/* enum stream_pythread_kind */
	uint32_t thread;		/* index in THREADS or STREAM_NONE */
	uint32_t name, state;		/* strings; state: what a task awaits */
};

struct stream_pytrace {
	uint32_t owner;			/* index in PYTHREADS; frames of one are adjacent, innermost first */
	uint32_t function, file, locals;/* strings; locals: names, comma separated */
	uint32_t line, flags;
};

struct stream_pycache {			/* one functools.lru_cache */
	uint32_t node;			/* node id of the wrapper */
	uint32_t reserved;
	uint64_t entries;
	int64_t maxsize;		/* -1 = none (maxsize=None); INT64_MIN = could not be read */
	uint64_t hits, misses;		/* UINT64_MAX = could not be read */
};

enum stream_arena_kind {
	STREAM_ARENA_GLIBC = 1,		/* a heap of glibc's, walked chunk by chunk */
	STREAM_ARENA_GLIBC_MAPPED,	/* its chunks with a mapping of their own, all together */
	STREAM_ARENA_JEMALLOC,		/* an arena, by mallctl */
	STREAM_ARENA_JEMALLOC_ALL,	/* all of jemalloc: what belongs to no arena counts here only */
	STREAM_ARENA_TCMALLOC,		/* all of tcmalloc, by MallocExtension */
	STREAM_ARENA_MIMALLOC,		/* all of mimalloc, by mi_process_info */
};

/* Sizes of free and of used memory: class i holds those of [2^i, 2^(i+1)) bytes. */
#define STREAM_ARENA_CLASSES 40
struct stream_arena_class {
	uint64_t free_count, free_bytes, used_count, used_bytes;
};

/* Part of the allocator's memory. What a kind does not know is UINT64_MAX. Bytes are the allocator's, with its
 * headers and its rounding, unless it says requested. */
struct stream_arena {
	uint64_t start;			/* address of the arena's record or first memory; 0 = no place */
	uint64_t mapped_bytes, resident_bytes;
	uint64_t live_bytes, live_count;/* recorded blocks in it: requested bytes */
	uint64_t used_bytes, used_count;/* in use for the program, what caches hold left out */
	uint64_t free_bytes, free_count, free_resident_bytes, largest_free_bytes;	/* holes between what is used */
	uint64_t top_bytes, top_resident_bytes;	/* glibc: never used, or free up to the end */
	uint64_t cached_bytes, cached_count;	/* freed, and kept for the next of that size: tcache, fastbins */
	uint64_t unrecorded_bytes, unrecorded_count;	/* used, but by no block that was recorded */
	uint64_t trim_bytes;		/* whole resident pages that are free */
	uint64_t dirty_bytes, muzzy_bytes;	/* jemalloc: free pages not given back, and given back lazily */
	uint64_t metadata_bytes;	/* the allocator's own records */
	uint64_t retained_bytes;	/* address space kept without memory */
	uint64_t decay_ms;		/* jemalloc: after how long dirty pages are given back */
	uint32_t number;		/* 0 = the first or main one; by age */
	uint32_t threads;		/* that allocate from it; UINT32_MAX = unknown */
	uint16_t kind;			/* enum stream_arena_kind */
	uint16_t read;			/* 1 = all of the above is known; 0 = sizes and live only */
	uint32_t why;			/* string: why it was not read; "" = it was */
	struct stream_arena_class classes[STREAM_ARENA_CLASSES];
};

/* PROFILE: what jemalloc's prof.dump writes (heap_v2). The outermost frame of a stack may be no address but
 * STREAM_PROFILE_TAG with a stack id in its low half: the stack as STACKS has it, Python's frames included.
 * No process has such an address. */
#define STREAM_PROFILE_TAG 0x4c446b5400000000ull
#define STREAM_PROFILE_TAG_MASK 0xffffffff00000000ull

enum stream_type_source {
	STREAM_TYPE_RTTI = 1,		/* name is an Itanium-mangled type name, as in type_info::name() */
	STREAM_TYPE_PYTHON,		/* name is module.qualname */
};
struct stream_type_name {
	uint64_t addr;			/* of the vtable's address point, or of the type object */
	uint32_t name;			/* string */
	uint32_t source;		/* enum stream_type_source */
};

enum stream_node_kind {			/* the low byte of stream_node.kind */
	STREAM_NODE_MALLOC = 1, STREAM_NODE_CALLOC, STREAM_NODE_REALLOC, STREAM_NODE_ALIGNED,
	STREAM_NODE_NEW,		/* operator new that is not routed to malloc */
	STREAM_NODE_MAPPING,		/* mmap by the program */
	STREAM_NODE_PYTHON,		/* a Python object inside an interpreter arena or a malloc block */
};
#define STREAM_NODE_KIND(k) ((k) & 0xffu)
#define STREAM_NODE_FOLDED 0x100u	/* a block or mapping that is only the container or buffer of `owner` nodes: not counted */

struct stream_node {
	uint64_t addr, bytes;		/* requested bytes */
	uint64_t birth;			/* identity and birth time: grows, see CLOCK; 0 = before capture began */
	uint32_t stack;			/* stack id, 0 = none */
	uint32_t type;			/* index in TYPES or STREAM_NONE */
	uint32_t thread;		/* tid that allocated it; 0 = unknown */
	uint16_t kind;			/* enum stream_node_kind and flags */
	uint16_t sample;		/* log2 of the bytes of which one had its stack recorded when this block
					 * had; 0 = every block of its size (1.4) */
	uint32_t extra;			/* Python: references held by code that no edge explains; else 0 */
	uint32_t weight;		/* a sampled block stands for this many; 1 = exact */
};

enum stream_root_kind {
	STREAM_ROOT_GLOBAL = 1,		/* writable data of one module: slots are named by symbol at ingest */
	STREAM_ROOT_STACK,		/* a thread's stack from its saved stack pointer up */
	STREAM_ROOT_TLS,		/* a thread's TLS block and thread descriptor */
	STREAM_ROOT_REGISTER,		/* a thread's registers; the slot is the register's index */
	STREAM_ROOT_MAPPING,		/* shared memory or an unexplained writable mapping */
	STREAM_ROOT_PY_MODULE,		/* Python: a module in sys.modules */
	STREAM_ROOT_PY_FRAME,		/* Python: a running frame */
	STREAM_ROOT_PY_C,		/* Python: held by C code or the interpreter itself */
};

/* One root region. Its references are in ROOT_EDGES, their label value is the absolute address of
 * the slot (GLOBAL, STACK, TLS, MAPPING), the register's index, or as for Python edges. */
struct stream_root {
	uint64_t start, end;
	uint32_t kind;			/* enum stream_root_kind */
	uint32_t module;		/* index in MODULES or STREAM_NONE */
	uint32_t thread;		/* index in THREADS or STREAM_NONE */
	uint32_t name;			/* string or 0 */
};

/* EDGES and ROOT_EDGES payload: for each source that has references, ascending:
 *     varint  source id - previous source id in this chunk (the first: the id itself)
 *     varint  number of references
 *     each:   varint  label_kind << 1 | interior
 *             varint  label value - previous label value of this source if of the same kind, zigzag
 *             varint  target node id - previous target id of this source (first: - source id for
 *                     EDGES, - 0 for ROOT_EDGES), zigzag
 *             varint  target offset in bytes, only if interior (the pointer does not point at the
 *                     first byte of the target)
 * A chunk is self-contained: a source with more references than fit is repeated in the next. */
enum stream_label {
	STREAM_LABEL_OFFSET = 0,	/* value: byte offset of the word in the source (or slot address) */
	STREAM_LABEL_ATTR,		/* value: string; .name */
	STREAM_LABEL_KEY,		/* value: string; [text], text already quoted as Python writes it */
	STREAM_LABEL_INDEX,		/* value: index; [n] */
	STREAM_LABEL_LOCAL,		/* value: string; local variable of a frame, generator or coroutine */
	STREAM_LABEL_CELL,		/* value: string; closure variable */
	STREAM_LABEL_DICT_KEY,		/* value: index; the key object itself */
	STREAM_LABEL_CACHE_KEY,		/* value: index; key of an lru_cache entry */
	STREAM_LABEL_CACHE_RESULT,	/* value: index; result of an lru_cache entry */
	STREAM_LABEL_NAMED,		/* value: string; any other named reference (C-only), "->name" */
	STREAM_LABEL_OWNS,		/* value: byte offset; a Python object's own buffer in a native block */
	STREAM_LABEL_CAPSULE,		/* value: byte offset; conservative reference out of a Python object */
	STREAM_LABELS
};

/* Birth numbers map to wall time by linear interpolation between neighbours. At least two. */
struct stream_clock {
	uint64_t birth;
	int64_t realtime_ns;		/* CLOCK_REALTIME */
	int64_t monotonic_ns;
};

struct stream_end {
	uint64_t nodes, edges, roots, root_edges, stacks;
	uint64_t lost_events;		/* since capture began */
	uint64_t skipped_words;		/* words that could not be read (faults, unreadable pages) */
	uint64_t child_ns;		/* from the fork to here */
	uint32_t faults;		/* memory faults met and survived while walking */
	uint32_t notes;			/* string: reasons why this snapshot is partial, one a line; 0 = whole; one that
					 * ends in STREAM_NOT_READ is of memory that was not scanned */
};

_Static_assert(sizeof(struct stream_header) == 24, "layout");
_Static_assert(sizeof(struct stream_chunk) == 16, "layout");
_Static_assert(sizeof(struct stream_module) == 104, "layout");
_Static_assert(sizeof(struct stream_segment) == 24, "layout");
_Static_assert(sizeof(struct stream_map) == 72, "layout");
_Static_assert(sizeof(struct stream_thread) == 192, "layout");
_Static_assert(sizeof(struct stream_frame) == 24, "layout");
_Static_assert(sizeof(struct stream_stack) == 16, "layout");
_Static_assert(sizeof(struct stream_pyframe) == 16, "layout");
_Static_assert(sizeof(struct stream_pythread) == 24, "layout");
_Static_assert(sizeof(struct stream_pytrace) == 24, "layout");
_Static_assert(sizeof(struct stream_pycache) == 40, "layout");
_Static_assert(sizeof(struct stream_arena) == 1480, "layout");
_Static_assert(sizeof(struct stream_type_name) == 16, "layout");
_Static_assert(sizeof(struct stream_node) == 48, "layout");
_Static_assert(sizeof(struct stream_root) == 32, "layout");
_Static_assert(sizeof(struct stream_clock) == 24, "layout");
_Static_assert(sizeof(struct stream_end) == 72, "layout");

#endif
