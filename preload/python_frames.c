/* SPDX-License-Identifier: Apache-2.0
 * L6  python_frames.c - see python_frames.h.
 *
 *   thread state -> innermost frame -> ... -> outermost       only this thread changes the chain
 *        (code, instruction) of each -> place (function, file, line), see python_places.c
 *        places -> stack tree, as the hooks' native stacks
 *
 *   memo    [0] outermost ... [n-1] innermost of the last stack: frame, code, instruction, stack id
 *
 * (1) No call into Python but the two that read the thread state, and what python_places.c does once per
 *     new place.
 * (2) A stack is its frames' codes and instructions. The walk goes outwards until it meets a frame of the
 *     memo, and from there on only compares: each frame with what the memo has, and its link with the
 *     next frame's address. So the loads do not wait for each other. What is the same out to the end
 *     has the same id; from the outermost difference inwards, ids are found anew.
 * (3) A code object is told from another at its address by a stamp. Stamps are compared only when code objects
 *     were freed since (the epoch).
 * (4) The first walks read through the kernel, so that a layout which is not what the table says
 *     ends in an error and not in a fault; each frame is checked. What fails switches the reader
 *     off for good. Only then it reads directly, still checking that code is a code object.
 * (5) The memo is valid at any instruction: a signal handler may leave by longjmp. Its count is lowered
 *     before an entry changes, and raised after. */
#include "preload/python_frames.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include "preload/guard.h"
#include "preload/arena.h"
#include "preload/python_places.h"
#include "preload/python_private.h"
#include "preload/stacks.h"
#include "preload/step.h"
#include "preload/sys.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PROBATION 64			/* walks through the kernel */
#define FRAMES_MAX 256u			/* of one stack, those that C code put between included */
#define INDEX_BITS 8u
#define CHILD_BITS 10u
#define INNER_MAX 24			/* native frames kept below the last Python call */
#define OWNED_BY_C 3u			/* frame_owner of a frame that is no call */

struct python_frame {			/* one frame as it stands now */
	uint64_t frame, code, at;
};

struct known {				/* one frame of the last stack */
	uint64_t frame, at, code;
	uint32_t stamp;			/* 0 = not a code object */
	uint32_t id;			/* of the stack that ends here */
};

struct child {				/* a cache: (parent, code, at) -> id */
	uint64_t code, at;
	uint32_t parent, id, stamp, epoch;
};

struct python_memo {
	uint32_t count;
	uint32_t epoch;			/* the known's stamps were right then */
	bool cut;			/* known[0] is not the outermost frame */
	uint32_t last_native, last_python, last_mixed;
	uint8_t index[1u << INDEX_BITS];	/* frame -> where it was put in known */
	uint16_t calls[FRAMES_MAX];	/* Python calls in known[0..i] */
	struct known known[FRAMES_MAX];
	struct python_frame fresh[FRAMES_MAX];	/* innermost first */
	struct child children[1u << CHILD_BITS];
};

bool ld__python_frames_on;

static _Atomic int probation = PROBATION;
static const char *why = "";
static bool ready;
static uint64_t eval_start, eval_end, text_start, text_end;

static struct {				/* what a walk needs of the layout */
	long back, code, at, owner;
	uint64_t at_mask;
	bool at_is_address;		/* and so tells the code, too */
} reader;

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

	if (ready || atomic_flag_test_and_set(&busy))
		return;
	if (!ld__python_loaded()) {
		why = ld__python_why();
		atomic_flag_clear(&busy);
		return;
	}
	find_eval();
	if (ld__python_places_init() < 0 || !text_end) {
		why = "there is no room for Python's places";
		return;
	}
	reader.back = ld__py.layout.frame_back;
	reader.code = ld__py.layout.frame_code;
	reader.at = ld__py.layout.frame_lasti;
	reader.owner = ld__py.layout.frame_owner;
	reader.at_is_address = ld__py.version >= 311;
	reader.at_mask = reader.at_is_address ? UINT64_MAX : UINT32_MAX;
	ready = true;
	ld__step_stand_aside(true);	/* first: who finds it on may switch it off at once */
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
	ld__step_stand_aside(false);
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

/* (4): the whole chain, before it is read without care. */
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

/* ---- walking ---- */

/* The thread state of a thread that has one, whether it holds the interpreter's lock or not. */
static inline uint64_t own_state(void)
{
	return (uint64_t)(uintptr_t)ld__py.PyGILState_GetThisThreadState();
}

/* The same, faster, and right in sub-interpreters too, in a thread that holds the lock. One that calls the
 * allocator without it must not walk another's frames. */
static inline uint64_t state_with_lock(void)
{
	void *(*current)(void) = ld__py._PyThreadState_UncheckedGet ? ld__py._PyThreadState_UncheckedGet
								     : ld__py.PyThreadState_GetUnchecked;
	uint64_t tstate = current ? (uint64_t)(uintptr_t)current() : 0;

#if defined(__x86_64__)
	if (tstate && py_word(tstate, ld__py.layout.thread_id) == (uint64_t)(uintptr_t)__builtin_thread_pointer())
#else
	if (tstate && py_word(tstate, ld__py.layout.thread_id) == (uint64_t)pthread_self())
#endif
		return tstate;
	return own_state();
}

static __attribute__((noinline, cold)) bool pass_probation(uint64_t tstate)
{
	if (!check_chain(tstate)) {
		switch_off("Python's frames are not laid out as its version says: stacks are the interpreter's own");
		return false;
	}
	atomic_fetch_sub_explicit(&probation, 1, memory_order_relaxed);
	return true;
}

static inline uint32_t is_call(uint64_t frame)
{
	return reader.owner < 0 || py_byte(frame, reader.owner) < OWNED_BY_C;
}

static inline struct python_frame step_read(uint64_t frame)
{
	return (struct python_frame){ frame, py_word(frame, reader.code), py_word(frame, reader.at) & reader.at_mask };
}

static inline uint64_t innermost(uint64_t tstate)
{
	uint64_t frame = py_word(tstate, ld__py.layout.tstate_frame);

	if (frame && ld__py.layout.cframe_frame >= 0)
		frame = py_word(frame, ld__py.layout.cframe_frame);
	return frame;
}

static inline uint32_t code_epoch(void)
{
	return atomic_load_explicit(&ld__python_code_epoch, memory_order_relaxed);
}

static inline uint8_t *index_of(struct python_memo *memo, uint64_t frame)
{
	return &memo->index[(uint32_t)(frame >> 3) * 0x9e3779b1u >> (32 - INDEX_BITS)];
}

/* ---- ids ---- */

static inline uint32_t stamp_of(const struct python_frame *now)
{
	return is_call(now->frame) && ld__python_is_function(now->code) ? ld__python_code_stamp(now->code) : 0;
}

static __attribute__((noinline)) bool child_make(uint32_t parent, const struct python_frame *now, int cut,
						 struct known *ret_known)
{
	uint64_t at;
	uint32_t place;

	ret_known->id = parent;
	if (!ret_known->stamp)
		return true;
	at = ld__py.version >= 311 ? now->at - (now->code + (uint64_t)ld__py.layout.code_bytes)
		: (uint64_t)(int64_t)(int32_t)now->at * (ld__py.version == 310 ? 2 : 1);
	place = ld__python_place_at(now->code, at);
	ret_known->id = place == UINT32_MAX ? 0 : ld__stacks_child_python(parent, place, cut);
	return ret_known->id != 0;
}

/* The id of a frame called from stack `parent`. */
static inline bool child_of(struct python_memo *memo, uint32_t parent,
			    const struct python_frame *now, int cut, struct known *ret_known)
{
	uint64_t hash = (now->at ^ now->code << 20 ^ (uint64_t)parent << 44) * 0x9e3779b97f4a7c15ull;
	struct child *child = &memo->children[hash >> (64 - CHILD_BITS)];
	bool same = child->at == now->at && child->code == now->code && child->parent == parent;
	uint32_t epoch = code_epoch();

	*ret_known = (struct known){ now->frame, now->at, now->code, child->stamp, child->id };
	if (cut && !parent)			/* the mark of a stack that was cut is not in the key */
		same = false;
	else if (same && child->epoch == epoch)
		return true;
	ret_known->stamp = stamp_of(now);
	if (same && child->stamp == ret_known->stamp)
		goto done;
	if (!child_make(parent, now, cut, ret_known))
		return false;
	if (cut && !parent)
		return true;
	child->code = 0;
	atomic_signal_fence(memory_order_seq_cst);
	child->at = now->at;
	child->parent = parent;
	child->id = ret_known->id;
	child->stamp = ret_known->stamp;
	atomic_signal_fence(memory_order_seq_cst);
	child->code = now->code;
done:
	child->epoch = epoch;
	return true;
}

/* Put `count` fresh frames on known[0..base-1]. Returns the innermost one's id. */
static inline uint32_t settle(struct python_memo *memo, uint32_t base, uint32_t count)
{
	uint32_t id = base ? memo->known[base - 1].id : 0, calls = base ? memo->calls[base - 1] : 0;

	if (count && memo->count > base)
		memo->count = base;
	atomic_signal_fence(memory_order_seq_cst);
	for (; count-- > 0; base++) {
		const struct python_frame *now = &memo->fresh[count];

		if (!child_of(memo, id, now, memo->cut, &memo->known[base]))
			return 0;
		id = memo->known[base].id;
		calls += is_call(now->frame);
		memo->calls[base] = (uint16_t)calls;
		*index_of(memo, now->frame) = (uint8_t)base;
		atomic_signal_fence(memory_order_seq_cst);
		memo->count = base + 1;
	}
	return id;
}

/* The whole chain, where the memo is of little help. */
static __attribute__((noinline)) uint32_t walk_anew(struct python_memo *memo, uint64_t frame, uint32_t depth)
{
	uint32_t count = 0, calls = 0, known = 0;

	for (; frame && count < FRAMES_MAX; frame = py_word(frame, reader.back), count++) {
		calls += is_call(frame);
		if (calls > depth)
			break;
		memo->fresh[count] = step_read(frame);
	}
	if (memo->cut || frame)
		memo->count = 0;
	memo->cut = frame != 0;
	for (; known < memo->count && known < count; known++) {
		const struct python_frame *now = &memo->fresh[count - 1 - known];
		const struct known *k = &memo->known[known];

		if (k->frame != now->frame || k->code != now->code || k->at != now->at ||
		    k->stamp != stamp_of(now))
			break;
	}
	memo->count = known;
	memo->epoch = code_epoch();
	return settle(memo, known, count - known);
}

/* A value that the compiler does not know to be the one that it was compared with, and so does not wait for. */
static inline uint64_t from_memo(uint64_t frame)
{
	__asm__("" : "+r"(frame));
	return frame;
}

/* Compare the chain from known[join], which stands there, outwards. Returns whether it has the same frames;
 * *ret_differs: the outermost of known[0..join] of which that is all that is the same, join + 1 = none.
 *
 * The next frame's address is taken from the memo once the link is found to say the same: so its loads begin
 * before the link has come. */
static inline __attribute__((always_inline)) bool same_frames(const struct known *known, uint32_t join, bool with_code,
							      bool with_stamp, uint32_t *ret_differs, uint64_t *ret_back)
{
	const long back_at = reader.back, at_at = reader.at;
	const struct known *k = &known[join];
	uint32_t differs = join + 1;
	uint64_t frame = k->frame, back;

	for (;; k--) {
		uint64_t at = py_word(frame, at_at);
		bool other = (with_code ? at & reader.at_mask : at) != k->at;

		if (with_code)
			other |= py_word(frame, reader.code) != k->code;
		if (with_stamp)
			other = other || k->stamp != stamp_of(&(struct python_frame){ frame, py_word(frame, reader.code), at });
		if (other)
			differs = (uint32_t)(k - known);
		back = py_word(frame, back_at);
		if (k == known)
			break;
		frame = from_memo(k[-1].frame);
		if (UNLIKELY(back != k[-1].frame))
			return false;
	}
	*ret_differs = differs;
	*ret_back = back;
	return true;
}

/* The same where the instruction's address says which code it is, and no code object was freed: what is
 * done for nearly every stack. */
static __attribute__((noinline)) bool same_frames_fast(const struct known *known, uint32_t join, uint32_t *ret_differs,
						       uint64_t *ret_back)
{
	const long back_at = reader.back, at_at = reader.at;
	const struct known *k = &known[join];
	uint64_t frame = k->frame, back = py_word(frame, back_at);

	*ret_differs = join + (py_word(frame, at_at) == k->at);	/* the innermost mostly does */
#pragma GCC unroll 4
	while (k != known) {
		k--;
		frame = from_memo(k->frame);
		if (UNLIKELY(back != k->frame))
			return false;
		back = py_word(frame, back_at);
		if (UNLIKELY(py_word(frame, at_at) != k->at))
			*ret_differs = (uint32_t)(k - known);
	}
	*ret_back = back;
	return true;
}

static __attribute__((noinline)) bool same_frames_slow(const struct known *known, uint32_t join, bool trusted,
						       uint32_t *ret_differs, uint64_t *ret_back)
{
	return trusted ? same_frames(known, join, true, false, ret_differs, ret_back)
		       : same_frames(known, join, true, true, ret_differs, ret_back);
}

/* known[first..last] have other ids now. */
static inline bool rename_known(struct python_memo *memo, uint32_t first, uint32_t last)
{
	uint32_t id = first ? memo->known[first - 1].id : 0;

	memo->count = first;
	atomic_signal_fence(memory_order_seq_cst);
	for (; first <= last; first++) {
		struct python_frame now = step_read(memo->known[first].frame);

		if (!child_of(memo, id, &now, memo->cut, &memo->known[first]))
			return false;
		id = memo->known[first].id;
		atomic_signal_fence(memory_order_seq_cst);
		memo->count = first + 1;
	}
	return true;
}

static inline __attribute__((always_inline)) uint32_t walk(struct python_memo *memo, uint64_t tstate,
							   uint32_t depth)
{
	const uint64_t start = tstate ? innermost(tstate) : 0;
	const uint32_t epoch = code_epoch();
	const bool trusted = memo->epoch == epoch;
	uint32_t fresh = 0, calls = 0, join, differs, total;
	uint64_t frame = start, back;

	if (!start || (UNLIKELY(atomic_load_explicit(&probation, memory_order_relaxed) > 0) && !pass_probation(tstate)))
		return 0;
	for (;; fresh++) {
		join = *index_of(memo, frame);
		if (join < memo->count && memo->known[join].frame == frame)
			break;
		if (fresh == FRAMES_MAX)
			return walk_anew(memo, start, depth);
		memo->fresh[fresh] = step_read(frame);
		calls += is_call(frame);
		frame = py_word(frame, reader.back);
		if (!frame)
			return walk_anew(memo, start, depth);
	}
	if (trusted && reader.at_is_address ? !same_frames_fast(memo->known, join, &differs, &back)
					    : !same_frames_slow(memo->known, join, trusted, &differs, &back))
		return walk_anew(memo, start, depth);
	total = memo->calls[join] + calls;
	if (UNLIKELY((back != 0) != memo->cut || (memo->cut ? total != depth : total > depth) ||
		     join + 1 + fresh > FRAMES_MAX))
		return walk_anew(memo, start, depth);
	if (!trusted && memo->count > join + 1)
		memo->count = join + 1;		/* those further in were not looked at */
	if (differs <= join && !rename_known(memo, differs, join))
		return 0;
	memo->epoch = epoch;
	return settle(memo, join + 1, fresh);
}

/* ---- stacks ---- */

uint32_t ld__python_stack_alone(struct python_memo *memo, uint32_t depth)
{
	return walk(memo, state_with_lock(), depth < STACKS_DEPTH_MAX ? depth : STACKS_DEPTH_MAX);
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

uint32_t ld__python_stack(struct python_memo *memo, uint32_t native, uint32_t depth)
{
	uint64_t pcs[INNER_MAX];
	uint32_t id = walk(memo, own_state(), depth < STACKS_DEPTH_MAX ? depth : STACKS_DEPTH_MAX);
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
