/* SPDX-License-Identifier: Apache-2.0
 * L3  step.h - the fast way from a hook's frame to a stack id.
 *
 * One struct step belongs to one thread at a time and remembers that thread's last stack. Nothing
 * here allocates but ld__step_init() and ld__step_new(), and those only from our arena; nothing
 * locks; the only system calls are those that find a thread's stack, once per stack. */
#ifndef LEAKDIFF_STEP_H
#define LEAKDIFF_STEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/cfi.h"
#include "preload/guard.h"
#include "preload/step_recall.h"

#define STEP_DEPTH_MAX 128u

struct step;

/* The last stack, for hooks that look at it themselves: whoever has a struct step keeps this beside what the hooks read
 * anyway. */
struct step_head {
	struct recall_record *recalled;	/* the last capture's, of the present era; one that matches nothing when it walked */
	uint64_t unloads;		/* ld__step_now() when that, and the last walk, were made */
	uint64_t era;			/* of what recall holds */
	uint32_t depth;
};

/* Changes when what a thread remembers of its stacks may be right no longer. STEP_ASIDE: hooks have more to do than to
 * look at the last stack. */
extern LD_HIDDEN _Atomic uint64_t ld__step_unloads;
#define STEP_ASIDE (1ull << 63)

/* Map the table of rules. Until then, and when memory is refused, every stack is handed over.
 * Returns 0 or -ENOMEM. Idempotent; from the main thread, whose stack is known by that. */
int ld__step_init(void);

/* Memory for one thread's last stack. NULL when refused. Never freed, nor may *head be: hand both to the next thread
 * with ld__step_reset(). */
struct step *ld__step_new(struct step_head *head);
void ld__step_reset(struct step *step);

/* What ld__step_unloads says of the stacks that are remembered. */
static inline uint64_t ld__step_now(void)
{
	return atomic_load(&ld__step_unloads) & ~STEP_ASIDE;
}

/* The stack of the caller of the function whose frame pointer is `frame` (what
 * __builtin_frame_address(0) gives in that function: rbp saved at [0], the return address at [1]).
 * now: ld__step_now(). depth: frames to keep, 1..STEP_DEPTH_MAX, read after it; deeper stacks are cut and marked so.
 *
 * Returns the id (0 when the table of stacks is full), or -1 - enum cfi_reason: the whole stack is a matter for
 * libunwind. */
int64_t ld__step_capture(struct step *step, const void *frame, uint64_t now, uint32_t depth);

/* Its two parts. The first: is it the last stack again, as it is mostly? NULL when it is another one. Stores nothing.
 * unloads: ld__step_unloads. The depth must be that of the capture before: see ld__step_change_depth(). */
static inline __attribute__((always_inline)) const struct recall_record *
ld__step_again(const struct step_head *head, const void *frame, uint64_t unloads)
{
	const struct recall_record *last = head->recalled;

	if (unloads == head->unloads && recall_matches(last, frame))
		return last;
	return NULL;
}

/* And the second: another stack. Returns as ld__step_capture(). */
int64_t ld__step_other(struct step *step, const void *frame, uint64_t now, uint32_t depth);

/* Captures are of another depth now. Or: hooks shall not look at the last stack themselves (see STEP_ASIDE). */
void ld__step_change_depth(void);
void ld__step_stand_aside(bool aside);

/* Return addresses of the stack that the last successful capture found, innermost first; at most
 * `capacity`. Returns their number; *ret_truncated tells whether deeper frames were cut. */
uint32_t ld__step_last(const struct step *step, void **ret_pcs, uint32_t capacity, int *ret_truncated);

/* Around the real dlclose(3): between begin and end, rules may be those of a library that is gone, so
 * every stack is handed over. Before end, bring the list of modules up to date and forget. */
void ld__step_unload_begin(void);
void ld__step_forget(uint64_t start, uint64_t end);
void ld__step_forget_unloaded(void);	/* all that the list of modules says are gone */
void ld__step_unload_end(void);

/* Bounds of the calling thread's stack, where the caller knows them: saves a look at /proc. */
void ld__step_set_bounds(struct step *step, uint64_t low, uint64_t high);

/* Counted over all threads since the start: stacks taken by rules (those that ld__step_again() told not counted), frames
 * of those that were stepped over (the others were found unchanged), stacks handed over by reason, rules computed. */
struct step_counts {
	uint64_t stacks, stepped, compared, handed_over[CFI_REASON_COUNT], rules, nested;
};
void ld__step_counts(struct step_counts *ret_counts);

/* "handed over to libunwind because ..." */
const char *ld__step_reason(enum cfi_reason reason);

#endif
