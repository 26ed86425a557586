/* SPDX-License-Identifier: Apache-2.0
 * L6  glibc_heaps.c - glibc's arenas, walked chunk by chunk.
 *
 *   main arena     [heap]:  chunk chunk hole chunk ... top
 *   other arenas   64 MiB-aligned heaps:  heap_info malloc_state chunk ... top
 *                  older heaps of the same:  heap_info chunk ... fencepost
 *   chunk          size of the one before if that is free | size, 3 flags | contents
 *
 * (1) malloc_state has one layout since glibc 2.27. It is believed where its 127 bins all agree with themselves: each
 *     is empty, or the chunks at both its ends point back at it. Nothing else in libc's data looks like that.
 * (2) A walk must go from the first chunk to `top` without a step that leaves the heap, and must meet each recorded
 *     block of that memory as a chunk of its own that is large enough. Where it does not the arena counts as "not
 *     read", with the reason: a thread may stand inside malloc, or somebody else has moved the break.
 * (3) A chunk whose header says "in use" may be free all the same: in a thread's cache (tcache) or a fastbin. Both are
 *     lists, and are believed only if every link leads to a chunk of the list's size. What then is in use and
 *     nobody recorded is counted apart.
 * (4) Only reading is done, in a copy that nobody else changes. */
#include "glibc_heaps.h"

#include <errno.h>
#include <string.h>

#include "fault.h"
#include "kernel.h"
#include "modules.h"

#define HEAP_BYTES (64ull << 20)	/* HEAP_MAX_SIZE: heaps of the other arenas are aligned to it */
#define HEAP_INFO_MAX 128u
#define CHUNK_MIN 32u
#define FENCEPOST 16u
#define PREVIOUS_USED 1u
#define MAPPED 2u
#define NOT_MAIN 4u
#define BINS 128u
#define FASTBINS 10u
#define ARENAS_MAX 4096u
#define PIECES_MAX 65536u
#define CACHES_MAX 65536u
#define CACHE_CHUNK 656u		/* tcache_perthread_struct since 2.30: 64 counts of 16 bits, 64 lists */
#define CACHE_LISTS 64u

enum { STATE_FASTBINS = 16, STATE_TOP = 96, STATE_BINS = 112, STATE_NEXT = 2160, STATE_THREADS = 2176,
       STATE_BYTES = 2200 };		/* struct malloc_state */

struct piece {				/* one heap of an arena */
	uint64_t start, first, end;	/* first: address of its first chunk */
	uint32_t arena;
};

struct arena {
	uint64_t state;			/* address of its malloc_state; 0 = not found */
	uint64_t top;
	const char *why;		/* why it was not read; NULL = it was */
	struct stream_arena out;
};

static struct walk {
	const struct maps *maps;
	const struct regions *regions;
	const struct nodes *nodes;
	struct arena *arenas;
	uint32_t arena_count;
	struct piece *pieces;
	uint32_t piece_count;
	uint64_t *caches;		/* blocks that may be a thread's cache */
	uint32_t cache_count;
	uint64_t span;			/* cursor in the regions' spans */
} walk;

static uint64_t word(uint64_t addr)
{
	return *(const volatile uint64_t *)(uintptr_t)addr;
}

static uint64_t size_of(uint64_t head)
{
	return head & ~7ull;
}

static bool readable(uint64_t addr, uint64_t bytes)
{
	const struct map_entry *map = addr % 8 ? NULL : ld__maps_find(walk.maps, addr);

	return map && map->prot & PROT_READ && !(map->flags & MAP_DEVICE) && bytes <= map->end - addr;
}

/* ---- pages ---- */

static void seek(uint64_t addr)
{
	const struct spans *spans = &walk.regions->spans;
	uint64_t low = 0, high = spans->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (spans->items[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	walk.span = low;
}

/* Bytes of [start, end) in pages that are there. Ascending questions after seek(). */
static uint64_t resident(uint64_t start, uint64_t end)
{
	const struct spans *spans = &walk.regions->spans;
	uint64_t total = 0;

	while (walk.span < spans->count && spans->items[walk.span].end <= start)
		walk.span++;
	for (uint64_t i = walk.span; i < spans->count && spans->items[i].start < end; i++) {
		uint64_t from = spans->items[i].start > start ? spans->items[i].start : start;
		uint64_t to = spans->items[i].end < end ? spans->items[i].end : end;

		total += to - from;
	}
	return total;
}

/* ---- finding the arenas ---- */

/* Do both ends of every bin point back at it? */
static bool bins_agree(uint64_t state)
{
	for (uint32_t i = 1; i < BINS; i++) {
		uint64_t links = state + STATE_BINS + (i - 1) * 16, bin = links - 16;
		uint64_t first = word(links), last = word(links + 8);

		if (first == bin && last == bin)
			continue;
		if (!readable(first, CHUNK_MIN) || !readable(last, CHUNK_MIN) || word(first + 24) != bin ||
		    word(last + 16) != bin)
			return false;
	}
	return true;
}

static uint64_t find_in(uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at + STATE_BYTES <= end; at += 8)
		if (word(at + STATE_TOP) && word(at + STATE_NEXT) && word(at + STATE_TOP) % 16 == 0 &&
		    readable(word(at + STATE_NEXT), STATE_BYTES) && bins_agree(at))
			return at;
	return 0;
}

static const struct module *allocator(void)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->flags & STREAM_MODULE_ALLOCATOR && module->last_birth == UINT64_MAX)
			return module->flags & STREAM_MODULE_LIBC ? module : NULL;
	}
	return NULL;
}

static uint64_t find_main(const struct module *libc)
{
	volatile uint64_t found = 0;

	if (FAULT_GUARD()) {
		for (uint32_t i = 0; i < libc->segment_count && !found; i++)
			if (libc->segments[i].prot & PROT_WRITE)
				found = find_in((libc->segments[i].start + 7) & ~7ull, libc->segments[i].end);
		ld__fault_leave();
	}
	return found;
}

static struct arena *add_arena(uint64_t state, uint16_t kind)
{
	struct arena *arena = &walk.arenas[walk.arena_count++];

	memset(arena, 0, sizeof(*arena));
	arena->state = state;
	arena->out = (struct stream_arena){
		.start = state, .dirty_bytes = UINT64_MAX, .muzzy_bytes = UINT64_MAX,
		.retained_bytes = UINT64_MAX, .decay_ms = UINT64_MAX, .threads = UINT32_MAX, .kind = kind,
	};
	return arena;
}

static void add_piece(uint64_t start, uint64_t first, uint64_t end, uint32_t arena)
{
	if (walk.piece_count < PIECES_MAX)
		walk.pieces[walk.piece_count++] = (struct piece){ start, first, end, arena };
	else
		walk.arenas[arena].why = "it has more heaps than are looked at";
}

static bool is_break(const struct map_entry *map)
{
	return map->name && text_same(walk.maps->names + map->name, "[heap]");
}

/* The main arena lies in [heap]. Where it is not found that memory is the arena's all the same. */
static void add_main(uint64_t state)
{
	struct arena *arena = add_arena(state, STREAM_ARENA_GLIBC);
	uint64_t start = 0, end = 0;

	for (uint32_t i = 0; i < walk.maps->count; i++) {
		const struct map_entry *map = &walk.maps->entries[i];

		if (!is_break(map) || (end && map->start != end))
			continue;
		start = start ? start : map->start;
		end = map->end;
	}
	arena->top = state ? word(state + STATE_TOP) : 0;
	if (!state)
		arena->why = "its record was not found in this libc";
	else if (!start)
		arena->why = "there is no [heap]: it lies in mappings whose beginnings are not known";
	else if (arena->top < start || arena->top >= end)
		arena->why = "it goes on outside of [heap]: its pieces' beginnings are not known";
	if (start)
		add_piece(start, start, end, 0);
}

/* All heaps of another arena, the one that `top` lies in first. */
static void add_heaps(uint32_t index)
{
	struct arena *arena = &walk.arenas[index];
	uint64_t state = arena->state, home = state & ~(HEAP_BYTES - 1), heap, info = state - home;

	arena->top = word(state + STATE_TOP);
	for (heap = arena->top & ~(HEAP_BYTES - 1); heap; heap = word(heap + 8)) {
		uint64_t bytes, first = heap + info;

		if (heap % HEAP_BYTES || !readable(heap, HEAP_INFO_MAX) || word(heap) != state)
			break;
		bytes = word(heap + 16);
		if (bytes % PAGE_BYTES || bytes > HEAP_BYTES || !readable(heap + bytes - PAGE_BYTES, PAGE_BYTES))
			break;
		if (heap == home)
			first = ((state + STATE_BYTES + 15) & ~15ull);
		add_piece(heap, first, heap + bytes, index);
		if (heap == home)
			return;
	}
	arena->why = "its list of heaps is broken";
}

/* The list of arenas goes from the main one to the newest and on to the oldest. */
static void add_others(uint64_t main)
{
	uint64_t state = word(main + STATE_NEXT);
	uint32_t first = walk.arena_count;

	while (state != main && walk.arena_count < ARENAS_MAX) {
		uint64_t heap = state & ~(HEAP_BYTES - 1);

		if (!readable(heap, HEAP_INFO_MAX) || !readable(state, STATE_BYTES) || word(heap) != state ||
		    state - heap > HEAP_INFO_MAX) {
			walk.arenas[0].why = "the list of arenas is broken";
			break;
		}
		add_arena(state, STREAM_ARENA_GLIBC);
		state = word(state + STATE_NEXT);
	}
	for (uint32_t i = first; i < walk.arena_count; i++) {
		walk.arenas[i].out.number = walk.arena_count - i;
		add_heaps(i);
	}
}

static void sort_pieces(void)
{
	for (uint32_t i = 1; i < walk.piece_count; i++) {
		struct piece held = walk.pieces[i];
		uint32_t j = i;

		for (; j && walk.pieces[j - 1].start > held.start; j--)
			walk.pieces[j] = walk.pieces[j - 1];
		walk.pieces[j] = held;
	}
}

static const struct piece *piece_of(uint64_t addr)
{
	uint32_t low = 0, high = walk.piece_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (walk.pieces[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < walk.piece_count && walk.pieces[low].start <= addr ? &walk.pieces[low] : NULL;
}

/* ---- the walk ---- */

static struct stream_arena_class *class_of(struct arena *arena, uint64_t bytes)
{
	uint32_t class = 63 - (uint32_t)__builtin_clzll(bytes | 1);

	return &arena->out.classes[class < STREAM_ARENA_CLASSES ? class : STREAM_ARENA_CLASSES - 1];
}

static void count_hole(struct arena *arena, uint64_t at, uint64_t bytes)
{
	struct stream_arena_class *class = class_of(arena, bytes);
	uint64_t page = PAGE_UP(at + 48);	/* as malloc_trim() goes about it */

	class->free_count++;
	class->free_bytes += bytes;
	arena->out.free_count++;
	arena->out.free_bytes += bytes;
	if (bytes > arena->out.largest_free_bytes)
		arena->out.largest_free_bytes = bytes;
	arena->out.free_resident_bytes += bytes < PAGE_BYTES ? bytes : resident(at, at + bytes);
	if (page < at + bytes)
		arena->out.trim_bytes += resident(page, PAGE_DOWN(at + bytes));
}

static void count_used(struct arena *arena, uint64_t at, uint64_t bytes, bool recorded)
{
	struct stream_arena_class *class = class_of(arena, bytes);

	class->used_count++;
	class->used_bytes += bytes;
	arena->out.used_count++;
	arena->out.used_bytes += bytes;
	if (recorded)
		return;
	arena->out.unrecorded_count++;
	arena->out.unrecorded_bytes += bytes;
	if (bytes == CACHE_CHUNK && walk.cache_count < CACHES_MAX)
		walk.caches[walk.cache_count++] = at + 16;
}

/* Is the block that begins at `addr` one that was recorded? Nodes that lie inside of it are passed over. A node that
 * begins before `addr` and inside of no recorded block contradicts the walk. Returns 1, 0 or -EILSEQ. */
static int take_node(uint64_t addr, uint64_t room, uint32_t *node, uint64_t *covered, uint64_t *ret_bytes)
{
	const struct nodes *nodes = walk.nodes;

	for (; *node < nodes->count && nodes->addr[*node] < addr; ++*node)
		if (!(nodes->flags[*node] & (NODE_INNER | NODE_MAPPING)) && nodes->addr[*node] >= *covered)
			return -EILSEQ;
	if (*node == nodes->count || nodes->addr[*node] != addr || nodes->flags[*node] & (NODE_INNER | NODE_MAPPING))
		return 0;
	*ret_bytes = node_bytes(nodes, *node);
	if (*ret_bytes > room)
		return -EILSEQ;
	*covered = node_end(nodes, *node);
	++*node;
	return 1;
}

#define DISAGREES "its chunks and the recorded blocks disagree"
#define BROKEN "a chunk's header is broken, or a thread was about to change it"

/* Returns NULL, or why the piece cannot be read. */
static const char *walk_piece(struct arena *arena, const struct piece *piece)
{
	uint32_t node = ld__nodes_lower_bound(walk.nodes, piece->start);
	uint64_t at = piece->first, covered = 0, head = word(at + 8), flag = arena == walk.arenas ? 0 : NOT_MAIN;
	bool has_top = arena->top >= piece->start && arena->top < piece->end;

	if (!(head & PREVIOUS_USED))
		return BROKEN;
	seek(piece->start);
	while (at != arena->top) {
		uint64_t bytes = size_of(head), next, live = 0;
		int recorded;

		if (bytes == FENCEPOST && !has_top)
			break;
		if (bytes < CHUNK_MIN || bytes % 16 || head & MAPPED || at + FENCEPOST > piece->end ||
		    bytes > piece->end - at - FENCEPOST)
			return BROKEN;
		next = word(at + bytes + 8);
		if (next & PREVIOUS_USED) {
			recorded = take_node(at + 16, bytes - 8, &node, &covered, &live);
			if (recorded < 0)
				return DISAGREES;
			if ((head & NOT_MAIN) != flag)
				return BROKEN;
			count_used(arena, at, bytes, recorded);
			arena->out.live_count += (uint64_t)recorded;
			arena->out.live_bytes += live;
		} else {
			if (word(at + bytes) != bytes || !(head & PREVIOUS_USED))
				return BROKEN;
			count_hole(arena, at, bytes);
		}
		at += bytes;
		head = next;
	}
	if (has_top) {
		if (!(head & PREVIOUS_USED) || size_of(head) < 16 || size_of(head) > piece->end - at)
			return BROKEN;
		arena->out.top_bytes = size_of(head);
		arena->out.top_resident_bytes = resident(at, at + size_of(head));
		if (arena == walk.arenas)	/* malloc_trim() lowers the break; it leaves other arenas' tops */
			arena->out.trim_bytes += resident(PAGE_UP(at + CHUNK_MIN), piece->end);
	}
	arena->out.metadata_bytes += piece->first - piece->start;
	for (; node < walk.nodes->count && walk.nodes->addr[node] < piece->end; node++)
		if (!(walk.nodes->flags[node] & NODE_INNER) && walk.nodes->addr[node] >= covered)
			return DISAGREES;
	return NULL;
}

/* Recorded blocks of a piece that could not be walked. */
static void count_nodes(struct arena *arena, const struct piece *piece)
{
	const struct nodes *nodes = walk.nodes;

	for (uint32_t i = ld__nodes_lower_bound(nodes, piece->start); i < nodes->count && nodes->addr[i] < piece->end; i++)
		if (!(nodes->flags[i] & (NODE_INNER | NODE_MAPPING))) {
			arena->out.live_count++;
			arena->out.live_bytes += node_bytes(nodes, i);
		}
}

static void walk_arena(uint32_t index)
{
	struct arena *volatile arena = &walk.arenas[index];
	uint32_t caches = walk.cache_count;
	struct stream_arena empty = arena->out;

	if (!arena->why) {
		if (FAULT_GUARD()) {
			for (uint32_t i = 0; i < walk.piece_count && !arena->why; i++)
				if (walk.pieces[i].arena == index)
					arena->why = walk_piece(arena, &walk.pieces[i]);
			arena->out.threads = (uint32_t)word(arena->state + STATE_THREADS);
			ld__fault_leave();
		} else {
			arena->why = "part of it could not be read";
		}
	}
	if (arena->why) {
		arena->out = empty;
		walk.cache_count = caches;
	}
	for (uint32_t i = 0; i < walk.piece_count; i++) {
		if (walk.pieces[i].arena != index)
			continue;
		arena->out.mapped_bytes += walk.pieces[i].end - walk.pieces[i].start;
		seek(walk.pieces[i].start);
		arena->out.resident_bytes += resident(walk.pieces[i].start, walk.pieces[i].end);
		if (arena->why)
			count_nodes(arena, &walk.pieces[i]);
	}
	arena->out.read = !arena->why;
}

/* ---- free chunks that look used ---- */

/* A chunk of `bytes` that begins at `chunk`, is free, and is told apart by nothing in its header. */
static bool is_cached(uint64_t chunk, uint64_t bytes)
{
	const struct piece *piece = chunk % 16 ? NULL : piece_of(chunk);
	uint32_t node;

	if (!piece || chunk < piece->first || bytes > piece->end - chunk || size_of(word(chunk + 8)) != bytes)
		return false;
	node = ld__nodes_lower_bound(walk.nodes, chunk + 16);
	return node == walk.nodes->count || walk.nodes->addr[node] != chunk + 16;
}

static void count_cached(uint64_t chunk, uint64_t bytes)
{
	struct arena *arena = &walk.arenas[piece_of(chunk)->arena];
	struct stream_arena *out = &arena->out;
	struct stream_arena_class *class = class_of(arena, bytes);

	if (arena->why || out->unrecorded_bytes < bytes || !out->unrecorded_count)
		return;
	out->cached_count++;
	out->cached_bytes += bytes;
	out->unrecorded_count--;
	out->unrecorded_bytes -= bytes;
	out->used_count--;
	out->used_bytes -= bytes;
	class->used_count--;
	class->used_bytes -= bytes;
}

/* One list of free chunks of one size. Its links point `shift` bytes into the chunks, and lie behind their headers;
 * since 2.32 they are mixed with their own address. Returns its length, or -EILSEQ. */
static int64_t follow(uint64_t link, uint64_t shift, uint64_t bytes, uint64_t most, bool mixed, bool count)
{
	int64_t length = 0;

	while (link) {
		uint64_t chunk = link - shift;

		if ((uint64_t)length++ == most || !is_cached(chunk, bytes))
			return -EILSEQ;
		link = word(chunk + 16) ^ (mixed ? (chunk + 16) >> 12 : 0);
		if (count)
			count_cached(chunk, bytes);
	}
	return length;
}

/* Returns the entries of a thread's cache, 0 when the block is none. */
static uint64_t read_cache(uint64_t at, bool mixed, bool count)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < CACHE_LISTS; i++) {
		uint16_t said = *(const volatile uint16_t *)(uintptr_t)(at + i * 2);

		if (follow(word(at + CACHE_LISTS * 2 + i * 8), 16, CHUNK_MIN + i * 16, said, mixed, count) != said)
			return 0;
		total += said;
	}
	return total;
}

static void read_caches(void)
{
	for (volatile uint32_t i = 0; i < walk.cache_count; i++) {
		if (!FAULT_GUARD())
			continue;
		for (int mixed = 1; mixed >= 0; mixed--)
			if (read_cache(walk.caches[i], mixed, false)) {
				read_cache(walk.caches[i], mixed, true);
				break;
			}
		ld__fault_leave();
	}
}

static void read_fastbins(struct arena *arena)
{
	uint64_t most = arena->out.mapped_bytes / CHUNK_MIN;

	if (arena->why || !FAULT_GUARD())
		return;
	for (uint32_t i = 0; i < FASTBINS; i++)
		for (int mixed = 1; mixed >= 0; mixed--) {
			uint64_t first = word(arena->state + STATE_FASTBINS + i * 8), bytes = CHUNK_MIN + i * 16;

			if (follow(first, 0, bytes, most, mixed, false) > 0) {
				follow(first, 0, bytes, most, mixed, true);
				break;
			}
		}
	ld__fault_leave();
}

/* ---- chunks with a mapping of their own ---- */

/* Of a block outside of all heaps; 0 when it is none. */
static uint64_t mapped_chunk(uint64_t addr, uint64_t bytes, uint64_t *ret_bytes)
{
	uint64_t chunk = addr - 16, before, size, start;

	if (addr % 16 || !readable(chunk, 16))
		return 0;
	before = word(chunk);
	size = word(chunk + 8);
	start = chunk - before;
	*ret_bytes = before + size_of(size);
	if (!(size & MAPPED) || start % PAGE_BYTES || *ret_bytes % PAGE_BYTES || !readable(start, bytes) ||
	    start + *ret_bytes < addr + bytes)
		return 0;
	return start;
}

static void count_mapped(struct arena *arena)
{
	const struct nodes *nodes = walk.nodes;
	uint64_t covered = 0;

	walk.span = 0;
	for (uint32_t i = 0; i < nodes->count; i++) {
		uint64_t addr = nodes->addr[i], bytes, start;
		const struct piece *piece;

		if (addr < covered || nodes->flags[i] & (NODE_INNER | NODE_MAPPING))
			continue;
		piece = piece_of(addr);
		if (piece) {
			covered = piece->end;
			continue;
		}
		start = mapped_chunk(addr, node_bytes(nodes, i), &bytes);
		if (!start)
			continue;
		covered = start + bytes;
		arena->out.mapped_bytes += bytes;
		arena->out.resident_bytes += resident(start, covered);
		arena->out.live_bytes += node_bytes(nodes, i);
		arena->out.live_count++;
		count_used(arena, start, bytes, true);
	}
	arena->out.read = 1;
}

static int make_tables(void)
{
	walk.arenas = kernel_map((ARENAS_MAX + 1) * sizeof(*walk.arenas));
	walk.pieces = kernel_map(PIECES_MAX * sizeof(*walk.pieces));
	walk.caches = kernel_map(CACHES_MAX * sizeof(*walk.caches));
	return walk.arenas && walk.pieces && walk.caches ? 0 : -ENOMEM;
}

int ld__glibc_heaps_write(struct writer *writer, const struct maps *maps, const struct regions *regions,
			  const struct nodes *nodes)
{
	const struct module *libc = allocator();
	uint64_t main;

	if (!libc)
		return 0;
	walk.maps = maps;
	walk.regions = regions;
	walk.nodes = nodes;
	if (make_tables() < 0)
		return -ENOMEM;
	main = find_main(libc);
	add_main(main);
	if (main && FAULT_GUARD()) {
		add_others(main);
		ld__fault_leave();
	}
	sort_pieces();
	for (uint32_t i = 0; i < walk.arena_count; i++)
		walk_arena(i);
	read_caches();
	for (uint32_t i = 0; i < walk.arena_count; i++)
		read_fastbins(&walk.arenas[i]);
	count_mapped(add_arena(0, STREAM_ARENA_GLIBC_MAPPED));
	for (uint32_t i = 0; i < walk.arena_count; i++) {
		struct arena *arena = &walk.arenas[i];

		if (arena->why && !arena->out.mapped_bytes)
			continue;		/* never used */
		arena->out.why = ld__writer_string(writer, arena->why ? arena->why : "", -1);
		ld__writer_put(writer, &arena->out, sizeof(arena->out));
	}
	return 0;
}
