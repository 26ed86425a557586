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
 * (1) First the words of the last stack are compared, from the outermost frame inwards, up to the
 *     first that changed; then the walk goes outwards until it meets one of the frames compared.
 * (2) A saved rbp is compared only if an outer frame computes its CFA from it (ENTRY_LIVE); compilers
 *     use rbp for data, which changes all the time.
 * (3) Every load lies in the thread's own stack, which is mapped as long as the thread lives, and of
 *     a walk's in [sp, end); every CFA lies above its sp, so a walk ends.
 * (4) The last stack is valid at any instruction: its count is 0 while it changes. A signal handler
 *     that interrupts a walk is handed over.
 * (5) A rule is a fact about code, so it is kept until that code is unloaded: see `ld__step_unloads`.
 *
 * The rules are in a table for all threads, of 16-byte slots (pc, rule) that whoever misses may write.
 * A slot is claimed by setting its first word to 1, then the second is written, then the first. A
 * reader takes first, second, first: the same key twice means that the value between belongs to it. A
 * key has few places, and one of them gives way: it is a cache. */
#include "preload/step.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "preload/arena.h"
#include "preload/modules.h"
#include "preload/stacks.h"
#include "preload/step_recall.h"
#include "preload/sys.h"

#define RULE_BITS 16u
#define RULE_SLOTS (1u << RULE_BITS)
#define RULE_PROBES 4u
#define STACK_BITS 9u
#define STACK_SLOTS (1u << STACK_BITS)
#define CLAIMED 1u			/* no key */
#define BP_LOST UINT64_MAX		/* no rbp: a CFA made from it is not aligned, so never believed */
#define TEXT_BYTES 1024u		/* of /proc/self/maps at a time: the stack may be small */
#define MAIN_STACK_MAX (UINT64_C(1) << 30)	/* where the limit says "unlimited" */
#define THREAD_STACK_DEFAULT (UINT64_C(2) << 20)
#define UNLOAD_RUNNING 0xffffu		/* low bits of ld__step_unloads: how many run; above, but for STEP_ASIDE: what ended */
#define UNLOAD_ENDED 0x10000u
#define RECALL_AFTER 4096u		/* walks of a thread before it is worth that memory */

enum entry_flag {
	ENTRY_LIVE = 1,			/* a CFA from here on outwards is computed from this bp */
	ENTRY_CHECK = 2,		/* bp was loaded and is live: compare the word */
	ENTRY_BY_RULE = 4,		/* the step from the next inner frame is not of the plain kind */
	ENTRY_USES_BP = 8,		/* this frame's own step needs bp */
	ENTRY_LOADS_BP = 16,		/* this frame's own step replaces bp */
};

/* One frame. bp_slot: where the step from the next inner frame loaded bp, in 8 bytes from sp; -1 (the
 * return address) when bp was the same there. */
struct entry {
	uint64_t sp, pc, bp;
	uint32_t stack;
	int16_t bp_slot;
	uint16_t flags;
};

enum end_kind { END_RULE, END_ZERO, END_CUT };

struct step {
	struct step_head *head;
	uint32_t count;			/* of `last` */
	uint32_t end;			/* enum end_kind of `last` */
	uint64_t end_sp;		/* END_ZERO: the word below it was 0 */
	uint64_t low, high;		/* of the thread's own stack; 0 = not looked for yet */
	uint64_t busy;			/* frame of the capture that is at work, 0 = none */
	uint32_t foreign;		/* captures outside the bounds, since they were found */
	uint64_t stacks, stepped, compared;
	struct recall *recall;		/* stacks before the last; NULL in a thread with few */
	uint32_t walks;
	struct step *next;		/* of all */
	struct entry last[STEP_DEPTH_MAX];
	struct entry fresh[STEP_DEPTH_MAX];	/* new frames of a walk, innermost first */
};

static struct recall_record nothing;	/* what a walk recalls; no frame lies at 0 */

static inline bool has_recalled(const struct step *step)
{
	return step->head->recalled != &nothing;
}

/* What was recalled up to now holds no longer. */
static inline void forget_recalled(struct step *step)
{
	step->head->recalled = &nothing;
	atomic_signal_fence(memory_order_seq_cst);
	step->head->era++;
	atomic_signal_fence(memory_order_seq_cst);	/* a signal handler may leave before the caller says why */
}

struct slot {
	_Atomic uint64_t key, value;
};

static struct slot *rules;		/* pc, rule */
static uint64_t main_thread; /* thread pointer of the thread that the kernel gave its stack */
LD_HOT _Atomic uint64_t ld__step_unloads;
static _Atomic uint64_t forgotten;	/* modules that were unloaded up to then are */
static _Atomic uint64_t rules_computed, nested, handed_over[CFI_REASON_COUNT];
static struct step *_Atomic all_steps;

int ld__step_init(void)
{
	if (!rules) {
		main_thread = (uint64_t)(uintptr_t)__builtin_thread_pointer();
		rules = ld__arena_map((RULE_SLOTS + RULE_PROBES) * sizeof(*rules));
	}
	return rules ? 0 : -ENOMEM;
}

struct step *ld__step_new(struct step_head *head)
{
	struct step *step = ld__arena_alloc(sizeof(*step));

	if (!step)
		return NULL;
	step->head = head;
	forget_recalled(step);
	step->next = atomic_load(&all_steps);
	while (!atomic_compare_exchange_weak(&all_steps, &step->next, step))
		;
	return step;
}

void ld__step_reset(struct step *step)
{
	step->count = 0;
	forget_recalled(step);
	step->low = step->high = 0;
	step->foreign = 0;
	step->busy = 0;
}

void ld__step_set_bounds(struct step *step, uint64_t low, uint64_t high)
{
	step->count = 0;
	forget_recalled(step);
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
	struct step_counts counts = {.rules = atomic_load(&rules_computed),
				     .nested = atomic_load(&nested)};

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
	const struct recall_record *r = step->head->recalled;
	uint32_t n = step->count < capacity ? step->count : capacity;

	if (has_recalled(step)) {
		n = r->frames + 1u < capacity ? r->frames + 1u : capacity;
		for (uint32_t i = 0; i < n; i++)
			ret_pcs[i] = (void *)(uintptr_t)(i ? r->words[i - 1] : r->pc);
		*ret_truncated = r->end == END_CUT || n < r->frames + 1u;
		return n;
	}
	for (uint32_t i = 0; i < n; i++)
		ret_pcs[i] = (void *)(uintptr_t)step->last[step->count - 1 - i].pc;
	*ret_truncated = step->end == END_CUT || n < step->count;
	return n;
}

/* ------------------------------------------------------------------ libraries that go away, and what else ends an era */

void ld__step_change_depth(void)
{
	atomic_fetch_add(&ld__step_unloads, UNLOAD_ENDED);
}

void ld__step_stand_aside(bool aside)
{
	if (aside)
		atomic_fetch_or(&ld__step_unloads, STEP_ASIDE);
	else
		atomic_fetch_and(&ld__step_unloads, ~STEP_ASIDE);
}

void ld__step_unload_begin(void)
{
	atomic_fetch_add(&ld__step_unloads, 1);
}

void ld__step_unload_end(void)
{
	atomic_fetch_add(&ld__step_unloads, UNLOAD_ENDED - 1);
}

static void slots_forget(struct slot *slots, uint32_t count, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t key = atomic_load_explicit(&slots[i].key, memory_order_relaxed);

		/* a return address may lie one byte behind the code that it belongs to */
		if (key <= CLAIMED || key < start || key > end)
			continue;
		if (!atomic_compare_exchange_strong(&slots[i].key, &key, CLAIMED))
			continue;
		atomic_store_explicit(&slots[i].value, 0, memory_order_relaxed);
		atomic_store_explicit(&slots[i].key, 0, memory_order_release);
	}
}

void ld__step_forget(uint64_t start, uint64_t end)
{
	atomic_fetch_add(&ld__step_unloads, UNLOAD_ENDED);
	if (!rules)
		return;
	slots_forget(rules, RULE_SLOTS + RULE_PROBES, start, end);
}

/* The value of `key` in this slot, 0 when it is not there. */
static inline uint64_t slot_read(const struct slot *slot, uint64_t key)
{
	uint64_t value;

	if (atomic_load_explicit(&slot->key, memory_order_acquire) != key)
		return 0;
	value = atomic_load_explicit(&slot->value, memory_order_acquire);
	return atomic_load_explicit(&slot->key, memory_order_relaxed) == key ? value : 0;
}

/* ------------------------------------------------------------------ rules */

void ld__step_forget_unloaded(void)
{
	uint64_t known = atomic_load(&forgotten), newest = known;

	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *m = ld__modules_get(i);

		if (m->last_birth == UINT64_MAX || m->last_birth <= known)
			continue;
		ld__step_forget(m->start, m->end);
		if (m->last_birth > newest)
			newest = m->last_birth;
	}
	while (known < newest && !atomic_compare_exchange_weak(&forgotten, &known, newest))
		;
}

#if defined(__x86_64__)

/* Write a slot whose first word is `old`, unless somebody else is at it. A value that was computed while
 * libraries went away (`unloads_before` is out of date) is withdrawn: ld__step_forget() has seen this
 * slot, or we see that it ran. */
static void slot_write(struct slot *slot, uint64_t old, uint64_t key, uint64_t value,
		       uint64_t unloads_before)
{
	if (old == CLAIMED || !atomic_compare_exchange_strong(&slot->key, &old, CLAIMED))
		return;
	atomic_store_explicit(&slot->value, value, memory_order_relaxed);
	atomic_store(&slot->key, key);
	if (ld__step_now() != unloads_before &&
	    atomic_compare_exchange_strong(&slot->key, &key, CLAIMED)) {
		atomic_store_explicit(&slot->value, 0, memory_order_relaxed);
		atomic_store_explicit(&slot->key, 0, memory_order_release);
	}
}

/* glibc 2.35 and later: which object holds an address, without the loader's lock. */
extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

static inline struct slot *rule_slot(uint64_t pc)
{
	return &rules[pc * 0x9e3779b97f4a7c15ull >> (64 - RULE_BITS)];
}

/* Which module is pc in, and where are its tables? Where the loader cannot be asked without its lock,
 * the list of modules answers, which may lack the newest. */
static bool image_of(uint64_t pc, struct cfi_image *ret_image)
{
	struct dl_find_object found;
	const struct cfi_header *headers;
	const struct module *m = NULL;
	uint32_t count = 0;

	if (_dl_find_object) {
		if (_dl_find_object((void *)(uintptr_t)pc, &found) != 0)
			return false;
		/* of the program, the loader says where its code begins, not its headers */
		if (!found.dlfo_link_map->l_prev && !found.dlfo_link_map->l_name[0]) {
			headers = (const struct cfi_header *)getauxval(AT_PHDR);
			count = (uint32_t)getauxval(AT_PHNUM);
		} else {
			headers = ld__cfi_headers((uint64_t)(uintptr_t)found.dlfo_map_start, &count);
		}
		ld__cfi_image(headers, headers ? count : 0, found.dlfo_link_map->l_addr, ret_image);
		return true;
	}
	for (uint32_t i = ld__modules_count(); i-- > 0;) {
		m = ld__modules_get(i);
		if (m->last_birth == UINT64_MAX && pc >= m->start && pc < m->end)
			break;
		m = NULL;
	}
	if (!m)
		return false;
	ret_image->eh_frame_hdr = m->eh_frame_hdr;
	ret_image->range_count = 0;
	for (uint32_t i = 0; i < m->segment_count && i < CFI_RANGES_MAX; i++) {
		if (!(m->segments[i].prot & PROT_READ))
			continue;
		ret_image->ranges[ret_image->range_count].start = m->segments[i].start;
		ret_image->ranges[ret_image->range_count++].end = m->segments[i].end;
	}
	return true;
}

static uint64_t rule_compute(uint64_t pc)
{
	struct cfi_image image;

	atomic_fetch_add_explicit(&rules_computed, 1, memory_order_relaxed);
	if (!image_of(pc - 1, &image))
		return RULE_HARD | (uint64_t)CFI_NO_MODULE << 32;
	return ld__cfi_rule(&image, pc);
}

static _Atomic uint64_t modules_epoch;	/* of the list of modules, when that was last looked at */

static __attribute__((noinline, cold)) uint64_t rule_find(uint64_t pc)
{
	uint64_t epoch = ld__modules_epoch(), before, rule, key = 0;
	struct slot *slot = rule_slot(pc);

	/* libc unloads plugins of its own without a dlclose() that anybody sees: the list may know */
	if (atomic_load_explicit(&modules_epoch, memory_order_relaxed) != epoch) {
		atomic_store_explicit(&modules_epoch, epoch, memory_order_relaxed);
		ld__step_forget_unloaded();
	}
	before = ld__step_now();

	for (uint32_t k = 0; k < RULE_PROBES; k++) {
		rule = slot_read(slot + k, pc);
		if (rule)
			return rule;
	}
	rule = rule_compute(pc);
	/* a module that is being loaded may be found the next time */
	if (rule == (RULE_HARD | (uint64_t)CFI_NO_MODULE << 32))
		return rule;
	for (uint32_t k = 0; k < RULE_PROBES; k++, slot++) {
		key = atomic_load(&slot->key);
		if (!key || key == pc)
			break;
	}
	if (key && key != pc)
		slot -= 1 + (pc >> 4) % RULE_PROBES;
	slot_write(slot, atomic_load(&slot->key), pc, rule, before);
	return rule;
}

/* ------------------------------------------------------------------ bounds of the stack */

static struct slot stacks_known[STACK_SLOTS];	/* thread pointer, lowest address of its stack */

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

extern void *__libc_stack_end __attribute__((weak));

static void bounds_set(struct step *step, uint64_t low, uint64_t high)
{
	step->count = 0;
	forget_recalled(step);
	step->low = low;
	step->high = high;
}

/* Read the bounds from /proc. Returns false when it is not there to be read. */
static bool bounds_read(struct step *step, uint64_t thread, uint64_t sp, uint64_t limit)
{
	struct maps_reader reader;
	struct maps_line line;
	uint64_t previous_end = 0, low;

	reader.at = reader.have = 0;
	reader.fd = (int)ld__sys4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (reader.fd < 0)
		return false;
	while (maps_line(&reader, &line)) {
		if (thread == main_thread && line.stack) {
			low = line.end - limit < line.start ? line.end - limit : line.start;
			bounds_set(step, low > previous_end ? low : previous_end, line.end);
			break;
		}
		if (thread != main_thread && thread >= line.start && thread < line.end) {
			if (line.writable && sp >= line.start && sp < thread)
				bounds_set(step, line.start, thread);
			break;
		}
		previous_end = line.end;
	}
	ld__sys1(SYS_close, reader.fd);
	return true;
}

/* The thread's own stack: the one that the kernel made for the main thread, with the room that it may
 * still grow into; for every other thread the mapping that holds its thread pointer, which lies above
 * the frames in every stack that pthread_create made or was given. Anything else belongs to a program
 * that switches stacks: it may unmap them whenever it likes, so their bounds are not for us to
 * remember. Threads come and go on the same few stacks: what was read for one is kept for the next.
 * (Were the next one's stack smaller, the thread pointer being the same, then too much room would be
 * thought to be below it: that is never read, since all reading is upwards from sp.) */
static __attribute__((noinline, cold)) void bounds_find(struct step *step, uint64_t sp)
{
	uint64_t thread = (uint64_t)(uintptr_t)__builtin_thread_pointer(), high = thread, low;
	uint64_t limit[2] = { MAIN_STACK_MAX, 0 };
	struct slot *known = &stacks_known[thread * 0x9e3779b97f4a7c15ull >> (64 - STACK_BITS)];

	if (thread != main_thread && step->foreign == 1) {
		low = slot_read(known, thread);
		if (low && sp - low < thread - low) {
			bounds_set(step, low, thread);
			return;
		}
	}
	/* nothing is mapped between the main stack's limit and its end, as long as the limit stays */
	ld__sys4(SYS_prlimit64, 0, RLIMIT_STACK, 0, limit);
	if (!bounds_read(step, thread, sp, limit[0] < MAIN_STACK_MAX ? limit[0] : MAIN_STACK_MAX)) {
		/* no /proc (a changed root): the size that stacks have unless somebody chose another */
		if (thread == main_thread)
			high = &__libc_stack_end
				       ? ((uint64_t)(uintptr_t)__libc_stack_end | 4095) + 1
				       : 0;
		low = high - (limit[0] < MAIN_STACK_MAX ? limit[0] : THREAD_STACK_DEFAULT);
		if (sp - low < high - low)
			bounds_set(step, low, high);
	}
	if (thread != main_thread && step->high == thread)
		slot_write(known, atomic_load(&known->key), thread, step->low, ld__step_now());
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

/* A walk in progress: the state of the next frame, and how it was reached. */
struct walk {
	uint64_t pc, sp, bp;
	int32_t bp_slot;		/* as in struct entry */
	uint32_t by_rule;		/* ENTRY_BY_RULE or 0 */
	uint32_t fresh;			/* frames in fresh[] */
};

static inline void push(struct step *step, struct walk *w, uint32_t own_flags)
{
	step->fresh[w->fresh++] = (struct entry){
		.sp = w->sp, .pc = w->pc, .bp = w->bp,
		.bp_slot = (int16_t)w->bp_slot, .flags = (uint16_t)(own_flags | w->by_rule),
	};
}

enum { STEP_DONE = 0, STEP_OUTERMOST = -1 };	/* or a reason + 1 */

static inline bool outside(const struct walk *w, uint64_t at, uint64_t high)
{
	return (at - w->sp > high - 8 - w->sp) | ((at & 7) != 0);
}

/* Any rule, the plain ones included. */
static __attribute__((noinline)) int step_by_rule(struct step *step, struct walk *w)
{
	uint64_t rule = rule_find(w->pc), cfa, at, bp = w->bp;
	uint32_t own = 0, by_rule = 0;
	int32_t slot = -1;

	if (RULE_KIND(rule) == RULE_END) {
		push(step, w, 0);
		return STEP_OUTERMOST;
	}
	if (RULE_KIND(rule) != RULE_STEP)
		return 1 + (int)RULE_REASON(rule);
	if (RULE_CFA(rule) != RULE_CFA_SP || RULE_BP(rule) == RULE_BP_AT_BP) {
		own |= ENTRY_USES_BP;
		if (w->bp == BP_LOST)
			return 1 + CFI_BP_LOST;
	}
	cfa = (RULE_CFA(rule) == RULE_CFA_SP ? w->sp : w->bp) + (uint64_t)RULE_CFA_DISTANCE(rule);
	if (RULE_CFA(rule) == RULE_CFA_AT_BP) {
		by_rule = ENTRY_BY_RULE;
		if (outside(w, cfa, step->high))
			return 1 + CFI_OUTSIDE;
		cfa = load(cfa);
	}
	if (cfa <= w->sp || outside(w, cfa - 8, step->high))
		return 1 + CFI_OUTSIDE;
	if (RULE_BP(rule) != RULE_BP_SAME)
		own |= ENTRY_LOADS_BP;
	if (RULE_BP(rule) == RULE_BP_LOST) {
		by_rule = ENTRY_BY_RULE;
		bp = BP_LOST;
	} else if (RULE_BP(rule) != RULE_BP_SAME) {
		at = RULE_BP(rule) == RULE_BP_AT_CFA ? cfa : w->bp;
		at += (uint64_t)RULE_BP_OFFSET(rule);
		if (outside(w, at, step->high))
			return 1 + CFI_OUTSIDE;
		if (RULE_BP(rule) == RULE_BP_AT_CFA)
			slot = (int32_t)(RULE_BP_OFFSET(rule) / 8);
		else
			by_rule = ENTRY_BY_RULE;
		bp = load(at);
	}
	push(step, w, own);
	w->pc = load(cfa - 8);
	w->sp = cfa;
	w->bp = bp;
	w->bp_slot = slot;
	w->by_rule = by_rule;
	return STEP_DONE;
}

/* The same for plain rules, without a branch that depends on which. */
static inline int step_over(struct step *step, struct walk *w)
{
	const struct slot *at_slot = rule_slot(w->pc);
	uint64_t rule = slot_read(at_slot, w->pc), uses_bp, loads_bp, cfa, at, saved;

	if (!RULE_IS_PLAIN(rule))
		return step_by_rule(step, w);
	uses_bp = rule >> 2 & 1;
	loads_bp = rule >> 4 & 1;
	cfa = w->sp + ((w->bp - w->sp) & -uses_bp) + (uint64_t)RULE_CFA_DISTANCE(rule);
	at = cfa + (uint64_t)RULE_BP_OFFSET(rule);
	if ((cfa <= w->sp) | outside(w, cfa - 8, step->high) | outside(w, at, step->high))
		return w->bp == BP_LOST ? 1 + CFI_BP_LOST : 1 + CFI_OUTSIDE;
	push(step, w, (uint32_t)(uses_bp * ENTRY_USES_BP + loads_bp * ENTRY_LOADS_BP));
	saved = load(at);
	w->pc = load(cfa - 8);
	w->sp = cfa;
	w->bp ^= (w->bp ^ saved) & -loads_bp;
	w->bp_slot = (int32_t)(int16_t)(rule >> 16);
	w->by_rule = 0;
	return STEP_DONE;
}

/* Is the step from last[i + 1] to last[i], not of the plain kind, as it was? The frame that is stepped
 * over is repeated in the scratch of the walk. */
static __attribute__((noinline)) bool repeats(struct step *step, uint32_t i)
{
	const struct entry *inner = &step->last[i + 1], *e = &step->last[i];
	struct walk w = { .pc = inner->pc, .sp = inner->sp, .bp = inner->bp };

	return step_by_rule(step, &w) == STEP_DONE && w.sp == e->sp && w.pc == e->pc &&
	       (!(e->flags & ENTRY_LIVE) || w.bp == e->bp);
}

/* How far inwards the last stack is as it was: all steps outwards from last[i], for the returned i,
 * load what they loaded then. All these words lie in the thread's own stack, so they can be read before
 * it is known whether they still belong to frames: that is only decided when the walk comes to one of
 * these states. -1 when nothing is remembered. */
static inline int32_t unchanged(struct step *step, uint64_t sp)
{
	const struct entry *e = step->last;
	uint32_t i, n = step->count;

	if (!n)
		return -1;
	for (i = 0; i + 1 < n; i++, e++) {
		if (e->sp < sp || load(e->sp - 8) != e->pc)
			break;
		if (!(e->flags & (ENTRY_CHECK | ENTRY_BY_RULE)))
			continue;
		if (e->flags & ENTRY_BY_RULE) {
			if (!repeats(step, i))
				break;
		} else if (load(e->sp + (uint64_t)(int64_t)e->bp_slot * 8) != e->bp) {
			break;
		}
	}
	return (int32_t)i;
}

static inline bool rejoins(const struct walk *w, const struct entry *e)
{
	return e->sp == w->sp && e->pc == w->pc && (!(e->flags & ENTRY_LIVE) || e->bp == w->bp);
}

/* Put the new frames on top of last[0..base-1] and intern them. Returns the innermost frame's stack. */
static inline uint32_t settle(struct step *step, const struct walk *w, uint32_t base,
			      enum end_kind end)
{
	uint32_t stack = 0, live = 0, k = w->fresh;
	struct entry *e = &step->last[base];

	if (!k) {
		step->count = base;
		return base ? step->last[base - 1].stack : 0;
	}
	step->count = 0;
	atomic_signal_fence(memory_order_seq_cst);
	if (!base) {
		step->end = end;
		step->end_sp = w->sp;
	} else {
		/* the frame that was rejoined has a new inner neighbour */
		e[-1].bp_slot = (int16_t)w->bp_slot;
		e[-1].bp = w->bp;
		stack = e[-1].stack;
		live = e[-1].flags & ENTRY_LIVE;
		e[-1].flags = (uint16_t)((e[-1].flags & ~(ENTRY_CHECK | ENTRY_BY_RULE)) | w->by_rule |
					 (w->bp_slot != -1 ? live * ENTRY_CHECK : 0));
	}
	for (; k-- > 0; e++) {
		uint32_t flags = step->fresh[k].flags;

		*e = step->fresh[k];
		live = (flags >> 3 & 1) | (live & ~(flags >> 4));
		e->flags = (uint16_t)(flags | live | (e->bp_slot != -1 ? live * ENTRY_CHECK : 0));
		stack = ld__stacks_child(stack, e->pc, end == END_CUT);
		if (!stack)
			return 0; /* count stays 0: nothing may be built on a stack without an id */
		e->stack = stack;
	}
	atomic_signal_fence(memory_order_seq_cst);
	step->count = (uint32_t)(e - step->last);
	return stack;
}

/* Returns 0 or a reason + 1. */
static inline int walk(struct step *step, struct walk *w, uint32_t depth, uint32_t *ret_stack)
{
	int32_t join = unchanged(step, w->sp);
	uint64_t join_sp = UINT64_MAX;
	int r;

	step->compared += (uint32_t)(join + 1);
	if (join >= 0 && !(step->end == END_ZERO && load(step->end_sp - 8) != 0))
		join_sp = step->last[join].sp;
	for (;;) {
		while (w->sp >= join_sp) {
			uint32_t total = w->fresh + (uint32_t)join + 1;

			if (rejoins(w, &step->last[join]) &&
			    (step->end == END_CUT ? total == depth : total <= depth)) {
				step->stepped += w->fresh;
				*ret_stack = settle(step, w, (uint32_t)join + 1, step->end);
				return 0;
			}
			join--;
			join_sp = join >= 0 ? step->last[join].sp : UINT64_MAX;
		}
		if (w->pc <= CLAIMED) {
			if (w->pc)
				return 1 + CFI_NO_MODULE;
			r = END_ZERO;
			break;
		}
		if (w->fresh == depth) {
			r = END_CUT;
			break;
		}
		r = step_over(step, w);
		if (r > 0)
			return r;
		if (r == STEP_OUTERMOST) {
			r = END_RULE;
			break;
		}
	}
	step->stepped += w->fresh;
	*ret_stack = settle(step, w, 0, (enum end_kind)r);
	return 0;
}

/* Write down what the walk that ended in `last` loaded, unless that is more than a record holds. */
static bool recall_fill(const struct step *step, struct recall_record *r, uint64_t frame, uint32_t stack)
{
	const struct entry *inner = &step->last[step->count - 1];

	r->stack = stack;
	r->end = (uint8_t)step->end;
	r->count = 0;
	r->frames = (uint16_t)(step->count - 1);
	for (const struct entry *e = inner - 1; e >= step->last; e--) {
		if ((e->flags & ENTRY_BY_RULE) || !recall_add(r, frame, e->sp - 8, e->pc))
			return false;
	}
	for (const struct entry *e = inner - 1; e >= step->last; e--) {
		if ((e->flags & ENTRY_CHECK) &&
		    !recall_add(r, frame, e->sp + (uint64_t)(int64_t)e->bp_slot * 8, e->bp))
			return false;
	}
	if ((inner->flags & ENTRY_LIVE) && !recall_add(r, frame, frame, inner->bp))
		return false;
	return step->end != END_ZERO || recall_add(r, frame, step->end_sp - 8, 0);
}

/* The hash of a stack's first state. */
static inline uint64_t recall_hash_of(const struct step *step, uint64_t sp, uint64_t pc, uint32_t *ret_levels)
{
	uint64_t rule = slot_read(rule_slot(pc), pc), cfa = sp + (uint64_t)RULE_CFA_DISTANCE(rule), pc_outside = 0;

	if (RULE_IS_PLAIN(rule) && RULE_CFA(rule) == RULE_CFA_SP && cfa > sp && cfa <= step->high && !(cfa & 7))
		pc_outside = load(cfa - 8);
	return recall_hash(step->recall, sp, pc, pc_outside, step->high, ret_levels);
}

/* A stack was walked: shall it be found without a walk the next time? */
static __attribute__((noinline)) void recall_learn(struct step *step, const struct recall_key *key, uint32_t stack)
{
	struct recall_record *r;
	uint32_t way;

	if (!step->recall) {
		if (step->walks++ % RECALL_AFTER == RECALL_AFTER - 1)
			step->recall = ld__arena_map(sizeof(*step->recall));
		return;
	}
	if (step->count < 2 || !stack || !recall_missed(step->recall, stack))
		return;
	/* where the frame that is not in the hash yet will return to: two frames out, and one for each split */
	if (step->count > key->levels + 2 &&
	    recall_divide(step->recall, key, step->head->era, step->last[step->count - 3 - key->levels].sp - 8 - key->sp))
		return;
	r = recall_take(step->recall, key, step->head->era, &way);
	if (recall_fill(step, r, key->sp - RECALL_FRAME, stack))
		recall_keep(step->recall, key, step->head->era, way);
}

static __attribute__((noinline, cold)) int64_t hand_over(struct step *step, int reason)
{
	if (step)
		step->busy = 0;
	atomic_fetch_add_explicit(&handed_over[reason - 1], 1, memory_order_relaxed);
	return -reason;
}

/* A stack that is not recalled. */
static __attribute__((noinline)) int64_t capture_by_walk(struct step *step, const uint64_t *frame,
							 const struct recall_key *key)
{
	struct walk w = { .sp = key->sp, .bp = frame[0], .pc = key->pc, .bp_slot = -1 };
	uint32_t stack;
	int r;

	step->head->recalled = &nothing;
	atomic_signal_fence(memory_order_seq_cst);
	r = walk(step, &w, step->head->depth, &stack);
	if (r)
		return hand_over(step, r);
	recall_learn(step, key, stack);
	step->stacks++;
	atomic_signal_fence(memory_order_seq_cst);
	step->busy = 0;
	return stack;
}

/* What was remembered may hold no longer. Returns 0 or a reason + 1. */
static __attribute__((noinline)) int begin_anew(struct step *step, uint64_t now, uint32_t depth)
{
	if (now & UNLOAD_RUNNING)
		return 1 + CFI_UNLOADING;
	if (now != step->head->unloads)
		step->count = 0;
	forget_recalled(step);
	step->head->unloads = now;
	step->head->depth = depth;
	return 0;
}

static inline uint32_t use_recalled(struct step *step, struct recall_record *r)
{
	step->head->recalled = r;
	step->stacks++;
	step->compared += r->frames;
	return r->stack;
}

/* Another stack than the last one. */
static __attribute__((noinline)) int64_t capture(struct step *step, const uint64_t *frame, uint64_t now, uint32_t depth)
{
	struct recall_key key = { .sp = (uint64_t)(uintptr_t)(frame + 2), .pc = frame[1] };
	uint64_t at = (uint64_t)(uintptr_t)frame;
	struct recall_record *known = NULL;
	int r;

	if (!rules)
		return hand_over(NULL, 1 + CFI_NO_TABLE);
	if (__builtin_expect(at - step->low >= step->high - step->low, 0)) {
		r = bounds_check(step, at);
		if (r)
			return hand_over(NULL, r);
	}
	/* A frame below the one at work is a signal handler's; one above it came back by longjmp. */
	if (__builtin_expect(step->busy && at < step->busy, 0)) {
		atomic_fetch_add_explicit(&nested, 1, memory_order_relaxed);
		return hand_over(NULL, 1 + CFI_SIGNAL);
	}
	step->busy = at;
	atomic_signal_fence(memory_order_seq_cst);
	if (depth > STEP_DEPTH_MAX)
		depth = STEP_DEPTH_MAX;
	if (__builtin_expect(now != step->head->unloads || depth != step->head->depth, 0)) {
		r = begin_anew(step, now, depth);
		if (r)
			return hand_over(step, r);
	}

	if (__builtin_expect(step->recall != NULL, 1)) {
		key.hash = recall_hash_of(step, key.sp, key.pc, &key.levels);
		known = recall_find(step->recall, &key, step->head->era, frame);
	}
	if (__builtin_expect(!known, 0))
		return capture_by_walk(step, frame, &key);
	if (has_recalled(step))
		step->head->recalled->next = known;
	atomic_signal_fence(memory_order_seq_cst);
	step->busy = 0;
	return use_recalled(step, known);
}

/* Many stacks come one after the other as they did the last time. What could make a record invalid has taken the last
 * one away (see forget_recalled()), as whoever writes it does. */
int64_t ld__step_other(struct step *step, const void *frame, uint64_t now, uint32_t depth)
{
	const struct step_head *head = step->head;
	struct recall_record *next;

	if (has_recalled(step) && now == head->unloads && depth == head->depth) {
		next = head->recalled->next;
		if (next && recall_is(next, head->era, frame))
			return use_recalled(step, next);
	}
	return capture(step, frame, now, depth);
}

int64_t ld__step_capture(struct step *step, const void *frame, uint64_t now, uint32_t depth)
{
	const struct recall_record *last = depth == step->head->depth ? ld__step_again(step->head, frame, now) : NULL;

	return last ? last->stack : ld__step_other(step, frame, now, depth);
}

#else

int64_t ld__step_other(struct step *step, const void *frame, uint64_t now, uint32_t depth)
{
	(void)step;
	(void)frame;
	(void)now;
	(void)depth;
	atomic_fetch_add_explicit(&handed_over[CFI_UNKNOWN], 1, memory_order_relaxed);
	return -1 - CFI_UNKNOWN;
}

int64_t ld__step_capture(struct step *step, const void *frame, uint64_t now, uint32_t depth)
{
	return ld__step_other(step, frame, now, depth);
}

#endif
