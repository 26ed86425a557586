/* SPDX-License-Identifier: Apache-2.0
 * L2  query.c - which objects are meant. */
#include <stdlib.h>

#include "cli/query.h"

int query_load(const struct cmd *cmd, const struct chain_query *query, int argc, char **argv,
	       struct loaded *ret_loaded, uint32_t **ret_nodes, size_t *ret_count)
{
	struct loaded loaded;
	uint32_t *nodes = NULL;
	int64_t count;
	int status;

	if (argc != 1)
		return cmd_usage(cmd, "%s takes one snapshot", cmd->name);
	if (!query->type && !query->site && !query->addr && query->size == UINT64_MAX)
		return cmd_usage(cmd, "say which objects: --type, --addr, --site or --size");
	status = load_series(argv, 1, &loaded);
	if (status)
		return status;
	if (heap_is_profile(series_last(loaded.series)->heap)) {
		loaded_done(&loaded);
		return cmd_trouble("%s is made of a heap profile, which holds no references: "
				   "`leakdiff top %s --by site` says what it knows", argv[0], argv[0]);
	}
	count = chain_query_run(series_last(loaded.series)->heap, query, &nodes);
	if (count <= 0) {
		free(nodes);
		loaded_done(&loaded);
		if (count < 0)
			return load_trouble((int)count);
		return cmd_trouble("no live block in %s matches: `leakdiff top %s` lists the types", argv[0], argv[0]);
	}
	*ret_loaded = loaded;
	*ret_nodes = nodes;
	*ret_count = (size_t)count;
	return 0;
}
