/* SPDX-License-Identifier: Apache-2.0
 * L3  python.h - CPython seen from outside: is it there, what are its objects, who holds them.
 *
 * Only python*.c know CPython. They need none of its headers and no symbol of it at link time: what
 * they call is looked up in the running process, what they read lies at offsets that are fixed per
 * minor version (python_layout.inc) and are checked before use.
 *
 *   service     ld__python_present()                 before the threads are stopped
 *               ld__python_with_gil(take a snapshot)  a thread of ours holds the GIL across the fork
 *   child       ld__python_child_begin()             bump allocators, no collector, fault guard
 *               ld__python_enumerate()               find every object
 *               ld__python_objects(...)              each with its size and type
 *               ld__python_buffers(object, ...)      memory that it owns beside itself
 *               ld__python_references(object, ...)   exact, labelled references of one object
 *               ld__python_held(word)                a native word points at an object: who explains it
 *               ld__python_roots(...)                modules, running frames, held from C
 *
 * The child never releases the GIL, never runs bytecode, never imports, never prints through Python;
 * so no lock that another thread held at the fork is ever wanted. */
#ifndef LEAKDIFF_PYTHON_H
#define LEAKDIFF_PYTHON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is there an interpreter that is initialised, not finalising, and of a kind we can read? Cheap when
 * there is none. May take the loader's lock: never while threads are stopped.
 * ret_why (may be NULL): set to a sentence when the answer is no although CPython is loaded. */
bool ld__python_present(const char **ret_why);

/* Is CPython in this process at all (symbols found), whatever its state? Cheap, cached, no loader
 * lock once found; the answer may turn from false to true (an embedder opens it late). */
bool ld__python_loaded(void);

/* Why it is loaded but not for us; "" otherwise. */
const char *ld__python_why(void);

/* Does this address lie in the ELF object that is the interpreter? Only once that was looked for. */
bool ld__python_is_own_code(const void *address);

/* Run call(data) in a short-lived thread of ours that holds the GIL, and wait for it.
 *
 * The thread inherits the caller's descriptor table and blocks all signals. Outcome:
 *   0            call has run
 *   -ETIMEDOUT   the GIL could not be had in time; call will not run (the thread goes away by itself
 *                when it gets the GIL), ret_holder_tid names the thread that holds it (0 = unknown)
 *   -ECANCELED   the interpreter is ending
 *   -EBUSY       such a late thread still waits
 *   other        the thread could not be made */
int ld__python_with_gil(void (*call)(void *data), void *data, uint64_t timeout_ns,
			uint32_t *ret_holder_tid);

/* Fork child of the service: the thread above was not inherited. */
void ld__python_after_fork_child(void);

/* One key=value fact for META per call; values are short texts. After enumerate in the child. */
void ld__python_facts(void (*fact)(const char *key, const char *value, void *data), void *data);

/* --- in the snapshot child, which holds the GIL -------------------------------------------- */

/* Must be the first thing that concerns Python. Returns 0, or -ENOMEM / -ENOTSUP. */
int ld__python_child_begin(void);

struct python_object {
	uint64_t addr;			/* first byte of its allocation: before the GC header, if it has one */
	uint64_t bytes;			/* sys.getsizeof */
	uint64_t object;		/* what a PyObject * to it would be */
	uint64_t type;			/* address of its type object, for ld__python_type_name() */
	uint64_t own_bytes;		/* from addr, without buffers elsewhere */
	uint32_t index;			/* dense, from 0, ascending by address */
	uint32_t type_index;		/* dense */
	uint32_t extra;			/* references that no reference found explains */
};

struct python_buffer {			/* memory that an object owns beside itself */
	uint64_t owner;			/* object */
	uint32_t index;			/* its index */
	uint64_t addr;			/* somewhere in the native block, usually its first byte */
	const char *what;		/* NULL: its bytes are part of the owner's size already; else what
					 * it is of the owner: "attributes"; its own "dict" is an object */
};

/* Find every object. Objects that lie in no allocation (static types, None) come too. Returns how many.
 *
 * offer  called when all is found that other objects, frames and modules lead to: the caller offers blocks
 *        by ld__python_adopt(), since what only C holds and the collector does not track is met in no other
 *        way; may be NULL */
uint64_t ld__python_enumerate(void (*offer)(void *data), void *data);

/* A live block of malloc: is it a bytes, str or int that nothing led to? Then it is one more object. */
void ld__python_adopt(uint64_t addr, uint64_t bytes);

/* Visit every object in the order of its index, which is that of addresses. */
void ld__python_objects(void (*visit)(const struct python_object *object, void *data), void *data);

/* Visit the buffers of object number `index`. */
void ld__python_buffers(uint32_t index,
			void (*visit)(const struct python_buffer *buffer, void *data), void *data);

/* Is [start, end), a mapping, an arena of Python's own allocator? Then how much of it is in blocks in use:
 * objects, and small buffers of theirs. */
bool ld__python_arena(uint64_t start, uint64_t end, uint64_t *ret_used_bytes);

/* Index of the first object at or behind an address; UINT32_MAX = there is none. */
uint32_t ld__python_index_from(uint64_t addr);

struct python_reference {
	uint64_t target;		/* object; for OWNS and CAPSULE with !is_object any address */
	uint64_t value;			/* for labels with a number */
	const char *text;		/* for labels with a text: NUL-terminated UTF-8, until visit returns */
	uint64_t text_id;		/* equal ids mean equal texts (0 = none): a cheap key for interning */
	uint32_t label;			/* enum stream_label */
	uint32_t index;			/* of the target if it is an object */
	bool is_object;
};

/* References of one object. */
void ld__python_references(uint32_t index,
			   void (*visit)(const struct python_reference *ref, void *data), void *data);

/* A word in native memory: is it the address of an object with unexplained references? Then it
 * is taken to be one of them. A word that merely looks like an object all of whose references are
 * known is not a reference. */
bool ld__python_held(uint64_t word);

/* Address of object number `index`; quick for ascending indices. */
uint64_t ld__python_address(uint32_t index);

/* sys.getsizeof of object number `index`, and the dense index of its type. */
uint64_t ld__python_bytes(uint32_t index);
uint32_t ld__python_type_index(uint32_t index);

/* References of object number `index` that nothing explains by now. */
uint32_t ld__python_unexplained(uint32_t index);

/* Name as module.qualname (built-in types without module), valid until the child ends. */
const char *ld__python_type_name(uint64_t type);

struct python_root {
	uint64_t start;			/* module object, frame; 0 for C */
	uint32_t kind;			/* enum stream_root_kind: PY_MODULE, PY_FRAME, PY_C */
	uint32_t tid;			/* PY_FRAME: native thread id, 0 = unknown */
	uint64_t thread_pointer;	/* PY_FRAME: pthread_t of the thread, 0 = unknown */
	const char *name;		/* until the visit returns */
};

/* Visit roots, each followed by its references. PY_C comes last: the references of objects that are
 * part of the interpreter's own data (placed() says that such an object is no node: static types and
 * the like), then whatever is unexplained after all calls of ld__python_held(). */
void ld__python_roots(bool (*placed)(uint32_t index, void *data),
		      void (*root)(const struct python_root *root, void *data),
		      void (*reference)(const struct python_reference *ref, void *data), void *data);

struct python_cache {			/* a functools.lru_cache */
	uint32_t index;			/* of the wrapper object */
	uint64_t entries;
	int64_t maxsize;		/* -1 = unbounded, INT64_MIN = unknown */
	uint64_t hits, misses;		/* UINT64_MAX = unknown */
};

/* Visit every lru_cache wrapper. After ld__python_enumerate(). */
void ld__python_caches(void (*visit)(const struct python_cache *cache, void *data), void *data);

enum python_trace_kind { PYTHON_TRACE_THREAD = 1, PYTHON_TRACE_TASK, PYTHON_TRACE_GREENLET };

struct python_thread {
	uint32_t kind;			/* enum python_trace_kind */
	uint32_t tid;			/* thread: native id, 0 = unknown */
	uint64_t thread_pointer;	/* thread: its pthread_t */
	uint64_t object;		/* task, greenlet */
	const char *name, *state;	/* until the visit returns */
};

struct python_trace {
	const char *function, *file;
	uint32_t line;			/* 0 = unknown */
	const char *locals;		/* "self, request", or with LEAKDIFF_VALUES "n=1, name='x'" */
};

/* Visit every thread, unfinished task and suspended greenlet, each followed by its frames, innermost
 * first. After ld__python_enumerate(). */
void ld__python_traces(void (*thread)(const struct python_thread *thread, void *data),
		       void (*trace)(const struct python_trace *trace, void *data), void *data);

#endif
