/* SPDX-License-Identifier: Apache-2.0
 * L1  retained.h - what each row of a table retains: what would go with its blocks. */
#ifndef LEAKDIFF_CLI_RETAINED_H
#define LEAKDIFF_CLI_RETAINED_H

#include "core/diff.h"

/* Fill retained_bytes of the rows of a diff that kept its nodes; of the last snapshot of the series.
 * Returns 0 or -ENOMEM, -EOVERFLOW. */
int retained_add(const struct series *series, struct diff *diff) __attribute__((warn_unused_result));

#endif
