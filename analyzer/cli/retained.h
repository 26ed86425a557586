/* SPDX-License-Identifier: Apache-2.0
 * L1  retained.h - what each row of a table retains: what would go with its blocks. */
#ifndef LEAKDIFF_CLI_RETAINED_H
#define LEAKDIFF_CLI_RETAINED_H

#include "core/diff.h"

struct dominators;

/* Who holds what in the last snapshot of the series. Returns 0 with *ret_tree (dominators_free()), or -ENOMEM,
 * -EOVERFLOW. */
int retained_tree(const struct series *series, struct dominators **ret_tree) __attribute__((warn_unused_result));

/* Fill retained_bytes of the rows of a diff that kept its nodes; of the last snapshot of the series.
 * Returns 0 or -ENOMEM. */
int retained_add(const struct series *series, const struct dominators *tree, struct diff *diff)
	__attribute__((warn_unused_result));

#endif
