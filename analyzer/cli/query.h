/* SPDX-License-Identifier: Apache-2.0
 * L2  query.h - the options that say which objects are meant: --type, --addr, --site, --size. */
#ifndef LEAKDIFF_CLI_QUERY_H
#define LEAKDIFF_CLI_QUERY_H

#include "cli/cmd.h"
#include "cli/load.h"
#include "core/chain_set.h"

#define QUERY_OPTIONS(query)                                                                        \
	{ "type", 't', CMD_STRING, "TYPE", "objects of this type (a glob, or a part of it)", &(query).type }, \
	{ "addr", 'a', CMD_ADDRESS, "ADDR", "the object at this address", &(query).addr },          \
	{ "site", 's', CMD_STRING, "SITE", "blocks with this in their stack: function, file:line", &(query).site }, \
	{ "size", 0, CMD_SIZE, "N", "blocks of exactly this size", &(query).size }

/* Load the one snapshot of the command line and find the objects; says what is wrong by itself, also
 * when nothing matches. Returns 0 with the caller owning *ret_loaded and *ret_nodes, or a status. */
int query_load(const struct cmd *cmd, const struct chain_query *query, int argc, char **argv,
	       struct loaded *ret_loaded, uint32_t **ret_nodes, size_t *ret_count)
	__attribute__((warn_unused_result));

#endif
