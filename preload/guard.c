/* SPDX-License-Identifier: Apache-2.0
 * L0  guard.c - the storage behind guard.h. */
#include "preload/guard.h"

static uint32_t cold = SWITCH_COLD;

LD_TLS _Alignas(64) struct guard ld__guard;
LD_HOT uint32_t *volatile ld__switch = &cold;
volatile uint32_t ld__in_snapshot_child;
