/* SPDX-License-Identifier: Apache-2.0
 * L0  cfi.h - from a return address to the rule that steps over its frame (x86-64).
 *
 * A rule is one word, so that a table of them can be read and written without locks:
 *
 *   bits 0..1    RULE_NONE, RULE_STEP, RULE_END, RULE_HARD
 *   bits 2..3    RULE_CFA_*: what the canonical frame address is counted from
 *   bits 4..5    RULE_BP_*: what becomes of rbp
 *   bits 16..31  signed, in 8 bytes: where rbp is saved, from the CFA (from rbp: RULE_BP_AT_BP);
 *                -1, the return address, where it is not saved
 *   bits 32..63  signed, in bytes: the CFA's distance; for RULE_HARD the reason, enum cfi_reason
 *
 * With a RULE_STEP the return address lies at CFA - 8 and the caller's rsp is the CFA: everything
 * else is RULE_HARD and a matter for the general unwinder. */
#ifndef LEAKDIFF_CFI_H
#define LEAKDIFF_CFI_H

#include <stdint.h>

#define RULE_NONE 0u		/* no rule is known: never returned */
#define RULE_STEP 1u
#define RULE_END 2u		/* the return address is undefined here: the outermost frame */
#define RULE_HARD 3u
#define RULE_KIND(rule) ((uint32_t)(rule) & 3u)

#define RULE_CFA_SP 0u		/* CFA = rsp + distance */
#define RULE_CFA_BP 1u		/* CFA = rbp + distance */
#define RULE_CFA_AT_BP 2u	/* CFA = word at rbp + distance: a frame that realigned its stack */
#define RULE_CFA(rule) ((uint32_t)(rule) >> 2 & 3u)

#define RULE_BP_SAME 0u		/* rbp is as in this frame */
#define RULE_BP_AT_CFA 1u	/* rbp is saved at CFA + offset */
#define RULE_BP_AT_BP 2u	/* rbp is saved at rbp + offset */
#define RULE_BP_LOST 3u		/* rbp is undefined in the caller */
#define RULE_BP(rule) ((uint32_t)(rule) >> 4 & 3u)

/* The usual kind, for which one condition and no further branch is needed: CFA from rsp or rbp, rbp
 * the same or saved at an offset from the CFA. */
#define RULE_IS_PLAIN(rule) (((uint32_t)(rule) & 0x2bu) == RULE_STEP)

#define RULE_BP_OFFSET(rule) ((int64_t)(int16_t)((rule) >> 16) * 8)
#define RULE_CFA_DISTANCE(rule) ((int64_t)(rule) >> 32)
#define RULE_REASON(rule) ((uint32_t)((rule) >> 32))

/* X(NAME, sentence): why a stack cannot be stepped over by rules. The first part belongs to cfi.c,
 * the rest to step.c; the text completes "handed over to libunwind because ...". */
#define CFI_REASONS(X)                                                                              \
	X(NO_MODULE, "a frame lies in no module (generated code)")                                  \
	X(NO_TABLE, "a module has no searchable unwind table")                                      \
	X(NO_FDE, "a function has no unwind information")                                           \
	X(SIGNAL, "a signal handler's frame is on the stack")                                       \
	X(CFA_EXPRESSION, "a frame's address is an expression")                                     \
	X(CFA_REGISTER, "a frame's address hangs on a register that is not followed")               \
	X(RA_RULE, "a return address does not lie below its frame's address")                       \
	X(SP_RULE, "the caller's stack pointer has a rule of its own")                              \
	X(BP_RULE, "rbp is saved in a way that is not followed")                                    \
	X(RANGE, "an offset is too large for a rule")                                               \
	X(UNKNOWN, "unwind information is of a kind that is not known")                             \
	X(DAMAGED, "unwind information is damaged")                                                 \
	X(BP_LOST, "a frame needs an rbp that its callee did not save")                             \
	X(FOREIGN_STACK, "the thread is not on its own stack")                                      \
	X(NO_BOUNDS, "the bounds of the thread's stack are not known")                              \
	X(OUTSIDE, "a rule leads outside the stack")                                                \
	X(UNLOADING, "a library was being unloaded")

enum cfi_reason {
#define X(name, text) CFI_##name,
	CFI_REASONS(X)
#undef X
	CFI_REASON_COUNT
};

#define CFI_RANGES_MAX 16

/* Where the unwind tables of one module are, and what of the module may be read. */
struct cfi_image {
	uint64_t eh_frame_hdr;		/* address of PT_GNU_EH_FRAME; 0 = none */
	uint32_t range_count;
	struct {
		uint64_t start, end;	/* mapped and readable */
	} ranges[CFI_RANGES_MAX];
};

/* Describe a module by its program headers, `count` of them in memory, loaded with bias `bias`
 * (l_addr). What lies beyond the file's bytes of a segment is left out. */
struct cfi_header;			/* Elf64_Phdr */
void ld__cfi_image(const struct cfi_header *headers, uint32_t count, uint64_t bias,
		   struct cfi_image *ret_image);

/* The program headers of the module whose first page is mapped at `start`: NULL when there is no ELF
 * header with the program headers in that page. */
const struct cfi_header *ld__cfi_headers(uint64_t start, uint32_t *ret_count);

/* The rule for a frame that will be returned to at `pc`: the call before it decides.
 * Reads nothing outside image->ranges whatever the tables say; never allocates, locks or loops
 * beyond the tables' own length. Any thread. Costs about a microsecond: remember the answer. */
uint64_t ld__cfi_rule(const struct cfi_image *image, uint64_t pc);

#endif
