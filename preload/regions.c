/* SPDX-License-Identifier: Apache-2.0
 * L5  regions.c - classify every piece of the address space, and list the roots.
 *
 *   a mapping      |......own.....|....heap chunk....|..unexplained..|
 *   claims              arena       allocator's shape       none
 *   pieces         OWN            HEAP               OTHER
 *
 * (1) The kernel merges neighbouring anonymous mappings whoever made them, so a mapping is cut
 *     wherever a claim begins or ends. Claims, strongest first: our own memory; modules' writable
 *     data; thread stacks; allocator memory; the program's own mappings.
 * (2) What nobody claims but is writable is a root: a missed leak is better than a false one.
 * (3) Allocator memory is no root: free lists are full of stale pointers. glibc maps chunks and
 *     arenas without a name that could be interposed, so these are recognised by their headers.
 * (4) libleakdiff's data, its thread-local variables and the agent's stack are never roots: the
 *     live table holds every block's address.
 * (5) From libc's data (the allocator's) only pointers to the exact first byte of a block
 *     count. malloc's bins point at chunk headers, which lie inside the block before: with interior
 *     pointers a free neighbour would keep a leaked block alive. (Pointers that libc keeps on
 *     purpose, such as environ or stdio buffers, are exact.)
 * (6) Below the stack pointer lies nothing but the red zone. */
#include "regions.h"

#include <errno.h>
#include <string.h>

#include "allocmaps.h"
#include "arena.h"
#include "kernel.h"
#include "modules.h"

#define RED_ZONE 128u
#define THREAD_DESCRIPTOR_BYTES 0x900u	/* glibc's struct pthread on x86-64 */
#define ARENA_HEAP_BYTES (64ull << 20)	/* glibc's HEAP_MAX_SIZE: arenas' heaps are aligned to it */
#define CHUNK_MAPPED 2u			/* glibc's IS_MMAPPED */

enum claim_kind { CLAIM_OWN, CLAIM_DATA, CLAIM_STACK, CLAIM_ALLOCATOR, CLAIM_PROGRAM, CLAIMS };

struct claim {
	uint64_t start, end;
	uint32_t id;			/* module index, or node of a mapping */
};

struct claims {
	struct claim *items;
	uint32_t count, capacity, at;
};

struct builder {
	struct regions *regions;
	const struct region_input *input;
	struct claims claims[CLAIMS];
};

static int claims_new(struct claims *claims, uint64_t capacity)
{
	claims->capacity = (uint32_t)capacity;
	claims->items = kernel_map(capacity * sizeof(*claims->items));
	return claims->items ? 0 : -ENOMEM;
}

static void claim(struct claims *claims, uint64_t start, uint64_t end, uint32_t id)
{
	if (claims->count < claims->capacity && start < end)
		claims->items[claims->count++] = (struct claim) { start, end, id };
}

/* Sort by start and make disjoint. Insertion into gaps of a shell sort: claims come nearly sorted. */
static void claims_sort(struct claims *claims)
{
	struct claim *items = claims->items;
	uint32_t count = claims->count, kept = 0;
	uint64_t end = 0;

	for (uint32_t gap = count / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
		for (uint32_t i = gap; i < count; i++) {
			struct claim held = items[i];
			uint32_t j = i;

			for (; j >= gap && items[j - gap].start > held.start; j -= gap)
				items[j] = items[j - gap];
			items[j] = held;
		}
	for (uint32_t i = 0; i < count; i++) {
		struct claim one = items[i];

		if (one.start < end)
			one.start = end;
		if (one.start >= one.end)
			continue;
		end = one.end;
		items[kept++] = one;
	}
	claims->count = kept;
}

/* Is addr claimed? For ascending questions only. ret_next: where that may change, at most *ret_next. */
static const struct claim *claimed(struct claims *claims, uint64_t addr, uint64_t *ret_next)
{
	const struct claim *one;

	while (claims->at < claims->count && claims->items[claims->at].end <= addr)
		claims->at++;
	if (claims->at == claims->count)
		return NULL;
	one = &claims->items[claims->at];
	if (one->start > addr) {
		if (one->start < *ret_next)
			*ret_next = one->start;
		return NULL;
	}
	if (one->end < *ret_next)
		*ret_next = one->end;
	return one;
}

static const struct claim *find_claim(const struct claims *claims, uint64_t addr)
{
	uint32_t low = 0, high = claims->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (claims->items[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < claims->count && claims->items[low].start <= addr ? &claims->items[low] : NULL;
}

/* ---- claims ---- */

static void claim_own(uint64_t start, uint64_t end, void *data)
{
	claim(&((struct builder *)data)->claims[CLAIM_OWN], PAGE_DOWN(start), PAGE_UP(end), 0);
}

static void claim_allocator(uint64_t start, uint64_t end, void *data)
{
	claim(&((struct builder *)data)->claims[CLAIM_ALLOCATOR], start, end, 0);
}

static void claim_modules(struct builder *builder)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth != UINT64_MAX)
			continue;
		for (uint32_t s = 0; s < module->segment_count; s++) {
			const struct module_segment *segment = &module->segments[s];
			bool own = module->flags & STREAM_MODULE_SELF;

			if (segment->prot & PROT_WRITE)
				claim(&builder->claims[own ? CLAIM_OWN : CLAIM_DATA],
				      PAGE_DOWN(segment->start), PAGE_UP(segment->end), i);
		}
	}
}

/* Where the static TLS blocks of all modules begin, below the thread pointer. */
static uint64_t static_tls_bytes(void)
{
	int64_t lowest = 0;

	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->tls_bytes && module->tls_offset < lowest &&
		    module->tls_offset > -(1 << 24))
			lowest = module->tls_offset;
	}
	return (uint64_t)-lowest;
}

static void claim_stacks(struct builder *builder)
{
	const struct region_input *input = builder->input;
	uint64_t tls_bytes = static_tls_bytes();

	for (uint32_t i = 0; i < ld__stop_count(input->stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(input->stop, i);
		struct region_thread *ret = &builder->regions->threads[i];
		const struct map_entry *map;
		uint64_t offset;
		uint32_t node;

		if (!thread || thread->stop == STREAM_STOP_SELF)
			continue;
		if (thread->thread_pointer) {
			ret->tls_start = thread->thread_pointer - tls_bytes;
			ret->tls_end = thread->thread_pointer + THREAD_DESCRIPTOR_BYTES;
			map = ld__maps_find(input->maps, thread->thread_pointer);
			if (map && ret->tls_start < map->start)
				ret->tls_start = map->start;
			if (map && ret->tls_end > map->end)
				ret->tls_end = map->end;
			if (!map)
				ret->tls_start = ret->tls_end = 0;
		}
		map = thread->sp ? ld__maps_find(input->maps, thread->sp) : NULL;
		if (!map || !(map->prot & PROT_READ))
			continue;
		ret->stack_start = map->start;
		ret->stack_end = map->end;
		node = ld__nodes_find(input->nodes, thread->sp, &offset);
		if (node != STREAM_NONE) {	/* a stack that the program allocated: a coroutine, sigaltstack */
			input->nodes->flags[node] |= NODE_STACK;
			ret->stack_start = input->nodes->addr[node];
			ret->stack_end = node_end(input->nodes, node);
			continue;
		}
		if (find_claim(&builder->claims[CLAIM_DATA], thread->sp))
			continue;		/* a static alternate stack: the module's data is a root already */
		if (ret->tls_start > thread->sp && ret->tls_end <= map->end)
			ret->stack_end = PAGE_UP(ret->tls_end);	/* what lies behind was merged */
		claim(&builder->claims[CLAIM_STACK], ret->stack_start, ret->stack_end, i);
	}
}

static uint64_t word_at(uint64_t addr)
{
	return *(const volatile uint64_t *)(uintptr_t)addr;
}

/* The glibc chunk or arena heap around a block that lies in `map`, by its header. */
static bool glibc_extent(const struct map_entry *map, uint64_t addr, uint64_t bytes,
			 struct claim *ret)
{
	uint64_t chunk = addr - 16, previous, size, heap;

	if (addr % 16 || chunk < map->start)
		return false;
	previous = word_at(chunk);
	size = word_at(chunk + 8);
	if (size & CHUNK_MAPPED) {
		uint64_t start = chunk - previous, total = previous + (size & ~7ull);

		if (start % PAGE_BYTES || total % PAGE_BYTES || start < map->start ||
		    start + total < addr + bytes || total > map->end - start)
			return false;
		*ret = (struct claim) { start, start + total, 0 };
		return true;
	}
	heap = addr & ~(ARENA_HEAP_BYTES - 1);
	if (heap < map->start)
		return false;
	size = word_at(heap + 16);	/* struct heap_info: ar_ptr, prev, size */
	if (size % PAGE_BYTES || size > ARENA_HEAP_BYTES || heap + size < addr + bytes ||
	    size > map->end - heap)
		return false;
	*ret = (struct claim) { heap, heap + size, 0 };
	return true;
}

static bool is_heap_name(const struct map_entry *map, const struct maps *maps)
{
	return map->name && text_same(maps->names + map->name, "[heap]");
}

/* Allocator memory that no hook saw being mapped: glibc's by shape, else the whole mapping. */
static void claim_hidden_heaps(struct builder *builder)
{
	const struct region_input *input = builder->input;
	struct claims *claims = &builder->claims[CLAIM_ALLOCATOR];
	const struct map_entry *map = NULL;
	uint64_t covered = 0;
	uint32_t known = claims->count;
	struct claims seen = { claims->items, known, known, 0 };

	for (uint32_t i = 0; i < input->nodes->count; i++) {
		uint64_t addr = input->nodes->addr[i], bytes = node_bytes(input->nodes, i);
		const struct claim *inside;
		struct claim extent;

		if (addr < covered || input->nodes->flags[i] & NODE_MAPPING)
			continue;
		if (!map || addr >= map->end)
			map = ld__maps_find(input->maps, addr);
		if (!map || !(map->prot & PROT_READ))
			continue;
		if (map->file || is_heap_name(map, input->maps)) {
			covered = map->end;
			continue;
		}
		inside = find_claim(&seen, addr);
		if (!inside)
			inside = find_claim(&builder->claims[CLAIM_PROGRAM], addr);
		if (!inside)
			inside = find_claim(&builder->claims[CLAIM_DATA], addr);
		if (!inside) {
			extent = (struct claim) { map->start, map->end, 0 };
			glibc_extent(map, addr, bytes, &extent);
			claim(claims, extent.start, extent.end, 0);
			inside = &extent;
		}
		covered = inside->end;
	}
}

static int make_claims(struct builder *builder)
{
	const struct nodes *nodes = builder->input->nodes;
	uint64_t threads = ld__stop_count(builder->input->stop);

	if (claims_new(&builder->claims[CLAIM_OWN], 32768) < 0 ||
	    claims_new(&builder->claims[CLAIM_DATA], ld__modules_count() * 16ull + 16) < 0 ||
	    claims_new(&builder->claims[CLAIM_STACK], threads + 16) < 0 ||
	    claims_new(&builder->claims[CLAIM_ALLOCATOR], 131072ull + builder->input->maps->count) <
		    0 ||
	    claims_new(&builder->claims[CLAIM_PROGRAM], nodes->mapping_count + 16ull) < 0)
		return -ENOMEM;
	ld__arena_visit(claim_own, builder);
	claim_modules(builder);
	claims_sort(&builder->claims[CLAIM_DATA]);
	for (uint32_t i = 0; i < nodes->mapping_count; i++)
		claim(&builder->claims[CLAIM_PROGRAM], PAGE_DOWN(nodes->mappings[i].start),
		      PAGE_UP(nodes->mappings[i].end), nodes->mappings[i].node);
	claims_sort(&builder->claims[CLAIM_PROGRAM]);
	ld__allocator_maps_visit(claim_allocator, builder);
	claims_sort(&builder->claims[CLAIM_ALLOCATOR]);
	claim_hidden_heaps(builder);
	claim_stacks(builder);
	for (int i = 0; i < CLAIMS; i++)
		claims_sort(&builder->claims[i]);
	return 0;
}

/* ---- pieces ---- */

static uint32_t module_of(uint64_t addr)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth == UINT64_MAX && addr >= PAGE_DOWN(module->start) &&
		    addr < PAGE_UP(module->end))
			return i;
	}
	return STREAM_NONE;
}

/* Kind of the piece that begins at addr in `map`, and where it ends. */
static uint8_t classify(struct builder *builder, const struct map_entry *map, uint64_t addr,
			uint64_t *ret_end, uint32_t *ret_module)
{
	const struct maps *maps = builder->input->maps;
	const struct nodes *nodes = builder->input->nodes;
	const char *name = maps->names + map->name;
	const struct claim *hits[CLAIMS];

	*ret_end = map->end;
	*ret_module = STREAM_NONE;
	for (int i = 0; i < CLAIMS; i++)
		hits[i] = claimed(&builder->claims[i], addr, ret_end);
	if (hits[CLAIM_OWN])
		return STREAM_MAP_OWN;
	if (!(map->prot & PROT_READ) || map->flags & MAP_DEVICE || text_starts(name, "[v"))
		return STREAM_MAP_KERNEL;
	if (hits[CLAIM_DATA]) {
		*ret_module = hits[CLAIM_DATA]->id;
		return STREAM_MAP_MODULE_DATA;
	}
	if (map->file && (!(map->prot & PROT_WRITE))) {
		*ret_module = module_of(addr);
		return STREAM_MAP_FILE;
	}
	if (map->shared)
		return map->prot & PROT_WRITE ? STREAM_MAP_SHARED : STREAM_MAP_FILE;
	if (hits[CLAIM_STACK] || text_same(name, "[stack]"))
		return STREAM_MAP_STACK;
	if (hits[CLAIM_ALLOCATOR] || text_same(name, "[heap]"))
		return STREAM_MAP_HEAP;
	if (hits[CLAIM_PROGRAM]) {
		uint8_t flags = nodes->flags[hits[CLAIM_PROGRAM]->id];

		return flags & NODE_POOLS ? STREAM_MAP_PYTHON : flags & NODE_FOLDED ? STREAM_MAP_HEAP : STREAM_MAP_PROGRAM;
	}
	return STREAM_MAP_OTHER;
}

static struct region *add_region(struct regions *regions)
{
	if (regions->count == regions->capacity) {
		regions->refused++;
		return NULL;
	}
	return &regions->items[regions->count++];
}

static bool is_scanned(const struct region *region)
{
	return region->kind == STREAM_MAP_MODULE_DATA || region->kind == STREAM_MAP_HEAP ||
	       region->kind == STREAM_MAP_STACK || region->kind == STREAM_MAP_SHARED ||
	       region->kind == STREAM_MAP_PROGRAM || region->kind == STREAM_MAP_OTHER ||
	       region->kind == STREAM_MAP_PYTHON;
}

/* Numbers of a mapping that was cut: by the pages that each piece has in memory. */
static void share_numbers(struct regions *regions, uint32_t first, const struct map_entry *numbers)
{
	uint64_t left_rss = numbers->rss_bytes, left_pss = numbers->pss_bytes,
		 left_swap = numbers->swap_bytes;

	for (uint32_t i = first; i < regions->count; i++) {
		struct region *region = &regions->items[i];
		bool last = i + 1 == regions->count;
		uint64_t found = region->rss_bytes == MAP_NUMBER_UNKNOWN ? 0 : region->rss_bytes;

		if (last || found > left_rss)
			found = left_rss;
		region->rss_bytes = found;
		/* by its share of what is resident: pages of a fork's parent count for both */
		region->pss_bytes = last || !left_rss ? left_pss :
					(uint64_t)((double)left_pss * ((double)found / (double)left_rss));
		region->swap_bytes = last ? left_swap : 0;
		left_rss -= region->rss_bytes;
		left_pss -= region->pss_bytes;
	}
}

static void cut_map(struct builder *builder, uint32_t index)
{
	struct regions *regions = builder->regions;
	const struct region_input *input = builder->input;
	const struct map_entry *map = &input->maps->entries[index];
	const struct map_entry *numbers = ld__maps_find(input->smaps, map->start);
	struct map_entry marked = *map;
	struct spans counted = { 0 };	/* of pieces that are not scanned only the number of pages matters */
	uint32_t first = regions->count;
	uint64_t end;

	if (numbers && numbers->start == map->start)
		marked.flags |= numbers->flags;
	for (uint64_t at = map->start; at < map->end; at = end) {
		uint32_t module;
		uint8_t kind = classify(builder, &marked, at, &end, &module);
		struct region *region =
			regions->count > first ? &regions->items[regions->count - 1] : NULL;
		int64_t pages;

		if (region && region->kind == kind && region->module == module) {
			region->end = end;
		} else {
			region = add_region(regions);
			if (!region)
				return;
			*region = (struct region){
				.start = at,
				.end = end,
				.offset = map->file ? map->offset + (at - map->start) : 0,
				.rss_bytes = MAP_NUMBER_UNKNOWN,
				.pss_bytes = MAP_NUMBER_UNKNOWN,
				.swap_bytes = MAP_NUMBER_UNKNOWN,
				.map = index,
				.module = module,
				.name = map->name,
				.prot = map->prot,
				.shared = map->shared,
				.kind = kind,
			};
		}
		if (map->shared && numbers && !numbers->rss_bytes && !numbers->swap_bytes)
			continue;	/* the kernel may have cached the file; the service never looked at it */
		pages = ld__spans_add(is_scanned(region) ? &regions->spans : &counted,
				      input->pagemap_fd, at, end, map->shared);
		if (pages >= 0)
			region->rss_bytes =
				(region->rss_bytes == MAP_NUMBER_UNKNOWN ? 0 : region->rss_bytes) +
				(uint64_t)pages;
	}
	if (numbers && numbers->start == map->start && numbers->end == map->end)
		share_numbers(regions, first, numbers);
	else if (map->file || map->shared)	/* not in our page table: unknown */
		for (uint32_t i = first; i < regions->count; i++)
			regions->items[i].rss_bytes = MAP_NUMBER_UNKNOWN;
}

static bool overlaps(const struct maps *maps, uint64_t start)
{
	return ld__maps_find(maps, start) != NULL;
}

/* Resident bytes of what the program mapped in memory that cannot be looked at: its share of the mapping's. */
static uint64_t mapped_share(const struct builder *builder, const struct map_entry *map)
{
	const struct claims *claims = &builder->claims[CLAIM_PROGRAM];
	const struct nodes *nodes = builder->input->nodes;
	uint64_t covered = 0;

	if (map->file || map->shared || map->rss_bytes == MAP_NUMBER_UNKNOWN)
		return 0;
	for (uint32_t i = 0; i < claims->count && claims->items[i].start < map->end; i++) {
		const struct claim *one = &claims->items[i];
		uint64_t from = one->start > map->start ? one->start : map->start;
		uint64_t to = one->end < map->end ? one->end : map->end;

		if (from < to && !(nodes->flags[one->id] & (NODE_POOLS | NODE_FOLDED)))
			covered += to - from;
	}
	return covered >= map->end - map->start ? map->rss_bytes :
	       (uint64_t)((unsigned __int128)map->rss_bytes * covered / (map->end - map->start));
}

/* Memory that the service (or we) keep out of forks is not in the child, but it is the service's. */
static void add_unforked(struct builder *builder)
{
	struct regions *regions = builder->regions;
	const struct region_input *input = builder->input;

	builder->claims[CLAIM_OWN].at = 0;
	for (uint32_t i = 0; i < input->smaps->count; i++) {
		const struct map_entry *map = &input->smaps->entries[i];
		struct region *region;
		bool own;

		if (!(map->flags & MAP_DONTFORK) || overlaps(input->maps, map->start))
			continue;
		own = find_claim(&builder->claims[CLAIM_OWN], map->start) != NULL;
		region = add_region(regions);
		if (!region)
			return;
		*region = (struct region){
			.start = map->start,
			.end = map->end,
			.offset = map->offset,
			.rss_bytes = map->rss_bytes,
			.pss_bytes = map->pss_bytes,
			.swap_bytes = map->swap_bytes,
			.live_bytes = own ? 0 : mapped_share(builder, map),
			.map = STREAM_NONE,
			.module = STREAM_NONE,
			.name = map->name,
			.prot = map->prot,
			.shared = map->shared,
			.kind = own ? STREAM_MAP_OWN : STREAM_MAP_KERNEL,
			.from_smaps = 1,
		};
		if (!own && map->prot & PROT_READ)
			regions->unforked_bytes += map->rss_bytes;
	}
}

/* ---- roots ---- */

static void add_root(struct regions *regions, const struct region_root *root)
{
	if (root->start >= root->end)
		return;
	if (regions->root_count == regions->root_capacity) {
		regions->refused++;
		return;
	}
	regions->roots[regions->root_count++] = *root;
}

/* The dynamic linker is no allocator: what it keeps are pointers, some to an aligned place inside a block
 * (the records of dl-find_object.c). */
static bool has_bins(const struct module *module)
{
	return module->flags & STREAM_MODULE_LIBC &&
	       (module->flags & STREAM_MODULE_ALLOCATOR || !module->path || !strstr(module->path, "/ld-"));
}

static void add_module_roots(struct regions *regions)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth != UINT64_MAX || module->flags & STREAM_MODULE_SELF)
			continue;
		for (uint32_t s = 0; s < module->segment_count; s++)
			if (module->segments[s].prot & PROT_WRITE)
				add_root(regions,
					 &(struct region_root){ .start = module->segments[s].start,
								.end = module->segments[s].end,
								.kind = STREAM_ROOT_GLOBAL,
								.module = i,
								.thread = STREAM_NONE,
								.region = STREAM_NONE,
								.exact = has_bins(module) });
	}
}

static void add_hole(struct regions *regions, uint64_t start, uint64_t end)
{
	if (start < end)
		regions->holes[regions->hole_count++] = (struct region_hole) { start, end };
}

/* The thread's static TLS, without our own variables. */
static void add_tls_root(struct regions *regions, const struct region_thread *thread,
			 uint64_t pointer, uint32_t id)
{
	struct region_root root = {
		.start = thread->tls_start, .end = thread->tls_end, .kind = STREAM_ROOT_TLS,
		.module = STREAM_NONE, .thread = id, .region = STREAM_NONE,
	};

	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);
		uint64_t own = pointer + (uint64_t)module->tls_offset;

		if (!(module->flags & STREAM_MODULE_SELF) || !module->tls_bytes ||
		    module->tls_offset == INT64_MIN || own < root.start || own >= root.end)
			continue;
		root.end = own & ~7ull;
		add_root(regions, &root);
		root.start = (own + module->tls_bytes + 7) & ~7ull;
		root.end = thread->tls_end;
	}
	add_root(regions, &root);
}

static void add_thread_roots(struct builder *builder)
{
	struct regions *regions = builder->regions;
	const struct stop *stop = builder->input->stop;
	uint32_t id = 0;		/* index in THREADS: those that ended are left out */

	for (uint32_t i = 0; i < ld__stop_count(stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(stop, i);
		const struct region_thread *where = &regions->threads[i];
		struct region_root root = {
			.kind = STREAM_ROOT_STACK,
			.module = STREAM_NONE,
			.thread = id,
			.region = STREAM_NONE,
		};

		if (!thread)
			continue;
		id++;
		if (thread->stop == STREAM_STOP_SELF)
			continue;
		if (where->stack_end > thread->sp && thread->sp >= where->stack_start &&
		    !find_claim(&builder->claims[CLAIM_DATA], thread->sp)) {
			root.start = thread->sp - RED_ZONE;
			if (root.start < where->stack_start)
				root.start = where->stack_start;
			root.start = (root.start + 7) & ~7ull;
			root.end = where->stack_end;
			if (where->tls_start > thread->sp && where->tls_start < root.end)
				root.end = where->tls_start;
			add_root(regions, &root);
		}
		if (where->tls_end) {
			add_tls_root(regions, where, thread->thread_pointer, id - 1);
			add_hole(regions, where->tls_start, where->tls_end);
		}
		root.kind = STREAM_ROOT_REGISTER;
		root.start = (uint64_t)(uintptr_t)thread->registers;
		root.end = root.start + sizeof(thread->registers);
		add_root(regions, &root);
	}
}

/* Shared and unexplained memory, and stacks that no known stack pointer lies in. */
static void add_mapping_roots(struct builder *builder)
{
	struct regions *regions = builder->regions;

	for (uint32_t i = 0; i < regions->count; i++) {
		const struct region *region = &regions->items[i];
		struct region_root root = {
			.start = region->start, .end = region->end, .kind = STREAM_ROOT_MAPPING,
			.module = STREAM_NONE, .thread = STREAM_NONE, .region = i,
		};

		if (region->from_smaps)
			continue;
		if (region->kind == STREAM_MAP_STACK &&
		    !find_claim(&builder->claims[CLAIM_STACK], region->start))
			add_root(regions, &root);
		else if (region->kind == STREAM_MAP_SHARED || region->kind == STREAM_MAP_OTHER)
			add_root(regions, &root);
		else if ((region->kind == STREAM_MAP_HEAP || region->kind == STREAM_MAP_PYTHON) &&
			 builder->input->unrecorded) {
			root.gaps = true;	/* blocks that nobody recorded may hold those that were */
			add_root(regions, &root);
		}
	}
}

static void sort_holes(struct regions *regions)
{
	for (uint32_t i = 1; i < regions->hole_count; i++) {
		struct region_hole held = regions->holes[i];
		uint32_t j = i;

		for (; j && regions->holes[j - 1].start > held.start; j--)
			regions->holes[j] = regions->holes[j - 1];
		regions->holes[j] = held;
	}
}

int ld__regions_new(struct regions *regions, const struct region_input *input)
{
	struct builder builder = { .regions = regions, .input = input };
	uint64_t threads = ld__stop_count(input->stop), resident = 0;
	int r;

	memset(regions, 0, sizeof(*regions));
	for (uint32_t i = 0; i < input->smaps->count; i++)
		resident +=
			input->smaps->entries[i].rss_bytes + input->smaps->entries[i].swap_bytes;
	regions->threads = kernel_map((threads + 1) * sizeof(*regions->threads));
	regions->holes = kernel_map((threads + 1) * sizeof(*regions->holes));
	regions->spans.capacity = resident / PAGE_BYTES + resident / PAGE_BYTES / 4 + 65536;
	regions->spans.items = kernel_map(regions->spans.capacity * sizeof(*regions->spans.items));
	if (!regions->threads || !regions->holes || !regions->spans.items)
		return -ENOMEM;
	r = make_claims(&builder);
	if (r < 0)
		return r;

	regions->capacity = input->maps->count + input->smaps->count + 1024;
	for (int i = 0; i < CLAIMS; i++)
		regions->capacity += 2 * builder.claims[i].count;
	regions->items = kernel_map(regions->capacity * sizeof(*regions->items));
	regions->root_capacity =
		regions->capacity + ld__modules_count() * 16u + (uint32_t)threads * 4u;
	regions->roots = kernel_map(regions->root_capacity * sizeof(*regions->roots));
	if (!regions->items || !regions->roots)
		return -ENOMEM;
	for (uint32_t i = 0; i < input->maps->count; i++)
		cut_map(&builder, i);
	add_unforked(&builder);

	add_module_roots(regions);
	add_thread_roots(&builder);
	add_mapping_roots(&builder);
	sort_holes(regions);
	for (int i = 0; i < CLAIMS; i++)
		kernel_unmap(builder.claims[i].items,
			     builder.claims[i].capacity * sizeof(struct claim));
	return 0;
}
