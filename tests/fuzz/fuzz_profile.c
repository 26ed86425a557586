/* SPDX-License-Identifier: Apache-2.0
 * fuzz_profile.c - heap profiles from a hostile hand: the reader must refuse with one sentence or deliver
 * numbers that agree, and the stream made of them must be one that ingest can believe. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/profile.h"
#include "core/profile_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void believe(const struct stream *stream)
{
	struct stream_cursor cursor;
	struct stream_edge edge;
	uint64_t edges = 0, end = 0;

	for (uint32_t i = 0; i < stream->stack_count; i++)
		if (stream->stacks[i].parent > i)
			abort();
	for (uint32_t i = 0; i < stream->node_count; i++) {
		if (stream->node_stack[i] > stream->stack_count || !stream->node_weight[i] || stream->node_addr[i] < end)
			abort();
		end = stream->node_addr[i] + stream->node_bytes[i];
	}
	stream_cursor_start(stream, true, &cursor);
	while (stream_cursor_next(&cursor, &edge) > 0)
		if (edge.target != edges++)
			abort();
	if (edges != stream->node_count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct profile *profile = NULL;
	struct stream *stream = NULL;
	char *error = NULL;
	int r = profile_parse((const char *)data, size, "x", size && data[size - 1] & 1, &profile, &error);

	if ((r < 0) != (error != NULL) || (r < 0) != (profile == NULL))
		abort();
	if (r == 0) {
		/* "/dev/null": as if no module could be read, so that the machine decides nothing */
		r = profile_make_stream(profile, 1, "/dev/null", &stream, &error);
		if ((r < 0) != (error != NULL))
			abort();
		if (r == 0)
			believe(stream);
	}
	free(error);
	stream_free(stream);
	profile_free(profile);
	return 0;
}
