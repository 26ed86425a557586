/* SPDX-License-Identifier: Apache-2.0
 * make_snapshot.c - writes two large snapshots of one synthetic service.
 * LIBS ld_core
 *
 *   bench_make_snapshot NODES GROWTH FIRST SECOND      GROWTH in percent of NODES
 *
 * The service has hash tables with chains (a few huge ones and a thousand small ones), vectors of
 * strings, two long doubly linked lists, trees, objects that everybody shares, and garbage in rings;
 * about three references a node. Between the snapshots a cache that never evicts takes most of the
 * growth, a list and new garbage the rest, and one node in fifty is replaced by another. Blocks are
 * born in groups; one in eight leaves a hole that a later one fills. The same arguments give the same
 * bytes. Needs about 25 bytes a node and no stream: what ingest does is not measured with these. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/chunks.h"
#include "core/heap.h"
#include "core/store_write.h"
#include "preload/stream.h"

#define NONE UINT32_MAX
#define SMALL_TABLES 1000u
#define TABLES (SMALL_TABLES + 18u)	/* 0 huge, 1..16 large, 17 the one that leaks, then the small ones */
#define LEAKING 17u
#define LISTS 2u
#define TREES 8u
#define HUBS 400u
#define STACK_ROOTS 64u
#define VARIANTS 40u			/* allocation sites of one kind */
#define STACKS_OF_VARIANT 30u		/* and ways to get there */
#define HOLES 65536u

enum kind { TABLE, ENTRY, KEY, VALUE, VECTOR, STRING, LINK, PAYLOAD, TREE, LEAF, HUB, RING, LOST, KINDS };

static const struct { const char *name; uint32_t bytes, spread; bool typed; } kinds[KINDS] = {
	[TABLE] = { "table_grow", 0, 0, false }, [ENTRY] = { "struct entry", 64, 0, true },
	[KEY] = { "dup_key", 16, 48, false }, [VALUE] = { "session_new", 96, 160, false },
	[VECTOR] = { "vector_grow", 0, 0, false }, [STRING] = { "text_copy", 24, 400, false },
	[LINK] = { "struct job", 32, 0, true }, [PAYLOAD] = { "read_body", 512, 3500, false },
	[TREE] = { "struct index_node", 48, 0, true }, [LEAF] = { "index_leaf", 128, 0, false },
	[HUB] = { "config_load", 256, 900, false }, [RING] = { "struct observer", 40, 0, true },
	[LOST] = { "observer_name", 24, 40, false },
};

/* A place in memory; `birth` 0 = a hole that nobody filled. */
struct slot {
	uint32_t birth;
	uint32_t link[3];	/* entry: key, value, older one of its chain; link: older, newer, payload; ... */
	uint16_t owner;		/* table, list, tree */
	uint8_t kind;
	bool died;		/* between the snapshots */
};

struct service {
	struct slot *slots;
	uint32_t count, room, born;
	uint32_t holes[HOLES], hole_count;
	uint32_t *heads[TABLES];	/* newest entry of each bucket */
	uint32_t buckets[TABLES], array[TABLES];
	uint32_t *members[TREES], member_count[TREES], member_room[TREES];
	uint32_t newest[LISTS], hub[HUBS];
};

static uint64_t state = 88172645463325252ull;

static uint32_t below(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state >> 11) % limit);
}

static uint32_t mixed(uint64_t number)
{
	number *= 0x9e3779b97f4a7c15ull;
	number ^= number >> 29;
	number *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(number >> 32);
}

static void *need(void *memory)
{
	if (!memory) {
		perror("bench_make_snapshot");
		exit(2);
	}
	return memory;
}

/* ---- the service's life ---- */

static uint32_t make(struct service *s, enum kind kind, uint32_t owner)
{
	uint32_t id;

	if (s->hole_count == HOLES || (s->hole_count && below(8) == 0)) {
		uint32_t hole = below(s->hole_count);

		id = s->holes[hole];
		s->holes[hole] = s->holes[--s->hole_count];
	} else {
		if (s->hole_count < HOLES && s->count + 2 < s->room && below(8) == 0)
			s->holes[s->hole_count++] = s->count++;
		id = s->count++;
	}
	if (id >= s->room) {
		fprintf(stderr, "bench_make_snapshot: out of slots\n");
		exit(2);
	}
	s->slots[id] = (struct slot){ .birth = ++s->born, .kind = (uint8_t)kind, .owner = (uint16_t)owner,
				      .link = { NONE, NONE, NONE } };
	return id;
}

static void insert(struct service *s, uint32_t table)
{
	uint32_t entry = make(s, ENTRY, table), key = make(s, KEY, table), value = make(s, VALUE, table);
	uint32_t *head = &s->heads[table][mixed(entry) % s->buckets[table]];

	s->slots[entry].link[0] = key;
	s->slots[entry].link[1] = value;
	s->slots[entry].link[2] = *head;
	*head = entry;
	s->slots[value].link[0] = entry;
	s->slots[value].link[1] = s->hub[below(HUBS)];
	if (below(8) == 0) {
		uint32_t vector = make(s, VECTOR, table), last = vector;

		s->slots[value].link[2] = vector;
		for (uint32_t i = 2 + below(14); i; i--) {
			uint32_t string = make(s, STRING, table);

			s->slots[last].link[0] = string;
			last = string;
		}
	}
}

static void append(struct service *s, uint32_t list)
{
	uint32_t link = make(s, LINK, list), payload = make(s, PAYLOAD, list);

	s->slots[link].link[0] = s->newest[list];
	s->slots[link].link[2] = payload;
	if (s->newest[list] != NONE)
		s->slots[s->newest[list]].link[1] = link;
	s->newest[list] = link;
	s->slots[payload].link[1] = s->hub[below(HUBS)];
}

static void grow_tree(struct service *s, uint32_t tree)
{
	uint32_t node = make(s, TREE, tree), leaf = make(s, LEAF, tree), at = s->member_count[tree]++;

	if (at == s->member_room[tree]) {
		s->member_room[tree] = at ? at * 2 : 1024;
		s->members[tree] = need(realloc(s->members[tree], (size_t)s->member_room[tree] * sizeof(uint32_t)));
	}
	s->members[tree][at] = node;
	if (at)
		s->slots[s->members[tree][(at - 1) / 2]].link[(at - 1) % 2] = node;
	s->slots[node].link[2] = leaf;
	s->slots[leaf].link[0] = node;
	s->slots[leaf].link[1] = s->hub[below(HUBS)];
}

static void lose_ring(struct service *s)
{
	uint32_t first = make(s, RING, 0), last = first;

	for (uint32_t i = 1 + below(4); i; i--) {
		uint32_t next = make(s, RING, 0);

		s->slots[last].link[0] = next;
		s->slots[last].link[1] = make(s, LOST, 0);
		last = next;
	}
	s->slots[last].link[0] = first;
}

static uint32_t some_table(void)
{
	uint32_t dice = below(100);

	return dice < 50 ? 0 : dice < 85 ? 1 + below(16) : LEAKING + 1 + below(SMALL_TABLES);
}

static void work(struct service *s, uint32_t until)
{
	while (s->born < until) {
		uint32_t dice = below(1000);

		if (dice < 700)
			insert(s, some_table());
		else if (dice < 840)
			append(s, below(LISTS));
		else if (dice < 998)
			grow_tree(s, below(TREES));
		else
			lose_ring(s);
	}
}

static void leak(struct service *s, uint32_t until)
{
	while (s->born < until) {
		uint32_t dice = below(100);

		if (dice < 70)
			insert(s, LEAKING);
		else if (dice < 90)
			append(s, 0);
		else
			lose_ring(s);
	}
}

/* Evict entries of the huge table and put as many others in their place. */
static void replace(struct service *s, uint32_t nodes)
{
	uint32_t gone = 0, until;

	for (uint32_t tries = nodes * 20; tries && gone < nodes; tries--) {
		struct slot *slot = &s->slots[below(s->count)];

		if (!slot->birth || slot->kind != ENTRY || slot->owner != 0 || slot->died)
			continue;
		slot->died = s->slots[slot->link[0]].died = s->slots[slot->link[1]].died = true;
		gone += 3;
		for (uint32_t id = s->slots[slot->link[1]].link[2]; id != NONE; id = s->slots[id].link[0], gone++)
			s->slots[id].died = true;
	}
	until = s->born + gone;
	while (s->born < until)
		insert(s, 0);
}

static void begin(struct service *s, uint32_t nodes, uint32_t slots)
{
	s->room = slots;
	s->slots = need(calloc(slots, sizeof(*s->slots)));
	for (uint32_t h = 0; h < HUBS; h++) {
		s->hub[h] = make(s, HUB, 0);
		if (h)
			s->slots[s->hub[h]].link[0] = s->hub[below(h)];
	}
	for (uint32_t t = 0; t < TABLES; t++) {
		s->buckets[t] = t == 0 ? nodes / 16 + 1 : t <= LEAKING ? nodes / 256 + 1 : 64;
		s->heads[t] = need(malloc((size_t)s->buckets[t] * sizeof(uint32_t)));
		memset(s->heads[t], 0xff, (size_t)s->buckets[t] * sizeof(uint32_t));
		s->array[t] = make(s, TABLE, t);
	}
	for (uint32_t l = 0; l < LISTS; l++)
		s->newest[l] = NONE;
}

/* ---- one snapshot of it ---- */

struct view {
	const struct service *s;
	uint32_t until;			/* nodes born up to here, */
	bool with_dead;			/* and those that died later as well? */
	uint32_t *id;			/* node id of each slot */
	uint32_t nodes;
	uint32_t *site_count;		/* by stack and size class: see site_of() */
	uint64_t *site_bytes;
	uint64_t bytes, edges;
	struct store_writer *writer;
	struct chunk_coder *coder;
	struct chunk_edges *chunk;
	int64_t chunk_id;
};

static bool alive(const struct view *v, uint32_t slot)
{
	const struct slot *x = slot == NONE ? NULL : &v->s->slots[slot];

	return x && x->birth && x->birth <= v->until && (v->with_dead || !x->died);
}

static uint32_t strings_of(const struct view *v, uint32_t slot)
{
	uint32_t count = 0;

	for (uint32_t id = v->s->slots[slot].link[0]; id != NONE; id = v->s->slots[id].link[0])
		count++;
	return count;
}

static uint32_t variant_of(const struct service *s, uint32_t slot)
{
	return s->slots[slot].owner == LEAKING ? VARIANTS - 1 : mixed(s->slots[slot].owner * 31u + slot % 3) % (VARIANTS - 1);
}

static uint32_t stack_of(const struct service *s, uint32_t slot)
{
	return (s->slots[slot].kind * VARIANTS + variant_of(s, slot)) * STACKS_OF_VARIANT +
	       mixed(slot) % (1 + mixed(slot / 64) % STACKS_OF_VARIANT);
}

static uint32_t bytes_of(const struct view *v, uint32_t slot)
{
	const struct slot *x = &v->s->slots[slot];

	if (x->kind == TABLE)
		return v->s->buckets[x->owner] * 8;
	if (x->kind == VECTOR)
		return strings_of(v, slot) * 8;
	if (x->kind == STRING || x->kind == PAYLOAD || x->kind == KEY)
		return kinds[x->kind].bytes + mixed(slot) % (kinds[x->kind].spread + 1);
	/* objects of one site have one size */
	return kinds[x->kind].bytes + mixed(variant_of(v->s, slot)) % (kinds[x->kind].spread + 1) / 8 * 8;
}

static void write_node_chunk(struct view *v, const struct chunk_nodes *columns, uint32_t first, uint32_t count)
{
	const void *blob;
	size_t bytes;

	if (chunk_encode_nodes(v->coder, columns, 0, count, &blob, &bytes) < 0)
		need(NULL);
	store_put(v->writer, "node_chunks", "iiib", (int64_t)(first / CHUNK_NODES), (int64_t)first, (int64_t)count,
		  blob, bytes);
}

static void write_nodes(struct view *v)
{
	static uint64_t addr[CHUNK_NODES], bytes[CHUNK_NODES], birth[CHUNK_NODES];
	static uint32_t stack[CHUNK_NODES], type[CHUNK_NODES], thread[CHUNK_NODES];
	static uint8_t flags[CHUNK_NODES], kind[CHUNK_NODES];
	static uint32_t stack_type[KINDS * VARIANTS * STACKS_OF_VARIANT];
	struct chunk_nodes columns = { .addr = addr, .bytes = bytes, .birth = birth, .stack = stack, .type = type,
		.thread = thread, .flags = flags, .kind = kind, .stack_type = stack_type,
		.stack_count = KINDS * VARIANTS * STACKS_OF_VARIANT, .type_count = 1 + KINDS * VARIANTS };
	uint64_t at = 0x555555560010;
	uint32_t filled = 0;

	for (uint32_t i = 0; i < columns.stack_count; i++)
		stack_type[i] = 1 + i / STACKS_OF_VARIANT;
	memset(kind, STREAM_NODE_MALLOC, sizeof(kind));
	for (uint32_t slot = 0; slot < v->s->count; slot++) {
		const struct slot *x = &v->s->slots[slot];
		uint32_t size = x->birth ? bytes_of(v, slot) : 48;

		if (alive(v, slot)) {
			v->id[slot] = v->nodes++;
			addr[filled] = at;
			bytes[filled] = size;
			birth[filled] = x->birth * 2048ull + mixed(x->birth) % 2048;
			stack[filled] = stack_of(v->s, slot);
			type[filled] = stack_type[stack[filled]];
			thread[filled] = 4711 + x->birth / 32 % 4;
			v->site_count[stack[filled]]++;
			v->site_bytes[stack[filled]] += size;
			v->bytes += size;
			if (++filled == CHUNK_NODES) {
				write_node_chunk(v, &columns, v->nodes - filled, filled);
				filled = 0;
			}
		} else {
			v->id[slot] = NONE;
		}
		at += (size + 8 + 15) / 16 * 16;
	}
	if (filled)
		write_node_chunk(v, &columns, v->nodes - filled, filled);
}

static void flush_edges(struct view *v)
{
	struct chunk_edges *c = v->chunk;
	const void *targets, *labels;
	size_t targets_bytes, labels_bytes;

	if (!c->edge_count)
		return;
	c->start[c->source_count] = c->edge_count;
	if (chunk_encode_edges(v->coder, c, &targets, &targets_bytes, &labels, &labels_bytes) < 0)
		need(NULL);
	store_put(v->writer, "edge_chunks", "iiiibb", v->chunk_id++, (int64_t)c->source[0],
		  (int64_t)c->source[c->source_count - 1], (int64_t)c->edge_count, targets, targets_bytes, labels,
		  labels_bytes);
	c->source_count = c->edge_count = 0;
}

/* One reference, from graph id `from` to the node in a slot; nothing when that is not there. */
static void refer(struct view *v, uint32_t from, uint64_t offset, uint32_t to_slot)
{
	struct chunk_edges *c = v->chunk;
	uint32_t at;

	if (!alive(v, to_slot) || v->id[to_slot] == from)
		return;
	if (c->edge_count == CHUNK_EDGES)
		flush_edges(v);
	at = c->edge_count++;
	if (!c->source_count || c->source[c->source_count - 1] != from) {
		c->source[c->source_count] = from;
		c->start[c->source_count++] = at;
	}
	c->target[at] = v->id[to_slot];
	c->label[at] = STREAM_LABEL_OFFSET << 1 | (mixed(at + from) % 20 == 0);
	c->value[at] = offset;
	c->offset[at] = c->label[at] & 1 ? 8 : 0;
	v->edges++;
}

/* Past the dead, along one link. */
static uint32_t skip_dead(const struct view *v, uint32_t slot, int link)
{
	while (slot != NONE && !alive(v, slot))
		slot = v->s->slots[slot].link[link];
	return slot;
}

/* References of one record to others of its table that were made near it, and seldom to any other. */
static void refer_to_others(struct view *v, uint32_t slot)
{
	const struct slot *x = &v->s->slots[slot];
	uint32_t made = 0, wanted = mixed(slot * 7ull) % 30;

	for (uint32_t k = 0; k < 200 && made < wanted; k++) {
		uint32_t near = slot - 1 - mixed(slot * 256ull + k) % 256;

		if (near < slot && alive(v, near) && v->s->slots[near].kind == VALUE &&
		    v->s->slots[near].owner == x->owner)
			refer(v, v->id[slot], 32 + 8 * made++, near);
	}
	if (x->owner != LEAKING && mixed(slot * 13ull) % 10 == 0) {
		uint32_t far = mixed(slot * 17ull) % v->s->count;

		if (v->s->slots[far].kind == VALUE && v->s->slots[far].owner != LEAKING)
			refer(v, v->id[slot], 24, far);
	}
}

static void write_edges_of(struct view *v, uint32_t slot)
{
	const struct slot *x = &v->s->slots[slot];
	uint32_t from = v->id[slot];

	switch (x->kind) {
	case TABLE:
		for (uint32_t b = 0; b < v->s->buckets[x->owner]; b++)
			refer(v, from, b * 8ull, skip_dead(v, v->s->heads[x->owner][b], 2));
		break;
	case ENTRY:
		refer(v, from, 0, skip_dead(v, x->link[2], 2));
		refer(v, from, 8, x->link[0]);
		refer(v, from, 16, x->link[1]);
		break;
	case VALUE:
		refer(v, from, 0, x->link[0]);
		refer(v, from, 8, x->link[1]);
		refer(v, from, 16, x->link[2]);
		refer_to_others(v, slot);
		break;
	case VECTOR:
		for (uint32_t id = x->link[0], k = 0; id != NONE; id = v->s->slots[id].link[0], k++)
			refer(v, from, k * 8ull, id);
		break;
	case LINK:
		refer(v, from, 0, x->link[0]);
		refer(v, from, 8, x->link[1]);
		refer(v, from, 16, x->link[2]);
		break;
	case PAYLOAD:
	case LEAF:
	case TREE:
	case HUB:
	case RING:
		for (int k = 0; k < 3; k++)
			refer(v, from, k * 8ull, x->link[k]);
		break;
	}
}

static uint32_t write_roots(struct view *v)
{
	const struct service *s = v->s;
	uint32_t count = 0, target;
	char name[64];

	for (uint32_t i = 0; i < TABLES + LISTS + TREES + HUBS + STACK_ROOTS; i++) {
		uint32_t from = v->nodes + count;

		if (i < TABLES) {
			snprintf(name, sizeof(name), i == LEAKING ? "g_sessions" : "g_table_%" PRIu32, i);
			target = s->array[i];
		} else if (i < TABLES + LISTS) {
			snprintf(name, sizeof(name), "g_jobs_%" PRIu32, i - TABLES);
			target = skip_dead(v, s->newest[i - TABLES], 0);
		} else if (i < TABLES + LISTS + TREES) {
			snprintf(name, sizeof(name), "g_index_%" PRIu32, i - TABLES - LISTS);
			target = s->members[i - TABLES - LISTS][0];
		} else if (i < TABLES + LISTS + TREES + HUBS) {
			snprintf(name, sizeof(name), "g_config_%" PRIu32, i - TABLES - LISTS - TREES);
			target = s->hub[i - TABLES - LISTS - TREES];
		} else {
			snprintf(name, sizeof(name), "handle_request_%" PRIu32 "()", i);
			for (target = mixed(i) % s->count; s->slots[target].kind != VALUE || !alive(v, target);)
				target = (target + 1) % s->count;
		}
		store_put(v->writer, "roots", "issssuuosz", (int64_t)count, i < TABLES + LISTS + TREES + HUBS ? "global" : "stack",
			  name, "service", i < TABLES + LISTS + TREES + HUBS ? "" : "main", (uint64_t)0x480000 + i * 8ull,
			  (uint64_t)0x480008 + i * 8ull, UINT32_MAX, NULL, UINT64_MAX);
		refer(v, from, 0, target);
		count++;
	}
	return count;
}

static void write_names(struct view *v)
{
	char text[256];
	size_t length;

	store_put(v->writer, "types", "isiou", (int64_t)0, "unknown", (int64_t)HEAP_TYPE_KIND, UINT32_MAX, (uint64_t)0);
	for (uint32_t t = 0; t < KINDS * VARIANTS; t++) {
		uint32_t kind = t / VARIANTS;

		if (kinds[kind].typed)
			snprintf(text, sizeof(text), "%s %" PRIu32, kinds[kind].name, t % VARIANTS);
		else
			snprintf(text, sizeof(text), "%s_%" PRIu32 " service.c:%" PRIu32, kinds[kind].name, t % VARIANTS, t);
		store_put(v->writer, "types", "isiou", (int64_t)t + 1, text,
			  (int64_t)(kinds[kind].typed ? HEAP_TYPE_DWARF : HEAP_TYPE_SITE), UINT32_MAX, (uint64_t)0);
	}
	for (uint32_t f = 0; f < 4000; f++) {
		snprintf(text, sizeof(text), "function_%" PRIu32, f);
		store_put(v->writer, "frames", "ississi", (int64_t)f, text, "service.c", (int64_t)f, "service", "c",
			  (int64_t)0);
	}
	for (uint32_t i = 0; i < KINDS * VARIANTS * STACKS_OF_VARIANT; i++) {
		uint32_t depth = 8 + mixed(i) % 16;

		length = (size_t)snprintf(text, sizeof(text), "[%" PRIu32, i / STACKS_OF_VARIANT);
		for (uint32_t k = 1; k < depth; k++)
			length += (size_t)snprintf(text + length, sizeof(text) - length, ",%" PRIu32,
						   mixed(i * 64ull + k / 2) % 4000);
		snprintf(text + length, sizeof(text) - length, "]");
		store_put(v->writer, "stacks", "iiiis", (int64_t)i, (int64_t)(1 + i / STACKS_OF_VARIANT),
			  (int64_t)depth, (int64_t)0, text);
	}
}

static void fact(struct view *v, const char *key, uint64_t value)
{
	char number[24];

	snprintf(number, sizeof(number), "%" PRIu64, value);
	store_put(v->writer, "meta", "ss", key, number);
}

static void write_facts(struct view *v, uint32_t roots, uint64_t taken_birth)
{
	const uint64_t started = 1700000000000000000, taken = started + 3600000000000 + taken_birth * 10;
	uint64_t rss = v->bytes / 8 * 9;
	int64_t site = 0;

	for (uint32_t i = 0; i < KINDS * VARIANTS * STACKS_OF_VARIANT; i++)
		if (v->site_count[i])
			store_put(v->writer, "sites", "iooiuu", site++, 1 + i / STACKS_OF_VARIANT, i,
				  (int64_t)(v->site_bytes[i] / v->site_count[i]), (uint64_t)v->site_count[i],
				  v->site_bytes[i]);
	store_put(v->writer, "meta", "ss", "command", "synthetic");
	store_put(v->writer, "meta", "ss", "mode", "full");
	fact(v, "pid", 4711);
	fact(v, "nodes", v->nodes);
	fact(v, "roots", roots);
	fact(v, "edges", v->edges);
	fact(v, "blocks", v->nodes);
	fact(v, "bytes", v->bytes);
	fact(v, "rss_bytes", rss);
	fact(v, "consistent", 1);
	fact(v, "taken_ns", taken);
	fact(v, "process_start_ns", started);
	fact(v, "capture_birth", 1);
	fact(v, "taken_birth", taken_birth);
	store_put(v->writer, "account", "su", "live", v->bytes);
	store_put(v->writer, "account", "su", "allocator", rss - v->bytes);
	store_put(v->writer, "account", "su", "total", rss);
	store_put(v->writer, "clock", "iuii", (int64_t)0, (uint64_t)1, (int64_t)started, (int64_t)0);
	store_put(v->writer, "clock", "iuii", (int64_t)1, taken_birth, (int64_t)taken, (int64_t)(taken - started));
}

static void write_snapshot(const struct service *s, const char *path, uint32_t until, bool with_dead)
{
	struct view v = { .s = s, .until = until, .with_dead = with_dead };
	uint64_t file_bytes = 0;
	char *error = NULL;
	uint32_t roots;

	v.id = need(malloc((size_t)s->count * sizeof(*v.id)));
	v.site_count = need(calloc(KINDS * VARIANTS * STACKS_OF_VARIANT, sizeof(*v.site_count)));
	v.site_bytes = need(calloc(KINDS * VARIANTS * STACKS_OF_VARIANT, sizeof(*v.site_bytes)));
	v.coder = need(chunk_coder_new());
	v.chunk = need(calloc(1, sizeof(*v.chunk)));
	if (store_writer_open(path, -1, -1, &v.writer, &error) < 0) {
		fprintf(stderr, "bench_make_snapshot: %s\n", error ? error : "not enough memory");
		exit(2);
	}
	write_names(&v);
	write_nodes(&v);
	for (uint32_t slot = 0; slot < s->count; slot++)
		if (v.id[slot] != NONE)
			write_edges_of(&v, slot);
	roots = write_roots(&v);
	flush_edges(&v);
	write_facts(&v, roots, until * 2048ull + 2048);
	if (store_writer_commit(v.writer, &file_bytes, &error) < 0) {
		fprintf(stderr, "bench_make_snapshot: %s\n", error ? error : "not enough memory");
		exit(2);
	}
	printf("%s nodes=%" PRIu32 " edges=%" PRIu64 " bytes=%" PRIu64 "\n", path, v.nodes, v.edges, file_bytes);
	store_writer_free(v.writer);
	chunk_coder_free(v.coder);
	free(v.chunk);
	free(v.id);
	free(v.site_count);
	free(v.site_bytes);
}

int main(int argc, char **argv)
{
	double nodes = argc == 5 ? strtod(argv[1], NULL) : 0, growth = argc == 5 ? strtod(argv[2], NULL) : -1;
	static struct service s;
	uint32_t first, second;

	if (nodes < 10000 || nodes > 200e6 || growth < 0 || growth > 100) {
		fprintf(stderr, "usage: bench_make_snapshot NODES GROWTH FIRST SECOND    (10000 nodes or more, percent)\n");
		return 64;
	}
	first = (uint32_t)nodes;
	second = first + (uint32_t)(nodes * growth / 100);
	begin(&s, first, (uint32_t)(second * 1.05) + HOLES + 1000);
	work(&s, first);
	write_snapshot(&s, argv[3], s.born, true);
	replace(&s, first / 50);
	leak(&s, s.born + (second - first));
	write_snapshot(&s, argv[4], s.born, false);
	for (uint32_t t = 0; t < TABLES; t++)
		free(s.heads[t]);
	for (uint32_t t = 0; t < TREES; t++)
		free(s.members[t]);
	free(s.slots);
	return 0;
}
