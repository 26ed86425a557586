/* SPDX-License-Identifier: Apache-2.0
 * L1  json_account.h - the account of resident memory as JSON. */
#ifndef LEAKDIFF_CLI_JSON_ACCOUNT_H
#define LEAKDIFF_CLI_JSON_ACCOUNT_H

#include <jansson.h>

#include "core/heap.h"

/* One snapshot's ACCOUNT: the parts, and beside them `details` (what three parts are made of), `arenas` and `beside`
 * (shares, page tables, the control group), which are no further parts. NULL when memory is short. */
json_t *json_account(const struct heap *heap);

#endif
