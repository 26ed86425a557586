/* SPDX-License-Identifier: Apache-2.0
 * L3  json_status.h - the state of capture as JSON. */
#ifndef LEAKDIFF_CLI_JSON_STATUS_H
#define LEAKDIFF_CLI_JSON_STATUS_H

/* Write one object for the "key=value\n" lines that the library answered; pid as the caller sees it.
 * Returns 0, -ENOMEM or -EIO. */
int json_write_status(int pid, const char *result) __attribute__((warn_unused_result));

#endif
