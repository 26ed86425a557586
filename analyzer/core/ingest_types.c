/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest_types.c - of which type of C or C++ each block is, and how that is known.
 *
 *   class by vtable ---------------.
 *   code at the allocation site ---+-> cell (stack, size) -> votes of typed pointers -> name, evidence
 *   container of the library ------'
 *
 * (1) What the debug information says of a site is asked once for each code address, from the innermost
 *     frame outward: past wrappers, whose result is void * or bytes, past functions of libraries that only
 *     hand on what they allocate, and past functions that do nothing but allocate for many callers.
 * (2) Sizes decide: a type larger than the block is refused, one that divides it is an array if it divides all
 *     that the same code makes, one with a flexible array at its end may be longer.
 * (3) Bytes are the type of what nobody knows better; a buffer keeps its site in its name.
 * (4) Only layouts that a node, a root or a written member has are written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/containers.h"
#include "core/grow.h"
#include "core/heap.h"
#include "core/ingest_cells.h"
#include "core/ingest_parts.h"
#include "core/store_write.h"
#include "core/symbols_types.h"
#include "core/text.h"

#define CANDIDATES_MAX 4		/* types that the code at one address may speak for */
#define WALK_MAX 10			/* frames that are asked, from the innermost outward */
#define WRAPPER_CALLERS 4		/* a function that only allocates, for so many callers, is a wrapper */
#define WRAPPER_ROUNDS 3		/* wrappers of wrappers */
#define FUNCTIONS_MAX 16		/* of a stack that are looked at for containers */

struct place {				/* what is known of one code location */
	struct symbols_site found[CANDIDATES_MAX];
	int8_t count;			/* -1 = not asked yet */
	bool wrapper;			/* by its shape */
	uint32_t tailed;		/* a type with something behind it: there are blocks that it does not divide */
};

struct row { uint32_t type, stack; enum cell_method method; uint8_t confidence; const char *evidence;
	     uint64_t agree, disagree, count, bytes; };

struct ingest_types {
	struct cells cells;
	struct hash_index index;	/* of cells */
	uint32_t *type_of_cell;
	uint32_t *type_of_layout;	/* of single blocks: by layout, of one element and of an array */
	struct row *rows;
	uint64_t row_room;
	uint32_t row_count;
};

struct maker {
	struct ingest_types *out;
	const struct stream *stream;
	struct code *code;
	struct layouts *layouts;
	struct types *types;
	const struct ingest_stacks *stacks;
	struct place *places;		/* by location */
	uint32_t *walk;			/* locations of all stacks, innermost first */
	uint32_t *walk_first;		/* by stack, stacks->count + 1 */
	uint32_t *class_layout;		/* by stream type; LAYOUT_NONE = not asked yet */
};

/* ---- cells ---- */

static bool same_cell(const void *owner, uint32_t number, const void *key)
{
	const struct cell *a = &((const struct cells *)owner)->cells[number], *b = key;

	return a->stack == b->stack && a->bytes == b->bytes && a->class == b->class;
}

static int find_cell(struct ingest_types *out, const struct cell *key, uint32_t *ret_cell)
{
	struct cells *cells = &out->cells;
	uint32_t hash = hash_fold(hash_mix(hash_mix(key->stack, key->bytes), key->class));
	uint32_t number = hash_index_find(&out->index, hash, same_cell, cells, key);
	int r = 0;

	if (number == HASH_NONE) {
		number = cells->count;
		r = grow_array(&cells->cells, &cells->room, number + 1ull, sizeof(*key));
		if (r >= 0)
			r = hash_index_add(&out->index, hash, number);
		if (r < 0)
			return r;
		cells->cells[cells->count++] = *key;
	}
	*ret_cell = number;
	return 0;
}

static int make_cells(struct maker *maker)
{
	const struct stream *stream = maker->stream;
	struct cells *cells = &maker->out->cells;
	uint32_t last = CELL_NONE;
	bool has_single = false;

	cells->of_node = reallocarray(NULL, stream->node_count + 1ull, sizeof(*cells->of_node));
	if (!cells->of_node)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->node_count; i++) {
		struct cell key = { .bytes = stream->node_bytes[i], .stack = maker->stacks->of_raw[stream->node_stack[i]],
				    .class = stream->node_type[i] };
		int r;

		cells->of_node[i] = CELL_NONE;
		if (STREAM_NODE_KIND(stream->node_kind[i]) >= STREAM_NODE_MAPPING || stream->node_kind[i] & STREAM_NODE_FOLDED ||
		    (key.class != STREAM_NONE && stream->types[key.class].source != STREAM_TYPE_RTTI))
			continue;
		if (key.stack == UINT32_MAX && key.class == STREAM_NONE) {
			cells->of_node[i] = CELL_SINGLE;
			has_single = true;
			continue;
		}
		if (last == CELL_NONE || !same_cell(cells, last, &key)) {
			r = find_cell(maker->out, &key, &last);
			if (r < 0)
				return r;
		}
		cells->of_node[i] = last;
		cells->cells[last].nodes++;
	}
	if (has_single)
		cells->singles = calloc(stream->node_count, sizeof(*cells->singles));
	return has_single && !cells->singles ? -ENOMEM : 0;
}

/* ---- stacks as locations ---- */

static int locate(struct maker *maker, const struct stream_stack *raw, uint32_t *ret_location)
{
	if (raw->flags & STREAM_STACK_PYTHON)
		return code_locate_python(maker->code, (uint32_t)raw->pc, ret_location);
	return code_locate(maker->code, raw->pc, raw->generation, true, ret_location);
}

/* The locations of each stack as people read it: without the shim, and from where the allocator was called. */
static int make_walks(struct maker *maker)
{
	const struct stream *stream = maker->stream;
	uint32_t *raw_of = calloc(maker->stacks->count + 1ull, sizeof(*raw_of)), count = 0;
	uint64_t room = 0;
	int r = 0;

	maker->walk_first = calloc(maker->stacks->count + 2ull, sizeof(*maker->walk_first));
	if (!raw_of || !maker->walk_first)
		r = -ENOMEM;
	for (uint32_t id = stream->stack_count; id > 0 && r >= 0; id--)
		if (maker->stacks->of_raw[id] != UINT32_MAX)
			raw_of[maker->stacks->of_raw[id]] = id;
	for (uint32_t i = 0; i < maker->stacks->count && r >= 0; i++) {
		bool begun = false;

		for (uint32_t id = raw_of[i], steps = 0; id && steps < WALK_MAX && r >= 0; id = stream->stacks[id - 1].parent) {
			uint32_t location;

			r = locate(maker, &stream->stacks[id - 1], &location);
			if (r < 0)
				break;
			unsigned role = maker->code->locations[location].role;

			begun |= !(role & (CODE_SELF | CODE_ALLOCATOR));
			if (!begun || role & CODE_SELF)
				continue;
			r = grow_array(&maker->walk, &room, count + 1ull, sizeof(*maker->walk));
			if (r < 0)
				break;
			maker->walk[count++] = location;
			steps++;
		}
		maker->walk_first[i + 1] = count;
	}
	free(raw_of);
	if (r < 0)
		return r;
	maker->places = calloc(maker->code->location_count + 1ull, sizeof(*maker->places));
	if (!maker->places)
		return -ENOMEM;
	for (uint32_t i = 0; i < maker->code->location_count; i++)
		maker->places[i].count = -1;
	return 0;
}

/* The function that a location's code belongs to: the outermost of its inline frames. */
static const struct code_frame *function_of(const struct code *code, uint32_t location)
{
	const struct code_location *at = &code->locations[location];

	return at->count ? &code->frames[code->frame_ids[at->first + at->count - 1]] : NULL;
}

/* Frames that hand on what they allocate: named so, or told so, or run-time libraries. */
static bool is_library(const struct code *code, uint32_t location)
{
	const struct code_frame *frame = function_of(code, location);

	return code->locations[location].role & CODE_LIBRARY || (frame && frame->library);
}

struct shape {				/* of a function, by its name */
	const char *function, *module;
	uint32_t callers[WRAPPER_CALLERS], caller_count;
	bool leads_elsewhere;		/* something that is no allocator runs below it */
};

struct shapes { struct shape *shapes; uint64_t room; uint32_t count; struct hash_index index; };

static bool same_shape(const void *owner, uint32_t number, const void *key)
{
	const struct shape *a = &((const struct shapes *)owner)->shapes[number], *b = key;

	return a->function == b->function && a->module == b->module;
}

static int find_shape(struct shapes *shapes, const struct code_frame *frame, struct shape **ret_shape)
{
	struct shape key = { .function = frame->function, .module = frame->module };
	uint32_t hash = hash_fold(hash_mix((uintptr_t)key.function, (uintptr_t)key.module));
	uint32_t number = hash_index_find(&shapes->index, hash, same_shape, shapes, &key);
	int r;

	if (number == HASH_NONE) {
		number = shapes->count;
		r = grow_array(&shapes->shapes, &shapes->room, number + 1ull, sizeof(key));
		if (r >= 0)
			r = hash_index_add(&shapes->index, hash, number);
		if (r < 0)
			return r;
		shapes->shapes[shapes->count++] = key;
	}
	*ret_shape = &shapes->shapes[number];
	return 0;
}

/* One round: functions below which nothing but allocators and wrappers runs, called from many places. */
static int find_wrappers(struct maker *maker, bool *ret_found)
{
	struct shapes shapes = { 0 };
	const struct code *code = maker->code;
	int r = 0;

	*ret_found = false;
	for (uint32_t i = 0; i < maker->stacks->count && r >= 0; i++) {
		bool inner = true;		/* only wrappers so far */

		for (uint32_t k = maker->walk_first[i]; k < maker->walk_first[i + 1] && r >= 0; k++) {
			uint32_t location = maker->walk[k];
			const struct code_frame *frame = function_of(code, location);
			struct shape *shape;

			if (!frame || maker->places[location].wrapper || (inner && is_library(code, location)))
				continue;
			r = find_shape(&shapes, frame, &shape);
			if (r < 0)
				break;
			shape->leads_elsewhere |= !inner;
			if (inner && k + 1 < maker->walk_first[i + 1] && shape->caller_count < WRAPPER_CALLERS) {
				bool known = false;

				for (uint32_t c = 0; c < shape->caller_count; c++)
					known |= shape->callers[c] == maker->walk[k + 1];
				if (!known)
					shape->callers[shape->caller_count++] = maker->walk[k + 1];
			}
			inner = false;
		}
	}
	for (uint32_t k = 0; k < maker->walk_first[maker->stacks->count] && r >= 0; k++) {
		const struct code_frame *frame = function_of(code, maker->walk[k]);
		struct shape *shape;

		if (!frame || maker->places[maker->walk[k]].wrapper)
			continue;
		r = find_shape(&shapes, frame, &shape);
		if (r >= 0 && !shape->leads_elsewhere && shape->caller_count == WRAPPER_CALLERS)
			maker->places[maker->walk[k]].wrapper = *ret_found = true;
	}
	free(shapes.shapes);
	hash_index_done(&shapes.index);
	return r;
}

/* ---- sites ---- */

static int ask(struct maker *maker, uint32_t location, struct place **ret_place)
{
	struct place *place = &maker->places[location];
	const struct code_key *key = &maker->code->location_keys[location];
	int count = 0;

	if (place->count < 0) {
		if (key->place < maker->stream->module_count)	/* a file; else a Python frame, or no file at all */
			count = symbols_site_types(maker->code->symbols, (int)key->place, key->addr + 1, maker->layouts,
						   place->found, CANDIDATES_MAX);
		if (count < 0)
			return count;
		place->count = (int8_t)count;
	}
	*ret_place = place;
	return 0;
}

static enum cell_method method_of(enum symbols_how how)
{
	static const enum cell_method methods[] = {
		[SYMBOLS_HOW_ATTRIBUTE] = CELL_ATTRIBUTE, [SYMBOLS_HOW_VARIABLE] = CELL_VARIABLE,
		[SYMBOLS_HOW_FIELD] = CELL_FIELD, [SYMBOLS_HOW_RETURN] = CELL_RETURN, [SYMBOLS_HOW_NEW] = CELL_NEW,
	};

	return (size_t)how < sizeof(methods) / sizeof(*methods) ? methods[how] : CELL_UNKNOWN;
}

/* "variable e in entry_new". */
static const char *evidence_in(struct maker *maker, const char *evidence, uint32_t location)
{
	const struct code_location *at = &maker->code->locations[location];
	const struct code_frame *frame = at->count ? &maker->code->frames[maker->code->frame_ids[at->first]] : NULL;
	char *text = text_format("%s%s%s", evidence ? evidence : "", frame ? " in " : "", frame ? frame->function : "");
	const char *interned = strings_intern(maker->code->strings, text);

	free(text);
	return interned;
}

/* Take a candidate for a cell if the sizes allow it and it is better than what the cell has. */
static int consider(struct maker *maker, struct cell *cell, const struct symbols_site *site, uint32_t location)
{
	const struct layouts *all = maker->layouts;
	bool bytes = layouts_is_byte(all, site->layout);
	enum layout_fit fit = LAYOUT_FITS_ARRAY;

	if (cell->layout != LAYOUT_VOID && (bytes || !layouts_is_byte(all, cell->layout)))
		return 0;
	if (all->layouts[site->layout].kind == LAYOUT_KIND_VOID || cell->bytes < site->offset)
		return 0;
	if (!bytes)
		fit = layouts_fit(all, site->layout, cell->bytes - site->offset);
	if (fit == LAYOUT_FITS_NOT || (fit == LAYOUT_FITS_LONGER && all->layouts[site->layout].kind != LAYOUT_KIND_STRUCT))
		return 0;
	cell->layout = site->layout;
	cell->header = (uint32_t)site->offset;
	cell->method = method_of(site->how);
	cell->confidence = (uint8_t)(site->confidence > 3 ? 3 : site->confidence < 1 ? 1 : site->confidence);
	if (fit == LAYOUT_FITS_LONGER) {
		maker->places[location].tailed = site->layout;
		if (cell->confidence > 1)
			cell->confidence--;
	}
	cell->location = location;
	cell->evidence = evidence_in(maker, site->evidence, location);
	return cell->evidence ? 0 : -ENOMEM;
}

/* Does the caller of this code get what it allocates? A library of which nothing is known may hand it on; where
 * debug information shows the code, that was looked at. */
static bool hands_on(const struct maker *maker, uint32_t location, bool passes_on)
{
	const struct code_frame *frame = function_of(maker->code, location);

	if (passes_on || maker->places[location].wrapper || (frame && frame->wrapper))
		return true;
	if (maker->code->locations[location].role & CODE_LIBRARY)
		return !frame || !*frame->file;
	return is_library(maker->code, location);
}

/* From the innermost frame outward, as long as a frame only hands on what it got. */
static int type_by_site(struct maker *maker, struct cell *cell)
{
	for (uint32_t k = maker->walk_first[cell->stack]; k < maker->walk_first[cell->stack + 1]; k++) {
		uint32_t location = maker->walk[k];
		struct place *place;
		bool passes_on = false;
		int r = ask(maker, location, &place);

		if (r < 0)
			return r;
		for (int i = 0; i < place->count && r >= 0; i++) {
			passes_on |= place->found[i].passes_on;
			if (cell->layout == LAYOUT_VOID || layouts_is_byte(maker->layouts, cell->layout))
				r = consider(maker, cell, &place->found[i], location);
		}
		if (r < 0)
			return r;
		if (cell->layout != LAYOUT_VOID && !layouts_is_byte(maker->layouts, cell->layout))
			break;
		if (!hands_on(maker, location, passes_on))
			break;
	}
	return 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), cut = strlen(end);

	return length >= cut && !strcmp(text + length - cut, end);
}

/* A container of the standard library, by the functions on the way to the allocator. */
static int type_by_container(struct maker *maker, struct cell *cell)
{
	const struct ingest_stack *stack = &maker->stacks->stacks[cell->stack];
	const char *functions[FUNCTIONS_MAX];
	struct text name = { 0 };
	unsigned count = 0;
	bool found;

	for (; count < stack->count && count < FUNCTIONS_MAX; count++)
		functions[count] = maker->code->frames[maker->stacks->frame_ids[stack->first + count]].function;
	found = containers_name_stack(functions, count, &name);
	if (found && !name.broken && ends_with(name.data, "string storage")) {	/* a buffer as others are */
		const char *letter = strstr(name.data, "wstring") ? "wchar_t" : "char";

		text_done(&name);
		text_printf(&name, "%s[] from %s", letter, maker->types->entries[stack->type].name);
	}
	if (found && !name.broken) {
		cell->name = strings_intern(maker->code->strings, name.data);
		cell->method = CELL_CONTAINER;
		cell->confidence = 3;
		cell->evidence = strings_intern(maker->code->strings, functions[0]);
	}
	found = name.broken || (found && (!cell->name || !cell->evidence));
	text_done(&name);
	return found ? -ENOMEM : 0;
}

/* ---- classes ---- */

/* The layout of a class that a vtable names, from the files that the stack leads through. */
static int class_layout(struct maker *maker, struct cell *cell, const char *name)
{
	uint32_t *known = &maker->class_layout[cell->class];
	uint32_t begin = cell->stack == UINT32_MAX ? 0 : maker->walk_first[cell->stack];
	uint32_t end = cell->stack == UINT32_MAX ? 0 : maker->walk_first[cell->stack + 1], last = UINT32_MAX;
	int r = 0;

	if (*known == LAYOUT_NONE) {
		*known = LAYOUT_VOID;
		for (uint32_t k = begin; k < end && r == 0; k++) {
			uint32_t file = maker->code->location_keys[maker->walk[k]].place;

			if (file == last || file >= maker->stream->module_count ||
			    maker->code->locations[maker->walk[k]].role & CODE_LIBRARY)
				continue;
			last = file;
			r = symbols_class_type(maker->code->symbols, (int)file, name, maker->layouts, known);
		}
		if (r < 0)
			return r;
		if (begin == end)
			*known = LAYOUT_NONE;		/* another block of the class may know its site */
	}
	if (*known != LAYOUT_NONE && *known != LAYOUT_VOID &&
	    layouts_fit(maker->layouts, *known, cell->bytes) != LAYOUT_FITS_NOT)
		cell->layout = *known;
	return 0;
}

static int type_by_class(struct maker *maker, struct cell *cell)
{
	const struct stream_type_name *class = &maker->stream->types[cell->class];
	const char *name = types_memory_name(maker->code->strings, stream_string(maker->stream, class->name), class->source);
	struct text text = { 0 };

	if (!name)
		return -ENOMEM;
	cell->name = name;
	if (containers_name_class(name, &text))
		cell->name = strings_intern(maker->code->strings, text.data);
	text_done(&text);
	cell->method = CELL_RTTI;
	cell->confidence = 3;
	cell->evidence = strings_intern(maker->code->strings, "vtable");
	return cell->name && cell->evidence ? class_layout(maker, cell, name) : -ENOMEM;
}

static int type_cells(struct maker *maker)
{
	struct cells *cells = &maker->out->cells;
	int r = 0;

	for (uint32_t i = 0; i < cells->count && r >= 0; i++) {
		struct cell *cell = &cells->cells[i];
		uint32_t named;

		if (cell->class != STREAM_NONE) {
			r = type_by_class(maker, cell);
			continue;
		}
		r = type_by_site(maker, cell);
		named = cell->layout;
		if (r >= 0)
			r = type_by_container(maker, cell);
		if (cell->method == CELL_CONTAINER && named != LAYOUT_VOID &&
		    layouts_fit(maker->layouts, named, cell->bytes) < LAYOUT_FITS_FLEXIBLE)
			cell->layout = LAYOUT_VOID;
	}
	return r;
}

/* What a type divides by chance is no array of it if the same code puts something else behind one. */
static void see_tails(struct maker *maker)
{
	for (uint32_t i = 0; i < maker->out->cells.count; i++) {
		struct cell *cell = &maker->out->cells.cells[i];

		if (cell->layout == LAYOUT_VOID || cell->method == CELL_RTTI || cell->method == CELL_CONTAINER ||
		    maker->places[cell->location].tailed != cell->layout ||
		    layouts_fit(maker->layouts, cell->layout, cell->bytes - cell->header) != LAYOUT_FITS_ARRAY)
			continue;
		cell->has_tail = true;
		if (cell->confidence > 2)
			cell->confidence = 2;
	}
}

/* ---- names ---- */

/* What does this type come down to behind its pointers and arrays: something, or only bytes and numbers? */
static bool is_plain(const struct layouts *layouts, uint32_t layout)
{
	for (unsigned depth = 0; depth < 8; depth++) {
		enum layout_kind kind = layouts->layouts[layout].kind;

		if (kind != LAYOUT_KIND_POINTER && kind != LAYOUT_KIND_ARRAY)
			return kind != LAYOUT_KIND_STRUCT && kind != LAYOUT_KIND_UNION;
		layout = layouts->layouts[layout].target;
	}
	return true;
}

/* "struct entry", "struct entry[]", "char[] from handle_put server.c:120". */
static int name_type(struct maker *maker, uint32_t layout, uint32_t header, bool divides, uint32_t stack,
		     uint32_t *ret_type)
{
	const struct layouts *all = maker->layouts;
	bool plain = is_plain(all, layout), array = plain || divides;
	struct types_entry entry = { .source = HEAP_TYPE_DWARF, .layout = layout, .header = header };
	char *text = plain && stack != UINT32_MAX ?
		text_format("%s[] from %s", all->layouts[layout].name,
			    maker->types->entries[maker->stacks->stacks[stack].type].name) :
		text_format("%s%s", all->layouts[layout].name, array ? "[]" : "");
	int r;

	entry.name = strings_intern(maker->code->strings, text);
	free(text);
	r = types_add_layout(maker->types, &entry, ret_type);
	return r;
}

static bool divides(const struct maker *maker, const struct cell *cell)
{
	return layouts_fit(maker->layouts, cell->layout, cell->bytes - cell->header) == LAYOUT_FITS_ARRAY && !cell->has_tail;
}

static int name_cell(struct maker *maker, const struct cell *cell, uint32_t *ret_type)
{
	struct types_entry entry = {
		.name = cell->name, .source = cell->method == CELL_RTTI ? HEAP_TYPE_RTTI : HEAP_TYPE_DWARF,
		.layout = cell->layout, .header = cell->header };

	if (cell->name)
		return types_add_layout(maker->types, &entry, ret_type);
	if (cell->layout == LAYOUT_VOID) {
		*ret_type = UINT32_MAX;
		return 0;
	}
	return name_type(maker, cell->layout, cell->header, divides(maker, cell), cell->stack, ret_type);
}

/* "field struct entry.body", "variable g_cache.buckets[*]". */
static const char *origin_text(struct maker *maker, const struct ingest_roots *roots, const struct cell_origin *origin)
{
	uint32_t layout = origin->is_root ? roots->roots[origin->source].layout : origin->source;
	struct text text = { 0 }, folded = { 0 };
	const char *interned;
	char *name;

	text_printf(&text, "%s %s", origin->is_root ? "variable" : "field",
		    origin->is_root ? roots->roots[origin->source].name : maker->layouts->layouts[layout].name);
	layouts_path(maker->layouts, layout, origin->bytes, origin->offset, &text);
	for (const char *at = text.data; at && *at; at++) {	/* one text for all elements */
		text_append_bytes(&folded, at, 1);
		if (*at == '[' && at[1] >= '0' && at[1] <= '9') {
			text_append(&folded, "*");
			at += strspn(at + 1, "0123456789");
		}
	}
	folded.broken |= text.broken;
	text_done(&text);
	name = text_take(&folded);
	interned = strings_intern(maker->code->strings, name);
	free(name);
	return interned;
}

static int add_row(struct ingest_types *out, const struct row *row)
{
	int r = grow_array(&out->rows, &out->row_room, out->row_count + 1ull, sizeof(*row));

	if (r >= 0)
		out->rows[out->row_count++] = *row;
	return r;
}

static int compare_rows(const void *pa, const void *pb)
{
	const struct row *a = pa, *b = pb;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->stack != b->stack)
		return a->stack < b->stack ? -1 : 1;
	if (a->method != b->method)
		return a->method < b->method ? -1 : 1;
	if (a->confidence != b->confidence)
		return a->confidence > b->confidence ? -1 : 1;
	return strcmp(a->evidence, b->evidence);
}

static void merge_rows(struct ingest_types *out)
{
	uint32_t kept = 0;

	if (out->row_count)
		qsort(out->rows, out->row_count, sizeof(*out->rows), compare_rows);
	for (uint32_t i = 0; i < out->row_count; i++) {
		struct row *last = kept ? &out->rows[kept - 1] : NULL;

		if (last && !compare_rows(last, &out->rows[i])) {
			last->agree += out->rows[i].agree;
			last->disagree += out->rows[i].disagree;
			last->count += out->rows[i].count;
			last->bytes += out->rows[i].bytes;
		} else {
			out->rows[kept++] = out->rows[i];
		}
	}
	out->row_count = kept;
}

static int name_cells(struct maker *maker, const struct ingest_roots *roots)
{
	struct ingest_types *out = maker->out;

	out->type_of_cell = reallocarray(NULL, out->cells.count + 1ull, sizeof(*out->type_of_cell));
	if (!out->type_of_cell)
		return -ENOMEM;
	for (uint32_t i = 0; i < out->cells.count; i++) {
		struct cell *cell = &out->cells.cells[i];
		int r = name_cell(maker, cell, &out->type_of_cell[i]);

		if (r >= 0 && out->type_of_cell[i] != UINT32_MAX) {
			struct row row = { out->type_of_cell[i], cell->stack, cell->method, cell->confidence,
					   cell->evidence ? cell->evidence : origin_text(maker, roots, &cell->origin),
					   cell->agree, cell->disagree, cell->nodes, cell->nodes * cell->bytes };

			r = row.evidence ? add_row(out, &row) : -ENOMEM;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* Blocks without a stack: each by itself, but their evidence is summed by where it came from. */
static int name_singles(struct maker *maker, const struct ingest_roots *roots)
{
	struct ingest_types *out = maker->out;
	struct cell_origin last = { 0 };
	struct row row = { 0 };
	uint32_t last_layout = LAYOUT_VOID;
	bool last_array = false;
	int r = 0;

	if (!out->cells.singles)
		return 0;
	out->type_of_layout = reallocarray(NULL, maker->layouts->count * 2ull, sizeof(*out->type_of_layout));
	if (!out->type_of_layout)
		return -ENOMEM;
	memset(out->type_of_layout, 0xff, maker->layouts->count * 2ull * sizeof(*out->type_of_layout));
	for (uint32_t i = 0; i < maker->stream->node_count && r >= 0; i++) {
		struct cell_single *single = &out->cells.singles[i];
		uint64_t bytes = maker->stream->node_bytes[i];
		bool array;

		if (out->cells.of_node[i] != CELL_SINGLE || single->layout == LAYOUT_VOID)
			continue;
		array = single->is_array = layouts_fit(maker->layouts, single->layout, bytes) == LAYOUT_FITS_ARRAY;
		uint32_t *type = &out->type_of_layout[single->layout * 2ull + array];
		if (*type == UINT32_MAX)
			r = name_type(maker, single->layout, 0, array, UINT32_MAX, type);
		if (r >= 0 && !(row.count && last_layout == single->layout && last_array == array &&
				last.source == single->origin.source && last.is_root == single->origin.is_root &&
				last.offset == single->origin.offset)) {
			if (row.count)
				r = add_row(out, &row);
			last = single->origin;
			last_layout = single->layout;
			last_array = array;
			row = (struct row){ .type = *type, .stack = UINT32_MAX, .method = CELL_POINTERS, .confidence = 1,
					    .evidence = origin_text(maker, roots, &last) };
			if (!row.evidence)
				r = -ENOMEM;
		}
		row.agree++;
		row.count++;
		row.bytes += bytes;
		if (out->row_count > 1u << 16)		/* runs are short where two kinds alternate */
			merge_rows(out);
	}
	return r >= 0 && row.count ? add_row(out, &row) : r;
}

/* ---- the whole ---- */

static int propagate(struct maker *maker, const struct ingest_roots *roots)
{
	struct cell_root *from = calloc(roots->count + 1ull, sizeof(*from));
	struct cell_root_edge *edges = reallocarray(NULL, roots->edge_count + 1, sizeof(*edges));
	uint64_t count = 0;
	int r = -ENOMEM;

	for (uint32_t i = 0; from && i < roots->count; i++)
		from[i] = (struct cell_root){ roots->roots[i].layout, roots->roots[i].start, roots->roots[i].end };
	for (uint64_t i = 0; from && edges && i < roots->edge_count; i++) {
		const struct ingest_root_edge *edge = &roots->edges[i];

		if (edge->label == STREAM_LABEL_OFFSET && from[edge->root].layout != LAYOUT_VOID)
			edges[count++] = (struct cell_root_edge){ edge->root, edge->target, edge->value,
								  edge->interior ? edge->target_offset : 0 };
	}
	if (from && edges)
		r = cells_propagate(&maker->out->cells, maker->stream, maker->layouts, from, edges, count);
	free(from);
	free(edges);
	return r < 0 ? r : 0;
}

int ingest_types_make(const struct stream *stream, struct code *code, struct layouts *layouts, struct types *types,
		      const struct ingest_stacks *stacks, const struct ingest_roots *roots,
		      struct ingest_types **ret_types)
{
	struct maker maker = { .stream = stream, .code = code, .layouts = layouts, .types = types, .stacks = stacks };
	bool found = true;
	int r;

	*ret_types = NULL;
	maker.out = calloc(1, sizeof(*maker.out));
	maker.class_layout = reallocarray(NULL, stream->type_count + 1ull, sizeof(*maker.class_layout));
	r = maker.out && maker.class_layout ? make_walks(&maker) : -ENOMEM;
	if (r >= 0) {
		memset(maker.class_layout, 0xff, (stream->type_count + 1ull) * sizeof(*maker.class_layout));
		r = make_cells(&maker);
	}
	for (unsigned round = 0; round < WRAPPER_ROUNDS && found && r >= 0; round++)
		r = find_wrappers(&maker, &found);
	if (r >= 0)
		r = type_cells(&maker);
	if (r >= 0)
		see_tails(&maker);
	if (r >= 0)
		r = propagate(&maker, roots);
	if (r >= 0)
		r = name_cells(&maker, roots);
	if (r >= 0)
		r = name_singles(&maker, roots);
	if (r >= 0) {
		merge_rows(maker.out);
		*ret_types = maker.out;
		maker.out = NULL;
	}
	ingest_types_free(maker.out);
	free(maker.places);
	free(maker.walk);
	free(maker.walk_first);
	free(maker.class_layout);
	return r < 0 ? r : 0;
}

uint32_t ingest_types_of(const struct ingest_types *decided, uint32_t node)
{
	const struct cells *cells = &decided->cells;
	uint32_t cell = cells->of_node[node], layout;

	if (cell == CELL_NONE)
		return UINT32_MAX;
	if (cell != CELL_SINGLE)
		return decided->type_of_cell[cell];
	layout = cells->singles[node].layout;
	return layout == LAYOUT_VOID ? UINT32_MAX : decided->type_of_layout[layout * 2ull + cells->singles[node].is_array];
}

/* ---- writing ---- */

/* Mark a layout and what lies in it; what it points at is marked as a name (1), not as a whole (2). */
static void mark(uint8_t *marks, uint32_t layout, uint8_t how, uint32_t *queue, uint32_t *count)
{
	if (marks[layout] >= how)
		return;
	marks[layout] = how;
	queue[(*count)++] = layout;
}

static int mark_used(const struct layouts *layouts, const struct types *types, const struct ingest_roots *roots,
		     uint8_t *marks)
{
	uint32_t *queue = reallocarray(NULL, layouts->count * 2ull + 1, sizeof(*queue)), count = 0;

	if (!queue)
		return -ENOMEM;
	mark(marks, LAYOUT_VOID, 2, queue, &count);
	for (uint32_t i = 0; i < types->count; i++)
		mark(marks, types->entries[i].layout, 2, queue, &count);
	for (uint32_t i = 0; i < roots->count; i++)
		mark(marks, roots->roots[i].layout, 2, queue, &count);
	for (uint32_t at = 0; at < count; at++) {
		const struct layout *type = &layouts->layouts[queue[at]];
		uint8_t how = marks[queue[at]];

		if (type->kind == LAYOUT_KIND_POINTER)
			mark(marks, type->target, 1, queue, &count);
		else if (type->kind == LAYOUT_KIND_ARRAY)
			mark(marks, type->target, how, queue, &count);
		for (uint32_t i = 0; how == 2 && i < type->member_count; i++)
			mark(marks, layouts->members[type->first_member + i].type, 2, queue, &count);
	}
	free(queue);
	return 0;
}

static void write_layouts(struct store_writer *writer, const struct layouts *layouts, const uint8_t *marks,
			  const uint32_t *number)
{
	int64_t members = 0;

	for (uint32_t i = 0; i < layouts->count; i++) {
		const struct layout *type = &layouts->layouts[i];

		if (!marks[i])
			continue;
		store_put(writer, "layouts", "issuiusi", (int64_t)number[i], type->name, layouts_kind_word(type->kind),
			  type->bytes, (int64_t)number[type->target], type->count, type->file, (int64_t)type->line);
		for (uint32_t k = 0; marks[i] == 2 && k < type->member_count; k++) {
			const struct layout_member *member = &layouts->members[type->first_member + k];

			store_put(writer, "layout_members", "iisuii", members++, (int64_t)number[i], member->name,
				  member->offset, (int64_t)number[member->type], (int64_t)member->is_base);
		}
	}
}

int ingest_types_write(struct ingest_types *decided, struct store_writer *writer, struct layouts *layouts,
		       struct types *types, struct ingest_roots *roots)
{
	static const char *const methods[] = {
		[CELL_UNKNOWN] = "unknown", [CELL_RTTI] = "rtti", [CELL_ATTRIBUTE] = "attribute", [CELL_VARIABLE] = "variable",
		[CELL_FIELD] = "field", [CELL_RETURN] = "return", [CELL_NEW] = "new", [CELL_CONTAINER] = "container",
		[CELL_POINTERS] = "pointers",
	};
	static const char *const confidences[] = { "possible", "possible", "likely", "certain" };
	uint8_t *marks = calloc(layouts->count, 1);
	uint32_t *number = calloc(layouts->count, sizeof(*number)), count = 0;
	int r = marks && number ? mark_used(layouts, types, roots, marks) : -ENOMEM;

	if (r >= 0) {
		for (uint32_t i = 0; i < layouts->count; i++)
			if (marks[i])
				number[i] = count++;
		write_layouts(writer, layouts, marks, number);
		for (uint32_t i = 0; i < types->count; i++)
			types->entries[i].layout = number[types->entries[i].layout];
		for (uint32_t i = 0; i < roots->count; i++)
			roots->roots[i].layout = number[roots->roots[i].layout];
		for (uint32_t i = 0; i < decided->row_count; i++) {
			const struct row *row = &decided->rows[i];

			store_put(writer, "type_evidence", "iiosssuuuu", (int64_t)i, (int64_t)row->type, row->stack,
				  methods[row->method], confidences[row->confidence], row->evidence, row->agree,
				  row->disagree, row->count, row->bytes);
		}
	}
	free(marks);
	free(number);
	return r;
}

struct ingest_types *ingest_types_free(struct ingest_types *decided)
{
	if (!decided)
		return NULL;
	free(decided->cells.cells);
	free(decided->cells.of_node);
	free(decided->cells.singles);
	hash_index_done(&decided->index);
	free(decided->type_of_cell);
	free(decided->type_of_layout);
	free(decided->rows);
	free(decided);
	return NULL;
}
