/* SPDX-License-Identifier: Apache-2.0
 * L3  rtti.c - see rtti.h. The Itanium ABI, as GCC and Clang lay it out:
 *
 *   object  -> vtable + 16 :  [-2] offset to top   0 in a complete object's primary vtable
 *                             [-1] type_info *  -> [0] vtable of a __cxxabiv1 class
 *                                                  [1] mangled name
 *
 * Any word may claim to be a vtable, so every step is checked: it must lie in a loaded module's
 * readable segment, and the type_info's own type_info must be one of the ABI's classes, by name. That
 * also works for stripped binaries. Distinct words are looked at once. */
#include "rtti.h"

#include <string.h>

#include "kernel.h"
#include "modules.h"

#define CACHE_SLOTS (1u << 17)
#define CACHE_MAX (CACHE_SLOTS / 4 * 3)
#define TYPES_MAX (1u << 20)
#define NAME_MAX_BYTES 4096u
#define SEGMENTS_MAX 16384u
#define GRANULE_SHIFT 20
#define GRANULES (1u << 16)

struct segment {
	uint64_t start, end;
};

struct cached {
	uint64_t word;			/* 0 = free */
	uint32_t type;
};

struct rtti {
	struct writer *writer;
	struct segment *segments;	/* readable, ascending */
	uint32_t segment_count;
	uint64_t granules[GRANULES / 64];	/* one bit for each MiB (modulo) that a segment touches */
	struct cached *cache;
	uint32_t cached_count;
	struct stream_type_name *types;
	uint32_t type_count;
};

static void add_segment(struct rtti *rtti, const struct module_segment *segment)
{
	uint32_t i = rtti->segment_count;

	if (i == SEGMENTS_MAX || !(segment->prot & PROT_READ))
		return;
	for (; i && rtti->segments[i - 1].start > segment->start; i--)
		rtti->segments[i] = rtti->segments[i - 1];
	rtti->segments[i] = (struct segment) { segment->start, segment->end };
	rtti->segment_count++;
	for (uint64_t g = segment->start >> GRANULE_SHIFT; g <= segment->end >> GRANULE_SHIFT; g++)
		rtti->granules[g % GRANULES / 64] |= 1ull << g % 64;
}

struct rtti *ld__rtti_new(struct writer *writer)
{
	struct rtti *rtti = kernel_map(sizeof(*rtti));

	if (!rtti)
		return NULL;
	rtti->writer = writer;
	rtti->segments = kernel_map(SEGMENTS_MAX * sizeof(*rtti->segments));
	rtti->cache = kernel_map(CACHE_SLOTS * sizeof(*rtti->cache));
	rtti->types = kernel_map(TYPES_MAX * sizeof(*rtti->types));
	if (!rtti->segments || !rtti->cache || !rtti->types)
		return NULL;
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);

		if (module->last_birth != UINT64_MAX)
			continue;
		for (uint32_t s = 0; s < module->segment_count; s++)
			add_segment(rtti, &module->segments[s]);
	}
	return rtti;
}

bool ld__rtti_maybe(const struct rtti *rtti, uint64_t word)
{
	uint64_t g = word >> GRANULE_SHIFT;

	return word % 8 == 0 && rtti->granules[g % GRANULES / 64] >> g % 64 & 1;
}

/* Bytes from addr to the end of its segment; 0 = in none. */
static uint64_t readable(const struct rtti *rtti, uint64_t addr)
{
	uint32_t low = 0, high = rtti->segment_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (rtti->segments[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low && addr < rtti->segments[low - 1].end ? rtti->segments[low - 1].end - addr : 0;
}

static bool read_word(const struct rtti *rtti, uint64_t addr, uint64_t *ret_word)
{
	if (addr % 8 || readable(rtti, addr) < 8)
		return false;
	*ret_word = *(const volatile uint64_t *)(uintptr_t)addr;
	return true;
}

/* The name of a type_info, NULL when it does not look like one. */
static const char *type_name(const struct rtti *rtti, uint64_t info, size_t *ret_length)
{
	uint64_t name, left;
	const char *text;

	if (!read_word(rtti, info + 8, &name))
		return NULL;
	left = readable(rtti, name);
	text = (const char *)(uintptr_t)name;
	if (left && *text == '*') {	/* compared by address: a local type */
		text++;
		left--;
	}
	for (size_t n = 0; n < left && n < NAME_MAX_BYTES; n++) {
		char c = text[n];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			      c == '.' || c == '$';

		if (!c) {
			*ret_length = n;
			return n && (text[0] == 'N' || text[0] == 'S' || text[0] == 'Z' ||
				     text[0] == 'U' || (text[0] >= '1' && text[0] <= '9'))
				       ? text
				       : NULL;
		}
		if (!letter && !(c >= '0' && c <= '9'))
			return NULL;
	}
	return NULL;
}

static uint32_t look_up(struct rtti *rtti, uint64_t vtable)
{
	uint64_t to_top, info, info_vtable, info_info;
	const char *name;
	size_t length;

	if (!read_word(rtti, vtable - 16, &to_top) || to_top != 0 ||
	    !read_word(rtti, vtable - 8, &info) || !info || !read_word(rtti, info, &info_vtable) ||
	    !read_word(rtti, info_vtable - 8, &info_info) || !info_info)
		return STREAM_NONE;
	name = type_name(rtti, info_info, &length);
	if (!name || length < 13 || memcmp(name, "N10__cxxabiv1", 13))
		return STREAM_NONE;
	name = type_name(rtti, info, &length);
	if (!name || rtti->type_count == TYPES_MAX)
		return STREAM_NONE;
	rtti->types[rtti->type_count] = (struct stream_type_name){
		.addr = vtable,
		.name = ld__writer_string(rtti->writer, name, (long)length),
		.source = STREAM_TYPE_RTTI,
	};
	return rtti->type_count++;
}

static struct cached *slot_of(struct rtti *rtti, uint64_t word)
{
	uint32_t slot = (uint32_t)((word >> 3) * 0x9e3779b97f4a7c15u >> 40) & (CACHE_SLOTS - 1);

	while (rtti->cache[slot].word && rtti->cache[slot].word != word)
		slot = (slot + 1) & (CACHE_SLOTS - 1);
	return &rtti->cache[slot];
}

static void remember(struct rtti *rtti, struct cached *slot, uint64_t word, uint32_t type)
{
	if (rtti->cached_count == CACHE_MAX)
		return;
	*slot = (struct cached) { word, type };
	rtti->cached_count++;
}

uint32_t ld__rtti_type(struct rtti *rtti, uint64_t word)
{
	struct cached *slot = slot_of(rtti, word);
	uint32_t type;

	if (slot->word)
		return slot->type;
	type = look_up(rtti, word);
	remember(rtti, slot, word, type);
	return type;
}

uint32_t ld__rtti_add(struct rtti *rtti, uint64_t addr, const char *name,
		      enum stream_type_source source)
{
	struct cached *slot = slot_of(rtti, addr);

	if (slot->word && slot->type != STREAM_NONE)
		return slot->type;
	if (rtti->type_count == TYPES_MAX)
		return STREAM_NONE;
	rtti->types[rtti->type_count] = (struct stream_type_name) {
		.addr = addr, .name = ld__writer_string(rtti->writer, name, -1), .source = source,
	};
	if (slot->word)
		slot->type = rtti->type_count;
	else
		remember(rtti, slot, addr, rtti->type_count);
	return rtti->type_count++;
}

void ld__rtti_write(struct rtti *rtti)
{
	ld__writer_section(rtti->writer, STREAM_TYPES);
	for (uint32_t i = 0; i < rtti->type_count; i++)
		ld__writer_put(rtti->writer, &rtti->types[i], sizeof(rtti->types[i]));
}
