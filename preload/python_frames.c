/* SPDX-License-Identifier: Apache-2.0
 * L4  python_frames.c - see python_frames.h.
 *
 *   thread state -> innermost frame -> ... -> outermost       only this thread changes the chain
 *        (code, instruction) of each -> place (function, file, line), interned once
 *        places -> stack tree, as the hooks' native stacks
 *
 * (1) The only call into Python is the one that reads the thread-local thread state, and, once per
 *     new place, PyCode_Addr2Line(), which computes and touches nothing.
 * (2) A code object can be freed and its address used again, so a place's key has, beside code and
 *     instruction, the line table, the name and the first line.
 * (3) The first walks read through the kernel, so that a layout which is not what the table says
 *     ends in an error and not in a fault; each frame is checked. What fails switches the reader
 *     off for good. Only then it reads directly, still checking that code is a code object.
 * (4) Tables only grow: no lock, and a reader in the snapshot child finds them whole. */
#include "preload/python_frames.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include "preload/arena.h"
#include "preload/python_private.h"
#include "preload/stacks.h"
#include "preload/sys.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PROBATION 64			/* walks through the kernel */
#define PLACE_CHUNK 4096u
#define PLACE_CHUNKS 64u		/* 262144 places */
#define SLOT_COUNT (1u << 20)
#define TEXT_BYTES 300u
#define INNER_MAX 24			/* native frames kept below the last Python call */

struct spot {				/* of one frame */
	uint64_t code, at, linetable, name;
	uint32_t first_line;
};

struct place {
	struct spot spot;
	struct python_place text;
};

/* What a walk takes from a frame; all else is read only when this is new. */
struct step {
	uint64_t code, at;
};

struct python_memo {
	uint32_t count;
	struct step steps[STACKS_DEPTH_MAX];	/* outermost first */
	uint64_t linetables[STACKS_DEPTH_MAX];	/* (2) */
	uint32_t ids[STACKS_DEPTH_MAX];
	uint32_t last_native, last_python, last_mixed;
	struct step fresh[STACKS_DEPTH_MAX];	/* innermost first */
};

bool ld__python_frames_on;

static struct place *_Atomic chunks[PLACE_CHUNKS];
static _Atomic uint32_t place_count;
static _Atomic uint64_t refused;
static _Atomic uint32_t *slots;
static _Atomic int probation = PROBATION;
static const char *why = "";
static uint64_t eval_start, eval_end, text_start, text_end;

/* ---- switching on ---- */

static int find_text(struct dl_phdr_info *info, size_t size, void *data)
{
	uint64_t addr = (uint64_t)(uintptr_t)ld__py.Py_GetVersion;

	(void)size;
	(void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		uint64_t end = start + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && addr >= start && addr < end) {
			text_start = start;
			text_end = end;
			return 1;
		}
	}
	return 0;
}

/* Where the interpreter's loop is: native frames below it belong to what Python called. */
static void find_eval(void)
{
	ElfW(Sym) *symbol = NULL;
	Dl_info info;
	void *eval = (void *)(uintptr_t)ld__py._PyEval_EvalFrameDefault;

	if (eval && dladdr1(eval, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol) {
		eval_start = (uint64_t)(uintptr_t)eval;
		eval_end = eval_start + symbol->st_size;
	}
	dl_iterate_phdr(find_text, NULL);
}

void ld__python_frames_init(void)
{
	static atomic_flag busy = ATOMIC_FLAG_INIT;

	if (slots || atomic_flag_test_and_set(&busy))
		return;
	if (!ld__python_loaded()) {
		why = ld__python_why();
		atomic_flag_clear(&busy);
		return;
	}
	find_eval();
	slots = ld__arena_map(SLOT_COUNT * sizeof(*slots));
	if (!slots || !text_end) {
		why = "there is no room for Python's places";
		return;
	}
	__atomic_store_n(&ld__python_frames_on, true, __ATOMIC_RELEASE);
}

const char *ld__python_frames_why(void)
{
	return why;
}

static void switch_off(const char *reason)
{
	why = reason;
	__atomic_store_n(&ld__python_frames_on, false, __ATOMIC_RELEASE);
}

struct python_memo *ld__python_memo_new(void)
{
	return ld__arena_alloc(sizeof(struct python_memo));
}

/* ---- reading ---- */

static bool careful_read(uint64_t addr, void *to, size_t bytes)
{
	struct iovec local = { to, bytes }, remote = { (void *)(uintptr_t)addr, bytes };

	long r = ld__sys6(SYS_process_vm_readv, ld__sys_getpid(), &local, 1, &remote, 1, 0);

	if (r == -EPERM || r == -ENOSYS) {	/* a filter forbids it: then the version's word must do */
		memcpy(to, (const void *)(uintptr_t)addr, bytes);
		return true;
	}
	return r == (long)bytes;
}

/* One frame, read through the kernel. Returns 0, or -1: this is not the layout that we know. */
static int check_frame(uint64_t frame, uint64_t *ret_back)
{
	const struct python_layout *l = &ld__py.layout;
	uint64_t code, type, at, owner = 0;

	if (frame & 7 || !careful_read(frame + (uint64_t)l->frame_back, ret_back, 8))
		return -1;
	if (l->frame_owner >= 0) {
		if (!careful_read(frame + (uint64_t)l->frame_owner, &owner, 1) || owner > 4)
			return -1;
		if (owner >= 3)
			return 0;
	}
	if (!careful_read(frame + (uint64_t)l->frame_code, &code, 8) || code & 7 || code < 4096 ||
	    !careful_read(code + OB_TYPE, &type, 8))
		return -1;
	if (type != ld__py.PyCode_Type)
		return ld__py.version >= 313 ? 0 : -1;	/* 3.13: None in a frame that is none */
	if (!careful_read(frame + (uint64_t)l->frame_lasti, &at, ld__py.version >= 311 ? 8 : 4))
		return -1;
	if (ld__py.version >= 311 && at - code - (uint64_t)l->code_bytes + 2 > 1u << 24)
		return -1;
	return 0;
}

/* (3): the whole chain, before it is read without care. */
static bool check_chain(uint64_t tstate)
{
	const struct python_layout *l = &ld__py.layout;
	uint64_t frame, back = 0;

	if (!careful_read(tstate + (uint64_t)l->tstate_frame, &frame, 8))
		return false;
	if (frame && l->cframe_frame >= 0 && !careful_read(frame + (uint64_t)l->cframe_frame, &frame, 8))
		return false;
	for (uint32_t n = 0; frame && n < 4 * STACKS_DEPTH_MAX; frame = back, n++)
		if (check_frame(frame, &back) < 0)
			return false;
	return true;
}

/* The Python frames of this thread, innermost first. Returns how many; *ret_truncated: there were more. */
static uint32_t walk(struct step *steps, uint32_t max, int *ret_truncated)
{
	const struct python_layout l = ld__py.layout;
	uint64_t tstate = (uint64_t)(uintptr_t)ld__py.PyGILState_GetThisThreadState(), frame;
	uint32_t count = 0, steps_left = 4 * STACKS_DEPTH_MAX;
	bool new_kind = l.frame_owner >= 0;

	*ret_truncated = 0;
	if (!tstate)
		return 0;
	if (UNLIKELY(atomic_load_explicit(&probation, memory_order_relaxed) > 0)) {
		if (!check_chain(tstate)) {
			switch_off("Python's frames are not laid out as its version says: stacks are the interpreter's own");
			return 0;
		}
		atomic_fetch_sub_explicit(&probation, 1, memory_order_relaxed);
	}
	frame = py_word(tstate, l.tstate_frame);
	if (frame && l.cframe_frame >= 0)
		frame = py_word(frame, l.cframe_frame);
	for (; frame; frame = py_word(frame, l.frame_back)) {
		if (count == max || !steps_left--) {
			*ret_truncated = 1;
			break;
		}
		if (new_kind && py_byte(frame, l.frame_owner) >= 3)
			continue;
		steps[count].code = py_word(frame, l.frame_code);
		steps[count].at = new_kind ? py_word(frame, l.frame_lasti)
					   : (uint32_t)py_int(frame, l.frame_lasti);
		count++;
	}
	return count;
}

/* All about a step that is new. False for what is no call of a Python function: a step of the interpreter's
 * own before an __init__ (3.12 and later), None in 3.13. */
static bool spot_of(const struct step *step, struct spot *ret_spot)
{
	const struct python_layout *l = &ld__py.layout;

	if (step->code & 7 || step->code < 4096 || py_type(step->code) != ld__py.PyCode_Type)
		return false;
	ret_spot->code = step->code;
	ret_spot->at = ld__py.version >= 311 ? step->at - (step->code + (uint64_t)l->code_bytes)
		: (uint64_t)(int64_t)(int32_t)step->at * (ld__py.version == 310 ? 2 : 1);
	ret_spot->linetable = py_word(step->code, l->code_linetable);
	ret_spot->name = py_word(step->code, l->code_qualname >= 0 ? l->code_qualname : l->code_name);
	ret_spot->first_line = (uint32_t)py_int(step->code, l->code_line);
	return ld__py.version < 312 || ret_spot->first_line != 0;
}

/* ---- places ---- */

static size_t put_utf8(char *to, size_t used, uint32_t c)
{
	if (c < 0x80) {
		to[used++] = (char)c;
	} else if (c < 0x800) {
		to[used++] = (char)(0xc0 | c >> 6);
		to[used++] = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		to[used++] = (char)(0xe0 | c >> 12);
		to[used++] = (char)(0x80 | (c >> 6 & 63));
		to[used++] = (char)(0x80 | (c & 63));
	} else {
		to[used++] = (char)(0xf0 | (c >> 18 & 7));
		to[used++] = (char)(0x80 | (c >> 12 & 63));
		to[used++] = (char)(0x80 | (c >> 6 & 63));
		to[used++] = (char)(0x80 | (c & 63));
	}
	return used;
}

/* A str that belongs to a running code object, without the C-API. A long one keeps its end. */
static const char *copy_text(uint64_t str)
{
	char text[TEXT_BYTES + 8];
	uint32_t state;
	uint64_t length, data, kind, from = 0;
	size_t used = 0;
	const char *copy;

	if (!str || str & 7 || py_type(str) != ld__py.PyUnicode_Type)
		return "?";
	state = (uint32_t)py_int(str, 32);
	length = py_word(str, 16);
	kind = state >> 2 & 7;
	if (!(state & 32) || !kind || kind == 3 || kind > 4)
		return "?";
	data = str + (state & 64 ? (ld__py.version < 312 ? 48 : 40) : (ld__py.version < 312 ? 72 : 56));
	if (length > TEXT_BYTES / 4) {
		if (length > TEXT_BYTES - 4 || !(state & 64)) {
			from = length - (TEXT_BYTES / (state & 64 ? 1 : 4) - 4);
			memcpy(text, "...", 3);
			used = 3;
		}
	}
	for (uint64_t i = from; i < length && used < TEXT_BYTES; i++)
		used = put_utf8(text, used, kind == 1 ? py_byte(data, (long)i)
				: kind == 2 ? *(const uint16_t *)(uintptr_t)(data + 2 * i)
				: *(const uint32_t *)(uintptr_t)(data + 4 * i));
	text[used] = '\0';
	copy = ld__arena_strdup(text);
	return copy ? copy : "?";
}

static bool same_spot(const struct spot *a, const struct spot *b)
{
	return a->code == b->code && a->at == b->at && a->linetable == b->linetable && a->name == b->name &&
	       a->first_line == b->first_line;
}

static struct place *place_of(uint32_t index)
{
	struct place *chunk = atomic_load_explicit(&chunks[index / PLACE_CHUNK], memory_order_acquire);

	return chunk ? &chunk[index % PLACE_CHUNK] : NULL;
}

static struct place *place_make(uint32_t index)
{
	struct place *_Atomic *at = &chunks[index / PLACE_CHUNK];
	struct place *chunk = atomic_load_explicit(at, memory_order_acquire), *fresh;

	if (!chunk) {
		fresh = ld__arena_map(PLACE_CHUNK * sizeof(*fresh));
		if (!fresh)
			return NULL;
		if (atomic_compare_exchange_strong(at, &chunk, fresh))
			chunk = fresh;
		else
			ld__arena_unmap(fresh, PLACE_CHUNK * sizeof(*fresh));
	}
	return &chunk[index % PLACE_CHUNK];
}

/* Index of a spot's place, UINT32_MAX = the tables are full. Texts are copied once per code and line
 * of thought: neighbours of one code share them when they follow each other. */
static uint32_t intern(const struct spot *spot)
{
	uint64_t hash = (spot->code ^ spot->at << 17 ^ spot->linetable << 5 ^ spot->name) * 0x9e3779b97f4a7c15ull;
	uint32_t at = (uint32_t)(hash >> 40), index, expected;
	const struct place *twin = NULL;
	struct place *place;
	int line;

	for (;; at++) {
		uint32_t id = atomic_load_explicit(&slots[at & (SLOT_COUNT - 1)], memory_order_acquire);

		if (!id)
			break;
		place = place_of(id - 1);
		if (same_spot(&place->spot, spot))
			return id - 1;
		if (place->spot.code == spot->code && place->spot.name == spot->name)
			twin = place;
	}
	index = atomic_fetch_add(&place_count, 1);
	if (index >= PLACE_CHUNK * PLACE_CHUNKS || !(place = place_make(index))) {
		atomic_fetch_sub(&place_count, 1);
		atomic_fetch_add(&refused, 1);
		return UINT32_MAX;
	}
	line = ld__py.PyCode_Addr2Line((py_object *)(uintptr_t)spot->code, (int)spot->at);
	place->spot = *spot;
	place->text.function = twin ? twin->text.function : copy_text(spot->name);
	place->text.file = twin ? twin->text.file : copy_text(py_word(spot->code, ld__py.layout.code_file));
	place->text.line = line > 0 ? (uint32_t)line : spot->first_line;
	for (;; at++) {
		expected = 0;
		if (atomic_compare_exchange_strong(&slots[at & (SLOT_COUNT - 1)], &expected, index + 1))
			return index;
	}
}

uint32_t ld__python_place_count(void)
{
	uint32_t count = atomic_load_explicit(&place_count, memory_order_acquire);

	return count < PLACE_CHUNK * PLACE_CHUNKS ? count : PLACE_CHUNK * PLACE_CHUNKS;
}

const struct python_place *ld__python_place(uint32_t index)
{
	static const struct python_place none = { "?", "?", 0 };
	const struct place *place = place_of(index);

	return place && place->text.function ? &place->text : &none;
}

uint64_t ld__python_places_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}

/* ---- stacks ---- */

/* Is what the memo has at a depth still what stands there? The line table tells a code object from another
 * that came to lie at its address. */
static inline bool is_known(const struct python_memo *memo, uint32_t depth, const struct step *step)
{
	return memo->steps[depth].code == step->code && memo->steps[depth].at == step->at &&
	       (memo->linetables[depth] == 0 ||
		memo->linetables[depth] == py_word(step->code, ld__py.layout.code_linetable));
}

/* Python's part: frames from the outermost on, the unchanged ones from the memo. */
static uint32_t intern_frames(struct python_memo *memo, uint32_t count, int truncated)
{
	uint32_t known = 0, id;

	while (!truncated && known < memo->count && known < count &&
	       is_known(memo, known, &memo->fresh[count - 1 - known]))
		known++;
	memo->count = known;
	id = known ? memo->ids[known - 1] : 0;
	for (; known < count; known++) {
		const struct step *step = &memo->fresh[count - 1 - known];
		struct spot spot = { 0 };

		if (spot_of(step, &spot)) {
			uint32_t place = intern(&spot);

			id = place == UINT32_MAX ? 0 : ld__stacks_child_python(id, place, truncated);
			if (!id)
				return 0;
		}
		memo->steps[known] = *step;
		memo->linetables[known] = spot.first_line || ld__py.version < 312 ? spot.linetable : 0;
		memo->ids[known] = id;
		atomic_signal_fence(memory_order_seq_cst);
		if (!truncated)
			memo->count = known + 1;
	}
	return id;
}

static bool within(uint64_t pc, uint64_t start, uint64_t end)
{
	return pc - start < end - start;
}

/* Native frames below the last Python call, innermost first, without the interpreter's own. Returns how
 * many, or -1 when no frame is the interpreter's: then Python's frames are not of this stack. */
static int inner_frames(uint32_t native, uint64_t *pcs)
{
	struct stream_stack node;
	int count = 0, until_text = -1;
	bool cut = false;

	for (uint32_t id = native; id; id = node.parent) {
		ld__stacks_get(id, &node);
		if (within(node.pc, eval_start, eval_end))
			return count;
		cut = node.flags & STREAM_STACK_TRUNCATED;
		if (within(node.pc, text_start, text_end)) {
			if (until_text < 0)
				until_text = count;
			continue;
		}
		if (count < INNER_MAX)
			pcs[count++] = node.pc;
	}
	/* the loop was not met: the compiler may have cut it in two, or the stack was too deep */
	return until_text >= 0 ? until_text : cut ? count : -1;
}

uint32_t ld__python_stack_alone(struct python_memo *memo, uint32_t depth)
{
	int saved_errno = errno, truncated;
	uint32_t count;

	if (depth > STACKS_DEPTH_MAX)
		depth = STACKS_DEPTH_MAX;
	count = walk(memo->fresh, depth, &truncated);
	errno = saved_errno;
	return count ? intern_frames(memo, count, truncated) : 0;
}

uint32_t ld__python_stack(struct python_memo *memo, uint32_t native, uint32_t depth)
{
	uint64_t pcs[INNER_MAX];
	uint32_t id = ld__python_stack_alone(memo, depth);
	int inner;

	if (!id)
		return 0;
	if (memo->last_native == native && memo->last_python == id)
		return memo->last_mixed;
	memo->last_native = 0;
	inner = inner_frames(native, pcs);
	memo->last_python = id;
	memo->last_mixed = inner < 0 ? 0 : id;
	while (inner > 0 && memo->last_mixed)
		memo->last_mixed = ld__stacks_child(memo->last_mixed, pcs[--inner], 0);
	atomic_signal_fence(memory_order_seq_cst);
	memo->last_native = native;
	return memo->last_mixed;
}
