/* SPDX-License-Identifier: Apache-2.0
 * L1  gate.c - see gate.h.
 *
 * The word of the switch itself is the gate, so an open gate costs the hooks nothing. Who changes the
 * word for another reason meanwhile (trouble, a fork) opens the gate by that, which is right. */
#include "gate.h"

#include "guard.h"
#include "sys.h"

#define WAIT_NS 5000000u
#define WAITS_MAX 200			/* a second: our thread has a few hundred instructions to go */
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129

static uint32_t behind;
static bool (*is_held)(void);

void ld__gate_close(bool (*held)(void))
{
	uint32_t word = __atomic_load_n(ld__switch, __ATOMIC_SEQ_CST);

	do {
		if (word == SWITCH_NONE || word == SWITCH_GATE)
			return;
		__atomic_store_n(&is_held, held, __ATOMIC_SEQ_CST);
		__atomic_store_n(&behind, word, __ATOMIC_SEQ_CST);
	} while (!__atomic_compare_exchange_n(ld__switch, &word, SWITCH_GATE, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
}

void ld__gate_open(void)
{
	uint32_t closed = SWITCH_GATE;

	__atomic_compare_exchange_n(ld__switch, &closed, ld__gate_behind(), false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	ld__sys3(SYS_futex, ld__switch, FUTEX_WAKE_PRIVATE, 1 << 30);
}

uint32_t ld__gate_behind(void)
{
	return __atomic_load_n(&behind, __ATOMIC_SEQ_CST);
}

uint32_t ld__gate_pass(void)
{
	struct timespec tick = { 0, WAIT_NS };

	for (int i = 0; i < WAITS_MAX; i++) {
		uint32_t word = __atomic_load_n(ld__switch, __ATOMIC_SEQ_CST);

		if (word != SWITCH_GATE)
			return word;
		if (!is_held())
			break;
		ld__sys4(SYS_futex, ld__switch, FUTEX_WAIT_PRIVATE, SWITCH_GATE, &tick);
	}
	return ld__gate_behind();
}
