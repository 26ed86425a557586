/* SPDX-License-Identifier: Apache-2.0
 * L0  guard.c - the storage behind guard.h. */
#include "preload/guard.h"

LD_TLS _Alignas(64) struct guard ld__guard;
_Alignas(SWITCH_BYTES) uint32_t ld__switch[SWITCH_BYTES / sizeof(uint32_t)];
bool ld__switch_made;
volatile uint32_t ld__in_snapshot_child;
