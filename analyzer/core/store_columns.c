/* SPDX-License-Identifier: Apache-2.0
 * L3  store_columns.c - the chunks of a snapshot file as columns and CSR references.
 *
 *   rows -> a batch of blobs, copied -> decoded by two threads, every other one each -> put in place
 *
 * (1) SQLite and everything that allocates columns is asked by the calling thread alone.
 * (2) Node chunks fill disjoint ranges of the columns, so both threads write them directly. References
 *     are decoded aside and appended in order: one to the source itself is left out, which moves all
 *     that follow.
 * (3) Every id is compared with its limit before it is stored, so passes over the heap need no checks. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/large.h"
#include "core/store_columns.h"
#include "core/task.h"

#define BATCH 8u

struct piece {				/* one row */
	void *blob;
	size_t bytes, room;
	int64_t id, first, last;
	uint32_t count;
	unsigned has;			/* nodes: rare columns that it carries */
	struct chunk_edges *edges;	/* references, decoded */
	int result;
};

struct batch {
	sqlite3_stmt *select;
	struct piece pieces[BATCH];
	uint32_t count;
	uint64_t row;			/* rows read so far */
	struct chunk_coder *coder[2];
	struct chunk_nodes *columns;	/* nodes */
	uint32_t sources, nodes;	/* references: limits */
};

struct half { struct batch *batch; uint32_t which; };

static int batch_begin(struct batch *batch, struct store_file *file, const char *sql)
{
	for (int i = 0; i < 2; i++) {
		batch->coder[i] = chunk_coder_new();
		if (!batch->coder[i])
			return -ENOMEM;
	}
	if (sqlite3_prepare_v2(file->db, sql, -1, &batch->select, NULL) != SQLITE_OK)
		return sqlite3_errcode(file->db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
	return 0;
}

static void batch_done(struct batch *batch)
{
	sqlite3_finalize(batch->select);
	for (uint32_t i = 0; i < BATCH; i++) {
		free(batch->pieces[i].blob);
		free(batch->pieces[i].edges);
	}
	chunk_coder_free(batch->coder[0]);
	chunk_coder_free(batch->coder[1]);
}

static int read_piece(sqlite3_stmt *select, struct piece *piece)
{
	const void *blob = sqlite3_column_blob(select, 4);
	size_t bytes = (size_t)sqlite3_column_bytes(select, 4);
	int64_t count = sqlite3_column_int64(select, 3);

	if (count < 1 || count > CHUNK_NODES)
		return -EBADMSG;
	if (bytes > piece->room) {
		free(piece->blob);
		piece->blob = malloc(bytes);
		piece->room = piece->blob ? bytes : 0;
		if (!piece->blob)
			return -ENOMEM;
	}
	if (bytes)
		memcpy(piece->blob, blob, bytes);
	piece->bytes = bytes;
	piece->id = sqlite3_column_int64(select, 0);
	piece->first = sqlite3_column_int64(select, 1);
	piece->last = sqlite3_column_int64(select, 2);
	piece->count = (uint32_t)count;
	return 0;
}

static bool is_last(const struct batch *batch)
{
	return batch->count < BATCH;
}

/* Fill the batch with the next rows; fewer than BATCH: there are no more. */
static int batch_next(struct batch *batch)
{
	batch->count = 0;
	while (batch->count < BATCH) {
		int code = sqlite3_step(batch->select), r;

		if (code == SQLITE_DONE)
			return 0;
		batch->row++;
		if (code != SQLITE_ROW)
			return code == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
		r = read_piece(batch->select, &batch->pieces[batch->count]);
		if (r < 0)
			return r;
		batch->count++;
	}
	return 0;
}

/* The row that a piece was read from. */
static uint64_t row_of(const struct batch *batch, uint32_t piece)
{
	return batch->row - batch->count + piece + 1;
}

/* ---- nodes ---- */

static int decode_nodes(void *data)
{
	const struct half *half = data;
	struct batch *batch = half->batch;

	for (uint32_t i = half->which; i < batch->count; i += 2) {
		struct piece *piece = &batch->pieces[i];

		piece->result = chunk_decode_nodes(batch->coder[half->which], piece->blob, piece->bytes,
						   batch->columns, (uint32_t)piece->first, piece->count, &piece->has);
	}
	return 0;
}

/* A column that most files have not: made with its default for all nodes when the first chunk has it. */
static int make_rare(struct chunk_nodes *c, unsigned has, uint64_t nodes)
{
	if (has & CHUNK_HAS_EXTRA && !c->extra) {
		c->extra = calloc(nodes, sizeof(*c->extra));
		if (!c->extra)
			return -ENOMEM;
	}
	if (has & CHUNK_HAS_WEIGHT && !c->weight) {
		c->weight = large_array(nodes, sizeof(*c->weight));
		if (!c->weight)
			return -ENOMEM;
		for (uint64_t i = 0; i < nodes; i++)
			c->weight[i] = 1;
	}
	return 0;
}

static int decode_node_batch(struct batch *batch, uint64_t nodes, uint64_t *ret_row)
{
	struct half mine = { batch, 0 }, other = { batch, 1 };
	struct task task;

	task_start(&task, decode_nodes, &other, batch->count > 1);
	decode_nodes(&mine);
	task_finish(&task);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct piece *piece = &batch->pieces[i];
		int r = piece->result;

		if (r == -ENODATA) {
			r = make_rare(batch->columns, piece->has, nodes);
			if (r == 0)
				r = chunk_decode_nodes(batch->coder[0], piece->blob, piece->bytes, batch->columns,
						       (uint32_t)piece->first, piece->count, &piece->has);
		}
		if (r < 0) {
			*ret_row = row_of(batch, i);
			return r;
		}
	}
	return 0;
}

static int allocate_columns(struct chunk_nodes *c, uint64_t nodes, bool kinds)
{
	c->addr = large_array(nodes, sizeof(*c->addr));
	c->bytes = large_array(nodes, sizeof(*c->bytes));
	c->birth = large_array(nodes, sizeof(*c->birth));
	c->stack = large_array(nodes, sizeof(*c->stack));
	c->type = large_array(nodes, sizeof(*c->type));
	c->thread = large_array(nodes, sizeof(*c->thread));
	c->flags = large_array(nodes, 1);
	c->kind = kinds ? large_array(nodes, 1) : NULL;
	return c->addr && c->bytes && c->birth && c->stack && c->type && c->thread && c->flags && (c->kind || !kinds) ? 0 : -ENOMEM;
}

/* Do the rows of chunks add up to what the file claims? Before memory is taken for that. */
static int check_sum(struct store_file *file, const char *sql, uint64_t claimed)
{
	sqlite3_stmt *statement = NULL;
	int r = -EBADMSG;

	if (sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_double(statement, 0) == (double)claimed)
		r = 0;
	else if (sqlite3_errcode(file->db) == SQLITE_NOMEM)
		r = -ENOMEM;
	sqlite3_finalize(statement);
	return r;
}

int store_columns_nodes(struct store_file *file, uint64_t nodes, bool kinds, struct chunk_nodes *columns, uint64_t *ret_row)
{
	struct batch batch = { .columns = columns };
	uint64_t done = 0;
	int r;

	*ret_row = 0;
	r = check_sum(file, "SELECT total(count) FROM node_chunks", nodes);
	if (r == 0)
		r = allocate_columns(columns, nodes, kinds);
	if (r == 0)
		r = batch_begin(&batch, file, "SELECT id, first, 0, count, data FROM node_chunks ORDER BY id");
	while (r == 0) {
		r = batch_next(&batch);
		*ret_row = batch.row;
		for (uint32_t i = 0; i < batch.count && r == 0; i++) {
			if (batch.pieces[i].first != (int64_t)done || done + batch.pieces[i].count > nodes) {
				*ret_row = row_of(&batch, i);
				r = -EBADMSG;
			}
			done += batch.pieces[i].count;
		}
		if (r == 0)
			r = decode_node_batch(&batch, nodes, ret_row);
		if (is_last(&batch))
			break;
	}
	if (r == 0 && done != nodes) {
		*ret_row = batch.row + 1;
		r = -EBADMSG;
	}
	batch_done(&batch);
	for (uint64_t i = 1; i < nodes && r == 0; i++)
		if (columns->addr[i] < columns->addr[i - 1]) {
			*ret_row = i / CHUNK_NODES + 1;
			r = -EBADMSG;
		}
	return r;
}

/* ---- references ---- */

static int decode_edges(void *data)
{
	const struct half *half = data;
	struct batch *batch = half->batch;

	for (uint32_t i = half->which; i < batch->count; i += 2) {
		struct piece *piece = &batch->pieces[i];

		piece->result = chunk_decode_targets(batch->coder[half->which], piece->blob, piece->bytes, piece->count,
						     batch->sources, batch->nodes, piece->edges);
	}
	return 0;
}

/* Append a chunk's references to the CSR. *next is the first graph id whose start is not set. */
static int append_chunk(struct store_edges *to, const struct chunk_edges *edges, uint64_t *next)
{
	for (uint32_t i = 0; i < edges->source_count; i++) {
		uint32_t source = edges->source[i];

		if (source + 1ull < *next)		/* only the last source may go on */
			return -EBADMSG;
		while (*next <= source)
			to->start[(*next)++] = (uint32_t)to->count;
		for (uint32_t e = edges->start[i]; e < edges->start[i + 1]; e++)
			if (edges->target[e] != source)
				to->to[to->count++] = edges->target[e];
	}
	return 0;
}

/* Put one decoded row in place. */
static int take_edges(struct batch *batch, const struct piece *piece, struct store_edges *to, uint64_t *next,
		      uint64_t *done, uint64_t total)
{
	const struct chunk_edges *edges = piece->edges;
	struct store_edge_chunk *chunks = to->chunks;

	if (piece->result < 0)
		return piece->result;
	if (*done + piece->count > total || piece->first < 0 || piece->last < piece->first ||
	    piece->last >= batch->sources || edges->source[0] != piece->first ||
	    edges->source[edges->source_count - 1] != piece->last)
		return -EBADMSG;
	if (!(to->chunk_count & (to->chunk_count - 1)))	/* grows at 0, 1, 2, 4, 8, ... */
		chunks = reallocarray(chunks, to->chunk_count ? to->chunk_count * 2ull : 1, sizeof(*chunks));
	if (!chunks)
		return -ENOMEM;
	to->chunks = chunks;
	chunks[to->chunk_count++] = (struct store_edge_chunk){
		(uint32_t)piece->first, (uint32_t)piece->last, piece->id, piece->count };
	*done += piece->count;
	return append_chunk(to, edges, next);
}

static int take_edge_batch(struct batch *batch, struct store_edges *to, uint64_t *next, uint64_t *done,
			   uint64_t total, uint64_t *ret_row)
{
	struct half mine = { batch, 0 }, other = { batch, 1 };
	struct task task;
	int r = 0;

	for (uint32_t i = 0; i < batch->count; i++) {
		struct piece *piece = &batch->pieces[i];

		if (!piece->edges)
			piece->edges = malloc(sizeof(*piece->edges));
		if (!piece->edges)
			return -ENOMEM;
	}
	task_start(&task, decode_edges, &other, batch->count > 1);
	decode_edges(&mine);
	task_finish(&task);
	for (uint32_t i = 0; i < batch->count && r == 0; i++) {
		*ret_row = row_of(batch, i);
		r = take_edges(batch, &batch->pieces[i], to, next, done, total);
	}
	return r;
}

/* Sort by counting, 11 bits at a time; `scratch` is as long as `ids`. For sources with many targets. */
static void sort_by_digits(uint32_t *ids, uint32_t *scratch, uint64_t count)
{
	uint32_t *from = ids, *to = scratch;

	for (unsigned shift = 0; shift < 32; shift += 11) {
		uint64_t start[2049] = { 0 };

		for (uint64_t i = 0; i < count; i++)
			start[(from[i] >> shift & 2047) + 1]++;
		for (unsigned d = 0; d < 2048; d++)
			start[d + 1] += start[d];
		for (uint64_t i = 0; i < count; i++)
			to[start[from[i] >> shift & 2047]++] = from[i];
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	if (from != ids)
		memcpy(ids, from, count * sizeof(*ids));
}

/* Most sources have a handful of references, often already in order. */
static int sort_targets(uint32_t *ids, uint64_t count)
{
	uint64_t i = 1;

	while (i < count && ids[i - 1] <= ids[i])
		i++;
	if (i >= count)
		return 0;
	if (count > 256) {
		uint32_t *scratch = reallocarray(NULL, count, sizeof(*scratch));

		if (!scratch)
			return -ENOMEM;
		sort_by_digits(ids, scratch, count);
		free(scratch);
		return 0;
	}
	for (; i < count; i++) {
		uint32_t id = ids[i];
		uint64_t hole = i;

		for (; hole && ids[hole - 1] > id; hole--)
			ids[hole] = ids[hole - 1];
		ids[hole] = id;
	}
	return 0;
}

struct sorting { const struct store_edges *edges; uint64_t from, to; };

static int sort_sources(void *data)
{
	const struct sorting *s = data;
	int r = 0;

	for (uint64_t v = s->from; v < s->to && r == 0; v++)
		r = sort_targets(s->edges->to + s->edges->start[v], s->edges->start[v + 1] - s->edges->start[v]);
	return r;
}

int store_columns_edges(struct store_file *file, uint32_t nodes, uint32_t roots, uint64_t total,
			struct store_edges *edges, uint64_t *ret_row)
{
	struct batch batch = { .sources = nodes + roots, .nodes = nodes };
	struct sorting mine = { edges, 0, batch.sources / 2 }, other = { edges, batch.sources / 2, batch.sources };
	uint64_t next = 0, done = 0;
	struct task task;
	int r;

	*ret_row = 0;
	r = check_sum(file, "SELECT total(count) FROM edge_chunks", total);
	if (r < 0)
		return r;
	edges->start = large_array(batch.sources + 1ull, sizeof(*edges->start));
	edges->to = large_array(total, sizeof(*edges->to));
	r = edges->start && edges->to ?
		    batch_begin(&batch, file, "SELECT id, first_source, last_source, count, targets FROM edge_chunks "
					      "ORDER BY id") : -ENOMEM;
	while (r == 0) {
		r = batch_next(&batch);
		*ret_row = batch.row;
		if (r == 0)
			r = take_edge_batch(&batch, edges, &next, &done, total, ret_row);
		if (is_last(&batch))
			break;
	}
	if (r == 0 && done != total) {
		*ret_row = batch.row + 1;
		r = -EBADMSG;
	}
	batch_done(&batch);
	if (r < 0)
		return r;
	while (next <= batch.sources)
		edges->start[next++] = (uint32_t)edges->count;
	task_start(&task, sort_sources, &other, total > CHUNK_EDGES);
	r = sort_sources(&mine);
	return task_finish(&task) < 0 || r < 0 ? -ENOMEM : 0;
}
