/* SPDX-License-Identifier: Apache-2.0
 * fuzz_chunks.c - the columns inside compressed chunks: decoding must fill exactly what it was asked
 * for with ids in range, or refuse. The input is what lies behind the compression, which a fuzzer
 * would hardly ever get past. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/chunks.h"

#define COUNT_MAX 4096u
#define STACKS 100u
#define TYPES 50u
#define LIMIT 5000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct chunk_coder *coder;

static void nodes(const void *blob, size_t bytes, uint32_t count)
{
	static uint64_t addr[COUNT_MAX], length[COUNT_MAX], birth[COUNT_MAX];
	static uint32_t stack[COUNT_MAX], type[COUNT_MAX], thread[COUNT_MAX], extra[COUNT_MAX], weight[COUNT_MAX];
	static uint32_t stack_type[STACKS];
	static uint8_t flags[COUNT_MAX], kind[COUNT_MAX];
	const struct chunk_nodes columns = {
		.addr = addr, .bytes = length, .birth = birth, .stack = stack, .type = type, .thread = thread,
		.extra = extra, .weight = weight, .flags = flags, .kind = kind, .stack_type = stack_type,
		.stack_count = STACKS, .type_count = TYPES };
	unsigned has;
	int r = chunk_decode_nodes(coder, blob, bytes, &columns, 0, count, &has);

	for (uint32_t i = 0; r == 0 && i < count; i++)
		if ((stack[i] >= STACKS && stack[i] != UINT32_MAX) || type[i] >= TYPES || !weight[i])
			abort();
	if (r != 0 && r != -EBADMSG)
		abort();
}

static void edges(const void *targets, size_t targets_bytes, const void *labels, size_t labels_bytes,
		  uint32_t count)
{
	static struct chunk_edges chunk;

	if (chunk_decode_targets(coder, targets, targets_bytes, count, LIMIT, LIMIT, &chunk) < 0)
		return;
	if (chunk.edge_count != count || chunk.start[chunk.source_count] != count)
		abort();
	for (uint32_t i = 0; i < chunk.source_count; i++)
		if (chunk.source[i] >= LIMIT || chunk.start[i] >= chunk.start[i + 1] ||
		    (i && chunk.source[i] <= chunk.source[i - 1]))
			abort();
	for (uint32_t e = 0; e < count; e++)
		if (chunk.target[e] >= LIMIT)
			abort();
	(void)!chunk_decode_labels(coder, labels, labels_bytes, LIMIT, &chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t blob[2][1 << 17];
	size_t bytes[2], split;
	uint32_t count;

	if (!coder)
		coder = chunk_coder_new();
	if (size < 4 || size > 60000)
		return 0;
	count = (data[0] | (uint32_t)data[1] << 8) % COUNT_MAX;
	split = 4 + (data[2] | (size_t)data[3] << 8) % (size - 3);
	bytes[0] = ZSTD_compress(blob[0], sizeof(blob[0]), data + 4, split - 4, 1);
	bytes[1] = ZSTD_compress(blob[1], sizeof(blob[1]), data + split, size - split, 1);
	nodes(blob[0], bytes[0], count);
	edges(blob[0], bytes[0], blob[1], bytes[1], count);
	return 0;
}
