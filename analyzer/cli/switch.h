/* SPDX-License-Identifier: Apache-2.0
 * L2  switch.h - what `leakdiff on` and `leakdiff off` have in common. */
#ifndef LEAKDIFF_SWITCH_H
#define LEAKDIFF_SWITCH_H

#include <stdint.h>

struct cmd;

/* Send CONTROL_ON or CONTROL_OFF to the process that the one word names; says itself what fails.
 * Returns an enum cmd_exit. */
int switch_recording(const struct cmd *cmd, uint32_t command, int argc, char **argv);

#endif
