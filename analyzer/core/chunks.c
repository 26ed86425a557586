/* SPDX-License-Identifier: Apache-2.0
 * L1  chunks.c - columns of nodes and references as compressed blobs, and back.
 *
 *   blob = zstd( column | column | ... )     column = varint length, then that many bytes
 *
 * (1) The number of elements is not in the blob: the row that carries it knows, so a blob cannot
 *     make a reader allocate. A decompressed chunk is at most RAW_MAX bytes.
 * (2) A column must be used up exactly; a byte too many or too few is damage.
 * (3) All differences wrap modulo 2^64, so every 64-bit value survives.
 * The only user of zstd. */
#include "core/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/varint.h"
#include "preload/stream.h"

#define NODE_COLUMNS 9
#define TARGET_COLUMNS 3
#define LABEL_COLUMNS 3
#define RAW_MAX ((size_t)CHUNK_NODES * NODE_COLUMNS * VARINT_MAX + NODE_COLUMNS * VARINT_MAX)

/* Level 1: level 3 makes files 4 % smaller and takes twice as long. */
#define LEVEL 1

struct chunk_coder {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	uint8_t *raw;			/* RAW_MAX bytes: one chunk, decompressed */
	uint8_t *blob[2];
	size_t blob_capacity[2];
};

struct chunk_coder *chunk_coder_new(void)
{
	struct chunk_coder *coder = calloc(1, sizeof(*coder));

	if (!coder)
		return NULL;
	coder->compress = ZSTD_createCCtx();
	coder->decompress = ZSTD_createDCtx();
	coder->raw = malloc(RAW_MAX);
	if (!coder->compress || !coder->decompress || !coder->raw)
		return chunk_coder_free(coder);
	ZSTD_CCtx_setParameter(coder->compress, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(coder->compress, ZSTD_c_checksumFlag, 1);
	return coder;
}

struct chunk_coder *chunk_coder_free(struct chunk_coder *coder)
{
	if (!coder)
		return NULL;
	ZSTD_freeCCtx(coder->compress);
	ZSTD_freeDCtx(coder->decompress);
	free(coder->raw);
	free(coder->blob[0]);
	free(coder->blob[1]);
	free(coder);
	return NULL;
}

/* Columns are written behind a gap for their length, which is filled in (as a padded varint of fixed
 * width, so that nothing has to move) when the column is done. */
#define LENGTH_BYTES 4

static uint8_t *column_begin(uint8_t *at)
{
	return at + LENGTH_BYTES;
}

static void column_end(uint8_t *begin, uint8_t *end)
{
	size_t length = (size_t)(end - begin - LENGTH_BYTES);

	for (int i = 0; i < LENGTH_BYTES; i++)
		begin[i] = (uint8_t)((length >> 7 * i & 0x7f) | (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}

static int compress(struct chunk_coder *coder, int slot, size_t raw_bytes, const void **ret_blob,
		    size_t *ret_bytes)
{
	size_t bound = ZSTD_compressBound(raw_bytes), written;

	if (coder->blob_capacity[slot] < bound) {
		uint8_t *bigger = realloc(coder->blob[slot], bound);

		if (!bigger)
			return -ENOMEM;
		coder->blob[slot] = bigger;
		coder->blob_capacity[slot] = bound;
	}
	written = ZSTD_compress2(coder->compress, coder->blob[slot], bound, coder->raw, raw_bytes);
	if (ZSTD_isError(written))
		return -ENOMEM;		/* with a buffer of the bound nothing else can go wrong */
	*ret_blob = coder->blob[slot];
	*ret_bytes = written;
	return 0;
}

struct column { const uint8_t *at, *end; };

/* Decompress a blob and cut it into exactly `count` columns. */
static int open_columns(struct chunk_coder *coder, const void *blob, size_t bytes, unsigned count,
			struct column *ret_columns)
{
	size_t raw_bytes = ZSTD_decompressDCtx(coder->decompress, coder->raw, RAW_MAX, blob, bytes);
	const uint8_t *at = coder->raw, *end;

	if (ZSTD_isError(raw_bytes))
		return -EBADMSG;
	end = at + raw_bytes;
	for (unsigned i = 0; i < count; i++) {
		uint64_t length;

		if (!varint_get(&at, end, &length) || length > (size_t)(end - at))
			return -EBADMSG;
		ret_columns[i] = (struct column){ at, at + length };
		at += length;
	}
	return at == end ? 0 : -EBADMSG;
}

/* Where glibc would put the next block: 8 bytes of header, multiples of 16, at least 32. Other
 * allocators only make the difference larger, not wrong. */
static uint64_t next_addr(uint64_t addr, uint64_t bytes)
{
	uint64_t step = (bytes + 8 + 15) & ~15ull;

	return addr + (step < 32 ? 32 : step);
}

static uint32_t predicted_type(const struct chunk_nodes *nodes, uint32_t stack)
{
	return stack < nodes->stack_count ? nodes->stack_type[stack] : 0;
}

int chunk_encode_nodes(struct chunk_coder *coder, const struct chunk_nodes *nodes, uint32_t first,
		       uint32_t count, const void **ret_blob, size_t *ret_bytes)
{
	uint8_t *at = coder->raw, *begin;
	uint64_t expected = 0, birth = 0;
	uint32_t thread = 0, end = first + count;
	bool extra = false, weight = false;

#define COLUMN(body)                                                                                \
	do {                                                                                        \
		begin = at;                                                                         \
		at = column_begin(at);                                                              \
		for (uint32_t i = first; i < end; i++) {                                            \
			body                                                                        \
		}                                                                                   \
		column_end(begin, at);                                                              \
	} while (0)

	COLUMN(at = varint_put(at, varint_zigzag(nodes->addr[i] - expected));
	       expected = next_addr(nodes->addr[i], nodes->bytes[i]););
	COLUMN(at = varint_put(at, nodes->bytes[i]););
	COLUMN(at = varint_put(at, varint_zigzag(nodes->birth[i] - birth));
	       birth = nodes->birth[i];);
	COLUMN(at = varint_put(at, nodes->stack[i] == UINT32_MAX ? 0 : nodes->stack[i] + 1ull););
	COLUMN(at = varint_put(at, nodes->type[i] == predicted_type(nodes, nodes->stack[i]) ?
					   0 : nodes->type[i] + 1ull););
	COLUMN(at = varint_put(at, varint_zigzag((uint64_t)nodes->thread[i] - thread));
	       thread = nodes->thread[i];);
	COLUMN(at = varint_put(at, nodes->kind[i] | (unsigned)nodes->flags[i] << 8););

	/* usually nobody has these: an empty column then */
	for (uint32_t i = first; i < end; i++) {
		extra |= nodes->extra && nodes->extra[i] != 0;
		weight |= nodes->weight && nodes->weight[i] != 1;
	}
	COLUMN(if (extra) at = varint_put(at, nodes->extra[i]););
	COLUMN(if (weight) at = varint_put(at, nodes->weight[i]););
#undef COLUMN
	return compress(coder, 0, (size_t)(at - coder->raw), ret_blob, ret_bytes);
}

static bool get(struct column *column, uint64_t *ret_value)
{
	return varint_get(&column->at, column->end, ret_value);
}

int chunk_decode_nodes(struct chunk_coder *coder, const void *blob, size_t bytes,
		       const struct chunk_nodes *nodes, uint32_t first, uint32_t count,
		       unsigned *ret_columns)
{
	struct column column[NODE_COLUMNS];
	uint64_t value, expected = 0, birth = 0, thread = 0;
	uint32_t end = first + count;
	int r;

	r = open_columns(coder, blob, bytes, NODE_COLUMNS, column);
	if (r < 0)
		return r;
	*ret_columns = (column[7].at < column[7].end ? CHUNK_HAS_EXTRA : 0) |
		       (column[8].at < column[8].end ? CHUNK_HAS_WEIGHT : 0);
	if ((*ret_columns & CHUNK_HAS_EXTRA && !nodes->extra) ||
	    (*ret_columns & CHUNK_HAS_WEIGHT && !nodes->weight))
		return -ENODATA;

	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[1], &value))
			return -EBADMSG;
		nodes->bytes[i] = value;
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[0], &value))
			return -EBADMSG;
		nodes->addr[i] = expected + varint_unzigzag(value);
		expected = next_addr(nodes->addr[i], nodes->bytes[i]);
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[2], &value))
			return -EBADMSG;
		nodes->birth[i] = birth += varint_unzigzag(value);
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[3], &value) || value > nodes->stack_count)
			return -EBADMSG;
		nodes->stack[i] = (uint32_t)value - 1;
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[4], &value) || value > nodes->type_count)
			return -EBADMSG;
		nodes->type[i] =
			value ? (uint32_t)value - 1 : predicted_type(nodes, nodes->stack[i]);
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[5], &value))
			return -EBADMSG;
		thread += varint_unzigzag(value);
		if (thread > UINT32_MAX)
			return -EBADMSG;
		nodes->thread[i] = (uint32_t)thread;
	}
	for (uint32_t i = first; i < end; i++) {
		if (!get(&column[6], &value) || value > UINT16_MAX)
			return -EBADMSG;
		if (nodes->kind)
			nodes->kind[i] = (uint8_t)value;
		nodes->flags[i] = (uint8_t)(value >> 8);
	}
	for (uint32_t i = first; i < end; i++) {
		value = 0;
		if (*ret_columns & CHUNK_HAS_EXTRA &&
		    (!get(&column[7], &value) || value > UINT32_MAX))
			return -EBADMSG;
		if (nodes->extra)
			nodes->extra[i] = (uint32_t)value;
		value = 1;
		if (*ret_columns & CHUNK_HAS_WEIGHT &&
		    (!get(&column[8], &value) || value > UINT32_MAX))
			return -EBADMSG;
		if (nodes->weight)
			nodes->weight[i] = value ? (uint32_t)value : 1;
	}
	for (unsigned i = 0; i < NODE_COLUMNS; i++)
		if (column[i].at != column[i].end)
			return -EBADMSG;
	return 0;
}

int chunk_encode_edges(struct chunk_coder *coder, const struct chunk_edges *edges,
		       const void **ret_targets, size_t *ret_targets_bytes, const void **ret_labels,
		       size_t *ret_labels_bytes)
{
	uint8_t *at = coder->raw, *begin;
	uint32_t previous = 0;
	int r;

	begin = at;
	at = column_begin(at);
	for (uint32_t i = 0; i < edges->source_count; i++) {
		at = varint_put(at, edges->source[i] - previous);
		previous = edges->source[i];
	}
	column_end(begin, at);
	begin = at;
	at = column_begin(at);
	for (uint32_t i = 0; i < edges->source_count; i++)
		at = varint_put(at, edges->start[i + 1] - edges->start[i]);
	column_end(begin, at);
	begin = at;
	at = column_begin(at);
	for (uint32_t i = 0; i < edges->source_count; i++) {
		uint64_t target = edges->source[i];

		for (uint32_t e = edges->start[i]; e < edges->start[i + 1]; e++) {
			at = varint_put(at, varint_zigzag(edges->target[e] - target));
			target = edges->target[e];
		}
	}
	column_end(begin, at);
	r = compress(coder, 0, (size_t)(at - coder->raw), ret_targets, ret_targets_bytes);
	if (r < 0)
		return r;

	at = coder->raw;
	begin = at;
	at = column_begin(at);
	memcpy(at, edges->label, edges->edge_count);
	at += edges->edge_count;
	column_end(begin, at);
	begin = at;
	at = column_begin(at);
	for (uint32_t i = 0; i < edges->source_count; i++) {
		uint64_t value = 0;
		unsigned kind = UINT8_MAX;

		for (uint32_t e = edges->start[i]; e < edges->start[i + 1]; e++) {
			if (edges->label[e] >> 1 != kind)
				value = 0;
			at = varint_put(at, varint_zigzag(edges->value[e] - value));
			value = edges->value[e];
			kind = edges->label[e] >> 1;
		}
	}
	column_end(begin, at);
	begin = at;
	at = column_begin(at);
	for (uint32_t e = 0; e < edges->edge_count; e++)
		if (edges->label[e] & 1)
			at = varint_put(at, edges->offset[e]);
	column_end(begin, at);
	return compress(coder, 1, (size_t)(at - coder->raw), ret_labels, ret_labels_bytes);
}

int chunk_decode_targets(struct chunk_coder *coder, const void *blob, size_t bytes, uint32_t count,
			 uint32_t source_limit, uint32_t target_limit, struct chunk_edges *edges)
{
	struct column column[TARGET_COLUMNS];
	uint64_t value, source = 0, total = 0;
	uint32_t sources = 0;
	int r;

	if (count > CHUNK_EDGES)
		return -EBADMSG;
	r = open_columns(coder, blob, bytes, TARGET_COLUMNS, column);
	if (r < 0)
		return r;
	while (column[0].at < column[0].end) {
		if (sources == count || !get(&column[0], &value) || (sources && !value) ||
		    value >= source_limit || source + value >= source_limit)
			return -EBADMSG;
		source += value;
		if (!get(&column[1], &value) || !value || value > count - total)
			return -EBADMSG;
		edges->source[sources] = (uint32_t)source;
		edges->start[sources++] = (uint32_t)total;
		total += value;
	}
	if (total != count || column[1].at != column[1].end)
		return -EBADMSG;
	edges->start[sources] = count;
	edges->source_count = sources;
	edges->edge_count = count;
	for (uint32_t i = 0; i < sources; i++) {
		uint64_t target = edges->source[i];

		for (uint32_t e = edges->start[i]; e < edges->start[i + 1]; e++) {
			if (!get(&column[2], &value))
				return -EBADMSG;
			target += varint_unzigzag(value);
			if (target >= target_limit)
				return -EBADMSG;
			edges->target[e] = (uint32_t)target;
		}
	}
	return column[2].at == column[2].end ? 0 : -EBADMSG;
}

static bool label_is_string(unsigned kind)
{
	return kind == STREAM_LABEL_ATTR || kind == STREAM_LABEL_KEY ||
	       kind == STREAM_LABEL_LOCAL || kind == STREAM_LABEL_CELL ||
	       kind == STREAM_LABEL_NAMED;
}

int chunk_decode_labels(struct chunk_coder *coder, const void *blob, size_t bytes,
			uint32_t string_limit, struct chunk_edges *edges)
{
	struct column column[LABEL_COLUMNS];
	uint64_t value;
	int r;

	r = open_columns(coder, blob, bytes, LABEL_COLUMNS, column);
	if (r < 0)
		return r;
	if ((size_t)(column[0].end - column[0].at) != edges->edge_count)
		return -EBADMSG;
	memcpy(edges->label, column[0].at, edges->edge_count);
	for (uint32_t i = 0; i < edges->source_count; i++) {
		uint64_t last = 0;
		unsigned last_kind = UINT8_MAX;

		for (uint32_t e = edges->start[i]; e < edges->start[i + 1]; e++) {
			unsigned kind = edges->label[e] >> 1;

			if (kind >= STREAM_LABELS || !get(&column[1], &value))
				return -EBADMSG;
			edges->value[e] = varint_unzigzag(value) + (kind == last_kind ? last : 0);
			if (label_is_string(kind) && edges->value[e] >= string_limit)
				return -EBADMSG;
			last = edges->value[e];
			last_kind = kind;
		}
	}
	for (uint32_t e = 0; e < edges->edge_count; e++) {
		edges->offset[e] = 0;
		if (edges->label[e] & 1 && !get(&column[2], &edges->offset[e]))
			return -EBADMSG;
	}
	return column[1].at == column[1].end && column[2].at == column[2].end ? 0 : -EBADMSG;
}
