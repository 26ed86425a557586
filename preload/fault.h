/* SPDX-License-Identifier: Apache-2.0
 * L0  fault.h - surviving bad memory, and the child's time limit. Snapshot child only. */
#ifndef LEAKDIFF_FAULT_H
#define LEAKDIFF_FAULT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

/* Every signal to its default, SIGPIPE ignored, SIGSEGV and SIGBUS to the guard, and a wall-clock
 * limit after which ld__fault_expired is set (and, a minute later, the child is killed). */
void ld__fault_install(uint64_t limit_ns);

/* Move the limit; on_expiry_jump: a guarded stretch is left through the guard when it comes. */
void ld__fault_limit(uint64_t limit_ns, bool on_expiry_jump);

extern volatile bool ld__fault_expired;
extern volatile uint64_t ld__fault_addr;	/* of the last fault; 0 = it was the limit */
extern volatile uint64_t ld__fault_pc;		/* the instruction that met it */
extern volatile int ld__fault_signal;		/* which it was; 0 = the limit */
extern uint32_t ld__fault_count;

/* if (FAULT_GUARD()) { reads that may fail; ld__fault_leave(); } else { one did: ld__fault_addr }
 * Not nestable. A fault outside a guarded stretch ends the child. */
extern sigjmp_buf ld__fault_jump;
extern volatile bool ld__fault_guarded;
#define FAULT_GUARD() (sigsetjmp(ld__fault_jump, 0) == 0 ? (ld__fault_guarded = true) : false)
static inline void ld__fault_leave(void)
{
	ld__fault_guarded = false;
}

#endif
