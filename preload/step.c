/* SPDX-License-Identifier: Apache-2.0
 * L3  step.c - walk a stack by remembered rules, and only as far as it changed.
 *
 *   state of a frame    (pc, sp, bp): where it will be returned to, and rsp and rbp then
 *   rule of the pc      CFA = sp or bp + n          the caller's sp is the CFA
 *                       pc' = word at CFA - 8       its pc
 *                       bp' = bp or word at CFA + k its rbp
 *
 *   last stack          [0] outermost ... [n-1] innermost: state and stack id of every frame
 *
 * A walk is a function of its first state and of the words that it loads: the return address below
 * each CFA, and each saved rbp on which a CFA further out depends. So when a new walk comes to a state
 * that the last stack holds, and all those words from there on outwards are as they were, then the
 * frames from there on are the same and so is their stack id. Nothing has to be known about how the
 * thread got there: calls, longjmp, exceptions and switched stacks all show in the state or in a word.
 *
 * (1) A word is compared only after all frames inside of it were found to be the same: then it lies
 *     in a frame that is alive, exactly where a walk without memory would have read it.
 * (2) A saved rbp is compared only if an outer frame computes its CFA from it (ENTRY_LIVE); compilers
 *     use rbp for data, which changes all the time.
 * (3) Every other load lies in [sp, end of the thread's stack), and every CFA lies above its sp, so
 *     a walk ends.
 * (4) The last stack is valid at any instruction: its count is 0 while it changes. A signal handler
 *     that interrupts a walk is handed over.
 * (5) A rule is a fact about code, so it is kept until that code is unloaded: see the word `unloads`.
 *
 * Table of rules: lines of four (pc, rule), a pc belongs to one line. Written by whoever misses:
 * pc 1 claims a slot, then the rule, then the pc. Read pc, rule, pc: equal pcs mean that the rule
 * between is theirs. A full line gives up one of its four. */
#include "preload/step.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "preload/arena.h"
#include "preload/stacks.h"
#include "preload/sys.h"

#define LINE_BITS 14u
#define LINES (1u << LINE_BITS)
#define LINE_SLOTS 4u
#define CLAIMED 1u			/* no pc */
#define TEXT_BYTES 1024u		/* of /proc/self/maps at a time: the stack may be small */
#define MAIN_STACK_MAX (UINT64_C(1) << 30)	/* where the limit says "unlimited" */
#define UNLOAD_RUNNING 0xffffu		/* low bits of `unloads`: how many run; above: how many ended */
#define UNLOAD_ENDED 0x10000u

enum entry_flag {
	ENTRY_LIVE = 1,			/* a CFA from here on outwards is computed from this bp */
	ENTRY_CHECK = 2,		/* bp was loaded and is live: compare the word */
	ENTRY_BY_RULE = 4,		/* the step from the next inner frame needs its rule */
	ENTRY_USES_BP = 8,		/* this frame's own step needs bp */
	ENTRY_LOADS_BP = 16,		/* this frame's own step replaces bp */
};

/* One frame. How its bp came from the next inner frame: loaded at sp + bp_slot * 8, or the same as
 * there when bp_slot is 0. */
struct entry {
	uint64_t sp, pc, bp;
	uint32_t stack;
	int16_t bp_slot;
	uint16_t flags;
};

enum end_kind { END_RULE, END_ZERO, END_CUT };

struct step {
	uint32_t count;			/* of `last` */
	uint32_t end;			/* enum end_kind of `last` */
	uint64_t end_sp;		/* END_ZERO: the word below it was 0 */
	uint64_t unloads;		/* what `last` was made under */
	uint64_t low, high;		/* of the thread's own stack; 0 = not looked for yet */
	uint64_t busy;			/* frame of the capture that is at work, 0 = none */
	uint32_t foreign;		/* captures outside the bounds, since they were found */
	uint64_t stacks, stepped, compared;
	struct step *next;		/* of all */
	struct entry last[STEP_DEPTH_MAX];
	struct entry fresh[STEP_DEPTH_MAX];	/* new frames of a walk, innermost first */
};

struct rule_line {
	struct {
		_Atomic uint64_t pc, rule;
	} slot[LINE_SLOTS];
};

static struct rule_line *rules;
static uint64_t main_thread;		/* thread pointer of the thread that the kernel gave its stack */
static _Atomic uint64_t unloads;
static _Atomic uint64_t rules_computed, nested, handed_over[CFI_REASON_COUNT];
static struct step *_Atomic all_steps;

int ld__step_init(void)
{
	if (!rules) {
		main_thread = (uint64_t)(uintptr_t)__builtin_thread_pointer();
		rules = ld__arena_map(LINES * sizeof(*rules));
	}
	return rules ? 0 : -ENOMEM;
}

struct step *ld__step_new(void)
{
	struct step *step = ld__arena_alloc(sizeof(*step));

	if (!step)
		return NULL;
	step->next = atomic_load(&all_steps);
	while (!atomic_compare_exchange_weak(&all_steps, &step->next, step))
		;
	return step;
}

void ld__step_reset(struct step *step)
{
	step->count = 0;
	step->low = step->high = 0;
	step->foreign = 0;
	step->busy = 0;
}

void ld__step_set_bounds(struct step *step, uint64_t low, uint64_t high)
{
	step->count = 0;
	step->low = low;
	step->high = high;
	step->foreign = 0;
}

const char *ld__step_reason(enum cfi_reason reason)
{
	static const char *const texts[] = {
#define X(name, text) text,
		CFI_REASONS(X)
#undef X
	};

	return (uint32_t)reason < CFI_REASON_COUNT ? texts[reason] : "of a reason that is not known";
}

void ld__step_counts(struct step_counts *ret_counts)
{
	struct step_counts counts = { .rules = atomic_load(&rules_computed), .nested = atomic_load(&nested) };

	for (int i = 0; i < CFI_REASON_COUNT; i++)
		counts.handed_over[i] = atomic_load(&handed_over[i]);
	for (struct step *s = atomic_load(&all_steps); s; s = s->next) {
		counts.stacks += s->stacks;
		counts.stepped += s->stepped;
		counts.compared += s->compared;
	}
	*ret_counts = counts;
}

uint32_t ld__step_last(const struct step *step, void **ret_pcs, uint32_t capacity, int *ret_truncated)
{
	uint32_t n = step->count < capacity ? step->count : capacity;

	for (uint32_t i = 0; i < n; i++)
		ret_pcs[i] = (void *)(uintptr_t)step->last[step->count - 1 - i].pc;
	*ret_truncated = step->end == END_CUT || n < step->count;
	return n;
}

/* ------------------------------------------------------------------ libraries that go away */

void ld__step_unload_begin(void)
{
	atomic_fetch_add(&unloads, 1);
}

void ld__step_unload_end(void)
{
	atomic_fetch_add(&unloads, UNLOAD_ENDED - 1);
}

void ld__step_forget(uint64_t start, uint64_t end)
{
	/* A thread that computes a rule now either sees this change or its rule is seen below. */
	atomic_fetch_add(&unloads, UNLOAD_ENDED);
	if (!rules)
		return;
	for (uint32_t i = 0; i < LINES; i++) {
		for (uint32_t k = 0; k < LINE_SLOTS; k++) {
			uint64_t pc = atomic_load_explicit(&rules[i].slot[k].pc, memory_order_relaxed);

			/* a return address may lie one byte behind the code that it belongs to */
			if (pc <= CLAIMED || pc < start || pc > end)
				continue;
			if (!atomic_compare_exchange_strong(&rules[i].slot[k].pc, &pc, CLAIMED))
				continue;
			atomic_store_explicit(&rules[i].slot[k].rule, RULE_NONE, memory_order_relaxed);
			atomic_store_explicit(&rules[i].slot[k].pc, 0, memory_order_release);
		}
	}
}

/* ------------------------------------------------------------------ rules */

#if defined(__x86_64__)

/* glibc 2.35 and later: which object holds an address, without the loader's lock. */
extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

static struct rule_line *line_of(uint64_t pc)
{
	return &rules[pc * 0x9e3779b97f4a7c15ull >> (64 - LINE_BITS)];
}

static uint64_t rule_compute(uint64_t pc)
{
	struct dl_find_object found;
	struct cfi_image image;

	atomic_fetch_add_explicit(&rules_computed, 1, memory_order_relaxed);
	if (!_dl_find_object || _dl_find_object((void *)(uintptr_t)(pc - 1), &found) != 0)
		return RULE_HARD | (uint64_t)CFI_NO_MODULE << 32;
	if (ld__cfi_image((uint64_t)(uintptr_t)found.dlfo_map_start, (uint64_t)(uintptr_t)found.dlfo_map_end,
			  found.dlfo_link_map->l_addr, &image) < 0)
		return RULE_HARD | (uint64_t)CFI_NO_TABLE << 32;
	return ld__cfi_rule(&image, pc);
}

static void rule_publish(uint64_t pc, uint64_t rule, uint64_t unloads_before)
{
	struct rule_line *line = line_of(pc);
	uint32_t k, victim = (uint32_t)(pc >> 4) % LINE_SLOTS;
	uint64_t old;

	for (k = 0; k < LINE_SLOTS; k++) {
		old = 0;
		if (atomic_compare_exchange_strong(&line->slot[k].pc, &old, CLAIMED))
			goto claimed;
		if (old == pc)
			return;
	}
	k = victim;
	old = atomic_load(&line->slot[k].pc);
	if (old == CLAIMED || !atomic_compare_exchange_strong(&line->slot[k].pc, &old, CLAIMED))
		return;
claimed:
	atomic_store_explicit(&line->slot[k].rule, rule, memory_order_relaxed);
	atomic_store(&line->slot[k].pc, pc);
	/* pairs with ld__step_forget(): it has seen this slot, or we see that it ran */
	if (atomic_load(&unloads) != unloads_before && atomic_compare_exchange_strong(&line->slot[k].pc, &pc, CLAIMED)) {
		atomic_store_explicit(&line->slot[k].rule, RULE_NONE, memory_order_relaxed);
		atomic_store_explicit(&line->slot[k].pc, 0, memory_order_release);
	}
}

static __attribute__((noinline, cold)) uint64_t rule_miss(uint64_t pc)
{
	uint64_t before = atomic_load(&unloads), rule = rule_compute(pc);

	/* a module that is being loaded may be found the next time */
	if (rule != (RULE_HARD | (uint64_t)CFI_NO_MODULE << 32))
		rule_publish(pc, rule, before);
	return rule;
}

static inline uint64_t rule_of(uint64_t pc)
{
	struct rule_line *line = line_of(pc);

	for (uint32_t k = 0; k < LINE_SLOTS; k++) {
		uint64_t rule;

		if (atomic_load_explicit(&line->slot[k].pc, memory_order_acquire) != pc)
			continue;
		rule = atomic_load_explicit(&line->slot[k].rule, memory_order_acquire);
		if (atomic_load_explicit(&line->slot[k].pc, memory_order_relaxed) == pc)
			return rule;
		break;
	}
	return rule_miss(pc);
}

/* ------------------------------------------------------------------ bounds of the stack */

struct maps_line {
	uint64_t start, end;
	bool writable, stack;
};

struct maps_reader {
	int fd;
	uint32_t at, have;
	char text[TEXT_BYTES];
};

static int maps_char(struct maps_reader *r)
{
	if (r->at == r->have) {
		long n = ld__sys3(SYS_read, r->fd, r->text, sizeof(r->text));

		if (n <= 0)
			return -1;
		r->at = 0;
		r->have = (uint32_t)n;
	}
	return (unsigned char)r->text[r->at++];
}

static uint64_t maps_hex(struct maps_reader *r, int *ret_after)
{
	uint64_t value = 0;
	int c;

	for (;;) {
		c = maps_char(r);
		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	*ret_after = c;
	return value;
}

static bool maps_line(struct maps_reader *r, struct maps_line *ret)
{
	static const char name[] = "[stack]\n";
	uint32_t matched = 0;
	int c;

	ret->start = maps_hex(r, &c);
	if (c != '-')
		return false;
	ret->end = maps_hex(r, &c);
	maps_char(r);
	ret->writable = maps_char(r) == 'w';
	ret->stack = false;
	do {
		c = maps_char(r);
		matched = c == name[matched] ? matched + 1 : c == name[0];
		if (matched == sizeof(name) - 1)
			ret->stack = true;
	} while (c != '\n' && c >= 0);
	return true;
}

/* The thread's own stack: the one that the kernel made for the main thread, with the room that it may
 * still grow into; for every other thread the mapping that holds its thread pointer, which lies above
 * the frames in every stack that pthread_create made or was given. Anything else belongs to a program
 * that switches stacks: it may unmap them whenever it likes, so their bounds are not for us to
 * remember. */
static __attribute__((noinline, cold)) void bounds_find(struct step *step, uint64_t sp)
{
	struct maps_reader reader;
	struct maps_line line;
	uint64_t thread = (uint64_t)(uintptr_t)__builtin_thread_pointer(), previous_end = 0;
	uint64_t limit[2] = { MAIN_STACK_MAX, 0 };

	/* nothing is mapped between the main stack's limit and its end, as long as the limit stays */
	ld__sys4(SYS_prlimit64, 0, RLIMIT_STACK, 0, limit);
	if (limit[0] > MAIN_STACK_MAX)
		limit[0] = MAIN_STACK_MAX;
	reader.at = reader.have = 0;
	step->count = 0;
	reader.fd = (int)ld__sys4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (reader.fd < 0)
		return;
	while (maps_line(&reader, &line)) {
		if (thread != main_thread && line.writable && thread >= line.start && thread < line.end) {
			if (sp < line.start || sp >= thread)
				break;
			step->low = line.start;
			step->high = thread;
			break;
		}
		if (thread == main_thread && line.stack) {
			step->low = line.end - limit[0];
			if (step->low > line.start)
				step->low = line.start;
			if (step->low < previous_end)
				step->low = previous_end;
			step->high = line.end;
		}
		previous_end = line.end;
	}
	ld__sys1(SYS_close, reader.fd);
}

/* Is sp on the thread's own stack? A thread that is met on another stack first, or a main stack whose
 * limit was raised, is looked at again, ever less often. */
static __attribute__((noinline, cold)) int bounds_check(struct step *step, uint64_t sp)
{
	uint32_t n = ++step->foreign;

	if ((n & (n - 1)) == 0)
		bounds_find(step, sp);
	if (sp - step->low < step->high - step->low)
		return 0;
	return 1 + (step->high ? CFI_FOREIGN_STACK : CFI_NO_BOUNDS);
}

/* ------------------------------------------------------------------ the walk */

static inline uint64_t load(uint64_t addr)
{
	return *(const volatile uint64_t *)(uintptr_t)addr;
}

/* A walk in progress: the state, how it was reached, and where in the last stack it may rejoin. */
struct walk {
	uint64_t pc, sp, bp;
	int32_t bp_slot;		/* of the step that led here, as in struct entry */
	uint32_t by_rule;		/* ENTRY_BY_RULE or 0 */
	bool bp_lost;
	int32_t candidate;		/* index in last[], -1 = none left */
	uint32_t fresh;			/* frames in fresh[] */
};

static inline void push(struct step *step, struct walk *w, uint32_t own_flags)
{
	step->fresh[w->fresh++] = (struct entry){
		.sp = w->sp, .pc = w->pc, .bp = w->bp,
		.bp_slot = (int16_t)w->bp_slot, .flags = (uint16_t)(own_flags | w->by_rule),
	};
}

/* Step over the frame of state w by its rule. Returns 0, -1 at the outermost frame, or a reason + 1. */
static inline int step_by_rule(struct step *step, struct walk *w)
{
	uint64_t rule = rule_of(w->pc), cfa, at;
	uint32_t own = 0;

	if (RULE_KIND(rule) == RULE_END) {
		push(step, w, 0);
		return -1;
	}
	if (RULE_KIND(rule) != RULE_STEP)
		return 1 + (int)RULE_REASON(rule);
	if (RULE_CFA(rule) == RULE_CFA_SP) {
		cfa = w->sp + (uint64_t)RULE_CFA_DISTANCE(rule);
	} else {
		if (w->bp_lost)
			return 1 + CFI_BP_LOST;
		own = ENTRY_USES_BP;
		cfa = w->bp + (uint64_t)RULE_CFA_DISTANCE(rule);
		if (RULE_CFA(rule) == RULE_CFA_AT_BP) {
			if (cfa < w->sp || cfa > step->high - 8 || cfa % 8)
				return 1 + CFI_OUTSIDE;
			cfa = load(cfa);
		}
	}
	if (cfa <= w->sp || cfa > step->high || cfa % 8)
		return 1 + CFI_OUTSIDE;
	if (RULE_BP(rule) != RULE_BP_SAME)
		own |= ENTRY_LOADS_BP;
	if (RULE_BP(rule) == RULE_BP_AT_BP)
		own |= ENTRY_USES_BP;
	push(step, w, own);

	w->by_rule = RULE_CFA(rule) == RULE_CFA_AT_BP ? ENTRY_BY_RULE : 0;
	w->bp_slot = 0;
	if (RULE_BP(rule) == RULE_BP_LOST) {
		w->by_rule = ENTRY_BY_RULE;
		w->bp_lost = true;
	} else if (RULE_BP(rule) != RULE_BP_SAME) {
		if (RULE_BP(rule) == RULE_BP_AT_CFA) {
			at = cfa + (uint64_t)RULE_BP_OFFSET(rule);
			w->bp_slot = (int32_t)(RULE_BP_OFFSET(rule) / 8);
		} else {
			if (w->bp_lost)
				return 1 + CFI_BP_LOST;
			at = w->bp + (uint64_t)RULE_BP_OFFSET(rule);
			w->by_rule = ENTRY_BY_RULE;
		}
		if (at < w->sp || at > step->high - 8 || at % 8)
			return 1 + CFI_OUTSIDE;
		if (!w->bp_slot)
			w->by_rule = ENTRY_BY_RULE;
		w->bp = load(at);
		w->bp_lost = false;
	}
	w->pc = load(cfa - 8);
	w->sp = cfa;
	return 0;
}

/* Is everything outside of last[from] as it was? Returns the index of the outermost frame that is
 * certain: 0 when all are. */
static inline int32_t compare_outwards(const struct step *step, int32_t from)
{
	const struct entry *e = &step->last[from];

	for (; from > 0; from--) {
		e--;
		if ((e->flags & ENTRY_BY_RULE) || load(e->sp - 8) != e->pc)
			break;
		if ((e->flags & ENTRY_CHECK) && load(e->sp + (uint64_t)(int64_t)e->bp_slot * 8) != e->bp)
			break;
	}
	return from;
}

static inline bool rejoins(const struct walk *w, const struct entry *e)
{
	if (e->sp != w->sp || e->pc != w->pc)
		return false;
	return !(e->flags & ENTRY_LIVE) || (e->bp == w->bp && !w->bp_lost);
}

/* Copy the frames last[from] .. last[to] (to <= from), known to be unchanged, as new frames of this
 * walk, at most until there are `depth`. Leaves w at last[to]. */
static void copy_outwards(struct step *step, struct walk *w, int32_t from, int32_t to, uint32_t depth)
{
	for (int32_t i = from;; i--) {
		const struct entry *e = &step->last[i];

		if (i < from) {
			w->pc = e->pc;
			w->sp = e->sp;
			w->bp_slot = e->bp_slot;
			w->by_rule = 0;
			if (e->bp_slot) {
				w->bp = load(e->sp + (uint64_t)(int64_t)e->bp_slot * 8);
				w->bp_lost = false;
			}
		}
		if (i == to || w->fresh == depth)
			return;
		push(step, w, e->flags & (ENTRY_USES_BP | ENTRY_LOADS_BP));
	}
}

/* Put the new frames on top of last[0..base-1] and intern them. */
static inline uint32_t settle(struct step *step, struct walk *w, int32_t base, enum end_kind end)
{
	uint32_t stack = base ? step->last[base - 1].stack : 0;
	uint32_t live = base ? step->last[base - 1].flags & ENTRY_LIVE : 0;

	if (w->fresh) {
		step->count = 0;
		atomic_signal_fence(memory_order_seq_cst);
		if (!base) {
			step->end = end;
			step->end_sp = w->sp;
		} else {
			/* the frame that was rejoined has a new inner neighbour */
			struct entry *e = &step->last[base - 1];

			e->bp_slot = (int16_t)w->bp_slot;
			e->bp = w->bp;
			e->flags = (uint16_t)((e->flags & ~(ENTRY_CHECK | ENTRY_BY_RULE)) | w->by_rule |
					      (w->bp_slot && live ? ENTRY_CHECK : 0));
		}
		for (uint32_t k = w->fresh; k-- > 0;) {
			struct entry *e = &step->last[base++];

			*e = step->fresh[k];
			live = e->flags & ENTRY_USES_BP ? ENTRY_LIVE : e->flags & ENTRY_LOADS_BP ? 0 : live;
			e->flags = (uint16_t)(e->flags | live | (e->bp_slot && live ? ENTRY_CHECK : 0));
			stack = ld__stacks_child(stack, e->pc, end == END_CUT && base == 1);
			if (!stack)
				return 0;	/* count stays 0: nothing may be built on a stack without an id */
			e->stack = stack;
		}
	}
	atomic_signal_fence(memory_order_seq_cst);
	step->count = (uint32_t)base;
	return stack;
}

/* Returns 0 or a reason + 1. */
static inline int walk(struct step *step, struct walk *w, uint32_t depth, uint32_t *ret_stack)
{
	for (;;) {
		const struct entry *last = step->last;
		int32_t certain;
		int r;

		if (w->pc == 0) {
			*ret_stack = settle(step, w, 0, END_ZERO);
			return 0;
		}
		if (w->fresh == depth) {
			*ret_stack = settle(step, w, 0, END_CUT);
			return 0;
		}
		while (w->candidate >= 0 && last[w->candidate].sp < w->sp)
			w->candidate--;
		if (w->candidate >= 0 && rejoins(w, &last[w->candidate])) {
			int32_t from = w->candidate;
			uint32_t total = w->fresh + (uint32_t)from + 1;

			certain = compare_outwards(step, from);
			step->compared += (uint32_t)(from - certain);
			if (certain == 0 && (step->end == END_CUT ? total == depth : total <= depth) &&
			    (step->end != END_ZERO || load(step->end_sp - 8) == 0)) {
				*ret_stack = settle(step, w, from + 1, step->end);
				return 0;
			}
			copy_outwards(step, w, from, certain, depth);
			w->candidate = certain - 1;
			if (w->fresh == depth)
				continue;
		}
		r = step_by_rule(step, w);
		if (r > 0)
			return r;
		step->stepped++;
		if (r < 0) {
			*ret_stack = settle(step, w, 0, END_RULE);
			return 0;
		}
	}
}

static __attribute__((noinline, cold)) int hand_over(struct step *step, int reason)
{
	if (step)
		step->busy = 0;
	atomic_fetch_add_explicit(&handed_over[reason - 1], 1, memory_order_relaxed);
	return reason;
}

int ld__step_capture(struct step *step, const void *frame, uint32_t depth, uint32_t *ret_stack)
{
	const uint64_t *words = frame;
	uint64_t at = (uint64_t)(uintptr_t)frame, now = atomic_load_explicit(&unloads, memory_order_acquire);
	struct walk w;
	int r;

	if (!rules)
		return hand_over(NULL, 1 + CFI_NO_TABLE);
	if (at - step->low >= step->high - step->low) {
		r = bounds_check(step, at);
		if (r)
			return hand_over(NULL, r);
	}
	/* A frame below the one at work is a signal handler's; one above it came back by longjmp. */
	if (step->busy && at < step->busy) {
		atomic_fetch_add_explicit(&nested, 1, memory_order_relaxed);
		return hand_over(NULL, 1 + CFI_SIGNAL);
	}
	step->busy = at;
	atomic_signal_fence(memory_order_seq_cst);
	if (now != step->unloads) {
		if (now & UNLOAD_RUNNING)
			return hand_over(step, 1 + CFI_UNLOADING);
		step->count = 0;
		step->unloads = now;
	}
	if (depth > STEP_DEPTH_MAX)
		depth = STEP_DEPTH_MAX;

	w.sp = at + 16;
	w.bp = words[0];
	w.pc = words[1];
	w.bp_slot = 0;
	w.by_rule = ENTRY_BY_RULE;
	w.bp_lost = false;
	w.candidate = (int32_t)step->count - 1;
	w.fresh = 0;
	r = walk(step, &w, depth, ret_stack);
	if (r)
		return hand_over(step, r);
	step->stacks++;
	atomic_signal_fence(memory_order_seq_cst);
	step->busy = 0;
	return 0;
}

#else

int ld__step_capture(struct step *step, const void *frame, uint32_t depth, uint32_t *ret_stack)
{
	(void)step;
	(void)frame;
	(void)depth;
	(void)ret_stack;
	atomic_fetch_add_explicit(&handed_over[CFI_UNKNOWN], 1, memory_order_relaxed);
	return 1 + CFI_UNKNOWN;
}

#endif
