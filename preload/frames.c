/* SPDX-License-Identifier: Apache-2.0
 * L6  frames.c - see frames.h.
 *
 * Each thread is walked from its saved registers by the rules of cfi.h: call frame information of
 * the loaded modules, read in place, without locks or memory of its own. The general unwinder is of
 * no use here, since its locks may have been held by a thread that the fork did not copy.
 *
 *   pc, sp, bp --rule--> CFA, return address, caller's bp      until the rule says it is the last,
 *                                                              or nobody knows (then it is cut)
 *
 * A signal handler's frame is stepped over through the registers that the kernel saved on the stack. */
#include "frames.h"

#include <ucontext.h>

#include "cfi.h"
#include "fault.h"
#include "kernel.h"
#include "modules.h"

#define DEPTH_MAX 512u
#define REGISTER_BP 6
#define REGISTER_PC 16

struct walker {
	uint64_t pc, sp, bp;
	uint64_t low, high;		/* the stack that may be read */
	bool exact;			/* pc is where the thread is, not where it will return to */
	bool bp_known;
};

static volatile uint32_t walked;	/* frames of the thread at hand, valid after a fault too */
static struct stream_frame frames[DEPTH_MAX];

/* Where the unwind tables for pc are. Returns false when no module says. */
static bool image_of(uint64_t pc, struct cfi_image *ret_image)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth != UINT64_MAX || pc < module->start || pc >= module->end)
			continue;
		ret_image->eh_frame_hdr = module->eh_frame_hdr;
		ret_image->range_count = 0;
		for (uint32_t s = 0;
		     s < module->segment_count && ret_image->range_count < CFI_RANGES_MAX; s++) {
			if (!(module->segments[s].prot & PROT_READ))
				continue;
			ret_image->ranges[ret_image->range_count].start = module->segments[s].start;
			ret_image->ranges[ret_image->range_count++].end = module->segments[s].end;
		}
		return true;
	}
	return false;
}

static bool read_stack(const struct walker *walker, uint64_t addr, uint64_t *ret_word)
{
	if (addr < walker->low || addr + 8 > walker->high || addr % 8)
		return false;
	*ret_word = *(const volatile uint64_t *)(uintptr_t)addr;
	return true;
}

/* Over a signal handler's frame: sp points at the ucontext that the kernel left. */
static bool step_signal(struct walker *walker)
{
	const uint64_t registers = walker->sp + __builtin_offsetof(ucontext_t, uc_mcontext.gregs);

	if (!read_stack(walker, registers + REG_RIP * 8, &walker->pc) ||
	    !read_stack(walker, registers + REG_RBP * 8, &walker->bp) ||
	    !read_stack(walker, registers + REG_RSP * 8, &walker->sp))
		return false;
	walker->bp_known = walker->exact = true;
	return walker->sp >= walker->low && walker->sp < walker->high;
}

/* Where the frame's CFA is. */
static bool find_cfa(const struct walker *walker, uint64_t rule, uint64_t *ret_cfa)
{
	uint64_t distance = (uint64_t)RULE_CFA_DISTANCE(rule);

	if (RULE_CFA(rule) == RULE_CFA_SP) {
		*ret_cfa = walker->sp + distance;
		return true;
	}
	if (!walker->bp_known)
		return false;
	if (RULE_CFA(rule) == RULE_CFA_AT_BP)
		return read_stack(walker, walker->bp + distance, ret_cfa);
	*ret_cfa = walker->bp + distance;
	return true;
}

/* One frame outwards. Returns 1, 0 at the outermost, -1 when it is not known how. *ret_cfa: of the frame
 * that was left. */
static int step(struct walker *walker, uint64_t *ret_cfa)
{
	struct cfi_image image;
	uint64_t rule, cfa, bp = walker->bp;

	*ret_cfa = walker->sp;
	if (!image_of(walker->exact ? walker->pc : walker->pc - 1, &image))
		return -1;
	rule = ld__cfi_rule(&image, walker->exact ? walker->pc + 1 : walker->pc);
	if (RULE_KIND(rule) == RULE_END)
		return 0;
	if (RULE_KIND(rule) == RULE_HARD && RULE_REASON(rule) == CFI_SIGNAL)
		return step_signal(walker) ? 1 : -1;
	if (RULE_KIND(rule) != RULE_STEP || !find_cfa(walker, rule, &cfa) || cfa <= walker->sp ||
	    !read_stack(walker, cfa - 8, &walker->pc))
		return -1;
	if (RULE_BP(rule) == RULE_BP_AT_CFA)
		walker->bp_known = read_stack(walker, cfa + (uint64_t)RULE_BP_OFFSET(rule), &bp);
	else if (RULE_BP(rule) == RULE_BP_AT_BP)
		walker->bp_known =
			walker->bp_known &&
			read_stack(walker, walker->bp + (uint64_t)RULE_BP_OFFSET(rule), &bp);
	else if (RULE_BP(rule) == RULE_BP_LOST)
		walker->bp_known = false;
	walker->bp = bp;
	walker->sp = *ret_cfa = cfa;
	walker->exact = false;
	return walker->pc ? 1 : 0;
}

/* Returns whether the walk came to the outermost frame. */
__attribute__((noinline))
static bool walk(struct walker *walker, uint32_t thread)
{
	int r = 1;

	while (r > 0 && walked < DEPTH_MAX) {
		struct stream_frame *frame = &frames[walked];

		*frame = (struct stream_frame) { .pc = walker->pc, .thread = thread, .depth = walked };
		frame->cfa = walker->sp;	/* until it is known */
		walked = walked + 1;
		r = step(walker, &frame->cfa);
	}
	return r == 0;
}

/* Never inlined: a fault comes back into this frame, and nothing of the caller's may be in a register. */
__attribute__((noinline))
static bool walk_guarded(struct walker *walker, uint32_t thread)
{
	volatile bool whole = false;

	walked = 0;
	if (FAULT_GUARD()) {
		whole = walk(walker, thread);
		ld__fault_leave();
	}
	return whole;
}

uint32_t ld__frames_write(struct writer *writer, const struct stop *stop,
			  const struct regions *regions)
{
	uint32_t id = 0, cut = 0;

	ld__writer_section(writer, STREAM_TRACEBACKS);
	for (uint32_t i = 0; i < ld__stop_count(stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(stop, i);
		struct walker walker;

		if (!thread)
			continue;
		id++;
		if (thread->stop != STREAM_STOP_PTRACE && thread->stop != STREAM_STOP_SIGNAL)
			continue;
		if (ld__fault_expired) {
			cut++;
			continue;
		}
		walker = (struct walker){
			.pc = thread->registers[REGISTER_PC],
			.sp = thread->sp,
			.bp = thread->registers[REGISTER_BP],
			.low = regions->threads[i].stack_start,
			.high = regions->threads[i].stack_end,
			.exact = true,
			.bp_known = !thread->in_kernel,
		};
		cut += !walk_guarded(&walker, id - 1);
		for (uint32_t frame = 0; frame < walked; frame++)
			ld__writer_put(writer, &frames[frame], sizeof(frames[frame]));
	}
	return cut;
}
