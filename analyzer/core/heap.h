/* SPDX-License-Identifier: Apache-2.0
 * L1  heap.h - one snapshot in memory: the model that every analysis works on.
 *
 *   graph node id:  0 .. nodes-1          memory nodes (blocks, mappings, objects), by address
 *                   nodes .. nodes+roots-1  root nodes (a variable, a thread's stack frame, ...)
 *
 * (1) Compact columns, 32-bit ids, CSR references; no allocation per node.
 * (2) A heap is immutable once made; heap_drop() only takes away. The columns are public so that passes
 *     are plain loops.
 * (3) Edges that are weak (STREAM_LABEL never yields one today) or self references are absent;
 *     every pass uses the same edges.
 * (4) Labels are not in memory: heap_references() reads them again from the file for one source.
 *
 * store_load() makes a heap from a snapshot file; tests make one with heap_build(). */
#ifndef LEAKDIFF_HEAP_H
#define LEAKDIFF_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NONE UINT32_MAX

enum heap_type_source {			/* the words of CLI.md: "site" when no type is known */
	HEAP_TYPE_KIND = 0,		/* "mapping", or no stack at all */
	HEAP_TYPE_SITE,			/* allocation site */
	HEAP_TYPE_DWARF,
	HEAP_TYPE_RTTI,
	HEAP_TYPE_PYTHON,
};

enum heap_node_flags {
	HEAP_FOLDED = 1,		/* container or buffer of other nodes: never counted by itself */
	HEAP_MAPPING = 2,		/* an anonymous mapping made by the program */
	HEAP_PYTHON = 4,		/* a Python object */
	HEAP_HIDDEN = 8,		/* leakdiff's or the loader's own; not shown */
};

enum heap_label {			/* same numbers as enum stream_label */
	HEAP_LABEL_OFFSET = 0, HEAP_LABEL_ATTR, HEAP_LABEL_KEY, HEAP_LABEL_INDEX, HEAP_LABEL_LOCAL,
	HEAP_LABEL_CELL, HEAP_LABEL_DICT_KEY, HEAP_LABEL_CACHE_KEY, HEAP_LABEL_CACHE_RESULT,
	HEAP_LABEL_NAMED, HEAP_LABEL_OWNS, HEAP_LABEL_CAPSULE,
};

enum heap_root_kind {			/* same numbers as enum stream_root_kind */
	HEAP_ROOT_GLOBAL = 1, HEAP_ROOT_STACK, HEAP_ROOT_TLS, HEAP_ROOT_REGISTER, HEAP_ROOT_MAPPING,
	HEAP_ROOT_PY_MODULE, HEAP_ROOT_PY_FRAME, HEAP_ROOT_PY_C,
};

struct layouts;

struct heap_type {
	const char *name;		/* without a size: "handle_put server.c:120", "Session", "dict" */
	enum heap_type_source source;
	uint32_t layout;		/* of one element, in heap.layouts; 0 = unknown */
	uint32_t header;		/* bytes in front of the first element */
};

/* Ends the name of a stack frame's words that none of the function's variables covers: a saved register, a
 * temporary, or what is left there of an earlier call. */
#define HEAP_UNNAMED_SLOT " unnamed slot"

struct heap_root {			/* one named root: a variable, a stack frame, a register */
	enum heap_root_kind kind;
	const char *name;		/* what a person would search for: "g_cache", "handle_conn()" */
	const char *module;		/* base name, or "" */
	const char *thread;		/* "main", "worker-3 (tid 4711)", or "" */
	uint64_t start, end;		/* addresses; a register has 0 */
	uint32_t layout;		/* of the variable, in heap.layouts; 0 = unknown */
	const char *file;		/* where it is declared, or NULL */
	uint32_t line;
};

struct heap_frame {
	const char *function, *file, *module, *language;	/* "" when unknown */
	uint32_t line;			/* 0 = unknown */
	bool inlined;
};

/* A symbolised allocation stack, frames innermost first, without the shim, allocator and operator new. */
struct heap_stack {
	const uint32_t *frames;		/* indices in heap.frames */
	uint32_t frame_count;
	bool truncated;
};

struct heap_meta {			/* value 0 or "" = unknown, unless said */
	const char *path, *command, *exe, *mode, *python, *trigger, *allocator, *hostname;
	const char *profile;		/* not "": made of that allocator's profile, see heap_is_profile() */
	uint32_t pid;
	int64_t taken_ns;		/* CLOCK_REALTIME */
	double uptime_s;
	uint64_t pause_ns, stop_ns, drain_ns, fork_ns, child_ns;
	uint64_t taken_birth;		/* birth clock when the threads had stopped */
	uint64_t capture_birth;		/* birth clock when recording began */
	uint64_t process_start_ns;	/* CLOCK_REALTIME at exec; with pid the identity of the process */
	uint64_t blocks, bytes, mappings, mapped_bytes, objects, object_bytes;
	uint64_t rss_bytes, own_bytes, lost_events;
	/* beside the account, of the same moment; of the control group all processes together */
	uint64_t pss_bytes, private_bytes, swap_bytes, lazy_free_bytes, huge_bytes, page_table_bytes;
	uint64_t cgroup_current_bytes, cgroup_max_bytes, cgroup_anon_bytes, cgroup_file_bytes, cgroup_kernel_bytes;
	uint64_t sample_bytes;		/* of a profile: one block for so many bytes was sampled; 0 = all were */
	bool consistent;
	int gc_enabled;			/* -1 = no Python */
	const char *const *notes;	/* what is uncertain about this snapshot, one sentence each */
	size_t note_count;
};

struct heap_account {			/* parts of RSS; they sum to total_bytes */
	uint64_t live_bytes, allocator_bytes, python_bytes, stacks_bytes, files_bytes,
		 shared_bytes, leakdiff_bytes, other_bytes, total_bytes;
};

/* Three parts of the account split further, each sums to its part; all 0 = not split (a file of an older minor).
 * X(part, name, sentence) */
#define HEAP_DETAILS(X)                                                                                       \
	X(live, blocks, "blocks")                                                                             \
	X(live, mappings, "mappings of the program")                                                          \
	X(live, python, "in Python's arenas")                                                                 \
	X(allocator, free, "holes between blocks")                                                            \
	X(allocator, top, "free at the end of heaps")                                                         \
	X(allocator, cached, "caches of freed blocks")                                                        \
	X(allocator, dirty, "freed pages that are kept")                                                      \
	X(allocator, muzzy, "pages given back lazily")                                                        \
	X(allocator, metadata, "its own records")                                                             \
	X(allocator, unrecorded, "blocks that nobody recorded")                                               \
	X(allocator, unread, "arenas that were not read")                                                     \
	X(allocator, overhead, "headers, rounding")                                                           \
	X(files, code, "code and constants")                                                                  \
	X(files, data, "variables of programs, libraries")

struct heap_details {
#define X(part, name, text) uint64_t part##_##name;
	HEAP_DETAILS(X)
#undef X
};

#define HEAP_ARENA_CLASSES 40
struct heap_arena_class {
	uint64_t free_count, free_bytes, used_count, used_bytes;
};

/* Numbers of an arena, as struct stream_arena explains them; HEAP_ARENA_UNKNOWN = that allocator does not say.
 * X(name) */
#define HEAP_ARENA_NUMBERS(X)                                                                                 \
	X(start) X(mapped_bytes) X(resident_bytes) X(live_bytes) X(live_count) X(used_bytes) X(used_count)    \
	X(free_bytes) X(free_count) X(free_resident_bytes) X(largest_free_bytes) X(top_bytes)                 \
	X(top_resident_bytes) X(cached_bytes) X(cached_count) X(unrecorded_bytes) X(unrecorded_count)         \
	X(trim_bytes) X(dirty_bytes) X(muzzy_bytes) X(metadata_bytes) X(retained_bytes) X(decay_ms)
#define HEAP_ARENA_UNKNOWN UINT64_MAX

struct heap_arena {			/* part of the allocator's memory */
	uint32_t kind;			/* enum stream_arena_kind */
	uint32_t number;		/* 0 = the first or main one */
	uint32_t threads;		/* that allocate from it; UINT32_MAX = unknown */
	const char *unread;		/* why only its size is known; "" = all is */
#define X(name) uint64_t name;
	HEAP_ARENA_NUMBERS(X)
#undef X
	struct heap_arena_class classes[HEAP_ARENA_CLASSES];	/* sizes of [2^i, 2^(i+1)) */
};

struct heap_cache {			/* a functools.lru_cache */
	uint32_t node;
	uint64_t entries;
	int64_t maxsize;		/* -1 = unbounded, HEAP_UNKNOWN = could not be read */
	int64_t hits, misses;		/* HEAP_UNKNOWN = could not be read */
};
#define HEAP_UNKNOWN INT64_MIN

struct heap {
	struct heap_meta meta;
	struct heap_account account;
	struct heap_details details;
	const struct heap_arena *arenas;
	uint32_t arena_count;

	uint32_t nodes, roots;
	uint64_t edges;			/* of nodes and roots together */

	/* columns, `nodes` long */
	const uint64_t *addr, *bytes, *birth;
	const uint32_t *stack;		/* index in stacks or HEAP_NONE */
	const uint32_t *type;		/* index in types, never HEAP_NONE */
	const uint32_t *thread;		/* tid of the allocating thread, 0 = unknown */
	const uint32_t *extra;		/* Python: references that nothing explains; may be NULL */
	const uint32_t *weight;		/* sampled blocks stand for this many; NULL = all 1 */
	const uint8_t *flags;		/* enum heap_node_flags */

	/* references: targets of graph node v are edge_to[edge_start[v]] .. edge_to[edge_start[v + 1] - 1] */
	const uint32_t *edge_start;	/* nodes + roots + 1 long */
	const uint32_t *edge_to;	/* node ids, never roots; sorted within a source */

	const struct heap_root *root;	/* `roots` long; graph id = nodes + index */
	const struct heap_type *types;
	uint32_t type_count;
	const struct heap_stack *stacks;
	uint32_t stack_count;
	const struct heap_frame *frames;
	uint32_t frame_count;
	const struct heap_cache *caches;	/* ascending by node */
	uint32_t cache_count;
	const struct layouts *layouts;	/* types of C and C++ in memory, see layout.h; NULL = none are known */

	void *owner;			/* of whoever made it; not for others */
};

/* Made of an allocator's own profile: a node stands for all blocks of one stack and has their mean size.
 * There are no addresses or births to match blocks by, and no references: one root holds everything. */
static inline bool heap_is_profile(const struct heap *heap)
{
	return heap->meta.profile && *heap->meta.profile;
}

struct heap_reference {			/* one labelled reference */
	uint32_t from, to;		/* graph node id, node id */
	enum heap_label label;
	uint64_t value;			/* offset, index; see stream.h */
	const char *text;		/* name or key for ATTR, KEY, LOCAL, CELL, NAMED; else NULL */
	uint64_t target_offset;		/* interior pointer: bytes into the target */
	bool interior;
};

/* Read the labelled references of one graph node.
 *
 * visit returns 0 to go on, else its value is returned. Strings live until heap_free().
 * Returns 0, what visit returned, or a negative errno (-EBADMSG: the file is damaged). */
int heap_references(const struct heap *heap, uint32_t source,
		    int (*visit)(const struct heap_reference *ref, void *data), void *data)
	__attribute__((warn_unused_result));

/* Could references to so many lost things lie in memory of the service that was not scanned: has it so many words? */
bool heap_may_hide(const struct heap *heap, uint64_t things);

/* Are these the words of a frame that no variable covers, see HEAP_UNNAMED_SLOT? */
bool heap_root_is_unnamed_slot(const struct heap_root *root);

/* How full the lru_cache is that a node is; NULL = it is none. */
const struct heap_cache *heap_cache_of(const struct heap *heap, uint32_t node);

/* For tests and synthetic models: make a heap from arrays. Everything that `model` points to is
 * borrowed and must outlive the heap; `refs` (sorted by from) answer heap_references().
 * edge_start and edge_to are computed from refs. Returns 0 or -ENOMEM, -EINVAL. */
int heap_build(const struct heap *model, const struct heap_reference *refs, size_t ref_count,
	       struct heap **ret_heap) __attribute__((warn_unused_result));

/* Columns that nobody will ask for again: they are released and NULL afterwards. heap_references() goes
 * on to answer. */
enum heap_part {
	HEAP_PART_EDGES = 1,		/* edge_start, edge_to */
	HEAP_PART_IDENTITY = 2,		/* addr, birth */
	HEAP_PART_THREAD = 4,		/* thread, and of a file what only SQL asks for */
};
void heap_drop(struct heap *heap, unsigned parts);

/* Release a heap, however it was made; accepts NULL, returns NULL. */
struct heap *heap_free(struct heap *heap);

#endif
