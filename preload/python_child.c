/* SPDX-License-Identifier: Apache-2.0
 * L3  python_child.c - what the snapshot child needs before it may touch an object.
 *
 * (1) All three allocator domains of the interpreter become a bump allocator over our own mappings:
 *     the child then never enters malloc or pymalloc, whose locks and lists are as the fork froze
 *     them, and freeing an object dirties nothing.
 * (2) A memory fault, or a traversal that does not come to an end, ends the guarded call and costs
 *     one object.
 * (3) Fields are read at the offsets of python_layout.inc and each is checked for what it should
 *     be (a code object, a tuple, a str) before it is believed. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "fault.h"
#include "kernel.h"
#include "python_private.h"

/* --- memory -------------------------------------------------------------------------------- */

#define BUMP_CHUNK (4u << 20)
#define BUMP_HEADER 16u
#define LOOP_SECONDS 3

void *ld__py_map(uint64_t bytes)
{
	long r = ld__sys6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return ld__sys_failed(r) ? NULL : (void *)r;
}

void ld__py_unmap(void *start, uint64_t bytes)
{
	if (start)
		ld__sys2(SYS_munmap, start, bytes);
}

void *ld__py_vector_add(struct py_vector *vector, uint64_t bytes)
{
	void *added;

	if (vector->bytes + bytes > vector->room) {
		uint64_t room = vector->room ? vector->room * 2 : 1u << 20;
		long r;

		while (room < vector->bytes + bytes)
			room *= 2;
		if (!vector->at) {
			vector->at = ld__py_map(room);
			if (!vector->at)
				return NULL;
		} else {
			r = ld__sys4(SYS_mremap, vector->at, vector->room, room, MREMAP_MAYMOVE);
			if (ld__sys_failed(r))
				return NULL;
			vector->at = (void *)r;
		}
		vector->room = room;
	}
	added = vector->at + vector->bytes;
	vector->bytes += bytes;
	return added;
}

struct chunk { uint64_t start, end; };

static struct {
	uint64_t next, end;
	struct py_vector chunks;
} bump;

static uint64_t *bump_size_of(void *block)
{
	return (uint64_t *)block - 1;
}

static void *bump_malloc(void *ctx, size_t bytes)
{
	uint64_t need = BUMP_HEADER + ((bytes + 15) & ~15ull), start;

	(void)ctx;
	if (bytes > 1ull << 40)
		return NULL;
	if (bump.next + need > bump.end) {
		uint64_t room = need > BUMP_CHUNK ? (need + 4095) & ~4095ull : BUMP_CHUNK;
		struct chunk *chunk = ld__py_vector_add(&bump.chunks, sizeof(*chunk));
		void *map = chunk ? ld__py_map(room) : NULL;

		if (!map)
			return NULL;
		bump.next = (uint64_t)(uintptr_t)map;
		bump.end = bump.next + room;
		*chunk = (struct chunk){ bump.next, bump.end };
	}
	start = bump.next + BUMP_HEADER;
	bump.next += need;
	*bump_size_of((void *)(uintptr_t)start) = bytes;
	return (void *)(uintptr_t)start;
}

static void *bump_calloc(void *ctx, size_t count, size_t bytes)
{
	void *block;

	if (bytes && count > (1ull << 40) / bytes)
		return NULL;
	block = bump_malloc(ctx, count * bytes);
	if (block)
		memset(block, 0, count * bytes);	/* a rolled back block is not fresh */
	return block;
}

bool ld__py_bump_owns(uint64_t addr)
{
	const struct chunk *chunks = (const void *)bump.chunks.at;

	for (uint64_t i = 0; i < bump.chunks.bytes / sizeof(*chunks); i++)
		if (addr - chunks[i].start < chunks[i].end - chunks[i].start)
			return true;
	return false;
}

/* The last block is taken back, so that a size asked of a million objects costs one int's memory. */
static void bump_free(void *ctx, void *old)
{
	uint64_t start = (uint64_t)(uintptr_t)old;

	(void)ctx;
	if (!old || !ld__py_bump_owns(start))
		return;
	if (start + ((*bump_size_of(old) + 15) & ~15ull) == bump.next)
		bump.next = start - BUMP_HEADER;
}

static void *bump_realloc(void *ctx, void *old, size_t bytes)
{
	void *block = bump_malloc(ctx, bytes);

	if (!block || !old)
		return block;
	if (ld__py_bump_owns((uint64_t)(uintptr_t)old)) {
		size_t had = *bump_size_of(old);

		memcpy(block, old, had < bytes ? had : bytes);
	} else {
		/* how large it was is the old allocator's secret: take what can be read */
		struct iovec to = { block, bytes }, from = { old, bytes };

		ld__sys6(SYS_process_vm_readv, ld__sys_getpid(), &to, 1, &from, 1, 0);
	}
	return block;
}

void ld__py_bump_install(void)
{
	static struct py_allocator allocator = { NULL, bump_malloc, bump_calloc, bump_realloc,
						 bump_free };

	for (int domain = 0; domain < 3; domain++)
		ld__py.PyMem_SetAllocator(domain, &allocator);
}

/* --- guard --------------------------------------------------------------------------------- */

uint32_t ld__py_faults;
struct py_fault ld__py_first_fault;

static volatile uint32_t ticks;

/* One second of processor time has passed; the same call has had too many of them. */
static void on_tick(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	if (!ld__fault_guarded || ++ticks < LOOP_SECONDS)
		return;
	ld__fault_guarded = false;
	ld__fault_addr = ld__fault_pc = 0;
	ld__fault_signal = 0;
	siglongjmp(ld__fault_jump, 1);
}

void ld__py_guard_install(void)
{
	struct kernel_sigaction tick = {
		.handler = (void *)on_tick, .flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	struct itimerval every = { { 1, 0 }, { 1, 0 } };

	ld__kernel_sigaction(SIGPROF, &tick, NULL);
	ld__sys3(SYS_setitimer, ITIMER_PROF, &every, 0);
}

static void note_fault(const struct py_fault *fault)
{
	if (!ld__py_faults++)
		ld__py_first_fault = *fault;
}

void ld__py_fault_note(const char *what, uint64_t object)
{
	note_fault(&(struct py_fault){ .what = what, .object = object });
}

static bool guarded(void (*call)(uint64_t arg), uint64_t arg)
{
	if (!FAULT_GUARD()) {
		ld__py.PyErr_Clear();
		return false;
	}
	ticks = 0;
	call(arg);
	ld__fault_leave();
	return true;
}

bool ld__py_guarded(const char *what, void (*call)(uint64_t arg), uint64_t arg)
{
	if (guarded(call, arg))
		return true;
	if (what)
		note_fault(&(struct py_fault){ what, arg, ld__fault_addr, ld__fault_pc, ld__fault_signal });
	return false;
}

bool ld__py_guarded_item(const char *what, void (*call)(uint64_t arg), uint32_t index)
{
	if (guarded(call, index))
		return true;
	note_fault(&(struct py_fault){ what, ld__py_object(index), ld__fault_addr, ld__fault_pc,
				       ld__fault_signal });
	return false;
}

void ld__py_guard_pause(bool pause)
{
	ld__fault_guarded = !pause;
}

/* --- instances ----------------------------------------------------------------------------- */

bool ld__py_dict_is_split(uint64_t dict)
{
	return py_word(dict, DICT_VALUES) != 0;
}

bool ld__py_dict_is_embedded(uint64_t dict)
{
	uint64_t values = py_word(dict, DICT_VALUES);

	return values && ld__py.version >= 313 && py_byte(values, 2) != 0;
}

bool ld__py_inline_values(const struct py_type_info *info, uint64_t object, struct py_inline *ret_inline)
{
	uint64_t keys, values = 0;
	uint64_t entries;

	if (ld__py.version < 311 || !(info->flags & FLAG_MANAGED_DICT) || !(info->flags & FLAG_HEAPTYPE))
		return false;
	keys = py_word(info->type, ld__py.layout.ht_keys);
	if (!keys)
		return false;
	if (ld__py.version == 311) {
		values = py_word(object, -32);
	} else if (ld__py.version == 312) {
		values = py_word(object, -24);
		values = values & 1 ? values + 1 : 0;
	} else if (info->flags & FLAG_INLINE_VALUES) {
		values = object + info->basicsize;
		if (!py_byte(values, 3))	/* the values moved to a dict of their own */
			return false;
		values += 8;
	}
	if (!values)
		return false;
	entries = py_word(keys, 24);		/* dk_nentries */
	if (entries > 4096 || py_byte(keys, 10) != 2 || py_byte(keys, 9) > 16)	/* kind split, log2 of the index bytes */
		return false;
	ret_inline->values = values;
	ret_inline->names = keys + 32 + (1ull << py_byte(keys, 9));
	ret_inline->count = (uint32_t)entries;
	ret_inline->separate = ld__py.version < 313;
	return true;
}

uint64_t ld__py_shared_name(uint64_t type, uint32_t index)
{
	uint64_t keys = py_word(type, ld__py.layout.ht_keys), size, entries;

	if (!keys || !(py_word(type, TP_FLAGS) & FLAG_HEAPTYPE))
		return 0;
	if (ld__py.version >= 311) {
		if (index >= py_word(keys, 24) || py_byte(keys, 10) != 2 || py_byte(keys, 9) > 16)
			return 0;
		return py_word(keys + 32 + (1ull << py_byte(keys, 9)), 16l * index);
	}
	size = py_word(keys, 8);
	if (index >= py_word(keys, 32) || size > 1 << 20)
		return 0;
	entries = keys + 40 + size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
	return py_word(entries, 24l * index + 8);
}

uint64_t ld__py_instance_dict(const struct py_type_info *info, uint64_t object)
{
	int64_t offset = info->dictoffset;

	if (ld__py.version >= 311 && (info->flags & FLAG_MANAGED_DICT)) {
		uint64_t dict = py_word(object, -24);

		if (ld__py.version == 312 && (dict & 1))
			return 0;
		return dict;
	}
	if (!offset)
		return 0;
	if (offset < 0) {
		int64_t items = (int64_t)py_word(object, OB_SIZE);
		uint64_t size;

		if (items < 0)
			items = -items;
		size = info->basicsize + (uint64_t)items * info->itemsize;
		offset += (int64_t)((size + 7) & ~7ull);
		if (offset <= 0)
			return 0;
	}
	return py_word(object, offset);
}

void ld__py_members(uint64_t type, uint64_t object,
		    void (*visit)(const char *name, uint64_t target, void *data), void *data)
{
	struct member {			/* PyMemberDef */
		const char *name;
		int type;
		int64_t offset;
		int flags;
		const char *doc;
	} const *member;
	int depth = 0;

	for (; type && depth < 64; type = py_word(type, TP_BASE), depth++) {
		member = (const void *)(uintptr_t)py_word(type, TP_MEMBERS);
		for (int n = 0; member && member->name && n < 4096; member++, n++) {
			bool relative = member->flags & 8;	/* Py_RELATIVE_OFFSET, 3.12 */
			uint64_t target;

			/* T_OBJECT 6, T_OBJECT_EX 16; variable-sized types keep theirs elsewhere */
			if ((member->type != 6 && member->type != 16) || relative || member->offset <= 0 ||
			    member->offset > 1 << 20)
				continue;
			target = py_word(object, member->offset);
			if (target)
				visit(member->name, target, data);
		}
	}
}

/* --- code and frames ----------------------------------------------------------------------- */

bool ld__py_is_code(uint64_t object)
{
	return object && !(object & 7) && py_type(object) == ld__py.PyCode_Type;
}

const struct py_part *ld__py_code_parts(void)
{
	static const struct py_part old[] = {
		{ "co_code", 48 }, { "co_consts", 56 }, { "co_names", 64 }, { "co_varnames", 72 },
		{ "co_freevars", 80 }, { "co_cellvars", 88 }, { "co_filename", 104 },
		{ "co_name", 112 }, { "co_linetable", 120 }, { NULL, -1 },
	};
	static const struct py_part new[] = {
		{ "co_consts", 24 }, { "co_names", 32 }, { "co_exceptiontable", 40 },
		{ "co_localsplusnames", 96 }, { "co_localspluskinds", 104 }, { "co_filename", 112 },
		{ "co_name", 120 }, { "co_qualname", 128 }, { "co_linetable", 136 }, { NULL, -1 },
	};

	return ld__py.version < 311 ? old : new;
}

uint64_t ld__py_tstate_frame(uint64_t tstate)
{
	uint64_t frame = py_word(tstate, ld__py.layout.tstate_frame);

	if (frame && ld__py.layout.cframe_frame >= 0)
		frame = py_word(frame, ld__py.layout.cframe_frame);
	return frame;
}

uint64_t ld__py_generator_frame(uint64_t generator)
{
	if (ld__py.version < 311)
		return py_word(generator, ld__py.layout.gen_frame);
	/* FRAME_CREATED -2/-3, FRAME_SUSPENDED -1/-2, FRAME_EXECUTING 0; above: finished */
	if ((int8_t)py_byte(generator, ld__py.layout.gen_state) > 0)
		return 0;
	return generator + (uint64_t)ld__py.layout.gen_frame;
}

bool ld__py_frame_read(uint64_t frame, struct py_frame *ret_frame)
{
	const struct python_layout *l = &ld__py.layout;
	uint64_t code, slots, stack;

	if (!frame || (frame & 7))
		return false;
	memset(ret_frame, 0, sizeof(*ret_frame));
	ret_frame->frame = frame;
	ret_frame->back = py_word(frame, l->frame_back);
	if (l->frame_owner >= 0 && py_byte(frame, l->frame_owner) == 3)
		return false;			/* a marker on the C stack, not a call */
	code = py_word(frame, l->frame_code);
	if (!ld__py_is_code(code))
		return false;
	if (ld__py.version >= 312 && py_int(code, l->code_line) == 0)
		return false;			/* a step of the interpreter's own, before an __init__ */
	ret_frame->code = code;
	ret_frame->globals = py_word(frame, l->frame_globals);
	ret_frame->builtins = py_word(frame, l->frame_builtins);
	ret_frame->locals = py_word(frame, l->frame_locals);
	ret_frame->slots = frame + (uint64_t)l->frame_slots;
	if (ld__py.version >= 311) {
		ret_frame->func = py_word(frame, l->frame_func);
		ret_frame->object = py_word(frame, l->frame_object);
		slots = (uint32_t)py_int(code, l->code_nslots);
		stack = (uint32_t)py_int(frame, l->frame_stack);
		if (stack > slots && stack - slots <= (uint32_t)py_int(code, l->code_stack))
			ret_frame->stack_count = (uint32_t)(stack - slots);
	} else {
		uint64_t cells = py_word(code, 88), frees = py_word(code, 80), top;

		ret_frame->object = frame;
		slots = (uint32_t)py_int(code, l->code_nslots) + py_word(cells, OB_SIZE) +
			py_word(frees, OB_SIZE);
		stack = py_word(frame, 64);		/* f_valuestack */
		if (ld__py.version == 310) {
			int depth = py_int(frame, l->frame_stack);

			ret_frame->stack_count = depth > 0 ? (uint32_t)depth : 0;
		} else {
			top = py_word(frame, l->frame_stack);
			if (top > stack)
				ret_frame->stack_count = (uint32_t)((top - stack) / 8);
		}
		if (ret_frame->stack_count > (uint32_t)py_int(code, l->code_stack))
			ret_frame->stack_count = 0;
	}
	if (slots > 1 << 20)
		return false;
	ret_frame->slot_count = (uint32_t)slots;
	return true;
}

uint64_t ld__py_greenlet_frame(const struct py_type_info *info, uint64_t greenlet)
{
	py_object *descriptor = NULL, *frame;
	py_object *(*get)(py_object *, void *);
	uint64_t definition, type = info->type;

	for (; type && !descriptor; type = py_word(type, TP_BASE))
		if (py_word(type, TP_DICT))
			descriptor = ld__py.PyDict_GetItemString(
				(py_object *)(uintptr_t)py_word(type, TP_DICT), "gr_frame");
	if (!descriptor)
		return 0;
	type = py_type((uint64_t)(uintptr_t)descriptor);
	if (strcmp((const char *)(uintptr_t)py_word(type, TP_NAME), "getset_descriptor") != 0)
		return 0;
	definition = py_word((uint64_t)(uintptr_t)descriptor, 40);
	get = (py_object *(*)(py_object *, void *))(uintptr_t)py_word(definition, 8);
	frame = get ? get((py_object *)(uintptr_t)greenlet, (void *)(uintptr_t)py_word(definition, 32)) : NULL;
	if (!frame || py_type((uint64_t)(uintptr_t)frame) != ld__py.PyFrame_Type) {
		ld__py.PyErr_Clear();
		return 0;
	}
	return ld__py.version < 311 ? (uint64_t)(uintptr_t)frame : py_word((uint64_t)(uintptr_t)frame, 24);
}

int ld__py_frame_at(const struct py_frame *frame)
{
	const struct python_layout *l = &ld__py.layout;

	if (ld__py.version >= 311)
		return (int)(py_word(frame->frame, l->frame_lasti) - (frame->code + (uint64_t)l->code_bytes));
	return py_int(frame->frame, l->frame_lasti) * (ld__py.version == 310 ? 2 : 1);
}

uint64_t ld__py_slot_name(uint64_t code, uint32_t slot)
{
	uint64_t names = py_word(code, ld__py.layout.code_slotnames), count;

	if (ld__py.version < 311) {
		static const int parts[] = { 72, 88, 80 };	/* variables, cells, free variables */

		for (int i = 0; i < 3; i++) {
			names = py_word(code, parts[i]);
			count = py_word(names, OB_SIZE);
			if (slot < count)
				return py_word(names, 24 + 8l * slot);
			slot -= (uint32_t)count;
		}
		return 0;
	}
	if (!names || py_type(names) != ld__py.PyTuple_Type || slot >= py_word(names, OB_SIZE))
		return 0;
	return py_word(names, 24 + 8l * slot);
}

const char *ld__py_text(uint64_t str)
{
	const char *text;
	long bytes = 0;

	if (!str || !(py_word(py_type(str), TP_FLAGS) & FLAG_UNICODE))
		return "";
	text = ld__py.PyUnicode_AsUTF8AndSize((py_object *)(uintptr_t)str, &bytes);
	if (!text) {
		ld__py.PyErr_Clear();		/* a lone surrogate has no UTF-8 */
		return "";
	}
	return text;
}
