/* SPDX-License-Identifier: Apache-2.0
 * L3  symbols_types.c - types of variables, of allocation sites and of classes: what is asked of which part. */
#include "core/symbols_types.h"

int symbols_site_types(struct symbols *symbols, int file, uint64_t return_addr, struct layouts *layouts,
		       struct symbols_site *ret_sites, int max)
{
	(void)symbols, (void)file, (void)return_addr, (void)layouts, (void)ret_sites, (void)max;
	return 0;
}

int symbols_site_type(struct symbols *symbols, int file, uint64_t return_addr, struct layouts *layouts,
		      struct symbols_site *ret_site)
{
	return symbols_site_types(symbols, file, return_addr, layouts, ret_site, 1);
}

int symbols_variable_type(struct symbols *symbols, int file, uint64_t addr, struct layouts *layouts,
			  struct symbols_declaration *ret_declaration)
{
	(void)symbols, (void)file, (void)addr, (void)layouts, (void)ret_declaration;
	return 0;
}

int symbols_tls_type(struct symbols *symbols, int file, uint64_t offset, struct layouts *layouts,
		     struct symbols_declaration *ret_declaration)
{
	(void)symbols, (void)file, (void)offset, (void)layouts, (void)ret_declaration;
	return 0;
}

int symbols_local_type(struct symbols *symbols, int file, uint64_t pc, int64_t cfa_offset, struct layouts *layouts,
		       struct symbols_declaration *ret_declaration)
{
	(void)symbols, (void)file, (void)pc, (void)cfa_offset, (void)layouts, (void)ret_declaration;
	return 0;
}

int symbols_class_type(struct symbols *symbols, int file, const char *name, struct layouts *layouts,
		       uint32_t *ret_layout)
{
	(void)symbols, (void)file, (void)name, (void)layouts, (void)ret_layout;
	return 0;
}
