/* SPDX-License-Identifier: Apache-2.0
 * L5  symbols_types_site.c - of what type is the block that a call returned: where its address goes. */
#include "core/symbols_types_private.h"

int types_site(struct types_file *file, uint64_t return_addr, struct symbols_site *ret_sites, int max)
{
	(void)file, (void)return_addr, (void)ret_sites, (void)max;
	return 0;
}
