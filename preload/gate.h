/* SPDX-License-Identifier: Apache-2.0
 * L1  gate.h - hold the service back in its hooks while a thread of ours does what must not be overtaken.
 *
 *   our thread                                  a thread of the service
 *   close the gate  (SWITCH_GATE)
 *   is it ending? no                            begins to end an interpreter
 *   enter the interpreter                       malloc, free: the gate is closed and it is ending: wait
 *   open the gate   (the word as it was)        goes on
 *
 * An interpreter that ends calls malloc and free thousands of times before it gives up what the entry
 * needs, so it cannot pass unseen. Nobody else waits, and nobody waits for longer than a second. */
#ifndef LEAKDIFF_GATE_H
#define LEAKDIFF_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* One thread at a time. From now on whoever calls a hook while held(void) is true waits there. */
void ld__gate_close(bool (*held)(void));
void ld__gate_open(void);

/* A hook met SWITCH_GATE: wait if need be, and return the word that the gate stands for. */
uint32_t ld__gate_pass(void);

/* The same without waiting. */
uint32_t ld__gate_behind(void);

#endif
