/* SPDX-License-Identifier: Apache-2.0
 * L5  python_places.c - places in Python code: function, file, line; each once.
 *
 *   (code, stamp, instruction) -> spots -> place              a cache, whose entries give way
 *   (function, file, line)     -> slots -> place              for good
 *   text                       -> texts -> the only copy      for good
 *
 * (1) A place is its words. A service that compiles the same source again and again, a template for
 *     instance, makes code objects without end, but no places.
 * (2) A code object can be freed and its address used again, by one that even has its line table, its
 *     name and its file at the same addresses. So the type's tp_dealloc is ours, which counts and
 *     goes on to what it was; the stamp has the count of the addresses like this one.
 * (3) PyCode_Addr2Line() is the only call into Python: it computes and touches nothing.
 * (4) The tables of (1) only grow: no lock, and a reader in the snapshot child finds them whole. Two threads
 *     that enter the same at once may enter it twice; both are right. */
#include "preload/python_places.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "preload/arena.h"
#include "preload/python_private.h"

#define PLACE_CHUNK 4096u
#define PLACE_CHUNKS 64u		/* 262144 places */
#define PLACES_MAX (PLACE_CHUNK * PLACE_CHUNKS)
#define SLOTS (2 * PLACES_MAX)
#define TEXTS (1u << 18)
#define TEXTS_MAX (TEXTS / 4 * 3)
#define TEXT_BYTES 300u
#define SPOT_BITS 16u
#define SPOT_PROBES 4u			/* in a cache line */
#define CLAIMED 1u			/* no key: somebody writes here */
#define FREED 4096u
#define GOLDEN 0x9e3779b97f4a7c15ull

struct spot {				/* as in step.c: a reader takes key, value, key */
	_Atomic uint64_t key, value;	/* value: place + 1 */
};

_Atomic uint32_t ld__python_code_epoch = 1;

static struct python_place *_Atomic chunks[PLACE_CHUNKS];
static _Atomic uint32_t place_count, text_count;
static _Atomic uint64_t refused;
static _Atomic uint32_t *slots;
static const char *_Atomic *texts;
static struct spot *spots;
static _Atomic uint32_t freed[FREED];	/* code objects, by their address */
static void (*real_dealloc)(py_object *code);

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * GOLDEN;
	return hash ^ hash >> 29;
}

/* ---- code objects ---- */

static _Atomic uint32_t *freed_at(uint64_t code)
{
	return &freed[(code >> 4) * GOLDEN >> 52 & (FREED - 1)];
}

/* tp_dealloc of code objects: any thread that holds an interpreter's lock. */
static void dealloc_code(py_object *code)
{
	atomic_fetch_add_explicit(freed_at((uint64_t)(uintptr_t)code), 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&ld__python_code_epoch, 1, memory_order_relaxed);
	real_dealloc(code);
}

int ld__python_places_init(void)
{
	void (**dealloc)(py_object *) = (void (**)(py_object *))(uintptr_t)(ld__py.PyCode_Type + TP_DEALLOC);

	if (!slots)
		slots = ld__arena_map(SLOTS * sizeof(*slots));
	if (!texts)
		texts = ld__arena_map(TEXTS * sizeof(*texts));
	if (!spots)
		spots = ld__arena_map((1u << SPOT_BITS) * sizeof(*spots));
	if (!slots || !texts || !spots || !ld__py.PyCode_Type)
		return -ENOMEM;
	if (!real_dealloc) {
		real_dealloc = *dealloc;
		*dealloc = dealloc_code;
	}
	return 0;
}

static uint64_t name_of(uint64_t code)
{
	const struct python_layout *l = &ld__py.layout;

	return py_word(code, l->code_qualname >= 0 ? l->code_qualname : l->code_name);
}

static uint64_t long_stamp(uint64_t code)
{
	const struct python_layout *l = &ld__py.layout;
	uint64_t hash = py_word(code, l->code_linetable) * GOLDEN;

	hash += py_word(code, l->code_file) * 0xc2b2ae3d27d4eb4full;
	hash += name_of(code) * 0xbf58476d1ce4e5b9ull;
	hash += ((uint64_t)(uint32_t)py_int(code, l->code_line) << 32 |
		 atomic_load_explicit(freed_at(code), memory_order_relaxed)) * 0x94d049bb133111ebull;
	return hash;
}

uint32_t ld__python_code_stamp(uint64_t code)
{
	return (uint32_t)(long_stamp(code) >> 32) | 1;
}

bool ld__python_is_function(uint64_t code)
{
	return !(code & 7) && code >= 4096 && py_type(code) == ld__py.PyCode_Type &&
	       (ld__py.version < 312 || py_int(code, ld__py.layout.code_line) != 0);
}

/* ---- texts ---- */

static size_t put_utf8(char *to, size_t used, uint32_t c)
{
	if (c < 0x80) {
		to[used++] = (char)c;
	} else if (c < 0x800) {
		to[used++] = (char)(0xc0 | c >> 6);
		to[used++] = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		to[used++] = (char)(0xe0 | c >> 12);
		to[used++] = (char)(0x80 | (c >> 6 & 63));
		to[used++] = (char)(0x80 | (c & 63));
	} else {
		to[used++] = (char)(0xf0 | (c >> 18 & 7));
		to[used++] = (char)(0x80 | (c >> 12 & 63));
		to[used++] = (char)(0x80 | (c >> 6 & 63));
		to[used++] = (char)(0x80 | (c & 63));
	}
	return used;
}

/* A str that belongs to a running code object, without the C-API. A long one keeps its end. */
static void take_text(uint64_t str, char text[TEXT_BYTES + 8])
{
	uint32_t state;
	uint64_t length, data, kind, from = 0;
	size_t used = 0;

	strcpy(text, "?");
	if (!str || str & 7 || py_type(str) != ld__py.PyUnicode_Type)
		return;
	state = (uint32_t)py_int(str, 32);
	length = py_word(str, 16);
	kind = state >> 2 & 7;
	if (!(state & 32) || !kind || kind == 3 || kind > 4)
		return;
	data = str + (state & 64 ? (ld__py.version < 312 ? 48 : 40) : (ld__py.version < 312 ? 72 : 56));
	if (length > TEXT_BYTES / 4) {
		if (length > TEXT_BYTES - 4 || !(state & 64)) {
			from = length - (TEXT_BYTES / (state & 64 ? 1 : 4) - 4);
			memcpy(text, "...", 3);
			used = 3;
		}
	}
	for (uint64_t i = from; i < length && used < TEXT_BYTES; i++)
		used = put_utf8(text, used, kind == 1 ? py_byte(data, (long)i)
				: kind == 2 ? *(const uint16_t *)(uintptr_t)(data + 2 * i)
				: *(const uint32_t *)(uintptr_t)(data + 4 * i));
	text[used] = '\0';
}

static uint64_t hash_text(const char *text)
{
	uint64_t hash = GOLDEN;

	while (*text)
		hash = (hash ^ (unsigned char)*text++) * 0x100000001b3ull;
	return mix(hash, 0);
}

/* The only copy of a text; NULL = there is no room. */
static const char *intern_text(const char *text)
{
	uint64_t at = hash_text(text);
	const char *copy, *none = NULL;

	for (;; at++) {
		copy = atomic_load_explicit(&texts[at & (TEXTS - 1)], memory_order_acquire);
		if (!copy)
			break;
		if (strcmp(copy, text) == 0)
			return copy;
	}
	copy = atomic_load(&text_count) < TEXTS_MAX ? ld__arena_strdup(text) : NULL;
	if (copy)
		atomic_fetch_add(&text_count, 1);
	for (; copy; at++, none = NULL)
		if (atomic_compare_exchange_strong(&texts[at & (TEXTS - 1)], &none, copy))
			break;
	return copy;
}

/* ---- places ---- */

static struct python_place *place_of(uint32_t index)
{
	struct python_place *chunk = atomic_load_explicit(&chunks[index / PLACE_CHUNK], memory_order_acquire);

	return chunk ? &chunk[index % PLACE_CHUNK] : NULL;
}

static struct python_place *place_make(uint32_t index)
{
	struct python_place *_Atomic *at = &chunks[index / PLACE_CHUNK];
	struct python_place *chunk = atomic_load_explicit(at, memory_order_acquire), *fresh;

	if (!chunk) {
		fresh = ld__arena_map(PLACE_CHUNK * sizeof(*fresh));
		if (!fresh)
			return NULL;
		if (atomic_compare_exchange_strong(at, &chunk, fresh))
			chunk = fresh;
		else
			ld__arena_unmap(fresh, PLACE_CHUNK * sizeof(*fresh));
	}
	return &chunk[index % PLACE_CHUNK];
}

uint32_t ld__python_place_intern(const char *function, const char *file, uint32_t line)
{
	struct python_place wanted = { intern_text(function), intern_text(file), line }, *place;
	uint64_t at = mix(mix(mix(GOLDEN, (uintptr_t)wanted.function), (uintptr_t)wanted.file), line);
	uint32_t index, expected;

	if (!wanted.function || !wanted.file)
		goto refuse;
	for (;; at++) {
		index = atomic_load_explicit(&slots[at & (SLOTS - 1)], memory_order_acquire);
		if (!index)
			break;
		place = place_of(index - 1);
		if (place->function == wanted.function && place->file == wanted.file && place->line == line)
			return index - 1;
	}
	if (atomic_load(&place_count) >= PLACES_MAX)
		goto refuse;
	index = atomic_fetch_add(&place_count, 1);
	place = index < PLACES_MAX ? place_make(index) : NULL;
	if (!place)
		goto refuse;
	*place = wanted;
	for (;; at++) {
		expected = 0;
		if (atomic_compare_exchange_strong(&slots[at & (SLOTS - 1)], &expected, index + 1))
			return index;
	}
refuse:
	atomic_fetch_add(&refused, 1);
	return UINT32_MAX;
}

static uint32_t look_up(uint64_t code, uint64_t at)
{
	char function[TEXT_BYTES + 8], file[TEXT_BYTES + 8];
	int saved_errno = errno, line;

	line = ld__py.PyCode_Addr2Line((py_object *)(uintptr_t)code, (int)at);
	errno = saved_errno;
	if (line <= 0)
		line = py_int(code, ld__py.layout.code_line);
	take_text(name_of(code), function);
	take_text(py_word(code, ld__py.layout.code_file), file);
	return ld__python_place_intern(function, file, (uint32_t)line);
}

uint32_t ld__python_place_at(uint64_t code, uint64_t at)
{
	uint64_t key = mix(mix(long_stamp(code), code), at) | 2, old, value;
	struct spot *home = &spots[key >> (64 - SPOT_BITS) & ~(uint64_t)(SPOT_PROBES - 1)], *spot;
	uint32_t place;

	for (spot = home; spot < home + SPOT_PROBES; spot++) {
		if (atomic_load_explicit(&spot->key, memory_order_acquire) != key)
			continue;
		value = atomic_load_explicit(&spot->value, memory_order_acquire);
		if (atomic_load_explicit(&spot->key, memory_order_relaxed) == key)
			return (uint32_t)value - 1;
	}
	place = look_up(code, at);
	if (place == UINT32_MAX)
		return place;
	for (spot = home; spot < home + SPOT_PROBES; spot++)
		if (!atomic_load_explicit(&spot->key, memory_order_relaxed))
			break;
	if (spot == home + SPOT_PROBES)
		spot = home + place % SPOT_PROBES;
	old = atomic_load(&spot->key);
	if (old != CLAIMED && atomic_compare_exchange_strong(&spot->key, &old, CLAIMED)) {
		atomic_store_explicit(&spot->value, place + 1, memory_order_relaxed);
		atomic_store_explicit(&spot->key, key, memory_order_release);
	}
	return place;
}

uint32_t ld__python_place_count(void)
{
	uint32_t count = atomic_load_explicit(&place_count, memory_order_acquire);

	return count < PLACES_MAX ? count : PLACES_MAX;
}

const struct python_place *ld__python_place(uint32_t index)
{
	static const struct python_place none = { "?", "?", 0 };
	const struct python_place *place = place_of(index);

	return place && place->function ? place : &none;
}

uint64_t ld__python_places_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}
