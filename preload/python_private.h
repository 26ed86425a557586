/* SPDX-License-Identifier: Apache-2.0
 * L3  python_private.h - what python*.c share: symbols, layout, the tables of the child. */
#ifndef LEAKDIFF_PYTHON_PRIVATE_H
#define LEAKDIFF_PYTHON_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "marks.h"
#include "python.h"

typedef struct py_object py_object;	/* never complete: only read at offsets */

struct python_layout {
	int version;
	int tstate_frame, cframe_frame, frame_back, frame_code, frame_func, frame_globals,
		frame_builtins, frame_locals, frame_object, frame_stack, frame_lasti, frame_owner,
		frame_slots, code_bytes, code_file, code_name, code_qualname, code_line,
		code_linetable, code_nslots, code_slotnames, code_stack, gen_frame, gen_state,
		thread_id, native_id, ht_qualname, ht_keys;
};

/* The same in every version that we read. */
enum {
	OB_REFCNT = 0, OB_TYPE = 8, OB_SIZE = 16,
	TP_NAME = 24, TP_BASICSIZE = 32, TP_ITEMSIZE = 40, TP_DEALLOC = 48, TP_FLAGS = 168, TP_TRAVERSE = 184,
	TP_WEAKLISTOFFSET = 208, TP_MEMBERS = 240, TP_BASE = 256, TP_DICT = 264, TP_DICTOFFSET = 288,
	TP_IS_GC = 328, TP_BASES = 336, TP_MRO = 344,
	LIST_ITEMS = 24, DICT_KEYS = 32, DICT_VALUES = 40,
};
#define FLAG_INLINE_VALUES (1ul << 2)
#define FLAG_MANAGED_WEAKREF (1ul << 3)
#define FLAG_MANAGED_DICT (1ul << 4)
#define FLAG_HEAPTYPE (1ul << 9)
#define FLAG_HAVE_GC (1ul << 14)
#define FLAG_LONG (1ul << 24)
#define FLAG_LIST (1ul << 25)
#define FLAG_TUPLE (1ul << 26)
#define FLAG_BYTES (1ul << 27)
#define FLAG_UNICODE (1ul << 28)
#define FLAG_DICT (1ul << 29)
#define FLAG_EXCEPTION (1ul << 30)
#define FLAG_TYPE (1ul << 31)

static inline uint64_t py_word(uint64_t addr, long offset)
{
	return *(const uint64_t *)(uintptr_t)(addr + (uint64_t)offset);
}
static inline int32_t py_int(uint64_t addr, long offset)
{
	return *(const int32_t *)(uintptr_t)(addr + (uint64_t)offset);
}
static inline uint8_t py_byte(uint64_t addr, long offset)
{
	return *(const uint8_t *)(uintptr_t)(addr + (uint64_t)offset);
}
static inline uint64_t py_type(uint64_t object)
{
	return py_word(object, OB_TYPE);
}

typedef int (*py_visitproc)(py_object *object, void *data);
typedef int (*py_traverseproc)(py_object *self, py_visitproc visit, void *data);

struct py_allocator {			/* PyMemAllocatorEx */
	void *ctx;
	void *(*malloc)(void *ctx, size_t bytes);
	void *(*calloc)(void *ctx, size_t count, size_t bytes);
	void *(*realloc)(void *ctx, void *old, size_t bytes);
	void (*free)(void *ctx, void *old);
};

/* X(required, return type, name, parameters): functions */
#define PYTHON_FUNCTIONS(X)                                                                         \
	X(1, int, Py_IsInitialized, (void))                                                         \
	X(1, const char *, Py_GetVersion, (void))                                                   \
	X(1, void *, PyThreadState_New, (void *))                                                   \
	X(1, void, PyThreadState_Clear, (void *))                                                   \
	X(1, void, PyThreadState_DeleteCurrent, (void))                                             \
	X(1, void, PyEval_RestoreThread, (void *))                                                  \
	X(1, void *, PyGILState_GetThisThreadState, (void))                                         \
	X(1, py_object *, PyList_New, (long))                                                       \
	X(1, int, PyDict_Next, (py_object *, long *, py_object **, py_object **))                   \
	X(1, const char *, PyUnicode_AsUTF8AndSize, (py_object *, long *))                          \
	X(1, long, PyLong_AsSsize_t, (py_object *))                                                 \
	X(1, long long, PyLong_AsLongLongAndOverflow, (py_object *, int *))                         \
	X(1, void, Py_DecRef, (py_object *))                                                        \
	X(1, void, PyErr_SetNone, (py_object *))                                                    \
	X(1, void, PyErr_Clear, (void))                                                             \
	X(1, py_object *, _PyType_Lookup, (py_object *, py_object *))                               \
	X(1, py_object *, PyUnicode_InternFromString, (const char *))                               \
	X(1, py_object *, PyImport_GetModuleDict, (void))                                           \
	X(1, py_object *, PyDict_GetItemString, (py_object *, const char *))                        \
	X(1, void, PyMem_SetAllocator, (int, struct py_allocator *))                                \
	X(1, void *, PyInterpreterState_Head, (void))                                               \
	X(1, void *, PyInterpreterState_Next, (void *))                                             \
	X(1, void *, PyInterpreterState_ThreadHead, (void *))                                       \
	X(1, void *, PyThreadState_Next, (void *))                                                  \
	X(1, int, PyCode_Addr2Line, (py_object *, int))                                             \
	X(0, py_object *, PyType_GetDict, (py_object *))                                            \
	X(0, void, PyMem_GetAllocator, (int, struct py_allocator *))                                \
	X(1, void *, PyInterpreterState_Main, (void))                                               \
	X(0, int, PyGC_Disable, (void))                                                             \
	X(0, int, PyGC_IsEnabled, (void))                                                           \
	X(0, int, _Py_IsFinalizing, (void))                                                         \
	X(0, int, Py_IsFinalizing, (void))                                                          \
	X(0, void *, _PyThreadState_UncheckedGet, (void))                                           \
	X(0, void *, PyThreadState_GetUnchecked, (void))

/* X(name): static types and other data; absent ones are 0 */
#define PYTHON_DATA(X)                                                                              \
	X(PyType_Type) X(PyList_Type) X(PyDict_Type) X(PyTuple_Type) X(PyUnicode_Type)              \
	X(PyBytes_Type) X(PyLong_Type) X(PyFloat_Type) X(PyBool_Type) X(PyModule_Type)              \
	X(PyFunction_Type) X(PyCell_Type) X(PyCode_Type) X(PyFrame_Type) X(PyGen_Type)              \
	X(PyCoro_Type) X(PyAsyncGen_Type) X(PySet_Type) X(PyFrozenSet_Type) X(PyByteArray_Type)     \
	X(PyMethodDescr_Type) X(PyBaseObject_Type) X(PyContext_Type) X(PyContextVar_Type)           \
	X(PyTraceBack_Type) X(PyCFunction_Type) X(PyODict_Type) X(PyComplex_Type)                   \
	X(PyMethod_Type) X(PyDictProxy_Type) X(_PyEval_EvalFrameDefault)        \
	X(PyExc_MemoryError) X(_Py_NoneStruct) X(_PyRuntime)

struct python_api {
#define X(required, type, name, parameters) type (*name) parameters;
	PYTHON_FUNCTIONS(X)
#undef X
#define X(name) uint64_t name;
	PYTHON_DATA(X)
#undef X
	int version;			/* 308 .. 313 */
	char version_text[32];		/* "3.11.2" */
	bool debug_build;
	struct python_layout layout;
};

extern struct python_api ld__py __attribute__((visibility("hidden")));

/* --- memory of the child: raw mappings, never the service's allocator ---------------------- */

struct py_vector {			/* grows by mremap; bytes of one element are the user's business */
	unsigned char *at;
	uint64_t bytes, room;
};
/* Room for `bytes` more at the end; NULL when the kernel refuses. The vector may move. */
void *ld__py_vector_add(struct py_vector *vector, uint64_t bytes);
void *ld__py_map(uint64_t bytes);
void ld__py_unmap(void *start, uint64_t bytes);

/* Install bump allocators in all three domains. */
void ld__py_bump_install(void);
bool ld__py_bump_owns(uint64_t addr);

/* --- guard: memory faults and loops cost one object ---------------------------------------- */

struct py_fault {			/* the first one: what was lost, and to what */
	const char *what;		/* the kind of call; NULL = there was none */
	uint64_t object;		/* that it was about; of a walk of frames its thread state */
	uint64_t addr, pc;		/* that could not be read, and by which instruction */
	int signal;			/* 0 = it did not come to an end */
};

extern uint32_t ld__py_faults __attribute__((visibility("hidden")));
extern struct py_fault ld__py_first_fault __attribute__((visibility("hidden")));

void ld__py_guard_install(void);

/* Run call(arg); a memory fault, or some seconds of processor time without coming back, ends it and
 * is counted. Returns whether it came to its end. Not nested. The child has called ld__fault_install().
 *
 * what  a word for the call, kept of the first that fails: "count"; NULL = it only asks whether something is
 *       what it looks like, and nothing is lost when it is not: not counted
 * arg   address of the object that it is about; in ld__py_guarded_item() its index */
bool ld__py_guarded(const char *what, void (*call)(uint64_t arg), uint64_t arg);
bool ld__py_guarded_item(const char *what, void (*call)(uint64_t arg), uint32_t index);

/* Count a fault that the guard did not see: a call that came back, but without an end in sight. */
void ld__py_fault_note(const char *what, uint64_t object);

/* Inside a guarded call, around code that must not be jumped out of (the caller's visitors). */
void ld__py_guard_pause(bool pause);

/* --- objects of the child ------------------------------------------------------------------- */

enum py_kind {				/* what python_labels.c knows by name */
	PY_OTHER, PY_ATOM, PY_STR, PY_DICT, PY_LIST, PY_TUPLE, PY_SET, PY_TYPE, PY_MODULE,
	PY_FUNCTION, PY_CELL, PY_CODE, PY_FRAME, PY_GENERATOR, PY_LRU_CACHE, PY_LRU_ELEM, PY_DEQUE,
	PY_BYTEARRAY, PY_ARRAY, PY_EXCEPTION, PY_TRACEBACK, PY_CONTEXT_NODE, PY_CFUNCTION,
	PY_GREENLET,
};

struct py_type_info {
	uint64_t type;
	const char *name;		/* NULL until asked for */
	uint64_t flags;			/* tp_flags */
	py_traverseproc traverse;
	int (*is_gc)(py_object *);
	void *sizeof_call;
	uint64_t sizeof_class;		/* for METH_METHOD */
	uint32_t sizeof_flags;
	uint32_t basicsize, itemsize;
	int32_t dictoffset, weaklistoffset;
	uint8_t kind;			/* enum py_kind */
	bool exact;			/* the built-in type itself, no subclass */
	bool has_members, opaque;	/* opaque: fields of its own that nothing names */
	bool leaf;			/* strings and numbers: they refer to nothing */
	bool buffers;			/* may own memory beside its own */
	bool future;			/* asyncio's Future or Task in C */
};

#define ITEM_TYPE(t) ((t) & 0xffffffu)
#define ITEM_FOLDED (1u << 24)		/* a dict or tuple whose contents its only holder shows */
#define ITEM_IMMORTAL (1u << 25)
#define ITEM_FAULTED (1u << 26)
#define ITEM_CAPSULED (1u << 27)	/* an opaque object's word explains a reference to it */
#define ITEM_MODULE_DICT (1u << 28)

struct py_item {			/* its address: ld__py_object() */
	int32_t balance;		/* reference count minus references found */
	uint32_t type;			/* index of its py_type_info, and ITEM_* */
};

struct py_fold {			/* a module's dict and the module */
	uint64_t dict, owner;
};

struct py_heap {
	struct marks marks;		/* the addresses of all objects: their number is their index */
	struct py_item *items;
	uint32_t count;
	struct py_vector types;
	struct py_vector folds;		/* struct py_fold */
	uint32_t *type_slots;		/* open addressing: index in types + 1 */
	uint64_t type_mask;
	uint64_t tracked, bytes;
	uint64_t over_explained;	/* objects with fewer references than were found */
	bool gc_enabled, collecting, refused;
	int interpreters, skipped_interpreters;
};
extern struct py_heap ld__py_heap __attribute__((visibility("hidden")));

static inline uint32_t py_count(void)
{
	return ld__py_heap.count;
}
static inline struct py_item *py_item(uint32_t index)
{
	return ld__py_heap.items + index;
}
static inline struct py_type_info *py_info(const struct py_item *item)
{
	return (struct py_type_info *)(void *)ld__py_heap.types.at + ITEM_TYPE(item->type);
}

#define PY_NO_ITEM UINT32_MAX
uint32_t ld__py_find(uint64_t object);			/* index or PY_NO_ITEM */
uint64_t ld__py_object(uint32_t index);			/* quick for the same and the next one */
struct py_type_info *ld__py_type_info(uint64_t type);	/* NULL when out of memory; moves when types grow */
bool ld__py_is_gc(const struct py_type_info *info, uint64_t object);
uint32_t ld__py_presize(const struct py_type_info *info, uint64_t object);

/* An ordinary str whose text is ASCII, inside the object, and there alone. */
static inline bool py_is_ascii(const struct py_type_info *info, uint64_t object)
{
	return info->kind == PY_STR && info->exact && (py_int(object, 32) & 96) == 96 &&
	       (ld__py.version >= 312 || !py_word(object, 40));
}

/* Whether ld__python_buffers() has anything to look for in objects of a type (python_buffers.c). */
bool ld__py_may_own(const struct py_type_info *info);

/* The cache dict of an lru_cache wrapper, 0 when it is not found. */
uint64_t ld__py_lru_dict(const struct py_type_info *info, uint64_t object);

/* Object slots named by tp_members of a type and its bases: calls visit for each that is not NULL. */
void ld__py_members(uint64_t type, uint64_t object,
		    void (*visit)(const char *name, uint64_t target, void *data), void *data);

/* Instance attributes kept without a dict (3.11+). Returns the number of slots; NULL when there are none. */
struct py_inline {
	uint64_t values;		/* address of the first slot */
	uint64_t names;			/* address of the first key entry, 16 bytes each */
	uint32_t count;
	bool separate;			/* a block of its own, not part of the object */
};
/* The attribute names that instances of a class share: str objects, one at a time; 0 ends. */
uint64_t ld__py_shared_name(uint64_t type, uint32_t index);
bool ld__py_inline_values(const struct py_type_info *info, uint64_t object, struct py_inline *ret_inline);
uint64_t ld__py_instance_dict(const struct py_type_info *info, uint64_t object);	/* 0 = none */
bool ld__py_dict_is_embedded(uint64_t dict);		/* its values belong to an instance (3.13+) */
bool ld__py_dict_is_split(uint64_t dict);

/* One frame, running or suspended, whatever the version. */
struct py_frame {
	uint64_t frame, code, back, globals, builtins, locals, func, object;
	uint64_t slots;			/* address of the fast locals */
	uint32_t slot_count, stack_count;	/* stack_count: saved temporaries after them */
};
/* False when it is no call of a Python function; back is set all the same. */
bool ld__py_frame_read(uint64_t frame, struct py_frame *ret_frame);
uint64_t ld__py_tstate_frame(uint64_t tstate);		/* innermost, 0 = none */
uint64_t ld__py_generator_frame(uint64_t generator);	/* 0 = finished */
int ld__py_frame_at(const struct py_frame *frame);	/* byte offset of the instruction in its code */
/* Innermost frame of a suspended greenlet, 0 = it runs or has ended. */
uint64_t ld__py_greenlet_frame(const struct py_type_info *info, uint64_t greenlet);
/* Name of fast local `slot`: a str object, 0 = unknown. */
uint64_t ld__py_slot_name(uint64_t code, uint32_t slot);
bool ld__py_is_code(uint64_t object);

/* UTF-8 of a str, "" when it is none; valid until the child ends. */
const char *ld__py_text(uint64_t str);

static inline bool is_str(uint64_t object)
{
	return py_type(object) == ld__py.PyUnicode_Type;
}

/* A dict itself, no subclass; 0 is none. */
static inline bool is_plain_dict(uint64_t object)
{
	return object && !(object & 7) && py_type(object) == ld__py.PyDict_Type;
}

/* --- handing references out: python_labels.c and python_roots.c ----------------------------- */

void ld__py_give_to(void (*visit)(const struct python_reference *ref, void *data), void *data);
void ld__py_give(uint64_t target, uint32_t label, uint64_t value, const char *text, uint64_t text_id,
		 bool is_object);
void ld__py_give_named(uint64_t target, uint32_t label, const char *text);

const char *ld__py_type_name(uint64_t type);	/* like ld__python_type_name(), inside a guarded call */

const char *ld__py_key_text(uint64_t object);	/* short text of a simple value, "<type>" of others */

struct py_text { char *at, *end; };	/* end: room for the NUL is behind it */
void ld__py_put(struct py_text *text, const char *added);
void ld__py_put_number(struct py_text *text, long long value);

/* Parts of a code object that are references, terminated by offset -1. */
struct py_part { const char *name; int offset; };
const struct py_part *ld__py_code_parts(void);

#endif
